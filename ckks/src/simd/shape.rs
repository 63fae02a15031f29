//! Where the weights of a linear map's panel lie, and residues of weight patterns.

use super::Isa;
use super::lanes::{Kernel, Lanes};
use crate::arithmetic::Modulus;
use std::ops::Range;

/// Words of a limb that are processed at a time.
pub const WINDOW: usize = 32;
/// Columns (eight words of one component) of a window.
pub(super) const COLUMNS: usize = 2 * WINDOW / 8;
/// Most windows whose columns are filled together.
const MOST_WINDOWS: usize = 8;
/// Words of columns that windows may fill together: half of a level-2 cache of a quarter of a MiB.
const WINDOWS_WORDS: usize = 1 << 14;
/// Outputs whose accumulators fit the registers.
const GROUP: usize = 8;

/// Outputs that take their dense sums over the same slots.
#[derive(Clone, Debug)]
pub struct OutputClass {
    /// The outputs.
    pub outputs: Vec<u32>,
    /// Pairs of dense slots, ascending: pair `p` is the slots `2 p` and `2 p + 1`.
    pub pairs: Vec<u32>,
}

/// Where the weights of a panel lie. A *stripe* holds the weights of one run of equal-weight words
/// of the limb (at least eight words, or exactly eight words with several words for each weight
/// when runs are shorter): dense weights by output group and slot, then sparse weights by output.
/// Weights are those of symmetric polynomials: the second half of the limb has the weights of the
/// first one, backwards, and there are stripes of the first half alone. When all words have equal
/// weights, there is one stripe. Outputs are ordered by class; *positions* count them in that
/// order.
#[derive(Clone, Debug)]
pub struct PanelShape {
    /// Output at each position, and the inverse.
    pub(super) outputs: Vec<u32>,
    positions: Vec<u32>,
    /// Dense pairs of all classes.
    pub(super) pairs: Vec<u32>,
    /// By position; those of a class are neighbours.
    pub(super) groups: Vec<Group>,
    /// Dense cells of a stripe.
    pub(super) dense: usize,
    pub(super) slots: usize,
    /// By position.
    pub(super) sparse_start: Vec<u32>,
    pub(super) sparse_slots: Vec<u32>,
    pub(super) run: usize,
    pub(super) lanes: usize,
}

/// Outputs of a class whose accumulators fit the registers: eight, and then four, two and one of
/// the rest.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// First position.
    pub first: usize,
    pub width: usize,
    /// In [`PanelShape::pairs`]; the same for all groups of a class.
    pub pairs: Range<usize>,
    /// First cell, of `2 * pairs.len() * width`.
    pub cells: usize,
}

impl PanelShape {
    /// Most slots of a panel: sums of that many products fit the accumulators, and a window's
    /// columns fit L2.
    pub const MAX_SLOTS: usize = 768;

    /// A panel of `slots` slots. `classes` are a partition of the outputs; `uses[o]` are the slots
    /// that output `o` reads, each once. Those outside the pairs of its class are sparse. `run` is
    /// the number of consecutive limb words with equal weights, a power of two.
    pub fn new(slots: usize, classes: &[OutputClass], uses: &[Vec<u32>], run: usize) -> Self {
        assert!(slots <= Self::MAX_SLOTS && run.is_power_of_two());
        assert!(uses.iter().flatten().all(|&s| (s as usize) < slots));
        let mut shape = Self {
            outputs: Vec::with_capacity(uses.len()),
            positions: vec![u32::MAX; uses.len()],
            pairs: Vec::new(),
            groups: Vec::new(),
            dense: 0,
            slots,
            sparse_start: vec![0],
            sparse_slots: Vec::new(),
            run: run.max(8),
            lanes: 8 / run.min(8),
        };
        for OutputClass { outputs, pairs } in classes {
            assert!(pairs.is_sorted_by(|a, b| a < b) && pairs.last().is_none_or(|&p| 2 * (p as usize) + 1 < slots));
            let start = shape.pairs.len();
            shape.pairs.extend_from_slice(pairs);
            let mut rest = outputs.len();
            while rest > 0 {
                let width = (1 << rest.ilog2()).min(GROUP);
                let group =
                    Group { first: shape.outputs.len() + outputs.len() - rest, width, pairs: start..shape.pairs.len(), cells: shape.dense };
                shape.groups.push(group);
                shape.dense += 2 * pairs.len() * width;
                rest -= width;
            }
            for &output in outputs {
                assert_eq!(shape.positions[output as usize], u32::MAX, "an output in two classes");
                shape.positions[output as usize] = shape.outputs.len() as u32;
                shape.outputs.push(output);
                let sparse = uses[output as usize].iter().filter(|&s| pairs.binary_search(&(s / 2)).is_err());
                let before = shape.sparse_slots.len();
                shape.sparse_slots.extend(sparse);
                assert!(2 * pairs.len() + shape.sparse_slots.len() - before <= Self::MAX_SLOTS);
                shape.sparse_start.push(shape.sparse_slots.len() as u32);
            }
        }
        assert_eq!(shape.outputs.len(), uses.len(), "an output in no class");
        shape
    }

