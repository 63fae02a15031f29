use num_complex::Complex64;

use super::keyswitch::{decompose, inner_product, key_switch, mod_down};
use super::{EvalError, LinearTransform, Reference};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::keys::{EvaluationKeys, KeyTarget};
use chiffre_ckks::noise::{Estimate, NoiseModel};
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::ring::{Gadget, Galois, RnsPoly};
use chiffre_ckks::scale::Scale;
use chiffre_ckks::seed::UniformSampler;
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor, measured_error};

/// A client and its server in one, at an insecure size.
struct Lab {
    context: Context,
    secret: SecretKey,
    keys: EvaluationKeys,
    gadget: Gadget,
    scale: Scale,
}

const ROTATIONS: [isize; 4] = [1, -3, 16, 5];

impl Lab {
    fn new(log_n: u32, alpha: usize) -> Self {
        Self::with_specials(log_n, &[50; 4][..alpha])
    }

    fn with_specials(log_n: u32, p_bits: &[u32]) -> Self {
        let alpha = p_bits.len();
        let literal = CkksParamsLiteral::generate(log_n, &[48, 45, 45, 45, 45, 45], p_bits);
        let params = CkksParams::try_from(literal.expect("primes").insecure()).expect("marked");
        let context = Context::new(params).expect("context");
        let secret = SecretKey::generate(&context, &mut rng(1));
        let gadget = Gadget { limbs: 6, alpha };
        let mut targets: Vec<_> = ROTATIONS.iter().map(|&r| (KeyTarget::Galois(Galois::rotation(r, log_n)), gadget)).collect();
        targets.push((Galois::conjugation(log_n).into(), gadget));
        targets.push((KeyTarget::Relinearization, gadget));
        let keys = KeyGenerator::new(&context, &secret, rng(2))
            .switching_keys(&targets)
            .expect("keys")
            .iter()
            .map(|k| k.expand(context.ring()))
            .collect();
        Self { context, secret, keys, gadget, scale: Scale::pow2(40) }
    }

    fn evaluator(&self) -> Reference<'_> {
        Reference::new(&self.context, &self.keys)
    }

    fn encrypt(&self, values: &[Complex64], limbs: usize) -> Ciphertext {
        let plaintext = self.context.encode(values, &self.scale, limbs).expect("encode");
        SecretKeyEncryptor::new(&self.context, &self.secret, rng(3)).encrypt(&plaintext).expand(self.context.ring(), limbs)
    }

    fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<Complex64> {
        let plaintext = Decryptor::new(&self.context, &self.secret).decrypt(ciphertext).expect("decrypt");
        self.context.decode(&plaintext)
    }

    /// Numbers of modulus up to 1, from a seed.
    fn values(&self, seed: u8) -> Vec<Complex64> {
        let mut words = vec![0; 2 * self.context.slots()];
        UniformSampler::new([seed; 32], 0).fill(&mut words, 1 << 20);
        words
            .chunks(2)
            .map(|w| {
                let part = |x: u64| (x as f64 / f64::from(1 << 19) - 1.0) / 2f64.sqrt();
                Complex64::new(part(w[0]), part(w[1]))
            })
            .collect()
    }
}

fn rng(seed: u8) -> Csprng {
    Csprng::from_seed([seed; 32])
}

#[track_caller]
fn close(got: &[Complex64], want: &[Complex64], bound: f64) {
    let error = measured_error(got, want);
    assert!(error < bound, "error {error:e} is not below {bound:e}");
}

fn rotated(values: &[Complex64], offset: isize) -> Vec<Complex64> {
    let n = values.len() as isize;
    (0..n).map(|j| values[(j + offset).rem_euclid(n) as usize]).collect()
}

fn zip(a: &[Complex64], b: &[Complex64], f: impl Fn(Complex64, Complex64) -> Complex64) -> Vec<Complex64> {
    a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()
}

const TINY: f64 = 1.0 / (1u64 << 26) as f64;

