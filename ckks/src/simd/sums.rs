//! Sums of products and of multiples of ciphertext limbs, before and together with relinearisation.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use crate::arithmetic::Modulus;

/// Most summands of one word: sums stay below `32 q R`.
const MAX_SUMMANDS: usize = 128;
/// Halvings from `[0, 32 q)` to `[0, q)`.
const MAX_STEPS: usize = 5;

/// Words from a load to its prefetch.
const AHEAD: usize = 128;
/// Products of ciphertexts of which all sums are of at most four products of residues.
const FEW: usize = 2;
/// Most products with one factor: their sums of two components stay below `4 q R`.
const MAX_PRODUCTS: usize = 8;
/// Most terms with one factor: their sums stay below `2 q R`.
pub const MAX_TERMS: usize = 8;

/// `left · right` for one limb of two ciphertexts, each by its two components.
#[derive(Clone, Copy, Debug)]
pub struct LimbProduct<'a> {
    /// One factor.
    pub left: [&'a [u64]; 2],
    /// The other factor; may be the same.
    pub right: [&'a [u64]; 2],
}

/// A sum of up to eight products, times a number.
#[derive(Clone, Copy, Debug)]
pub struct LimbProducts<'a> {
    /// The products.
    pub products: &'a [LimbProduct<'a>],
    /// Residue in `[0, q)`; see [`key_sum`] for the power of `R` in it.
    pub factor: u64,
    /// The factor as [`product_sum`] takes it.
    pub last_factor: u64,
}

/// `factor · rows` for one limb of a ciphertext, by its two components.
#[derive(Clone, Copy, Debug)]
pub struct LimbMultiple<'a> {
    /// The components.
    pub rows: [&'a [u64]; 2],
    /// Residue in `[0, q)`; see [`key_sum`] for the power of `R` in it.
    pub factor: u64,
}

/// `vector · rows` for one limb of a plaintext and of a ciphertext, by its two components.
#[derive(Clone, Copy, Debug)]
pub struct LimbTerm<'a> {
    /// The plaintext.
    pub vector: &'a [u64],
    /// The components.
    pub rows: [&'a [u64]; 2],
}

/// A sum of up to [`MAX_TERMS`] terms, times a number.
#[derive(Clone, Copy, Debug)]
pub struct LimbTerms<'a> {
    /// The terms.
    pub terms: &'a [LimbTerm<'a>],
    /// Residue in `[0, q)`; see [`key_sum`] for the power of `R` in it.
    pub factor: u64,
}

/// `factor · vector` for one limb of a plaintext.
#[derive(Clone, Copy, Debug)]
pub struct LimbVector<'a> {
    /// The plaintext.
    pub vector: &'a [u64],
    /// Residue in `[0, q)`, as the factor of a multiple.
    pub factor: u64,
}

/// Halvings that bring a reduced sum of `summands` products of residues to `[0, q)`.
fn steps(summands: usize) -> usize {
    assert!(summands <= MAX_SUMMANDS, "{summands} summands");
    // `s` products below q 2^50 are below (s / 4) q R.
    summands.div_ceil(4).next_power_of_two().ilog2() as usize
}

/// `2^(steps - 1) q, .., 2 q, q` in lanes.
#[inline(always)]
fn multiples<L: Lanes>(lanes: L, m: &Modulus, steps: usize) -> [L::V; MAX_STEPS] {
    let mut out = [lanes.splat(m.q); MAX_STEPS];
    for i in 0..steps {
        out[i] = lanes.splat(m.q << (steps - 1 - i));
    }
    out
}

/// `out = sum_s (sum_p left_p[1] right_p[1]) last_factor_s / R^2` for sums `s` of products `p`:
/// what a relinearisation key multiplies.
pub fn product_sum(isa: Isa, m: &Modulus, sums: &[LimbProducts<'_>], out: &mut [u64]) {
    let n = out.len();
    assert!(n.is_multiple_of(8) && sums.iter().flat_map(|s| s.products).all(|p| p.left[1].len() == n && p.right[1].len() == n));
    assert!(sums.len() <= 4 && sums.iter().all(|s| s.products.len() <= MAX_PRODUCTS));
    isa.run(ProductSum { m, sums, out })
}

struct ProductSum<'a, 'b> {
    m: &'a Modulus,
    sums: &'a [LimbProducts<'b>],
    out: &'a mut [u64],
}

