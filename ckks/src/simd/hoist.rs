//! Hoisted rotations of a group of ciphertexts and their sums with diagonals, on one limb.
//!
//! For a window of [`HOIST_WINDOW`] words, the rotated key inner product of each tap is written to
//! one *slot* of a column buffer for every ciphertext of the group, with one load of the key's
//! words for all of them; every output then takes its weighted sum over the slots, again with one
//! load of each weight for several columns.
//!
//! Slots hold values times `R^2`, weights have the factor that the caller wants in the sums, and
//! sums are reduced by `R^2`.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use crate::arithmetic::{GaloisTable, Modulus};
use chiffre_params::work::MAX_DIGITS;
use std::ops::Range;

/// Words of a limb that are processed at a time.
pub const HOIST_WINDOW: usize = 32;
/// Vectors of a window.
const VECTORS: usize = HOIST_WINDOW / 8;
/// Ciphertexts whose inner products run together.
const TOGETHER: usize = 4;
/// Blocks between a rotated sum and the prefetch of its operands.
const BLOCKS_AHEAD: usize = 8;
/// Digits and a ciphertext's own limb from which on sums are not of few products.
const FEW: usize = 4;
// A reduction takes the products of all digits and one more: seven stay below `2 q 2^52`.
const _: () = assert!(MAX_DIGITS < 7);

/// The limbs of one ciphertext at one modulus.
pub struct HoistedLimbs<'a> {
    /// Extended digits of `c1`, at most [`MAX_DIGITS`].
    pub digits: Vec<&'a [u64]>,
    /// The ciphertext's own limbs, absent where they vanish.
    pub own: Option<[&'a [u64]; 2]>,
}

/// One rotation.
pub struct HoistedTap<'a> {
    /// Its permutation; `None` is the identity.
    pub table: Option<&'a GaloisTable>,
    /// Key limbs by digit, pre-permuted by the inverse automorphism and times `R^3`; none for an
    /// identity without a key.
    pub keys: Vec<[&'a [u64]; 2]>,
}

/// The weights of all taps for all outputs at one modulus.
pub struct Weights<'a> {
    /// Consecutive words with equal weights: a power of two, 1 or at least 8. For 1 a weight is
    /// eight words.
    pub run: usize,
    /// `[stripe][tap][output]`, a stripe for each run (or block of eight words).
    pub words: &'a [u64],
}

/// Hoisted rotations at one limb.
pub struct HoistedLimb<'a> {
    /// The modulus.
    pub modulus: &'a Modulus,
    /// Degree: length of all limbs.
    pub n: usize,
    /// `G R^3 mod q`, with the gadget factor `G` of the keys: factor of the ciphertexts' own limbs.
    pub own_factor: u64,
    /// The group.
    pub inputs: Vec<HoistedLimbs<'a>>,
    /// The rotations.
    pub taps: Vec<HoistedTap<'a>>,
    /// Number of sums for each ciphertext.
    pub outputs: usize,
    /// The weights.
    pub weights: Weights<'a>,
}

impl HoistedLimb<'_> {
    /// Words of scratch that [`hoisted_windows`] needs for so many inputs and taps.
    pub fn scratch_words(inputs: usize, taps: usize) -> usize {
        2 * VECTORS * inputs * column_stride(taps)
    }

    /// Checks everything that the unchecked loops rely on.
    fn check(&self) {
        let n = self.n;
        assert!(n.is_multiple_of(HOIST_WINDOW) && !self.inputs.is_empty() && self.taps.len() < 1 << 11);
        let Weights { run, words } = &self.weights;
        assert!(run.is_power_of_two() && (*run == 1 || *run >= 8) && *run <= n);
        let cell = self.taps.len() * self.outputs;
        assert_eq!(words.len(), if *run == 1 { n * cell } else { n / run * cell });
        let digits = check_inputs(n, &self.inputs);
        for tap in &self.taps {
            check_tap(n, tap.table, &tap.keys, digits);
            assert!(!tap.keys.is_empty() || tap.table.is_none());
        }
    }
}

