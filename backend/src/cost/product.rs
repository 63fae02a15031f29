//! Products with relinearisation.

use super::Counts;
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
    /// Counts for one unit in a ring of degree n.
    pub fn counts(&self, n: f64) -> Counts {
        let (l, a) = (self.limbs as f64, self.alpha as f64);
        let (ext, digits) = (l + a, (l / a).ceil());
        let switch = Counts {
            ntt: digits * ext + 2.0 * ext,
            convert: (l * (ext - l / digits) + 2.0 * a * l) * n,
            words: 2.0 * digits * ext * n,
            passes: 2.0 * l * n,
            ..Counts::default()
        };
        let tensor = Counts { passes: if self.complex { 9.0 } else { 5.0 } * l * n, ..Counts::default() };
        (if self.complex { switch * 2.0 } else { switch } + tensor) * self.cts as f64
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
