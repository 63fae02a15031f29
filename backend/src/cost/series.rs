//! Counts of Chebyshev series and of bootstraps.

use super::Counts;
use chiffre_params::Gadget;
use chiffre_params::bootstrap::BootstrapSpec;
use chiffre_params::polynomial::{Basis, MAX_DEGREE, Parity, Plan, coefficients_depth};
use chiffre_params::work::SERIES_GROUP;

/// A Chebyshev series of the ciphertexts of one unit, behind a bootstrap or without.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesShape {
    /// Ciphertexts.
    pub cts: usize,
    /// Limbs of the operand of the series.
    pub limbs: usize,
    /// Coefficients.
    pub coefficients: usize,
    /// Special primes.
    pub alpha: usize,
    /// Complex-packed: two series, and a conjugation that parts them.
    pub complex: bool,
    /// Coefficients differ from slot to slot.
    pub slotwise: bool,
    /// The bootstrap.
    pub bootstrap: Option<Box<BootstrapSpec>>,
}

impl SeriesShape {
    /// Relinearisations of one series.
    pub fn relinearisations(&self) -> usize {
        self.plan().relinearisations()
    }
    /// A constant is evaluated as a series of degree 1.
    fn plan(&self) -> Plan {
        let degree = self.coefficients.saturating_sub(1).clamp(1, MAX_DEGREE);
        Plan::new(degree, Parity::Full, Basis::Chebyshev).expect("a degree in range has a plan")
    }
    /// Counts for one unit.
    pub fn counts(&self) -> Counts {
        let plan = self.plan();
        let one = match &self.bootstrap {
            None => {
                let gadget = Gadget { limbs: self.limbs, alpha: self.alpha };
                let series = plan.counts(self.limbs, gadget);
                if self.complex { series * 2.0 + Counts::key_switch(self.limbs, gadget) } else { series }
            }
            // Results that need fewer limbs than the bootstrap leaves drop the others at the end.
            Some(b) => {
                let limbs = b.limbs.max(b.raised(self.limbs, 0));
                BootstrapSpec { limbs, real_only: !self.complex, ..(**b).clone() }.counts(Some(&plan)).total()
            }
        };
        let halves = if self.complex { 2 } else { 1 };
        let vectors = if self.slotwise { plan.vector_counts(self.limbs, halves) } else { Counts::default() };
        (one + vectors) * self.cts as f64
    }
    /// Bytes beyond its operands that `units` units need, when `freed` bytes of operands end with
    /// the op.
    pub fn extra(&self, n: usize, units: usize, freed: usize) -> usize {
        let result_limbs = self.limbs - coefficients_depth(self.coefficients);
        let top = self.bootstrap.as_ref().map_or(self.limbs, |b| self.limbs + b.levels());
        // A ciphertext in work: digits and sums of the first transform, later some eight powers of
        // both halves.
        let (l, a) = (top, self.alpha.max(1));
        let digits = l.div_ceil(a) * (l + a);
        let vectors = if self.slotwise { self.plan().vector_limbs(self.limbs) } else { 0 };
        let powers = if self.complex { 16 } else { 8 } * 2 * self.limbs + vectors;
        let factors = self.bootstrap.iter().flat_map(|b| b.coeffs_to_slots.iter().skip(1));
        let baby = factors.map(|f| f.babies.clamp(1, 2 << f.log_radix)).max().unwrap_or(0) * 2 * (l + a);
        let results = 16 * n * result_limbs * self.cts * units;
        8 * n * SERIES_GROUP.min(self.cts) * powers.max(digits + baby) + results.saturating_sub(freed)
    }
}