#[test]
fn sums_and_differences() {
    let lab = Lab::new(10, 2);
    let (eval, x, y) = (lab.evaluator(), lab.values(10), lab.values(11));
    let (a, b) = (lab.encrypt(&x, 3), lab.encrypt(&y, 3));
    close(&lab.decrypt(&eval.add(&a, &b).expect("add")), &zip(&x, &y, |x, y| x + y), TINY);
    close(&lab.decrypt(&eval.sub(&a, &b).expect("sub")), &zip(&x, &y, |x, y| x - y), TINY);
    close(&lab.decrypt(&eval.neg(&a)), &zip(&x, &y, |x, _| -x), TINY);
    let p = lab.context.encode(&y, &lab.scale, 5).expect("encode");
    close(&lab.decrypt(&eval.add_plain(&a, &p).expect("add")), &zip(&x, &y, |x, y| x + y), TINY);
    // Degree 1 minus degree 2.
    let square = eval.square(&a).expect("square");
    let linear = eval.mul_scalar(&b, 1.0, &lab.scale).expect("weight");
    let got = lab.decrypt(&eval.sub(&linear, &square).expect("sub"));
    close(&got, &zip(&x, &y, |x, y| y - x * x), TINY);
}

#[test]
fn products() {
    let lab = Lab::new(10, 2);
    let (eval, x, y) = (lab.evaluator(), lab.values(12), lab.values(13));
    let (a, b) = (lab.encrypt(&x, 4), lab.encrypt(&y, 4));
    let want = zip(&x, &y, |x, y| x * y);
    let product = eval.mul(&a, &b).expect("mul");
    assert_eq!(product.degree(), 2);
    assert_eq!(product.scale, Scale::pow2(80));
    close(&lab.decrypt(&product), &want, TINY);
    let product = eval.relinearize(&product).expect("relinearize");
    close(&lab.decrypt(&product), &want, TINY);
    let rescaled = eval.rescale(&product).expect("rescale");
    assert_eq!(rescaled.limbs, 3);
    assert_eq!(rescaled.scale, Scale::pow2(80).div_prime(lab.context.params().q()[3]));
    close(&lab.decrypt(&rescaled), &want, TINY);
    let p = lab.context.encode(&y, &lab.scale, 4).expect("encode");
    close(&lab.decrypt(&eval.mul_plain(&a, &p).expect("mul")), &want, TINY);
    let period = &y[..4];
    let p = lab.context.encode(period, &lab.scale, 4).expect("encode");
    let want: Vec<_> = x.iter().zip(period.iter().cycle()).map(|(x, y)| x * y).collect();
    close(&lab.decrypt(&eval.mul_plain(&a, &p).expect("mul")), &want, TINY);
    let weighted = eval.mul_scalar(&a, -1.75, &Scale::pow2(20)).expect("weight");
    assert_eq!(weighted.scale, Scale::pow2(60));
    close(&lab.decrypt(&weighted), &zip(&x, &x, |x, _| x * -1.75), TINY);
    close(&lab.decrypt(&eval.mul_imaginary(&a)), &zip(&x, &x, |x, _| x * Complex64::I), TINY);
}

#[test]
fn rotations_at_all_limbs_and_gadgets() {
    for alpha in 1..=4 {
        let lab = Lab::new(10, alpha);
        let (eval, x) = (lab.evaluator(), lab.values(14));
        for limbs in 1..=6 {
            let a = lab.encrypt(&x, limbs);
            for (offset, got) in ROTATIONS.iter().zip(eval.rotate_hoisted(&a, &ROTATIONS).expect("rotate")) {
                close(&lab.decrypt(&got), &rotated(&x, *offset), TINY);
            }
            let conjugated = lab.decrypt(&eval.conjugate(&a).expect("conjugate"));
            close(&conjugated, &zip(&x, &x, |x, _| x.conj()), TINY);
        }
    }
}

#[test]
fn hoisting_changes_nothing() {
    let lab = Lab::new(10, 2);
    let a = lab.encrypt(&lab.values(15), 5);
    let eval = lab.evaluator();
    let together = eval.rotate_hoisted(&a, &ROTATIONS).expect("rotate");
    for (offset, hoisted) in ROTATIONS.iter().zip(together) {
        assert!(eval.rotate(&a, *offset).expect("rotate").polys == hoisted.polys);
    }
    assert!(eval.rotate(&a, 0).expect("rotate").polys == a.polys);
}

