//! The fused linear map on one limb: rotated inner products of a window, then a register-blocked
//! multiply-accumulate.
//!
//! A *panel* is a set of rows `(input, tap)` of a linear map. For a window of [`WINDOW`] words,
//! each row's rotated key inner product is written to one *slot* of a column buffer, and every
//! output then takes its sum over the slots. Outputs come in classes that read the same dense
//! slots, in pairs, and those use Winograd's inner product (S. Winograd, "A New Algorithm for Inner
//! Product", 1968): `x0 w0 + x1 w1 = (x0 + w1)(x1 + w0) - x0 x1 - w0 w1`, where `sum x0 x1` is
//! shared by the class and `sum w0 w1` is a constant; this halves the multiplications. Other slots
//! are added one by one.
//!
//! Slots hold values times `R^2`, weights are plain residues, and sums are reduced by `R^2`.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use super::shape::{COLUMNS, Group, PanelShape, WINDOW};
use crate::arithmetic::{GaloisTable, Modulus};
use std::ops::Range;

/// The constants `sum_p w_2p w_2p+1 / R^2` of all outputs, by position, from one stripe:
/// [`PanelShape::lanes`] words each.
fn stripe_constants(isa: Isa, m: &Modulus, shape: &PanelShape, stripe: &[u64], constants: &mut [u64]) {
    let lanes = shape.lanes;
    for group in &shape.groups {
        let width = group.width;
        let dense = &stripe[group.cells * lanes..][..2 * group.pairs.len() * width * lanes];
        let constants = &mut constants[group.first * lanes..][..width * lanes];
        let words = width * lanes;
        if words.is_multiple_of(8) {
            // Eight words of a pair are consecutive, outputs or lanes of an output.
            isa.run(PairConstants { m, dense, constants });
            continue;
        }
        for (o, constant) in constants.iter_mut().enumerate() {
            let pairs = dense.chunks_exact(2 * words);
            *constant = pairs.fold(0, |s, p| {
                let low = m.redc(p[o] as u128 * p[words + o] as u128);
                m.add(s, m.redc(low as u128))
            });
        }
    }
}

/// `constants[i] = sum_p w[2p][i] w[2p + 1][i] / R^2`, where each `w[s]` has the length of
/// `constants`.
struct PairConstants<'a> {
    m: &'a Modulus,
    dense: &'a [u64],
    constants: &'a mut [u64],
}

impl Kernel for PairConstants<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let m = ModulusLanes::new(lanes, self.m);
        let width = self.constants.len();
        let pairs = self.dense.len() / (2 * width);
        for i in (0..width).step_by(8) {
            let mut acc = lanes.acc();
            // SAFETY: `dense` holds `2 pairs` runs of `width` words, and `width` is a multiple of
            // eight.
            unsafe {
                for p in 0..pairs {
                    let w = self.dense.as_ptr().add(2 * p * width + i);
                    acc = lanes.mac(acc, lanes.load(w), lanes.load(w.add(width)));
                }
                let v = lanes.redc2(acc, m.q, m.qinv);
                lanes.store(self.constants.as_mut_ptr().add(i), v);
            }
        }
    }
}

/// A row of a panel: the slot it fills and the input it reads.
#[derive(Clone, Copy, Debug)]
pub struct PanelRow {
    /// Slot in `0..slots`.
    pub slot: u32,
    /// Index of the input.
    pub input: u32,
}

/// The rows of one rotation.
pub struct TapRows<'a> {
    /// The rotation's permutation.
    pub table: &'a GaloisTable,
    /// Key limbs by digit, pre-permuted by the inverse automorphism and times `R^3`.
    pub keys: Vec<[&'a [u64]; 2]>,
    /// Rows of this rotation.
    pub rows: Vec<PanelRow>,
    /// The patterns of the permutation followed by the order of words in a column, for blocks of
    /// the first half of a limb and of the second.
    patterns: [[[u64; 8]; 8]; 2],
}

