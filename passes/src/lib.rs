//! Passes of the Chiffre compiler: everything that changes a graph.
#![forbid(unsafe_code)]

pub mod activation;
pub mod algebra;
pub mod error;
pub mod filetest;
pub mod he;
pub mod levels;
pub mod observe;
pub mod options;
pub mod pack;
pub mod pass;
pub mod pipeline;
pub mod place;
pub mod quant;
pub mod reduce;
pub mod registry;
mod set_option;
pub mod state;
pub mod stop;
pub mod tensor;
