//! Linear ops: what their table asks for, and what it costs to run it.

use super::Counts;
use chiffre_ir::table::DiagTable;
use chiffre_params::Gadget;
use chiffre_params::work::{EXTENDED_ROWS, PANEL_WEIGHT_BYTES};
use std::collections::BTreeSet;

/// A linear op on one unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearShape {
    /// Ciphertexts read.
    pub inputs: usize,
    /// Ciphertexts under a non-zero rotation.
    pub rotated: usize,
    /// Non-zero rotations.
    pub taps: usize,
    /// (input, non-zero rotation) pairs.
    pub rows: usize,
    /// Non-zero (row, output) cells.
    pub cells: usize,
    /// Weights: a cell has one for each of its masks.
    pub entries: usize,
    /// Words of a weight at one limb: its period, 1 for scalars.
    pub weight_words: usize,
    /// Output ciphertexts.
    pub outputs: usize,
    /// Limbs of the operands.
    pub limbs: usize,
    /// Limbs dropped by the rescale.
    pub drop: usize,
    /// Special primes of the gadget (0 if nothing is rotated).
    pub alpha: usize,
    /// How the outputs, if they are partial sums, are rotated and added.
    pub giants: Option<GiantShape>,
}

/// Giant steps of a linear op on one unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GiantShape {
    /// Non-zero steps.
    pub taps: usize,
    /// Sums.
    pub outputs: usize,
    /// Special primes of the gadget (0 if nothing is rotated).
    pub alpha: usize,
}

impl GiantShape {
    /// Partial sums under a non-zero rotation.
    pub fn rotated(&self) -> usize {
        self.taps * self.outputs
    }
    /// Digits, limbs of the result and of the extended basis for a result of so many limbs.
    fn limbs(&self, keep: usize) -> [usize; 3] {
        [keep.div_ceil(self.alpha.max(1)), keep, keep + self.alpha]
    }
    fn gadget(&self, keep: usize) -> Gadget {
        Gadget { limbs: keep, alpha: self.alpha }
    }
    fn counts(&self, keep: usize) -> Counts {
        if self.taps == 0 {
            return Counts::default();
        }
        let switch = Counts::mod_up(keep, self.gadget(keep)) + Counts::inner_product(keep, self.gadget(keep));
        let sum = Counts::mod_down(self.alpha, keep) + Counts::passes(keep + self.alpha);
        switch * self.rotated() as f64 + sum * (2 * self.outputs) as f64
    }
    /// Every key read once.
    fn keys(&self, keep: usize) -> Counts {
        if self.taps == 0 { Counts::default() } else { Counts::inner_product(keep, self.gadget(keep)) * self.taps as f64 }
    }
    /// Rows that exist at the worst moment between the partial sums and the result: what is
    /// decomposed, its digits, some of their rows in the extended basis, and both results.
    fn rows(&self, keep: usize) -> usize {
        let [digits, l, ext] = self.limbs(keep);
        self.rotated() * (2 * l + digits * (1 + EXTENDED_ROWS)) + self.outputs * (2 * l + 2 * ext)
    }
}

