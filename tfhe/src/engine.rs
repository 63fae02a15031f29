//! The one place of this crate that names the library `tfhe`: expanded keys, and a look-up with
//! them on raw words.
//!
//! A ciphertext of dimension d is d + 1 words, the body last. It stands for body − ⟨mask, secret⟩.

use crate::eval_keys::EvaluationKeys;
use crate::session::Seed;
use chiffre_params::tfhe::TfheParams;
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

/// Evaluation keys as look-ups read them.
pub(crate) struct Keys {
    keyswitch: LweKeyswitchKeyOwned<u64>,
    rotation: FourierLweBootstrapKeyOwned,
    fft: Fft,
}

/// Memory of a thread for its look-ups.
pub(crate) struct Scratch {
    buffers: ComputationBuffers,
    accumulator: GlweCiphertextOwned<u64>,
    small: LweCiphertextOwned<u64>,
}

impl Keys {
    /// Expands keys of the sizes that the parameters ask for.
    pub(crate) fn new(p: &TfheParams, keys: EvaluationKeys) -> Keys {
        let keyswitch = SeededLweKeyswitchKey::from_container(
            keys.keyswitch,
            DecompositionBaseLog(p.keyswitch.base_log as usize),
            DecompositionLevelCount(p.keyswitch.levels as usize),
            LweDimension(p.n).to_lwe_size(),
            compression(&keys.keyswitch_seed),
            native(),
        );
        let (base, levels) = (DecompositionBaseLog(p.rotation.base_log as usize), DecompositionLevelCount(p.rotation.levels as usize));
        let (size, degree) = (GlweDimension(p.k).to_glwe_size(), PolynomialSize(p.degree()));
        let seeded =
            SeededLweBootstrapKey::from_container(keys.rotation, size, degree, base, levels, compression(&keys.rotation_seed), native());
        let words = seeded.par_decompress_into_lwe_bootstrap_key();
        let mut rotation = FourierLweBootstrapKey::new(LweDimension(p.n), size, degree, base, levels);
        par_convert_standard_lwe_bootstrap_key_to_fourier(&words, &mut rotation);
        Keys { keyswitch: keyswitch.par_decompress_into_lwe_keyswitch_key(), rotation, fft: Fft::new(degree) }
    }
    /// Memory for one thread.
    pub(crate) fn scratch(&self) -> Scratch {
        let (size, degree) = (self.rotation.glwe_size(), self.rotation.polynomial_size());
        let mut buffers = ComputationBuffers::new();
        buffers.resize(blind_rotate_assign_mem_optimized_requirement::<u64>(size, degree, self.fft.as_view()).unaligned_bytes_required());
        Scratch {
            buffers,
            accumulator: GlweCiphertext::new(0, size, degree, native()),
            small: LweCiphertext::new(0, self.keyswitch.output_lwe_size(), native()),
        }
    }
    /// Looks `operand` up, of dimension k·N: with x = 2N times what it stands for as a share of the
    /// torus, and i = ⌊x⌋, `result` becomes a ciphertext of coefficient i of the table for i below
    /// N, and beyond of the negative of coefficient i − N.
    pub(crate) fn lookup(&self, operand: &[u64], table: &[u64], scratch: &mut Scratch, result: &mut [u64]) {
        let Scratch { buffers, accumulator, small } = scratch;
        keyswitch_lwe_ciphertext(&self.keyswitch, &LweCiphertext::from_container(operand, native()), small);
        let modulus = self.rotation.polynomial_size().to_blind_rotation_input_modulus_log();
        let switched = lwe_ciphertext_centered_binary_modulus_switch::<u64, usize, _>(small.as_view(), modulus);
        accumulator.get_mut_mask().as_mut().fill(0);
        accumulator.get_mut_body().as_mut().copy_from_slice(table);
        blind_rotate_assign_mem_optimized(&switched, accumulator, &self.rotation, self.fft.as_view(), buffers.stack());
        extract_lwe_sample_from_glwe_ciphertext(accumulator, &mut LweCiphertext::from_container(result, native()), MonomialDegree(0));
    }
}
