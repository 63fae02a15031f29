//! Where the weights of a linear map's panel lie, and residues of weight patterns.

use super::Isa;
use super::lanes::{Kernel, Lanes};
use crate::ring::Modulus;
use std::ops::Range;

/// Words of a limb that are processed at a time.
pub const TILE: usize = 32;
/// Most columns (eight words of one component) of a tile.
pub(super) const COLUMNS: usize = 2 * TILE / 8;
/// Outputs whose accumulators fit the registers.
const GROUP: usize = 8;

/// Where the weights of a panel lie. A *unit* holds the weights of one run of equal-weight words of the limb (at least
/// eight words, or exactly eight words with one weight for each when runs are shorter): dense weights by output group
/// and slot, then sparse weights by output.
#[derive(Clone, Debug)]
pub struct PanelShape {
    pub(super) outputs: usize,
    pub(super) dense: usize,
    pub(super) slots: usize,
    pub(super) sparse_start: Vec<u32>,
    pub(super) sparse_slots: Vec<u32>,
    pub(super) run: usize,
    pub(super) lanes: usize,
}

impl PanelShape {
    /// Most slots of a panel: sums of that many products fit the accumulators, and a tile's columns fit L2.
    pub const MAX_SLOTS: usize = 768;

    /// A panel with slots `0..dense` dense (`dense` even), and for each output the list of further slots it uses, all
    /// below `slots`. `run` is the number of consecutive limb words with equal weights, a power of two.
    pub fn new(dense: usize, slots: usize, sparse: &[Vec<u32>], run: usize) -> Self {
        assert!(dense.is_multiple_of(2) && dense <= slots && slots <= Self::MAX_SLOTS && run.is_power_of_two());
        let mut sparse_start = vec![0];
        let mut sparse_slots = Vec::new();
        for list in sparse {
            assert!(list.iter().all(|&s| (s as usize) < slots) && list.len() <= Self::MAX_SLOTS);
            sparse_slots.extend_from_slice(list);
            sparse_start.push(sparse_slots.len() as u32);
        }
        let lanes = if run < 8 { 8 } else { 1 };
        Self { outputs: sparse.len(), dense, slots, sparse_start, sparse_slots, run: run.max(8), lanes }
    }

    /// Limb words that one unit serves, at least eight.
    pub fn unit_span(&self) -> usize {
        self.run
    }

    /// Words for each weight: 1, or 8 when every limb word has its own weight.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Weights of one unit.
    pub fn cells(&self) -> usize {
        self.dense * self.outputs + self.sparse_slots.len()
    }

    /// Distance between units in words.
    pub fn unit_stride(&self) -> usize {
        (self.cells() * self.lanes).next_multiple_of(8)
    }

    /// Cell of the dense weight of (slot, output).
    pub fn dense_cell(&self, slot: usize, output: usize) -> usize {
        let (group, width) = self.group(output);
        group * self.dense + slot * width + output - group
    }

    /// First output and width of the group of an output: groups of eight, then of four, two and one for the rest.
    pub(super) fn group(&self, output: usize) -> (usize, usize) {
        let mut first = self.outputs / GROUP * GROUP;
        if output < first {
            return (output / GROUP * GROUP, GROUP);
        }
        let mut width = GROUP / 2;
        loop {
            if (self.outputs - first) & width != 0 {
                if output < first + width {
                    return (first, width);
                }
                first += width;
            }
            width /= 2;
        }
    }

    /// Cells of the sparse weights of one output, in the order of its list.
    pub fn sparse_cells(&self, output: usize) -> Range<usize> {
        let base = self.dense * self.outputs;
        base + self.sparse_start[output] as usize..base + self.sparse_start[output + 1] as usize
    }

    /// Words of column scratch that [`linear_tiles`](super::linear_tiles) needs.
    pub fn scratch_words(&self) -> usize {
        COLUMNS * self.column_stride()
    }

    pub(super) fn column_stride(&self) -> usize {
        self.slots * 8 + 8 // off powers of two
    }
}

/// `out[j] = round(sum_t weight_t pattern_t[j]) mod q`; the sum is taken in order in double precision.
pub fn expand_pattern(isa: Isa, m: &Modulus, terms: &[(f64, &[f64])], out: &mut [u64]) {
    assert!(terms.iter().all(|(_, p)| p.len() == out.len()));
    if let [(weight, pattern)] = terms {
        let bound = (m.q / 2) as f64;
        if out.len().is_multiple_of(8) && largest(pattern) * weight.abs() < bound {
            return isa.run(ScaledResidues { m, weight: *weight, pattern, out });
        }
    }
    for (j, out) in out.iter_mut().enumerate() {
        *out = m.from_f64(terms.iter().fold(0.0, |s, (w, p)| s + w * p[j]));
    }
}

/// Largest magnitude; eight running maxima, because one would wait for itself.
fn largest(values: &[f64]) -> f64 {
    let mut top = [0f64; 8];
    for chunk in values.chunks(8) {
        for (top, x) in top.iter_mut().zip(chunk) {
            *top = if x.abs() > *top { x.abs() } else { *top };
        }
    }
    top.iter().fold(0.0, |a, &b| a.max(b))
}

struct ScaledResidues<'a> {
    m: &'a Modulus,
    weight: f64,
    pattern: &'a [f64],
    out: &'a mut [u64],
}

impl Kernel for ScaledResidues<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let q = lanes.splat(self.m.q);
        for at in (0..self.out.len()).step_by(8) {
            // SAFETY: both slices have this length, a multiple of eight.
            unsafe {
                let v = lanes.scaled_residues(self.pattern.as_ptr().add(at), self.weight, q);
                lanes.store(self.out.as_mut_ptr().add(at), v);
            }
        }
    }
}