impl<'a> TapRows<'a> {
    /// For panels of a shape.
    pub fn new(shape: &PanelShape, table: &'a GaloisTable, keys: Vec<[&'a [u64]; 2]>, rows: Vec<PanelRow>) -> Self {
        let patterns = [false, true].map(|mirrored| {
            let order = column_order(shape.lanes, mirrored);
            table.patterns().map(|p| order.map(|i| p[i as usize]))
        });
        Self { table, keys, rows, patterns }
    }
}

/// The limbs of one input at one modulus.
pub struct InputLimbs<'a> {
    /// Extended digits of `c1`; may be empty when no rotation reads this input.
    pub digits: Vec<&'a [u64]>,
    /// The ciphertext's own limbs, absent at special primes.
    pub own: Option<[&'a [u64]; 2]>,
}

/// One panel at one limb.
pub struct LimbPanel<'a> {
    /// The modulus.
    pub modulus: &'a Modulus,
    /// Degree: length of all limbs.
    pub n: usize,
    /// Slots and weights.
    pub shape: &'a PanelShape,
    /// `P R^3 mod q`: factor of the ciphertext's own limbs.
    pub own_factor: u64,
    /// Inputs.
    pub inputs: Vec<InputLimbs<'a>>,
    /// Rotations.
    pub taps: Vec<TapRows<'a>>,
    /// Unrotated rows; they need the inputs' own limbs.
    pub identity: Vec<PanelRow>,
    /// Slots without a row; they read as zero.
    pub padding: Vec<u32>,
    /// All stripes.
    pub weights: &'a [u64],
}

impl LimbPanel<'_> {
    /// The stripe of the words from `word` on.
    #[inline(always)]
    fn stripe_of(&self, word: usize) -> usize {
        let (number, stripes) = (word / self.shape.stripe_span(), self.shape.stripes(self.n));
        if number < stripes { number } else { 2 * stripes - 1 - number }
    }

    /// The weights of a stripe.
    fn stripe(&self, number: usize) -> &[u64] {
        &self.weights[number * self.shape.stripe_stride()..][..self.shape.stripe_stride()]
    }

    /// Checks everything that the unchecked loops rely on.
    fn check(&self) {
        let (n, shape) = (self.n, self.shape);
        let digits = self.taps.first().map_or(0, |t| t.keys.len());
        assert!(n >= WINDOW && n.is_multiple_of(WINDOW));
        assert_eq!(self.weights.len(), shape.stripes(n) * shape.stripe_stride());
        assert!(shape.stripe_span() <= n / 2 || shape.stripe_span() == n);
        for input in &self.inputs {
            assert!(input.digits.iter().all(|d| d.len() == n) && input.own.iter().flatten().all(|d| d.len() == n));
        }
        for tap in &self.taps {
            assert!(tap.table.n() == n && tap.keys.len() == digits && digits > 0);
            assert!(tap.keys.iter().flatten().all(|k| k.len() == n));
            for row in &tap.rows {
                assert!((row.slot as usize) < shape.slots && self.inputs[row.input as usize].digits.len() == digits);
            }
        }
        for row in &self.identity {
            assert!((row.slot as usize) < shape.slots && self.inputs[row.input as usize].own.is_some());
        }
        assert!(self.padding.iter().all(|&s| (s as usize) < shape.slots));
    }
}

