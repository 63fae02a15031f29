//! Polynomials under real keys on small (insecure) rings against double precision.

use chiffre_ckks::Isa;
use chiffre_ckks::bundle::{BundleError, CtRef, Input, PreparedKey, PreparedKeys};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::polynomial::*;
use chiffre_ckks::ring::{Gadget, Galois, RnsPoly};
use chiffre_ckks::scale::Scale;
use chiffre_ckks::seed::UniformSampler;
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor};
use num_complex::Complex64;
use proptest::prelude::*;
use std::sync::LazyLock;

/// A client and its server in one, at an insecure size.
struct Lab {
    context: Context,
    secret: SecretKey,
    keys: PreparedKeys,
    gadget: Gadget,
}

fn rng(seed: u8) -> Csprng {
    Csprng::from_seed([seed; 32])
}

impl Lab {
    fn new(log_n: u32, limbs: usize, alpha: usize) -> Self {
        let q: Vec<u32> = [40].into_iter().chain(vec![36; limbs - 1]).collect();
        let literal = CkksParamsLiteral::generate(log_n, &q, &vec![42; alpha]).expect("primes");
        let context = Context::new(CkksParams::try_from(literal.insecure()).expect("marked")).expect("context");
        let secret = SecretKey::generate(&context, &mut rng(1));
        let gadget = Gadget { limbs, alpha };
        let targets = [(KeyTarget::Relinearization, gadget), (Galois::conjugation(log_n).into(), gadget)];
        let keys = KeyGenerator::new(&context, &secret, rng(2)).switching_keys(&targets).expect("keys");
        let keys = keys.iter().map(|k| PreparedKey::new(context.ring(), k.expand(context.ring()))).collect();
        Self { context, secret, keys, gadget }
    }

    fn encrypt(&self, values: &[Complex64], scale: &Scale, limbs: usize, seed: u8) -> [RnsPoly; 2] {
        let plaintext = self.context.encode(values, scale, limbs).expect("encode");
        let ct = SecretKeyEncryptor::new(&self.context, &self.secret, rng(seed)).encrypt(&plaintext).expand(self.context.ring(), limbs);
        ct.polys.try_into().expect("two polynomials")
    }

    fn decrypt(&self, pair: &[RnsPoly; 2], scale: &Scale) -> Vec<Complex64> {
        let ct = Ciphertext::new(pair.clone(), scale.clone());
        self.context.decode(&Decryptor::new(&self.context, &self.secret).decrypt(&ct).expect("decrypt"))
    }

    /// Numbers in [-1, 1], with the ends and zero among them.
    fn reals(&self, seed: u8) -> Vec<f64> {
        let mut words = vec![0; self.context.slots()];
        UniformSampler::new([seed; 32], 0).fill(&mut words, (1 << 20) + 1);
        let mut values: Vec<f64> = words.iter().map(|&w| w as f64 / f64::from(1 << 19) - 1.0).collect();
        values[..3].copy_from_slice(&[-1.0, 0.0, 1.0]);
        values
    }
}

fn complex(re: &[f64]) -> Vec<Complex64> {
    re.iter().map(|&x| Complex64::from(x)).collect()
}

/// Coefficients in [-1, 1] without those that the parity excludes.
fn coefficients(degree: usize, parity: Parity, seed: u8) -> Vec<f64> {
    let mut words = vec![0; degree + 1];
    UniformSampler::new([seed; 32], 0).fill(&mut words, 1 << 30);
    let value = |w: u64| w as f64 / f64::from(1 << 29) - 1.0;
    words.iter().enumerate().map(|(k, &w)| if parity.has(k) { value(w) } else { 0.0 }).collect()
}

#[track_caller]
fn close(got: &[Complex64], want: &[Complex64], bound: f64) {
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
    assert!(worst < bound, "error 2^{:.1} is not below 2^{:.1}", worst.log2(), bound.log2());
}

static LAB: LazyLock<Lab> = LazyLock::new(|| Lab::new(8, 8, 3));

fn plans(most: usize) -> impl Iterator<Item = Plan> {
    let bases = [Basis::Monomial, Basis::Chebyshev];
    let parities = [Parity::Full, Parity::Even, Parity::Odd];
    let all = move |degree: usize| bases.into_iter().flat_map(move |b| parities.map(|p| (degree, p, b)));
    (1..=most).flat_map(all).filter(|(degree, parity, _)| parity.has(*degree)).map(|(d, p, b)| Plan::new(d, p, b).expect("a plan"))
}

