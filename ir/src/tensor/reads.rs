//! Linear maps by index relations: where the taps of a kernel read, position by position.
//!
//! A kernel's tap `(ky, kx)` at the result's position `(y, x)` reads the operand at
//! `(rows[ky][y], columns[kx][x])`. A convolution reads at `stride·y + origin + ky`; with lists,
//! any relation between the positions of the two can be said: upsampling (`y/2`), copies of one
//! position (`0`), reflected borders, transposed convolutions (every other position), averages
//! whose divisor differs (taps for some positions each).

use crate::ops::{Attr, AttrValue};

/// The position that each position of the result reads, one list for each tap; −1 reads a zero.
pub type Lists = Vec<Vec<i64>>;

/// For each operand of a `linear_map` the lists of its rows and of its columns; both are empty
/// where stride and origin say what is read. Nothing at all if that is so for all operands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reads(pub Vec<[Lists; 2]>);

impl Reads {
    /// The lists of operand `k`, if it has some.
    pub fn of(&self, k: usize) -> Option<&[Lists; 2]> {
        self.0.get(k).filter(|l| !l[0].is_empty() || !l[1].is_empty())
    }

    /// With one entry for each operand, or none at all.
    pub fn new(each: Vec<Option<[Lists; 2]>>) -> Reads {
        if each.iter().all(Option::is_none) {
            return Reads::default();
        }
        Reads(each.into_iter().map(Option::unwrap_or_default).collect())
    }
}

impl AttrValue for Reads {
    fn to_attr(&self) -> Option<Attr> {
        if self.0.is_empty() { None } else { self.0.to_attr() }
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        if a.is_none() { Ok(Reads::default()) } else { Vec::from_attr(a).map(Reads) }
    }
}

/// # Errors
/// Lists that do not fit a kernel of `taps` taps per axis, an operand of `input` rows and columns,
/// or a result of `output` ones, in words.
pub(super) fn check(lists: &[Lists; 2], taps: [usize; 2], input: [usize; 2], output: [usize; 2]) -> Result<(), String> {
    for (d, axis) in ["rows", "columns"].into_iter().enumerate() {
        if lists[d].len() != taps[d] {
            return Err(format!("{} lists of {axis} for {} taps", lists[d].len(), taps[d]));
        }
        for list in &lists[d] {
            if list.len() != output[d] {
                return Err(format!("a list of {} {axis} for a result of {}", list.len(), output[d]));
            }
            if let Some(bad) = list.iter().find(|&&i| i < -1 || i >= input[d] as i64) {
                return Err(format!("{axis} of the operand end at {}, and {bad} is read", input[d]));
            }
        }
    }
    Ok(())
}

/// The positions at which a tap reads something: of the result, and of the operand.
fn pairs(list: &[i64]) -> Vec<(usize, usize)> {
    list.iter().enumerate().filter_map(|(o, &i)| Some((o, usize::try_from(i).ok()?))).collect()
}

/// Calls `f(result element, operand element, weight)` for every weight that is not zero at every
/// position where it reads something: kernel `[out, in, kh, kw]`, extents `[c, h, w]`.
pub(super) fn each(
    kernel: &[f64],
    shape: &[usize],
    lists: &[Lists; 2],
    input: [usize; 3],
    output: [usize; 3],
    mut f: impl FnMut(usize, usize, f64),
) {
    let [ins, kh, kw] = [shape[1], shape[2], shape[3]];
    let [rows, columns] = lists.each_ref().map(|l| l.iter().map(|list| pairs(list)).collect::<Vec<_>>());
    for (t, &w) in kernel.iter().enumerate().filter(|(_, w)| **w != 0.0) {
        let (o, i, ky, kx) = (t / (ins * kh * kw), t / (kh * kw) % ins, t / kw % kh, t % kw);
        for &(y, from_y) in &rows[ky] {
            let (to, from) = ((o * output[1] + y) * output[2], (i * input[1] + from_y) * input[2]);
            columns[kx].iter().for_each(|&(x, from_x)| f(to + x, from + from_x, w));
        }
    }
}

/// Adds the map of `x` to `acc`.
pub(super) fn apply(
    x: &[f64],
    input: [usize; 3],
    kernel: &[f64],
    shape: &[usize],
    lists: &[Lists; 2],
    acc: &mut [f64],
    output: [usize; 3],
) {
    each(kernel, shape, lists, input, output, |o, i, w| acc[o] += w * x[i]);
}

/// Adds to `acc` the gradient at the operand, from the gradient `y` at the result: the transposed
/// map.
pub(super) fn back(y: &[f64], output: [usize; 3], kernel: &[f64], shape: &[usize], lists: &[Lists; 2], acc: &mut [f64], input: [usize; 3]) {
    each(kernel, shape, lists, input, output, |o, i, w| acc[i] += w * y[o]);
}
