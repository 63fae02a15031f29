//! RNS base conversion with its two uses in key switching: ModUp and ModDown (merged with rescale).
//!
//! Conversion is centred: with `y_j = x (M/m_j)^-1 mod m_j`, the value is `sum_j y_j M/m_j - v M` for
//! `v = round(sum_j y_j / m_j)`, the representative of least magnitude (Halevi, Polyakov, Shoup 2019, section 2.2, with
//! rounding in double precision; a value within 2^-45 M of a tie may come out on its other side).

use super::{Gadget, Modulus, Ring, RnsPoly};
use crate::simd::{Isa, TargetGroup, convert_group, overflow};
use rayon::prelude::*;

/// Factor that residues carry besides their value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// Plain residues.
    Nothing,
    /// Residues times `R^2`, as key inner products leave them.
    MontgomerySquare,
}

impl Carried {
    fn factor(self, m: &Modulus) -> u64 {
        match self {
            Self::Nothing => 1,
            Self::MontgomerySquare => m.r2,
        }
    }
}

/// Conversion from the residues modulo some primes to the residues modulo others, NTT order on both sides.
#[derive(Clone, Debug)]
pub struct BaseConversion {
    source: Vec<usize>,
    target: Vec<usize>,
    /// `(M/m_j)^-1 / N` and the inverse of the carried factor, so that an unnormalised inverse transform suffices.
    hat_inverse: Vec<u64>,
    inverse: Vec<f64>,
    groups: Vec<TargetGroup>,
}

impl BaseConversion {
    /// Tables from moduli `source` to moduli `target` (indices into the ring's moduli, disjoint).
    pub fn new(ring: &Ring, source: &[usize], target: &[usize], carried: Carried) -> Self {
        let product = |skip: Option<usize>, m: &Modulus| {
            let others = source.iter().filter(|&&j| Some(j) != skip);
            others.fold(1, |p, &j| m.mul(p, m.reduce(ring.moduli[j].q)))
        };
        let hat_inverse = source
            .iter()
            .map(|&j| {
                let m = &ring.moduli[j];
                let hat = m.mul(product(Some(j), m), ring.n as u64 % m.q);
                m.inv(m.mul(hat, carried.factor(m)))
            })
            .collect();
        let inverse = source.iter().map(|&j| 1.0 / ring.moduli[j].q as f64).collect();
        let group_count = target.len().div_ceil(TargetGroup::MAX).max(1);
        let group_size = target.len().div_ceil(group_count).max(1);
        let groups = target
            .chunks(group_size)
            .map(|targets| {
                let moduli: Vec<Modulus> = targets.iter().map(|&t| ring.moduli[t]).collect();
                TargetGroup::new(&moduli, source.len() + 1, |s, t| {
                    let m = &moduli[t];
                    let c = match source.get(s) {
                        Some(&j) => product(Some(j), m),
                        None => m.neg(product(None, m)),
                    };
                    m.mul(c, carried.factor(m))
                })
            })
            .collect();
        Self { source: source.to_vec(), target: target.to_vec(), hat_inverse, inverse, groups }
    }

    /// Converts `rows` (one for each source) into `out` (one for each target). With `parallel` the work is split over
    /// threads, for callers that have few conversions to do.
    pub fn run(&self, ring: &Ring, isa: Isa, rows: &[&[u64]], out: &mut [&mut [u64]], parallel: bool) {
        self.run_with(ring, isa, rows, out, parallel, |t, row| ring.ntt[self.target[t]].forward(row));
    }

    /// As [`Self::run`] with `finish` in place of the forward transform of target row `t`.
    fn run_with(
        &self,
        ring: &Ring,
        isa: Isa,
        rows: &[&[u64]],
        out: &mut [&mut [u64]],
        parallel: bool,
        finish: impl Fn(usize, &mut [u64]) + Sync,
    ) {
        assert!(rows.len() == self.source.len() && out.len() == self.target.len());
        let sources = rows.len();
        let mut scratch = RnsPoly::new_unspecified(ring.n, sources + 1);
        let prepare = |(k, y): (usize, &mut [u64])| {
            if k < sources {
                ring.ntt[self.source[k]].inverse_lazy_scaled_into(rows[k], y, self.hat_inverse[k]);
            }
        };
        if parallel {
            scratch.par_iter_mut().enumerate().for_each(prepare);
        } else {
            scratch.iter_mut().enumerate().for_each(prepare);
        }
        let mut y: Vec<&mut [u64]> = scratch.iter_mut().collect();
        let (last, y) = y.split_last_mut().expect("one row more than sources");
        let mut y: Vec<&[u64]> = y.iter().map(|y| &**y).collect();
        overflow(isa, &y, &self.inverse, last);
        y.push(last);
        let size = self.groups.first().map_or(1, TargetGroup::len);
        let convert = |(g, (group, out)): (usize, (&TargetGroup, &mut [&mut [u64]]))| {
            convert_group(isa, group, &y, out);
            for (t, row) in (g * size..).zip(out) {
                finish(t, row);
            }
        };
        if parallel {
            self.groups.par_iter().zip(out.par_chunks_mut(size)).enumerate().for_each(convert);
        } else {
            self.groups.iter().zip(out.chunks_mut(size)).enumerate().for_each(convert);
        }
    }
}

