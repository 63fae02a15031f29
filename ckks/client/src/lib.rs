//! The data owner's half of RNS-CKKS: secret keys, key generation, encryption, decryption, and how
//! noisy a result is.
//!
//! **Invariant**: everything that can name a secret is in this crate. [`chiffre_ckks`] does not
//! depend on it, so that code that computes on ciphertexts cannot name a secret either.
//!
//! Decrypted CKKS plaintexts carry noise that depends on the secret key. Whoever publishes
//! decryptions to the party that computed on the ciphertexts must round or flood them first (Li and
//! Micciancio, "On the Security of Homomorphic Encryption on Approximate Numbers", EUROCRYPT 2021).
//!
//! [`KeyGenerator`] makes the evaluation keys of a [`SecretKey`], [`SecretKeyEncryptor`] and
//! [`PublicKeyEncryptor`] encrypt, [`Decryptor`] decrypts; the quick start is on the page of
//! [`chiffre_ckks`].
#![forbid(unsafe_code)]

mod encrypt;
mod keygen;
mod noise;
mod sample;
mod secret;

pub use encrypt::{Decryptor, PublicKeyEncryptor, SecretKeyEncryptor};
pub use keygen::{DEFAULT_SPARSE_WEIGHT, KeyGenerator};
pub use noise::measured_error;
pub use sample::{Csprng, NOISE_BOUND, RandomnessError};
pub use secret::{SecretKey, SecretKeyError};

#[cfg(test)]
mod tests;
