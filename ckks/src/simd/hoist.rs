//! Hoisted rotations of a group of ciphertexts and their sums with diagonals, on one limb.
//!
//! For a tile of [`HOIST_TILE`] words, the rotated key inner product of each tap is written to one *slot* of a column
//! buffer for every ciphertext of the group, with one load of the key's words for all of them; every output then takes
//! its weighted sum over the slots, again with one load of each weight for several columns.
//!
//! Slots hold values times `R^2`, weights have the factor that the caller wants in the sums, and sums are reduced by
//! `R^2`.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use crate::ring::{GaloisTable, Modulus};

/// Words of a limb that are processed at a time.
pub const HOIST_TILE: usize = 32;
/// Vectors of a tile.
const VECTORS: usize = HOIST_TILE / 8;
/// Ciphertexts whose inner products run together.
const TOGETHER: usize = 4;
/// Products that one reduction takes: seven stay below `2 q 2^52`.
pub const MOST_DIGITS: usize = 6;

/// The limbs of one ciphertext at one modulus.
pub struct HoistedLimbs<'a> {
    /// Extended digits of `c1`, at most [`MOST_DIGITS`].
    pub digits: Vec<&'a [u64]>,
    /// The ciphertext's own limbs, absent where they vanish.
    pub own: Option<[&'a [u64]; 2]>,
}

/// One rotation.
pub struct HoistedTap<'a> {
    /// Its permutation; `None` is the identity.
    pub table: Option<&'a GaloisTable>,
    /// Key limbs by digit, pre-permuted by the inverse automorphism and times `R^3`; none for an identity without a key.
    pub keys: Vec<[&'a [u64]; 2]>,
}