    /// Limb words that one stripe serves, at least eight.
    pub fn stripe_span(&self) -> usize {
        self.run
    }

    /// Units of a limb of degree `n`.
    pub fn stripes(&self, n: usize) -> usize {
        (n / 2 / self.run).max(1)
    }

    /// Words for each weight of a stripe: 1, or as many as there are runs in eight words.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Weights of one stripe.
    pub fn cells(&self) -> usize {
        self.dense + self.sparse_slots.len()
    }

    /// Distance between stripes in words.
    pub fn stripe_stride(&self) -> usize {
        (self.cells() * self.lanes).next_multiple_of(8)
    }

    /// Cell of the weight of a slot that an output uses. Cells that no use names are zero weights.
    ///
    /// # Panics
    /// If the output does not use the slot.
    pub fn cell(&self, output: usize, slot: u32) -> usize {
        let position = self.positions[output] as usize;
        let group = &self.groups[self.groups.partition_point(|g| g.first <= position) - 1];
        match self.pairs[group.pairs.clone()].binary_search(&(slot / 2)) {
            Ok(pair) => group.cells + (2 * pair + slot as usize % 2) * group.width + position - group.first,
            Err(_) => {
                let list = self.sparse_start[position] as usize..self.sparse_start[position + 1] as usize;
                let at = self.sparse_slots[list.clone()].iter().position(|&s| s == slot);
                self.dense + list.start + at.expect("the output uses the slot")
            }
        }
    }

    /// Words of column scratch that [`linear_windows`](super::linear_windows) needs.
    pub fn scratch_words(&self) -> usize {
        self.windows() * COLUMNS * self.column_stride()
    }

    /// Windows whose columns are filled together, a power of two: with few slots, keys are then
    /// read in longer pieces.
    pub(super) fn windows(&self) -> usize {
        let most = (WINDOWS_WORDS / (COLUMNS * self.column_stride())).clamp(1, MOST_WINDOWS);
        1 << most.ilog2()
    }

    pub(super) fn column_stride(&self) -> usize {
        self.slots * 8 + 8 // off powers of two
    }
}

/// Coefficients that are summed at a time.
const SUM_BLOCK: usize = 256;

/// `out[j] = round(sum_t weight_t pattern_t[j]) mod q`; the sum is taken in order in double
/// precision. With each pattern comes its [`largest`] value.
pub fn expand_pattern(isa: Isa, m: &Modulus, terms: &[(f64, &[f64], f64)], out: &mut [u64]) {
    assert!(terms.iter().all(|(_, p, _)| p.len() == out.len()));
    if let [(weight, pattern, largest)] = terms {
        return residues(isa, m, *weight, pattern, *largest, out);
    }
    let mut sum = [0f64; SUM_BLOCK];
    for (block, out) in out.chunks_mut(SUM_BLOCK).enumerate() {
        let sum = &mut sum[..out.len()];
        isa.run(WeightedSum { terms, first: block * SUM_BLOCK, sum });
        residues(isa, m, 1.0, sum, largest(sum), out);
    }
}

/// `out[j] = round(weight pattern[j]) mod q`.
fn residues(isa: Isa, m: &Modulus, weight: f64, pattern: &[f64], largest: f64, out: &mut [u64]) {
    let bound = (m.q / 2) as f64;
    if out.len().is_multiple_of(8) && largest * weight.abs() < bound {
        return isa.run(ScaledResidues { m, weight, pattern, out });
    }
    for (out, p) in out.iter_mut().zip(pattern) {
        *out = m.from_f64(weight * p);
    }
}

/// `sum[j] = sum_t weight_t pattern_t[first + j]`, in order.
struct WeightedSum<'a> {
    terms: &'a [(f64, &'a [f64], f64)],
    first: usize,
    sum: &'a mut [f64],
}

impl Kernel for WeightedSum<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        self.sum.fill(0.0);
        for (weight, pattern, _) in self.terms {
            // Compiled for the lanes' instruction set; there is no fused multiply-add in it.
            self.sum.iter_mut().zip(&pattern[self.first..]).for_each(|(s, p)| *s += weight * p);
        }
    }
}

/// Largest magnitude; eight running maxima, because one would wait for itself.
pub fn largest(values: &[f64]) -> f64 {
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
