//! Galois automorphisms as index permutations in NTT order.

use chiffre_params::Galois;
use chiffre_params::galois::bit_reverse;

/// The index permutation of one automorphism in NTT order, in blocks of eight.
///
/// Every aligned run of `2^m` outputs comes from an aligned run of `2^m` inputs, so one source
/// block and one of eight in-block patterns describe eight outputs.
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

    /// The in-block permutations: output `i` of a block comes from element `pattern[i]` of its
    /// source block.
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