/// Computes words `start..start + len` of the first half of the limb and their mirror images, which
/// have the same weights, of all outputs of one panel at one limb: `out[0][2 o + c]` is component
/// `c` of output `o`, `out[1][2 o + c]` the words `n - start - len..n - start` of it, all of equal
/// length, a multiple of [`WINDOW`]. With `accumulate` the result is added to `out`. `scratch` has
/// at least [`PanelShape::scratch_words`] words.
pub fn linear_windows(
    isa: Isa,
    panel: &LimbPanel<'_>,
    start: usize,
    mut out: [&mut [&mut [u64]]; 2],
    accumulate: bool,
    scratch: &mut [u64],
) {
    panel.check();
    let shape = panel.shape;
    let len = out[0].first().map_or(0, |o| o.len());
    assert!(out.iter().all(|out| out.len() == 2 * shape.outputs.len() && out.iter().all(|o| o.len() == len)));
    assert!(start.is_multiple_of(WINDOW) && len.is_multiple_of(WINDOW) && start + len <= panel.n / 2);
    assert!(scratch.len() >= shape.scratch_words());
    let digits = match panel.taps.first() {
        _ if !isa.is_wide() => usize::MAX,
        None => 1,
        Some(tap) => tap.keys.len(),
    };
    let per_stripe = shape.outputs.len() * shape.lanes;
    let mut constants: Vec<u64> = vec![];
    let mut constants_of = usize::MAX;
    let mut xi = [0; 8 * COLUMNS];
    let orders = [false, true].map(|mirrored| column_order(shape.lanes, mirrored));
    let places = orders.map(|order| {
        let mut place = [0; 8];
        order.iter().zip(0..).for_each(|(&word, position)| place[word as usize] = position);
        place
    });
    let mut ahead: Vec<*const u64> = vec![];
    let mut at = 0;
    while at < len {
        let words = (WINDOW * shape.windows()).min(len - at);
        let stripes = panel.stripe_of(start + at)..panel.stripe_of(start + at + words - 1) + 1;
        for (half, out) in out.iter_mut().enumerate() {
            // Where the words are in the limb and in the output.
            let (start, at) = if half == 0 { (start + at, at) } else { (panel.n - start - at - words, len - at - words) };
            let columns = Columns { panel, start, words, half, order: &orders[half], x: scratch.as_mut_ptr() };
            match digits {
                1 => isa.run(FillColumns::<1>(columns)),
                2 => isa.run(FillColumns::<2>(columns)),
                3 => isa.run(FillColumns::<3>(columns)),
                4 => isa.run(FillColumns::<4>(columns)),
                5 => isa.run(FillColumns::<5>(columns)),
                6 => isa.run(FillColumns::<6>(columns)),
                _ => isa.run(FillColumns::<0>(columns)),
            }
            // The weights have been fetched in the meantime.
            if std::mem::replace(&mut constants_of, stripes.start) != stripes.start {
                constants.resize(stripes.len() * per_stripe, 0);
                for (number, constants) in stripes.clone().zip(constants.chunks_exact_mut(per_stripe)) {
                    stripe_constants(isa, panel.modulus, shape, panel.stripe(number), constants);
                }
            }
            // Where the columns are that come next.
            let next = if half == 0 { Some(panel.n - start - words) } else { (at > 0).then(|| panel.n - start) };
            ahead.clear();
            for tap in panel.taps.iter().filter(|_| next.is_some()) {
                let source = piece(tap, next.unwrap_or(0), words);
                ahead.extend(tap.keys.iter().flatten().map(|k| k[source..].as_ptr()));
            }
            let sums = Sums {
                panel,
                ahead: &ahead,
                start,
                words,
                stripes: stripes.clone(),
                constants: &constants,
                x: scratch.as_ptr(),
                xi: &mut xi,
                out,
                at,
                accumulate,
                place: &places[half],
            };
            match shape.lanes {
                1 => isa.run(Accumulate::<1>(sums)),
                2 => isa.run(Accumulate::<2>(sums)),
                4 => isa.run(Accumulate::<4>(sums)),
                _ => isa.run(Accumulate::<8>(sums)),
            }
        }
        at += words;
    }
}

/// Where the words `start..start + words` come from under a rotation: an automorphism takes aligned
/// pieces to aligned pieces.
fn piece(tap: &TapRows<'_>, start: usize, words: usize) -> usize {
    tap.table.source_start(start / 8) / words * words
}

/// Outputs whose sums over both components are taken at a time.
const ACCUMULATED: usize = 4;

