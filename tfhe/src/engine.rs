//! The one place of this crate that names the library `tfhe`: expanded keys, and a look-up with
//! them on raw words.
//!
//! A ciphertext of dimension d is d + 1 words, the body last. It stands for body − ⟨mask, secret⟩.

use crate::eval_keys::EvaluationKeys;
use crate::keyswitch::{self, Keyswitch, TOGETHER};
use crate::rotation::{self, Rotation};
use crate::session::Seed;
use chiffre_params::tfhe::TfheParams;
use tfhe::core_crypto::commons::generators::MaskRandomGenerator;
use tfhe::core_crypto::commons::math::random::{CompressionSeed, Seed as LibrarySeed};
use tfhe::core_crypto::prelude::*;

/// Words are integers modulo 2^64.
fn native() -> CiphertextModulus<u64> {
    CiphertextModulus::new_native()
}

fn compression(seed: &Seed) -> CompressionSeed {
    LibrarySeed(u128::from_le_bytes(*seed)).into()
}

/// Expands the ciphertexts of dimension k·N that a seed belongs to, one behind the other.
pub(crate) fn expand(p: &TfheParams, seed: &Seed, bodies: &[u64]) -> Vec<u64> {
    let size = LweDimension(p.big()).to_lwe_size();
    let seeded = SeededLweCiphertextList::from_container(bodies.to_vec(), size, compression(seed), native());
    seeded.par_decompress_into_lwe_ciphertext_list().into_container()
}

/// Bytes of a cache that belongs to one core.
const CACHE: usize = 512 << 10;

/// Bits of a secret whose part of a rotation's key is expanded at a time.
const EXPANDED: usize = 32;

/// Evaluation keys as look-ups read them.
pub(crate) struct Keys {
    /// For tables.
    pub(crate) table: LookupKeys,
    /// For removing bits, if they are others.
    removal: Option<LookupKeys>,
}

impl Keys {
    /// Expands keys of the sizes that the parameters ask for.
    pub(crate) fn new(p: &TfheParams, keys: EvaluationKeys) -> Keys {
        let removal = p.removing().zip(keys.removal).map(|(r, keys)| LookupKeys::new(&r, p.big(), keys));
        Keys { table: LookupKeys::new(p, p.big(), keys.table), removal }
    }
    /// Those that remove bits.
    pub(crate) fn removal(&self) -> &LookupKeys {
        self.removal.as_ref().unwrap_or(&self.table)
    }
}

/// The keys of one kind of look-ups.
pub(crate) struct LookupKeys {
    keyswitch: Keyswitch,
    decomposer: SignedDecomposer<u64>,
    /// Words of a ciphertext that is looked up, and of the result.
    words: usize,
    /// Words of a ciphertext behind the keyswitch.
    small: usize,
    rotation: Rotation,
    /// Ciphertexts that are rotated together, so that a part of the key is read once for all of
    /// them.
    together: usize,
}

/// Memory of a thread for its look-ups.
pub(crate) struct Scratch {
    rotation: rotation::Scratch,
    accumulators: Vec<u64>,
    keyswitch: keyswitch::Scratch,
    small: Vec<u64>,
}

