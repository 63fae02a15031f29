//! The data owner's half: secret keys, key generation, encryption, decryption.
//!
//! **Invariant**: everything that can name a secret is in this module. Server code imports [`keys`](crate::keys),
//! [`ciphertext`](crate::ciphertext) and the evaluators, and nothing from here.
//!
//! Decrypted CKKS plaintexts carry noise that depends on the secret key. Whoever publishes decryptions to the party
//! that computed on the ciphertexts must round or flood them first (Li and Micciancio, "On the Security of
//! Homomorphic Encryption on Approximate Numbers", EUROCRYPT 2021).

mod encrypt;
mod keygen;
mod secret;

pub use encrypt::{Decryptor, PublicKeyEncryptor, SecretKeyEncryptor};
pub use keygen::{DEFAULT_SPARSE_WEIGHT, KeyGenerator};
pub use secret::{SecretKey, SecretKeyError};

#[cfg(test)]
mod tests;
