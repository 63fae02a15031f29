//! The data owner's half of TFHE: secret keys, and, with the feature `engine`, key generation,
//! encryption and decryption.
//!
//! **Invariant**: everything that can name a secret is in this crate. [`chiffre_tfhe`], which runs
//! programs on a server, does not depend on it.
//!
//! Decrypted integers are those of the clear run, bit by bit: unlike those of CKKS they carry no
//! noise that depends on the secret key.
#![forbid(unsafe_code)]

#[cfg(feature = "engine")]
mod crypt;
#[cfg(feature = "engine")]
mod engine;
#[cfg(feature = "engine")]
mod random;
mod receipt;
mod secret;

pub use receipt::{RECEIPT_KIND, Receipt};
pub use secret::{ClientKey, SECRET_KIND};