/// The word of a block of eight that is at each position of a column: weights of several words for
/// eight then come in cycles. Blocks of the second half of a limb are backwards.
fn column_order(lanes: usize, mirrored: bool) -> [u64; 8] {
    let mut order = [0; 8];
    for (i, word) in order.iter_mut().enumerate() {
        let straight = i % lanes * (8 / lanes) + i / lanes;
        *word = if mirrored && lanes > 1 { 7 - straight } else { straight } as u64;
    }
    order
}

/// A checked panel, windows inside it that lie in one aligned block of so many words, and column
/// scratch of sufficient size.
struct Columns<'a> {
    panel: &'a LimbPanel<'a>,
    start: usize,
    words: usize,
    /// The half of the limb that they are in; the first is the one whose weights nobody has read
    /// before.
    half: usize,
    /// The word at each position of a column.
    order: &'a [u64; 8],
    x: *mut u64,
}

/// Fills the columns of some windows. `D` is the number of digits, 0 for any number.
struct FillColumns<'a, const D: usize>(Columns<'a>);

/// Digits that one reduction takes with the own limb: seven products stay below `2 q 2^52`.
const DIGIT_RUN: usize = 6;

impl<const D: usize> Kernel for FillColumns<'_, D> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if D > 0 && !L::WIDE {
            unreachable!("wide kernels run on wide instruction sets");
        }
        let Columns { panel, start, words, half, order, x } = self.0;
        let m = ModulusLanes::new(lanes, panel.modulus);
        let own_factor = lanes.splat(panel.own_factor);
        let stride = panel.shape.column_stride();
        // The weights are fetched while inner products run.
        let (run, stripe_stride) = (panel.shape.run, panel.shape.stripe_stride());
        let ordered = panel.shape.lanes > 1;
        assert!(half < 2);
        let stripe = panel.weights.as_ptr().wrapping_add(panel.stripe_of(start) * stripe_stride);
        let rows: usize = panel.taps.iter().map(|t| t.rows.len()).sum();
        let fresh = half == 0 && start.is_multiple_of(run) && run < panel.n;
        let lines = if fresh { (words / run).max(1) * stripe_stride / 8 } else { 0 };
        let per_row = lines.div_ceil(rows.max(1));
        let mut line = 0;
        let blocks = words / 8;
        // SAFETY: `LimbPanel::check` has seen that limbs, keys and tables have length n, that slots
        // and inputs are in range and that own limbs exist where they are read; `x` has room for
        // all slots of all columns. Prefetching is harmless at any address.
        unsafe {
            for (t, tap) in panel.taps.iter().enumerate() {
                let map = tap.table.blocks().get_unchecked(start / 8..start / 8 + blocks);
                let patterns = tap.patterns.get_unchecked(half);
                let keys = tap.keys.as_ptr();
                let count = if D == 0 { tap.keys.len() } else { D };
                let ahead = panel.taps.get(t + 1).map(|next| (next, piece(next, start, words)));
                let source = piece(tap, start, words);
                for (r, row) in tap.rows.iter().enumerate() {
                    if let Some(next) = tap.rows.get(r + 2) {
                        let input = panel.inputs.get_unchecked(next.input as usize);
                        for b in 0..blocks {
                            for d in &input.digits {
                                lanes.prefetch::<true>(d.as_ptr().wrapping_add(source + 8 * b));
                            }
                            if let Some([c0, _]) = &input.own {
                                lanes.prefetch::<true>(c0.as_ptr().wrapping_add(source + 8 * b));
                            }
                        }
                    }
                    for _ in 0..per_row {
                        lanes.prefetch::<false>(stripe.wrapping_add(8 * line));
                        line += 1;
                    }
                    let input = panel.inputs.get_unchecked(row.input as usize);
                    let to = x.add(row.slot as usize * 8);
                    let digits = input.digits.as_ptr();
                    // With the first row, the next rotation's keys and its first row's operands.
                    let ahead = ahead
                        .filter(|_| r == 0)
                        .map(|(next, source)| (next, panel.inputs.get_unchecked(next.rows[0].input as usize), source));
                    for b in 0..blocks {
                        if let Some((next, input, source)) = &ahead {
                            for k in next.keys.iter().flatten() {
                                lanes.prefetch::<true>(k.as_ptr().wrapping_add(source + 8 * b));
                            }
                            for limb in input.digits.iter().chain(input.own.iter().map(|[c0, _]| c0)) {
                                lanes.prefetch::<true>(limb.as_ptr().wrapping_add(source + 8 * b));
                            }
                        }
                        let map = *map.get_unchecked(b);
                        let s = (map & !7) as usize;
                        let mut acc = [lanes.acc(); 2];
                        let mut high = [lanes.splat(0); 2];
                        for d in 0..count {
                            if D == 0 && d > 0 && d % DIGIT_RUN == 0 {
                                for c in 0..2 {
                                    let v = lanes.reduce_once(lanes.redc1(acc[c], m.q, m.qinv), m.q);
                                    high[c] = lanes.add_mod(high[c], v, m.q);
                                    acc[c] = lanes.acc();
                                }
                            }
                            let v = lanes.load((*digits.add(d)).as_ptr().add(s));
                            let [k0, k1] = *keys.add(d);
                            acc[0] = lanes.mac(acc[0], v, lanes.load(k0.as_ptr().add(s)));
                            acc[1] = lanes.mac(acc[1], v, lanes.load(k1.as_ptr().add(s)));
                        }
                        if let Some([c0, _]) = &input.own {
                            acc[0] = lanes.mac(acc[0], lanes.load(c0.as_ptr().add(s)), own_factor);
                        }
                        let pattern = patterns.get_unchecked((map & 7) as usize);
                        for c in 0..2 {
                            let mut v = lanes.redc1(acc[c], m.q, m.qinv);
                            if D == 0 {
                                v = lanes.add_mod(high[c], lanes.reduce_once(v, m.q), m.q);
                            }
                            v = lanes.permute(pattern, v);
                            lanes.store(to.add((2 * b + c) * stride), v);
                        }
                    }
                }
            }
            for row in &panel.identity {
                let Some(own) = &panel.inputs.get_unchecked(row.input as usize).own else {
                    continue;
                };
                for b in 0..blocks {
                    for (c, limb) in own.iter().enumerate() {
                        let v = lanes.mac(lanes.acc(), lanes.load(limb.as_ptr().add(start + 8 * b)), own_factor);
                        let mut v = lanes.redc1(v, m.q, m.qinv);
                        if ordered {
                            v = lanes.permute(order, v);
                        }
                        lanes.store(x.add((2 * b + c) * stride + row.slot as usize * 8), v);
                    }
                }
            }
            for &slot in &panel.padding {
                for column in 0..2 * blocks {
                    lanes.store(x.add(column * stride + slot as usize * 8), lanes.splat(0));
                }
            }
        }
    }
}

