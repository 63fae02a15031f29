//! Decomposition of a group of polynomials whose digits are extended a few rows at a time: what is
//! in work stays in the caches.

use super::part::Part;
use crate::ring::{Gadget, Ring, RnsPoly};
use crate::simd::{Isa, LimbWords};
use chiffre_params::work::EXTENDED_ROWS;
use rayon::prelude::*;
use std::ops::Range;

/// The tables for polynomials with `limbs` limbs.
pub(crate) struct Decomposition<'a> {
    ring: &'a Ring,
    isa: Isa,
    gadget: Gadget,
    limbs: usize,
    parts: Vec<Part>,
}

/// The digits of some polynomials in coefficient order, `[polynomial][digit]`: what conversions
/// read.
pub(crate) type Digits = Vec<Vec<Vec<LimbWords>>>;

/// Some rows of all digits.
pub(crate) struct Extended<'a> {
    part: &'a Part,
    /// `[polynomial][digit][target]`.
    rows: Digits,
}

impl<'a> Decomposition<'a> {
    pub fn new(ring: &'a Ring, isa: Isa, gadget: Gadget, limbs: usize) -> Self {
        let all = limbs + gadget.alpha;
        let size = all.div_ceil(all.div_ceil(EXTENDED_ROWS));
        let part = |start: usize| Part::new(ring, gadget, limbs, start..(start + size).min(all));
        Self { ring, isa, gadget, limbs, parts: (0..all).step_by(size).map(part).collect() }
    }

    /// Number of digits.
    pub fn count(&self) -> usize {
        self.gadget.digits_at(self.limbs)
    }

    /// The digits of polynomials in NTT order.
    pub fn digits(&self, polys: &[&RnsPoly]) -> Digits {
        let count = self.count();
        let narrow = polys.len() * count < rayon::current_num_threads();
        let digit = |i: usize| {
            let rows: Vec<&[u64]> = self.gadget.digit(i % count, self.limbs).map(|row| polys[i / count].row(row)).collect();
            self.parts[0].up[i % count].prepare(self.ring, self.isa, &rows, narrow)
        };
        let flat: Vec<Vec<LimbWords>> = (0..polys.len() * count).into_par_iter().with_max_len(1).map(digit).collect();
        let mut flat = flat.into_iter();
        polys.iter().map(|_| flat.by_ref().take(count).collect()).collect()
    }

    /// Calls `run` with some rows of all digits at a time, until all rows of the extended basis
    /// were among them.
    pub fn for_each(&self, digits: &Digits, mut run: impl FnMut(Range<usize>, &Extended<'_>)) {
        for part in &self.parts {
            let all: Vec<(usize, &Vec<LimbWords>)> = digits.iter().flat_map(|d| d.iter().enumerate()).collect();
            let flat: Vec<Vec<LimbWords>> =
                all.into_par_iter().with_max_len(1).map(|(d, y)| part.extend(self.ring, self.isa, d, y)).collect();
            let mut flat = flat.into_iter();
            let rows = digits.iter().map(|d| flat.by_ref().take(d.len()).collect()).collect();
            run(part.rows.clone(), &Extended { part, rows });
        }
    }
}

impl Extended<'_> {
    /// Row `row` of all digits of polynomial `i`, which is `poly`.
    pub fn row<'b>(&'b self, i: usize, poly: &'b RnsPoly, row: usize) -> Vec<&'b [u64]> {
        let digits = self.part.targets.iter().zip(&self.rows[i]);
        let find = |(targets, rows): (&Vec<usize>, &'b Vec<LimbWords>)| match targets.iter().position(|&t| t == row) {
            Some(at) => &*rows[at],
            None => poly.row(row),
        };
        digits.map(find).collect()
    }
}
