//! Random graphs.

use crate::{check, removing, session};
use chiffre_testing::Rng;
use proptest::prelude::*;

/// A number of `lo..=hi`.
fn within(rng: &mut Rng, lo: i64, hi: i64) -> i64 {
    lo + rng.below((hi - lo + 1) as usize) as i64
}

fn list(values: impl IntoIterator<Item = i64>) -> String {
    values.into_iter().map(|x| x.to_string()).collect::<Vec<_>>().join(", ")
}

/// A network of linear maps, each with a rounding, or none, and a look-up behind it, that reads
/// every earlier value of enough bits. Nothing keeps its sums within their ranges.
struct Grown {
    rng: Rng,
    consts: Vec<String>,
    nodes: Vec<String>,
    /// Bits, channels and side of each value.
    values: Vec<(u32, usize, usize)>,
}

impl Grown {
    fn push(&mut self, op: &str, bits: u32, [lo, hi]: [i64; 2], channels: usize, side: usize) {
        let id = self.values.len();
        self.nodes.push(format!("%{id} = {op} : int<bits={bits} range={lo}..{hi} scale=1.0> {channels}x{side}x{side}"));
        self.values.push((bits, channels, side));
    }
    fn constant(&mut self, shape: &str, values: String) -> String {
        let name = format!("@c{}", self.consts.len());
        self.consts.push(format!("const {name} : i64[{shape}] = [{values}]"));
        name
    }
    /// A range of values modulo 2^(bits+1), not always about zero.
    fn range(&mut self, bits: u32) -> [i64; 2] {
        let lo = within(&mut self.rng, -(1 << bits), 0);
        [lo, lo + within(&mut self.rng, 1, (2 << bits) - 1)]
    }
    fn layer(&mut self) {
        let rng = &mut self.rng;
        let last = self.values.len() - 1;
        // The last value, and sometimes another one of the same extents or itself again.
        let (_, _, side) = self.values[last];
        let others: Vec<usize> = (0..=last).filter(|&v| self.values[v].2 == side).collect();
        let mut args = vec![last];
        if rng.below(2) == 0 {
            args.push(*rng.one_of(&others));
        }
        let most = args.iter().map(|&a| self.values[a].0).min().unwrap_or(1);
        let bits = within(rng, i64::from(most.min(2)), i64::from(most)) as u32;
        let (channels, kernel) = (1 + rng.below(3), 1 + rng.below(side.min(2)));
        let out = side + 1 - kernel;
        let mut kernels = vec![];
        for &a in &args {
            let inner = self.values[a].1;
            let weights: Vec<i64> = (0..channels * inner * kernel * kernel).map(|_| within(&mut self.rng, -4, 4)).collect();
            kernels.push(self.constant(&format!("{channels}x{inner}x{kernel}x{kernel}"), list(weights)));
        }
        let bias: Vec<i64> = (0..channels).map(|_| within(&mut self.rng, -9, 9)).collect();
        let bias = self.constant(&channels.to_string(), list(bias));
        let operands: Vec<String> = args.iter().map(|a| format!("%{a}")).collect();
        let ones = vec!["[1, 1]"; args.len()].join(", ");
        let zeros = vec!["[0, 0]"; args.len()].join(", ");
        let range = self.range(bits);
        self.push(
            &format!(
                "linear_map {} {{kernels=[{}], strides=[{ones}], origins=[{zeros}], bias={bias}}}",
                operands.join(", "),
                kernels.join(", ")
            ),
            bits,
            range,
            channels,
            out,
        );
        let mut read = bits;
        if bits > 4 || (bits > 1 && self.rng.below(3) > 0) {
            read = within(&mut self.rng, 1, i64::from(bits - 1).min(4)) as u32;
            let (range, from) = (self.range(read), self.values.len() - 1);
            self.push(&format!("round %{from}"), read, range, channels, out);
        }
        let bits = within(&mut self.rng, 3, 7) as u32;
        let [lo, hi] = self.range(bits);
        let rows = if self.rng.below(2) == 0 { 1 } else { channels };
        let entries: Vec<i64> = (0..rows << read).map(|_| within(&mut self.rng, lo, hi)).collect();
        let table = self.constant(&format!("{rows}x{}", 1 << read), list(entries));
        let from = self.values.len() - 1;
        self.push(&format!("lookup %{from} {{table={table}, flip={}}}", lo + hi), bits, [lo, hi], channels, out);
    }
}

fn grown(seed: u64) -> String {
    let mut g = Grown { rng: Rng::new(seed), consts: vec![], nodes: vec![], values: vec![] };
    let (bits, channels, side) = (within(&mut g.rng, 3, 7) as u32, 1 + g.rng.below(2), 2 + g.rng.below(2));
    let range = g.range(bits);
    g.push("input", bits, range, channels, side);
    for _ in 0..1 + g.rng.below(3) {
        g.layer();
    }
    // Every second value is put out, so that a difference is found where it begins.
    let returned: Vec<String> = (0..g.values.len()).filter(|v| v % 2 == g.values.len() % 2).map(|v| format!("%{v}")).collect();
    let last = format!("%{}", g.values.len() - 1);
    let returned = if returned.contains(&last) { returned } else { [returned, vec![last]].concat() };
    format!("{}\n{}\nreturn {}", g.consts.join("\n"), g.nodes.join("\n"), returned.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// An encrypted run yields the integers of the interpreter, whatever wraps on the way.
    #[test]
    fn encrypted_runs_are_the_interpreter_s(seed in any::<u64>()) {
        let s = if seed % 2 == 0 { session(&grown(seed)) } else { removing(&grown(seed)) };
        let mut rng = Rng::new(seed ^ 1);
        let images: Vec<f32> = (0..2 * s.input().shape.len()).map(|_| within(&mut rng, -140, 140) as f32).collect();
        check(&s, &images, 2);
    }
}