impl Kernel for ProductSum<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let m = ModulusLanes::new(lanes, self.m);
        let q2 = lanes.splat(2 * self.m.q);
        for at in (0..self.out.len()).step_by(8) {
            let mut v = lanes.splat(0);
            for s in self.sums {
                let (mut acc, mut few) = (lanes.acc(), lanes.few());
                for p in s.products {
                    // SAFETY: all rows have the length of `out`; prefetching is harmless at any
                    // address.
                    unsafe {
                        lanes.prefetch::<true>(p.left[1].as_ptr().wrapping_add(at + AHEAD));
                        lanes.prefetch::<true>(p.right[1].as_ptr().wrapping_add(at + AHEAD));
                        let (a, b) = (lanes.load(p.left[1].as_ptr().add(at)), lanes.load(p.right[1].as_ptr().add(at)));
                        if L::WIDE || s.products.len() > FEW {
                            acc = lanes.mac(acc, a, b);
                        } else {
                            few = lanes.mac_few(few, a, b);
                        }
                    }
                }
                let sum = reduced(lanes, m, s.products.len(), acc, few);
                v = lanes.add(v, scaled(lanes, m, sum, s.last_factor)); // below 4 q
            }
            let v = lanes.reduce_once(lanes.reduce_once(v, q2), m.q);
            // SAFETY: as above.
            unsafe { lanes.store(self.out.as_mut_ptr().add(at), v) }
        }
    }
}

/// The sum of so many products over `R`, in `[0, 4 q)`: from `few` if they are at most
/// [`FEW`] and lanes are not wide.
#[inline(always)]
fn reduced<L: Lanes>(lanes: L, m: ModulusLanes<L>, products: usize, acc: L::Acc, few: L::Few) -> L::V {
    if L::WIDE || products > FEW { lanes.redc1(acc, m.q, m.qinv) } else { lanes.redc1_few_loose(few, m.q, m.qinv) }
}

/// `v factor / R` in `[0, q)` for `v < 4 q < 2^52`.
#[inline(always)]
fn scaled<L: Lanes>(lanes: L, m: ModulusLanes<L>, v: L::V, factor: u64) -> L::V {
    lanes.redc1_few(lanes.mac_few(lanes.few(), v, lanes.splat(factor)), m.q, m.qinv)
}

/// What is added to an inner product of digits with a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimbSum<'a> {
    /// Products, of which the components at 1 and at `s` are taken.
    pub products: &'a [LimbProducts<'a>],
    /// Multiples.
    pub multiples: &'a [LimbMultiple<'a>],
    /// Products with plaintexts.
    pub terms: &'a [LimbTerms<'a>],
    /// Added to the component at 1, with the same power of `R` as factors of multiples.
    pub constant: u64,
    /// Added to the component at 1.
    pub vectors: &'a [LimbVector<'a>],
    /// The key that [`product_sum`] of the products is multiplied by: that of the digit to which
    /// the limb belongs.
    pub last_key: Option<[&'a [u64]; 2]>,
}

/// For each component `c`, over equally long rows; there may be no digits:
///
/// ```text
/// out[c] = (sum_d digits[d] keys[d][c] + sum_s (sum_p left_p right_p)[c] factor_s / R + sum_t rows_t[c] factor_t
///           + sum_s (sum_t vector_t rows_t[c]) factor_s / R
///           + [c = 0] (constant + sum_v vector_v factor_v) + product_sum last_key[c]) / R
/// ```
pub fn key_sum(isa: Isa, m: &Modulus, digits: &[&[u64]], keys: &[[&[u64]; 2]], sum: LimbSum<'_>, out: [&mut [u64]; 2]) {
    let n = out[0].len();
    assert!(digits.len() == keys.len() && n.is_multiple_of(8) && out[1].len() == n);
    assert!(digits.iter().all(|d| d.len() == n) && keys.iter().flatten().all(|k| k.len() == n));
    assert!(sum.products.iter().flat_map(|s| s.products).flat_map(|p| [p.left, p.right]).flatten().all(|r| r.len() == n));
    assert!(sum.products.len() <= 4 && sum.products.iter().all(|s| s.products.len() <= MAX_PRODUCTS));
    assert!(sum.multiples.iter().flat_map(|t| t.rows).chain(sum.last_key.into_iter().flatten()).all(|r| r.len() == n));
    assert!(sum.terms.iter().flat_map(|s| s.terms).flat_map(|t| [t.vector, t.rows[0], t.rows[1]]).all(|r| r.len() == n));
    assert!(sum.terms.iter().all(|s| s.terms.len() <= MAX_TERMS) && sum.vectors.iter().all(|v| v.vector.len() == n));
    // Sums of products before their factor, and the last component, are below 4 q.
    let groups = sum.products.len() + sum.terms.len() + 1;
    let steps = steps(digits.len() + 4 * groups + sum.multiples.len() + sum.vectors.len() + 1);
    isa.run(KeySum { m, digits, keys, sum, steps, out })
}