/// Checks the rows of the inputs; returns the number of digits, which is the same for all.
fn check_inputs(n: usize, inputs: &[HoistedLimbs<'_>]) -> usize {
    let digits = inputs.first().map_or(0, |i| i.digits.len());
    assert!(digits <= MAX_DIGITS);
    for input in inputs {
        assert!(input.digits.len() == digits && input.digits.iter().all(|d| d.len() == n));
        assert!(input.own.iter().flatten().all(|d| d.len() == n));
    }
    digits
}

fn check_tap(n: usize, table: Option<&GaloisTable>, keys: &[[&[u64]; 2]], digits: usize) {
    assert!(table.is_none_or(|t| t.n() == n));
    assert!(keys.is_empty() || (keys.len() == digits && keys.iter().flatten().all(|k| k.len() == n)));
}

/// Words between columns: off powers of two.
fn column_stride(taps: usize) -> usize {
    8 * taps + 8
}

/// Computes words `start..start + len` of all sums: `out[2 (output * inputs + input) + c]` is
/// component `c`, all of equal length, a multiple of [`HOIST_WINDOW`]. `scratch` has at least
/// [`HoistedLimb::scratch_words`] words.
pub fn hoisted_windows(isa: Isa, limb: &HoistedLimb<'_>, start: usize, out: &mut [&mut [u64]], scratch: &mut [u64]) {
    limb.check();
    let len = out.first().map_or(0, |o| o.len());
    assert!(out.len() == 2 * limb.outputs * limb.inputs.len() && out.iter().all(|o| o.len() == len));
    assert!(start.is_multiple_of(HOIST_WINDOW) && len.is_multiple_of(HOIST_WINDOW) && start + len <= limb.n);
    assert!(scratch.len() >= HoistedLimb::scratch_words(limb.inputs.len(), limb.taps.len()));
    let wide = isa.is_wide();
    let width = 2 * limb.inputs.len();
    let places: Vec<[usize; 2]> = (0..VECTORS * width).map(|column| [column % width, 8 * (column / width)]).collect();
    for window in (0..len).step_by(HOIST_WINDOW) {
        let mut first = 0;
        while first < limb.inputs.len() {
            let left = if wide { (limb.inputs.len() - first).min(TOGETHER) } else { 1 };
            let fill = Fill { limb, first, start: start + window, x: scratch.as_mut_ptr() };
            match left {
                1 => isa.run(FillColumns::<1>(fill)),
                2 => isa.run(FillColumns::<2>(fill)),
                3 => isa.run(FillColumns::<3>(fill)),
                _ => isa.run(FillColumns::<4>(fill)),
            }
            first += left;
        }
        let vec = limb.weights.run == 1;
        let per_stripe = (limb.weights.run / 8).clamp(1, VECTORS);
        for vector in (0..VECTORS).step_by(per_stripe) {
            let stripe = (start + window + 8 * vector) / limb.weights.run.max(8);
            let columns = width * vector..width * (vector + per_stripe);
            let mut sums = Sums { limb, stripe, output: 0, columns, x: scratch.as_ptr(), out: &mut *out, at: window, places: &places };
            sums.run_all(isa, wide, vec);
        }
    }
}

/// Where the rows of `C` inputs start.
struct RowStarts<const C: usize> {
    digits: [[*const u64; C]; MAX_DIGITS],
    /// Null where there are none.
    own: [[*const u64; 2]; C],
}

impl<const C: usize> RowStarts<C> {
    /// The first `C` of the inputs.
    #[inline(always)]
    fn new(inputs: &[HoistedLimbs<'_>]) -> Self {
        let mut rows = Self { digits: [[std::ptr::null(); C]; MAX_DIGITS], own: [[std::ptr::null(); 2]; C] };
        for i in 0..C {
            for (d, digit) in inputs[i].digits.iter().enumerate() {
                rows.digits[d][i] = digit.as_ptr();
            }
            if let Some([c0, c1]) = inputs[i].own {
                rows.own[i] = [c0.as_ptr(), c1.as_ptr()];
            }
        }
        rows
    }

    /// Prefetches the words that a tap reads for the block at word `s`.
    #[inline(always)]
    fn prefetch<L: Lanes>(&self, lanes: L, tap: &HoistedTap<'_>, s: usize) {
        for (d, [k0, k1]) in tap.keys.iter().enumerate() {
            lanes.prefetch::<true>(k0.as_ptr().wrapping_add(s));
            lanes.prefetch::<true>(k1.as_ptr().wrapping_add(s));
            for i in 0..C {
                lanes.prefetch::<true>(self.digits[d][i].wrapping_add(s));
            }
        }
        for i in 0..C {
            lanes.prefetch::<true>(self.own[i][0].wrapping_add(s));
        }
    }
}

/// What one tap reads: pointers of its own, which no store between two blocks can change, and for
/// up to three digits a number of them that the compiler knows.
struct TapStarts<'a, const C: usize, const D: usize> {
    /// Digits: `D`, or 0 for taps without a key, or at most `D` where `D` is [`MAX_DIGITS`].
    count: usize,
    keys: [[*const u64; 2]; D],
    digits: [[*const u64; C]; D],
    own: [[*const u64; 2]; C],
    table: Option<(&'a [u32], &'a [[u64; 8]; 8])>,
}

impl<'a, const C: usize, const D: usize> TapStarts<'a, C, D> {
    #[inline(always)]
    fn new(rows: &RowStarts<C>, tap: &HoistedTap<'a>) -> Self {
        let count = if D == MAX_DIGITS { tap.keys.len() } else { D };
        let mut keys = [[std::ptr::null(); 2]; D];
        keys.iter_mut().zip(&tap.keys).for_each(|(to, [k0, k1])| *to = [k0.as_ptr(), k1.as_ptr()]);
        let digits = std::array::from_fn(|d| rows.digits[d]);
        Self { count, keys, digits, own: rows.own, table: tap.table.map(|t| (t.blocks(), t.patterns())) }
    }
}

/// The inner products of a tap at one block of eight words, for `C` inputs, both components, below
/// `2 q` (`LOOSE`: `4 q`), permuted.
///
/// # Safety
/// The inputs must have as many digits as there are keys, and that many must be `D` unless `D` is
/// [`MAX_DIGITS`]; all rows, keys and the table must be longer than block `b`.
#[inline(always)]
unsafe fn rotated<L: Lanes, const C: usize, const D: usize, const LOOSE: bool>(
    lanes: L,
    m: ModulusLanes<L>,
    own_factor: L::V,
    tap: &TapStarts<'_, C, D>,
    b: usize,
) -> [[L::V; 2]; C] {
    // SAFETY: the caller's promise; a table's source blocks lie inside its degree.
    unsafe {
        let map = match tap.table {
            Some((blocks, _)) => *blocks.get_unchecked(b),
            None => 8 * b as u32,
        };
        let s = (map & !7) as usize;
        let mut acc = [[lanes.acc(); 2]; C];
        let mut few = [[lanes.few(); 2]; C];
        for d in 0..tap.count {
            let [k0, k1] = *tap.keys.get_unchecked(d);
            let (k0, k1) = (lanes.load(k0.add(s)), lanes.load(k1.add(s)));
            let digits = tap.digits.get_unchecked(d);
            for i in 0..C {
                let x = lanes.load(digits[i].add(s));
                if D < FEW {
                    few[i] = [lanes.mac_few(few[i][0], x, k0), lanes.mac_few(few[i][1], x, k1)];
                } else {
                    acc[i] = [lanes.mac(acc[i][0], x, k0), lanes.mac(acc[i][1], x, k1)];
                }
            }
        }
        let mut out = [[own_factor; 2]; C];
        for i in 0..C {
            let [c0, c1] = tap.own[i];
            if !c0.is_null() {
                if D < FEW {
                    few[i][0] = lanes.mac_few(few[i][0], lanes.load(c0.add(s)), own_factor);
                } else {
                    acc[i][0] = lanes.mac(acc[i][0], lanes.load(c0.add(s)), own_factor);
                    if tap.count == 0 {
                        acc[i][1] = lanes.mac(acc[i][1], lanes.load(c1.add(s)), own_factor);
                    }
                }
            }
            for c in 0..2 {
                let v = if D >= FEW {
                    lanes.redc1(acc[i][c], m.q, m.qinv)
                } else if LOOSE {
                    lanes.redc1_few_loose(few[i][c], m.q, m.qinv)
                } else {
                    lanes.redc1_few(few[i][c], m.q, m.qinv)
                };
                out[i][c] = match tap.table {
                    Some((_, patterns)) => lanes.permute(patterns.get_unchecked((map & 7) as usize), v),
                    None => v,
                };
            }
        }
        out
    }
}

/// The columns of some inputs for the window at word `start`.
struct Fill<'a> {
    limb: &'a HoistedLimb<'a>,
    /// The first of the inputs.
    first: usize,
    start: usize,
    x: *mut u64,
}

