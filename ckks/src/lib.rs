//! RNS-CKKS homomorphic encryption on tfhe-ntt, with kernels for batched convolutions.
#![deny(unsafe_code)] // allowed in `simd` alone

pub mod bootstrap;
pub mod bundle;
pub mod ciphertext;
pub mod context;
pub mod encode;
pub mod evaluator;
pub mod keys;
pub mod keyswitch_reference;
pub mod plaintext;
pub mod polynomial;
pub mod ring;
pub mod seed;
pub mod simd;

pub use chiffre_params::{noise, parameters as params, scale, security};
