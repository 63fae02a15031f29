//! Polynomials as rows of residues.

use crate::simd::Buffer;
use rayon::prelude::*;
use zeroize::Zeroize;

/// A polynomial in residue-number form: `rows` rows of `n` residues, one row per prime.
///
/// Rows are padded so that equal columns of neighbouring rows do not share cache sets. Which prime a row belongs to is
/// the holder's knowledge, see [`Ring::modulus_index`](super::Ring::modulus_index).
pub struct RnsPoly {
    buffer: Buffer,
    n: usize,
    rows: usize,
    stride: usize,
}

impl RnsPoly {
    fn stride(n: usize) -> usize {
        // An odd number of cache lines and not a multiple of a page, so that rows spread over all sets.
        n + if n >= 4096 { 1096 } else { 8 }
    }

    /// The zero polynomial.
    pub fn new_zero(n: usize, rows: usize) -> Self {
        let stride = Self::stride(n);
        let buffer = Buffer::zeroed(stride * rows);
        Self { buffer, n, rows, stride }
    }

    /// A polynomial with unspecified words, for callers that overwrite all of them.
    pub fn new_unspecified(n: usize, rows: usize) -> Self {
        let stride = Self::stride(n);
        let buffer = Buffer::unspecified(stride * rows);
        Self { buffer, n, rows, stride }
    }

    /// Words per row.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Row `i` in `0..rows`.
    #[inline]
    pub fn row(&self, i: usize) -> &[u64] {
        debug_assert!(i < self.rows);
        &self.buffer[i * self.stride..][..self.n]
    }

    /// Row `i` in `0..rows`.
    #[inline]
    pub fn row_mut(&mut self, i: usize) -> &mut [u64] {
        debug_assert!(i < self.rows);
        &mut self.buffer[i * self.stride..][..self.n]
    }

    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        let n = self.n;
        self.buffer.chunks_exact(self.stride).map(move |r| &r[..n])
    }

    /// All rows in order.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u64]> {
        let n = self.n;
        self.buffer.chunks_exact_mut(self.stride).map(move |r| &mut r[..n])
    }

    /// All rows, in parallel.
    pub fn par_iter(&self) -> impl IndexedParallelIterator<Item = &[u64]> {
        let n = self.n;
        self.buffer.par_chunks_exact(self.stride).map(move |r| &r[..n])
    }

    /// All rows, in parallel.
    pub fn par_iter_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [u64]> {
        let n = self.n;
        self.buffer.par_chunks_exact_mut(self.stride).map(move |r| &mut r[..n])
    }

    /// A copy of the first `rows` rows.
    pub fn truncated(&self, rows: usize) -> Self {
        let mut out = Self::new_unspecified(self.n, rows);
        for (d, s) in out.iter_mut().zip(self.iter()) {
            d.copy_from_slice(s);
        }
        out
    }

    /// Forgets all rows from `rows` on; the memory stays allocated.
    pub fn truncate(&mut self, rows: usize) {
        if rows < self.rows {
            self.rows = rows;
            self.buffer.truncate(rows * self.stride);
        }
    }
}

impl Clone for RnsPoly {
    fn clone(&self) -> Self {
        self.truncated(self.rows)
    }
}

impl PartialEq for RnsPoly {
    fn eq(&self, other: &Self) -> bool {
        self.n == other.n && self.rows == other.rows && self.iter().eq(other.iter())
    }
}

impl Eq for RnsPoly {}

impl Zeroize for RnsPoly {
    fn zeroize(&mut self) {
        self.buffer.zeroize();
    }
}

impl std::fmt::Debug for RnsPoly {
    /// Shape only: residues may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RnsPoly({} x {})", self.rows, self.n)
    }
}
