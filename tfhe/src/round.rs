//! Exact rounding: the lowest bits of a value are removed one by one, each by a look-up of its
//! sign.

use crate::engine::{Keys, Scratch};

/// What a thread needs to round.
pub(crate) struct Rounding {
    /// The operand of a look-up.
    shifted: Vec<u64>,
    /// Its result.
    removed: Vec<u64>,
    /// The table, a constant.
    table: Vec<u64>,
}

impl Rounding {
    /// For ciphertexts of so many words and tables of this degree.
    pub(crate) fn new(words: usize, degree: usize) -> Rounding {
        Rounding { shifted: vec![0; words], removed: vec![0; words], table: vec![0; degree] }
    }
    /// Rounds `x`, a ciphertext of an integer modulo 2^(`bits`+1), to the nearest multiple of
    /// 2^`dropped`, halves upwards.
    ///
    /// Bit j is moved to the top of the word before it is looked up, so that of all noise only that
    /// of the sum grows with it.
    pub(crate) fn round(&mut self, keys: &Keys, scratch: &mut Scratch, bits: u32, dropped: u32, x: &mut [u64]) {
        let unit = 63 - bits;
        add_to_body(x, 1 << (unit + dropped - 1));
        for j in 0..dropped {
            self.shifted.iter_mut().zip(&*x).for_each(|(s, x)| *s = x << (bits - j));
            // The two values of the bit are then in the middle of the two halves of the torus.
            add_to_body(&mut self.shifted, 1 << 62);
            let half = 1u64 << (unit + j - 1);
            self.table.fill(half.wrapping_neg());
            keys.lookup(&self.shifted, &self.table, scratch, &mut self.removed);
            x.iter_mut().zip(&self.removed).for_each(|(x, r)| *x = x.wrapping_sub(*r));
            add_to_body(x, half.wrapping_neg());
        }
    }
}

/// Adds a constant to what a ciphertext stands for.
pub(crate) fn add_to_body(x: &mut [u64], constant: u64) {
    if let Some(body) = x.last_mut() {
        *body = body.wrapping_add(constant);
    }
}