/// Fills the columns of the inputs `first..first + C`.
struct FillColumns<'a, const C: usize>(Fill<'a>);

impl<const C: usize> Kernel for FillColumns<'_, C> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if C > 1 && !L::WIDE {
            unreachable!("wide kernels run on wide instruction sets");
        }
        let Fill { limb, first, start, .. } = self.0;
        let rows = RowStarts::<C>::new(&limb.inputs[first..first + C]);
        for (slot, tap) in limb.taps.iter().enumerate() {
            // Keys come from memory: those of the next window are fetched while this one is in
            // work.
            if first == 0 && start + HOIST_WINDOW < limb.n {
                let s = source(tap.table, start + HOIST_WINDOW);
                for [k0, k1] in &tap.keys {
                    for b in 0..VECTORS {
                        lanes.prefetch::<false>(k0.as_ptr().wrapping_add(s + 8 * b));
                        lanes.prefetch::<false>(k1.as_ptr().wrapping_add(s + 8 * b));
                    }
                }
            }
            // Operands of the next tap.
            if let Some(next) = limb.taps.get(slot + 1) {
                let s = source(next.table, start);
                (0..VECTORS).for_each(|b| rows.prefetch(lanes, next, s + 8 * b));
            }
            // SAFETY: `HoistedLimb::check` has seen that all rows and tables have length n and that
            // digits match keys; `x` has room for all slots of all columns.
            unsafe {
                match tap.keys.len() {
                    1 => self.0.tap::<L, C, 1>(lanes, &rows, slot),
                    2 => self.0.tap::<L, C, 2>(lanes, &rows, slot),
                    3 => self.0.tap::<L, C, 3>(lanes, &rows, slot),
                    _ => self.0.tap::<L, C, MAX_DIGITS>(lanes, &rows, slot),
                }
            }
        }
    }
}