struct KeySum<'a, 'b> {
    m: &'a Modulus,
    digits: &'a [&'b [u64]],
    keys: &'a [[&'b [u64]; 2]],
    sum: LimbSum<'b>,
    steps: usize,
    out: [&'a mut [u64]; 2],
}

impl Kernel for KeySum<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let m = ModulusLanes::new(lanes, self.m);
        let multiples = multiples(lanes, self.m, self.steps);
        let n = self.out[0].len();
        let [out0, out1] = self.out;
        let out = [out0.as_mut_ptr(), out1.as_mut_ptr()];
        let (one, constant) = (lanes.splat(1), lanes.splat(self.sum.constant));
        for at in (0..n).step_by(8) {
            // SAFETY: all rows have length n.
            unsafe {
                let mut acc0 = lanes.mac(lanes.acc(), one, constant);
                let mut acc1 = lanes.acc();
                for (d, digit) in self.digits.iter().enumerate() {
                    let key = self.keys.get_unchecked(d);
                    lanes.prefetch::<true>(digit.as_ptr().wrapping_add(at + AHEAD));
                    lanes.prefetch::<true>(key[0].as_ptr().wrapping_add(at + AHEAD));
                    lanes.prefetch::<true>(key[1].as_ptr().wrapping_add(at + AHEAD));
                    let x = lanes.load(digit.as_ptr().add(at));
                    acc0 = lanes.mac(acc0, x, lanes.load(key[0].as_ptr().add(at)));
                    acc1 = lanes.mac(acc1, x, lanes.load(key[1].as_ptr().add(at)));
                }
                let mut last = lanes.splat(0);
                for s in self.sum.products {
                    let (mut d0, mut d1, mut d2) = (lanes.acc(), lanes.acc(), lanes.acc());
                    let (mut few0, mut few1, mut few2) = (lanes.few(), lanes.few(), lanes.few());
                    let products = s.products.len();
                    for p in s.products {
                        for row in [p.left[0], p.left[1], p.right[0], p.right[1]] {
                            lanes.prefetch::<true>(row.as_ptr().wrapping_add(at + AHEAD));
                        }
                        let a0 = lanes.load(p.left[0].as_ptr().add(at));
                        let a1 = lanes.load(p.left[1].as_ptr().add(at));
                        let b0 = lanes.load(p.right[0].as_ptr().add(at));
                        let b1 = lanes.load(p.right[1].as_ptr().add(at));
                        if !L::WIDE && products <= FEW {
                            few0 = lanes.mac_few(few0, a0, b0);
                            few1 = lanes.mac_few(lanes.mac_few(few1, a0, b1), a1, b0);
                            few2 = lanes.mac_few(few2, a1, b1);
                        } else {
                            d0 = lanes.mac(d0, a0, b0);
                            d1 = lanes.mac(lanes.mac(d1, a0, b1), a1, b0);
                            d2 = lanes.mac(d2, a1, b1);
                        }
                    }
                    let f = lanes.splat(s.factor);
                    acc0 = lanes.mac(acc0, reduced(lanes, m, products, d0, few0), f);
                    acc1 = lanes.mac(acc1, reduced(lanes, m, products, d1, few1), f);
                    last = lanes.add(last, scaled(lanes, m, reduced(lanes, m, products, d2, few2), s.last_factor));
                }
                if let Some(key) = self.sum.last_key {
                    lanes.prefetch::<true>(key[0].as_ptr().wrapping_add(at + AHEAD));
                    lanes.prefetch::<true>(key[1].as_ptr().wrapping_add(at + AHEAD));
                    acc0 = lanes.mac(acc0, last, lanes.load(key[0].as_ptr().add(at)));
                    acc1 = lanes.mac(acc1, last, lanes.load(key[1].as_ptr().add(at)));
                }
                for t in self.sum.multiples {
                    let f = lanes.splat(t.factor);
                    lanes.prefetch::<true>(t.rows[0].as_ptr().wrapping_add(at + AHEAD));
                    lanes.prefetch::<true>(t.rows[1].as_ptr().wrapping_add(at + AHEAD));
                    acc0 = lanes.mac(acc0, lanes.load(t.rows[0].as_ptr().add(at)), f);
                    acc1 = lanes.mac(acc1, lanes.load(t.rows[1].as_ptr().add(at)), f);
                }
                for s in self.sum.terms {
                    let (mut d0, mut d1) = (lanes.acc(), lanes.acc());
                    for t in s.terms {
                        for row in [t.vector, t.rows[0], t.rows[1]] {
                            lanes.prefetch::<true>(row.as_ptr().wrapping_add(at + AHEAD));
                        }
                        let v = lanes.load(t.vector.as_ptr().add(at));
                        d0 = lanes.mac(d0, lanes.load(t.rows[0].as_ptr().add(at)), v);
                        d1 = lanes.mac(d1, lanes.load(t.rows[1].as_ptr().add(at)), v);
                    }
                    let f = lanes.splat(s.factor);
                    acc0 = lanes.mac(acc0, lanes.redc1(d0, m.q, m.qinv), f);
                    acc1 = lanes.mac(acc1, lanes.redc1(d1, m.q, m.qinv), f);
                }
                for v in self.sum.vectors {
                    lanes.prefetch::<true>(v.vector.as_ptr().wrapping_add(at + AHEAD));
                    acc0 = lanes.mac(acc0, lanes.load(v.vector.as_ptr().add(at)), lanes.splat(v.factor));
                }
                lanes.prefetch::<true>(out[0].wrapping_add(at + AHEAD));
                lanes.prefetch::<true>(out[1].wrapping_add(at + AHEAD));
                let mut v0 = lanes.redc1(acc0, m.q, m.qinv);
                let mut v1 = lanes.redc1(acc1, m.q, m.qinv);
                for &c in &multiples[..self.steps] {
                    v0 = lanes.reduce_once(v0, c);
                    v1 = lanes.reduce_once(v1, c);
                }
                lanes.store(out[0].add(at), v0);
                lanes.store(out[1].add(at), v1);
            }
        }
    }
}