/// The sums over the filled columns of `words` words from word `start` of the limb on, which are
/// those from `at` on in `out`.
struct Sums<'a, 'b, 'c> {
    panel: &'a LimbPanel<'a>,
    start: usize,
    words: usize,
    /// Units of these words.
    stripes: Range<usize>,
    /// Where the pieces of the keys start that the next columns need, as long as these.
    ahead: &'a [*const u64],
    /// By stripe and position.
    constants: &'a [u64],
    x: *const u64,
    /// Room for the pair sums of a group, for each column of a stripe.
    xi: &'a mut [u64; 8 * COLUMNS],
    out: &'b mut [&'c mut [u64]],
    at: usize,
    accumulate: bool,
    /// The position in a column of each word.
    place: &'a [u64; 8],
}

/// All sums; each weight is `W` words, for `8 / W` lanes each.
struct Accumulate<'a, 'b, 'c, const W: usize>(Sums<'a, 'b, 'c>);

impl<const W: usize> Kernel for Accumulate<'_, '_, '_, W> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut s = self.0;
        let shape = s.panel.shape;
        assert_eq!(shape.lanes, W);
        let span = WINDOW.min(shape.stripe_span());
        let per_stripe = shape.outputs.len() * W;
        // Keys come from memory, and filling columns waits for them; here there is time to fetch
        // them.
        let lines = s.words / 8;
        let per_step = (s.ahead.len() * lines * span).div_ceil(s.words);
        let mut fetched = 0;
        for step in (0..s.words).step_by(span) {
            for line in fetched..(fetched + per_step).min(s.ahead.len() * lines) {
                lanes.prefetch::<false>(s.ahead[line / lines].wrapping_add(line % lines * 8));
            }
            fetched += per_step;
            let number = s.panel.stripe_of(s.start + step);
            let stripe = s.panel.stripe(number);
            let constants = &s.constants[(number - s.stripes.start) * per_stripe..][..per_stripe];
            let columns = 2 * step / 8..2 * (step + span) / 8;
            let mut pairs = usize::MAX..usize::MAX;
            for group in &shape.groups {
                if pairs != group.pairs {
                    pairs = group.pairs.clone();
                    pair_products(lanes, &mut s, columns.clone(), group);
                }
                let width = if L::WIDE { group.width.min(ACCUMULATED) } else { 1 };
                for first in (group.first..group.first + group.width).step_by(width) {
                    let block = Block { group, first, stripe, constants };
                    // SAFETY: all columns have been filled, and the pair sums of this group have
                    // just been made; `width` outputs are left.
                    unsafe {
                        match width {
                            _ if !L::WIDE => weigh::<L, 1, 1, W>(lanes, &mut s, columns.clone(), &block),
                            1 => weigh::<L, 1, 2, W>(lanes, &mut s, columns.clone(), &block),
                            2 => weigh::<L, 2, 2, W>(lanes, &mut s, columns.clone(), &block),
                            _ => weigh::<L, ACCUMULATED, 2, W>(lanes, &mut s, columns.clone(), &block),
                        }
                    }
                }
            }
        }
    }
}