/// Evaluates random rows with the plan; all instruction sets give equal bits.
fn check(plan: &Plan, limbs: usize, output: &Scale, seed: u8) {
    let lab = &*LAB;
    let (ring, input) = (lab.context.ring(), Scale::pow2(36));
    let inputs: Vec<Vec<f64>> = (0..2).map(|i| lab.reals(seed ^ i)).collect();
    let rows: Vec<Vec<f64>> = (0..2).map(|i| coefficients(plan.degree(), plan.parity(), seed ^ (0x80 + i))).collect();
    let given: Vec<Coefficients<'_>> = rows.iter().map(|r| Coefficients::Row(r)).collect();
    let cts: Vec<[RnsPoly; 2]> = inputs.iter().map(|x| lab.encrypt(&complex(x), &input, limbs, seed)).collect();
    let op = PolynomialOp { plan, coefficients: &given, limbs, input_scale: &input, output_scale: output, gadget: lab.gadget };
    let mut first: Option<Vec<[RnsPoly; 2]>> = None;
    for isa in Isa::available() {
        let borrowed = cts.iter().map(|ct| Input::Borrowed(ct.into())).collect();
        let got = evaluate(ring, isa, borrowed, &op, &lab.keys).expect("evaluated");
        if let Some(first) = &first {
            assert!(*first == got, "{isa:?} differs");
            continue;
        }
        for ((got, row), x) in got.iter().zip(&rows).zip(&inputs) {
            assert_eq!(got[0].rows(), limbs - plan.depth());
            let want: Vec<f64> = x.iter().map(|&x| evaluate_clear(plan.basis(), row, x)).collect();
            close(&lab.decrypt(got, output), &complex(&want), 2f64.powi(-16));
        }
        first = Some(got);
    }
    let owned = cts.into_iter().map(Input::Owned).collect();
    assert!(first == Some(evaluate(ring, crate::isa(), owned, &op, &lab.keys).expect("evaluated")), "owned operands differ");
}

#[test]
fn every_degree_parity_and_basis() {
    for plan in plans(31) {
        check(&plan, plan.depth() + 2, &Scale::pow2(36), plan.degree() as u8);
    }
}

/// Slot by slot: channels in runs, channels that alternate, and a period below the slots.
#[test]
fn slots_have_rows_of_their_own() {
    let lab = &*LAB;
    let (ring, encoder, slots) = (lab.context.ring(), lab.context.encoder(), lab.context.slots());
    let (input, output) = (Scale::pow2(35), Scale::pow2(33));
    let z: Vec<Vec<Complex64>> =
        (0..5u8).map(|i| lab.reals(i).iter().zip(lab.reals(i + 50)).map(|(&a, b)| Complex64::new(a, b)).collect()).collect();
    let maps: [Vec<usize>; 3] =
        [(0..slots).map(|s| s * 5 / slots).collect(), (0..slots).map(|s| s % 4 + s / (slots / 2)).collect(), vec![2, 0, 0, 4]];
    for (degree, basis) in [(1, Basis::Chebyshev), (7, Basis::Chebyshev), (15, Basis::Chebyshev), (6, Basis::Monomial)] {
        let plan = Plan::new(degree, Parity::Full, basis).expect("a plan");
        let limbs = plan.depth() + 3;
        let rows: Vec<Vec<f64>> = (0..5).map(|i| coefficients(degree, Parity::Full, i)).collect();
        // Two ciphertexts with the same rows, and one with a row for all slots.
        let by_slot = |map: usize| Coefficients::Slots(SlotRows { rows: &rows, first: map, offsets: &maps[map], encoder });
        let given = [by_slot(0), by_slot(1), by_slot(2), by_slot(1), Coefficients::Row(&rows[3])];
        let row = |ct: usize, slot: usize| match [0, 1, 2, 1].get(ct) {
            Some(&map) => &rows[(map + maps[map][slot % maps[map].len()]).min(4)],
            None => &rows[3],
        };
        let cts: Vec<[RnsPoly; 2]> = z.iter().map(|z| lab.encrypt(z, &input, limbs, 1)).collect();
        let op = PolynomialOp { plan: &plan, coefficients: &given, limbs, input_scale: &input, output_scale: &output, gadget: lab.gadget };
        let mut first: Option<Vec<[RnsPoly; 2]>> = None;
        for isa in Isa::available() {
            let inputs = cts.iter().map(|ct| Input::Borrowed(ct.into())).collect();
            let got = evaluate_packed(ring, isa, inputs, &op, &lab.keys).expect("evaluated");
            if let Some(first) = &first {
                assert!(*first == got, "{isa:?} differs");
                continue;
            }
            for (ct, (got, z)) in got.iter().zip(&z).enumerate() {
                let part = |slot: usize, x: f64| evaluate_clear(basis, row(ct, slot), x);
                let want: Vec<Complex64> = z.iter().enumerate().map(|(s, z)| Complex64::new(part(s, z.re), part(s, z.im))).collect();
                close(&lab.decrypt(got, &output), &want, 2f64.powi(-15));
            }
            first = Some(got);
        }
        // The same on real slots, given away.
        let doubled = input.mul(&Scale::pow2(1));
        let op = PolynomialOp { input_scale: &doubled, ..op };
        let real: Vec<Vec<f64>> = (0..5).map(|i| lab.reals(i)).collect();
        let cts: Vec<[RnsPoly; 2]> = real.iter().map(|x| lab.encrypt(&complex(x), &doubled, limbs, 2)).collect();
        let got = evaluate(ring, crate::isa(), cts.into_iter().map(Input::Owned).collect(), &op, &lab.keys).expect("evaluated");
        for (ct, (got, x)) in got.iter().zip(&real).enumerate() {
            let want: Vec<f64> = x.iter().enumerate().map(|(s, &x)| evaluate_clear(basis, row(ct, s), x)).collect();
            close(&lab.decrypt(got, &output), &complex(&want), 2f64.powi(-15));
        }
    }
}