impl LookupKeys {
    /// Expands keys of the sizes that `p` says, of ciphertexts of dimension `from`.
    fn new(p: &TfheParams, from: usize, keys: crate::LookupKeys) -> LookupKeys {
        let decomposition = (DecompositionBaseLog(p.keyswitch.base_log as usize), DecompositionLevelCount(p.keyswitch.levels as usize));
        let small = LweDimension(p.n).to_lwe_size();
        let seeded = SeededLweKeyswitchKey::from_container(
            keys.keyswitch,
            decomposition.0,
            decomposition.1,
            small,
            compression(&keys.keyswitch_seed),
            native(),
        );
        let keyswitch = Keyswitch::new(seeded.par_decompress_into_lwe_keyswitch_key().as_ref(), small.0);
        let (base, levels) = (DecompositionBaseLog(p.rotation.base_log as usize), DecompositionLevelCount(p.rotation.levels as usize));
        let (size, degree) = (GlweDimension(p.k).to_glwe_size(), PolynomialSize(p.degree()));
        let mut rotation = Rotation::new(p);
        let mut masks = MaskRandomGenerator::<DefaultRandomGenerator>::new(compression(&keys.rotation_seed));
        // In parts, so that the key is never there a second time, expanded.
        for bodies in keys.rotation.chunks(EXPANDED * p.rotation.levels as usize * size.0 * degree.0) {
            let seeded =
                SeededGgswCiphertextList::from_container(bodies, size, degree, base, levels, compression(&keys.rotation_seed), native());
            let mut words = GgswCiphertextList::new(0, size, degree, base, levels, seeded.ggsw_ciphertext_count(), native());
            par_decompress_seeded_ggsw_ciphertext_list_with_pre_seeded_generator(&mut words, &seeded, &mut masks);
            rotation.add(words.as_ref());
        }
        let together = (CACHE / (2 * 8 * rotation.words())).clamp(1, TOGETHER);
        let decomposer = SignedDecomposer::new(decomposition.0, decomposition.1);
        LookupKeys { keyswitch, decomposer, words: from + 1, small: small.0, rotation, together }
    }
    /// Degree N of the polynomials of tables.
    pub(crate) fn degree(&self) -> usize {
        self.rotation.degree()
    }
    /// Memory for one thread.
    pub(crate) fn scratch(&self) -> Scratch {
        Scratch {
            rotation: self.rotation.scratch(),
            accumulators: vec![0; self.together * self.rotation.words()],
            keyswitch: self.keyswitch.scratch(),
            small: vec![0; TOGETHER * self.small],
        }
    }
    /// Looks operands up, at most [`TOGETHER`] of them, each in the table that `table` says for
    /// it: with x = 2N times what an operand stands for as a share of the torus, and i = ⌊x⌋, its
    /// result becomes a ciphertext of coefficient i of the table for i below N, and beyond of the
    /// negative of coefficient i − N.
    pub(crate) fn lookup<'t>(&self, operands: &[u64], table: impl Fn(usize) -> &'t [u64], scratch: &mut Scratch, results: &mut [u64]) {
        let Scratch { rotation, accumulators, keyswitch, small } = scratch;
        let small = &mut small[..operands.len() / self.words * self.small];
        let digits = |word: u64, f: &mut dyn FnMut(u64)| self.decomposer.decompose(word).for_each(|digit| f(digit.value()));
        self.keyswitch.switch(operands, self.words, digits, keyswitch, small);
        let (size, degree) = (self.rotation.words(), self.rotation.degree());
        let modulus = PolynomialSize(degree).to_blind_rotation_input_modulus_log();
        let mask = size - degree;
        let rotated = results.chunks_mut(self.together * self.words).enumerate();
        for ((part, results), small) in rotated.zip(small.chunks(self.together * self.small)) {
            let switched: Vec<Switched> = small.chunks_exact(self.small).map(|c| Switched::of(c, modulus)).collect();
            let accumulators = &mut accumulators[..switched.len() * size];
            for (i, accumulator) in accumulators.chunks_exact_mut(size).enumerate() {
                let (zeros, body) = accumulator.split_at_mut(mask);
                zeros.fill(0);
                body.copy_from_slice(table(part * self.together + i));
            }
            self.rotation.rotate(accumulators, &switched, rotation);
            for (result, accumulator) in results.chunks_exact_mut(self.words).zip(accumulators.chunks_exact(size)) {
                let accumulator = GlweCiphertext::from_container(accumulator, PolynomialSize(degree), native());
                let extracted = &mut LweCiphertext::from_container(&mut result[..=mask], native());
                extract_lwe_sample_from_glwe_ciphertext(&accumulator, extracted, MonomialDegree(0));
                // The secret key goes on behind that of the rotation's result.
                if mask + 1 < self.words {
                    let body = std::mem::take(&mut result[mask]);
                    result[mask + 1..].fill(0);
                    result[self.words - 1] = body;
                }
            }
        }
    }
}

/// A ciphertext behind the modulus switch: words modulo 2N, the body last.
pub(crate) struct Switched(Vec<usize>);

impl Switched {
    #[cfg(test)]
    pub(crate) fn new(words: Vec<usize>) -> Switched {
        Switched(words)
    }
    fn of(ciphertext: &[u64], modulus: CiphertextModulusLog) -> Switched {
        let ciphertext = LweCiphertext::from_container(ciphertext, native());
        let switched = lwe_ciphertext_centered_binary_modulus_switch::<u64, usize, _>(ciphertext, modulus);
        Switched(switched.mask().chain([switched.body()]).collect())
    }
    pub(crate) fn mask(&self) -> &[usize] {
        &self.0[..self.0.len() - 1]
    }
    pub(crate) fn body(&self) -> usize {
        self.0[self.0.len() - 1]
    }
}
