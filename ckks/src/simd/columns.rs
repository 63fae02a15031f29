//! Disjoint column ranges of a matrix, so that threads can fill it by columns.

use super::Isa;
use super::lanes::{Kernel, Lanes};
use std::marker::PhantomData;

/// Columns `first..first + width` of every row of a matrix.
pub struct ColumnsMut<'a> {
    start: *mut u64,
    stride: usize,
    rows: usize,
    width: usize,
    matrix: PhantomData<&'a mut [u64]>,
}

// SAFETY: a `ColumnsMut` is the only access to its words (see `split_columns`).
unsafe impl Send for ColumnsMut<'_> {}

impl ColumnsMut<'_> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The words of one row.
    #[inline]
    pub fn row_mut(&mut self, row: usize) -> &mut [u64] {
        assert!(row < self.rows);
        // SAFETY: the row is inside the matrix, and no other `ColumnsMut` covers these columns.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.width) }
    }
}

/// Writes row `i` of `columns` from word `i` of eight rows, which are `source_stride` words apart
/// and as long as there are rows. Results go past the caches: the matrix is far larger than they
/// are.
pub fn transpose_into(isa: Isa, source: &[u64], source_stride: usize, columns: &mut ColumnsMut<'_>) {
    assert!(columns.width == 8 && columns.rows.is_multiple_of(8) && source_stride >= columns.rows);
    assert!(source.len() >= 7 * source_stride + columns.rows);
    let aligned = (columns.start as usize).is_multiple_of(64) && columns.stride.is_multiple_of(8);
    if aligned {
        isa.run(Transpose::<true> { source, source_stride, columns });
    } else {
        isa.run(Transpose::<false> { source, source_stride, columns });
    }
}

struct Transpose<'a, 'b, const ALIGNED: bool> {
    source: &'a [u64],
    source_stride: usize,
    columns: &'a mut ColumnsMut<'b>,
}

impl<const ALIGNED: bool> Kernel for Transpose<'_, '_, ALIGNED> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut block = [lanes.splat(0); 8];
        for row in (0..self.columns.rows).step_by(8) {
            // SAFETY: the source holds eight rows of sufficient length; the columns are eight wide,
            // have so many rows and belong to this borrow alone; `ALIGNED` is what `stream` needs.
            unsafe {
                for i in 0..8 {
                    block[i] = lanes.load(self.source.as_ptr().add(i * self.source_stride + row));
                }
                let block = lanes.transpose(block);
                for i in 0..8 {
                    let to = self.columns.start.add((row + i) * self.columns.stride);
                    if ALIGNED {
                        lanes.stream(to, block[i]);
                    } else {
                        lanes.store(to, block[i]);
                    }
                }
            }
        }
        lanes.fence();
    }
}

/// Writes `words` words of row `i` of `columns` from each of some rows that are `source_stride`
/// words apart: words `words · i` and following, for 2, 4 or 8 words. Results go past the caches.
pub fn interleave_into(isa: Isa, source: &[u64], source_stride: usize, words: usize, columns: &mut ColumnsMut<'_>) {
    assert!(matches!(words, 2 | 4 | 8) && columns.width.is_multiple_of(words));
    assert!(
        source.len() + source_stride >= columns.width / words * source_stride + columns.rows * words
            && columns.rows * words <= source_stride
    );
    let aligned = (columns.start as usize).is_multiple_of(64) && columns.stride.is_multiple_of(8);
    if !aligned || !columns.width.is_multiple_of(8) {
        for row in 0..columns.rows {
            for (i, word) in columns.row_mut(row).iter_mut().enumerate() {
                *word = source[i / words * source_stride + row * words + i % words];
            }
        }
        return;
    }
    match words {
        2 => isa.run(Interleave::<2> { source, source_stride, columns }),
        4 => isa.run(Interleave::<4> { source, source_stride, columns }),
        _ => isa.run(Interleave::<8> { source, source_stride, columns }),
    }
}