/// Rows that are equal are one row: the same bits, and no vector.
#[test]
fn equal_rows_in_slots_are_one_row() {
    let lab = &*LAB;
    let (ring, encoder, scale) = (lab.context.ring(), lab.context.encoder(), Scale::pow2(36));
    let plan = Plan::new(5, Parity::Full, Basis::Chebyshev).expect("a plan");
    let row = coefficients(5, Parity::Full, 1);
    let (rows, ct) = (vec![row.clone(); 3], lab.encrypt(&complex(&lab.reals(1)), &scale, 5, 1));
    let run = |coefficients: Coefficients<'_>| {
        let op = PolynomialOp {
            plan: &plan,
            coefficients: &[coefficients],
            limbs: 5,
            input_scale: &scale,
            output_scale: &scale,
            gadget: lab.gadget,
        };
        evaluate(ring, crate::isa(), vec![Input::Borrowed((&ct).into())], &op, &lab.keys)
    };
    let slots = |offsets: &[usize]| run(Coefficients::Slots(SlotRows { rows: &rows, first: 0, offsets, encoder }));
    assert!(slots(&[0, 2, 1, 9]).expect("evaluated") == run(Coefficients::Row(&row)).expect("evaluated"));
    for bad in [&[0, 1, 2][..], &[], &vec![0; 2 * lab.context.slots()]] {
        assert!(matches!(slots(bad), Err(PolynomialError::Slots { .. })), "{} slots", bad.len());
    }
    let other = chiffre_ckks::encode::Encoder::new(lab.context.slots().ilog2());
    for (rows, encoder) in [(&rows[..], &other), (&[], encoder)] {
        let error = run(Coefficients::Slots(SlotRows { rows, first: 0, offsets: &[0, 1], encoder }));
        assert!(matches!(error, Err(PolynomialError::Slots { .. })), "no row, or an encoder of another ring");
    }
}

#[test]
fn output_scales_are_what_was_asked_for() {
    let q = LAB.context.params().q().to_vec();
    for output in [Scale::pow2(32), Scale::pow2(40), Scale::prime(q[2]), Scale::pow2(70).div_prime(q[1])] {
        for degree in [1, 2, 7, 15] {
            let plan = Plan::new(degree, Parity::Full, Basis::Chebyshev).expect("a plan");
            check(&plan, plan.depth() + 2, &output, 9);
        }
    }
}

