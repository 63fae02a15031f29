//! The scaled sine of bootstrapping on ciphertexts: see [`EvalMod`].
//!
//! Doublings are products like others here: one relinearisation merged with the rescale, the factor
//! 2 within the product.

use super::composite::Composite;
use super::run::{GROUP, PolynomialOp, Prepared};
use super::{Coefficients, PolynomialError};
use crate::bundle::{self, Factor, Input, KeyProvider, Product, Sum};
use crate::keys::KeyTarget;
use crate::ring::{Gadget, Ring, RnsPoly};
use crate::scale::Scale;
use crate::simd::Isa;
use chiffre_params::polynomial::{CompositeIntegers, EvalMod};

/// A reduction at a level.
#[derive(Clone, Copy, Debug)]
pub struct EvalModOp<'a> {
    /// What is computed.
    pub eval_mod: &'a EvalMod,
    /// Q limbs to use; inputs may have more. Results have `limbs - eval_mod.depth()`.
    pub limbs: usize,
    /// Scale of the inputs, see [`EvalMod::input_scale`].
    pub input_scale: &'a Scale,
    /// Whether inputs are `u / K`, so that the shift by a quarter remains to be done (it costs
    /// nothing); else they are `(u - 1/4) / K`.
    pub shift: bool,
    /// Scale of the cosine before the doublings. Each doubling turns a scale `s` into `s^2 / q`, so
    /// that it should be close to the primes.
    pub cosine_scale: &'a Scale,
    /// Shape of the relinearisation key.
    pub gadget: Gadget,
}

/// Evaluates `sin(2 pi u)` on ciphertexts with real slots: see [`EvalModOp`] for their meaning.
/// Returns the results with their exact scale, [`EvalMod::output_scale`].
///
/// # Errors
/// As [`evaluate`](super::evaluate).
pub fn eval_mod(
    ring: &Ring,
    isa: Isa,
    inputs: Vec<Input<'_>>,
    op: &EvalModOp<'_>,
    keys: &dyn KeyProvider,
) -> Result<(Vec<[RnsPoly; 2]>, Scale), PolynomialError> {
    let EvalModOp { eval_mod, limbs, cosine_scale, gadget, .. } = *op;
    if limbs <= eval_mod.depth() || limbs > ring.q_count {
        return Err(PolynomialError::Limbs { limbs, depth: eval_mod.depth() });
    }
    let shift = if op.shift { -0.25 / eval_mod.params().range } else { 0.0 };
    let key = keys.require(KeyTarget::Relinearization, gadget)?;
    let mut out = Vec::with_capacity(inputs.len());
    let mut finish = |mut group: Vec<[RnsPoly; 2]>| {
        let mut scale = cosine_scale.clone();
        for depth in eval_mod.cosine_depth()..eval_mod.depth() {
            let product = scale.mul(&scale);
            let square = -product.to_f64().round();
            let sums: Vec<Sum<'_>> = group.iter().map(|ct| doubled(ct, square)).collect();
            group = bundle::relinearised_sums(ring, isa, &sums, limbs - depth, key);
            scale = product.div_prime(ring.chain.q[limbs - depth - 1]);
        }
        out.extend(group);
    };
    match eval_mod.plan() {
        Some(plan) => {
            let coefficients = vec![Coefficients::Row(eval_mod.coefficients()); inputs.len()];
            let (input_scale, output_scale) = (op.input_scale, cosine_scale);
            let cosine = PolynomialOp { plan, coefficients: &coefficients, limbs, input_scale, output_scale, gadget };
            let mut prepared = Prepared::new(ring, &cosine, keys, [&inputs, &[]])?;
            if op.shift {
                prepared.shift(shift, input_scale)?;
            }
            prepared.run_all(ring, isa, inputs, finish);
        }
        None => {
            bundle::check_gadget(ring, gadget, limbs)?;
            bundle::check_inputs(ring.n, &inputs, limbs)?;
            let scales = [op.input_scale, cosine_scale];
            let integers = CompositeIntegers::new(&ring.chain.q, limbs, &eval_mod.half_coefficients(), scales, shift)?;
            let cosine = Composite { ring, isa, limbs, key, integers };
            let mut inputs = inputs.into_iter();
            loop {
                let group: Vec<Input<'_>> = inputs.by_ref().take(GROUP).collect();
                if group.is_empty() {
                    break;
                }
                finish(cosine.run(group));
            }
        }
    }
    Ok((out, eval_mod.output_scale(&ring.chain.q, limbs, cosine_scale)))
}

/// `2 x^2 - 1`, where `minus_one` is minus the squared scale.
fn doubled(ct: &[RnsPoly; 2], minus_one: f64) -> Sum<'_> {
    let product = Product { left: ct.into(), right: ct.into(), factor: 2.0, imaginary: false };
    Sum { products: vec![product], multiples: Vec::new(), constant: [Factor::Number(minus_one), Factor::default()] }
}
