//! Maps to 1×1 images that weigh all positions of an operand alike, inside a network (global
//! average pooling in front of a gate, say): positions are added first, by rotations with unit
//! weights, and a pointwise map reads the sums. The steps of 2^k positions have rotations for k
//! bits, where one map has 2^k − 1 of them and as many times the weights.
//!
//! The sums need no level and keep the scale of the operand. Where a network ends, it is cheaper to
//! add behind the pointwise map ([`Pooling`](super::pooling::Pooling)), which has fewer channels.

use super::chain::Link;
use crate::tensor::linear_form::{Reading, Spec};
use chiffre_backend::cost::LinearShape;
use chiffre_ir::consts::Array;
use chiffre_ir::layout::{Bit, Dim, Layout};
use chiffre_ir::table::{DiagTable, Entry, Row, TableError, TableLiteral};
use std::collections::BTreeSet;

/// Positions from which on a map is computed this way only: counting the tables of one that is not
/// takes long.
pub(super) const MANY_POSITIONS: usize = 32;
/// log2 of the most positions that one step adds.
const STEP_BITS: usize = 3;

/// A map that is computed this way.
pub(super) struct Summing {
    /// Layout of the sums: they lie where the first positions do, beside slots that hold others.
    pub mid: Layout,
    /// Ciphertexts of the operand and of the sum that each of them is added to.
    added: Vec<(u32, u32)>,
    /// Rotations of the steps, one after the other.
    pub steps: Vec<Vec<i64>>,
}

/// Rotations of the steps that add the positions of an axis that share a ciphertext.
fn axis_steps(l: &Layout, d: Dim) -> Option<Vec<Vec<i64>>> {
    let bits = l.slots.iter().flatten().chain(&l.cts).filter(|b| b.dim == d).count();
    let slot = |value: usize| l.part(d, value).slot as i64;
    let in_slots: Vec<usize> = (0..bits).filter(|i| slot(1 << i) > 0).collect();
    // All that the bits can number may be added, where slots without a position are zero.
    let extent = if l.dirty { l.extent(d) } else { 1 << bits };
    let doublings = extent.trailing_zeros() as usize;
    if extent != 1 << bits && in_slots.len() < bits {
        return None;
    }
    let low: Vec<usize> = in_slots.into_iter().filter(|i| *i < doublings).collect();
    let sum = |chosen: &[usize]| {
        let value = |n: usize| chosen.iter().enumerate().filter(|(i, _)| n >> i & 1 == 1).map(|(_, bit)| slot(1 << bit)).sum();
        (0..1 << chosen.len()).map(value).collect()
    };
    let mut steps: Vec<Vec<i64>> = low.chunks(STEP_BITS).map(sum).collect();
    if extent >> doublings > 1 {
        steps.push((0..extent >> doublings).map(|n| slot(n << doublings)).collect());
    }
    Some(steps)
}

/// The weights `[out, in, 1, 1]` of one position, if a map with these weights and readings weighs
/// all `extent` positions of its operand alike and makes a result of one.
pub(super) fn alike(w: &Array, spec: Spec, extent: [usize; 2], output: [usize; 3]) -> Option<Array> {
    let per = w.shape[2] * w.shape[3];
    if output[1..] != [1, 1] || spec.groups != 1 || per != extent[0] * extent[1] || per < 4 {
        return None;
    }
    let reading = spec.lists.map_or(Reading::Strided(spec.stride), |l| Reading::Listed(l.clone()));
    let reads = |d: usize| {
        let from = if spec.lists.is_some() { 0 } else { spec.origin[d] };
        let at = (0..w.shape[d + 2] as i64).filter_map(|tap| reading.at(d, from + tap, 0, extent[d]));
        at.collect::<BTreeSet<usize>>().len()
    };
    let all = (0..2).all(|d| reads(d) == extent[d]) && w.data.chunks_exact(per).all(|c| c.iter().all(|w| *w == c[0]));
    all.then(|| super::pooling::pointwise(w))
}

impl Summing {
    /// For a map between these layouts whose weights are [`alike`].
    pub fn find(from: &Layout, to: &Layout) -> Option<Summing> {
        let position = |b: &Bit| matches!(b.dim, Dim::Y | Dim::X);
        if !from.same_batch(to) {
            return None;
        }
        let mid = Layout {
            slots: from.slots.iter().map(|b| b.filter(|b| !position(b))).collect(),
            cts: from.cts.iter().copied().filter(|b| !position(b)).collect(),
            shape: [from.shape[0], 1, 1],
            dirty: true,
            ..from.clone()
        };
        let mut steps = axis_steps(from, Dim::X)?;
        steps.extend(axis_steps(from, Dim::Y)?);
        let cts = |l: &Layout, d: Dim| (0..l.extent(d)).map(|v| l.part(d, v).ct as u32).collect::<BTreeSet<u32>>();
        let (ys, xs) = (cts(from, Dim::Y), cts(from, Dim::X));
        let mut added = vec![];
        for c in 0..from.shape[0] {
            let (of, to) = (from.part(Dim::C, c).ct as u32, mid.part(Dim::C, c).ct as u32);
            added.extend(ys.iter().flat_map(|y| xs.iter().map(move |x| (of + y + x, to))));
        }
        added.sort_unstable();
        added.dedup();
        if steps.is_empty() {
            steps.push(vec![0]);
        }
        mid.check().is_empty().then_some(Summing { mid, added, steps })
    }

    /// Pairs of ciphertexts that a step adds.
    fn pairs(&self, step: usize) -> Vec<(u32, u32)> {
        if step == 0 { self.added.clone() } else { (0..self.mid.unit_cts() as u32).map(|ct| (ct, ct)).collect() }
    }

    /// The steps as ops on an operand at a number of limbs, as far as they are known without keys.
    pub fn links(&self, operand: usize, limbs: usize) -> Vec<Link> {
        let one = |(i, taps): (usize, &Vec<i64>)| {
            let pairs = self.pairs(i);
            let inputs = pairs.iter().map(|p| p.0).collect::<BTreeSet<u32>>().len();
            let (cells, turned) = (pairs.len() * taps.len(), taps.len() - 1);
            let shape = LinearShape {
                inputs,
                rotated: if turned > 0 { inputs } else { 0 },
                taps: turned,
                rows: inputs * turned,
                cells,
                entries: cells,
                weight_words: 1,
                outputs: self.mid.unit_cts(),
                limbs,
                drop: 0,
                alpha: 0,
                giants: None,
            };
            Link { operand: Some(operand), shape, turns: vec![(limbs, taps.clone())] }
        };
        self.steps.iter().enumerate().map(one).collect()
    }

    /// The steps as tables.
    ///
    /// # Errors
    /// A map beyond the limits of a table.
    pub fn tables(&self) -> Result<Vec<DiagTable>, TableError> {
        let one = |(i, taps): (usize, &Vec<i64>)| {
            let pairs = self.pairs(i);
            let mut t = TableLiteral { taps: taps.clone(), outputs: self.mid.unit_cts(), ..TableLiteral::default() };
            for tap in 0..taps.len() as u32 {
                for same in pairs.chunk_by(|a, b| a.0 == b.0) {
                    let row = t.rows.len() as u32;
                    t.rows.push(Row { operand: 0, ct: same[0].0, tap });
                    t.entries.extend(same.iter().map(|(_, output)| Entry { row, output: *output, mask: None, weight: 1.0 }));
                }
            }
            DiagTable::new(t)
        };
        self.steps.iter().enumerate().map(one).collect()
    }
}
