//! Disjoint column ranges of a matrix, so that threads can fill it by columns.

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

/// Splits the first `columns` columns of a matrix with rows of `stride` words into ranges of `width` columns; the last
/// may be narrower.
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
