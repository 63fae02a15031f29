//! Galois automorphisms `X -> X^g`, on coefficients and as index permutations in NTT order.

use serde::{Deserialize, Serialize};

/// The `bits` low bits of `x` in reverse order.
pub(crate) fn bit_reverse(x: usize, bits: u32) -> usize {
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

/// The index permutation of one automorphism in NTT order, in blocks of eight.
///
/// Every aligned run of `2^m` outputs comes from an aligned run of `2^m` inputs, so one source block and one of eight
/// in-block patterns describe eight outputs.
#[derive(Clone, Debug)]
pub struct GaloisTable {
    galois: Galois,
    blocks: Vec<u32>,
    patterns: [[u64; 8]; 8],
}

impl GaloisTable {
    /// The table of `galois` for degree `2^log_n`, `log_n >= 3`.
    pub fn new(galois: Galois, log_n: u32) -> Self {
        let n = 1usize << log_n;
        let mut patterns = [[0; 8]; 8];
        for (k, pattern) in patterns.iter_mut().enumerate() {
            for (i, e) in pattern.iter_mut().enumerate() {
                *e = bit_reverse((k + galois.0 as usize * bit_reverse(i, 3)) % 8, 3) as u64;
            }
        }
        let blocks = (0..n / 8)
            .map(|b| {
                let source = galois.source_index(8 * b, log_n);
                (((source >> 3) << 3) | bit_reverse(source & 7, 3)) as u32
            })
            .collect();
        Self { galois, blocks, patterns }
    }

    /// The Galois element.
    pub fn galois(&self) -> Galois {
        self.galois
    }

    /// The degree.
    pub fn n(&self) -> usize {
        self.blocks.len() * 8
    }

    /// For each block of eight outputs: source block shifted left by 3, plus pattern number.
    #[inline]
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// The in-block permutations: output `i` of a block comes from element `pattern[i]` of its source block.
    #[inline]
    pub fn patterns(&self) -> &[[u64; 8]; 8] {
        &self.patterns
    }

    /// First word of the source of the eight outputs of block `b`.
    #[inline]
    pub fn source_start(&self, b: usize) -> usize {
        (self.blocks[b] & !7) as usize
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
    }

    #[test]
    fn blocks_describe_the_permutation() {
        let log_n = 8;
        for g in [Galois::rotation(1, log_n), Galois::rotation(-9, log_n), Galois::conjugation(log_n)] {
            let t = GaloisTable::new(g, log_n);
            for i in 0..t.n() {
                let b = t.blocks()[i / 8];
                let got = t.source_start(i / 8) + t.patterns()[(b & 7) as usize][i % 8] as usize;
                assert_eq!(got, g.source_index(i, log_n));
            }
        }
    }
}
