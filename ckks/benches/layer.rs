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
        let layer = [linear[0] + square[0], linear[1] + square[1]];
        let show = |[wall, cpu]: [f64; 2]| format!("{wall:.3} s ({cpu:.2} core-s)");
        println!("linear {}, square {}, layer {}, peak {:.2} GiB", show(linear), show(square), show(layer), peak());
    }
}

/// Wall and processor time; the latter is what counts on a busy machine.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }
    fn stop(self) -> [f64; 2] {
        [self.0.elapsed().as_secs_f64(), cpu() - self.1]
    }
}

/// Processor seconds of this process, in steps of 10 ms.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0) / 1048576.0
}
