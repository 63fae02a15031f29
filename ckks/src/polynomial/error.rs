//! What can be wrong with a polynomial or its evaluation.

use crate::bundle::BundleError;

/// Why a polynomial is not evaluated. Everything is checked before any work starts.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolynomialError {
    /// No plan for this degree.
    #[error("polynomials of degree {0} are not supported: the degree must be in 1..={max}", max = super::MAX_DEGREE)]
    Degree(usize),
    /// The degree contradicts the parity.
    #[error("a polynomial of degree {degree} is not {parity:?}")]
    Parity {
        /// The degree.
        degree: usize,
        /// The parity.
        parity: super::Parity,
    },
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
    /// A row is longer than the degree allows, or has a coefficient that the parity excludes.
    #[error("row {row} has a coefficient of index {index}, which the plan of degree {degree} does not have")]
    Coefficient {
        /// The row.
        row: usize,
        /// The coefficient.
        index: usize,
        /// Degree of the plan.
        degree: usize,
    },
    /// A coefficient is infinite or not a number.
    #[error("coefficient {index} of row {row} is not finite")]
    NotFinite {
        /// The row.
        row: usize,
        /// The coefficient.
        index: usize,
    },
    /// A coefficient becomes an integer that the kernels or the modulus cannot hold.
    #[error("row {row}: a coefficient of T_{index} becomes 2^{bits:.1}, beyond 2^{limit:.1}; change the scales or the coefficients")]
    TooLarge {
        /// The row.
        row: usize,
        /// Basis index of the multiple.
        index: usize,
        /// log2 of the integer.
        bits: f64,
        /// log2 of the limit.
        limit: f64,
    },
    /// A scale on the way is so small that nothing would be left of the coefficients.
    #[error("coefficients would be rounded at scale 2^{0:.1}; raise the input or the output scale")]
    Scale(f64),
    /// Parameters of the modular reduction.
    #[error("modular reduction: {0}")]
    EvalMod(String),
    /// A bundle operation refuses.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}
