//! Intermediate representations of Chiffre: tensor IR, quant IR, packed IR, HE IR and program.
//!
//! Every level is a [`graph::Graph`] over a dialect: an op enum made by [`define_ops!`], a type,
//! a verifier and a clear interpreter. All levels share one text form ([`text`]) whose parser
//! and printer round-trip. This crate knows neither ONNX nor cryptography.
#![forbid(unsafe_code)]

pub mod const_file;
pub mod consts;
pub mod container;
mod element;
pub mod error;
pub mod gauss;
pub mod giants;
pub mod graph;
mod hash;
pub mod he;
mod ids;
pub mod input;
pub mod interface;
pub mod journal;
pub mod layout;
pub mod level;
pub mod ops;
pub mod output;
pub mod packed;
pub mod patch;
pub mod program;
pub mod quant;
pub mod table;
pub mod tail;
pub mod tensor;
pub mod text;
pub mod token;
