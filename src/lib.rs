//! Chiffre compiles ONNX model graphs to homomorphic-encryption programs and runs them on encrypted
//! batches of images.
//!
//! In ten lines (`examples/ten_lines.rs`):
//!
//! ```
#![doc = include_str!("../examples/ten_lines.rs")]
//! ```
//!
//! * [`compile()`] makes a [`Program`], which both sides have; files of programs, keys and
//!   ciphertexts go from one side to the other.
//! * [`Client`] is the data owner: it makes keys, encrypts [`Images`], keeps a [`Receipt`] of them,
//!   and decrypts the [`Answers`] to them.
//! * [`Server`] runs the program with evaluation keys only. Its types hold no secret.
//! * [`Error`] tells by its variant who can do something about a failure.
//!
//! Below them: [`pipeline`] compiles, [`data`] reads images, [`screening`] looks at them before
//! they are encrypted, [`overview`] says what a program is and [`page`] shows it, [`machine`]
//! measures unit times, [`logits`] ranks and compares answers, [`outputs`] makes the outputs of the
//! model file of them, [`ir_file`] reads intermediate representations. Everything cryptographic or
//! about graphs lives in the crates below; the command line is a crate of its own.
#![forbid(unsafe_code)]

pub mod batches;
pub mod bench;
pub mod clear;
mod client;
pub mod cluster;
pub mod data;
mod error;
pub mod export;
pub mod ir_file;
pub mod logits;
pub mod machine;
pub mod memory;
pub mod outputs;
pub mod overview;
pub mod page;
pub mod pipeline;
mod program;
pub mod report;
pub mod screening;
mod server;
pub mod survey;

pub use chiffre_backend::cost::CostModel;
pub use chiffre_client::Receipt;
pub use chiffre_ir::interface::{InputPort, Interface, OutputPort};
pub use chiffre_passes::stop::Stop;
pub use chiffre_runtime::{Batch, EvalKeySet, ResultBatch};
pub use client::{Answers, Client, EncryptOptions, Encrypted, OnAbsurd};
pub use data::{DataOptions, Images, Normalisation};
pub use error::{Class, Detail, Error, Setting};
pub use program::{AccuracyTarget, Options, Program, compile, compile_model};
pub use server::Server;
