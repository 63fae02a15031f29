//! One batched convolution layer and its square at full size: `cargo bench -p chiffre-ckks --bench
//! layer -- [phases] [give] [limbs alpha channels period threads log_n]`.
//!
//! With `phases` the low bits of x and y select the ciphertext: four times the ciphertexts for four
//! times the images, and three rotations of each instead of eight. Times are also given for 64
//! images (at N = 2^16). With `give` the layer owns its inputs, which shows in the peak.

mod common;

use chiffre_ckks::Isa;
use chiffre_ckks::bundle::{EncodedTable, Input, LinearOp, apply_linear, pair_square};
use chiffre_ckks::ring::{Gadget, Ring};
use chiffre_params::table::{Entry, Row};
use std::time::Instant;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let at = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let [phases, give] = ["phases", "give"].map(|word| std::env::args().any(|a| a == word));
    let (limbs, alpha, channels, period, threads, log_n) =
        (at(0, 18), at(1, 9), at(2, 16), at(3, if phases { 256 } else { 1024 }), at(4, 2), at(5, 16));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("first use");
    let ring = common::ring(log_n as u32, limbs, alpha);
    let gadget = Gadget { limbs, alpha };
    let taps = common::conv_taps(if phases { 16 } else { 32 });
    let keys = common::keys(&ring, gadget, &taps[1..]);
    let table =
        if phases { phase_table(&ring, 16, channels, period) } else { common::conv_table(&ring, &taps, channels, channels, period) };
    let (count, share) = if phases { (4 * channels, 4.0) } else { (channels, 1.0) };
    let mut inputs = common::ciphertexts(&ring, limbs, count);
    let scales = vec![2f64.powi(20); count];
    let op = LinearOp {
        table: table.table(),
        first: table.first(),
        patterns: table.patterns(),
        plan: None,
        input_scales: &scales,
        limbs_in: limbs,
        bias: None,
        gadget,
        drop_limbs: 1,
        giants: None,
    };
    let isa = Isa::detect();
    println!("N=2^{log_n} L={limbs} alpha={alpha} C={channels} period={period} threads={threads} {}", isa.name());
    for _ in 0..3 {
        if inputs.is_empty() {
            inputs = common::ciphertexts(&ring, limbs, count);
        }
        let given: Vec<Input<'_>> = match give {
            true => inputs.drain(..).map(Input::Owned).collect(),
            false => inputs.iter().map(|i| Input::Borrowed(i.into())).collect(),
        };
        let start = Clock::start();
        let out = apply_linear(&ring, isa, vec![given], &op, &keys).expect("linear").swap_remove(0);
        let linear = start.stop();
        let out = out.into_iter().map(Input::Owned).collect();
        let start = Clock::start();
        pair_square(&ring, isa, out, limbs - 1, &keys, gadget).expect("square");
        let square = start.stop();
        let layer = std::array::from_fn(|i| linear[i] + square[i]);
        let show = |[wall, user, system]: [f64; 3]| format!("{wall:.3} s (user {user:.2}, system {system:.2})");
        println!("linear {}, square {}, layer {}, peak {:.2} GiB", show(linear), show(square), show(layer), peak());
        if phases {
            let [linear, square, layer] = [linear, square, layer].map(|t| show(t.map(|t| t / share)));
            println!("  for 64 images: linear {linear}, square {square}, layer {layer}");
        }
    }
}

/// A dense 3x3 convolution between ciphertexts that hold every second pixel of every second row:
/// input and output `4 c + 2 py + px` are phase `(px, py)` of channel `c`, with rows of `side`
/// slots. Output phase 0 reads the odd phase at offsets -1 and 0, output phase 1 the even one at 0
/// and 1, in each direction.
fn phase_table(ring: &Ring, side: isize, channels: usize, period: usize) -> EncodedTable {
    let taps = common::conv_taps(side);
    let mut table = common::literal(&taps, 4 * channels, period);
    let mut rows = std::collections::BTreeMap::<(u32, u32), Vec<u32>>::new();
    for output in 0..4 * channels {
        let phase = [output % 2, output / 2 % 2].map(|p| p as isize);
        for input in 0..channels {
            for (dy, dx) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dy, dx))) {
                let at = [phase[0] + dx, phase[1] + dy];
                let source = 4 * input + (2 * at[1].rem_euclid(2) + at[0].rem_euclid(2)) as usize;
                let offset = at[1].div_euclid(2) * side + at[0].div_euclid(2);
                let tap = taps.iter().position(|&t| t == offset).expect("a tap of the convolution");
                rows.entry((tap as u32, source as u32)).or_default().push(output as u32);
            }
        }
    }
    for ((tap, ct), outputs) in rows {
        let row = table.rows.len();
        table.rows.push(Row { operand: 0, ct, tap });
        for output in outputs {
            let mask = (period > 0 && tap != 0).then_some(tap);
            let weight = ((row * 31 + output as usize * 7) as f64).cos();
            table.entries.push(Entry { row: row as u32, output, mask, weight });
        }
    }
    common::encoded(ring, table)
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
