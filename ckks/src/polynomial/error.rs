//! What can be wrong with a polynomial or its evaluation.

use crate::bundle::BundleError;
use chiffre_params::polynomial::PlanError;

/// Why a polynomial is not evaluated. Everything is checked before any work starts.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolynomialError {
    /// Fewer limbs than the evaluation consumes.
    #[error("{limbs} limbs are too few: the evaluation consumes {depth} and must leave one")]
    Limbs {
        /// Limbs of the inputs that are used.
        limbs: usize,
        /// Rescales.
        depth: usize,
    },
    /// Not one row of coefficients for each ciphertext.
    #[error("{rows} rows of coefficients for {ciphertexts} ciphertexts")]
    Rows {
        /// Rows.
        rows: usize,
        /// Ciphertexts, or pairs of them.
        ciphertexts: usize,
    },
    /// Slots that cannot have their rows.
    #[error("{rows} rows of coefficients for {given} of {slots} slots: there must be a row, and a power of two of slots, at most all")]
    Slots {
        /// Rows.
        rows: usize,
        /// Slots that are given a row.
        given: usize,
        /// Slots of the ring.
        slots: usize,
    },
    /// The plan, its coefficients or its scales.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A bundle operation refuses.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}
