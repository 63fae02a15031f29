//! How much of a value reaches other slots in SlotsToCoeffs.

use super::scales::slots_to_coeffs_scales;
use super::spec::{BootstrapSpec, SpecError};
use crate::chain::Chain;

impl BootstrapSpec {
    /// Standard deviation of what angles of magnitude one in all other slots, real and imaginary
    /// parts, add to an angle: the error of the rounded matrices of SlotsToCoeffs, for operands at
    /// `input_scale`.
    ///
    /// A diagonal of period p at scale s is a polynomial of 2p rounded coefficients: its slots,
    /// of magnitude one, are off by `√(p/6)/s`. A factor of radix `2^r` has nearly `2·2^r`
    /// diagonals, the last one `2^r`, and a value behind it is a sum of `2^r` values. The other
    /// factors amplify both alike. (Errors of the first factors stay near the slots that they come
    /// from; those of the last one reach all.)
    ///
    /// # Errors
    /// [`SpecError`] if the spec contradicts itself or does not fit the chain.
    pub fn spill(&self, chain: &Chain, input_scale: f64) -> Result<f64, SpecError> {
        self.check()?;
        if self.limbs_in() > chain.q.len() {
            return Err(SpecError(format!("{} limbs of a chain of {}", self.limbs_in(), chain.q.len())));
        }
        let scales = slots_to_coeffs_scales(chain, self, input_scale);
        let factors = self.slots_to_coeffs_plans().into_iter().zip(scales);
        // Complex values of magnitude √2, and half of the error in each part.
        let variance = factors.map(|(f, scale)| {
            let diagonals = if f.stages.end == f.log_slots { 1.0 } else { 2.0 };
            diagonals * f.period() as f64 / 6.0 / (scale * scale)
        });
        Ok(variance.sum::<f64>().sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spill_grows_with_the_operands_scale() {
        let spec = BootstrapSpec::relu_15();
        let q: Vec<u64> = std::iter::once((1 << 30) - 1).chain((0..16).map(|i| (1 << 36) - 1 - 2 * i)).collect();
        let chain = Chain { log_n: 15, q, p: vec![(1 << 37) - 1; 7] };
        let at = |bits: i32| spec.spill(&chain, 2f64.powi(bits)).unwrap();
        assert!((at(54).log2() + 17.9).abs() < 0.3, "2^{}", at(54).log2());
        assert!(at(58) > 3.0 * at(54), "the first factor takes what is left");
        assert!(spec.spill(&Chain { q: vec![3], ..chain.clone() }, 1.0).is_err());
    }
}