impl LinearShape {
    /// Of a table, with no limbs yet.
    pub fn of_table(t: &DiagTable) -> LinearShape {
        let turned: Vec<_> = t.rows.iter().filter(|r| t.taps[r.tap as usize] != 0).collect();
        let distinct = |rows: &mut dyn Iterator<Item = (u32, u32)>| rows.collect::<BTreeSet<_>>().len();
        LinearShape {
            inputs: distinct(&mut t.rows.iter().map(|r| (r.operand, r.ct))),
            rotated: distinct(&mut turned.iter().map(|r| (r.operand, r.ct))),
            taps: turned.iter().map(|r| t.taps[r.tap as usize]).collect::<BTreeSet<_>>().len(),
            rows: turned.len(),
            cells: t.cell_count(),
            entries: t.entries.len(),
            weight_words: if t.masks.is_empty() { 1 } else { t.period() },
            outputs: t.outputs,
            limbs: 0,
            drop: 0,
            alpha: 0,
            giants: None,
        }
    }
    /// Ciphertexts that come out.
    pub fn results(&self) -> usize {
        self.giants.map_or(self.outputs, |g| g.outputs)
    }
    /// (input, non-zero rotation) pairs and partial sums under a rotation.
    pub fn rotations(&self) -> usize {
        self.rows + self.giants.map_or(0, |g| g.rotated())
    }
    /// True if the coefficients of whole cells are made first, and then reduced modulo each prime.
    fn is_dense(&self) -> bool {
        self.weight_words > 1 && DiagTable::is_dense(self.entries, self.cells)
    }
    fn digits(&self) -> usize {
        if self.alpha == 0 { 0 } else { self.limbs.div_ceil(self.alpha) }
    }
    /// Counts for `units` units in steps of `together`.
    pub fn counts(&self, units: usize, together: usize) -> Counts {
        let ext = self.limbs + self.alpha;
        // Of partial sums only the component at s is divided, the other one when they have been
        // added.
        let divided = self.giants.map_or(2 * self.outputs, |g| self.outputs + g.outputs);
        let (removed, kept) = (self.alpha + self.drop, self.limbs - self.drop);
        let down = if removed > 0 { Counts::mod_down(removed, kept) } else { Counts::default() };
        let (up, key) = if self.alpha == 0 {
            Default::default()
        } else {
            let gadget = Gadget { limbs: self.limbs, alpha: self.alpha };
            (Counts::mod_up(self.limbs, gadget), Counts::inner_product(self.limbs, gadget))
        };
        let sums = Counts::macs(self.cells * 2 * ext) + Counts::passes(2 * self.outputs * ext);
        let unit = up * self.rotated as f64 + key * self.rows as f64 + sums + down * divided as f64;
        let giants = self.giants.map_or(Counts::default(), |g| g.counts(kept));
        let limbs = ext as f64 + if self.is_dense() { SUM_LIMBS } else { 0.0 };
        let expand = Counts { expand: self.cells as f64 * self.weight_words as f64 * limbs, ..Counts::default() };
        let read = key * self.taps as f64 + self.giants.map_or(Counts::default(), |g| g.keys(kept));
        (unit + giants) * units as f64 + (read * KEY_READ + expand) * units.div_ceil(together.max(1)) as f64
    }
    /// Bytes beyond its operands that `units` units need at the worst moment, when `freed` bytes of
    /// operands end with the op: limb by limb, digits and operands turn into sums, at last into
    /// results. Without [weights](Self::weight_bytes).
    pub fn extra(&self, n: usize, units: usize, freed: usize) -> usize {
        let ext = self.limbs + self.alpha;
        let digits = self.rotated * (self.digits() * ext).saturating_sub(self.limbs);
        let sums = match self.giants {
            None => 2 * self.outputs * ext,
            // The constant components of partial sums exist at one limb.
            Some(g) => (self.outputs * (ext + 1) + g.outputs * ext).max(g.rows(self.limbs - self.drop)),
        };
        (8 * units * digits * n).max((8 * units * sums * n).saturating_sub(freed))
    }
    /// Bytes of one limb's expanded weights.
    pub fn weight_bytes(&self) -> usize {
        let all = self.cells.saturating_mul(self.weight_words);
        8 * (all.min(PANEL_WEIGHT_BYTES / 8) + if self.is_dense() { all } else { 0 })
    }
}

/// Reading a limb of a key from memory costs as much as so many limbs of inner products; fitted,
/// with [`CostModel::expand`], to runs of one image.
const KEY_READ: f64 = 3.0;
/// Making the sum of a dense cell costs as much as expanding it at so many limbs.
const SUM_LIMBS: f64 = 8.0;
