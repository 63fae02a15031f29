//! Measured next to predicted precision of a chain of multiplications, rotations and rescales at N
//! = 2^16.
//!
//! `cargo run --release -p chiffre-ckks --example precision [bits of the Q primes] [log2 of the
//! scale]`

use std::error::Error;
use std::time::Instant;

use chiffre_ckks::bundle::PreparedKeys;
use chiffre_ckks::context::Context;
use chiffre_ckks::evaluator::Evaluator;
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::noise::{Estimate, NoiseModel};
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::ring::{Gadget, Galois};
use chiffre_ckks::scale::Scale;
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor, measured_error};
use num_complex::Complex64;

const LOG_N: u32 = 16;
const LIMBS: usize = 20;
const ALPHA: usize = 10;
const OFFSET: isize = 33;
/// The weight of each step, before it is rounded to what the scale allows.
const WEIGHT: f64 = 0.9;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let bits: u32 = arguments.next().map_or(Ok(48), |a| a.parse())?;
    let log_scale: i32 = arguments.next().map_or(Ok(30), |a| a.parse())?;

    let mut q_bits = [bits; LIMBS];
    q_bits[0] = 50;
    let params = CkksParams::try_from(CkksParamsLiteral::generate(LOG_N, &q_bits, &[50; ALPHA])?)?;
    println!("N = 2^{LOG_N}, log2 QP = {:.1}, {} bits of security", params.log_qp(), params.security_bits());
    let context = timed("tables", || Context::new(params))?;
    let mut rng = Csprng::from_os()?;
    let secret = timed("secret key", || SecretKey::generate(&context, &mut rng));
    let gadget = Gadget { limbs: LIMBS, alpha: ALPHA };
    let galois = Galois::rotation(OFFSET, LOG_N);
    let mut generator = KeyGenerator::new(&context, &secret, rng.fork());
    let seeded =
        timed("two switching keys", || generator.switching_keys(&[(KeyTarget::Relinearization, gadget), (galois.into(), gadget)]))?;
    let keys = timed("preparing them", || PreparedKeys::expand(context.ring(), &seeded));

    let unit = |shift: f64| -> Vec<Complex64> {
        (0..context.slots()).map(|j| Complex64::from_polar(1.0, (j as f64).powi(2) * 0.37 + shift)).collect()
    };
    let (mut want, factor) = (unit(0.0), unit(1.0));
    let scale = Scale::pow2(log_scale);
    let mut encryptor = SecretKeyEncryptor::new(&context, &secret, rng.fork());
    let mut encrypt = |values: &[Complex64]| -> Result<_, Box<dyn Error>> {
        let plaintext = timed("encoding", || context.encode(values, &scale, LIMBS))?;
        let seeded = timed("encryption", || encryptor.encrypt(&plaintext));
        Ok(timed("expanding it", || seeded.expand(context.ring(), LIMBS)))
    };
    let (mut got, fresh) = (encrypt(&want)?, encrypt(&factor)?);
    let decryptor = Decryptor::new(&context, &secret);
    let evaluator = Evaluator::new(&context, &keys);
    let model = NoiseModel::new(context.ring().chain());

    println!("\nx <- w rot(x y), modulus of y 1, scale 2^{log_scale}, Q primes of {bits} bits");
    println!("{:>5} {:>16} {:>16}", "limbs", "measured bits", "predicted bits");
    let start = Estimate { message: 1.0, error: model.fresh_secret_key().hypot(model.encoding(context.slots())) / scale.to_f64() };
    let mut estimate = start;
    loop {
        let measured = -measured_error(&context.decode(&decryptor.decrypt(&got)?), &want).log2();
        println!("{:>5} {measured:>16.2} {:>16.2}", got.limbs, estimate.bits());
        if got.limbs == 1 {
            return Ok(());
        }
        let limbs = got.limbs;
        let other = evaluator.mod_drop(&fresh, limbs)?;
        got = evaluator.mul_relin(&got, &other)?;
        got = evaluator.rotate(&got, OFFSET)?;
        let switch = model.switch_and_round(gadget, limbs) / got.scale.to_f64();
        let prime = context.params().q()[limbs - 1];
        let weight_scale = scale.mul_prime(prime).div(&got.scale);
        got = evaluator.rescale(&evaluator.mul_scalar(&got, WEIGHT, &weight_scale)?)?;
        let exact = (WEIGHT * weight_scale.to_f64()).round_ties_even() / weight_scale.to_f64();
        estimate = estimate.product(start).with_error(switch).with_error(switch);
        estimate = estimate.scaled(exact).with_error(model.rounding() / scale.to_f64());
        let n = want.len();
        want = (0..n).map(|j| (j + OFFSET as usize) % n).map(|j| want[j] * factor[j] * exact).collect();
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = work();
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    out
}
