//! Galois automorphisms `X -> X^g`, as numbers.

use serde::{Deserialize, Serialize};

/// The `bits` low bits of `x` in reverse order.
pub fn bit_reverse(x: usize, bits: u32) -> usize {
    if bits == 0 { 0 } else { x.reverse_bits() >> (usize::BITS - bits) }
}

/// A Galois element: an odd exponent modulo `2N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Galois(pub u32);

impl Galois {
    /// The identity.
    pub const IDENTITY: Self = Self(1);

    /// The rotation `out[j] = in[j + offset]` of the `N/2` slots: `5^offset mod 2N`.
    pub fn rotation(offset: isize, log_n: u32) -> Self {
        let mask = (2u64 << log_n) - 1;
        let slots = 1isize << (log_n - 1);
        let mut exponent = offset.rem_euclid(slots);
        let (mut g, mut base) = (1u64, 5u64);
        while exponent > 0 {
            if exponent & 1 == 1 {
                g = (g * base) & mask;
            }
            base = (base * base) & mask;
            exponent >>= 1;
        }
        Self(g as u32)
    }

    /// The offset in `[0, N/2)` of the rotation that this is; `None` if it is none.
    ///
    /// The discrete logarithm to base 5, bit by bit: `5^(2^k)` is `1 + 2^(k+2)` modulo `2^(k+3)`.
    pub fn rotation_offset(self, log_n: u32) -> Option<usize> {
        if self.0 % 4 != 1 {
            return None;
        }
        let mask = (2u64 << log_n) - 1;
        let (mut left, mut inverse) = (u64::from(self.0), u64::from(Self::rotation(-1, log_n).0));
        let mut offset = 0;
        for bit in 0..log_n - 1 {
            if left >> (bit + 2) & 1 == 1 {
                offset |= 1 << bit;
                left = (left * inverse) & mask;
            }
            inverse = (inverse * inverse) & mask;
        }
        Some(offset)
    }

    /// Complex conjugation of all slots: `2N - 1`.
    pub fn conjugation(log_n: u32) -> Self {
        Self(((2u64 << log_n) - 1) as u32)
    }

    /// The inverse element for degree `2^log_n`.
    pub fn inverse(self, log_n: u32) -> Self {
        let mut inv = 1u32; // Newton iteration modulo 2^32, which 2N divides.
        for _ in 0..5 {
            inv = inv.wrapping_mul(2u32.wrapping_sub(self.0.wrapping_mul(inv)));
        }
        Self((inv as u64 & ((2u64 << log_n) - 1)) as u32)
    }

    /// The composition: first `self`, then `other`.
    pub fn then(self, other: Self, log_n: u32) -> Self {
        Self(((self.0 as u64 * other.0 as u64) & ((2u64 << log_n) - 1)) as u32)
    }

    /// In NTT order, the automorphism maps `in` to `out[i] = in[source_index(i)]`.
    pub fn source_index(self, i: usize, log_n: u32) -> usize {
        let mask = (2usize << log_n) - 1;
        let e = ((2 * bit_reverse(i, log_n) + 1) * self.0 as usize) & mask;
        bit_reverse(e >> 1, log_n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_form_a_group() {
        let log_n = 10;
        let r = |k| Galois::rotation(k, log_n);
        assert_eq!(r(0), Galois::IDENTITY);
        assert_eq!(r(3).then(r(-3), log_n), Galois::IDENTITY);
        assert_eq!(r(3).inverse(log_n), r(-3));
        assert_eq!(r(512), Galois::IDENTITY);
        let c = Galois::conjugation(log_n);
        assert_eq!(c.inverse(log_n), c);
        for log_n in [4, 10, 15, 17] {
            for offset in [0, 1, 2, 5, (1 << (log_n - 1)) - 1] {
                assert_eq!(Galois::rotation(offset, log_n).rotation_offset(log_n), Some(offset as usize));
            }
            assert_eq!(Galois::conjugation(log_n).rotation_offset(log_n), None);
        }
    }
}
