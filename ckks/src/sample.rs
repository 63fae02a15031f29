//! Randomness: a ChaCha20 generator and the three distributions of RNS-CKKS.
//!
//! All randomness comes from [`Csprng`], seeded from the operating system for secrets and noise, and from a public
//! seed for the uniform halves of keys and fresh ciphertexts, which are stored as that seed and expanded on use.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zeroize::Zeroize;

/// A ChaCha20 seed. Whether it is public or secret depends on what it expands to.
pub type Seed = [u8; 32];

/// Standard deviation of the noise.
pub use chiffre_params::noise::SIGMA;

/// Bound of the noise: six standard deviations, rounded down.
pub const NOISE_BOUND: i8 = 19;

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random number generator failed: {0}")]
pub struct RandomnessError(getrandom::Error);

/// A cryptographic random generator: ChaCha20, wiped on drop.
pub struct Csprng {
    rng: ChaCha20Rng,
}

impl Csprng {
    /// A generator seeded from the operating system.
    ///
    /// # Errors
    /// The operating system's generator failed.
    pub fn from_os() -> Result<Self, RandomnessError> {
        let mut seed = Seed::default();
        getrandom::fill(&mut seed).map_err(RandomnessError)?;
        let out = Self::from_seed(seed);
        seed.zeroize();
        Ok(out)
    }

    /// A deterministic generator: for expanding public seeds, and for tests.
    pub fn from_seed(seed: Seed) -> Self {
        Self { rng: ChaCha20Rng::from_seed(seed) }
    }

    /// Independent stream number `stream` of a seed (ChaCha20's nonce).
    pub fn from_seed_stream(seed: Seed, stream: u64) -> Self {
        let mut out = Self::from_seed(seed);
        out.rng.set_stream(stream);
        out
    }

    /// Draws a seed.
    pub fn seed(&mut self) -> Seed {
        let mut seed = Seed::default();
        self.rng.fill_bytes(&mut seed);
        seed
    }

    /// A child generator, independent of what this one yields later.
    pub fn fork(&mut self) -> Self {
        let mut seed = self.seed();
        let out = Self::from_seed(seed);
        seed.zeroize();
        out
    }

