//! Folded maps: a result that repeats more often in the slots than the operand does.
//!
//! A fully connected layer from P inputs to p < P outputs has all its p·P weights on p diagonals of
//! length P, if every copy of an output takes a part of the inputs: the rotations in a window of p
//! (Juvekar, Vaikuntanathan and Chandrakasan, GAZELLE, USENIX Security 2018, section 4). The sum of
//! the P/p copies, by rotations by multiples of p, has all inputs, and repeats after p slots. So a
//! folded map is one with the rotations of a **window**, and sums with weights of one behind it,
//! which need no level.

use chiffre_ir::layout::{Dim, Layout, bit};

/// Rotations of which every remainder modulo the width occurs once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Slots of one copy of the result.
    width: i64,
    /// Slots of one copy of the operands.
    copy: i64,
}

impl Window {
    /// True for rotations within it.
    pub fn holds(&self, rotation: i64) -> bool {
        rotation.rem_euclid(self.copy) < self.width
    }
}

/// A map that is computed this way.
pub(super) struct Fold {
    /// The rotations of the first map.
    pub window: Window,
    /// Layout of its result: the copies of the result that are added are channels of their own.
    pub mid: Layout,
}

/// Rotations that one sum adds at most.
const MOST_ADDED: i64 = 8;

impl Fold {
    /// For a map from operands to a result of the given layouts, if it can be folded.
    pub fn find(from: &[&Layout], to: &Layout) -> Option<Fold> {
        let copy = from.first()?.copy_slots();
        let width = to.copy_slots();
        if to.copies == 0 || width >= copy || from.iter().any(|l| l.copy_slots() != copy || !l.same_batch(to)) {
            return None;
        }
        let (low, high) = (width.trailing_zeros() as usize, copy.trailing_zeros() as usize);
        // Batch bits above the positions of all elements have masks of a short period, which says
        // nothing of copies.
        if from.iter().any(|l| l.period() != copy) {
            return None;
        }
        let channel_bits = to.slots.iter().flatten().chain(&to.cts).filter(|b| b.dim == Dim::C).count();
        let mut slots = to.slots.clone();
        (low..high).for_each(|i| slots[i] = Some(bit(Dim::C, channel_bits + i - low)));
        let [c, h, w] = to.shape;
        let shape = [(((1 << (high - low)) - 1) << channel_bits) + c, h, w];
        let mid = Layout { slots, shape, copies: to.slots.len() - high, ..to.clone() };
        let window = Window { width: width as i64, copy: copy as i64 };
        mid.check().is_empty().then_some(Fold { window, mid })
    }

    /// Rotations of the sums, one after the other.
    pub fn sums(&self) -> Vec<Vec<i64>> {
        let Window { width, copy } = self.window;
        let mut out = vec![];
        let mut step = width;
        while step < copy {
            let count = (copy / step).min(MOST_ADDED);
            out.push((0..count).map(|i| i * step).collect());
            step *= count;
        }
        out
    }
}
