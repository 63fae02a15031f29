//! The evaluator: what it computes against clear slots, that it gives the oracle's bits, and what
//! it refuses.

use crate::reference::Reference;
use chiffre_ckks::Isa;
use chiffre_ckks::bootstrap::{Arcsine, BootstrapSpec, Bootstrapper, FactorSpec};
use chiffre_ckks::bundle::{BundleError, EncodedTable, PreparedKeys};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::evaluator::{EvalError, Evaluator, LinearMap};
use chiffre_ckks::keys::{EvaluationKeys, KeyTarget, SeededSwitchingKey};
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::polynomial::{Basis, Parity, Plan, PolynomialError, evaluate_clear};
use chiffre_ckks::ring::{Gadget, Galois};
use chiffre_ckks::scale::Scale;
use chiffre_ckks::seed::UniformSampler;
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor};
use num_complex::Complex64;

const LOG_N: u32 = 10;
const LIMBS: usize = 6;
/// Two shapes: the smaller serves up to three limbs.
const SHAPES: [Gadget; 2] = [Gadget { limbs: LIMBS, alpha: 2 }, Gadget { limbs: 3, alpha: 1 }];

struct Lab {
    context: Context,
    secret: SecretKey,
    seeded: Vec<SeededSwitchingKey>,
    keys: PreparedKeys,
}

fn rng(seed: u8) -> Csprng {
    Csprng::from_seed([seed; 32])
}

impl Lab {
    fn new() -> Self {
        let targets = [3, -5].map(|r| KeyTarget::from(Galois::rotation(r, LOG_N)));
        let targets = targets.into_iter().chain([KeyTarget::Relinearization, Galois::conjugation(LOG_N).into()]);
        let targets: Vec<_> = targets.flat_map(|t| SHAPES.map(|g| (t, g))).collect();
        Self::with(LOG_N, &[44, 40, 40, 40, 40, 40], &[45; 2], &targets)
    }

    fn with(log_n: u32, q_bits: &[u32], p_bits: &[u32], targets: &[(KeyTarget, Gadget)]) -> Self {
        let literal = CkksParamsLiteral::generate(log_n, q_bits, p_bits).expect("primes");
        let context = Context::new(CkksParams::try_from(literal.insecure()).expect("marked")).expect("context");
        let secret = SecretKey::generate(&context, &mut rng(1));
        let seeded = KeyGenerator::new(&context, &secret, rng(2)).switching_keys(targets).expect("keys");
        let keys = PreparedKeys::expand(context.ring(), &seeded);
        Self { context, secret, seeded, keys }
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(&self.context, &self.keys)
    }

    /// Slots with parts in [-1, 1].
    fn slots(&self, seed: u8) -> Vec<Complex64> {
        let mut words = vec![0; 2 * self.context.slots()];
        UniformSampler::new([seed; 32], 0).fill(&mut words, 1 << 30);
        let part = |w: u64| w as f64 / f64::from(1 << 29) - 1.0;
        words.chunks_exact(2).map(|w| Complex64::new(part(w[0]), part(w[1]))).collect()
    }

    fn encrypt(&self, slots: &[Complex64], scale: &Scale, limbs: usize) -> Ciphertext {
        let plaintext = self.context.encode(slots, scale, limbs).expect("encode");
        SecretKeyEncryptor::new(&self.context, &self.secret, rng(3)).encrypt(&plaintext).expand(self.context.ring(), limbs)
    }

    #[track_caller]
    fn check(&self, got: &Ciphertext, want: impl Iterator<Item = Complex64>, bits: i32) {
        let got = self.context.decode(&Decryptor::new(&self.context, &self.secret).decrypt(got).expect("decrypt"));
        let worst = got.iter().zip(want).map(|(g, w)| (g - w).norm()).fold(0.0, f64::max);
        assert!(worst < 2f64.powi(-bits), "error 2^{:.1}", worst.log2());
    }
}

