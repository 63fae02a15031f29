//! One batched convolution layer and its square at full size:
//! `cargo bench -p chiffre-ckks --bench layer -- [limbs alpha channels period threads log_n]`.

mod common;

use chiffre_ckks::bundle::{CtRef, LinearOp, apply_linear, pair_square};
use chiffre_ckks::ring::Gadget;
use chiffre_ckks::simd::Isa;
use std::time::Instant;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let at = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let (limbs, alpha, channels, period, threads, log_n) = (at(0, 18), at(1, 9), at(2, 16), at(3, 1024), at(4, 2), at(5, 16));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("first use");
    let ring = common::ring(log_n as u32, limbs, alpha);
    let gadget = Gadget { limbs, alpha };
    let taps = common::conv_taps(32);
    let keys = common::keys(&ring, gadget, &taps[1..]);
    let table = common::conv_table(&taps, channels, channels, period);
    let inputs = common::ciphertexts(&ring, limbs, channels);
    let inputs: Vec<CtRef<'_>> = inputs.iter().map(CtRef::from).collect();
    let scales = vec![2f64.powi(20); channels];
    let op = LinearOp { table: &table, input_scales: &scales, limbs_in: limbs, bias: None, gadget, drop_limbs: 1 };
    let isa = Isa::detect();
    println!("N=2^{log_n} L={limbs} alpha={alpha} C={channels} period={period} threads={threads} {}", isa.name());
    for _ in 0..3 {
        let start = Clock::start();
        let out = apply_linear(&ring, isa, &inputs, &op, &keys).expect("linear");
        let linear = start.stop();
        let refs: Vec<CtRef<'_>> = out.iter().map(CtRef::from).collect();
        let start = Clock::start();
        pair_square(&ring, isa, &refs, limbs - 1, &keys, gadget).expect("square");
        let square = start.stop();
        let layer = std::array::from_fn(|i| linear[i] + square[i]);
        let show = |[wall, user, system]: [f64; 3]| format!("{wall:.3} s (user {user:.2}, system {system:.2})");
        println!("linear {}, square {}, layer {}, peak {:.2} GiB", show(linear), show(square), show(layer), peak());
    }
}

/// Wall and processor time; the latter is what counts on a busy machine.
struct Clock(Instant, [f64; 2]);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), processor())
    }
    fn stop(self) -> [f64; 3] {
        let [user, system] = processor();
        [self.0.elapsed().as_secs_f64(), user - self.1[0], system - self.1[1]]
    }
}

/// User and system seconds of this process, in steps of 10 ms.
fn processor() -> [f64; 2] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].map(|i| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0) / 100.0)
}

fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0) / 1048576.0
}
