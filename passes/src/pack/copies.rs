//! Maps whose result repeats along an axis, as a value of one position does that is multiplied with
//! all positions of another: one position is computed, and then copied in stages.
//!
//! A result that is zero but at positions below `n` becomes one of `p·n` positions as the sum of
//! its rotations by 0, n, …, (p − 1)·n positions. Weights are one and no mask is needed, so that a
//! stage takes no level. An axis of 2^k positions has k rotations in k stages, where one map has
//! 2^k − 1.

use super::shape::Support;
use crate::tensor::linear_form::{Kernel, Reading};
use chiffre_ir::layout::{Dim, Layout};

/// Largest numbers of copies that a stage may make, where the axis has such divisors, as far as
/// they are tried: few rotations in many stages, or in few.
pub(super) const RADICES: [usize; 3] = [2, 4, usize::MAX];

/// The axes of positions (rows, columns) along which the result of maps with these readings
/// repeats; `None` if there is none.
pub(super) fn axes<'a>(maps: impl Iterator<Item = (&'a Reading, [usize; 3])>, output: [usize; 3]) -> Option<[bool; 2]> {
    let mut along = [output[1] > 1, output[2] > 1];
    for (reading, input) in maps {
        let Reading::Listed(lists) = reading else { return None };
        for (d, along) in along.iter_mut().enumerate() {
            let at = |tap: usize, out: usize| reading.at(d, tap as i64, out, input[d + 1]);
            *along &= (0..lists[d].len()).all(|tap| (1..output[d + 1]).all(|out| at(tap, out) == at(tap, 0)));
        }
    }
    (along != [false, false]).then_some(along)
}

/// What is read for the first position of the axes along which a result repeats.
pub(super) fn first_position(reading: &Reading, along: [bool; 2]) -> Reading {
    match reading {
        Reading::Strided(_) => reading.clone(),
        Reading::Listed(lists) => Reading::Listed([0, 1].map(|d| {
            let kept = if along[d] { 1 } else { usize::MAX };
            lists[d].iter().map(|list| list.iter().copied().take(kept).collect()).collect()
        })),
    }
}

/// The shape of a result with one position on the axes along which it repeats.
pub(super) fn first_shape(output: [usize; 3], along: [bool; 2]) -> [usize; 3] {
    let [c, h, w] = output;
    [c, if along[0] { 1 } else { h }, if along[1] { 1 } else { w }]
}

/// A copy from some of the first positions of an axis to more of them.
pub(super) struct Stage {
    /// The map from the result of the stage before.
    pub kernel: Kernel,
    /// The layout of its own result.
    pub to: Layout,
}

impl Stage {
    /// The map as what tables are counted from.
    pub fn support(&self) -> Support {
        Support::of(&self.kernel)
    }
}

/// One position, and the stages that copy it.
pub(super) struct Copies {
    /// Layout of what is computed first.
    pub first: Layout,
    /// Stages; the last one yields the result.
    pub stages: Vec<Stage>,
}

impl Copies {
    /// For a result of layout `to` that repeats along some axes.
    pub fn new(along: [bool; 2], to: &Layout, radix: usize) -> Copies {
        let mut shape = first_shape(to.shape, along);
        let first = within(to, shape);
        let mut stages = vec![];
        for axis in [2, 1].into_iter().filter(|axis| along[axis - 1]) {
            for times in factors(to.shape[axis], radix) {
                let (input, positions) = (shape, shape[axis]);
                shape[axis] *= times;
                let mut kernel = Kernel::identity(input);
                kernel.output = shape;
                let mut lists = [1, 2].map(|d| vec![(0..shape[d] as i64).collect::<Vec<i64>>()]);
                lists[axis - 1] = vec![(0..shape[axis]).map(|o| (o % positions) as i64).collect()];
                kernel.reading = Reading::Listed(lists);
                let to = if shape == to.shape { to.clone() } else { within(to, shape) };
                stages.push(Stage { kernel, to });
            }
        }
        Copies { first, stages }
    }
}

/// The layout of the first positions of a value, alone: they are where they are in it, and slots
/// and ciphertexts of the others are free.
fn within(of: &Layout, shape: [usize; 3]) -> Layout {
    let numbers = |dim: Dim, index: u8| match dim {
        Dim::Y => 1 << index < shape[1],
        Dim::X => 1 << index < shape[2],
        Dim::B | Dim::C => true,
    };
    Layout {
        slots: of.slots.iter().map(|b| b.filter(|b| numbers(b.dim, b.index))).collect(),
        cts: of.cts.iter().copied().filter(|b| numbers(b.dim, b.index)).collect(),
        shape,
        dirty: false,
        ..of.clone()
    }
}

/// Factors of a number: as large as possible up to `radix`, or prime.
fn factors(mut n: usize, radix: usize) -> Vec<usize> {
    let mut out = vec![];
    while n > 1 {
        let divides = |f: &usize| n.is_multiple_of(*f);
        let f = if n <= radix { n } else { (2..=radix).rev().find(divides).or_else(|| (2..=n).find(divides)).unwrap_or(n) };
        out.push(f);
        n /= f;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_keep_to_the_radix() {
        assert_eq!(RADICES.map(|r| factors(16, r)), [vec![2; 4], vec![4, 4], vec![16]]);
        assert_eq!(RADICES.map(|r| factors(28, r)), [vec![2, 2, 7], vec![4, 7], vec![28]]);
        assert_eq!((factors(1, 2), factors(11, 4), factors(9, 4)), (vec![], vec![11], vec![3, 3]));
    }

    #[test]
    fn only_readings_of_one_position_repeat() {
        let lists = |rows: &[i64], columns: &[i64]| Reading::Listed([vec![rows.to_vec()], vec![columns.to_vec()]]);
        let of = |r: &Reading| axes([(r, [1, 2, 2])].into_iter(), [1, 2, 3]);
        assert_eq!(of(&lists(&[0, 0], &[1, 1, 1])), Some([true, true]));
        assert_eq!(of(&lists(&[0, 1], &[-1, -1, -1])), Some([false, true]));
        assert_eq!(of(&lists(&[0, 1], &[0, 0, 1])), None);
        assert_eq!(of(&Reading::Strided([1, 1])), None);
    }
}
