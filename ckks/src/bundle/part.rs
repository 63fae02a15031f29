//! Rows of an extended basis that are in work together.

use crate::ring::{BaseConversion, Carried, Gadget, Ring};
use crate::simd::{Isa, LimbWords};
use rayon::prelude::*;
use std::ops::Range;

/// Some rows of the extended digits of polynomials with `limbs` Q limbs.
pub(super) struct Part {
    pub rows: Range<usize>,
    /// For each digit the rows outside it.
    pub targets: Vec<Vec<usize>>,
    /// For each digit the conversion to these.
    pub up: Vec<BaseConversion>,
    limbs: usize,
}

impl Part {
    /// Tables for some rows, not more than one conversion has as targets.
    pub fn new(ring: &Ring, gadget: Gadget, limbs: usize, rows: Range<usize>) -> Self {
        let outside = |d: usize| rows.clone().filter(|row| !gadget.digit(d, limbs).contains(row)).collect();
        let targets: Vec<Vec<usize>> = (0..gadget.digits_at(limbs)).map(outside).collect();
        let conversion = |(d, rows): (usize, &Vec<usize>)| {
            let source: Vec<usize> = gadget.digit(d, limbs).collect();
            let target: Vec<usize> = rows.iter().map(|&row| ring.modulus_index(row, limbs)).collect();
            BaseConversion::new(ring, &source, &target, Carried::Nothing)
        };
        let up = targets.iter().enumerate().map(conversion).collect();
        Self { rows, targets, up, limbs }
    }

    /// A digit, prepared for conversion, at the rows outside it.
    pub fn extend(&self, ring: &Ring, isa: Isa, digit: usize, y: &[LimbWords]) -> Vec<LimbWords> {
        let targets = &self.targets[digit];
        let mut out: Vec<LimbWords> = targets.iter().map(|_| LimbWords::unspecified(ring.n)).collect();
        if out.is_empty() {
            return out;
        }
        let y: Vec<&[u64]> = y.iter().map(|r| &**r).collect();
        self.up[digit].group(isa, 0, &y, &mut out.iter_mut().map(|r| &mut **r).collect::<Vec<_>>());
        out.par_iter_mut().zip(targets).with_max_len(1).for_each(|(out, &row)| {
            ring.ntt[ring.modulus_index(row, self.limbs)].forward(out);
        });
        out
    }
}
