//! Counts of Chebyshev series and of bootstraps.

use super::Counts;
use chiffre_params::bootstrap::{BootstrapSpec, FactorSpec};
use chiffre_params::polynomial::coefficients_depth;
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
    /// The bootstrap.
    pub bootstrap: Option<Box<BootstrapSpec>>,
}

/// One key switch at `l` limbs with `a` special primes: a ModUp, an inner product, a ModDown of two
/// polynomials.
fn key_switch(l: f64, a: f64, n: f64) -> Counts {
    mod_up(l, a, n) + inner_product(l, a, n) + mod_down(l, a, n) * 2.0
}

fn mod_up(l: f64, a: f64, n: f64) -> Counts {
    let digits = (l / a).ceil();
    Counts { ntt: digits * (l + a), convert: l * (l + a - l / digits) * n, passes: l * n, ..Counts::default() }
}

fn inner_product(l: f64, a: f64, n: f64) -> Counts {
    Counts { words: 2.0 * (l / a).ceil() * (l + a) * n, ..Counts::default() }
}

fn mod_down(l: f64, a: f64, n: f64) -> Counts {
    Counts { ntt: l + a, convert: a * l * n, passes: l * n, ..Counts::default() }
}

/// A product with its relinearisation.
fn product(l: f64, a: f64, n: f64) -> Counts {
    key_switch(l, a, n) + Counts { passes: 5.0 * l * n, ..Counts::default() }
}

/// Relinearisations of a series with so many coefficients (Paterson–Stockmeyer): `2·√(d+1) − 1`.
pub fn relinearisations(coefficients: usize) -> f64 {
    (2.0 * (coefficients as f64).sqrt()).ceil() - 1.0
}

/// Baby and giant steps of a factor of radix 2^k, with up to `2^(k+1)` diagonals, of which so many
/// rotations are hoisted.
pub fn baby_giant(FactorSpec { log_radix: k, babies }: FactorSpec) -> (usize, usize) {
    let baby = babies.clamp(1, 2 << k);
    (baby, (2 << k) / baby)
}

/// A double-hoisted linear transform (Bossuat et al. 2021, §4): the first ModUp serves all baby
/// steps, each giant step has a ModDown of one polynomial and a ModUp, and one ModDown ends it all.
fn transform(factor: FactorSpec, l: f64, a: f64, n: f64) -> Counts {
    let (k, (baby, giant)) = (factor.log_radix, baby_giant(factor));
    let (b, g) = (baby as f64 - 1.0, giant as f64 - 1.0);
    let diagonals = f64::from((2u32 << k) - 1);
    let step = mod_down(l, a, n) + mod_up(l, a, n) + inner_product(l, a, n);
    let macs = Counts { mac: diagonals * 2.0 * (l + a) * n, ..Counts::default() };
    mod_up(l, a, n) + inner_product(l, a, n) * b + step * g + mod_down(l, a, n) * 2.0 + macs
}

impl SeriesShape {
    /// Counts for one unit in a ring of degree n.
    pub fn counts(&self, n: f64) -> Counts {
        let halves = if self.complex { 2.0 } else { 1.0 };
        let (a, depth) = (self.alpha as f64, coefficients_depth(self.coefficients) as f64);
        let middle = self.limbs as f64 - depth / 2.0;
        let mut one = product(middle, a, n) * relinearisations(self.coefficients) * halves;
        match &self.bootstrap {
            None if self.complex => one = one + key_switch(self.limbs as f64, a, n),
            None => {}
            Some(b) => one = one + self.refresh(b, halves, n),
        }
        one * self.cts as f64
    }
    fn refresh(&self, b: &BootstrapSpec, halves: f64, n: f64) -> Counts {
        let a = self.alpha as f64;
        let top = b.limbs.max(self.limbs + b.levels()) as f64;
        let low = b.low_alpha as f64;
        let s2c = (0u32..).zip(&b.slots_to_coeffs).map(|(i, &f)| transform(f, b.limbs_in() as f64 - f64::from(i), low, n)).sum::<Counts>();
        let c2s = (0u32..).zip(b.coeffs_to_slots.iter().skip(1)).map(|(i, &f)| transform(f, top - f64::from(i), a, n)).sum::<Counts>();
        let sine = top - b.coeffs_to_slots.len() as f64 + 1.0;
        let cosine = product(sine - 2.0, a, n) * relinearisations(b.degree / 2 + 2);
        let doublings = product(sine - b.reduction_depth() as f64 + b.doublings as f64 / 2.0, a, n) * b.doublings as f64;
        // The first factor's rotations go with the raise: one digit each, no decomposition.
        let first = b.coeffs_to_slots.first().map_or(0.0, |f| f64::from(1u32 << f.log_radix));
        let raise = Counts {
            ntt: 2.0 * (top + 2.0) + 2.0 * (top + 2.0) + 8.0,
            words: 2.0 * first * (top + 2.0) * n,
            mac: 2.0 * first * (top + 2.0) * n,
            passes: 4.0 * top * n,
            ..Counts::default()
        };
        let split = if self.complex { key_switch(sine, a, n) } else { Counts::default() };
        s2c + raise + c2s + split + (cosine + doublings) * halves
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
        let powers = if self.complex { 16 } else { 8 } * 2 * self.limbs;
        let baby = self.bootstrap.as_ref().map_or(0, |b| b.coeffs_to_slots.iter().skip(1).map(|&f| baby_giant(f).0).max().unwrap_or(0))
            * 2
            * (l + a);
        let results = 16 * n * result_limbs * self.cts * units;
        8 * n * SERIES_GROUP.min(self.cts) * powers.max(digits + baby) + results.saturating_sub(freed)
    }
}
