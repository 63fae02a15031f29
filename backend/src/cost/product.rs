//! Products with relinearisation.

use super::Counts;
use chiffre_params::Gadget;
use chiffre_params::work::product_group;

/// Products of the ciphertexts of one unit, with relinearisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProductShape {
    /// Ciphertexts.
    pub cts: usize,
    /// Limbs.
    pub limbs: usize,
    /// Special primes.
    pub alpha: usize,
    /// Complex-packed: a second key switch.
    pub complex: bool,
}

impl ProductShape {
    /// Counts for one unit.
    pub fn counts(&self) -> Counts {
        let gadget = Gadget { limbs: self.limbs, alpha: self.alpha };
        let one = Counts::product(self.limbs, gadget, 0, 1, 0);
        // The parts of complex-packed values are told apart by conjugates, which takes four passes.
        let apart = Counts::key_switch(self.limbs, gadget) + Counts::passes(4 * self.limbs);
        (if self.complex { one + apart } else { one }) * self.cts as f64
    }
    /// Bytes beyond its operands that `units` units need, when `freed` bytes of operands end with
    /// the op.
    pub fn extra(&self, n: usize, units: usize, freed: usize) -> usize {
        let (l, ext) = (self.limbs, self.limbs + self.alpha);
        let digits = (l.div_ceil(self.alpha) * ext).saturating_sub(l);
        let results = 16 * n * l * self.cts * units;
        8 * n * product_group(1).min(self.cts) * (digits.max(2 * ext) + 5 * l) + results.saturating_sub(freed)
    }
}