#[test]
fn linear_transforms_are_sums_of_rotated_diagonals() {
    let lab = Lab::new(10, 3);
    let (eval, x) = (lab.evaluator(), lab.values(16));
    let diagonals: Vec<(isize, Vec<Complex64>)> = [(0isize, 512), (1, 512), (-3, 8), (16, 1)]
        .iter()
        .map(|&(offset, period)| (offset, lab.values(17 + offset.unsigned_abs() as u8)[..period].to_vec()))
        .collect();
    let mut want = vec![Complex64::ZERO; x.len()];
    for (offset, diagonal) in &diagonals {
        for ((w, x), d) in want.iter_mut().zip(rotated(&x, *offset)).zip(diagonal.iter().cycle()) {
            *w += x * d;
        }
    }
    for (limbs, drop) in [(6, 1), (4, 2), (3, 0)] {
        let transform = LinearTransform::encode(&lab.context, &diagonals, &lab.scale, limbs, 3).expect("encode");
        let got = eval.linear_transform(&lab.encrypt(&x, limbs), &transform, drop).expect("transform");
        assert_eq!(got.limbs, limbs - drop);
        if drop < 2 {
            close(&lab.decrypt(&got), &want, TINY);
        }
    }
    let missing = LinearTransform::encode(&lab.context, &[(7, vec![Complex64::ONE])], &lab.scale, 3, 3).expect("encode");
    let error = eval.linear_transform(&lab.encrypt(&x, 3), &missing, 0).expect_err("no key");
    assert!(matches!(error, EvalError::MissingKey { limbs: 3, .. }));
}

#[test]
fn division_is_rounding_division() {
    let lab = Lab::new(10, 2);
    let ring = lab.context.ring();
    // Small integers times S come back exactly; with a remainder below S/2 too.
    let coefficients: Vec<i64> = (0..ring.n() as i64).map(|k| k * 1001 % 777 - 388).collect();
    let remainder: Vec<i64> = (0..ring.n() as i64).map(|k| (k * 7919 % 2001 - 1000) << 40).collect();
    for (limbs, keep, specials) in [(4, 4, 2), (4, 2, 2), (3, 1, 0)] {
        let mut poly = ring.embed(&coefficients, limbs, specials);
        let divisor: Vec<u64> = (keep..limbs + specials).map(|row| ring.moduli()[ring.modulus_index(row, limbs)].q()).collect();
        let add = ring.embed(&remainder, limbs, specials);
        for row in 0..limbs + specials {
            let m = &ring.moduli()[ring.modulus_index(row, limbs)];
            for q in &divisor {
                chiffre_ckks::ring::limb::mul_scalar_assign(m, poly.row_mut(row), m.reduce(*q));
            }
            chiffre_ckks::ring::limb::add_assign(m, poly.row_mut(row), add.row(row));
        }
        assert!(mod_down(ring, &poly, limbs, keep) == ring.embed(&coefficients, keep, 0));
    }
}

#[test]
fn key_switching_is_linear_up_to_its_noise() {
    let lab = Lab::new(10, 2);
    let ring = lab.context.ring();
    let key = lab.keys.get(KeyTarget::Relinearization, lab.gadget).expect("key");
    let zero = RnsPoly::new_zero(ring.n(), 5);
    assert!(key_switch(ring, &zero, key).iter().all(|p| *p == zero));
    let c = &lab.encrypt(&lab.values(18), 5).polys[1];
    let extended = inner_product(ring, &decompose(ring, c, lab.gadget), key, None);
    assert_eq!(extended[0].rows(), 5 + 2);
}

#[test]
fn mismatches_are_refused() {
    let lab = Lab::new(10, 2);
    let (eval, x) = (lab.evaluator(), lab.values(19));
    let a = lab.encrypt(&x, 3);
    let lower = eval.mod_drop(&a, 2).expect("drop");
    close(&lab.decrypt(&lower), &x, TINY);
    assert!(matches!(eval.add(&a, &lower), Err(EvalError::Limbs { left: 3, right: 2 })));
    let scaled = eval.mul_scalar(&a, 2.0, &Scale::pow2(1)).expect("weight");
    assert!(matches!(eval.add(&a, &scaled), Err(EvalError::Scales { .. })));
    assert!(matches!(eval.relinearize(&a), Err(EvalError::Degree { found: 1, expected: 2 })));
    let square = eval.square(&a).expect("square");
    assert!(matches!(eval.rotate(&square, 1), Err(EvalError::Degree { .. })));
    assert!(matches!(eval.rotate(&a, 2), Err(EvalError::MissingKey { .. })));
    assert!(matches!(eval.rescale_many(&a, 3), Err(EvalError::NoLimbsLeft { .. })));
    assert!(matches!(eval.mod_drop(&a, 4), Err(EvalError::NoLimbsLeft { .. })));
    assert!(matches!(eval.mul_scalar(&a, f64::NAN, &lab.scale), Err(EvalError::Weight { .. })));
}

