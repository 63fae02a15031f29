//! Predicted precision of a refresh.

use super::scales::Scales;
use super::spec::{BootstrapSpec, SpecError};
use crate::chain::Chain;
use crate::noise::NoiseModel;
use std::f64::consts::TAU;

impl BootstrapSpec {
    /// Standard deviation of the error of the sines (of one real value) for messages within
    /// `radians`, by the rounding of divisions: those of the last factors of CoeffsToSlots and of
    /// the conjugation reach the argument and through it the sine; those of the Chebyshev
    /// polynomials, or of the composition, and of the doublings are amplified by the doublings
    /// after them. To that comes the error of the interpolated cosine.
    ///
    /// Rounding the matrices of the slot transforms is not in it: it is smaller by bits for the
    /// scales that are taken. Nor is the leading coefficient of a composition, which follows from
    /// scales that are right to about one in a thousand: 2^-18 behind four doublings.
    ///
    /// # Errors
    /// [`SpecError`] if the spec contradicts itself or does not fit the ring.
    pub fn predicted_noise(&self, chain: &Chain, radians: f64) -> Result<f64, SpecError> {
        Ok(Scales::new(chain, self)?.predicted_noise(chain, self, radians))
    }
}

impl Scales {
    /// See [`BootstrapSpec::predicted_noise`], for a spec whose scales these are.
    pub fn predicted_noise(&self, chain: &Chain, spec: &BootstrapSpec, radians: f64) -> f64 {
        let (scales, reduction, model) = (self, &self.reduction, NoiseModel::new(chain));
        let rounding = model.rounding();
        // Each earlier factor's error shrinks with its message.
        let share = scales.factor_share;
        let earlier = spec.coeffs_to_slots[1..].iter().rev().scan(1.0, |gain, factor| {
            let this = *gain;
            *gain *= share * share * f64::from(1 << factor.log_radix);
            Some(this)
        });
        let factors = rounding * earlier.sum::<f64>().sqrt();
        let conjugation = model.switch_and_round(spec.reduction_gadget(), spec.limbs_reduction());
        // The real part of z + conj(z), at twice the scale of z.
        let argument = (2.0 * factors * factors + conjugation * conjugation / 2.0).sqrt() / (2.0 * scales.transforms.to_f64());
        let cosines = (-32..=32).map(|j| (radians * f64::from(j) / 32.0).cos().powi(2)).sum::<f64>() / 65.0;
        let argument = TAU * reduction.params().range * argument * cosines.sqrt();

        let product = rounding / 2f64.sqrt() / scales.sine.to_f64();
        let deviation = ((spec.weight + 1) as f64 / 12.0).sqrt();
        let range = reduction.params().range;
        let cosine_noise = reduction.cosine_noise();
        let at = |u: f64| {
            let cosine = product * cosine_noise((u - 0.25) / range);
            let factors = reduction.amplification(u);
            let added: f64 = factors[1..].iter().map(|f| (f * product).powi(2)).sum();
            (factors[0] * cosine).powi(2) + added + (reduction.evaluate_clear(u) - (TAU * u).sin()).powi(2)
        };
        let (mut sum, mut weight) = (0.0, 0.0);
        for i in (0..spec.range).map(|i| i as f64) {
            let p = (-(i / deviation).powi(2) / 2.0).exp();
            for j in -32..=32 {
                let m = radians / TAU * f64::from(j) / 32.0;
                sum += p * (at(m + i) + at(m - i));
                weight += 2.0 * p;
            }
        }
        argument.hypot((sum / weight).sqrt())
    }
}