/// The weights of all taps for all outputs at one modulus.
pub struct Weights<'a> {
    /// Consecutive words with equal weights: a power of two, 1 or at least 8. For 1 a weight is eight words.
    pub run: usize,
    /// `[unit][tap][output]`, a unit for each run (or block of eight words).
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
    /// Words of scratch that [`hoisted_tiles`] needs for so many inputs and taps.
    pub fn scratch_words(inputs: usize, taps: usize) -> usize {
        2 * VECTORS * inputs * column_stride(taps)
    }

    /// Checks everything that the unchecked loops rely on.
    fn check(&self) {
        let n = self.n;
        assert!(n.is_multiple_of(HOIST_TILE) && !self.inputs.is_empty() && self.taps.len() < 1 << 11);
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
    assert!(digits <= MOST_DIGITS);
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

/// Computes words `start..start + len` of all sums: `out[2 (output * inputs + input) + c]` is component `c`, all of equal
/// length, a multiple of [`HOIST_TILE`]. `scratch` has at least [`HoistedLimb::scratch_words`] words.
pub fn hoisted_tiles(isa: Isa, limb: &HoistedLimb<'_>, start: usize, out: &mut [&mut [u64]], scratch: &mut [u64]) {
    limb.check();
    let len = out.first().map_or(0, |o| o.len());
    assert!(out.len() == 2 * limb.outputs * limb.inputs.len() && out.iter().all(|o| o.len() == len));
    assert!(start.is_multiple_of(HOIST_TILE) && len.is_multiple_of(HOIST_TILE) && start + len <= limb.n);
    assert!(scratch.len() >= HoistedLimb::scratch_words(limb.inputs.len(), limb.taps.len()));
    let wide = isa.is_wide();
    for tile in (0..len).step_by(HOIST_TILE) {
        let mut first = 0;
        while first < limb.inputs.len() {
            let left = if wide { (limb.inputs.len() - first).min(TOGETHER) } else { 1 };
            let x = scratch.as_mut_ptr();
            let start = start + tile;
            match left {
                1 => isa.run(FillColumns::<1> { limb, first, start, x }),
                2 => isa.run(FillColumns::<2> { limb, first, start, x }),
                3 => isa.run(FillColumns::<3> { limb, first, start, x }),
                _ => isa.run(FillColumns::<4> { limb, first, start, x }),
            }
            first += left;
        }
        let vec = limb.weights.run == 1;
        let per_unit = (limb.weights.run / 8).clamp(1, VECTORS);
        for vector in (0..VECTORS).step_by(per_unit) {
            let unit = (start + tile + 8 * vector) / limb.weights.run.max(8);
            let mut sums = Sums { limb, unit, output: 0, column: 0, x: scratch.as_ptr(), out: &mut *out, at: tile };
            let columns = 2 * limb.inputs.len() * vector..2 * limb.inputs.len() * (vector + per_unit);
            sums.run_all(isa, wide, vec, columns);
        }
    }
}

/// The inner products of a tap at one block of eight words, for `C` inputs, both components, below `2 q`, permuted.
///
/// # Safety
/// There must be `C` inputs with as many digits as there are keys, all of them and the table longer than the block `b`.
#[inline(always)]
unsafe fn rotated<L: Lanes, const C: usize>(
    lanes: L,
    m: ModulusLanes<L>,
    own_factor: L::V,
    inputs: &[HoistedLimbs<'_>],
    tap: &HoistedTap<'_>,
    b: usize,
) -> [[L::V; 2]; C] {
    // SAFETY: the caller's promise; a table's source blocks lie inside its degree.
    unsafe {
        let map = tap.table.map_or(8 * b as u32, |t| *t.blocks().get_unchecked(b));
        let s = (map & !7) as usize;
        let mut acc = [[lanes.acc(); 2]; C];
        for (d, [k0, k1]) in tap.keys.iter().enumerate() {
            let (k0, k1) = (lanes.load(k0.as_ptr().add(s)), lanes.load(k1.as_ptr().add(s)));
            for i in 0..C {
                let x = lanes.load(inputs.get_unchecked(i).digits.get_unchecked(d).as_ptr().add(s));
                acc[i][0] = lanes.mac(acc[i][0], x, k0);
                acc[i][1] = lanes.mac(acc[i][1], x, k1);
            }
        }
        let mut out = [[own_factor; 2]; C];
        for i in 0..C {
            if let Some([c0, c1]) = &inputs.get_unchecked(i).own {
                acc[i][0] = lanes.mac(acc[i][0], lanes.load(c0.as_ptr().add(s)), own_factor);
                if tap.keys.is_empty() {
                    acc[i][1] = lanes.mac(acc[i][1], lanes.load(c1.as_ptr().add(s)), own_factor);
                }
            }
            for c in 0..2 {
                let v = lanes.redc1(acc[i][c], m.q, m.qinv);
                out[i][c] = match tap.table {
                    Some(table) => lanes.permute(table.patterns().get_unchecked((map & 7) as usize), v),
                    None => v,
                };
            }
        }
        out
    }
}

/// Fills the columns of the inputs `first..first + C` for the tile at word `start`.
struct FillColumns<'a, const C: usize> {
    limb: &'a HoistedLimb<'a>,
    first: usize,
    start: usize,
    x: *mut u64,
}

impl<const C: usize> Kernel for FillColumns<'_, C> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if C > 1 && !L::WIDE {
            unreachable!("wide kernels run on wide instruction sets");
        }
        let Self { limb, first, start, x } = self;
        let m = ModulusLanes::new(lanes, limb.modulus);
        let own_factor = lanes.splat(limb.own_factor);
        let stride = column_stride(limb.taps.len());
        // SAFETY: `HoistedLimb::check` has seen that all rows and tables have length n and that digits match keys; `x`
        // has room for all slots of all columns.
        unsafe {
            let inputs = limb.inputs.get_unchecked(first..first + C);
            for (slot, tap) in limb.taps.iter().enumerate() {
                if let Some(next) = limb.taps.get(slot + 1) {
                    let s = next.table.map_or(start, |t| (*t.blocks().get_unchecked(start / 8) & !7) as usize) / HOIST_TILE * HOIST_TILE;
                    for (d, [k0, k1]) in next.keys.iter().enumerate() {
                        for b in 0..VECTORS {
                            lanes.prefetch::<true>(k0.as_ptr().wrapping_add(s + 8 * b));
                            lanes.prefetch::<true>(k1.as_ptr().wrapping_add(s + 8 * b));
                            for i in 0..C {
                                lanes.prefetch::<true>(inputs.get_unchecked(i).digits.get_unchecked(d).as_ptr().wrapping_add(s + 8 * b));
                            }
                        }
                    }
                }
                for b in 0..VECTORS {
                    let v = rotated::<L, C>(lanes, m, own_factor, inputs, tap, start / 8 + b);
                    for i in 0..C {
                        let column = 2 * (b * limb.inputs.len() + first + i);
                        lanes.store(x.add(column * stride + 8 * slot), v[i][0]);
                        lanes.store(x.add((column + 1) * stride + 8 * slot), v[i][1]);
                    }
                }
            }
        }
    }
}

/// Sums over filled columns with the weights of one unit.
struct Sums<'a, 'b, 'c> {
    limb: &'a HoistedLimb<'a>,
    unit: usize,
    /// First output and first column of the block that runs.
    output: usize,
    column: usize,
    x: *const u64,
    out: &'b mut [&'c mut [u64]],
    /// Where the tile starts in `out`.
    at: usize,
}