/// `xi = sum_p x[2p] x[2p + 1] / R^2` over the pairs of a group, for each of some columns.
#[inline(always)]
fn pair_products<L: Lanes>(lanes: L, s: &mut Sums<'_, '_, '_>, columns: Range<usize>, group: &Group) {
    let m = ModulusLanes::new(lanes, s.panel.modulus);
    let stride = s.panel.shape.column_stride();
    let first = columns.start;
    for pair in columns.step_by(2) {
        // SAFETY: columns come in pairs (two components); all slots are filled; pairs are pairs of
        // slots.
        unsafe {
            let x = [s.x.add(pair * stride), s.x.add((pair + 1) * stride)];
            let mut acc = [lanes.acc(); 4]; // two chains for each column
            let pairs = s.panel.shape.pairs.get_unchecked(group.pairs.clone());
            let mut p = 0;
            while p + 1 < pairs.len() {
                let (p0, p1) = (16 * *pairs.get_unchecked(p) as usize, 16 * *pairs.get_unchecked(p + 1) as usize);
                for c in 0..2 {
                    acc[c] = lanes.mac(acc[c], lanes.load(x[c].add(p0)), lanes.load(x[c].add(p0 + 8)));
                    acc[c + 2] = lanes.mac(acc[c + 2], lanes.load(x[c].add(p1)), lanes.load(x[c].add(p1 + 8)));
                }
                p += 2;
            }
            if p < pairs.len() {
                for c in 0..2 {
                    let x = x[c].add(16 * *pairs.get_unchecked(p) as usize);
                    acc[c] = lanes.mac(acc[c], lanes.load(x), lanes.load(x.add(8)));
                }
            }
            for c in 0..2 {
                let a = lanes.redc2(acc[c], m.q, m.qinv);
                let b = lanes.redc2(acc[c + 2], m.q, m.qinv);
                lanes.store(s.xi.as_mut_ptr().add(8 * (pair - first + c)), lanes.add_mod(a, b, m.q));
            }
        }
    }
}