impl Fill<'_> {
    /// The slot of one tap in the columns of `C` inputs.
    ///
    /// # Safety
    /// As [`rotated`] for the whole window; `x` must have room for all slots of all columns.
    #[inline(always)]
    unsafe fn tap<L: Lanes, const C: usize, const D: usize>(&self, lanes: L, rows: &RowStarts<C>, slot: usize) {
        let limb = self.limb;
        let m = ModulusLanes::new(lanes, limb.modulus);
        let own_factor = lanes.splat(limb.own_factor);
        let (stride, inputs) = (column_stride(limb.taps.len()), limb.inputs.len());
        let tap = TapStarts::<C, D>::new(rows, &limb.taps[slot]);
        for b in 0..VECTORS {
            // SAFETY: the caller's promise.
            unsafe {
                let v = rotated::<L, C, D, true>(lanes, m, own_factor, &tap, self.start / 8 + b);
                let to = self.x.add(2 * (b * inputs + self.first) * stride + 8 * slot);
                for i in 0..C {
                    lanes.store(to.add(2 * i * stride), v[i][0]);
                    lanes.store(to.add((2 * i + 1) * stride), v[i][1]);
                }
            }
        }
    }
}

/// First word of the window that a permutation takes to the window at `start`.
#[inline(always)]
fn source(table: Option<&GaloisTable>, start: usize) -> usize {
    match table {
        Some(table) => table.source_start(start / 8) / HOIST_WINDOW * HOIST_WINDOW,
        None => start,
    }
}

/// Sums over filled columns with the weights of one stripe.
struct Sums<'a, 'b, 'c> {
    limb: &'a HoistedLimb<'a>,
    stripe: usize,
    /// First output of the block that runs.
    output: usize,
    columns: Range<usize>,
    x: *const u64,
    out: &'b mut [&'c mut [u64]],
    /// Where the window starts in `out`.
    at: usize,
    /// For each column its row of `out` (of output 0) and its first word in the window.
    places: &'a [[usize; 2]],
}

