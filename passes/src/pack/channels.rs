//! How the channels of an operand meet those of a result: what one tap of a linear map does between
//! two layouts.
//!
//! All channels with the same slot offsets in operand and result, a *class*, are moved alike, and a
//! class with other offsets is moved the same way from another place. So what a tap does is worked
//! out once ([`Meeting::shifts`]), and a table and its counts need one addition for each class,
//! whatever the number of channels.

use crate::tensor::linear_form::Reading;
use chiffre_ir::layout::{Dim, Layout, bit};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// Where an element is in the result and in the operand, as far as one coordinate decides it.
#[derive(Clone, Copy, Default)]
struct Alignment {
    out_slot: usize,
    out_ct: usize,
    in_slot: usize,
    in_ct: usize,
}

/// Slot offset and ciphertext of a channel.
#[derive(Clone, Copy)]
pub(super) struct ChannelOffset {
    pub slot: usize,
    pub ct: usize,
}

/// Slot offsets of channels in the result and in the operand: those with the same ones are moved
/// alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Class {
    pub out_slot: usize,
    pub in_slot: usize,
}

/// What a tap does to channels without a slot offset: a part of it under one rotation, from one
/// ciphertext of an operand's channel to one of a result's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shift {
    /// Rotation, in [0, s) for the s slots of one copy of the operand.
    by: i64,
    /// Ciphertext of rows and columns in the operand, to add to the channel's.
    pub in_ct: usize,
    /// The same in the result.
    pub out_ct: usize,
}

/// A part of a tap: one rotation, from one ciphertext of an operand's channel to one of a result's.
pub(super) struct Move {
    /// Rotation, in (−s/2, s/2] for the s slots of one copy of the operand.
    pub rotation: i64,
    /// Ciphertext of rows and columns in the operand, to add to the channel's.
    pub in_ct: usize,
    /// The same in the result.
    pub out_ct: usize,
    /// Output slots below the period that are filled; none if a constant diagonal has the same
    /// effect.
    pub mask: Option<Vec<usize>>,
}

/// Shapes of an operand and of the result of a linear map, `[c, h, w]`, and what its taps read.
#[derive(Clone, Copy)]
pub(super) struct Extents<'a> {
    pub input: [usize; 3],
    pub output: [usize; 3],
    pub reading: &'a Reading,
}

/// An operand of a linear map, and its result.
pub(super) struct Meeting<'a> {
    from: &'a Layout,
    reading: &'a Reading,
    occupied: Vec<bool>,
    wanted: Vec<bool>,
    /// By rotation, how many wanted slots read one that is occupied; worked out when asked for.
    met: RefCell<HashMap<i64, usize>>,
    batch: Vec<Alignment>,
    /// Places of the rows and of the columns, in the result and in the operand.
    axes: [[Vec<ChannelOffset>; 2]; 2],
    /// Places of the result's channels.
    pub outs: Vec<ChannelOffset>,
    /// Places of the operand's channels.
    pub ins: Vec<ChannelOffset>,
}

/// Smallest period that describes every tap: that of the layouts, and above every batch bit that
/// moves. Copies of the result below it are elements of their own.
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

/// Places of all values of the batch bits and copies that lie below `period` or move, within one
/// unit of the result.
fn batch_alignments(from: &Layout, to: &Layout, period: usize) -> Vec<Alignment> {
    let slot = |l: &Layout, bit| l.slots.iter().position(|b| *b == Some(bit)).map(|i| 1usize << i);
    let kept = from.unit_bits() - to.unit_bits();
    let first = from.unit_batch().trailing_zeros() as usize;
    // Every copy in the result takes its elements from some copy in the operand.
    let copies = (0..to.slots.len()).skip(to.slots.len() - to.copies).map(|i| 1 << i).filter(|o| *o < period);
    let mut out = vec![Alignment::default()];
    for out_slot in copies {
        out.extend(out.clone().iter().map(|s| Alignment { out_slot: s.out_slot + out_slot, ..*s }));
    }
    for index in 0..to.batch_capacity().trailing_zeros() as usize {
        let bit = bit(Dim::B, index);
        let Some(o) = slot(to, bit) else { continue };
        let further = match slot(from, bit) {
            Some(i) if i == o && o >= period => continue,
            Some(in_slot) => Alignment { out_slot: o, in_slot, ..Alignment::default() },
            None => {
                debug_assert!((first..first + kept).contains(&index));
                Alignment { out_slot: o, in_ct: from.unit_cts() << (index - first), ..Alignment::default() }
            }
        };
        let moved = |s: &Alignment| Alignment {
            out_slot: s.out_slot + further.out_slot,
            in_slot: s.in_slot + further.in_slot,
            in_ct: s.in_ct + further.in_ct,
            ..*s
        };
        out.extend(out.iter().map(moved).collect::<Vec<_>>());
    }
    out
}

