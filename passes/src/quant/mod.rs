//! Passes from tensor IR to quant IR, and on it.

pub mod accuracy;
pub mod argmax;
pub mod fit_accumulators;
mod measure;
mod number;
pub mod quantise;
pub mod select_params;
pub mod settle;