/// Multiply, rotate, weigh and rescale until the chain ends; predictions follow measurements.
///
/// All slots have modulus 1, so that no slot's error grows faster than the others'.
#[test]
fn precision_of_a_chain_is_as_predicted() {
    const WEIGHT: f64 = 0.75;
    for log_n in [10, 12] {
        let mut lab = Lab::new(log_n, 2);
        lab.scale = Scale::pow2(30);
        let model = NoiseModel::new(lab.context.ring().chain());
        let eval = lab.evaluator();
        let unit = |seed| -> Vec<Complex64> { lab.values(seed).iter().map(|z| z / z.norm()).collect() };
        let (mut want, factor) = (unit(20), unit(21));
        let (mut got, fresh) = (lab.encrypt(&want, 6), lab.encrypt(&factor, 6));
        let start = Estimate { message: 1.0, error: model.fresh_secret_key().hypot(model.encoding(want.len())) / 2f64.powi(30) };
        let mut estimate = start;
        while got.limbs > 1 {
            let limbs = got.limbs;
            let other = eval.mod_drop(&fresh, limbs).expect("drop");
            got = eval.relinearize(&eval.mul(&got, &other).expect("mul")).expect("relinearize");
            got = eval.rotate(&got, 5).expect("rotate");
            let switch = model.switch_and_round(lab.gadget, limbs) / got.scale.to_f64();
            estimate = estimate.product(start).with_error(switch).with_error(switch);
            want = rotated(&zip(&want, &factor, |x, y| x * y), 5);
            // Back to 2^30 with a weight whose scale makes the rescale land there.
            let prime = lab.context.params().q()[limbs - 1];
            let weight_scale = lab.scale.mul_prime(prime).div(&got.scale);
            got = eval.rescale(&eval.mul_scalar(&got, WEIGHT, &weight_scale).expect("weight")).expect("rescale");
            assert_eq!(got.scale, lab.scale);
            let rounded = (WEIGHT * weight_scale.to_f64()).round_ties_even() / weight_scale.to_f64();
            estimate = estimate
                .scaled(WEIGHT)
                .with_error(estimate.message * (rounded - WEIGHT).abs())
                .with_error(model.rounding() / got.scale.to_f64());
            want = zip(&want, &want, |x, _| x * WEIGHT);
            let measured = -measured_error(&lab.decrypt(&got), &want).log2();
            println!("N = 2^{log_n}, {} limbs: measured {measured:.2} bits, predicted {:.2}", got.limbs, estimate.bits());
            assert!((measured - estimate.bits()).abs() < 1.0);
        }
    }
}

/// One operation at a time: the measured error against its term of the model.
#[test]
fn each_noise_source_is_as_predicted() {
    // Special primes as large as the others, so that the keys' noise shows, and larger, so that
    // rounding does.
    for p_bits in [&[45][..], &[45; 2], &[45; 4], &[50; 2]] {
        let lab = Lab::with_specials(11, p_bits);
        let model = NoiseModel::new(lab.context.ring().chain());
        let (eval, x) = (lab.evaluator(), lab.values(22));
        let a = lab.encrypt(&x, 6);
        let reference = lab.decrypt(&a);
        let check = |name: &str, got: &[Complex64], want: &[Complex64], scale: &Scale, predicted: f64| {
            let measured = measured_error(got, want) * scale.to_f64();
            println!("P {p_bits:?}, {name}: measured 2^{:.2}, predicted 2^{:.2}", measured.log2(), predicted.log2());
            assert!((measured.log2() - predicted.log2()).abs() < 1.0);
        };
        let fresh = model.fresh_secret_key().hypot(model.encoding(x.len()));
        check("fresh", &reference, &x, &a.scale, fresh);
        let turned = eval.rotate(&a, 1).expect("rotate");
        let predicted = model.switch_and_round(lab.gadget, 6);
        check("rotate", &lab.decrypt(&turned), &rotated(&reference, 1), &a.scale, predicted);
        let lower = eval.rotate(&eval.mod_drop(&a, 3).expect("drop"), 1).expect("rotate");
        let predicted = model.switch_and_round(lab.gadget, 3);
        check("rotate at 3 limbs", &lab.decrypt(&lower), &rotated(&reference, 1), &a.scale, predicted);
        let rescaled = eval.rescale(&a).expect("rescale");
        check("rescale", &lab.decrypt(&rescaled), &reference, &rescaled.scale, model.rounding());
        let square = eval.square(&eval.mul_scalar(&a, 1.0, &Scale::pow2(10)).expect("weight")).expect("square");
        let rescaled = eval.rescale_many(&square, 2).expect("rescale");
        check("rescale at degree 2", &lab.decrypt(&rescaled), &lab.decrypt(&square), &rescaled.scale, model.rounding_degree_2());
    }
}
