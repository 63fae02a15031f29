//! The one place of this crate that names the library `tfhe`: secrets, keys and ciphertexts as raw
//! words. Secret randomness and noise are those of the library's generators, which are seeded here.

use crate::random::Seeds;
use chiffre_params::tfhe::TfheParams;
use chiffre_tfhe::Seed;
use tfhe::core_crypto::commons::math::random::{CompressionSeed, Seed as LibrarySeed};
use tfhe::core_crypto::prelude::*;

/// Words are integers modulo 2^64.
fn native() -> CiphertextModulus<u64> {
    CiphertextModulus::new_native()
}

fn compression(seed: Seed) -> CompressionSeed {
    LibrarySeed(u128::from_le_bytes(seed)).into()
}

impl Seeder for Seeds {
    fn seed(&mut self) -> LibrarySeed {
        LibrarySeed(u128::from_le_bytes(self.draw()))
    }
    fn is_available() -> bool {
        true
    }
}

/// Fills `words` with uniform bits.
pub(crate) fn fill_secret(words: &mut [u64], seeds: &mut Seeds) {
    let mut generator = SecretRandomGenerator::<DefaultRandomGenerator>::new(seeds.seed());
    generate_binary_lwe_secret_key(&mut LweSecretKey::from_container(words), &mut generator);
}

/// Bodies and seed of the bootstrapping key: each bit of `small`, of dimension n, under `big`.
pub(crate) fn rotation_key(p: &TfheParams, small: &[u64], big: &[u64], seeds: &mut Seeds) -> (Vec<u64>, Seed) {
    let seed = seeds.draw();
    let degree = PolynomialSize(p.degree());
    let mut key = SeededLweBootstrapKey::new(
        0,
        GlweDimension(p.k).to_glwe_size(),
        degree,
        DecompositionBaseLog(p.rotation.base_log as usize),
        DecompositionLevelCount(p.rotation.levels as usize),
        LweDimension(p.n),
        compression(seed),
        native(),
    );
    let (from, to) = (LweSecretKey::from_container(small), GlweSecretKey::from_container(big, degree));
    par_generate_seeded_lwe_bootstrap_key(&from, &to, &mut key, TUniform::new(p.glwe_bound), seeds);
    (key.into_container(), seed)
}

/// Bodies and seed of the keyswitching key: each bit of `big` under `small`, of dimension n.
pub(crate) fn keyswitch_key(p: &TfheParams, big: &[u64], small: &[u64], seeds: &mut Seeds) -> (Vec<u64>, Seed) {
    let seed = seeds.draw();
    let mut key = SeededLweKeyswitchKey::new(
        0,
        DecompositionBaseLog(p.keyswitch.base_log as usize),
        DecompositionLevelCount(p.keyswitch.levels as usize),
        LweDimension(big.len()),
        LweDimension(p.n),
        compression(seed),
        native(),
    );
    let (from, to) = (LweSecretKey::from_container(big), LweSecretKey::from_container(small));
    generate_seeded_lwe_keyswitch_key(&from, &to, &mut key, TUniform::new(p.lwe_bound), seeds);
    (key.into_container(), seed)
}

/// Bodies and seed of fresh ciphertexts of `words` under `big`.
pub(crate) fn encrypt(p: &TfheParams, big: &[u64], words: Vec<u64>, seeds: &mut Seeds) -> (Vec<u64>, Seed) {
    let seed = seeds.draw();
    let (size, count) = (LweDimension(p.big()).to_lwe_size(), LweCiphertextCount(words.len()));
    let mut list = SeededLweCiphertextList::new(0, size, count, compression(seed), native());
    let (key, words) = (LweSecretKey::from_container(big), PlaintextList::from_container(words));
    par_encrypt_seeded_lwe_ciphertext_list(&key, &mut list, &words, TUniform::new(p.glwe_bound), seeds);
    (list.into_container(), seed)
}

/// What a ciphertext of dimension k·N stands for, with its noise.
pub(crate) fn phase(big: &[u64], ciphertext: &[u64]) -> u64 {
    decrypt_lwe_ciphertext(&LweSecretKey::from_container(big), &LweCiphertext::from_container(ciphertext, native())).0
}
