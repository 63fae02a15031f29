//! Decomposition of a group of polynomials whose digits are extended a few rows at a time: what is in work stays in the
//! caches.

use crate::ring::{BaseConversion, Carried, Gadget, Ring, RnsPoly};
use crate::simd::{Isa, Row};
use rayon::prelude::*;
use std::ops::Range;

/// Most rows that are in work at a time; not more than one group of conversion targets.
const MOST_ROWS: usize = 6;

/// The tables for polynomials with `limbs` limbs.
pub(crate) struct Decomposition<'a> {
    ring: &'a Ring,
    isa: Isa,
    gadget: Gadget,
    limbs: usize,
    parts: Vec<Part>,
}

/// Rows of the extended basis that are in work together.
struct Part {
    rows: Range<usize>,
    /// For each digit the rows outside it.
    targets: Vec<Vec<usize>>,
    up: Vec<BaseConversion>,
}

/// The digits of some polynomials in coefficient order, `[polynomial][digit]`: what conversions read.
pub(crate) type Digits = Vec<Vec<Vec<Row>>>;

/// Some rows of all digits.
pub(crate) struct Extended<'a> {
    part: &'a Part,
    /// `[polynomial][digit][target]`.
    rows: Digits,
}

impl<'a> Decomposition<'a> {
    pub fn new(ring: &'a Ring, isa: Isa, gadget: Gadget, limbs: usize) -> Self {
        let (all, digits) = (limbs + gadget.alpha, gadget.digits_at(limbs));
        let size = all.div_ceil(all.div_ceil(MOST_ROWS));
        let part = |start: usize| {
            let rows = start..(start + size).min(all);
            let outside = |d: usize| rows.clone().filter(|row| !gadget.digit(d, limbs).contains(row)).collect();
            let targets: Vec<Vec<usize>> = (0..digits).map(outside).collect();
            let conversion = |(d, rows): (usize, &Vec<usize>)| {
                let source: Vec<usize> = gadget.digit(d, limbs).collect();
                let target: Vec<usize> = rows.iter().map(|&row| ring.modulus_index(row, limbs)).collect();
                BaseConversion::new(ring, &source, &target, Carried::Nothing)
            };
            let up = targets.iter().enumerate().map(conversion).collect();
            Part { rows, targets, up }
        };
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
        let flat: Vec<Vec<Row>> = (0..polys.len() * count).into_par_iter().with_max_len(1).map(digit).collect();
        let mut flat = flat.into_iter();
        polys.iter().map(|_| flat.by_ref().take(count).collect()).collect()
    }

    /// Calls `run` with some rows of all digits at a time, until all rows of the extended basis were among them.
    pub fn for_each(&self, digits: &Digits, mut run: impl FnMut(Range<usize>, &Extended<'_>)) {
        for part in &self.parts {
            let all: Vec<(usize, &Vec<Row>)> = digits.iter().flat_map(|d| d.iter().enumerate()).collect();
            let flat: Vec<Vec<Row>> = all.into_par_iter().with_max_len(1).map(|(d, y)| self.extend(part, d, y)).collect();
            let mut flat = flat.into_iter();
            let rows = digits.iter().map(|d| flat.by_ref().take(d.len()).collect()).collect();
            run(part.rows.clone(), &Extended { part, rows });
        }
    }

    /// One digit at the rows of a part that are outside it.
    fn extend(&self, part: &Part, digit: usize, y: &[Row]) -> Vec<Row> {
        let targets = &part.targets[digit];
        let mut out: Vec<Row> = targets.iter().map(|_| Row::unspecified(self.ring.n)).collect();
        if out.is_empty() {
            return out;
        }
        let y: Vec<&[u64]> = y.iter().map(|r| &**r).collect();
        part.up[digit].group(self.isa, 0, &y, &mut out.iter_mut().map(|r| &mut **r).collect::<Vec<_>>());
        out.par_iter_mut().zip(targets).with_max_len(1).for_each(|(out, &row)| {
            self.ring.ntt[self.ring.modulus_index(row, self.limbs)].forward(out);
        });
        out
    }
}

impl Extended<'_> {
    /// Row `row` of all digits of polynomial `i`, which is `poly`.
    pub fn row<'b>(&'b self, i: usize, poly: &'b RnsPoly, row: usize) -> Vec<&'b [u64]> {
        let digits = self.part.targets.iter().zip(&self.rows[i]);
        let find = |(targets, rows): (&Vec<usize>, &'b Vec<Row>)| match targets.iter().position(|&t| t == row) {
            Some(at) => &*rows[at],
            None => poly.row(row),
        };
        digits.map(find).collect()
    }
}
