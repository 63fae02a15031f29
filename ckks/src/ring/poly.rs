//! Polynomials as rows of residues.

use crate::simd::LimbWords;
use rayon::prelude::*;
use zeroize::Zeroize;

/// A polynomial in residue-number form: `rows` rows of `n` residues, one row per prime.
///
/// Rows are owned one by one, so that a row that is not needed any more can serve another
/// polynomial. Which prime a row belongs to is the holder's knowledge, see
/// [`Ring::modulus_index`](super::Ring::modulus_index).
pub struct RnsPoly {
    n: usize,
    rows: Vec<LimbWords>,
}

impl RnsPoly {
    /// The zero polynomial.
    pub fn new_zero(n: usize, rows: usize) -> Self {
        Self { n, rows: (0..rows).map(|_| LimbWords::zeroed(n)).collect() }
    }

    /// A polynomial with unspecified words, for callers that overwrite all of them.
    pub fn new_unspecified(n: usize, rows: usize) -> Self {
        Self { n, rows: (0..rows).map(|_| LimbWords::unspecified(n)).collect() }
    }

    /// Words per row.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Row `i` in `0..rows`; empty when it was freed.
    #[inline]
    pub fn row(&self, i: usize) -> &[u64] {
        &self.rows[i]
    }

    /// Row `i` in `0..rows`; empty when it was freed.
    #[inline]
    pub fn row_mut(&mut self, i: usize) -> &mut [u64] {
        &mut self.rows[i]
    }

    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.rows.iter().map(|r| &**r)
    }

    /// All rows in order.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u64]> {
        self.rows.iter_mut().map(|r| &mut **r)
    }

    /// All rows, in parallel.
    pub fn par_iter(&self) -> impl IndexedParallelIterator<Item = &[u64]> {
        self.rows.par_iter().map(|r| &**r)
    }

    /// All rows, in parallel.
    pub fn par_iter_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [u64]> {
        self.rows.par_iter_mut().map(|r| &mut **r)
    }

    /// A copy of the first `rows` rows.
    pub fn truncated(&self, rows: usize) -> Self {
        let mut out = Self::new_unspecified(self.n, rows);
        for (d, s) in out.iter_mut().zip(self.iter()) {
            d.copy_from_slice(s);
        }
        out
    }

    /// Frees all rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        self.rows.truncate(rows);
    }

    /// Frees row `i`, if there is one: it reads as empty from now on.
    pub fn free_row(&mut self, i: usize) {
        if let Some(row) = self.rows.get_mut(i) {
            *row = LimbWords::EMPTY;
        }
    }

    /// Appends a row with unspecified words.
    pub(crate) fn push_unspecified(&mut self) {
        self.rows.push(LimbWords::unspecified(self.n));
    }

    /// A polynomial of given rows of `n` words.
    pub(crate) fn from_rows(n: usize, rows: Vec<LimbWords>) -> Self {
        debug_assert!(rows.iter().all(|r| r.len() == n));
        Self { n, rows }
    }

    /// All rows, to be replaced by others of the same length.
    pub(crate) fn rows_mut(&mut self) -> &mut [LimbWords] {
        &mut self.rows
    }

    /// Takes out the rows from `rows` on.
    pub(crate) fn split_off(&mut self, rows: usize) -> Vec<LimbWords> {
        self.rows.split_off(rows)
    }
}

impl Clone for RnsPoly {
    fn clone(&self) -> Self {
        self.truncated(self.rows())
    }
}

impl PartialEq for RnsPoly {
    fn eq(&self, other: &Self) -> bool {
        self.n == other.n && self.rows() == other.rows() && self.iter().eq(other.iter())
    }
}

impl Eq for RnsPoly {}

impl Zeroize for RnsPoly {
    fn zeroize(&mut self) {
        self.rows.iter_mut().for_each(|r| r.zeroize());
    }
}

impl std::fmt::Debug for RnsPoly {
    /// Shape only: residues may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RnsPoly({} x {})", self.rows(), self.n)
    }
}