#[test]
fn products_and_rotations_take_the_smallest_key_and_give_the_oracles_bits() {
    let lab = Lab::new();
    let all: EvaluationKeys = lab.seeded.iter().map(|k| k.expand(lab.context.ring())).collect();
    let oracle = Reference::new(&lab.context, &all);
    let (x, y, scale) = (lab.slots(1), lab.slots(2), Scale::pow2(40));
    for limbs in [2, 3, 4, LIMBS] {
        let (a, b) = (lab.encrypt(&x, &scale, limbs), lab.encrypt(&y, &scale, limbs));
        let product = oracle.relinearize(&oracle.mul(&a, &b).expect("product")).expect("relinearised");
        for isa in Isa::available() {
            let eval = lab.evaluator().with_isa(isa);
            let got = eval.mul_relin(&a, &b).expect("product");
            assert!(got.polys == product.polys && got.scale == product.scale);
            assert!(eval.rotate(&a, -5).expect("rotation").polys == oracle.rotate(&a, -5).expect("rotation").polys);
            assert!(eval.conjugate(&a).expect("conjugate").polys == oracle.conjugate(&a).expect("conjugate").polys);
            assert!(eval.rescale(&got).expect("rescale").polys == oracle.rescale(&product).expect("rescale").polys);
            let fused = eval.mul(&a, &b).expect("product");
            assert_eq!((fused.limbs, &fused.scale), (limbs - 1, &eval.rescale(&got).expect("rescale").scale));
            lab.check(&fused, x.iter().zip(&y).map(|(x, y)| x * y), 20);
        }
    }
}

#[test]
fn linear_maps_reach_the_scale_that_is_asked_for() {
    let lab = Lab::new();
    let eval = lab.evaluator();
    let (x, scale, output) = (lab.slots(4), Scale::pow2(38), Scale::pow2(37));
    let n = x.len() as isize;
    let diagonals: Vec<(isize, Vec<f64>)> =
        [(0, 8), (3, 512), (-5, 1)].map(|(r, len)| (r, (0..len).map(|j| ((j + r * r) as f64).cos()).collect())).into();
    let table = EncodedTable::from_diagonals(lab.context.encoder(), &diagonals).expect("diagonals");
    let map = LinearMap { table: &table, output_scale: &output, drop: 1, bias: None, giants: None };
    // One plan serves all limbs.
    let prepared = eval.prepare_linear_map(&map, 1).expect("planned");
    for limbs in [2, 3, LIMBS] {
        let input = [lab.encrypt(&x, &scale, limbs)];
        let got = eval.apply_linear_map(&input, &prepared).expect("map");
        assert!(got == eval.linear_map(&input, &map).expect("map"), "in one call");
        assert_eq!((got.len(), got[0].limbs, &got[0].scale), (1, limbs - 1, &output));
        let at = |j: isize| diagonals.iter().map(move |(r, d)| (d[j as usize % d.len()], (j + r).rem_euclid(n) as usize));
        lab.check(&got[0], (0..n).map(|j| at(j).map(|(d, from)| d * x[from]).sum()), 20);
    }
    assert!(matches!(eval.apply_linear_map(&[], &prepared), Err(EvalError::Bundle(BundleError::Table(_)))));
    assert!(matches!(eval.prepare_linear_map(&map, 0), Err(EvalError::Bundle(BundleError::Table(_)))));
    let a = lab.encrypt(&x, &scale, 1);
    assert_eq!(eval.linear_map(&[a], &map), Err(EvalError::NoLimbsLeft { have: 1, want: 0 }));
    let low = LinearMap { output_scale: &Scale::pow2(-10), ..map };
    assert!(matches!(eval.linear_map(&[lab.encrypt(&x, &scale, 2)], &low), Err(EvalError::WeightScale { input: 0, .. })));
    let other = EncodedTable::from_diagonals(lab.context.encoder(), &[(7, vec![1.0])]).expect("diagonals");
    let missing = eval.linear_map(&[lab.encrypt(&x, &scale, 2)], &LinearMap { table: &other, ..map });
    assert!(matches!(missing, Err(EvalError::MissingKey { limbs: 2, .. })));
    let two = [lab.encrypt(&x, &scale, 2), lab.encrypt(&x, &scale, 3)];
    assert_eq!(eval.linear_map(&two, &map), Err(EvalError::Limbs { left: 2, right: 3 }));
    assert!(EncodedTable::from_diagonals(lab.context.encoder(), &[(0, vec![1.0; 3])]).is_err());
}

#[test]
fn polynomials_of_ciphertexts() {
    let lab = Lab::new();
    let eval = lab.evaluator();
    let (x, scale) = (lab.slots(5), Scale::pow2(39));
    let reals: Vec<Complex64> = x.iter().map(|z| Complex64::from(z.re)).collect();
    let plan = Plan::new(7, Parity::Full, Basis::Chebyshev).expect("plan");
    let row = [0.1, 0.5, -0.25, 0.2, 0.1, -0.1, 0.05, 0.02];
    let value = |x: f64| evaluate_clear(Basis::Chebyshev, &row, x);
    let got = eval.polynomial(&[lab.encrypt(&reals, &scale, 5)], &plan, &[&row], &scale).expect("polynomial");
    assert_eq!((got[0].limbs, &got[0].scale), (2, &scale));
    lab.check(&got[0], reals.iter().map(|z| Complex64::from(value(z.re))), 18);
    let got = eval.polynomial_of_parts(&[lab.encrypt(&x, &scale, 5)], &plan, &[&row], &scale).expect("polynomial");
    lab.check(&got[0], x.iter().map(|z| Complex64::new(value(z.re), value(z.im))), 18);
    let short = eval.polynomial(&[lab.encrypt(&reals, &scale, 3)], &plan, &[&row], &scale);
    assert_eq!(short, Err(PolynomialError::Limbs { limbs: 3, depth: 3 }.into()));
    let two = [lab.encrypt(&reals, &scale, 5), lab.encrypt(&reals, &Scale::pow2(38), 5)];
    assert!(matches!(eval.polynomial(&two, &plan, &[&row, &row], &scale), Err(EvalError::Scales { .. })));
}

