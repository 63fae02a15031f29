//! Counted work of a refresh, for cost models.

use super::factor::FactorPlan;
use super::spec::{BootstrapSpec, DENSE_TO_SPARSE, SpecError};
use crate::gadget::Gadget;
use crate::polynomial::{Cost, Plan};
use std::ops::{Add, Mul};

/// Work for one ciphertext. The unit of all numbers is one limb: N words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transforms.
    pub transforms: usize,
    /// Multiply-accumulates of a limb with a limb of a key, of a diagonal or of a ciphertext.
    pub macs: usize,
    /// Multiply-accumulates of base conversions.
    pub conversions: usize,
    /// Limbs of keys and diagonals that are read from memory, once for a whole group of
    /// ciphertexts.
    pub shared: usize,
}

impl Add for Counts {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            transforms: self.transforms + other.transforms,
            macs: self.macs + other.macs,
            conversions: self.conversions + other.conversions,
            shared: self.shared + other.shared,
        }
    }
}

impl Mul<usize> for Counts {
    type Output = Self;
    fn mul(self, n: usize) -> Self {
        Self { transforms: n * self.transforms, macs: n * self.macs, conversions: n * self.conversions, shared: n * self.shared }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

impl Counts {
    /// Decomposition of one polynomial.
    fn mod_up(limbs: usize, gadget: Gadget) -> Self {
        let (digits, extended) = (gadget.digits_at(limbs), limbs + gadget.alpha);
        let conversion = |d: usize| (gadget.digit(d, limbs).len() + 1) * (extended - gadget.digit(d, limbs).len());
        Self { transforms: digits * extended, conversions: (0..digits).map(conversion).sum(), ..Self::default() }
    }

    /// Division of one polynomial by `removed` primes.
    fn mod_down(removed: usize, kept: usize) -> Self {
        Self { transforms: removed + kept, conversions: (removed + 1) * kept, ..Self::default() }
    }

    /// A key switch without a rescale.
    pub fn switch(limbs: usize, gadget: Gadget) -> Self {
        let products = 2 * gadget.digits_at(limbs) * (limbs + gadget.alpha);
        Self::mod_up(limbs, gadget) + Self::mod_down(gadget.alpha, limbs) * 2 + Self { macs: products, shared: products, ..Self::default() }
    }

    /// A factor of a slot transform.
    pub fn factor(plan: &FactorPlan) -> Self {
        let (limbs, gadget, rows) = (plan.limbs, plan.gadget, plan.limbs + plan.gadget.alpha);
        let (babies, giants) = (plan.babies.len(), plan.giants.len());
        let key = 2 * gadget.digits_at(limbs) * rows;
        let rotation = Self { macs: key + limbs, shared: key, ..Self::default() };
        let diagonals =
            Self { macs: 2 * babies * giants * rows, shared: plan.diagonal_bytes(rows) >> (plan.log_slots + 4), ..Self::default() };
        let keyed = plan.babies.iter().filter(|b| **b != 0).count();
        let giant = Self::mod_down(gadget.alpha, limbs) + Self::mod_up(limbs, gadget) + rotation;
        Self::mod_up(limbs, gadget) + rotation * keyed + diagonals + giant * (giants - 1) + Self::mod_down(gadget.alpha + 1, limbs - 1) * 2
    }

    /// The raise with its factor of CoeffsToSlots.
    pub fn raise(plan: &FactorPlan) -> Self {
        let (limbs, specials, babies) = (plan.limbs, plan.gadget.alpha, plan.babies.len());
        let rows = limbs + specials;
        let lift = Self { transforms: rows, conversions: 2 * (rows - 1), ..Self::default() };
        let rotation = Self { macs: 3 * rows, shared: 2 * rows, ..Self::default() };
        let diagonals = Self { macs: 2 * babies * rows, shared: plan.diagonal_bytes(rows) >> (plan.log_slots + 4), ..Self::default() };
        Self::switch(1, DENSE_TO_SPARSE) + lift * 2 + rotation * babies + diagonals + Self::mod_down(specials, limbs) * 2
    }
}

impl From<Cost> for Counts {
    /// [`Cost`] counts base conversions among the multiply-accumulates.
    fn from(cost: Cost) -> Self {
        Self { transforms: cost.transforms, macs: cost.macs, ..Self::default() }
    }
}

/// Work of the stages of a refresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Work for one ciphertext, with a polynomial (or none) behind the sine.
    ///
    /// # Errors
    /// [`SpecError`] if the spec contradicts itself or has too few limbs for the polynomial.
    pub fn counts(&self, activation: Option<&Plan>) -> Result<StageCounts, SpecError> {
        self.check()?;
        let halves = if self.real_only { 1 } else { 2 };
        let (limbs, gadget) = (self.limbs_reduction(), self.reduction_gadget());
        let reduction = self.reduction()?.cost(limbs, gadget);
        let high = self.coeffs_to_slots_plans();
        let activation = match activation {
            Some(plan) if plan.depth() >= self.limbs_activation() => {
                return Err(SpecError(format!("{} limbs for a polynomial of depth {}", self.limbs_activation(), plan.depth())));
            }
            Some(plan) => Counts::from(plan.cost(self.limbs_activation(), gadget)) * halves,
            None => Counts::default(),
        };
        Ok(StageCounts {
            slots_to_coeffs: self.slots_to_coeffs_plans().iter().map(Counts::factor).sum(),
            coeffs_to_slots: Counts::raise(&high[0]) + high[1..].iter().map(Counts::factor).sum(),
            reduction: Counts::switch(limbs, gadget) + Counts::from(reduction) * halves,
            activation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::polynomial::{Basis, Parity};

    #[test]
    fn counts_of_the_relu_set() {
        let spec = BootstrapSpec::relu_15();
        let plan = Plan::new(7, Parity::Full, Basis::Chebyshev).expect("plan");
        let counts = spec.counts(Some(&plan)).expect("counts");
        // The raise: a switch at one limb, two lifts, two divisions; then 9 (L + 7) transforms at
        // 17, 16 and 15 limbs.
        assert_eq!(counts.coeffs_to_slots.transforms, 6 + 2 * 19 + 2 * 19 + 9 * (24 + 23 + 22));
        assert_eq!(spec.counts(None).expect("counts").activation, Counts::default());
        let total = counts.total();
        assert!((2500..2700).contains(&total.transforms), "{total:?}");
        let real = BootstrapSpec { real_only: true, ..spec }.counts(Some(&plan)).expect("counts").total();
        assert!(real.transforms * 4 < total.transforms * 3);
    }
}
