//! Refreshes on toy rings (insecure sizes) against clear arithmetic.

use chiffre_ckks::Isa;
use chiffre_ckks::bootstrap::{
    Activation, Arcsine, BootstrapError, BootstrapOp, BootstrapSpec, Bootstrapper, Direction, EncodedFactor, FactorPlan, FactorSpec,
    RefreshOp, Transforms, apply, matrix,
};
use chiffre_ckks::bundle::{BundleError, Input, PreparedKey, PreparedKeys};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::polynomial::{Basis, Coefficients, Parity, Plan};
use chiffre_ckks::ring::{Gadget, Galois, RnsPoly};
use chiffre_ckks::scale::Scale;
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor};
use num_complex::Complex64;

fn rng(seed: u8) -> Csprng {
    Csprng::from_seed([seed; 32])
}

fn number(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn slots(context: &Context, seed: u64, size: f64) -> Vec<Complex64> {
    let mut state = seed;
    (0..context.slots()).map(|_| Complex64::new(size * number(&mut state), size * number(&mut state))).collect()
}

fn worst(a: &[Complex64], b: &[Complex64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
}

fn bit_reversed<T: Copy>(x: &[T]) -> Vec<T> {
    let bits = x.len().ilog2();
    (0..x.len()).map(|i| x[i.reverse_bits() >> (usize::BITS - bits)]).collect()
}

/// A toy ring with the shape of a set for `N = 2^15`, and its keys.
struct Lab {
    context: Context,
    secret: SecretKey,
    keys: PreparedKeys,
    spec: BootstrapSpec,
}

fn toy_spec(log_n: u32) -> BootstrapSpec {
    let factor = |log_radix, babies| FactorSpec { log_radix, babies };
    let high = log_n - 1;
    BootstrapSpec {
        log_n,
        alpha: 5,
        limbs: 16,
        slots_to_coeffs: vec![factor(high / 2, 8), factor(high - high / 2, 4)],
        coeffs_to_slots: vec![factor(high - 6, 1), factor(3, 16), factor(3, 4)],
        ..BootstrapSpec::relu_15()
    }
}

impl Lab {
    fn new(spec: BootstrapSpec, prime_bits: u32) -> Self {
        let mut q_bits = vec![prime_bits; spec.limbs];
        q_bits[0] = 30;
        let literal = CkksParamsLiteral::generate(spec.log_n, &q_bits, &vec![prime_bits + 1; spec.alpha]).expect("primes");
        let context = Context::new(CkksParams::try_from(literal.insecure()).expect("marked")).expect("context");
        let secret = SecretKey::generate(&context, &mut rng(1));
        let mut generator = KeyGenerator::new(&context, &secret, rng(2)).with_sparse_weight(spec.weight);
        let keys = generator.switching_keys(&spec.keys()).expect("keys");
        let keys = keys.iter().map(|k| PreparedKey::new(context.ring(), k.expand(context.ring()))).collect();
        Self { context, secret, keys, spec }
    }

    fn transforms(&self, isa: Isa, range: f64) -> Transforms {
        Transforms::new(self.context.ring(), isa, self.context.encoder(), &self.spec, range, Scale::pow2(35)).expect("spec")
    }

    fn encrypt(&self, values: &[Complex64], scale: &Scale, limbs: usize) -> [RnsPoly; 2] {
        let plaintext = self.context.encode(values, scale, limbs).expect("encode");
        let ct = SecretKeyEncryptor::new(&self.context, &self.secret, rng(3)).encrypt(&plaintext).expand(self.context.ring(), limbs);
        <[RnsPoly; 2]>::try_from(ct.polys).expect("two")
    }

    fn decrypt(&self, polys: &[RnsPoly; 2], scale: &Scale) -> Vec<Complex64> {
        let ct = Ciphertext::new(polys.clone(), scale.clone());
        self.context.decode(&Decryptor::new(&self.context, &self.secret).decrypt(&ct).expect("decrypt"))
    }

    /// Coefficients of the phase, centred modulo the modulus in use.
    fn coefficients(&self, polys: &[RnsPoly; 2]) -> Vec<f64> {
        let ct = Ciphertext::new(polys.clone(), Scale::one());
        let plaintext = Decryptor::new(&self.context, &self.secret).decrypt(&ct).expect("decrypt");
        self.context.encoder().coefficients(self.context.ring(), &plaintext)
    }
}

#[test]
fn factors_are_their_matrices_for_every_split_into_steps() {
    let spec = toy_spec(9);
    let lab = Lab::new(spec.clone(), 40);
    let (ring, log_slots) = (lab.context.ring(), spec.log_n - 1);
    let gadget = Gadget { limbs: 4, alpha: 2 };
    for (direction, stages, babies) in [
        (Direction::SlotsToCoeffs, 0..3, 4),
        (Direction::SlotsToCoeffs, 2..5, 8),
        (Direction::SlotsToCoeffs, 5..8, 2),
        (Direction::CoeffsToSlots, 3..5, 16),
        (Direction::CoeffsToSlots, 6..8, 4),
        (Direction::CoeffsToSlots, 0..1, 1),
    ] {
        let plan = FactorPlan::new(direction, stages.clone(), log_slots, babies, 3, gadget);
        let targets: Vec<_> = plan.rotations().map(|r| (KeyTarget::Galois(Galois::rotation(r, spec.log_n)), gadget)).collect();
        let keys = KeyGenerator::new(&lab.context, &lab.secret, rng(4)).switching_keys(&targets).expect("keys");
        let keys: PreparedKeys = keys.iter().map(|k| PreparedKey::new(ring, k.expand(ring))).collect();
        let messages: Vec<Vec<Complex64>> = (0..5).map(|i| slots(&lab.context, i, 1.0)).collect();
        let scale = Scale::pow2(40);
        let inputs: Vec<[RnsPoly; 2]> = messages.iter().map(|m| lab.encrypt(m, &scale, 4)).collect();
        let factor = EncodedFactor::new(lab.context.encoder(), plan);
        let out_scale = Scale::pow2(40 + 30).div_prime(ring.moduli()[2].q());
        let clear = matrix(direction, stages.clone(), log_slots);
        let mut first = None;
        for isa in Isa::available() {
            let diagonals = factor.residues(ring, isa, 2f64.powi(30), 5);
            // some given away, and all longer than needed
            let given = inputs.iter().enumerate().map(|(i, ct)| match i % 2 {
                0 => Input::Borrowed(ct.into()),
                _ => Input::Owned(ct.clone()),
            });
            let got = apply(ring, isa, given.collect(), factor.plan(), &diagonals, &keys).expect("apply");
            if let Some(first) = &first {
                assert!(*first == got, "{isa:?} differs");
                continue;
            }
            for (got, message) in got.iter().zip(&messages) {
                assert_eq!(got[0].rows(), 2);
                let error = worst(&lab.decrypt(got, &out_scale), &clear.apply(message));
                assert!(error < 2f64.powi(-17), "{direction:?} {stages:?} {babies}: 2^{:.1}", error.log2());
            }
            first = Some(got);
        }
        let diagonals = factor.residues(ring, crate::isa(), 2f64.powi(30), 5);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("pool");
        let given = inputs.iter().map(|ct| Input::Borrowed(ct.into())).collect();
        let again = one.install(|| apply(ring, crate::isa(), given, factor.plan(), &diagonals, &keys).expect("apply"));
        assert!(first == Some(again), "one thread differs");
        let given = inputs.iter().map(|ct| Input::Borrowed(ct.into())).collect();
        let error = apply(ring, crate::isa(), given, factor.plan(), &diagonals, &PreparedKeys::new());
        assert!(matches!(error, Err(BundleError::MissingKey { .. })));
        let short: [RnsPoly; 2] = [inputs[0][0].truncated(2), inputs[0][1].truncated(2)];
        let error = apply(ring, crate::isa(), vec![Input::Owned(short)], factor.plan(), &diagonals, &keys);
        assert!(matches!(error, Err(BundleError::InputShape { .. })));
    }
}

#[test]
fn slots_become_coefficients_and_come_back_raised() {
    let lab = Lab::new(toy_spec(10), 36);
    let ring = lab.context.ring();
    let range = lab.spec.range as f64 - 0.25;
    let half = lab.context.slots();
    let scale = Scale::pow2(54);
    let messages: Vec<Vec<Complex64>> = (0..3).map(|i| slots(&lab.context, 9 + i, 1.2)).collect();
    let mut first = None;
    for isa in Isa::available() {
        let transforms = lab.transforms(isa, range);
        let inputs = messages.iter().map(|m| Input::Owned(lab.encrypt(m, &scale, 3))).collect();
        let low = transforms.slots_to_coeffs(ring, isa, inputs, scale.to_f64(), &lab.keys).expect("to coefficients");
        let raised = transforms.raise(ring, isa, low.clone(), &lab.keys).expect("raise");
        if let Some(first) = &first {
            assert!(*first == (low, raised), "{isa:?} differs");
            continue;
        }
        let q0 = ring.moduli()[0].q() as f64;
        for ((low, raised), message) in low.iter().zip(&raised).zip(&messages) {
            assert_eq!((low[0].rows(), raised[0].rows()), (1, lab.spec.limbs_reduction()));
            let coefficients: Vec<f64> = lab.coefficients(low).iter().map(|c| c / q0 * std::f64::consts::TAU).collect();
            let got: Vec<Complex64> = (0..half).map(|k| Complex64::new(coefficients[k], coefficients[k + half])).collect();
            let error = worst(&bit_reversed(&got), message);
            assert!(error < 2f64.powi(-14), "coefficients: 2^{:.1}", error.log2());
            let u: Vec<Complex64> = lab.decrypt(raised, transforms.output_scale()).iter().map(|z| z * range).collect();
            let mut largest = 0f64;
            let mut error = 0f64;
            for (u, z) in u.iter().zip(message) {
                for (u, v) in [(u.re, z.re), (u.im, z.im)] {
                    largest = largest.max(u.abs());
                    let m = u - v / std::f64::consts::TAU;
                    error = error.max((m - m.round()).abs());
                }
            }
            assert!(error < 2f64.powi(-14), "raised: 2^{:.1}", error.log2());
            assert!((2.0..range).contains(&largest), "integers of a sparse secret: {largest}");
        }
        first = Some((low, raised));
    }
}

/// Degree-7 coefficients, different for each channel.
fn activation(channel: usize) -> Vec<f64> {
    (0..8).map(|k| 0.6 * ((k * k + 3 * channel + 1) as f64).sin() / (1.0 + k as f64)).collect()
}

/// Root mean square and largest magnitude of the differences, of real and imaginary parts.
fn errors(got: &[Complex64], want: &[Complex64]) -> (f64, f64) {
    let differences: Vec<f64> = got.iter().zip(want).flat_map(|(a, b)| [a.re - b.re, a.im - b.im]).collect();
    let square: f64 = differences.iter().map(|d| d * d).sum();
    ((square / differences.len() as f64).sqrt(), differences.iter().fold(0.0, |a, d| a.max(d.abs())))
}

#[test]
fn refreshes_apply_the_activation_to_the_sine_of_each_half() {
    let lab = Lab::new(toy_spec(11), 36);
    let (ring, isa) = (lab.context.ring(), crate::isa());
    let bootstrapper = Bootstrapper::new(ring, isa, lab.context.encoder(), &lab.spec).expect("spec").with_group(2);
    let (input_scale, output_scale) = (Scale::pow2(54), Scale::pow2(32));
    let plan = Plan::new(7, Parity::Full, Basis::Chebyshev).expect("plan");
    let messages: Vec<Vec<Complex64>> = (0..5).map(|i| slots(&lab.context, 20 + i, 1.25)).collect();
    let inputs: Vec<[RnsPoly; 2]> = messages.iter().map(|m| lab.encrypt(m, &input_scale, 3)).collect();
    let coefficients: Vec<Vec<f64>> = (0..5).map(activation).collect();
    let rows: Vec<Coefficients<'_>> = coefficients.iter().map(|c| Coefficients::Row(c)).collect();
    let given = || inputs.iter().map(|ct| Input::Borrowed(ct.into())).collect::<Vec<_>>();
    let op = RefreshOp {
        input_scale: &input_scale,
        radians: 1.0,
        activation: Some(Activation { plan: &plan, coefficients: &rows }),
        output_scale: &output_scale,
    };
    let got = bootstrapper.refresh(ring, isa, given(), &op, &lab.keys).expect("refresh");
    let part = |c: &[f64], v: f64| chiffre_ckks::polynomial::evaluate_clear(Basis::Chebyshev, c, v.sin());
    for ((got, message), c) in got.iter().zip(&messages).zip(&coefficients) {
        assert_eq!(Some(got[0].rows()), lab.spec.limbs_out(7));
        let want: Vec<Complex64> = message.iter().map(|z| Complex64::new(part(c, z.re), part(c, z.im))).collect();
        let (std, worst) = errors(&lab.decrypt(got, &output_scale), &want);
        assert!(std < 2f64.powi(-13) && worst < 2f64.powi(-9), "std 2^{:.1}, worst 2^{:.1}", std.log2(), worst.log2());
    }
    // A group of another size, and given away: the same bits.
    let again = Bootstrapper::new(ring, isa, lab.context.encoder(), &lab.spec).expect("spec").with_group(8);
    let owned = inputs.iter().map(|ct| Input::Owned(ct.clone())).collect();
    assert!(again.refresh(ring, isa, owned, &op, &lab.keys).expect("refresh") == got);

    let error = bootstrapper.refresh(ring, isa, given()[..0].iter().map(|_| unreachable!()).collect(), &op, &lab.keys);
    assert!(matches!(error, Err(BootstrapError::Rows { rows: 5, ciphertexts: 0 })));
    let error = bootstrapper.refresh(ring, isa, given(), &op, &PreparedKeys::new());
    assert!(matches!(error, Err(BootstrapError::Bundle(BundleError::MissingKey { .. }))));
    let short = inputs.iter().map(|[b, a]| Input::Owned([b.truncated(2), a.truncated(2)])).collect();
    let error = bootstrapper.refresh(ring, isa, short, &op, &lab.keys);
    assert!(matches!(error, Err(BootstrapError::Bundle(BundleError::InputShape { .. }))));
    let fewer = BootstrapSpec { limbs: 40, ..lab.spec.clone() };
    assert!(matches!(Bootstrapper::new(ring, isa, lab.context.encoder(), &fewer), Err(BootstrapError::Spec(_))));
}

#[test]
fn sines_fold_where_they_must_and_real_parts_come_alone() {
    let both = Lab::new(toy_spec(10), 36);
    let real = Lab::new(BootstrapSpec { real_only: true, ..toy_spec(10) }, 36);
    for lab in [&both, &real] {
        let (ring, isa) = (lab.context.ring(), crate::isa());
        let bootstrapper = Bootstrapper::new(ring, isa, lab.context.encoder(), &lab.spec).expect("spec");
        let scale = Scale::pow2(52);
        // Well beyond pi/2: sines fold and stay within [-1, 1].
        let message = slots(&lab.context, 77, 3.0);
        let inputs = vec![Input::Owned(lab.encrypt(&message, &scale, 5))];
        let op = RefreshOp { input_scale: &scale, radians: 1.0, activation: None, output_scale: &scale };
        let got = bootstrapper.refresh(ring, isa, inputs, &op, &lab.keys).expect("refresh");
        assert_eq!(got[0][0].rows(), lab.spec.limbs_activation());
        let mut got = lab.decrypt(&got[0], bootstrapper.sine_scale());
        if lab.spec.real_only {
            got.iter_mut().for_each(|z| z.im = 0.0);
        }
        let sine = |z: &Complex64| Complex64::new(z.re.sin(), if lab.spec.real_only { 0.0 } else { z.im.sin() });
        let want: Vec<Complex64> = message.iter().map(sine).collect();
        let (std, worst) = errors(&got, &want);
        assert!(std < 2f64.powi(-12) && worst < 2f64.powi(-8), "std 2^{:.1}, worst 2^{:.1}", std.log2(), worst.log2());
    }
}

#[test]
fn bootstraps_return_the_slots() {
    // The arcsine asks for a finer sine than activations do: a series over a smaller range.
    let spec = BootstrapSpec { limbs: 17, range: 14, degree: 14, ..toy_spec(10) };
    let lab = Lab::new(spec, 45);
    let (ring, isa) = (lab.context.ring(), crate::isa());
    let bootstrapper = Bootstrapper::new(ring, isa, lab.context.encoder(), &lab.spec).expect("spec");
    let (input_scale, output_scale) = (Scale::pow2(60), Scale::pow2(45));
    let message = slots(&lab.context, 3, 1.0);
    for (degree, ratio, bits) in [(1, 256.0, 11.0), (3, 32.0, 14.0), (7, 16.0, 14.0)] {
        let correction = Arcsine::new(degree).expect("odd");
        let inputs = vec![Input::Owned(lab.encrypt(&message, &input_scale, 3))];
        let op = BootstrapOp { input_scale: &input_scale, ratio, correction: &correction, output_scale: &output_scale };
        let got = bootstrapper.bootstrap(ring, isa, inputs, &op, &lab.keys).expect("bootstrap");
        assert_eq!(got[0][0].rows(), lab.spec.limbs_activation() - correction.depth());
        let (std, _) = errors(&lab.decrypt(&got[0], &output_scale), &message);
        assert!(-std.log2() > bits, "degree {degree}, ratio {ratio}: {:.1} bits", -std.log2());
    }
    assert!(Arcsine::new(4).is_err());
}

/// Angles of many turns in half of the slots, which are nothing to a sine, and zeros elsewhere: in
/// turn, or apart, where errors of the first factor do not reach.
#[test]
fn large_angles_reach_other_slots_as_predicted() {
    for (log_n, bits, prime) in [(10, 54, 36), (11, 54, 36), (11, 58, 40)] {
        let lab = Lab::new(toy_spec(log_n), prime);
        let (ring, isa) = (lab.context.ring(), crate::isa());
        let bootstrapper = Bootstrapper::new(ring, isa, lab.context.encoder(), &lab.spec).expect("spec");
        let (scale, share) = (Scale::pow2(bits), lab.spec.spill(ring.chain(), 2f64.powi(bits)).expect("fits"));
        let n = lab.context.slots();
        for (size, apart) in [(0.02 / share, false), (0.2 / share, false), (0.2 / share, true)] {
            let turns = |x: f64| std::f64::consts::TAU * (size * x / std::f64::consts::TAU).round();
            let large = |j: usize| if apart { j >= n / 2 } else { j % 2 == 1 };
            let mut message = slots(&lab.context, 5, 1.0);
            message.iter_mut().enumerate().for_each(|(j, z)| {
                *z = if large(j) { Complex64::new(turns(z.re), turns(z.im)) } else { Complex64::ZERO };
            });
            let op = RefreshOp { input_scale: &scale, radians: 1.0, activation: None, output_scale: &scale };
            let inputs = vec![Input::Owned(lab.encrypt(&message, &scale, 5))];
            let got = bootstrapper.refresh(ring, isa, inputs, &op, &lab.keys).expect("refresh");
            let got = lab.decrypt(&got[0], bootstrapper.sine_scale());
            let rms = |z: &[Complex64]| (z.iter().map(Complex64::norm_sqr).sum::<f64>() / (2 * z.len()) as f64).sqrt();
            let others: Vec<Complex64> = (0..n).filter(|&j| !large(j)).map(|j| got[j]).collect();
            let (measured, predicted) = (rms(&others), share * rms(&message));
            println!("N = 2^{log_n}, angles up to {size:.0}: {measured:.2e}, predicted {predicted:.2e}");
            let least = if apart { 0.3 } else { 0.7 };
            assert!((least..1.4).contains(&(measured / predicted)), "{measured} {predicted}");
        }
    }
}

#[test]
fn noise_is_as_predicted() {
    for (log_n, bits, degree) in [(10, 36, 14), (12, 36, 14), (10, 40, 14), (10, 36, 16), (11, 36, 16), (12, 36, 16)] {
        let lab = Lab::new(BootstrapSpec { degree, ..toy_spec(log_n) }, bits);
        let (ring, isa) = (lab.context.ring(), crate::isa());
        let bootstrapper = Bootstrapper::new(ring, isa, lab.context.encoder(), &lab.spec).expect("spec");
        let scale = Scale::pow2(54);
        let op = RefreshOp { input_scale: &scale, radians: 1.0, activation: None, output_scale: &scale };
        let messages: Vec<Vec<Complex64>> = (0..8).map(|i| slots(&lab.context, 40 + i, 1.06)).collect();
        let inputs = messages.iter().map(|m| Input::Owned(lab.encrypt(m, &scale, 3))).collect();
        let got = bootstrapper.refresh(ring, isa, inputs, &op, &lab.keys).expect("refresh");
        let mut square = 0.0;
        for (got, message) in got.iter().zip(&messages) {
            let want: Vec<Complex64> = message.iter().map(|z| Complex64::new(z.re.sin(), z.im.sin())).collect();
            square += errors(&lab.decrypt(got, bootstrapper.sine_scale()), &want).0.powi(2) / 8.0;
        }
        let (got, want) = (square.sqrt().log2(), bootstrapper.predicted_noise(ring, 1.06).log2());
        let report = format!("N = 2^{log_n}, {bits} bits, degree {degree}: 2^{got:.2}, predicted 2^{want:.2}");
        println!("{report}");
        assert!((got - want).abs() < 1.0, "{report}");
    }
}
