//! Executes Chiffre programs: the client half and the server half.
//!
//! **Invariant**: `server` and everything it uses never name a secret key. [`client`] is the only
//! module that uses `chiffre_ckks_client`.
#![forbid(unsafe_code)]

pub mod client;
mod cts;
mod error;
mod eval_keys;
pub mod journal;
mod params;
pub mod server;
mod words;

pub use chiffre_ckks::engine::{Engine, EngineError};
pub use cts::{Batch, ResultBatch};
pub use error::RuntimeError;
pub use eval_keys::{EvalKeySet, KeyId, ServerKeys};
pub use params::Session;
