//! Sums of rotated rows and of rotated key inner products, on one limb.
//!
//! Every summand is read in pieces of [`PIECE`] words, the source of a piece of the sum, which
//! stays in the first-level cache; the next summand's piece is fetched in the meantime. An
//! automorphism takes aligned pieces to aligned pieces.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use crate::arithmetic::{GaloisTable, Modulus};
use chiffre_params::work::MAX_DIGITS;

/// Words of a piece.
const PIECE: usize = 256;

/// A row and the permutation under which it is added; `None` is the identity.
#[derive(Clone, Copy)]
pub struct RotatedRow<'a> {
    /// The permutation.
    pub table: Option<&'a GaloisTable>,
    /// The whole row.
    pub row: &'a [u64],
}

/// An inner product with a key and the permutation under which it is added.
pub struct RotatedProduct<'a> {
    /// The permutation.
    pub table: &'a GaloisTable,
    /// Whole rows of the digits, at most [`MAX_DIGITS`].
    pub digits: Vec<&'a [u64]>,
    /// Whole rows of the key for each digit, permuted by the inverse automorphism.
    pub keys: Vec<[&'a [u64]; 2]>,
}

/// Words `start..start + out.len()` of the sum of some rotated rows; multiples of eight.
pub fn rotated_row_sum(isa: Isa, m: &Modulus, terms: &[RotatedRow<'_>], start: usize, out: &mut [u64]) {
    assert!(start.is_multiple_of(8) && out.len().is_multiple_of(8));
    for t in terms {
        assert!(start + out.len() <= t.row.len() && t.table.is_none_or(|table| table.n() == t.row.len()));
    }
    isa.run(SumRows { m, terms, start, out });
}

/// Words `start..start + out[c].len()` of `out[c] = sum_t perm_t(sum_d digits_td keys_td[c] / R)`;
/// multiples of eight.
pub fn rotated_product_sum(isa: Isa, m: &Modulus, terms: &[RotatedProduct<'_>], start: usize, out: [&mut [u64]; 2]) {
    let len = out[0].len();
    assert!(start.is_multiple_of(8) && len.is_multiple_of(8) && out[1].len() == len);
    for t in terms {
        let n = t.table.n();
        assert!(start + len <= n && t.digits.len() == t.keys.len() && t.digits.len() <= MAX_DIGITS);
        assert!(t.digits.iter().all(|d| d.len() == n) && t.keys.iter().flatten().all(|k| k.len() == n));
    }
    isa.run(SumProducts { m, terms, start, out });
}

/// First word of the source of block `b`, and how its words are permuted.
///
/// # Safety
/// The table must be longer than block `b`.
#[inline(always)]
unsafe fn source(table: &GaloisTable, b: usize) -> (usize, &[u64; 8]) {
    // SAFETY: the caller's promise; there are eight patterns.
    unsafe {
        let map = *table.blocks().get_unchecked(b) as usize;
        (map & !7, table.patterns().get_unchecked(map & 7))
    }
}

struct SumRows<'a, 'b> {
    m: &'a Modulus,
    terms: &'a [RotatedRow<'a>],
    start: usize,
    out: &'b mut [u64],
}

impl Kernel for SumRows<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { m, terms, start, out } = self;
        let q = lanes.splat(m.q);
        for at in (0..out.len()).step_by(PIECE) {
            let end = (at + PIECE).min(out.len());
            out[at..end].fill(0);
            for (t, term) in terms.iter().enumerate() {
                for word in (at..end).step_by(8) {
                    let b = (start + word) / 8;
                    // SAFETY: rows and tables are longer than block `b`, as was checked; a source
                    // block lies in its row.
                    unsafe {
                        if let Some(next) = terms.get(t + 1) {
                            let s = next.table.map_or(8 * b, |table| source(table, b).0);
                            lanes.prefetch::<true>(next.row.as_ptr().add(s));
                        }
                        let v = match term.table {
                            None => lanes.load(term.row.as_ptr().add(8 * b)),
                            Some(table) => {
                                let (s, pattern) = source(table, b);
                                lanes.permute(pattern, lanes.load(term.row.as_ptr().add(s)))
                            }
                        };
                        let to = out.as_mut_ptr().add(word);
                        lanes.store(to, lanes.add_mod(lanes.load(to), v, q));
                    }
                }
            }
        }
    }
}

struct SumProducts<'a, 'b> {
    m: &'a Modulus,
    terms: &'a [RotatedProduct<'a>],
    start: usize,
    out: [&'b mut [u64]; 2],
}

impl Kernel for SumProducts<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { m, terms, start, out } = self;
        let m = ModulusLanes::new(lanes, m);
        let len = out[0].len();
        for at in (0..len).step_by(PIECE) {
            let end = (at + PIECE).min(len);
            out[0][at..end].fill(0);
            out[1][at..end].fill(0);
            for (t, term) in terms.iter().enumerate() {
                for word in (at..end).step_by(8) {
                    let b = (start + word) / 8;
                    // SAFETY: digits, keys and tables are longer than block `b`, as was checked; a
                    // source block lies in its row.
                    unsafe {
                        if let Some(next) = terms.get(t + 1) {
                            let s = source(next.table, b).0;
                            for (d, [k0, k1]) in next.digits.iter().zip(&next.keys) {
                                lanes.prefetch::<true>(d.as_ptr().add(s));
                                lanes.prefetch::<true>(k0.as_ptr().add(s));
                                lanes.prefetch::<true>(k1.as_ptr().add(s));
                            }
                        }
                        let (s, pattern) = source(term.table, b);
                        let mut acc = [lanes.acc(); 2];
                        for (d, [k0, k1]) in term.digits.iter().zip(&term.keys) {
                            let x = lanes.load(d.as_ptr().add(s));
                            acc[0] = lanes.mac(acc[0], x, lanes.load(k0.as_ptr().add(s)));
                            acc[1] = lanes.mac(acc[1], x, lanes.load(k1.as_ptr().add(s)));
                        }
                        for c in 0..2 {
                            let v = lanes.reduce_once(lanes.redc1(acc[c], m.q, m.qinv), m.q);
                            let to = out[c].as_mut_ptr().add(word);
                            lanes.store(to, lanes.add_mod(lanes.load(to), lanes.permute(pattern, v), m.q));
                        }
                    }
                }
            }
        }
    }
}