/// Eight words of a row at a time; rows are aligned and of whole lines.
struct Interleave<'a, 'b, const WORDS: usize> {
    source: &'a [u64],
    source_stride: usize,
    columns: &'a mut ColumnsMut<'b>,
}

impl<const WORDS: usize> Kernel for Interleave<'_, '_, WORDS> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for row in 0..self.columns.rows {
            for line in 0..self.columns.width / 8 {
                let mut block = [0u64; 8];
                for (i, words) in block.as_chunks_mut::<WORDS>().0.iter_mut().enumerate() {
                    let at = (line * 8 / WORDS + i) * self.source_stride + row * WORDS;
                    words.copy_from_slice(&self.source[at..at + WORDS]);
                }
                // SAFETY: the line is inside the row and aligned.
                unsafe { lanes.stream(self.columns.start.add(row * self.columns.stride + 8 * line), lanes.load(block.as_ptr())) };
            }
        }
        lanes.fence();
    }
}

/// Splits the first `columns` columns of a matrix with rows of `stride` words into ranges of
/// `width` columns; the last may be narrower.
pub fn split_columns(matrix: &mut [u64], stride: usize, columns: usize, width: usize) -> Vec<ColumnsMut<'_>> {
    assert!(columns <= stride && matrix.len().is_multiple_of(stride) && width > 0);
    let rows = matrix.len() / stride;
    let start = matrix.as_mut_ptr();
    (0..columns)
        .step_by(width)
        .map(|first| ColumnsMut {
            // SAFETY: `first < columns <= stride`; an empty matrix is never dereferenced.
            start: unsafe { start.add(if rows == 0 { 0 } else { first }) },
            stride,
            rows,
            width: width.min(columns - first),
            matrix: PhantomData,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Buffer;

    #[test]
    fn blocks_are_transposed() {
        for isa in Isa::available() {
            for stride in [16, 19] {
                let source: Vec<u64> = (0..8 * 43).collect();
                let mut matrix = Buffer::unspecified(40 * stride);
                matrix.fill(0);
                for columns in &mut split_columns(&mut matrix, stride, 16, 8) {
                    transpose_into(isa, &source, 43, columns);
                }
                for (at, &w) in matrix.iter().enumerate() {
                    let (row, column) = (at / stride, at % stride);
                    assert_eq!(w, if column < 16 { (column % 8 * 43 + row) as u64 } else { 0 });
                }
            }
        }
    }

    #[test]
    fn rows_are_interleaved() {
        for isa in Isa::available() {
            for (stride, width, words) in [(16, 16, 2), (16, 16, 4), (16, 16, 8), (19, 16, 4), (16, 12, 4), (16, 2, 2)] {
                let source: Vec<u64> = (0..8 * 100).collect();
                let mut matrix = Buffer::unspecified(10 * stride);
                matrix.fill(0);
                split_columns(&mut matrix, stride, width, 16).iter_mut().for_each(|c| interleave_into(isa, &source, 100, words, c));
                for (at, &w) in matrix.iter().enumerate() {
                    let (row, column) = (at / stride, at % stride);
                    let want = column / words * 100 + row * words + column % words;
                    assert_eq!(w, if column < width { want as u64 } else { 0 });
                }
            }
        }
    }

    #[test]
    fn columns_cover_the_matrix_once() {
        let mut matrix = vec![0; 5 * 11];
        for (i, mut columns) in split_columns(&mut matrix, 11, 10, 4).into_iter().enumerate() {
            for row in 0..columns.rows() {
                columns.row_mut(row).iter_mut().for_each(|w| *w += 10 * i as u64 + row as u64 + 1);
            }
        }
        for (i, &w) in matrix.iter().enumerate() {
            let (row, column) = (i as u64 / 11, i as u64 % 11);
            assert_eq!(w, if column == 10 { 0 } else { column / 4 * 10 + row + 1 });
        }
    }
}
