#![doc = include_str!("../README.md")]
//!
//! ## Layers
//!
//! From the bottom up, each knowing only those before it; a test reads the sources for this:
//!
//! * numbers, kernels on limbs and [`ring`]: moduli, transforms, polynomials, automorphisms, base
//!   conversion;
//! * what is stored and sent: [`seed`], [`plaintext`], [`encode`], [`context`], [`ciphertext`],
//!   [`keys`];
//! * what is computed: [`bundle`] (fused operations on lists of ciphertexts), [`polynomial`],
//!   [`bootstrap`], and [`evaluator`], which checks scales and limbs and calls the others.
//!
//! Numbers that need no ring, like [`params`], [`scale`], [`security`] and [`noise`], come from
//! `chiffre-params`.
#![deny(unsafe_code)] // allowed in `simd` alone

mod arithmetic;
pub mod bootstrap;
pub mod bundle;
pub mod ciphertext;
pub mod context;
pub mod encode;
pub mod engine;
pub mod evaluator;
pub mod keys;
pub mod plaintext;
pub mod polynomial;
pub mod ring;
pub mod seed;
mod simd;

pub use bundle::PreparedKeys;
pub use chiffre_params::{noise, parameters as params, scale, security};
pub use ciphertext::Ciphertext;
pub use context::Context;
pub use evaluator::{EvalError, Evaluator};
pub use keys::KeyTarget;
pub use params::{CkksParams, CkksParamsLiteral};
pub use ring::{Gadget, Galois};
pub use scale::Scale;
pub use simd::{Isa, UnknownIsa};