impl Sums<'_, '_, '_> {
    /// All outputs, in blocks of up to eight accumulators.
    fn run_all(&mut self, isa: Isa, wide: bool, vec: bool) {
        self.output = 0;
        while self.output < self.limb.outputs {
            let left = self.limb.outputs - self.output;
            let outputs = if wide { (1 << left.ilog2()).min(8) } else { 1 };
            match (outputs, wide, vec) {
                (_, false, false) => isa.run(Block::<1, 1, false>(self)),
                (_, false, true) => isa.run(Block::<1, 1, true>(self)),
                (8, _, false) => isa.run(Block::<8, 1, false>(self)),
                (4, _, false) => isa.run(Block::<4, 2, false>(self)),
                (2, _, false) => isa.run(Block::<2, 4, false>(self)),
                (_, _, false) => isa.run(Block::<1, 8, false>(self)),
                (8, _, true) => isa.run(Block::<8, 1, true>(self)),
                (4, _, true) => isa.run(Block::<4, 2, true>(self)),
                (2, _, true) => isa.run(Block::<2, 4, true>(self)),
                (_, _, true) => isa.run(Block::<1, 8, true>(self)),
            }
            self.output += outputs;
        }
    }
}

/// `O` outputs of the columns, `V` at a time; with `VEC` each weight is eight words.
struct Block<'s, 'a, 'b, 'c, const O: usize, const V: usize, const VEC: bool>(&'s mut Sums<'a, 'b, 'c>);

impl<const O: usize, const V: usize, const VEC: bool> Kernel for Block<'_, '_, '_, '_, O, V, VEC> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if O * V > 1 && !L::WIDE {
            unreachable!("wide kernels run on wide instruction sets");
        }
        let s = self.0;
        let (taps, words) = (s.limb.taps.len(), if VEC { 8 } else { 1 });
        assert!(s.output + O <= s.limb.outputs && s.columns.end <= s.places.len());
        assert!(s.limb.weights.words.len() >= (s.stripe + 1) * taps * s.limb.outputs * words);
        let mut column = s.columns.start;
        // SAFETY: all columns are filled; the stripe's weights were just seen to exist; outputs are
        // at least `at + WINDOW` long and there are two for each input and output.
        unsafe {
            while column + V <= s.columns.end {
                columns::<L, O, V, VEC>(lanes, s, column);
                column += V;
            }
            while column < s.columns.end {
                columns::<L, O, 1, VEC>(lanes, s, column);
                column += 1;
            }
        }
    }
}

/// `O` outputs of `V` columns from `column` on.
///
/// # Safety
/// They must be outputs and filled columns, the stripe must have weights.
#[inline(always)]
unsafe fn columns<L: Lanes, const O: usize, const V: usize, const VEC: bool>(lanes: L, s: &mut Sums<'_, '_, '_>, column: usize) {
    let (taps, outputs, words) = (s.limb.taps.len(), s.limb.outputs, if VEC { 8 } else { 1 });
    let m = ModulusLanes::new(lanes, s.limb.modulus);
    let stride = column_stride(taps);
    // SAFETY: the caller's promise.
    unsafe {
        let w = s.limb.weights.words.as_ptr().add((s.stripe * taps * outputs + s.output) * words);
        let x = s.x.add(column * stride);
        let mut acc = [[lanes.acc(); V]; O];
        for t in 0..taps {
            let w = w.add(t * outputs * words);
            let mut v = [m.q; V];
            for i in 0..V {
                v[i] = lanes.load(x.add(i * stride + 8 * t));
            }
            for o in 0..O {
                let w = if VEC { lanes.load(w.add(8 * o)) } else { lanes.splat(*w.add(o)) };
                for i in 0..V {
                    acc[o][i] = lanes.mac(acc[o][i], v[i], w);
                }
            }
        }
        for i in 0..V {
            let [rest, word] = *s.places.get_unchecked(column + i);
            for o in 0..O {
                let row = s.out.get_unchecked_mut(2 * (s.output + o) * s.limb.inputs.len() + rest);
                lanes.store(row.as_mut_ptr().add(s.at + word), lanes.redc2(acc[o][i], m.q, m.qinv));
            }
        }
    }
}

