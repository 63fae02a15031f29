//! The work that computes one value of a run.

use super::{Counts, LinearShape, ProductShape, SeriesShape};
use chiffre_ir::program::Flow;

/// Work on one unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A linear map by a table of diagonals.
    Linear(LinearShape),
    /// A Chebyshev series, behind a bootstrap or without.
    Series(SeriesShape),
    /// Products.
    Product(ProductShape),
    /// What a target counts itself: work, and bytes beyond the operands.
    Counted {
        /// Work on one unit.
        counts: Counts,
        /// Bytes that one unit needs beyond its operands, its result included.
        bytes: usize,
    },
}

impl Work {
    /// Counted work of all units, in steps of a flow.
    pub fn counts(&self, flow: &Flow) -> Counts {
        match self {
            Work::Linear(s) => s.counts(flow.units, flow.together),
            Work::Series(s) => s.counts() * flow.units as f64,
            Work::Product(s) => s.counts() * flow.units as f64,
            Work::Counted { counts, .. } => *counts * flow.units as f64,
        }
    }
    /// Bytes of the weights that a step expands.
    pub fn weight_bytes(&self) -> usize {
        if let Work::Linear(s) = self { s.weight_bytes() } else { 0 }
    }
    /// Bytes beyond its operands that a step on `units` units needs at its worst moment, results
    /// included, when `freed` bytes of operands end with it.
    pub fn extra(&self, n: usize, units: usize, freed: usize) -> usize {
        match self {
            Work::Linear(s) => s.extra(n, units, freed),
            Work::Series(s) => s.extra(n, units, freed),
            Work::Product(s) => s.extra(n, units, freed),
            Work::Counted { bytes, .. } => bytes * units,
        }
    }
    /// (ciphertext, rotation) pairs of one unit, hoisted; of linear maps only.
    pub fn rotations(&self) -> usize {
        if let Work::Linear(s) = self { s.rotations() } else { 0 }
    }
    /// Different rotations, each with a key; of linear maps only.
    pub fn rotation_keys(&self) -> usize {
        if let Work::Linear(s) = self { s.taps + s.giants.map_or(0, |g| g.taps) } else { 0 }
    }
    /// Key switches of the products of one unit: relinearisations and conjugations.
    pub fn product_switches(&self) -> usize {
        if let Work::Product(s) = self { s.cts * if s.complex { 2 } else { 1 } } else { 0 }
    }
}