impl Sums<'_, '_, '_> {
    /// All outputs for some columns, in blocks of up to eight accumulators.
    fn run_all(&mut self, isa: Isa, wide: bool, vec: bool, columns: std::ops::Range<usize>) {
        self.output = 0;
        while self.output < self.limb.outputs {
            let left = self.limb.outputs - self.output;
            let outputs = if wide { (1 << left.ilog2()).min(8) } else { 1 };
            self.column = columns.start;
            while self.column < columns.end {
                let left = columns.end - self.column;
                let count = if wide { (1 << left.ilog2()).min(8 / outputs) } else { 1 };
                match (outputs, count, vec) {
                    (8, _, false) => isa.run(Block::<8, 1, false>(self)),
                    (4, 2, false) => isa.run(Block::<4, 2, false>(self)),
                    (4, _, false) => isa.run(Block::<4, 1, false>(self)),
                    (2, 4, false) => isa.run(Block::<2, 4, false>(self)),
                    (2, 2, false) => isa.run(Block::<2, 2, false>(self)),
                    (2, _, false) => isa.run(Block::<2, 1, false>(self)),
                    (_, 8, false) => isa.run(Block::<1, 8, false>(self)),
                    (_, 4, false) => isa.run(Block::<1, 4, false>(self)),
                    (_, 2, false) => isa.run(Block::<1, 2, false>(self)),
                    (_, _, false) => isa.run(Block::<1, 1, false>(self)),
                    (8, _, true) => isa.run(Block::<8, 1, true>(self)),
                    (4, 2, true) => isa.run(Block::<4, 2, true>(self)),
                    (4, _, true) => isa.run(Block::<4, 1, true>(self)),
                    (2, 4, true) => isa.run(Block::<2, 4, true>(self)),
                    (2, 2, true) => isa.run(Block::<2, 2, true>(self)),
                    (2, _, true) => isa.run(Block::<2, 1, true>(self)),
                    (_, 8, true) => isa.run(Block::<1, 8, true>(self)),
                    (_, 4, true) => isa.run(Block::<1, 4, true>(self)),
                    (_, 2, true) => isa.run(Block::<1, 2, true>(self)),
                    (_, _, true) => isa.run(Block::<1, 1, true>(self)),
                }
                self.column += count;
            }
            self.output += outputs;
        }
    }
}

/// `O` outputs of `V` columns; with `VEC` each weight is eight words.
struct Block<'s, 'a, 'b, 'c, const O: usize, const V: usize, const VEC: bool>(&'s mut Sums<'a, 'b, 'c>);

impl<const O: usize, const V: usize, const VEC: bool> Kernel for Block<'_, '_, '_, '_, O, V, VEC> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if O * V > 1 && !L::WIDE {
            unreachable!("wide kernels run on wide instruction sets");
        }
        let s = self.0;
        let (taps, inputs) = (s.limb.taps.len(), s.limb.inputs.len());
        let m = ModulusLanes::new(lanes, s.limb.modulus);
        let stride = column_stride(taps);
        let words = if VEC { 8 } else { 1 };
        assert!(s.output + O <= s.limb.outputs && s.column + V <= 2 * VECTORS * inputs);
        assert!(s.limb.weights.words.len() >= (s.unit + 1) * taps * s.limb.outputs * words);
        // SAFETY: all columns are filled; the unit's weights were just seen to exist; outputs are at least `at + TILE`
        // long and there are two for each input and output.
        unsafe {
            let w = s.limb.weights.words.as_ptr().add((s.unit * taps * s.limb.outputs + s.output) * words);
            let x = s.x.add(s.column * stride);
            let mut acc = [[lanes.acc(); V]; O];
            for t in 0..taps {
                let w = w.add(t * s.limb.outputs * words);
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
            for o in 0..O {
                for i in 0..V {
                    let column = s.column + i;
                    let (vector, rest) = (column / (2 * inputs), column % (2 * inputs));
                    let row = s.out.get_unchecked_mut(2 * (s.output + o) * inputs + rest);
                    lanes.store(row.as_mut_ptr().add(s.at + 8 * vector), lanes.redc2(acc[o][i], m.q, m.qinv));
                }
            }
        }
    }
}

/// Adds rotated key inner products: words `start..start + len` of `out[2 i + c] += perm(sum_d digits_i[d] keys[d][c] / R)`,
/// with `c0_i own_factor / R` joining component 0 before the permutation. Lengths are multiples of eight.
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
    let mut first = 0;
    while first < inputs.len() {
        let left = if isa.is_wide() { (inputs.len() - first).min(TOGETHER) } else { 1 };
        let (inputs, out) = (&inputs[first..first + left], &mut out[2 * first..2 * (first + left)]);
        match left {
            1 => isa.run(RotatedAdd::<1> { m, tap, inputs, own_factor, start, out }),
            2 => isa.run(RotatedAdd::<2> { m, tap, inputs, own_factor, start, out }),
            3 => isa.run(RotatedAdd::<3> { m, tap, inputs, own_factor, start, out }),
            _ => isa.run(RotatedAdd::<4> { m, tap, inputs, own_factor, start, out }),
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
    out: &'b mut [&'c mut [u64]],
}

impl<const C: usize> Kernel for RotatedAdd<'_, '_, '_, C> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if C > 1 && !L::WIDE {
            unreachable!("wide kernels run on wide instruction sets");
        }
        let m = ModulusLanes::new(lanes, self.m);
        let own_factor = lanes.splat(self.own_factor);
        let len = self.out[0].len();
        assert!(self.inputs.len() == C && self.out.len() == 2 * C);
        for at in (0..len).step_by(8) {
            // SAFETY: the caller has checked all lengths.
            unsafe {
                let v = rotated::<L, C>(lanes, m, own_factor, self.inputs, self.tap, (self.start + at) / 8);
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
