//! Exact rounding: the lowest bits of a value are removed one by one, each by a look-up of its
//! sign.

use crate::engine::{LookupKeys, Scratch};

/// What a thread needs to round.
pub(crate) struct Rounding {
    /// The operands of look-ups.
    shifted: Vec<u64>,
    /// Their results.
    removed: Vec<u64>,
    /// The table, a constant.
    table: Vec<u64>,
    /// Words of a ciphertext.
    words: usize,
}

impl Rounding {
    /// For at most `count` ciphertexts of so many words, and tables of this degree.
    pub(crate) fn new(count: usize, words: usize, degree: usize) -> Rounding {
        Rounding { shifted: vec![0; count * words], removed: vec![0; count * words], table: vec![0; degree], words }
    }
    /// Rounds ciphertexts `x` of integers modulo 2^(`bits`+1) to the nearest multiples of
    /// 2^`dropped`, halves upwards.
    ///
    /// Bit j is moved to the top of the word before it is looked up, so that of all noise only that
    /// of the sum grows with it.
    pub(crate) fn round(&mut self, keys: &LookupKeys, scratch: &mut Scratch, bits: u32, dropped: u32, x: &mut [u64]) {
        let (unit, words) = (63 - bits, self.words);
        let (shifted, removed) = (&mut self.shifted[..x.len()], &mut self.removed[..x.len()]);
        let add = |x: &mut [u64], constant: u64| x.chunks_exact_mut(words).for_each(|x| add_to_body(x, constant));
        add(x, 1 << (unit + dropped - 1));
        for j in 0..dropped {
            shifted.iter_mut().zip(&*x).for_each(|(s, x)| *s = x << (bits - j));
            // The two values of the bit are then in the middle of the two halves of the torus.
            add(shifted, 1 << 62);
            let half = 1u64 << (unit + j - 1);
            self.table.fill(half.wrapping_neg());
            keys.lookup(shifted, |_| &self.table, scratch, removed);
            x.iter_mut().zip(&*removed).for_each(|(x, r)| *x = x.wrapping_sub(*r));
            add(x, half.wrapping_neg());
        }
    }
}

/// Adds a constant to what a ciphertext stands for.
pub(crate) fn add_to_body(x: &mut [u64], constant: u64) {
    if let Some(body) = x.last_mut() {
        *body = body.wrapping_add(constant);
    }
}
