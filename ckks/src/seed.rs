//! Public seeds and the uniform polynomials that they stand for: halves of keys and of fresh
//! ciphertexts are stored as a seed and expanded on use.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::ring::{Ring, RnsPoly};

/// A ChaCha20 seed. Whether it is public or secret depends on what it expands to.
pub type Seed = [u8; 32];

/// Uniform numbers from a seed. Nothing is wiped: seeds of uniform halves are public.
pub struct UniformSampler {
    rng: ChaCha20Rng,
}

impl UniformSampler {
    /// Independent stream number `stream` of a seed (ChaCha20's nonce).
    pub fn new(seed: Seed, stream: u64) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        rng.set_stream(stream);
        Self { rng }
    }

    /// Fills `out` with independent uniform values in `[0, q)`, by rejection; `q >= 2`.
    pub fn fill(&mut self, out: &mut [u64], q: u64) {
        debug_assert!(q >= 2);
        let mask = u64::MAX >> (q - 1).leading_zeros();
        let mut words = WordBuffer::default();
        for value in out {
            *value = loop {
                let candidate = words.next(&mut self.rng) & mask;
                if candidate < q {
                    break candidate;
                }
            };
        }
    }
}

/// 64 random words at a time: `fill_bytes` on a block is several times faster than single words.
struct WordBuffer {
    bytes: [u8; 512],
    at: usize,
}

impl Default for WordBuffer {
    fn default() -> Self {
        Self { bytes: [0; 512], at: 512 }
    }
}

impl WordBuffer {
    #[inline]
    fn next(&mut self, rng: &mut ChaCha20Rng) -> u64 {
        if self.at == self.bytes.len() {
            rng.fill_bytes(&mut self.bytes);
            self.at = 0;
        }
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[self.at..self.at + 8]);
        self.at += 8;
        u64::from_le_bytes(word)
    }
}

/// The uniform polynomial number `index` of a public seed, in NTT order: `limbs` Q rows, then
/// `specials` P rows.
///
/// Row r of modulus number m is ChaCha20 stream `index·2^32 + m` of the seed, so rows expand
/// independently and a polynomial with fewer limbs is a prefix of one with more.
pub fn uniform_poly(ring: &Ring, seed: &Seed, index: u32, limbs: usize, specials: usize) -> RnsPoly {
    let mut poly = RnsPoly::new_unspecified(ring.n, limbs + specials);
    poly.par_iter_mut().enumerate().for_each(|(row, residues)| {
        let m = ring.modulus_index(row, limbs);
        let stream = u64::from(index) << 32 | m as u64;
        UniformSampler::new(*seed, stream).fill(residues, ring.moduli[m].q);
    });
    poly
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_values_fill_the_range() {
        for q in [2u64, 3, 65537, (1 << 50) - 27] {
            let mut values = vec![0u64; 1 << 16];
            UniformSampler::new([9; 32], 0).fill(&mut values, q);
            assert!(values.iter().all(|&v| v < q));
            let mean = values.iter().map(|&v| v as f64).sum::<f64>() / values.len() as f64;
            let want = (q - 1) as f64 / 2.0;
            assert!((mean - want).abs() < 5.0 * q as f64 / (12.0 * 65536.0f64).sqrt(), "{q}");
        }
    }

    #[test]
    fn streams_of_a_seed_differ_and_repeat() {
        let draw = |stream| {
            let mut out = [0u64; 4];
            UniformSampler::new([1; 32], stream).fill(&mut out, 1 << 50);
            out
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