    /// Fills `out` with independent uniform values in `[0, q)`, by rejection; `q >= 2`.
    pub fn fill_uniform(&mut self, out: &mut [u64], q: u64) {
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

    /// Fills `out` with independent uniform values in {-1, 0, 1}.
    ///
    /// Pairs of random bits are used and the pair 3 is rejected: the running time depends on the rejected pairs only.
    pub fn fill_ternary(&mut self, out: &mut [i8]) {
        let (mut word, mut left) = (0u64, 0u32);
        for value in out.iter_mut() {
            *value = loop {
                if left == 0 {
                    word = self.rng.next_u64();
                    left = 32;
                }
                let pair = (word & 3) as i8;
                word >>= 2;
                left -= 1;
                if pair != 3 {
                    break pair - 1;
                }
            };
        }
        word.zeroize();
    }

    /// Fills `out`, of a power-of-two length, with a uniform vector of exactly `weight` entries ±1 and zeros elsewhere.
    ///
    /// Positions are drawn one by one and drawn again when taken. Each is found by a scan of the whole vector, so that
    /// neither branches nor addresses depend on it; the running time depends on the number of repeated draws.
    pub fn fill_sparse_ternary(&mut self, out: &mut [i8], weight: usize) {
        assert!(out.len().is_power_of_two() && weight <= out.len());
        out.fill(0);
        let mut left = weight;
        while left > 0 {
            let mut word = self.rng.next_u64();
            let (position, sign) = ((word >> 1) as usize & (out.len() - 1), (word & 1) as i8 * 2 - 1);
            let here = |i: usize| -i8::from(i == position);
            let taken = out.iter().enumerate().fold(0, |t, (i, &v)| t | (v & here(i)));
            word.zeroize();
            if taken != 0 {
                continue;
            }
            out.iter_mut().enumerate().for_each(|(i, v)| *v |= sign & here(i));
            left -= 1;
        }
    }

    /// Fills `out` with independent values of the discrete Gaussian distribution with σ = [`SIGMA`], truncated at
    /// [`NOISE_BOUND`].
    ///
    /// Inversion of the cumulative distribution of |x| with a scan of the whole table for every value, so that
    /// neither branches nor addresses depend on it.
    pub fn fill_gaussian(&mut self, out: &mut [i8]) {
        for value in out {
            let word = self.rng.next_u64();
            let (uniform, sign) = (word >> 1, (word & 1) as i8);
            let magnitude: i8 = MAGNITUDE_CDT.iter().map(|&bound| i8::from(uniform >= bound)).sum();
            *value = (magnitude ^ -sign) + sign;
        }
    }
}

impl Drop for Csprng {
    fn drop(&mut self) {
        // ChaCha20Rng has no wiping of its own: overwrite its key and buffer, and keep the store observable.
        self.rng = ChaCha20Rng::from_seed(Seed::default());
        std::hint::black_box(&self.rng);
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

/// `2^63 · P(|x| <= k)` for k = 0..18, rounded; `P(|x| <= 19) = 1` by truncation.
const MAGNITUDE_CDT: [u64; 19] = [
    1_149_872_836_518_706_973,
    3_340_023_669_317_320_718,
    5_231_742_859_181_312_982,
    6_713_673_040_852_152_709,
    7_766_573_333_558_595_573,
    8_445_050_410_543_775_183,
    8_841_576_294_031_517_593,
    9_051_758_687_454_227_208,
    9_152_802_460_441_190_481,
    9_196_859_083_481_262_423,
    9_214_281_214_904_026_345,
    9_220_529_772_758_650_828,
    9_222_562_348_483_741_347,
    9_223_162_004_373_033_246,
    9_223_322_456_656_299_390,
    9_223_361_395_058_736_926,
    9_223_369_965_413_244_325,
    9_223_371_676_247_247_625,
    9_223_371_985_993_021_523,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_gaussian_distribution() {
        let rho = |k: i32| (-f64::from(k * k) / (2.0 * SIGMA * SIGMA)).exp();
        let total: f64 = (-19..=19).map(rho).sum();
        for (k, &bound) in (0..).zip(&MAGNITUDE_CDT) {
            let want: f64 = (-k..=k).map(rho).sum::<f64>() / total;
            assert!((bound as f64 / 2f64.powi(63) - want).abs() < 1e-15, "{k}");
        }
    }

    #[test]
    fn gaussian_moments() {
        let mut values = vec![0i8; 1 << 20];
        Csprng::from_seed([7; 32]).fill_gaussian(&mut values);
        let count = values.len() as f64;
        let mean: f64 = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let var: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 5.0 * SIGMA / count.sqrt(), "{mean}");
        assert!((var / (SIGMA * SIGMA) - 1.0).abs() < 0.01, "{var}");
        assert!(values.iter().all(|v| v.abs() <= NOISE_BOUND));
    }

    #[test]
    fn ternary_values_are_balanced() {
        let mut values = vec![0i8; 300_000];
        Csprng::from_seed([8; 32]).fill_ternary(&mut values);
        for want in -1..=1 {
            let count = values.iter().filter(|&&v| v == want).count();
            assert!((count as f64 - 1e5).abs() < 1500.0, "{want}: {count}");
        }
    }

    #[test]
    fn sparse_values_have_their_weight_everywhere() {
        let mut rng = Csprng::from_seed([8; 32]);
        let (mut counts, mut signs) = ([0u32; 64], 0);
        for _ in 0..2000 {
            let mut values = [7i8; 64];
            rng.fill_sparse_ternary(&mut values, 16);
            assert_eq!(values.iter().map(|v| v.unsigned_abs()).collect::<Vec<_>>().iter().filter(|&&v| v == 1).count(), 16);
            assert!(values.iter().all(|v| (-1..=1).contains(v)));
            counts.iter_mut().zip(values).for_each(|(c, v)| *c += u32::from(v != 0));
            signs += values.iter().map(|&v| i32::from(v)).sum::<i32>();
        }
        // 500 expected, standard deviation 19; signs: 0 and 179
        assert!(counts.iter().all(|c| (400..600).contains(c)) && signs.abs() < 900, "{counts:?} {signs}");
    }

    #[test]
    fn uniform_values_fill_the_range() {
        for q in [2u64, 3, 65537, (1 << 50) - 27] {
            let mut values = vec![0u64; 1 << 16];
            Csprng::from_seed([9; 32]).fill_uniform(&mut values, q);
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
            Csprng::from_seed_stream([1; 32], stream).fill_uniform(&mut out, 1 << 50);
            out
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        let mut os = Csprng::from_os().expect("randomness");
        assert_ne!(os.seed(), os.seed());
    }
}
