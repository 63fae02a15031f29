//! The plan of one factor of a slot transform: rotations and the size of its diagonals.

use crate::chain::MIN_TRANSFORM;
use crate::gadget::Gadget;
use std::ops::Range;

/// A direction of the slot transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Values in slots become coefficients: the transform itself, small blocks first.
    SlotsToCoeffs,
    /// Coefficients become values in slots: the inverse, large blocks first, times the number of
    /// slots.
    CoeffsToSlots,
}

/// How a factor of a slot transform is evaluated; needs no ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorPlan {
    /// The transform.
    pub direction: Direction,
    /// Its stages in this factor: `F_(2^(s+1))` for `s` in `stages`.
    pub stages: Range<u32>,
    /// Binary logarithm of the number of slots.
    pub log_slots: u32,
    /// Rotations of the input, 0 among them.
    pub babies: Vec<isize>,
    /// Rotations of sums of rotated inputs, 0 first.
    pub giants: Vec<isize>,
    /// Q limbs of the input.
    pub limbs: usize,
    /// Shape of the keys.
    pub gadget: Gadget,
}

impl FactorPlan {
    /// A plan with up to `babies` hoisted rotations. The offsets of the diagonals are multiples of
    /// `2^stages.start`, from 0 up if the factor has the last stage and symmetric otherwise; more
    /// babies than there are offsets make all rotations hoisted.
    pub fn new(direction: Direction, stages: Range<u32>, log_slots: u32, babies: usize, limbs: usize, gadget: Gadget) -> Self {
        let (radix, step) = (1isize << (stages.end - stages.start), 1isize << stages.start);
        let offsets = if stages.end == log_slots { 0..radix } else { -radix..radix };
        let babies = babies.next_power_of_two() as isize;
        let (babies, giants) = if babies >= offsets.end - offsets.start {
            let used = offsets.filter(|&d| d > -radix).map(|d| d * step).collect();
            (used, vec![0])
        } else {
            let mut giants: Vec<isize> = offsets.step_by(babies as usize).map(|g| g * step).collect();
            giants.sort_by_key(|g| (*g != 0, *g));
            ((0..babies).map(|b| b * step).collect(), giants)
        };
        Self { direction, stages, log_slots, babies, giants, limbs, gadget }
    }

    /// Rotations that need keys.
    pub fn rotations(&self) -> impl Iterator<Item = isize> + '_ {
        self.babies.iter().chain(&self.giants).copied().filter(|r| *r != 0)
    }

    /// Length of the diagonals.
    pub fn period(&self) -> usize {
        1 << self.stages.end
    }

    /// Different weights along a limb of degree `2^(log_slots + 1)`.
    pub fn blocks(&self) -> usize {
        (2 * self.period()).max(MIN_TRANSFORM)
    }

    /// Bytes of the encoded diagonals at `rows` moduli.
    pub fn diagonal_bytes(&self, rows: usize) -> usize {
        rows * 8 * self.babies.len() * self.giants.len() * self.blocks()
    }

    /// Consecutive words with equal weights, 1 if fewer than eight.
    pub fn run(&self) -> usize {
        match (2 << self.log_slots) / self.blocks() {
            run if run < 8 => 1,
            run => run,
        }
    }
}
