//! Cost model: operation counts of encrypted ops, and the machine's unit times.
//!
//! Counts follow the fused execution: one ModUp per rotated input, inner products and multiply-accumulates limb by limb, one ModDown merged
//! with the rescale per output polynomial; a product of complex-packed bundles has two key switches.

use crate::options::CompileOptions;
use crate::pack::choose_layout::Layouts;
use chiffre_ir::tensor::{TensorGraph, TensorOp};

/// Operations on limbs of one ring, and word operations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Number-theoretic transforms of one limb.
    pub ntt: f64,
    /// Multiply-accumulates of one word (weights, base conversions).
    pub mac: f64,
    /// Words passed through an element-wise or inner-product kernel.
    pub words: f64,
}

impl std::ops::Add for Counts {
    type Output = Counts;
    fn add(self, o: Counts) -> Counts {
        Counts { ntt: self.ntt + o.ntt, mac: self.mac + o.mac, words: self.words + o.words }
    }
}

/// A linear op: inputs that are rotated, rotations, non-zero cells, outputs.
#[derive(Clone, Copy, Debug)]
pub struct LinearShape {
    /// Ciphertexts under a non-zero rotation.
    pub rotated: usize,
    /// (input, non-zero rotation) pairs.
    pub rows: usize,
    /// Non-zero (row, output) cells.
    pub cells: usize,
    /// Output ciphertexts.
    pub outputs: usize,
    /// Limbs of the operands, dropped limbs, special primes.
    pub limbs: usize,
    /// Limbs dropped by the rescale.
    pub drop: usize,
    /// Special primes of the gadget (0 if nothing is rotated).
    pub alpha: usize,
}

/// Counts of a linear op in a ring of degree n.
pub fn linear_counts(s: LinearShape, n: f64) -> Counts {
    let (l, a) = (s.limbs as f64, s.alpha as f64);
    let ext = l + a;
    let digits = if s.alpha == 0 { 0.0 } else { (l / a).ceil() };
    let polys = 2.0 * s.outputs as f64;
    let up = Counts { ntt: s.rotated as f64 * (l + digits * (ext - l / digits.max(1.0))), mac: s.rotated as f64 * l * ext * n, words: 0.0 };
    let work = Counts { ntt: 0.0, mac: s.cells as f64 * 2.0 * ext * n, words: s.rows as f64 * 2.0 * digits * ext * n };
    let removed = a + s.drop as f64;
    let keep = l - s.drop as f64;
    let down =
        Counts { ntt: polys * (removed + if removed > 0.0 { keep } else { 0.0 }), mac: polys * removed * keep * n, words: polys * ext * n };
    up + work + down
}

/// Counts of `cts` products with relinearisation (and conjugation if complex-packed).
pub fn product_counts(cts: usize, limbs: usize, alpha: usize, complex: bool, n: f64) -> Counts {
    let s = LinearShape { rotated: cts, rows: cts, cells: 0, outputs: cts, limbs, drop: 0, alpha };
    let ks = linear_counts(s, n);
    let tensor = Counts { ntt: 0.0, mac: 0.0, words: 6.0 * cts as f64 * limbs as f64 * n };
    if complex { ks + ks + tensor } else { ks + tensor }
}

/// Unit times of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostModel {
    /// One transform at N = 2^16, seconds; other sizes scale with N log N.
    pub ntt_2_16: f64,
    /// One multiply-accumulate, seconds.
    pub mac: f64,
    /// One word of an element-wise pass, seconds.
    pub word: f64,
    /// Threads, and how well they share the work.
    pub threads: f64,
}

impl Default for CostModel {
    /// Two Zen 4 cores with AVX-512 IFMA, as measured in the kernels' benches.
    fn default() -> Self {
        CostModel { ntt_2_16: 220e-6, mac: 0.07e-9, word: 0.45e-9, threads: 1.85 }
    }
}

impl CostModel {
    /// Wall time of counted work, seconds.
    pub fn time(&self, c: Counts, log_n: usize) -> f64 {
        let n = (1u64 << log_n) as f64;
        let ntt = self.ntt_2_16 * n * log_n as f64 / (65536.0 * 16.0);
        (c.ntt * ntt + c.mac * self.mac + c.words * self.word) / self.threads
    }
    /// Predicted time of one micro-batch of a tensor graph under layouts, for a chain of `primes` primes.
    pub(crate) fn layout_time(&self, g: &TensorGraph, l: &Layouts, primes: usize, spare_bits: f64, opts: &CompileOptions) -> f64 {
        let n = (1u64 << l.log_n) as f64;
        let most = (spare_bits / opts.special_bits as f64).max(1.0) as usize;
        let alpha = |limbs: usize| limbs.div_ceil(2).min(most);
        let mut level = vec![primes; g.nodes.len()];
        let mut sum = Counts::default();
        for (v, node) in g.iter() {
            let limbs = node.args.iter().map(|a| level[a.index()]).min().unwrap_or(primes);
            let cts = l.values[v.index()].ct_count();
            level[v.index()] = limbs;
            match &node.op {
                TensorOp::LinearMap { kernels, .. } => {
                    level[v.index()] = limbs.saturating_sub(1).max(1);
                    for (a, k) in node.args.iter().zip(kernels) {
                        let shape = &g.consts.get(*k).shape;
                        let taps = shape[2] * shape[3];
                        let inputs = l.values[a.index()].ct_count();
                        let rotated = if taps > 1 { inputs } else { 0 };
                        let cells = taps * inputs * cts;
                        let s = LinearShape {
                            rotated,
                            rows: rotated * (taps - 1),
                            cells,
                            outputs: cts,
                            limbs,
                            drop: 1,
                            alpha: if taps > 1 { alpha(limbs) } else { 0 },
                        };
                        sum = sum + linear_counts(s, n);
                    }
                }
                TensorOp::Mul {} | TensorOp::Square {} => {
                    sum = sum + product_counts(cts, limbs, alpha(limbs), l.values[v.index()].complex.is_some(), n)
                }
                _ => {}
            }
        }
        self.time(sum, l.log_n)
    }
}
