//! Polynomials against the transforms that they count:
//! `cargo bench -p chiffre-ckks --bench polynomial`.
//!
//! The modular reduction of a bootstrap (degree 14, 4 doublings) and activations of degree 7 and
//! 15, on a bundle of eight ciphertexts at N = 2^15 with primes of 36 bits. Environment: `THREADS`
//! (1), `ROUNDS` (5), `LIMBS` (14, of the reduction).

mod common;

use chiffre_ckks::Isa;
use chiffre_ckks::bundle::Input;
use chiffre_ckks::polynomial::{
    Basis, Coefficients, EvalMod, EvalModOp, EvalModParams, Parity, Plan, PolynomialOp, eval_mod, evaluate, evaluate_halves,
    evaluate_packed,
};
use chiffre_ckks::ring::{Gadget, Ring, RnsPoly, primes::ntt_primes_below};
use chiffre_ckks::scale::Scale;
use chiffre_params::work::Counts;

const LOG_N: u32 = 15;
const GADGET: Gadget = Gadget { limbs: 18, alpha: 6 };
const COUNT: usize = 8;

fn main() {
    let number = |name: &str, default: usize| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (threads, rounds, limbs) = (number("THREADS", 1), number("ROUNDS", 5), number("LIMBS", 14));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("thread pool");
    pool.install(|| all(threads, rounds, limbs));
}

fn all(threads: usize, rounds: usize, limbs: usize) {
    let isa = Isa::detect();
    let primes = ntt_primes_below(36, LOG_N, GADGET.limbs + GADGET.alpha, &[]).expect("primes");
    let (q, p) = primes.split_at(GADGET.limbs);
    let ring = Ring::new(LOG_N, q, p).expect("ring");
    let keys = common::keys(&ring, GADGET, &[]);
    let scale = Scale::pow2(36);
    println!("N=2^{LOG_N} {} limbs, alpha {}, {COUNT} ciphertexts, threads={threads} {}", GADGET.limbs, GADGET.alpha, isa.name());

    let plain = EvalMod::new(EvalModParams { range: 14.5, degree: 14, doublings: 4 }).expect("parameters");
    let composite = EvalMod::composite(14.5, 4).expect("parameters");
    for (reduction, name) in [(plain, "degree 14"), (composite, "composite degree 16")] {
        let input = reduction.input_scale(&ring.chain().q, limbs, &scale);
        let op = EvalModOp { eval_mod: &reduction, limbs, input_scale: &input, shift: true, cosine_scale: &scale, gadget: GADGET };
        let name = format!("reduction of {name} with 4 doublings at {limbs} limbs");
        report(&ring, &name, COUNT, rounds, reduction.counts(limbs, GADGET), limbs, |inputs| {
            eval_mod(&ring, isa, inputs, &op, &keys).expect("reduced");
        });
    }

    for (degree, limbs) in [(7, 6), (15, 7)] {
        let plan = Plan::new(degree, Parity::Full, Basis::Chebyshev).expect("a plan");
        let row: Vec<f64> = (0..=degree).map(|k| 1.0 / (1.0 + k as f64)).collect();
        let rows = vec![Coefficients::Row(&row); COUNT];
        let op = PolynomialOp { plan: &plan, coefficients: &rows, limbs, input_scale: &scale, output_scale: &scale, gadget: GADGET };
        let counts = plan.counts(limbs, GADGET);
        report(&ring, &format!("degree {degree} at {limbs} limbs"), COUNT, rounds, counts, limbs, |inputs| {
            evaluate(&ring, isa, inputs, &op, &keys).expect("evaluated");
        });
        let half = PolynomialOp { coefficients: &rows[..COUNT / 2], ..op };
        report(&ring, &format!("degree {degree} at {limbs} limbs, halves"), COUNT, rounds, counts, limbs, |mut inputs| {
            let im = inputs.split_off(COUNT / 2);
            evaluate_halves(&ring, isa, inputs, im, &half, &keys).expect("evaluated");
        });
        let both = counts * 2.0 + Counts::key_switch(limbs, GADGET);
        report(&ring, &format!("degree {degree} at {limbs} limbs, packed"), COUNT, rounds, both, limbs, |inputs| {
            evaluate_packed(&ring, isa, inputs, &op, &keys).expect("evaluated");
        });
    }
}

/// Processor time of this thread with one thread, which is what counts on a busy machine, else wall
/// time.
struct Clock(std::time::Instant, Option<f64>);

impl Clock {
    fn start() -> Self {
        Self(std::time::Instant::now(), processor())
    }
    fn seconds(&self) -> f64 {
        match (self.1, processor()) {
            (Some(before), Some(now)) if rayon::current_num_threads() == 1 => now - before,
            _ => self.0.elapsed().as_secs_f64(),
        }
    }
}

fn processor() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? * 1e-9)
}

/// Median time for one ciphertext, next to its transforms as measured between the rounds.
fn report(ring: &Ring, name: &str, count: usize, rounds: usize, counts: Counts, limbs: usize, run: impl Fn(Vec<Input<'_>>)) {
    let inputs: Vec<[RnsPoly; 2]> = common::ciphertexts(ring, limbs, count);
    let (mut times, mut transforms) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let given = inputs.iter().map(|i| Input::Borrowed(i.into())).collect();
        let start = Clock::start();
        run(given);
        let time = start.seconds() / count as f64;
        if round == 0 {
            continue; // maps memory
        }
        times.push(time);
        transforms.push(transform(ring));
    }
    let (time, transform) = (median(times), median(transforms));
    let floor = counts.ntt * transform;
    println!(
        "{name}: {:.2} ms each; {} transforms of {:.1} us = {:.2} ms, ratio {:.2}",
        1e3 * time,
        counts.ntt,
        1e6 * transform,
        1e3 * floor,
        time / floor
    );
}

/// Seconds of one transform, over limbs that are not all in cache.
fn transform(ring: &Ring) -> f64 {
    let mut poly = common::poly(ring, 8, 0, 1);
    let start = Clock::start();
    for _ in 0..8 {
        for (row, limb) in poly.iter_mut().enumerate() {
            ring.ntt()[row].forward(limb);
        }
    }
    start.seconds() / 64.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
