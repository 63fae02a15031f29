//! The evaluator: operations on ciphertexts that know their scale and their limbs.
//!
//! Every operation checks scales, limbs and keys before it computes anything, says what it does to
//! the scale, and runs as the fused operations of [`bundle`](crate::bundle),
//! [`polynomial`](crate::polynomial) and [`bootstrap`](crate::bootstrap): there is no second
//! implementation. Operands are borrowed and copied nowhere.
//!
//! Scales are exact. Operands of a sum have equal scales and limbs; nothing is rescaled or dropped
//! unless an operation says so. For each key switch the evaluator takes the smallest key that
//! serves the operand's limbs.

mod arithmetic;
mod circuits;
mod error;

pub use circuits::{LinearMap, PreparedLinearMap};
pub use error::EvalError;

use crate::bundle::{CtRef, Input, KeyProvider, PreparedKey, check_inputs};
use crate::ciphertext::Ciphertext;
use crate::context::Context;
use crate::keys::KeyTarget;
use crate::ring::Ring;
use crate::scale::Scale;
use crate::simd::Isa;

/// Evaluates operations with the evaluation keys of one client.
#[derive(Clone, Copy)]
pub struct Evaluator<'a> {
    context: &'a Context,
    keys: &'a dyn KeyProvider,
    isa: Isa,
}

impl<'a> Evaluator<'a> {
    /// An evaluator; `keys` may be empty if no rotation, conjugation or product of ciphertexts is
    /// asked for.
    pub fn new(context: &'a Context, keys: &'a dyn KeyProvider) -> Self {
        Self { context, keys, isa: Isa::current() }
    }

    /// The same with another instruction set than the thread's. Results have equal bits.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The context.
    pub fn context(&self) -> &'a Context {
        self.context
    }

    fn ring(&self) -> &'a Ring {
        self.context.ring()
    }

    fn key(&self, target: KeyTarget, limbs: usize) -> Result<&'a PreparedKey, EvalError> {
        self.keys.find(target, limbs).ok_or(EvalError::MissingKey { target, limbs })
    }

    /// The components of a ciphertext of this ring.
    fn view<'c>(&self, ct: &'c Ciphertext) -> Result<CtRef<'c>, EvalError> {
        let view = CtRef::new(ct)?;
        check_inputs(self.ring().n, &[view.into()], ct.limbs)?;
        Ok(view)
    }

    /// All components of a bundle, with the limbs that its ciphertexts have in common.
    fn views<'c>(&self, cts: &'c [Ciphertext]) -> Result<(Vec<Input<'c>>, usize), EvalError> {
        let limbs = cts.first().map_or(0, |c| c.limbs);
        cts.iter().try_for_each(|c| need_equal_limbs(limbs, c.limbs))?;
        let views = cts.iter().map(|c| Ok(Input::Borrowed(self.view(c)?))).collect::<Result<_, EvalError>>()?;
        Ok((views, limbs))
    }
}

/// The scale that all ciphertexts of a bundle have; 1 if there are none.
fn common_scale(cts: &[Ciphertext]) -> Result<Scale, EvalError> {
    let scale = cts.first().map_or(Scale::one(), |c| c.scale.clone());
    cts.iter().try_for_each(|c| need_equal_scales(&scale, &c.scale))?;
    Ok(scale)
}

fn need_equal_limbs(left: usize, right: usize) -> Result<(), EvalError> {
    if left == right { Ok(()) } else { Err(EvalError::Limbs { left, right }) }
}

fn need_equal_scales(left: &Scale, right: &Scale) -> Result<(), EvalError> {
    if left == right { Ok(()) } else { Err(EvalError::Scales { left: left.clone(), right: right.clone() }) }
}
