//! Polynomials under real keys on small (insecure) rings against double precision, and plans by themselves.

use super::*;
use crate::bundle::{BundleError, CtRef, Input, PreparedKey, PreparedKeys};
use crate::ciphertext::Ciphertext;
use crate::client::{Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor};
use crate::context::Context;
use crate::keys::KeyTarget;
use crate::params::{CkksParams, CkksParamsLiteral};
use crate::ring::{Gadget, Galois, RnsPoly};
use crate::sample::Csprng;
use crate::scale::Scale;
use crate::simd::Isa;
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
        rng(seed).fill_uniform(&mut words, (1 << 20) + 1);
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
    rng(seed).fill_uniform(&mut words, 1 << 30);
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

#[test]
fn plans_have_least_depth_and_operands_in_time() {
    for plan in plans(31) {
        let degree = plan.degree();
        assert_eq!(plan.depth(), ((degree + 1) as f64).log2().ceil() as usize, "degree {degree}");
        let depth = |k: usize| if k == 1 { Some(0) } else { plan.powers().iter().find(|p| p.index == k).map(|p| p.depth) };
        for power in plan.powers() {
            let [a, b] = power.factors;
            assert!(a + b == power.index && a >= b && b >= 1);
            let difference = if plan.basis() == Basis::Chebyshev { a - b } else { 0 };
            for k in [a, b, difference].into_iter().filter(|&k| k > 0) {
                assert!(depth(k).is_some_and(|d| d < power.depth), "degree {degree}: {power:?} reads {k}");
            }
        }
        for (i, node) in plan.nodes().iter().enumerate() {
            for part in &node.parts {
                let (Part::Term(k) | Part::Product { basis: k, .. }) = part;
                assert!(depth(*k).is_some_and(|d| d < node.depth), "degree {degree}: {node:?} reads {k}");
                if let Part::Product { node: factor, .. } = part {
                    assert!(*factor < i && plan.nodes()[*factor].depth < node.depth);
                }
            }
        }
        assert_eq!(plan.nodes().last().map(|n| (n.depth, n.degree)), Some((plan.depth(), degree)));
    }
}

#[test]
fn relinearisations_are_as_few_as_known() {
    let count = |degree, parity| Plan::new(degree, parity, Basis::Chebyshev).expect("a plan").relinearisations();
    let full: Vec<usize> = [1, 2, 3, 4, 5, 6, 7, 8, 15].map(|d| count(d, Parity::Full)).into();
    assert_eq!(full, [0, 1, 2, 2, 3, 3, 4, 4, 7]);
    assert_eq!(count(14, Parity::Even), 5, "T2, T4, T8, a quotient and the sum");
    assert_eq!(count(7, Parity::Odd), 4);
    assert!(Plan::new(MAX_DEGREE, Parity::Full, Basis::Monomial).is_ok());
}

#[test]
fn impossible_plans_are_refused() {
    assert_eq!(Plan::new(0, Parity::Full, Basis::Monomial), Err(PolynomialError::Degree(0)));
    assert_eq!(Plan::new(MAX_DEGREE + 1, Parity::Full, Basis::Monomial), Err(PolynomialError::Degree(MAX_DEGREE + 1)));
    assert_eq!(Plan::new(5, Parity::Even, Basis::Chebyshev), Err(PolynomialError::Parity { degree: 5, parity: Parity::Even }));
}

#[test]
fn division_in_the_clear() {
    for basis in [Basis::Monomial, Basis::Chebyshev] {
        for (degree, g) in [(7, 4), (9, 2), (14, 8), (5, 5), (11, 3)] {
            let p = coefficients(degree, Parity::Full, degree as u8);
            let mut rest = p.clone();
            let quotient = scales::divide(basis, &mut rest, g);
            assert!(rest[g..].iter().all(|&c| c == 0.0));
            let mut unit = vec![0.0; g + 1];
            unit[g] = 1.0;
            for x in [-1.0, -0.3, 0.0, 0.7, 1.0] {
                let value = |c: &[f64]| evaluate_clear(basis, c, x);
                assert!((value(&p) - value(&quotient) * value(&unit) - value(&rest)).abs() < 1e-12);
            }
        }
    }
}

/// Evaluates random rows with the plan; all instruction sets give equal bits.
fn check(plan: &Plan, limbs: usize, output: &Scale, seed: u8) {
    let lab = &*LAB;
    let (ring, input) = (lab.context.ring(), Scale::pow2(36));
    let inputs: Vec<Vec<f64>> = (0..2).map(|i| lab.reals(seed ^ i)).collect();
    let rows: Vec<Vec<f64>> = (0..2).map(|i| coefficients(plan.degree(), plan.parity(), seed ^ (0x80 + i))).collect();
    let rows: Vec<&[f64]> = rows.iter().map(|r| &r[..]).collect();
    let cts: Vec<[RnsPoly; 2]> = inputs.iter().map(|x| lab.encrypt(&complex(x), &input, limbs, seed)).collect();
    let op = PolynomialOp { plan, coefficients: &rows, limbs, input_scale: &input, output_scale: output, gadget: lab.gadget };
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
    assert!(first == Some(evaluate(ring, Isa::detect(), owned, &op, &lab.keys).expect("evaluated")), "owned operands differ");
}

#[test]
fn every_degree_parity_and_basis() {
    for plan in plans(31) {
        check(&plan, plan.depth() + 2, &Scale::pow2(36), plan.degree() as u8);
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
fn adhoc() {
    for (d, p) in [
        (7, Parity::Full),
        (8, Parity::Full),
        (14, Parity::Even),
        (16, Parity::Even),
        (15, Parity::Full),
        (15, Parity::Odd),
        (23, Parity::Full),
        (27, Parity::Full),
        (30, Parity::Even),
        (31, Parity::Full),
        (31, Parity::Odd),
        (62, Parity::Even),
        (63, Parity::Full),
        (127, Parity::Full),
    ] {
        let t = std::time::Instant::now();
        let plan = Plan::new(d, p, Basis::Chebyshev).expect("plan");
        println!(
            "{d} {p:?}: relins {} nodes {} time {:?} powers {:?}",
            plan.relinearisations(),
            plan.nodes().len(),
            t.elapsed(),
            plan.powers().iter().map(|p| (p.index, p.depth)).collect::<Vec<_>>()
        );
        if d < 16 {
            for n in plan.nodes() {
                println!("   {n:?}");
            }
        }
    }
}
