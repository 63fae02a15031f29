//! What a program takes and gives, by the names of the model file.
//!
//! A program has one value that is encrypted and one that is decrypted. Several inputs of a model
//! lie in the former side by side, several outputs in the latter one behind the other.

use crate::tail::{TailOp, apply, check};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;

/// The inputs and outputs of a model, in its order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// What is encrypted.
    pub inputs: Vec<InputPort>,
    /// What is made of decrypted values.
    pub outputs: Vec<OutputPort>,
}

/// An input and where it lies in what is encrypted, the *frame*.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputPort {
    /// Its name.
    pub name: String,
    /// Channels, rows and columns of one image.
    pub shape: [usize; 3],
    /// The first channel of the frame that is its own.
    pub channel: usize,
}

/// An output and where its values lie among those that are decrypted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputPort {
    /// Its name.
    pub name: String,
    /// The first of its values.
    pub first: usize,
    /// How many it has before the tail.
    pub count: usize,
    /// What is left to do with them.
    pub tail: Vec<TailOp>,
    /// Extents of what comes out, for one image.
    pub shape: Vec<usize>,
}

/// The frame of inputs of these shapes, and the first channel of each: images of its rows and
/// columns have channels of their own, smaller ones their upper left corner, and vectors fill
/// channels position by position.
pub fn frame(shapes: &[[usize; 3]]) -> ([usize; 3], Vec<usize>) {
    let extent = |d: usize| shapes.iter().map(|s| s[d]).max().unwrap_or(1);
    let (h, w) = (extent(1), extent(2));
    let mut channels = vec![];
    let mut next = 0;
    for s in shapes {
        channels.push(next);
        next += if s[1..] == [1, 1] { s[0].div_ceil(h * w) } else { s[0] };
    }
    ([next, h, w], channels)
}

impl InputPort {
    /// Number of values of one image.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// True for an input without values, which no model has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Where element `i`, in the order of channels, rows and columns, lies in a frame of such
    /// extents.
    pub fn place(&self, i: usize, [_, h, w]: [usize; 3]) -> usize {
        let [_, rows, columns] = self.shape;
        if [rows, columns] == [1, 1] {
            return self.channel * h * w + i;
        }
        let (c, y, x) = (i / (rows * columns), i / columns % rows, i % columns);
        ((self.channel + c) * h + y) * w + x
    }
}

impl OutputPort {
    /// Its values among those of one image.
    pub fn span(&self) -> Range<usize> {
        self.first..self.first + self.count
    }
    /// The output for rows of `per` decrypted values, and how many values each image has. An image
    /// without an answer has none behind the tail.
    pub fn of(&self, values: &[f32], per: usize) -> (Vec<f32>, usize) {
        let rows = values.chunks(per.max(1)).flat_map(|row| apply(&self.tail, row.get(self.span()).unwrap_or(&[])));
        (rows.collect(), self.tail.last().map_or(self.count, TailOp::result_len))
    }
}