/// Sum and difference of a limb `z` and the image `w` of `zbar` under `conjugation`:
/// `(z + w, -i (z - w))`, for ciphertexts of `a + ib` and `a - ib` those of `2a` and `2b`.
/// `imaginary` is `X^(N/2)` at the first half of the NTT order.
pub fn split_halves(
    isa: Isa,
    m: &Modulus,
    imaginary: u64,
    conjugation: &crate::arithmetic::GaloisTable,
    z: &[u64],
    zbar: &[u64],
    out: [&mut [u64]; 2],
) {
    let n = conjugation.n();
    assert!(z.len() == n && zbar.len() == n && out.iter().all(|o| o.len() == n) && n.is_multiple_of(16));
    isa.run(SplitHalves { m, imaginary, conjugation, z, zbar, out })
}

struct SplitHalves<'a> {
    m: &'a Modulus,
    imaginary: u64,
    conjugation: &'a crate::arithmetic::GaloisTable,
    z: &'a [u64],
    zbar: &'a [u64],
    out: [&'a mut [u64]; 2],
}

impl Kernel for SplitHalves<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let q = lanes.splat(self.m.q);
        let [out0, out1] = self.out;
        let out = [out0.as_mut_ptr(), out1.as_mut_ptr()];
        let minus = self.m.neg(self.imaginary);
        let halves = [minus, self.imaginary].map(|w| (w, self.m.shoup(w)));
        let halves = [(lanes.splat(halves[0].0), lanes.splat(halves[0].1)), (lanes.splat(halves[1].0), lanes.splat(halves[1].1))];
        let blocks = self.conjugation.blocks();
        for (b, &map) in blocks.iter().enumerate() {
            let (w, w2) = halves[(b >= blocks.len() / 2) as usize];
            let pattern = &self.conjugation.patterns()[(map & 7) as usize];
            // SAFETY: all rows have the degree of the table, whose source blocks lie inside it.
            unsafe {
                let u = lanes.load(self.z.as_ptr().add(8 * b));
                let v = lanes.permute(pattern, lanes.load(self.zbar.as_ptr().add((map & !7) as usize)));
                lanes.store(out[0].add(8 * b), lanes.add_mod(u, v, q));
                lanes.store(out[1].add(8 * b), lanes.shoup(lanes.sub(lanes.add(u, q), v), w, w2, q));
            }
        }
    }
}
