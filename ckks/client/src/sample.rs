//! Secret randomness: a ChaCha20 generator, ternary secrets and noise.
//!
//! All secret randomness comes from [`Csprng`], seeded from the operating system. Uniform halves of
//! keys and fresh ciphertexts are public: they are drawn as a seed, which
//! [`uniform_poly`](chiffre_ckks::seed::uniform_poly) expands.

use chiffre_ckks::seed::Seed;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zeroize::Zeroize;

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

    /// A deterministic generator, for tests.
    pub fn from_seed(seed: Seed) -> Self {
        Self { rng: ChaCha20Rng::from_seed(seed) }
    }

    /// Independent stream number `stream` of a seed (ChaCha20's nonce), for tests.
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

    /// Fills `out` with independent uniform values in {-1, 0, 1}.
    ///
    /// Pairs of random bits are used and the pair 3 is rejected: the running time depends on the
    /// rejected pairs only.
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

    /// Fills `out`, of a power-of-two length, with a uniform vector of exactly `weight` entries ±1
    /// and zeros elsewhere.
    ///
    /// Positions are drawn one by one and drawn again when taken. Each is found by a scan of the
    /// whole vector, so that neither branches nor addresses depend on it; the running time depends
    /// on the number of repeated draws.
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

    /// Fills `out` with independent values of the discrete Gaussian distribution with σ =
    /// [`SIGMA`](chiffre_ckks::noise::SIGMA), truncated at [`NOISE_BOUND`].
    ///
    /// Inversion of the cumulative distribution of |x| with a scan of the whole table for every
    /// value, so that neither branches nor addresses depend on it.
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
        // ChaCha20Rng has no wiping of its own: overwrite its key and buffer, and keep the store
        // observable.
        self.rng = ChaCha20Rng::from_seed(Seed::default());
        std::hint::black_box(&self.rng);
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
    use chiffre_ckks::noise::SIGMA;

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
    fn seeds_repeat_and_forks_differ() {
        let mut rng = Csprng::from_seed([1; 32]);
        let mut fork = rng.fork();
        assert_eq!(Csprng::from_seed([1; 32]).fork().seed(), fork.seed());
        assert_ne!(rng.seed(), fork.seed());
        let mut os = Csprng::from_os().expect("randomness");
        assert_ne!(os.seed(), os.seed());
    }
}
