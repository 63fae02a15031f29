//! Cost model: operation counts and scratch memory of encrypted ops, and the machine's unit times.
//!
//! Counts follow the fused execution: one ModUp per rotated input, inner products and multiply-accumulates limb by limb, one ModDown merged
//! with the rescale per output polynomial; a product of complex-packed bundles has two key switches.

mod series;

pub use series::{SeriesShape, relinearisations};

use chiffre_ir::table::DiagTable;
use std::iter::Sum;
use std::ops::{Add, Mul};

/// Operations on limbs of one ring, and word operations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Number-theoretic transforms of one limb.
    pub ntt: f64,
    /// Multiply-accumulates of one word: weights.
    pub mac: f64,
    /// Multiply-accumulates of one word: base conversions.
    pub convert: f64,
    /// Words of one key digit in inner products.
    pub words: f64,
    /// Words passed through an element-wise kernel.
    pub passes: f64,
    /// Words of expanded weights.
    pub expand: f64,
}

impl Add for Counts {
    type Output = Counts;
    fn add(self, o: Counts) -> Counts {
        Counts {
            ntt: self.ntt + o.ntt,
            mac: self.mac + o.mac,
            convert: self.convert + o.convert,
            words: self.words + o.words,
            passes: self.passes + o.passes,
            expand: self.expand + o.expand,
        }
    }
}

impl Mul<f64> for Counts {
    type Output = Counts;
    fn mul(self, k: f64) -> Counts {
        Counts {
            ntt: self.ntt * k,
            mac: self.mac * k,
            convert: self.convert * k,
            words: self.words * k,
            passes: self.passes * k,
            expand: self.expand * k,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(iter: I) -> Counts {
        iter.fold(Counts::default(), |a, b| a + b)
    }
}

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
    fn counts(&self, n: f64, keep: usize) -> Counts {
        let [digits, l, ext] = self.limbs(keep).map(|x| x as f64);
        let (rotated, polys) = (self.rotated() as f64, 2.0 * self.outputs as f64);
        if self.taps == 0 {
            return Counts::default();
        }
        Counts {
            ntt: rotated * digits * ext + polys * ext,
            convert: (rotated * l * (ext - l / digits) + polys * self.alpha as f64 * l) * n,
            words: rotated * 2.0 * digits * ext * n,
            passes: polys * ext * n,
            ..Counts::default()
        }
    }
    /// Words of the keys.
    fn keys(&self, n: f64, keep: usize) -> f64 {
        let [digits, _, ext] = self.limbs(keep).map(|x| x as f64);
        self.taps as f64 * 2.0 * digits * ext * n
    }
    /// Rows that exist at the worst moment between the partial sums and the result: what is decomposed, its digits, some of their rows in the
    /// extended basis, and both results.
    fn rows(&self, keep: usize) -> usize {
        let [digits, l, ext] = self.limbs(keep);
        self.rotated() * (2 * l + digits * (1 + EXTENDED_ROWS)) + self.outputs * (2 * l + 2 * ext)
    }
}

impl LinearShape {
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
    /// Counts for `units` units in steps of `together`, in a ring of degree n.
    pub fn counts(&self, n: f64, units: usize, together: usize) -> Counts {
        let (l, a, digits) = (self.limbs as f64, self.alpha as f64, self.digits() as f64);
        let ext = l + a;
        // Of partial sums only the component at s is divided, the other one when they have been added.
        let divided = self.giants.map_or(2 * self.outputs, |g| self.outputs + g.outputs) as f64;
        let rotated = self.rotated as f64;
        let (removed, keep) = (a + self.drop as f64, l - self.drop as f64);
        let down = if removed > 0.0 { removed + keep } else { 0.0 };
        let key = 2.0 * digits * ext * n;
        let unit = Counts {
            // Every digit starts from its own limbs and ends in all others.
            ntt: rotated * (l + digits * ext - l) + divided * down,
            mac: self.cells as f64 * 2.0 * ext * n,
            convert: rotated * l * (ext - l / digits.max(1.0)) * n + divided * removed * keep * n,
            words: self.rows as f64 * key,
            passes: 2.0 * self.outputs as f64 * ext * n,
            expand: 0.0,
        };
        let kept = self.limbs - self.drop;
        let giants = self.giants.map_or(Counts::default(), |g| g.counts(n, kept));
        let limbs = ext + if self.is_dense() { SUM_LIMBS } else { 0.0 };
        let times = units.div_ceil(together.max(1)) as f64;
        let expand = self.cells as f64 * self.weight_words as f64 * limbs;
        let words = KEY_READ * (self.taps as f64 * key + self.giants.map_or(0.0, |g| g.keys(n, kept)));
        (unit + giants) * units as f64 + Counts { expand, words, ..Counts::default() } * times
    }
    /// Bytes beyond its operands that `units` units need at the worst moment, when `freed` bytes of operands end with the op: limb by limb,
    /// digits and operands turn into sums, at last into results; and one limb's weights.
    pub fn extra(&self, n: usize, units: usize, freed: usize) -> usize {
        let ext = self.limbs + self.alpha;
        let digits = self.rotated * (self.digits() * ext).saturating_sub(self.limbs);
        let sums = match self.giants {
            None => 2 * self.outputs * ext,
            // The constant components of partial sums exist at one limb.
            Some(g) => (self.outputs * (ext + 1) + g.outputs * ext).max(g.rows(self.limbs - self.drop)),
        };
        let all = self.cells.saturating_mul(self.weight_words);
        let weights = all.min(MOST_WEIGHT_WORDS) + if self.is_dense() { all } else { 0 };
        (8 * units * digits * n).max((8 * units * sums * n).saturating_sub(freed)) + 8 * weights
    }
}

/// Reading a word of a key from memory costs as much as so many words of inner products; fitted, with [`CostModel::expand`], to runs of one image.
const KEY_READ: f64 = 3.0;
/// Rows of each digit that a decomposition of many polynomials extends at a time.
const EXTENDED_ROWS: usize = 6;
/// Making the sum of a dense cell costs as much as expanding it at so many limbs.
const SUM_LIMBS: f64 = 8.0;
/// Words of weights that exist at a time: a panel of the fused kernel has at most so many.
const MOST_WEIGHT_WORDS: usize = 32 << 20;

/// Products of the ciphertexts of one unit, with relinearisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProductShape {
    /// Ciphertexts.
    pub cts: usize,
    /// Limbs.
    pub limbs: usize,
    /// Special primes.
    pub alpha: usize,
    /// Complex-packed: a second key switch.
    pub complex: bool,
}

