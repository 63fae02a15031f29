//! Keyswitches of several ciphertexts at once, on raw words: the key is read once for all of them.
//!
//! What is computed is exact, so that it does not matter which ciphertexts are switched together,
//! nor which instructions the processor has.

use pulp::{Arch, NullaryFnOnce};

/// Ciphertexts that are switched together, at most.
pub(crate) const TOGETHER: usize = 8;
/// Words of a row that are computed together; with those of all ciphertexts they fit the first
/// cache.
const COLUMNS: usize = 64;
/// Rows that are added at a time, so that sums are read and written less often.
const STEP: usize = 4;
/// Rows whose digits stay in a cache while all columns pass.
const ROWS: usize = 512;

/// A keyswitching key: a row of n + 1 words for each digit of each word of the mask.
pub(crate) struct Keyswitch {
    /// Tiles of [`ROWS`] rows, in each the rows of [`COLUMNS`] columns after the other.
    words: Vec<u64>,
    rows: usize,
    /// n + 1.
    width: usize,
}

/// Memory of a thread for its keyswitches.
pub(crate) struct Scratch {
    /// A digit of each ciphertext for each row of the key.
    digits: Vec<[u64; TOGETHER]>,
    /// The results, with columns of all ciphertexts side by side.
    sums: Vec<Sum>,
}

/// Some columns of the result of every ciphertext.
type Sum = [[u64; COLUMNS]; TOGETHER];

impl Keyswitch {
    /// Of rows of `width` words each, one behind the other.
    pub(crate) fn new(rows: &[u64], width: usize) -> Keyswitch {
        let (count, blocks) = ((rows.len() / width).next_multiple_of(STEP), width.div_ceil(COLUMNS));
        let mut words = Vec::with_capacity(count * blocks * COLUMNS);
        for tile in rows.chunks(ROWS * width) {
            let empty = (tile.len() / width).next_multiple_of(STEP) - tile.len() / width;
            for block in 0..blocks {
                for row in tile.chunks_exact(width) {
                    let part = &row[block * COLUMNS..width.min((block + 1) * COLUMNS)];
                    words.extend_from_slice(part);
                    words.extend(std::iter::repeat_n(0, COLUMNS - part.len()));
                }
                words.extend(std::iter::repeat_n(0, empty * COLUMNS));
            }
        }
        Keyswitch { words, rows: count, width }
    }
    /// Memory for one thread.
    pub(crate) fn scratch(&self) -> Scratch {
        let blocks = self.width.div_ceil(COLUMNS);
        Scratch { digits: vec![[0; TOGETHER]; self.rows], sums: vec![[[0; COLUMNS]; TOGETHER]; blocks] }
    }
    /// Switches ciphertexts of `size` words, at most [`TOGETHER`]: `digits` calls its second
    /// argument with every digit of a word of a mask, in the order of the key's rows. Each result
    /// has `width` words.
    pub(crate) fn switch(
        &self,
        operands: &[u64],
        size: usize,
        digits: impl Fn(u64, &mut dyn FnMut(u64)),
        scratch: &mut Scratch,
        results: &mut [u64],
    ) {
        let Scratch { digits: all, sums } = scratch;
        for (c, operand) in operands.chunks_exact(size).enumerate() {
            let mut row = 0;
            for word in &operand[..size - 1] {
                digits(*word, &mut |digit| {
                    all[row][c] = digit;
                    row += 1;
                });
            }
        }
        let count = operands.len() / size;
        // Rows beyond the last one, and ciphertexts that are not there.
        all.iter_mut().for_each(|row| row[count..].fill(0));
        sums.fill([[0; COLUMNS]; TOGETHER]);
        Arch::new().dispatch(Products { key: &self.words, digits: all, sums });
        for (c, (result, operand)) in results.chunks_exact_mut(self.width).zip(operands.chunks_exact(size)).enumerate() {
            for (block, part) in result.chunks_mut(COLUMNS).enumerate() {
                part.iter_mut().zip(sums[block][c]).for_each(|(r, s)| *r = s.wrapping_neg());
            }
            let (last, body) = (self.width - 1, operand[size - 1]);
            result[last] = result[last].wrapping_add(body);
        }
    }
}

/// The sums of rows times digits.
struct Products<'a> {
    key: &'a [u64],
    digits: &'a [[u64; TOGETHER]],
    sums: &'a mut [Sum],
}

impl NullaryFnOnce for Products<'_> {
    type Output = ();

    /// Compiled for each instruction set that the processor may have.
    #[inline(always)]
    fn call(self) {
        let mut key = self.key;
        for tile in self.digits.chunks(ROWS) {
            for sum in self.sums.iter_mut() {
                let (rows, rest) = key.split_at(tile.len() * COLUMNS);
                key = rest;
                let (key, digits) = (rows.as_chunks::<COLUMNS>().0, tile.as_chunks::<STEP>().0);
                for ([k0, k1, k2, k3], [d0, d1, d2, d3]) in key.as_chunks::<STEP>().0.iter().zip(digits) {
                    for (c, sum) in sum.iter_mut().enumerate() {
                        let (d0, d1, d2, d3) = (d0[c], d1[c], d2[c], d3[c]);
                        for ((((s, k0), k1), k2), k3) in sum.iter_mut().zip(k0).zip(k1).zip(k2).zip(k3) {
                            let low = k0.wrapping_mul(d0).wrapping_add(k1.wrapping_mul(d1));
                            let high = k2.wrapping_mul(d2).wrapping_add(k3.wrapping_mul(d3));
                            *s = s.wrapping_add(low).wrapping_add(high);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digits of four bits of the highest byte, and rows that are not a multiple of anything.
    #[test]
    fn results_are_sums_of_rows() {
        let (size, width) = (301, 37);
        let mut x = 7u64;
        let mut word = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            x ^ (x >> 29)
        };
        let rows: Vec<u64> = (0..2 * (size - 1) * width).map(|_| word()).collect();
        let key = Keyswitch::new(&rows, width);
        let two = |w: u64| [(w >> 60).wrapping_sub(8), (w >> 56) & 15];
        let mut scratch = key.scratch();
        for count in [TOGETHER, 3, 1] {
            let operands: Vec<u64> = (0..count * size).map(|_| word()).collect();
            let mut found = vec![0; count * width];
            key.switch(&operands, size, |w, f| two(w).into_iter().for_each(f), &mut scratch, &mut found);
            for (operand, found) in operands.chunks(size).zip(found.chunks(width)) {
                let mut want = vec![0u64; width];
                want[width - 1] = operand[size - 1];
                for (digit, row) in operand[..size - 1].iter().flat_map(|w| two(*w)).zip(rows.chunks(width)) {
                    want.iter_mut().zip(row).for_each(|(s, w)| *s = s.wrapping_sub(w.wrapping_mul(digit)));
                }
                assert_eq!(found, want, "{count}");
            }
        }
    }
}
