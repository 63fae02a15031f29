//! Polynomials of ciphertexts, as numbers: for activations and for the modular reduction of
//! bootstrapping.
//!
//! A [`Plan`] says, for a degree, a parity and a basis, which products are formed at which depth;
//! [`Scales`] and [`integers`] say at which exact scales, and with which integers. [`EvalMod`] is
//! the scaled sine of bootstrapping.
//!
//! **Invariants**
//! * Scales are exact. Coefficients are rounded once, to integers at the scale at which their sum
//!   meets.
//! * The depth of a plan is [`series_depth`] of its degree: adjusting scales costs no level.
//! * Every sum of products is relinearised once, and rescaled in the same division.

mod composite;
mod depth;
mod error;
mod evalmod;
mod fit;
mod plan;
mod scales;
mod search;
#[cfg(test)]
mod tests;
mod types;

pub use composite::{CompositeIntegers, DEGREE as COMPOSITE_DEGREE, DEPTH as COMPOSITE_DEPTH};
pub use depth::{coefficients_depth, series_depth};
pub use error::PlanError;
pub(crate) use evalmod::counts as reduction_counts;
pub use evalmod::{EvalMod, EvalModParams};
pub use fit::{chebyshev_interpolation, evaluate_clear};
pub use plan::Plan;
pub use scales::{MAX_CONSTANT, MAX_MULTIPLE, NodeIntegers, Scales, fit, integers};
pub use types::{Basis, MAX_DEGREE, Node, Parity, Part, Power};