/// Ciphertexts of a product that are in work at a time.
const PRODUCT_CHUNK: usize = 4;

impl ProductShape {
    /// Counts for one unit in a ring of degree n.
    pub fn counts(&self, n: f64) -> Counts {
        let (l, a) = (self.limbs as f64, self.alpha as f64);
        let (ext, digits) = (l + a, (l / a).ceil());
        let switch = Counts {
            ntt: digits * ext + 2.0 * ext,
            convert: (l * (ext - l / digits) + 2.0 * a * l) * n,
            words: 2.0 * digits * ext * n,
            passes: 2.0 * l * n,
            ..Counts::default()
        };
        let tensor = Counts { passes: if self.complex { 9.0 } else { 5.0 } * l * n, ..Counts::default() };
        (if self.complex { switch * 2.0 } else { switch } + tensor) * self.cts as f64
    }
    /// Bytes beyond its operands that `units` units need, when `freed` bytes of operands end with the op.
    pub fn extra(&self, n: usize, units: usize, freed: usize) -> usize {
        let (l, ext) = (self.limbs, self.limbs + self.alpha);
        let digits = (l.div_ceil(self.alpha) * ext).saturating_sub(l);
        let results = 16 * n * l * self.cts * units;
        8 * n * PRODUCT_CHUNK.min(self.cts) * (digits.max(2 * ext) + 5 * l) + results.saturating_sub(freed)
    }
}

/// Unit times of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostModel {
    /// One transform at N = 2^16, seconds; other sizes scale with N log N.
    pub ntt_2_16: f64,
    /// One multiply-accumulate with a weight, seconds.
    pub mac: f64,
    /// One multiply-accumulate of a base conversion, seconds.
    pub convert: f64,
    /// One word of an inner product, seconds.
    pub word: f64,
    /// One word of an element-wise pass, seconds.
    pub pass: f64,
    /// One word of expanded weights, seconds.
    pub expand: f64,
    /// Threads, and how well they share the work.
    pub threads: f64,
}

impl Default for CostModel {
    /// Two Zen 4 cores with AVX-512 IFMA, as `measure-machine` found them, median of runs; but `expand` is set by hand to what a run of one
    /// image takes, since calibrations of it scatter by a factor of four.
    fn default() -> Self {
        CostModel { ntt_2_16: 170e-6, mac: 0.07e-9, convert: 0.09e-9, word: 0.52e-9, pass: 0.8e-9, expand: 4.0e-9, threads: 1.9 }
    }
}

impl CostModel {
    /// The same machine with so many threads in use, each beyond the first worth nine tenths.
    pub fn on_threads(&self, threads: usize) -> CostModel {
        CostModel { threads: 1.0 + 0.9 * threads.saturating_sub(1) as f64, ..*self }
    }
    /// Wall time of counted work, seconds.
    pub fn time(&self, c: Counts, log_n: usize) -> f64 {
        self.parts(c, log_n).iter().sum()
    }
    /// Wall time of each kind of counted work, seconds: transforms, weights, conversions, inner products, passes, expansion.
    pub fn parts(&self, c: Counts, log_n: usize) -> [f64; 6] {
        let n = (1u64 << log_n) as f64;
        let ntt = self.ntt_2_16 * n * log_n as f64 / (65536.0 * 16.0);
        [c.ntt * ntt, c.mac * self.mac, c.convert * self.convert, c.words * self.word, c.passes * self.pass, c.expand * self.expand]
            .map(|t| t / self.threads)
    }
}