/// Adds rotated key inner products: words `start..start + len` of
/// `out[2 i + c] += perm(sum_d digits_i[d] keys[d][c] / R)`, with `c0_i own_factor / R` joining
/// component 0 before the permutation. Lengths are multiples of eight.
pub fn rotated_product_add(
    isa: Isa,
    m: &Modulus,
    tap: &HoistedTap<'_>,
    inputs: &[HoistedLimbs<'_>],
    own_factor: u64,
    start: usize,
    out: &mut [&mut [u64]],
) {
    let n = inputs.first().and_then(|i| i.digits.first()).map_or(0, |d| d.len());
    check_tap(n, tap.table, &tap.keys, check_inputs(n, inputs));
    let len = out.first().map_or(0, |o| o.len());
    assert!(!tap.keys.is_empty() && out.len() == 2 * inputs.len() && out.iter().all(|o| o.len() == len));
    assert!(start.is_multiple_of(8) && len.is_multiple_of(8) && start + len <= n);
    let blocks = n / 8;
    let mut first = 0;
    while first < inputs.len() {
        let left = if isa.is_wide() { (inputs.len() - first).min(TOGETHER) } else { 1 };
        let (inputs, out) = (&inputs[first..first + left], &mut out[2 * first..2 * (first + left)]);
        match left {
            1 => isa.run(RotatedAdd::<1> { m, tap, inputs, own_factor, start, blocks, out }),
            2 => isa.run(RotatedAdd::<2> { m, tap, inputs, own_factor, start, blocks, out }),
            3 => isa.run(RotatedAdd::<3> { m, tap, inputs, own_factor, start, blocks, out }),
            _ => isa.run(RotatedAdd::<4> { m, tap, inputs, own_factor, start, blocks, out }),
        }
        first += left;
    }
}

struct RotatedAdd<'a, 'b, 'c, const C: usize> {
    m: &'a Modulus,
    tap: &'a HoistedTap<'a>,
    inputs: &'a [HoistedLimbs<'a>],
    own_factor: u64,
    start: usize,
    /// Blocks of a whole limb.
    blocks: usize,
    out: &'b mut [&'c mut [u64]],
}

impl<const C: usize> Kernel for RotatedAdd<'_, '_, '_, C> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if C > 1 && !L::WIDE {
            unreachable!("wide kernels run on wide instruction sets");
        }
        assert!(self.inputs.len() == C && self.out.len() == 2 * C);
        // SAFETY: the caller has checked all lengths.
        unsafe {
            match self.tap.keys.len() {
                1 => self.add::<L, 1>(lanes),
                2 => self.add::<L, 2>(lanes),
                3 => self.add::<L, 3>(lanes),
                _ => self.add::<L, MAX_DIGITS>(lanes),
            }
        }
    }
}

impl<const C: usize> RotatedAdd<'_, '_, '_, C> {
    /// Adds with as many digits as [`TapStarts`] allows for `D`.
    ///
    /// # Safety
    /// As [`rotated`] for all words.
    #[inline(always)]
    unsafe fn add<L: Lanes, const D: usize>(self, lanes: L) {
        let m = ModulusLanes::new(lanes, self.m);
        let own_factor = lanes.splat(self.own_factor);
        let rows = RowStarts::<C>::new(self.inputs);
        let tap = TapStarts::<C, D>::new(&rows, self.tap);
        for at in (0..self.out[0].len()).step_by(8) {
            let b = (self.start + at) / 8;
            if b + BLOCKS_AHEAD < self.blocks {
                let s = self.tap.table.map_or(8 * (b + BLOCKS_AHEAD), |t| t.source_start(b + BLOCKS_AHEAD));
                rows.prefetch(lanes, self.tap, s);
            }
            // SAFETY: the caller's promise.
            unsafe {
                let v = rotated::<L, C, D, false>(lanes, m, own_factor, &tap, b);
                for i in 0..C {
                    for c in 0..2 {
                        let to = self.out.get_unchecked_mut(2 * i + c).as_mut_ptr().add(at);
                        let v = lanes.reduce_once(v[i][c], m.q);
                        lanes.store(to, lanes.add_mod(lanes.load(to), v, m.q));
                    }
                }
            }
        }
    }
}
