//! The scales on the way of a refresh.

use super::spec::{BootstrapSpec, SpecError};
use crate::chain::Chain;
use crate::polynomial::EvalMod;
use crate::scale::Scale;
use std::f64::consts::TAU;

/// The modular reduction of a spec, and the scales on the way to its sine.
#[derive(Clone, Debug)]
pub struct Scales {
    /// The reduction.
    pub reduction: EvalMod,
    /// Of the reduction's input.
    pub input: Scale,
    /// Of the cosine before its doublings.
    pub cosine: Scale,
    /// Of the sine.
    pub sine: Scale,
    /// Of the result of CoeffsToSlots: splitting doubles it.
    pub transforms: Scale,
    /// Scale of a factor of CoeffsToSlots over the prime that it is divided by.
    pub factor_share: f64,
}

impl Scales {
    /// The scales of a spec over a chain.
    ///
    /// # Errors
    /// [`SpecError`] if the spec contradicts itself or does not fit the chain.
    pub fn new(chain: &Chain, spec: &BootstrapSpec) -> Result<Self, SpecError> {
        spec.check()?;
        let reduction = spec.reduction()?;
        let limbs = spec.limbs_reduction();
        if limbs > chain.q.len() {
            return Err(SpecError(format!("{limbs} limbs of a chain of {}", chain.q.len())));
        }
        let last = chain.q[limbs - spec.reduction_depth()];
        let cosine = Scale::pow2((last as f64).log2().round() as i32);
        let input = reduction.input_scale(&chain.q, limbs, &cosine);
        let transforms = input.div(&Scale::pow2(1));
        let sine = reduction.output_scale(&chain.q, limbs, &cosine);
        let factor_share = factor_share(chain, spec, reduction.params().range, &transforms);
        Ok(Self { reduction, input, cosine, sine, transforms, factor_share })
    }
}

/// Scale of a factor of CoeffsToSlots over the prime that it is divided by, for results over
/// `range` at `output_scale`.
pub fn factor_share(chain: &Chain, spec: &BootstrapSpec, range: f64, output_scale: &Scale) -> f64 {
    let slots = 2f64.powi(chain.log_n as i32 - 1);
    let total = output_scale.to_f64() / (range * slots * chain.q[0] as f64);
    total.powf(1.0 / spec.coeffs_to_slots.len() as f64)
}

/// Scales of the diagonals of the factors of SlotsToCoeffs, for operands at `input_scale`.
///
/// The rounding errors of a factor grow with the root of its period, and equal shares of them are
/// best: scales are relative to that of a factor of period 1. All but the first are those of a
/// typical operand, whatever the operand.
pub fn slots_to_coeffs_scales(chain: &Chain, spec: &BootstrapSpec, input_scale: f64) -> Vec<f64> {
    let drop: f64 = chain.q[1..spec.limbs_in()].iter().map(|&q| q as f64).product();
    let total = |scale: f64| chain.q[0] as f64 * drop / (TAU * scale);
    // What is left of the modulus above the value, with a few bits of room.
    let typical = drop / 2f64.powi(18);
    let roots: Vec<f64> = spec.slots_to_coeffs_plans().iter().map(|f| (f.period() as f64).sqrt()).collect();
    let share = (total(typical) / roots.iter().product::<f64>()).powf(1.0 / roots.len() as f64);
    let others: Vec<f64> = roots[1..].iter().map(|root| share * root).collect();
    let first = total(input_scale) / others.iter().product::<f64>();
    std::iter::once(first).chain(others).collect()
}
