//! Random programs: encrypted runs against the clear.

use std::sync::LazyLock;

use chiffre_ckks::bundle::PreparedKeys;
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::evaluator::{EvalError, Evaluator};
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::ring::{Gadget, Galois};
use chiffre_ckks::scale::Scale;
use chiffre_ckks::seed::UniformSampler;
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, PublicKeyEncryptor, SecretKey, SecretKeyEncryptor};
use num_complex::Complex64;
use proptest::prelude::*;

const LOG_N: u32 = 10;
const LIMBS: usize = 6;
const OFFSETS: [isize; 3] = [1, -7, 64];

struct Lab {
    context: Context,
    secret: SecretKey,
    keys: PreparedKeys,
}

static LAB: LazyLock<Lab> = LazyLock::new(|| {
    let literal = CkksParamsLiteral::generate(LOG_N, &[50, 40, 40, 40, 40, 40], &[50, 50, 50]).expect("primes");
    let context = Context::new(CkksParams::try_from(literal.insecure()).expect("marked")).expect("context");
    let secret = SecretKey::generate(&context, &mut Csprng::from_seed([1; 32]));
    let mut generator = KeyGenerator::new(&context, &secret, Csprng::from_seed([2; 32]));
    // Two ranges of limbs, as programs have: a ciphertext takes the smallest key that serves it.
    let mut targets = Vec::new();
    for gadget in [Gadget { limbs: LIMBS, alpha: 3 }, Gadget { limbs: 3, alpha: 2 }] {
        targets.extend(OFFSETS.iter().map(|&r| (KeyTarget::Galois(Galois::rotation(r, LOG_N)), gadget)));
        targets.push((Galois::conjugation(LOG_N).into(), gadget));
        targets.push((KeyTarget::Relinearization, gadget));
    }
    let keys = PreparedKeys::expand(context.ring(), &generator.switching_keys(&targets).expect("keys"));
    Lab { context, secret, keys }
});

#[derive(Debug, Clone, Copy)]
enum Step {
    AddSelfRotated(usize),
    Conjugate,
    TimesI,
    Square,
    TimesFresh,
    TimesPlain,
    SubPlain,
    Weigh(f64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0usize..3).prop_map(Step::AddSelfRotated),
        Just(Step::Conjugate),
        Just(Step::TimesI),
        Just(Step::Square),
        Just(Step::TimesFresh),
        Just(Step::TimesPlain),
        Just(Step::SubPlain),
        (-1.0f64..1.0).prop_map(Step::Weigh),
    ];
    prop::collection::vec(step, 1..9)
}

/// A value, encrypted and clear.
#[derive(Clone)]
struct Pair {
    encrypted: Ciphertext,
    clear: Vec<Complex64>,
}

impl Pair {
    fn largest(&self) -> f64 {
        self.clear.iter().map(|z| z.norm()).fold(0.0, f64::max)
    }
}

