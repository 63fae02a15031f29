//! The oracle: operations on single ciphertexts, written for reading. The crate's own operations,
//! which are fused, are compared with these bit by bit.
//!
//! Scales are exact: operands of a sum must have equal scales and limbs, and every other operation
//! says what it does to the scale. Nothing is rescaled or dropped implicitly.

mod arithmetic;
pub mod keyswitch;
mod linear;
mod rotate;
mod tests;

use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::keys::{EvaluationKeys, KeyTarget, SwitchingKey};
use chiffre_ckks::ring::Ring;
use chiffre_ckks::scale::Scale;

pub use linear::LinearTransform;

/// Why an operation is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// Summands of different scale.
    #[error("cannot add at different scales: {left} and {right}")]
    Scales {
        /// Scale of the left operand.
        left: Scale,
        /// Scale of the right operand.
        right: Scale,
    },
    /// Operands of different limbs.
    #[error("operands have {left} and {right} limbs; drop limbs of the larger one first")]
    Limbs {
        /// Limbs of the left operand.
        left: usize,
        /// Limbs of the right operand.
        right: usize,
    },
    /// Not enough limbs for an operation that removes some.
    #[error("cannot go from {have} limbs to {want}")]
    NoLimbsLeft {
        /// Limbs there are.
        have: usize,
        /// Limbs wanted.
        want: usize,
    },
    /// An operand of the wrong degree.
    #[error("an operand has degree {found} in the secret, the operation needs {expected}; relinearize first")]
    Degree {
        /// Degree of the operand.
        found: usize,
        /// Degree needed.
        expected: usize,
    },
    /// A key is missing.
    #[error("no key for {target} at {limbs} limbs")]
    MissingKey {
        /// What the key is for.
        target: KeyTarget,
        /// Limbs of the ciphertext.
        limbs: usize,
    },
    /// Hoisted rotations need keys with equal digits.
    #[error("the keys of hoisted rotations have different shapes")]
    MixedGadgets,
    /// An integer weight is beyond 2^100.
    #[error("the weight {value} at scale {scale} does not fit")]
    Weight {
        /// The weight.
        value: f64,
        /// Its scale.
        scale: Scale,
    },
}

/// Evaluates operations with the keys of one client, in full.
pub struct Reference<'a> {
    context: &'a Context,
    keys: &'a EvaluationKeys,
}

impl<'a> Reference<'a> {
    /// An evaluator; `keys` may be empty if no rotation, conjugation or relinearisation is asked
    /// for.
    pub fn new(context: &'a Context, keys: &'a EvaluationKeys) -> Self {
        Self { context, keys }
    }

    fn ring(&self) -> &'a Ring {
        self.context.ring()
    }

    fn key(&self, target: KeyTarget, limbs: usize) -> Result<&'a SwitchingKey, EvalError> {
        self.keys.find(target, limbs).ok_or(EvalError::MissingKey { target, limbs })
    }
}

fn need_degree(ciphertext: &Ciphertext, expected: usize) -> Result<(), EvalError> {
    match ciphertext.degree() {
        found if found == expected => Ok(()),
        found => Err(EvalError::Degree { found, expected }),
    }
}

fn need_equal_limbs(left: usize, right: usize) -> Result<(), EvalError> {
    if left == right { Ok(()) } else { Err(EvalError::Limbs { left, right }) }
}

fn need_equal_scales(left: &Scale, right: &Scale) -> Result<(), EvalError> {
    if left == right { Ok(()) } else { Err(EvalError::Scales { left: left.clone(), right: right.clone() }) }
}