impl Interface {
    /// What a graph without names of a model takes and gives.
    pub fn plain(input: [usize; 3], output: usize) -> Interface {
        Interface {
            inputs: vec![InputPort { name: "input".into(), shape: input, channel: 0 }],
            outputs: vec![OutputPort { name: "output".into(), first: 0, count: output, tail: vec![], shape: vec![output] }],
        }
    }
    /// Of a program that takes images of extents `frame` and gives `values` values of each, as its
    /// file describes them in JSON; plain ones without a description.
    ///
    /// # Errors
    /// A description that is malformed or does not fit, in words.
    pub fn read(text: Option<&str>, frame: [usize; 3], values: usize) -> Result<Interface, String> {
        let Some(text) = text else { return Ok(Interface::plain(frame, values)) };
        let interface: Interface = serde_json::from_str(text).map_err(|e| format!("the program's inputs and outputs: {e}"))?;
        interface.check(frame, values).map_err(|e| format!("the program's inputs and outputs do not fit it: {e}"))?;
        Ok(interface)
    }
    /// Checks that inputs and outputs fit a program that takes images of extents `frame` and gives
    /// `values` values for each.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn check(&self, frame: [usize; 3], values: usize) -> Result<(), String> {
        let (inputs, outputs) = (self.inputs.iter().map(|p| &p.name), self.outputs.iter().map(|p| &p.name));
        if inputs.clone().collect::<BTreeSet<_>>().len() != self.inputs.len()
            || outputs.clone().collect::<BTreeSet<_>>().len() != self.outputs.len()
        {
            return Err("two inputs or two outputs have the same name".into());
        }
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return Err("there is no input, or no output".into());
        }
        let bounded = |s: &[usize; 3]| {
            s.iter().try_fold(1usize, |a, d| a.checked_mul(*d)).is_some_and(|n| (1..=crate::layout::MAX_ELEMENTS).contains(&n))
        };
        if !self.inputs.iter().all(|p| bounded(&p.shape)) {
            return Err("an input is empty or too large".into());
        }
        let (whole, channels) = self::frame(&self.inputs.iter().map(|p| p.shape).collect::<Vec<_>>());
        if whole != frame || self.inputs.iter().zip(channels).any(|(p, c)| p.channel != c) {
            return Err(format!("its inputs make images of shape {whole:?}, and it takes {frame:?}"));
        }
        for p in &self.outputs {
            if p.first.checked_add(p.count).is_none_or(|end| end > values) {
                return Err(format!("output \"{}\" has more values than there are", p.name));
            }
            let len = check(&p.tail, p.count).map_err(|e| format!("the tail of output \"{}\" does not fit it: {e}", p.name))?;
            if p.shape.iter().try_fold(1usize, |a, d| a.checked_mul(*d)) != Some(len) {
                return Err(format!("output \"{}\" of shape {:?} has {len} values", p.name, p.shape));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(shapes: &[[usize; 3]]) -> ([usize; 3], Vec<InputPort>) {
        let (whole, channels) = frame(shapes);
        let port = |(k, (shape, channel)): (usize, (&[usize; 3], usize))| InputPort { name: format!("x{k}"), shape: *shape, channel };
        (whole, shapes.iter().zip(channels).enumerate().map(port).collect())
    }

    #[test]
    fn inputs_lie_side_by_side() {
        for shapes in [&[[4, 1, 1], [3, 1, 1]][..], &[[3, 8, 8], [1, 8, 8]], &[[2, 8, 4], [1, 4, 8], [70, 1, 1]], &[[5, 1, 1], [1, 2, 2]]] {
            let (whole, ports) = ports(shapes);
            let places: Vec<usize> = ports.iter().flat_map(|p| (0..p.len()).map(move |i| p.place(i, whole))).collect();
            let distinct: BTreeSet<usize> = places.iter().copied().collect();
            assert!(distinct.len() == places.len() && places.iter().all(|p| *p < whole.iter().product()), "{shapes:?} in {whole:?}");
            assert!(Interface { inputs: ports, ..Interface::plain([1; 3], 2) }.check(whole, 2).is_ok());
        }
        assert_eq!(frame(&[[2, 8, 4], [1, 4, 8], [70, 1, 1]]), ([2 + 1 + 2, 8, 8], vec![0, 2, 3]));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let fine = Interface::plain([3, 8, 8], 10);
        assert_eq!(fine.check([3, 8, 8], 10), Ok(()));
        assert!(fine.check([3, 8, 4], 10).is_err() && fine.check([3, 8, 8], 9).is_err());
        let two = Interface { outputs: [fine.outputs.clone(), fine.outputs.clone()].concat(), ..fine.clone() };
        assert!(two.check([3, 8, 8], 10).is_err_and(|e| e.contains("same name")));
        let mut huge = fine.clone();
        huge.inputs[0].shape = [usize::MAX, 2, 1];
        assert!(huge.check([3, 8, 8], 10).is_err());
        huge.inputs.clear();
        assert!(huge.check([3, 8, 8], 10).is_err());
        let mut far = fine;
        far.outputs[0].first = usize::MAX;
        assert!(far.check([3, 8, 8], 10).is_err());
    }
}
