//! The one place of this crate that names the library `tfhe`: expanded keys, and a look-up with
//! them on raw words.
//!
//! A ciphertext of dimension d is d + 1 words, the body last. It stands for body − ⟨mask, secret⟩.

use crate::eval_keys::EvaluationKeys;
use crate::keyswitch::{self, Keyswitch, TOGETHER};
use crate::session::Seed;
use chiffre_params::tfhe::TfheParams;
use tfhe::core_crypto::commons::math::random::{CompressionSeed, Seed as LibrarySeed};
use tfhe::core_crypto::fft_impl::fft64::crypto::bootstrap::batch_blind_rotate_assign_scratch;
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
    rotation: FourierLweBootstrapKeyOwned,
    fft: Fft,
    /// Ciphertexts that are rotated together, so that a part of the key is read once for all of
    /// them.
    together: usize,
}

/// Memory of a thread for its look-ups.
pub(crate) struct Scratch {
    buffers: ComputationBuffers,
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
        let seeded =
            SeededLweBootstrapKey::from_container(keys.rotation, size, degree, base, levels, compression(&keys.rotation_seed), native());
        let words = seeded.par_decompress_into_lwe_bootstrap_key();
        let mut rotation = FourierLweBootstrapKey::new(LweDimension(p.n), size, degree, base, levels);
        par_convert_standard_lwe_bootstrap_key_to_fourier(&words, &mut rotation);
        let together = (CACHE / (2 * 8 * size.0 * degree.0)).clamp(1, TOGETHER);
        let decomposer = SignedDecomposer::new(decomposition.0, decomposition.1);
        LookupKeys { keyswitch, decomposer, words: from + 1, small: small.0, rotation, fft: Fft::new(degree), together }
    }
    /// Degree N of the polynomials of tables.
    pub(crate) fn degree(&self) -> usize {
        self.rotation.polynomial_size().0
    }
    /// Memory for one thread.
    pub(crate) fn scratch(&self) -> Scratch {
        let (size, degree) = (self.rotation.glwe_size(), self.rotation.polynomial_size());
        let (mut buffers, count) = (ComputationBuffers::new(), CiphertextCount(self.together));
        buffers.resize(batch_blind_rotate_assign_scratch::<u64>(size, degree, count, self.fft.as_view()).unaligned_bytes_required());
        Scratch {
            buffers,
            accumulators: vec![0; self.together * size.0 * degree.0],
            keyswitch: self.keyswitch.scratch(),
            small: vec![0; TOGETHER * self.small],
        }
    }
    /// Looks operands up, at most [`TOGETHER`] of them, each in the table that `table` says for
    /// it: with x = 2N times what an operand stands for as a share of the torus, and i = ⌊x⌋, its
    /// result becomes a ciphertext of coefficient i of the table for i below N, and beyond of the
    /// negative of coefficient i − N.
    pub(crate) fn lookup<'t>(&self, operands: &[u64], table: impl Fn(usize) -> &'t [u64], scratch: &mut Scratch, results: &mut [u64]) {
        let Scratch { buffers, accumulators, keyswitch, small } = scratch;
        let small = &mut small[..operands.len() / self.words * self.small];
        let digits = |word: u64, f: &mut dyn FnMut(u64)| self.decomposer.decompose(word).for_each(|digit| f(digit.value()));
        self.keyswitch.switch(operands, self.words, digits, keyswitch, small);
        let (size, degree) = (self.rotation.glwe_size(), self.rotation.polynomial_size());
        let modulus = degree.to_blind_rotation_input_modulus_log();
        let mask = self.rotation.output_lwe_dimension().0;
        let rotated = results.chunks_mut(self.together * self.words).enumerate();
        for ((part, results), small) in rotated.zip(small.chunks(self.together * self.small)) {
            let switched: Vec<Switched> = small.chunks_exact(self.small).map(|c| Switched::of(c, modulus)).collect();
            let accumulators = &mut accumulators[..switched.len() * size.0 * degree.0];
            for (i, accumulator) in accumulators.chunks_exact_mut(size.0 * degree.0).enumerate() {
                let (zeros, body) = accumulator.split_at_mut((size.0 - 1) * degree.0);
                zeros.fill(0);
                body.copy_from_slice(table(part * self.together + i));
            }
            let list = GlweCiphertextListMutView::from_container(&mut accumulators[..], size, degree, native());
            self.rotation.as_view().batch_blind_rotate_assign(list, &switched, self.fft.as_view(), buffers.stack());
            for (result, accumulator) in results.chunks_exact_mut(self.words).zip(accumulators.chunks_exact(size.0 * degree.0)) {
                let accumulator = GlweCiphertext::from_container(accumulator, degree, native());
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

/// A ciphertext behind the modulus switch.
struct Switched {
    /// Mask and body.
    words: Vec<usize>,
    modulus: CiphertextModulusLog,
}

impl Switched {
    fn of(ciphertext: &[u64], modulus: CiphertextModulusLog) -> Switched {
        let ciphertext = LweCiphertext::from_container(ciphertext, native());
        let switched = lwe_ciphertext_centered_binary_modulus_switch::<u64, usize, _>(ciphertext, modulus);
        let words = switched.mask().chain([switched.body()]).collect();
        Switched { words, modulus }
    }
}

impl ModulusSwitchedLweCiphertext<usize> for Switched {
    fn log_modulus(&self) -> CiphertextModulusLog {
        self.modulus
    }
    fn lwe_dimension(&self) -> LweDimension {
        LweDimension(self.words.len() - 1)
    }
    fn body(&self) -> usize {
        self.words[self.words.len() - 1]
    }
    fn mask(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.words[..self.words.len() - 1].iter().copied()
    }
}
