//! Seeds from the operating system's randomness.

use chiffre_tfhe::TfheError;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zeroize::Zeroize;

/// A ChaCha20 generator, which yields the seeds of all other generators, wiped on drop.
pub(crate) struct Seeds(ChaCha20Rng);

impl Seeds {
    /// Seeded by the operating system.
    pub(crate) fn from_os() -> Result<Seeds, TfheError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| TfheError::Randomness(e.to_string()))?;
        let out = Seeds(ChaCha20Rng::from_seed(seed));
        seed.zeroize();
        Ok(out)
    }
    /// 128 fresh bits.
    pub(crate) fn draw(&mut self) -> [u8; 16] {
        let mut out = [0; 16];
        self.0.fill_bytes(&mut out);
        out
    }
}