#[test]
fn halves_of_packed_slots() {
    let lab = &*LAB;
    let (ring, isa, input, output) = (lab.context.ring(), crate::isa(), Scale::pow2(35), Scale::pow2(33));
    let z: Vec<Vec<Complex64>> =
        (0..5u8).map(|i| lab.reals(i).iter().zip(lab.reals(i + 50)).map(|(&a, b)| Complex64::new(a, b)).collect()).collect();
    for (degree, basis) in [(1, Basis::Chebyshev), (7, Basis::Chebyshev), (6, Basis::Monomial)] {
        let plan = Plan::new(degree, Parity::Full, basis).expect("a plan");
        let limbs = plan.depth() + 3;
        let rows: Vec<Vec<f64>> = (0..5).map(|i| coefficients(degree, Parity::Full, i)).collect();
        let given: Vec<Coefficients<'_>> = rows.iter().map(|r| Coefficients::Row(r)).collect();
        let cts: Vec<[RnsPoly; 2]> = z.iter().map(|z| lab.encrypt(z, &input, limbs + 1, 1)).collect();
        let op = PolynomialOp { plan: &plan, coefficients: &given, limbs, input_scale: &input, output_scale: &output, gadget: lab.gadget };
        let want: Vec<Vec<Complex64>> = z
            .iter()
            .zip(&rows)
            .map(|(z, row)| z.iter().map(|z| Complex64::new(evaluate_clear(basis, row, z.re), evaluate_clear(basis, row, z.im))).collect())
            .collect();
        let check = |got: &[[RnsPoly; 2]]| {
            for (got, want) in got.iter().zip(&want) {
                assert_eq!(got[0].rows(), 3);
                close(&lab.decrypt(got, &output), want, 2f64.powi(-15));
            }
        };
        let borrowed = || cts.iter().map(|ct| Input::Borrowed(ct.into())).collect::<Vec<_>>();
        check(&evaluate_packed(ring, isa, borrowed(), &op, &lab.keys).expect("packed"));

        // In steps, as after a bootstrap: separate halves, and separate results put together.
        let refs: Vec<CtRef<'_>> = cts.iter().map(CtRef::from).collect();
        let [re, im] = split(ring, isa, &refs, limbs, &lab.keys, lab.gadget).expect("split");
        let doubled = input.mul(&Scale::pow2(1));
        for (half, part) in [(&re, (|z| z.re) as fn(&Complex64) -> f64), (&im, |z| z.im)] {
            let want: Vec<f64> = z[1].iter().map(part).collect();
            close(&lab.decrypt(&half[1], &doubled), &complex(&want), 2f64.powi(-20));
        }
        let op = PolynomialOp { input_scale: &doubled, ..op };
        let give = |half: &[[RnsPoly; 2]]| half.iter().cloned().map(Input::Owned).collect::<Vec<_>>();
        check(&evaluate_halves(ring, isa, give(&re), give(&im), &op, &lab.keys).expect("halves"));
        let [re, im] = [re, im].map(|half| evaluate(ring, isa, give(&half), &op, &lab.keys).expect("one half"));
        let pairs: Vec<[CtRef<'_>; 2]> = re.iter().zip(&im).map(|(a, b)| [a.into(), b.into()]).collect();
        check(&combine(ring, isa, &pairs, 3));
    }
}

/// An argument at twice the scale of the primes leaves `T_16` at 2^16 times theirs: the
/// coefficients beside it would be rounded to nothing.
#[test]
fn scales_out_of_proportion_are_refused_and_others_are_exact() {
    let lab = &*LAB;
    let (ring, isa, output) = (lab.context.ring(), crate::isa(), Scale::pow2(36));
    let plan = Plan::new(31, Parity::Full, Basis::Chebyshev).expect("a plan");
    let row: Vec<f64> = coefficients(31, Parity::Full, 3).iter().enumerate().map(|(k, c)| c / (k + 1) as f64).collect();
    let limbs = plan.depth() + 2;
    let z: Vec<Complex64> = lab.reals(1).iter().zip(lab.reals(2)).map(|(&a, b)| Complex64::new(a, b)).collect();
    // The parts come at twice these scales.
    for (log_scale, fine) in [(35, true), (36, false)] {
        let input = Scale::pow2(log_scale);
        let rows = [Coefficients::Row(&row)];
        let op = PolynomialOp { plan: &plan, coefficients: &rows, limbs, input_scale: &input, output_scale: &output, gadget: lab.gadget };
        let got = evaluate_packed(ring, isa, vec![Input::Owned(lab.encrypt(&z, &input, limbs, 1))], &op, &lab.keys);
        match got {
            Ok(got) => {
                let value = |x: f64| evaluate_clear(Basis::Chebyshev, &row, x);
                let want: Vec<Complex64> = z.iter().map(|z| Complex64::new(value(z.re), value(z.im))).collect();
                close(&lab.decrypt(&got[0], &output), &want, 2f64.powi(-13));
                assert!(fine);
            }
            Err(e) => assert!(!fine && matches!(e, PolynomialError::Plan(PlanError::Scale(_))), "{e}"),
        }
    }
}

/// Encrypts `u = I + m`, `|m| <= radius`, evaluates the sine and compares with `sin(2 pi m)`.
fn check_eval_mod(lab: &Lab, params: EvalModParams, integers: i64, radius: f64, shift: bool, bits: i32) {
    check_reduction(lab, &EvalMod::new(params).expect("parameters"), integers, radius, shift, bits);
}

fn check_reduction(lab: &Lab, reduction: &EvalMod, integers: i64, radius: f64, shift: bool, bits: i32) {
    let params = reduction.params();
    let ring = lab.context.ring();
    let limbs = reduction.depth() + 2;
    let slots = lab.context.slots() as i64;
    let cosine = Scale::pow2(36);
    let scale = reduction.input_scale(&ring.chain().q, limbs, &cosine);
    let u: Vec<f64> = lab.reals(4).iter().zip(0..).map(|(m, j)| (j * (2 * integers + 1) / slots - integers) as f64 + radius * m).collect();
    let quarter = if shift { 0.0 } else { 0.25 };
    let t: Vec<f64> = u.iter().map(|u| (u - quarter) / params.range).collect();
    let ct = lab.encrypt(&complex(&t), &scale, limbs, 9);
    let op = EvalModOp { eval_mod: reduction, limbs, input_scale: &scale, shift, cosine_scale: &cosine, gadget: lab.gadget };
    let (got, result) = eval_mod(ring, crate::isa(), vec![Input::Borrowed((&ct).into())], &op, &lab.keys).expect("reduced");
    assert_eq!(got[0][0].rows(), 2);
    assert!((result.log2() - 36.0).abs() < 1e-2, "the scale drifts to 2^{}", result.log2());
    let exact: Vec<f64> = u.iter().map(|&u| reduction.evaluate_clear(u)).collect();
    let got = lab.decrypt(&got[0], &result);
    close(&got, &complex(&exact), 2f64.powi(-bits));
    let sine: Vec<f64> = u.iter().map(|u| (std::f64::consts::TAU * u).sin()).collect();
    close(&got, &complex(&sine), 2f64.powi(-bits) + reduction.error_near_integers(radius));
}

#[test]
fn reductions_modulo_one() {
    let lab = Lab::new(8, 11, 4);
    let params = EvalModParams { range: 12.5, degree: 14, doublings: 4 };
    check_eval_mod(&lab, params, 12, 0.2, false, 14);
    check_eval_mod(&lab, params, 12, 0.2, true, 14);
    check_eval_mod(&lab, EvalModParams { range: 3.5, degree: 16, doublings: 2 }, 3, 0.1, true, 16);
    check_eval_mod(&lab, EvalModParams { range: 1.5, degree: 30, doublings: 0 }, 1, 0.25, true, 20);
    for range in [12.5, 14.5, 16.5] {
        let reduction = EvalMod::composite(range, 4).expect("parameters");
        let integers = (range - 0.5) as i64;
        check_reduction(&lab, &reduction, integers, 0.2, false, 14);
        check_reduction(&lab, &reduction, integers, 0.2, true, 14);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let lab = &*LAB;
    let (ring, scale) = (lab.context.ring(), Scale::pow2(36));
    let plan = Plan::new(7, Parity::Full, Basis::Chebyshev).expect("a plan");
    let ct = lab.encrypt(&complex(&lab.reals(1)), &scale, 5, 1);
    let row = coefficients(7, Parity::Full, 1);
    let run = |plan: &Plan, rows: &[&[f64]], limbs: usize, scale: &Scale, keys: &PreparedKeys| {
        let rows: Vec<Coefficients<'_>> = rows.iter().map(|r| Coefficients::Row(r)).collect();
        let op = PolynomialOp { plan, coefficients: &rows, limbs, input_scale: scale, output_scale: scale, gadget: lab.gadget };
        evaluate(ring, Isa::Scalar, vec![Input::Borrowed((&ct).into())], &op, keys)
    };
    assert!(run(&plan, &[&row], 5, &scale, &lab.keys).is_ok());
    assert!(run(&plan, &[&row[..3]], 5, &scale, &lab.keys).is_ok(), "short rows are fine");
    assert_eq!(run(&plan, &[&row], 3, &scale, &lab.keys), Err(PolynomialError::Limbs { limbs: 3, depth: 3 }));
    assert_eq!(run(&plan, &[&row], 9, &scale, &lab.keys), Err(PolynomialError::Limbs { limbs: 9, depth: 3 }));
    assert!(matches!(run(&plan, &[&row], 6, &scale, &lab.keys), Err(PolynomialError::Bundle(BundleError::InputShape { .. }))));
    assert_eq!(run(&plan, &[&row, &row], 5, &scale, &lab.keys), Err(PolynomialError::Rows { rows: 2, ciphertexts: 1 }));
    let none = PreparedKeys::new();
    assert!(matches!(run(&plan, &[&row], 5, &scale, &none), Err(PolynomialError::Bundle(BundleError::MissingKey { .. }))));
    let line = Plan::new(1, Parity::Odd, Basis::Chebyshev).expect("a plan");
    assert!(run(&line, &[&[0.0, 0.5]], 5, &scale, &none).is_ok(), "a line needs no key");
    assert_eq!(run(&line, &[&[0.5, 0.5]], 5, &scale, &none), Err(PlanError::Coefficient { row: 0, index: 0, degree: 1 }.into()));
    assert_eq!(run(&line, &[&[0.0, 0.5, 1.0]], 5, &scale, &none), Err(PlanError::Coefficient { row: 0, index: 2, degree: 1 }.into()));
    for bad in [f64::NAN, f64::INFINITY] {
        assert_eq!(run(&plan, &[&[0.0, 1.0, bad]], 5, &scale, &lab.keys), Err(PlanError::NotFinite { row: 0, index: 2 }.into()));
    }
    for large in [1e6, 1e18, 1e300] {
        let error = run(&plan, &[&[large, large]], 4, &scale, &lab.keys);
        assert!(matches!(error, Err(PolynomialError::Plan(PlanError::TooLarge { row: 0, .. }))), "{error:?}");
    }
    let tiny = Scale::pow2(-4);
    let op = PolynomialOp {
        plan: &plan,
        coefficients: &[Coefficients::Row(&row)],
        limbs: 5,
        input_scale: &scale,
        output_scale: &tiny,
        gadget: lab.gadget,
    };
    let error = evaluate(ring, Isa::Scalar, vec![Input::Borrowed((&ct).into())], &op, &lab.keys);
    assert!(matches!(error, Err(PolynomialError::Plan(PlanError::Scale(_)))), "{error:?}");
    let short = BundleError::Operands(1, 0).into();
    let op = PolynomialOp {
        plan: &plan,
        coefficients: &[Coefficients::Row(&row)],
        limbs: 5,
        input_scale: &scale,
        output_scale: &scale,
        gadget: lab.gadget,
    };
    assert_eq!(evaluate_halves(ring, Isa::Scalar, vec![Input::Borrowed((&ct).into())], vec![], &op, &lab.keys), Err(short));
}

#[test]
fn one_thread_or_many_and_more_than_a_group() {
    let lab = &*LAB;
    let (ring, scale) = (lab.context.ring(), Scale::pow2(36));
    let plan = Plan::new(5, Parity::Full, Basis::Chebyshev).expect("a plan");
    let cts: Vec<[RnsPoly; 2]> = (0..10).map(|i| lab.encrypt(&complex(&lab.reals(i)), &scale, 5, i)).collect();
    let rows: Vec<Vec<f64>> = (0..10).map(|i| coefficients(5, Parity::Full, i)).collect();
    let run = |range: std::ops::Range<usize>| {
        let rows: Vec<Coefficients<'_>> = rows[range.clone()].iter().map(|r| Coefficients::Row(r)).collect();
        let op = PolynomialOp { plan: &plan, coefficients: &rows, limbs: 5, input_scale: &scale, output_scale: &scale, gadget: lab.gadget };
        let inputs = cts[range].iter().map(|ct| Input::Borrowed(ct.into())).collect();
        evaluate(ring, crate::isa(), inputs, &op, &lab.keys).expect("evaluated")
    };
    let together = run(0..10);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("pool");
    assert!(one.install(|| run(0..10)) == together);
    assert!((0..10).all(|i| run(i..i + 1)[0] == together[i]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_polynomials(degree in 1usize..20, chebyshev: bool, output in 30i32..42, seed in 0u8..255) {
        let basis = if chebyshev { Basis::Chebyshev } else { Basis::Monomial };
        let plan = Plan::new(degree, Parity::Full, basis).expect("a plan");
        check(&plan, plan.depth() + 2, &Scale::pow2(output), seed);
    }
}
