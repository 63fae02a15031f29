//! Chiffre compiles ONNX model graphs to homomorphic-encryption programs and runs them on encrypted batches.
//!
//! This crate is the command line and a thin facade: [`cli`] states the arguments, [`commands`] answers them, [`data`] reads
//! images, [`report`] writes results. Everything cryptographic or about graphs lives in the crates below.
#![forbid(unsafe_code)]

pub mod calibrate;
pub mod cli;
pub mod commands;
pub mod data;
mod error;
pub mod ir_file;
pub mod page;
pub mod pipeline;
pub mod profile;
pub mod progress;
pub mod report;
pub mod trace;
pub mod view;

pub use error::Error;
