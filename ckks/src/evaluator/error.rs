//! Why an operation is refused.

use crate::bootstrap::BootstrapError;
use crate::bundle::BundleError;
use crate::keys::KeyTarget;
use crate::polynomial::PolynomialError;
use crate::scale::Scale;

/// Why an operation is refused. Everything is checked before any work starts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// Summands of different scale.
    #[error("the operands have the scales {left} and {right}, which must be equal")]
    Scales {
        /// Scale of the left operand.
        left: Scale,
        /// Scale of the right operand.
        right: Scale,
    },
    /// Operands of different limbs.
    #[error("the operands have {left} and {right} limbs; drop limbs of the larger one first")]
    Limbs {
        /// Limbs of the left operand.
        left: usize,
        /// Limbs of the right operand.
        right: usize,
    },
    /// Not enough limbs for an operation that removes some.
    #[error("cannot go from {have} limbs to {want}; an operand needs a bootstrap or a longer chain of primes")]
    NoLimbsLeft {
        /// Limbs there are.
        have: usize,
        /// Limbs wanted.
        want: usize,
    },
    /// A key is missing.
    #[error("no key for {target} that serves {limbs} limbs")]
    MissingKey {
        /// What the key is for.
        target: KeyTarget,
        /// Limbs of the ciphertext.
        limbs: usize,
    },
    /// A number is beyond 2^100 at its scale, or is not finite.
    #[error("the weight {value} at scale {scale} does not fit")]
    Weight {
        /// The weight.
        value: f64,
        /// Its scale.
        scale: Scale,
    },
    /// The scales of a linear map leave no precision to its weights.
    #[error(
        "the result's scale leaves 2^{log2:.1} for the weights of operand {input}, below 1; ask for a larger scale or drop more primes"
    )]
    WeightScale {
        /// Index of the operand.
        input: usize,
        /// Binary logarithm of the weights' scale.
        log2: f64,
    },
    /// What a fused operation refuses: shapes, tables, key shapes.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// What the evaluation of a polynomial refuses.
    #[error(transparent)]
    Polynomial(#[from] PolynomialError),
    /// What a bootstrap refuses.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
}
