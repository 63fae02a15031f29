//! How the channels of an operand meet those of a result: what one tap of a linear map does between two layouts.
//!
//! All channels with the same slot offsets in operand and result, a *class*, are moved alike. So a table and its counts need the moves of a tap once
//! per class, whatever the number of channels.

use chiffre_ir::layout::{Dim, Layout, bit};
use std::collections::BTreeMap;

/// Where an element is in the result and in the operand, as far as one coordinate decides it.
#[derive(Clone, Copy, Default)]
struct Step {
    out_slot: usize,
    out_ct: usize,
    in_slot: usize,
    in_ct: usize,
}

/// Slot offset and ciphertext of a channel.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub slot: usize,
    pub ct: usize,
}

/// A part of a tap: one rotation, from one ciphertext of an operand's channel to one of a result's.
pub(super) struct Move {
    /// Rotation, in (−s/2, s/2] for the s slots of one copy of the operand.
    pub rotation: i64,
    /// Ciphertext of rows and columns in the operand, to add to the channel's.
    pub in_ct: usize,
    /// The same in the result.
    pub out_ct: usize,
    /// Output slots below the period that are filled; none if a constant diagonal has the same effect.
    pub mask: Option<Vec<usize>>,
}

/// An operand of a linear map, and its result.
pub(super) struct Meeting<'a> {
    from: &'a Layout,
    to: &'a Layout,
    stride: [usize; 2],
    occupied: Vec<bool>,
    wanted: Vec<bool>,
    batch: Vec<Step>,
    /// Places of the result's channels.
    pub outs: Vec<Place>,
    /// Places of the operand's channels.
    pub ins: Vec<Place>,
}

/// Smallest period that describes every tap: that of the layouts, and above every batch bit that moves. Copies of the result below it are
/// elements of their own.
pub(super) fn joint_period(from: &[&Layout], to: &Layout) -> usize {
    let layouts = from.iter().map(|l| l.period()).max().unwrap_or(1).max(to.period());
    let moved = from.iter().flat_map(|l| {
        let differ = |i: &usize| {
            let b = |l: &Layout| l.slots[*i].filter(|b| b.dim == Dim::B);
            b(l) != b(to)
        };
        (0..to.slots.len()).rev().find(differ).map(|i| 2 << i)
    });
    moved.max().unwrap_or(1).max(layouts)
}

/// Places of all values of the batch bits and copies that lie below `period` or move, within one unit of the result.
fn batch_steps(from: &Layout, to: &Layout, period: usize) -> Vec<Step> {
    let slot = |l: &Layout, bit| l.slots.iter().position(|b| *b == Some(bit)).map(|i| 1usize << i);
    let kept = from.unit_bits() - to.unit_bits();
    let first = from.unit_batch().trailing_zeros() as usize;
    // Every copy in the result takes its elements from some copy in the operand.
    let copies = (0..to.slots.len()).skip(to.slots.len() - to.copies).map(|i| 1 << i).filter(|o| *o < period);
    let mut out = vec![Step::default()];
    for out_slot in copies {
        out.extend(out.clone().iter().map(|s| Step { out_slot: s.out_slot + out_slot, ..*s }));
    }
    for index in 0..to.batch_capacity().trailing_zeros() as usize {
        let bit = bit(Dim::B, index);
        let Some(o) = slot(to, bit) else { continue };
        let step = match slot(from, bit) {
            Some(i) if i == o && o >= period => continue,
            Some(in_slot) => Step { out_slot: o, in_slot, ..Step::default() },
            None => {
                debug_assert!((first..first + kept).contains(&index));
                Step { out_slot: o, in_ct: from.unit_cts() << (index - first), ..Step::default() }
            }
        };
        let moved =
            |s: &Step| Step { out_slot: s.out_slot + step.out_slot, in_slot: s.in_slot + step.in_slot, in_ct: s.in_ct + step.in_ct, ..*s };
        out.extend(out.iter().map(moved).collect::<Vec<_>>());
    }
    out
}

impl<'a> Meeting<'a> {
    /// Of `channels[1]` channels of an operand with `channels[0]` of the result, under the joint period of all operands.
    pub fn new(from: &'a Layout, to: &'a Layout, stride: [usize; 2], channels: [usize; 2], period: usize) -> Meeting<'a> {
        // Where the result has no element: what a dirty one holds there does not matter.
        let clean = Layout { dirty: false, ..to.clone() };
        let places = |l: &Layout, n: usize| {
            let one = |c| {
                let p = l.part(Dim::C, c);
                Place { slot: p.slot, ct: p.ct }
            };
            (0..n).map(one).collect()
        };
        Meeting {
            from,
            to,
            stride,
            occupied: from.occupied().into_iter().cycle().take(period).collect(),
            wanted: clean.occupied().into_iter().map(|o| o || !to.dirty).cycle().take(period).collect(),
            batch: batch_steps(from, to, period),
            outs: places(to, channels[0]),
            ins: places(from, channels[1]),
        }
    }

    /// What the tap at an offset does to channels at the given slot offsets in result and operand.
    pub fn moves(&self, (dy, dx): (i64, i64), [out_slot, in_slot]: [usize; 2]) -> Vec<Move> {
        // An operand that repeats is the same under rotations by its copies.
        let slots = self.from.copy_slots() as i64;
        let axis = |d: Dim, stride: usize, delta: i64| -> Vec<Step> {
            (0..self.to.extent(d))
                .filter_map(|v| {
                    let s = usize::try_from((stride * v) as i64 + delta).ok().filter(|s| *s < self.from.extent(d))?;
                    let (a, b) = (self.to.part(d, v), self.from.part(d, s));
                    Some(Step { out_slot: a.slot, out_ct: a.ct, in_slot: b.slot, in_ct: b.ct })
                })
                .collect()
        };
        let (ys, xs) = (axis(Dim::Y, self.stride[0], dy), axis(Dim::X, self.stride[1], dx));
        // (rotation, ciphertext of the operand's y and x, of the result's) → output slots.
        let mut groups: BTreeMap<(i64, usize, usize), Vec<usize>> = BTreeMap::new();
        for y in &ys {
            for x in &xs {
                for b in &self.batch {
                    let (o, i) = (out_slot + y.out_slot + x.out_slot + b.out_slot, in_slot + y.in_slot + x.in_slot + b.in_slot);
                    let rotation = (i as i64 - o as i64).rem_euclid(slots);
                    groups.entry((rotation, y.in_ct + x.in_ct + b.in_ct, y.out_ct + x.out_ct)).or_default().push(o);
                }
            }
        }
        let one = |((rotation, in_ct, out_ct), mut list): ((i64, usize, usize), Vec<usize>)| {
            list.sort_unstable();
            let rotation = if rotation > slots / 2 { rotation - slots } else { rotation };
            let mask = (!self.is_scalar(&list, rotation)).then_some(list);
            Move { rotation, in_ct, out_ct, mask }
        };
        groups.into_iter().map(one).collect()
    }

    /// True if a constant diagonal has the same effect as the mask: every output slot outside it that is wanted reads a slot that is zero.
    fn is_scalar(&self, list: &[usize], rotation: i64) -> bool {
        let period = self.occupied.len();
        let mut inside = vec![false; period];
        list.iter().for_each(|&s| inside[s] = true);
        (0..period).all(|s| inside[s] || !self.wanted[s] || !self.occupied[(s as i64 + rotation).rem_euclid(period as i64) as usize])
    }
}
