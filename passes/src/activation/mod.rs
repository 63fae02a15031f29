//! Activations that are not polynomials: what is measured about their operands, and the polynomials
//! that stand in for them.
//!
//! The passes `calibrate-activations` and `approximate-activations` put these together.

pub mod degree;
pub mod fit;
pub mod function;
pub mod histogram;
pub mod search;
pub mod statistics;
