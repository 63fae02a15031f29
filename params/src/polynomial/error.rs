//! What can be wrong with a polynomial and its scales.

/// Why there is no plan, or why coefficients do not fit one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
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
}
