//! Passes of the Chiffre compiler: everything that changes a graph.
#![forbid(unsafe_code)]

pub mod activation;
pub mod algebra;
pub mod calibrate;
pub mod cost;
pub mod error;
pub mod filetest;
pub mod he;
pub mod levels;
pub mod observe;
pub mod options;
pub mod pack;
pub mod pipeline;
pub mod place;
pub mod reduce;
pub mod registry;
pub mod tensor;
