//! Programs for TFHE on ciphertexts: the files of keys, batches and results, and, with the feature
//! `engine`, the server half that runs a program.
//!
//! **Invariant**: nothing here can name a secret key. Secrets are types of `chiffre-tfhe-client`,
//! the data owner's half, on which this crate does not depend.
//!
//! What computes does so on the threads of the pool that it is called on. Without the feature
//! `engine` nothing here links the library `tfhe`, whose licence is another one.
#![forbid(unsafe_code)]

mod batch;
#[cfg(feature = "engine")]
mod checkpoint;
#[cfg(feature = "engine")]
mod engine;
mod error;
mod eval_keys;
#[cfg(feature = "engine")]
mod keyswitch;
#[cfg(feature = "engine")]
mod linear;
mod results;
#[cfg(feature = "engine")]
mod rotation;
#[cfg(feature = "engine")]
mod round;
#[cfg(feature = "engine")]
mod server;
mod session;
#[cfg(feature = "engine")]
mod tables;
mod words;

pub use batch::{BATCH_KIND, Batch};
#[cfg(feature = "engine")]
pub use checkpoint::Checkpoints;
pub use error::TfheError;
pub use eval_keys::{EVAL_KIND, EvaluationKeys, LookupKeys};
pub use results::{RESULT_KIND, Results};
#[cfg(feature = "engine")]
pub use server::{Server, Step};
pub use session::{FAILURE_BITS, Seed, Session, binding, check_binding, key_id};
pub use words::{read_words, write_words};