impl<'a> Meeting<'a> {
    /// Of the channels of an operand and of a result with these shapes, under the joint period of
    /// all operands.
    pub fn new(from: &'a Layout, to: &Layout, map: Extents<'a>, period: usize) -> Meeting<'a> {
        // Where the result has no element: what a dirty one holds there does not matter.
        let clean = Layout { dirty: false, ..to.clone() };
        let places = |l: &Layout, d: Dim, n: usize| {
            let one = |v| {
                let p = l.part(d, v);
                ChannelOffset { slot: p.slot, ct: p.ct }
            };
            (0..n).map(one).collect::<Vec<ChannelOffset>>()
        };
        let axes = [Dim::Y, Dim::X].map(|d| [to, from].map(|l| places(l, d, l.extent(d))));
        Meeting {
            from,
            reading: map.reading,
            occupied: from.occupied().into_iter().cycle().take(period).collect(),
            wanted: clean.occupied().into_iter().map(|o| o || !to.dirty).cycle().take(period).collect(),
            met: RefCell::default(),
            batch: batch_alignments(from, to, period),
            axes,
            outs: places(to, Dim::C, map.output[0]),
            ins: places(from, Dim::C, map.input[0]),
        }
    }

    /// Where the tap at an offset moves rows, and where it moves columns.
    fn alignments(&self, (dy, dx): (i64, i64)) -> [Vec<Alignment>; 2] {
        let axis = |k: usize, delta: i64| {
            let [to, from] = &self.axes[k];
            let one = |(v, a): (usize, &ChannelOffset)| {
                let b = from[self.reading.at(k, delta, v, from.len())?];
                Some(Alignment { out_slot: a.slot, out_ct: a.ct, in_slot: b.slot, in_ct: b.ct })
            };
            to.iter().enumerate().filter_map(one).collect()
        };
        [axis(0, dy), axis(1, dx)]
    }

    /// Slots of one copy of the operand: one that repeats is the same under rotations by its
    /// copies.
    fn copy(&self) -> i64 {
        self.from.copy_slots() as i64
    }

    /// What the tap at an offset does to channels without a slot offset, in ascending order.
    pub fn shifts(&self, at: (i64, i64)) -> Vec<Shift> {
        let distinct = |all: &[Alignment]| {
            let shift = |s: &Alignment| Shift { by: s.in_slot as i64 - s.out_slot as i64, in_ct: s.in_ct, out_ct: s.out_ct };
            all.iter().map(shift).collect::<BTreeSet<Shift>>()
        };
        let [ys, xs] = self.alignments(at);
        let (ys, xs, batch) = (distinct(&ys), distinct(&xs), distinct(&self.batch));
        let mut out = BTreeSet::new();
        for y in &ys {
            for x in &xs {
                out.extend(batch.iter().map(|b| Shift {
                    by: (y.by + x.by + b.by).rem_euclid(self.copy()),
                    in_ct: y.in_ct + x.in_ct + b.in_ct,
                    out_ct: y.out_ct + x.out_ct,
                }));
            }
        }
        out.into_iter().collect()
    }

    /// Output slots that each of the [`shifts`](Self::shifts) of a tap fills for channels without a
    /// slot offset, ascending.
    pub fn filled(&self, at: (i64, i64)) -> Vec<Vec<usize>> {
        let [ys, xs] = self.alignments(at);
        let shifts = self.shifts(at);
        let mut out = vec![vec![]; shifts.len()];
        for y in &ys {
            for x in &xs {
                for b in &self.batch {
                    let o = y.out_slot + x.out_slot + b.out_slot;
                    let i = y.in_slot + x.in_slot + b.in_slot;
                    let by = (i as i64 - o as i64).rem_euclid(self.copy());
                    let shift = Shift { by, in_ct: y.in_ct + x.in_ct + b.in_ct, out_ct: y.out_ct + x.out_ct };
                    out[shifts.binary_search(&shift).expect("a sum of shifts")].push(o);
                }
            }
        }
        out.iter_mut().for_each(|list| list.sort_unstable());
        out
    }

    /// Rotation of a shift for channels at the given slot offsets in result and operand, in (−s/2,
    /// s/2].
    pub fn rotation(&self, shift: &Shift, Class { out_slot, in_slot }: Class) -> i64 {
        let r = (shift.by + in_slot as i64 - out_slot as i64).rem_euclid(self.copy());
        if r > self.copy() / 2 { r - self.copy() } else { r }
    }

    /// True if a shift that fills so many slots needs a mask for channels at the given slot offsets
    /// in result and operand: if a constant diagonal moves more than that. Every slot that a shift
    /// fills is wanted and reads an element, so that counting them is enough.
    pub fn is_masked(&self, shift: &Shift, filled: usize, class: Class) -> bool {
        self.met(self.rotation(shift, class)) > filled
    }

    /// Slots of the result that are wanted and read an occupied one under a rotation.
    fn met(&self, rotation: i64) -> usize {
        let count = || {
            let by = rotation.rem_euclid(self.occupied.len() as i64) as usize;
            let (front, back) = self.occupied.split_at(by);
            let (low, high) = self.wanted.split_at(back.len());
            let both = |w: &[bool], o: &[bool]| w.iter().zip(o).map(|(w, o)| usize::from(*w & *o)).sum::<usize>();
            both(low, back) + both(high, front)
        };
        *self.met.borrow_mut().entry(rotation).or_insert_with(count)
    }

    /// What the tap of these shifts, and of the slots that each fills, does to channels at the
    /// given slot offsets in result and operand.
    pub fn moves(&self, shifts: &[Shift], filled: &[Vec<usize>], class: Class) -> Vec<Move> {
        let one = |(shift, slots): (&Shift, &Vec<usize>)| {
            let rotation = self.rotation(shift, class);
            let masked = self.is_masked(shift, slots.len(), class);
            let mask = masked.then(|| slots.iter().map(|s| s + class.out_slot).collect());
            Move { rotation, in_ct: shift.in_ct, out_ct: shift.out_ct, mask }
        };
        shifts.iter().zip(filled).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::PackingWish;
    use crate::pack::packing::Packing;
    use chiffre_ir::consts::Array;
    use chiffre_ir::tensor::{Reads, TensorGraph, TensorOp, TensorType};

    impl Meeting<'_> {
        /// Slot by slot: every output slot outside the mask that is wanted reads a slot that is
        /// zero.
        fn is_scalar(&self, list: &[usize], rotation: i64) -> bool {
            let period = self.occupied.len();
            let reads = |s: usize| self.occupied[(s as i64 + rotation).rem_euclid(period as i64) as usize];
            (0..period).all(|s| list.contains(&s) || !self.wanted[s] || !reads(s))
        }
    }

    #[test]
    fn masks_are_needed_where_a_constant_moves_more() {
        let mut seen = [0, 0];
        for (stride, kernel) in [(1, 3), (2, 3), (1, 1), (2, 1)] {
            let (input, output) = ([6, 8, 8], [5, 8 / stride, 8 / stride]);
            let mut g = TensorGraph::new("t");
            let x = g.push(TensorOp::Input {}, vec![], TensorType::new(input), "x");
            let k = g.consts.add("k", Array::zeros(vec![5, 6, kernel, kernel]));
            let (strides, origins) = (vec![[stride; 2]], vec![[0, 0]]);
            let map = TensorOp::LinearMap { kernels: vec![k], strides, origins, bias: None, reads: Reads::default(), groups: None };
            let y = g.push(map, vec![x], TensorType::new(output), "y");
            g.outputs.push(y);
            let reading = Reading::Strided([stride; 2]);
            for (batch, packing) in [1, 20, 100].into_iter().flat_map(|b| {
                let all = Packing::candidates(&g, 9, b, &PackingWish::default()).unwrap();
                all.into_iter().map(move |p| (b, p))
            }) {
                let Ok(layouts) = packing.assign(&g, batch) else { continue };
                let dirty = Layout { dirty: true, ..layouts[1].clone() };
                for to in [&layouts[1], &dirty] {
                    let period = joint_period(&[&layouts[0]], to);
                    let m = Meeting::new(&layouts[0], to, Extents { input, output, reading: &reading }, period);
                    let pairs = m.outs.iter().flat_map(|o| m.ins.iter().map(|i| Class { out_slot: o.slot, in_slot: i.slot }));
                    let classes: BTreeSet<Class> = pairs.collect();
                    for at in [(0, 0), (1, -1), (-1, 0)] {
                        for (shift, filled) in m.shifts(at).iter().zip(m.filled(at)) {
                            for class in &classes {
                                let list: Vec<usize> = filled.iter().map(|s| s + class.out_slot).collect();
                                let masked = m.is_masked(shift, filled.len(), *class);
                                assert_eq!(masked, !m.is_scalar(&list, m.rotation(shift, *class)), "{packing:?} {batch} {stride} {at:?}");
                                seen[usize::from(masked)] += 1;
                            }
                        }
                    }
                }
            }
        }
        assert!(seen.iter().all(|n| *n > 1000), "{seen:?}");
    }
}
