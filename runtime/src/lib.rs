//! Executes Chiffre programs: sessions, the files of keys and ciphertexts, and the server half.
//!
//! **Invariant**: nothing here can name a secret key. Secrets are types of `chiffre-ckks-client`,
//! on which this crate does not depend; the data owner's half is the crate `chiffre-client`.
#![forbid(unsafe_code)]

mod cts;
mod error;
mod eval_keys;
pub mod journal;
mod params;
pub mod server;
mod words;

pub use chiffre_ckks::engine::{Engine, EngineError};
pub use chiffre_ckks::{Isa, UnknownIsa};
pub use chiffre_ir::token::{KeyId, Nonce, hex, parse_id};
pub use cts::{Batch, INPUT_KIND, RESULT_KIND, ResultBatch};
pub use error::RuntimeError;
pub use eval_keys::{EvalKeySet, KIND as EVAL_KEYS_KIND, ServerKeys, binding, check_binding};
pub use params::Session;
