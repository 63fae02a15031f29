//! Polynomials of bundles of ciphertexts: for activations and for the modular reduction of
//! bootstrapping.
//!
//! A [`Plan`] says, for a degree, a parity and a basis, which products are formed at which depth;
//! it knows no ring. [`evaluate`] runs it on ciphertexts with real slots, each with its own
//! [`Coefficients`], which may differ from slot to slot, and gives results of exactly the scale
//! that was asked for. [`evaluate_packed`] does so for both halves of complex-packed slots
//! `a + ib`. [`EvalMod`] is the scaled sine of bootstrapping.
//!
//! **Invariants**
//! * Scales are exact. Coefficients are rounded to integers at the scale at which their sum meets;
//!   where slots have different ones, so is the polynomial that has these integers in its slots.
//! * The depth is [`series_depth`] of the degree: adjusting scales costs no level.
//! * Every sum of products is relinearised once, and rescaled in the same division.
//! * Results do not depend on the number of threads or on the instruction set, bit by bit.

mod coefficients;
mod composite;
mod error;
mod evalmod;
mod run;

pub use chiffre_params::polynomial::{
    Basis, EvalMod, EvalModParams, MAX_DEGREE, Node, Parity, Part, Plan, PlanError, Power, chebyshev_interpolation, evaluate_clear,
    series_depth,
};
pub use coefficients::{Coefficients, SlotRows};
pub use error::PolynomialError;
pub use evalmod::{EvalModOp, eval_mod};
pub use run::{PolynomialOp, combine, evaluate, evaluate_halves, evaluate_packed, split};
