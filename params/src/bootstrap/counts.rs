//! Counted work of a refresh, for cost models.

use super::factor::FactorPlan;
use super::spec::{BootstrapSpec, DENSE_TO_SPARSE};
use crate::polynomial::{Basis, COMPOSITE_DEGREE, Parity, Plan, reduction_counts};
use crate::work::Counts;

/// A factor of a slot transform (double hoisting: Bossuat, Mouchet, Troncoso-Pastoriza and Hubaux,
/// EUROCRYPT 2021, section 4): the first ModUp serves all baby steps, each giant step has a ModDown
/// of one polynomial and a ModUp, and one ModDown ends it all.
fn factor(plan: &FactorPlan) -> Counts {
    let (limbs, gadget, rows) = (plan.limbs, plan.gadget, plan.limbs + plan.gadget.alpha);
    let (babies, giants) = (plan.babies.len(), plan.giants.len());
    let (up, rotation) = (Counts::mod_up(limbs, gadget), Counts::inner_product(limbs, gadget) + Counts::macs(limbs));
    let keyed = plan.babies.iter().filter(|b| **b != 0).count();
    let sums = Counts::macs(2 * babies * giants * rows) + Counts::passes(2 * giants * rows);
    let giant = Counts::mod_down(gadget.alpha, limbs) + up + rotation;
    let down = Counts::mod_down(gadget.alpha + 1, limbs - 1) * 2.0;
    up + rotation * keyed as f64 + sums + giant * (giants - 1) as f64 + down
}

/// The raise with its factor of CoeffsToSlots: both polynomials are lifted from one limb, and each
/// rotation is a key switch of one digit.
fn raise(plan: &FactorPlan) -> Counts {
    let (limbs, specials, babies) = (plan.limbs, plan.gadget.alpha, plan.babies.len());
    let rows = limbs + specials;
    let lift = Counts { ntt: rows as f64, convert: (rows - 1) as f64, ..Counts::default() };
    let rotation = Counts { keys: 2.0 * rows as f64, mac: rows as f64, ..Counts::default() };
    let sums = Counts::macs(2 * babies * rows) + Counts::passes(2 * rows);
    let down = Counts::mod_down(specials, limbs) * 2.0;
    Counts::key_switch(1, DENSE_TO_SPARSE) + lift * 2.0 + rotation * babies as f64 + sums + down
}

/// Work of the stages of a refresh.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageCounts {
    /// SlotsToCoeffs.
    pub slots_to_coeffs: Counts,
    /// The raise with the first factor of CoeffsToSlots, and the others.
    pub coeffs_to_slots: Counts,
    /// Splitting into halves and the modular reduction of each.
    pub reduction: Counts,
    /// The polynomial on each half.
    pub activation: Counts,
}

impl StageCounts {
    /// All stages.
    pub fn total(&self) -> Counts {
        self.slots_to_coeffs + self.coeffs_to_slots + self.reduction + self.activation
    }
}

impl BootstrapSpec {
    /// Work for one ciphertext, with a polynomial (or none) behind the sine, of a spec that has
    /// been checked and has the limbs for the polynomial. It is cheap: no polynomial is
    /// interpolated.
    pub fn counts(&self, activation: Option<&Plan>) -> StageCounts {
        let halves = if self.real_only { 1.0 } else { 2.0 };
        let (limbs, gadget) = (self.limbs_reduction(), self.reduction_gadget());
        let cosine = if self.degree == COMPOSITE_DEGREE { None } else { Plan::new(self.degree, Parity::Even, Basis::Chebyshev).ok() };
        let reduction = reduction_counts(cosine.as_ref(), self.doublings, limbs, gadget);
        let high = self.coeffs_to_slots_plans();
        let first = high.first().map_or(Counts::default(), raise);
        StageCounts {
            slots_to_coeffs: self.slots_to_coeffs_plans().iter().map(factor).sum(),
            coeffs_to_slots: first + high.iter().skip(1).map(factor).sum(),
            reduction: Counts::key_switch(limbs, gadget) + reduction * halves,
            activation: activation.map_or(Counts::default(), |plan| plan.counts(self.limbs_activation(), gadget)) * halves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_the_relu_set() {
        let spec = BootstrapSpec::relu_15();
        let plan = Plan::new(7, Parity::Full, Basis::Chebyshev).expect("plan");
        let counts = spec.counts(Some(&plan));
        // The raise: a switch at one limb, two lifts, two divisions; then 9 (L + 7) transforms at
        // 17, 16 and 15 limbs.
        assert_eq!(counts.coeffs_to_slots.ntt, f64::from(6 + 2 * 19 + 2 * 19 + 9 * (24 + 23 + 22)));
        assert_eq!(spec.counts(None).activation, Counts::default());
        let total = counts.total();
        assert!((2350.0..2500.0).contains(&total.ntt), "{total:?}");
        let real = BootstrapSpec { real_only: true, ..spec }.counts(Some(&plan)).total();
        assert!(real.ntt * 4.0 < total.ntt * 3.0);
    }

    #[test]
    fn the_reduction_is_counted_as_it_is_evaluated() {
        for degree in [14, 16, 20] {
            let spec = BootstrapSpec { degree, ..BootstrapSpec::relu_15() };
            let (limbs, gadget) = (spec.limbs_reduction(), spec.reduction_gadget());
            let evaluated = spec.reduction().expect("a reduction").counts(limbs, gadget);
            assert_eq!(spec.counts(None).reduction, evaluated * 2.0 + Counts::key_switch(limbs, gadget), "degree {degree}");
        }
    }
}