/// Outputs that are summed at a time, with the weights and constants of their stripe.
struct Block<'a> {
    group: &'a Group,
    /// A position in the group.
    first: usize,
    stripe: &'a [u64],
    /// By position.
    constants: &'a [u64],
}

/// Sums of the outputs at positions `first..first + O` of a group, `C` columns at a time (1, or
/// both components).
///
/// # Safety
/// The columns and the pair sums of the group must have been filled, the group must have so many
/// outputs from `first` on.
#[inline(always)]
unsafe fn weigh<L: Lanes, const O: usize, const C: usize, const W: usize>(
    lanes: L,
    s: &mut Sums<'_, '_, '_>,
    columns: Range<usize>,
    block: &Block<'_>,
) {
    let Block { group, first, stripe, constants } = *block;
    let shape = s.panel.shape;
    let m = ModulusLanes::new(lanes, s.panel.modulus);
    let (stride, width) = (shape.column_stride(), group.width);
    let start = columns.start;
    // SAFETY: a stripe holds dense cells by group and sparse cells by position; there are constants
    // for all positions, which stand for all outputs; slots are in range and filled; outputs are at
    // least `at + words` long.
    unsafe {
        let dense = stripe.as_ptr().add((group.cells + first - group.first) * W);
        let sparse = stripe.as_ptr().add(shape.dense * W);
        let pairs = shape.pairs.get_unchecked(group.pairs.clone());
        let constants = constants.as_ptr().add(first * W);
        for column in columns.step_by(C) {
            let x = s.x.add(column * stride);
            let mut acc = [[lanes.acc(); C]; O];
            for p in 0..pairs.len() {
                let x = x.add(16 * *pairs.get_unchecked(p) as usize);
                let mut x0 = [m.q; C];
                let mut x1 = [m.q; C];
                for c in 0..C {
                    x0[c] = lanes.load(x.add(c * stride));
                    x1[c] = lanes.load(x.add(c * stride + 8));
                }
                let w = [dense.add(2 * p * width * W), dense.add((2 * p + 1) * width * W)];
                for o in 0..O {
                    let w0 = lanes.cycle::<W>(w[0].add(W * o));
                    let w1 = lanes.cycle::<W>(w[1].add(W * o));
                    for c in 0..C {
                        acc[o][c] = lanes.mac(acc[o][c], lanes.add(x0[c], w1), lanes.add(x1[c], w0));
                    }
                }
            }
            for o in 0..O {
                let list = *shape.sparse_start.get_unchecked(first + o) as usize..*shape.sparse_start.get_unchecked(first + o + 1) as usize;
                for e in list {
                    let slot = *shape.sparse_slots.get_unchecked(e) as usize;
                    let w = lanes.cycle::<W>(sparse.add(W * e));
                    for c in 0..C {
                        acc[o][c] = lanes.mac(acc[o][c], lanes.load(x.add(c * stride + 8 * slot)), w);
                    }
                }
                let constant = lanes.cycle::<W>(constants.add(W * o));
                let output = *shape.outputs.get_unchecked(first + o) as usize;
                for c in 0..C {
                    let xi = lanes.load(s.xi.as_ptr().add(8 * (column - start + c)));
                    let v = lanes.sub_mod(lanes.redc2(acc[o][c], m.q, m.qinv), xi, m.q);
                    let mut v = lanes.sub_mod(v, constant, m.q);
                    if W > 1 {
                        v = lanes.permute(s.place, v);
                    }
                    let row = s.out.get_unchecked_mut(2 * output + (column + c) % 2);
                    let to = row.as_mut_ptr().add(s.at + column / 2 * 8);
                    if s.accumulate {
                        v = lanes.add_mod(v, lanes.load(to), m.q);
                    }
                    lanes.store(to, v);
                }
            }
        }
    }
}