/// Extension of the digits of a polynomial with `limbs` Q limbs to the basis of those limbs and `alpha` special primes.
#[derive(Clone, Debug)]
pub struct ModUp {
    gadget: Gadget,
    limbs: usize,
    conversions: Vec<BaseConversion>,
}

impl ModUp {
    /// Tables for polynomials with `limbs <= gadget.limbs` Q limbs.
    pub fn new(ring: &Ring, gadget: Gadget, limbs: usize) -> Self {
        let conversions = (0..gadget.digits_at(limbs))
            .map(|d| {
                let digit = gadget.digit(d, limbs);
                let rows = (0..limbs + gadget.alpha).filter(|row| !digit.contains(row));
                let target: Vec<usize> = rows.map(|row| ring.modulus_index(row, limbs)).collect();
                let source: Vec<usize> = digit.clone().collect();
                BaseConversion::new(ring, &source, &target, Carried::Nothing)
            })
            .collect();
        Self { gadget, limbs, conversions }
    }

    /// Number of digits.
    pub fn digits(&self) -> usize {
        self.conversions.len()
    }

    /// Digit `d` of `poly` (NTT order): the rows outside the digit itself, in order.
    pub fn digit(&self, ring: &Ring, isa: Isa, poly: &RnsPoly, d: usize, parallel: bool) -> RnsPoly {
        let conversion = &self.conversions[d];
        let rows: Vec<&[u64]> = conversion.source.iter().map(|&j| poly.row(j)).collect();
        let mut out = RnsPoly::new_unspecified(ring.n, conversion.target.len());
        let mut targets: Vec<&mut [u64]> = out.iter_mut().collect();
        conversion.run(ring, isa, &rows, &mut targets, parallel);
        drop(targets);
        out
    }

    /// Row `row` of digit `d`: from `extended` (see [`Self::digit`]) or, inside the digit, from the polynomial.
    pub fn row<'a>(&self, poly: &'a RnsPoly, extended: &'a RnsPoly, d: usize, row: usize) -> &'a [u64] {
        let digit = self.gadget.digit(d, self.limbs);
        if digit.contains(&row) {
            poly.row(row)
        } else if row < digit.start {
            extended.row(row)
        } else {
            extended.row(row - digit.len())
        }
    }
}

/// Division by the special modulus and by the topmost Q primes with rounding: `limbs` Q rows and `alpha` P rows become
/// `keep` Q rows. Rescale is the case `alpha = 0`.
#[derive(Clone, Debug)]
pub struct ModDown {
    keep: usize,
    conversion: BaseConversion,
    /// Inverse of the divisor and of the carried factor at each kept prime.
    inverse: Vec<u64>,
}

impl ModDown {
    /// Tables; `1 <= keep <= limbs`.
    pub fn new(ring: &Ring, limbs: usize, alpha: usize, keep: usize, carried: Carried) -> Self {
        assert!((1..=limbs).contains(&keep));
        let source: Vec<usize> = (keep..limbs + alpha).map(|row| ring.modulus_index(row, limbs)).collect();
        let target: Vec<usize> = (0..keep).collect();
        let inverse = ring.moduli[..keep]
            .iter()
            .map(|m| {
                let divisor = source.iter().fold(1, |p, &j| m.mul(p, m.reduce(ring.moduli[j].q)));
                m.inv(m.mul(divisor, carried.factor(m)))
            })
            .collect();
        Self { keep, conversion: BaseConversion::new(ring, &source, &target, carried), inverse }
    }

    /// `round(poly / divisor) + addend` in NTT order.
    pub fn run(&self, ring: &Ring, isa: Isa, poly: &RnsPoly, addend: Option<&RnsPoly>, parallel: bool) -> RnsPoly {
        assert_eq!(poly.rows(), self.keep + self.conversion.source.len());
        let mut out = RnsPoly::new_unspecified(ring.n, self.keep);
        let rows: Vec<&[u64]> = (self.keep..poly.rows()).map(|row| poly.row(row)).collect();
        let mut targets: Vec<&mut [u64]> = out.iter_mut().collect();
        self.conversion.run_with(ring, isa, &rows, &mut targets, parallel, |t, d| {
            ring.ntt[t].forward_mod_down(d, poly.row(t), self.inverse[t], addend.map(|a| a.row(t)));
        });
        drop(targets);
        out
    }
}