#[test]
fn bootstraps_return_slots_at_more_limbs() {
    let factor = |log_radix, babies| FactorSpec { log_radix, babies };
    let spec = BootstrapSpec {
        log_n: LOG_N,
        alpha: 5,
        limbs: 17,
        slots_to_coeffs: vec![factor(4, 8), factor(5, 4)],
        coeffs_to_slots: vec![factor(3, 1), factor(3, 16), factor(3, 4)],
        ..BootstrapSpec::relu_15()
    };
    let mut q_bits = vec![45; spec.limbs];
    q_bits[0] = 30;
    let lab = Lab::with(LOG_N, &q_bits, &vec![46; spec.alpha], &spec.keys());
    let eval = lab.evaluator();
    let bootstrapper = Bootstrapper::new(lab.context.ring(), crate::isa(), lab.context.encoder(), &spec).expect("spec");
    let (x, scale, output, correction) = (lab.slots(6), Scale::pow2(60), Scale::pow2(45), Arcsine::new(3).expect("odd"));
    let got = eval.bootstrap(&[lab.encrypt(&x, &scale, 3)], &bootstrapper, 32.0, &correction, &output).expect("bootstrap");
    assert!(got[0].limbs > 3 && got[0].scale == output);
    lab.check(&got[0], x.iter().copied(), 9);
    let few = eval.bootstrap(&[lab.encrypt(&x, &scale, 2)], &bootstrapper, 32.0, &correction, &output);
    assert!(matches!(few, Err(EvalError::Bootstrap(_))));
}

#[test]
fn mismatches_are_refused() {
    let lab = Lab::new();
    let eval = lab.evaluator();
    let x = lab.slots(7);
    let a = lab.encrypt(&x, &Scale::pow2(40), 3);
    let lower = eval.mod_drop(&a, 2).expect("drop");
    lab.check(&lower, x.iter().copied(), 20);
    assert_eq!(eval.add(&a, &lower), Err(EvalError::Limbs { left: 3, right: 2 }));
    assert_eq!(eval.mul(&a, &lower), Err(EvalError::Limbs { left: 3, right: 2 }));
    let doubled = eval.mul_scalar(&a, 2.0, &Scale::pow2(1)).expect("weight");
    assert!(matches!(eval.sub(&a, &doubled), Err(EvalError::Scales { .. })));
    let last = eval.mod_drop(&a, 1).expect("drop");
    assert_eq!(eval.mul(&last, &last), Err(EvalError::NoLimbsLeft { have: 1, want: 0 }));
    assert_eq!(eval.rescale(&last), Err(EvalError::NoLimbsLeft { have: 1, want: 0 }));
    assert_eq!(eval.mod_drop(&a, 4), Err(EvalError::NoLimbsLeft { have: 3, want: 4 }));
    assert!(matches!(eval.rotate(&a, 1), Err(EvalError::MissingKey { limbs: 3, .. })));
    assert!(matches!(eval.mul_scalar(&a, f64::NAN, &Scale::pow2(1)), Err(EvalError::Weight { .. })));
    let plain = lab.context.encode(&x, &Scale::pow2(40), 2).expect("encode");
    assert_eq!(eval.mul_plain(&a, &plain), Err(EvalError::Limbs { left: 3, right: 2 }));
    // Of another ring, and not relinearised.
    let other = Lab::with(LOG_N - 1, &[44, 40, 40], &[45], &[]);
    let foreign = other.encrypt(&other.slots(1), &Scale::pow2(40), 3);
    assert!(matches!(eval.neg(&foreign), Err(EvalError::Bundle(BundleError::InputShape { .. }))));
    let mut three = a.clone();
    three.polys.push(a.polys[0].clone());
    assert_eq!(eval.add(&three, &a), Err(EvalError::Bundle(BundleError::NotRelinearised(3))));
}
