//! RNS base conversion with its two uses in key switching: ModUp and ModDown (merged with rescale).
//!
//! Conversion is centred: with `y_j = x (M/m_j)^-1 mod m_j`, the value is `sum_j y_j M/m_j - v M`
//! for `v = round(sum_j y_j / m_j)`, the representative of least magnitude (Halevi, Polyakov, Shoup
//! 2019, section 2.2, with rounding in double precision; a value within 2^-45 M of a tie may come
//! out on its other side).

use super::{Gadget, Modulus, Ring, RnsPoly};
use crate::simd::{Isa, LimbWords, TargetGroup, convert_group, overflow};
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

/// Conversion from the residues modulo some primes to the residues modulo others, NTT order on both
/// sides.
#[derive(Clone, Debug)]
pub struct BaseConversion {
    source: Vec<usize>,
    target: Vec<usize>,
    /// `(M/m_j)^-1 / N` and the inverse of the carried factor, so that an unnormalised inverse
    /// transform suffices.
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

    /// Converts `rows` (one for each source) into `out` (one for each target). With `parallel` the
    /// work is split over threads, for callers that have few conversions to do.
    pub fn run(&self, ring: &Ring, isa: Isa, rows: &[&[u64]], out: &mut [&mut [u64]], parallel: bool) {
        assert_eq!(out.len(), self.target.len());
        let y = self.prepare(ring, isa, rows, parallel);
        let y: Vec<&[u64]> = y.iter().map(|y| &**y).collect();
        let convert = |(group, out): (usize, &mut [&mut [u64]])| {
            self.group(isa, group, &y, out);
            for (row, &t) in out.iter_mut().zip(&self.target[group * self.group_size()..]) {
                ring.ntt[t].forward(row);
            }
        };
        if parallel {
            out.par_chunks_mut(self.group_size()).enumerate().for_each(convert);
        } else {
            out.chunks_mut(self.group_size()).enumerate().for_each(convert);
        }
    }

    /// What [`Self::group`] reads: the `y_j` in coefficient order and, last, the `v`.
    pub(crate) fn prepare(&self, ring: &Ring, isa: Isa, rows: &[&[u64]], parallel: bool) -> Vec<LimbWords> {
        assert_eq!(rows.len(), self.source.len());
        let scaled = |(k, row): (usize, &&[u64])| {
            let mut y = LimbWords::unspecified(ring.n);
            ring.ntt[self.source[k]].inverse_lazy_scaled_into(row, &mut y, self.hat_inverse[k]);
            y
        };
        let mut out: Vec<LimbWords> =
            if parallel { rows.par_iter().enumerate().map(scaled).collect() } else { rows.iter().enumerate().map(scaled).collect() };
        let mut v = LimbWords::unspecified(ring.n);
        let y: Vec<&[u64]> = out.iter().map(|y| &**y).collect();
        overflow(isa, &y, &self.inverse, &mut v);
        out.push(v);
        out
    }

    /// Targets that are converted together.
    fn group_size(&self) -> usize {
        self.groups.first().map_or(1, TargetGroup::len)
    }

    /// Fills `out` with the targets of one group, in coefficient order. Up to [`TargetGroup::MAX`]
    /// targets are one group.
    pub(crate) fn group(&self, isa: Isa, group: usize, y: &[&[u64]], out: &mut [&mut [u64]]) {
        convert_group(isa, &self.groups[group], y, out);
    }
}

/// Extension of the digits of a polynomial with `limbs` Q limbs to the basis of those limbs and
/// `alpha` special primes.
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

    /// Row `row` of digit `d`: from `extended` (see [`Self::digit`]) or, inside the digit, from the
    /// polynomial.
    pub fn row<'a>(&self, poly: &'a RnsPoly, extended: &'a RnsPoly, d: usize, row: usize) -> &'a [u64] {
        match self.extended_row(d, row) {
            Some(row) => extended.row(row),
            None => poly.row(row),
        }
    }

    /// Frees row `row` of digit `d` in `extended`, if it is there.
    pub fn free_row(&self, extended: &mut RnsPoly, d: usize, row: usize) {
        if let Some(row) = self.extended_row(d, row) {
            extended.free_row(row);
        }
    }

    /// Where [`Self::digit`] puts a row; `None` inside the digit.
    fn extended_row(&self, d: usize, row: usize) -> Option<usize> {
        let digit = self.gadget.digit(d, self.limbs);
        if row < digit.start {
            Some(row)
        } else if row < digit.end {
            None
        } else {
            Some(row - digit.len())
        }
    }
}

/// Division by the special modulus and by the topmost Q primes with rounding: `limbs` Q rows and
/// `alpha` P rows become `keep` Q rows. Rescale is the case `alpha = 0`.
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
        let inverse = ring.moduli[..keep].iter().map(|m| Self::inverse(ring, &source, m, carried)).collect();
        Self { keep, conversion: BaseConversion::new(ring, &source, &target, carried), inverse }
    }

    /// The inverse modulo `m` of the product of the moduli `source` and of the carried factor.
    pub(crate) fn inverse(ring: &Ring, source: &[usize], m: &Modulus, carried: Carried) -> u64 {
        let divisor = source.iter().fold(1, |p, &j| m.mul(p, m.reduce(ring.moduli[j].q)));
        m.inv(m.mul(divisor, carried.factor(m)))
    }

    /// `round(poly / divisor) + addend` in NTT order, in place of the rows of `poly` that are kept;
    /// the others are freed.
    pub fn run(&self, ring: &Ring, isa: Isa, mut poly: RnsPoly, addend: Option<&RnsPoly>, parallel: bool) -> RnsPoly {
        let conversion = &self.conversion;
        let y = {
            let removed = poly.split_off(self.keep);
            let removed: Vec<&[u64]> = removed.iter().map(|r| &**r).collect();
            conversion.prepare(ring, isa, &removed, parallel)
        };
        let y: Vec<&[u64]> = y.iter().map(|y| &**y).collect();
        let size = conversion.group_size();
        let divide = |(group, kept): (usize, &mut [LimbWords])| {
            let mut quotients: Vec<LimbWords> = kept.iter().map(|_| LimbWords::unspecified(ring.n)).collect();
            conversion.group(isa, group, &y, &mut quotients.iter_mut().map(|r| &mut **r).collect::<Vec<_>>());
            for (t, (a, mut d)) in (group * size..).zip(kept.iter_mut().zip(quotients)) {
                ring.ntt[t].forward_mod_down(&mut d, a, self.inverse[t], addend.map(|e| e.row(t)));
                *a = d;
            }
        };
        if parallel {
            poly.rows_mut().par_chunks_mut(size).enumerate().for_each(divide);
        } else {
            poly.rows_mut().chunks_mut(size).enumerate().for_each(divide);
        }
        poly
    }
}