/// Runs `steps`, leaving out those that the remaining limbs or the range of values do not allow.
fn run(lab: &Lab, steps: &[Step], fresh: &Pair, plain: &[Complex64]) -> Result<Pair, EvalError> {
    let eval = Evaluator::new(&lab.context, &lab.keys);
    let encode = |scale: &Scale, limbs| lab.context.encode(plain, scale, limbs).expect("encode");
    let mut x = fresh.clone();
    for step in steps {
        let Pair { encrypted: c, clear } = &x;
        let products_allowed = c.limbs > 1 && x.largest() < 8.0;
        let encrypted = match step {
            Step::AddSelfRotated(_) if x.largest() > 32.0 => continue,
            Step::Square | Step::TimesFresh | Step::TimesPlain | Step::Weigh(_) if !products_allowed => continue,
            Step::AddSelfRotated(k) => eval.add(c, &eval.rotate(c, OFFSETS[*k])?)?,
            Step::Conjugate => eval.conjugate(c)?,
            Step::TimesI => eval.mul_imaginary(c)?,
            Step::Square => eval.square(c)?,
            Step::TimesFresh => {
                let other = eval.mod_drop(&fresh.encrypted, c.limbs)?;
                eval.mul(c, &other)?
            }
            Step::TimesPlain => eval.rescale(&eval.mul_plain(c, &encode(&Scale::pow2(40), c.limbs))?)?,
            Step::SubPlain => eval.add_plain(&eval.neg(c)?, &encode(&c.scale, c.limbs))?,
            Step::Weigh(w) => {
                let prime = Scale::prime(lab.context.params().q()[c.limbs - 1]);
                let out = eval.rescale(&eval.mul_scalar(c, *w, &prime)?)?;
                assert_eq!(out.scale, c.scale);
                out
            }
        };
        let n = clear.len();
        let plain = |j: usize| plain[j % plain.len()];
        let clear = (0..n)
            .map(|j| match step {
                Step::AddSelfRotated(k) => clear[j] + clear[(j as isize + OFFSETS[*k]).rem_euclid(n as isize) as usize],
                Step::Conjugate => clear[j].conj(),
                Step::TimesI => clear[j] * Complex64::I,
                Step::Square => clear[j] * clear[j],
                Step::TimesFresh => clear[j] * fresh.clear[j],
                Step::TimesPlain => clear[j] * plain(j),
                Step::SubPlain => plain(j) - clear[j],
                Step::Weigh(w) => clear[j] * w,
            })
            .collect();
        x = Pair { encrypted, clear };
    }
    Ok(x)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn encrypted_runs_are_clear_runs(steps in steps(), log_period in 0u32..LOG_N, public: bool, seed: [u8; 32]) {
        let lab = &*LAB;
        let mut rng = Csprng::from_seed(seed);
        let mut random = |len: usize| -> Vec<Complex64> {
            let mut words = vec![0; 2 * len];
            UniformSampler::new(rng.seed(), 0).fill(&mut words, 1 << 30);
            let part = |w: u64| w as f64 / f64::from(1 << 29) - 1.0;
            words.chunks(2).map(|w| Complex64::new(part(w[0]), part(w[1]))).collect()
        };
        let clear = random(lab.context.slots());
        let plain = random(1 << log_period);
        let plaintext = lab.context.encode(&clear, &Scale::pow2(40), LIMBS).expect("encode");
        let encrypted = if public {
            let key = KeyGenerator::new(&lab.context, &lab.secret, rng.fork()).public_key();
            PublicKeyEncryptor::new(&lab.context, &key, rng.fork()).encrypt(&plaintext)
        } else {
            SecretKeyEncryptor::new(&lab.context, &lab.secret, rng.fork()).encrypt(&plaintext).expand(lab.context.ring(), LIMBS)
        };
        let out = run(lab, &steps, &Pair { encrypted, clear }, &plain).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let got = Decryptor::new(&lab.context, &lab.secret).decrypt(&out.encrypted).expect("decrypt");
        let got = lab.context.decode(&got);
        let worst = got.iter().zip(&out.clear).map(|(g, w)| (g - w).norm()).fold(0.0, f64::max);
        prop_assert!(worst < 2f64.powi(-16), "{worst:e} after {steps:?}");
    }
}

/// Parts of keys and ciphertexts survive a trip through words, and damage is noticed.
#[test]
fn seeded_parts_round_trip_and_are_checked() {
    use chiffre_ckks::ciphertext::SeededCiphertext;
    use chiffre_ckks::keys::{KeyTarget, PublicKey, SeededSwitchingKey};
    let lab = &*LAB;
    let ring = lab.context.ring();
    let mut generator = KeyGenerator::new(&lab.context, &lab.secret, Csprng::from_seed([5; 32]));
    let gadget = Gadget { limbs: 4, alpha: 2 };
    let key = generator.relinearization_key(gadget).expect("key");
    let again = SeededSwitchingKey::from_parts(ring, gadget, KeyTarget::Relinearization, *key.seed(), key.b().to_vec()).expect("parts");
    assert!(again.expand(ring).digits == key.expand(ring).digits);
    let too_large = Gadget { limbs: 7, alpha: 2 };
    assert!(SeededSwitchingKey::from_parts(ring, too_large, KeyTarget::Relinearization, *key.seed(), key.b().to_vec()).is_err());
    assert!(SeededSwitchingKey::from_parts(ring, gadget, KeyTarget::Relinearization, *key.seed(), key.b()[..1].to_vec()).is_err());
    let mut damaged = key.b().to_vec();
    damaged[1].row_mut(5)[3] = u64::MAX;
    assert!(SeededSwitchingKey::from_parts(ring, gadget, KeyTarget::Relinearization, *key.seed(), damaged).is_err());
    let even = Galois(4).into();
    assert!(SeededSwitchingKey::from_parts(ring, gadget, even, *key.seed(), key.b().to_vec()).is_err());

    let public = generator.public_key();
    assert!(PublicKey::from_parts(ring, *public.seed(), public.b().clone()).is_ok());
    assert!(PublicKey::from_parts(ring, *public.seed(), public.b().truncated(3)).is_err());
    let plaintext = lab.context.encode_real(&[0.5], &Scale::pow2(40), 3).expect("encode");
    let seeded = SecretKeyEncryptor::new(&lab.context, &lab.secret, Csprng::from_seed([6; 32])).encrypt(&plaintext);
    let again = SeededCiphertext::from_parts(ring, *seeded.seed(), seeded.c0().clone(), seeded.scale().clone()).expect("parts");
    assert!(again.expand(ring, 3).polys == seeded.expand(ring, 3).polys);
    let mut damaged = seeded.c0().clone();
    damaged.row_mut(0)[0] = ring.moduli()[0].q();
    assert!(SeededCiphertext::from_parts(ring, *seeded.seed(), damaged, Scale::one()).is_err());
}
