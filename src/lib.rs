//! Chiffre compiles ONNX model graphs to homomorphic-encryption programs and runs them on encrypted batches.
//!
//! [`pipeline`] compiles, [`data`] reads images, [`overview`] says what a program is and [`page`] shows it, [`machine`] measures unit times,
//! [`logits`] compares answers. Everything cryptographic or about graphs lives in the crates below; the command line is a crate of its own.
#![forbid(unsafe_code)]

pub mod data;
mod error;
pub mod ir_file;
pub mod logits;
pub mod machine;
pub mod memory;
pub mod overview;
pub mod page;
pub mod pipeline;

pub use error::Error;
