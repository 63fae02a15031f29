//! Linear maps of the quant IR element by element: what one element of the result is a sum of.

use super::{QuantGraph, QuantOp};
use crate::consts::Array;
use crate::error::InterpError;
use crate::graph::ValueId;

/// A term of a sum: element `element` of operand `operand`, times `weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Which operand.
    pub operand: usize,
    /// Position in the operand, row-major.
    pub element: usize,
    /// Not zero.
    pub weight: i64,
}

/// A `linear_map` ready to be taken apart.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    g: &'a QuantGraph,
    v: ValueId,
    kernels: Vec<&'a Array<i64>>,
    bias: Option<&'a Array<i64>>,
}

impl<'a> Terms<'a> {
    /// Of a value; none if it is no linear map.
    ///
    /// # Errors
    /// Constants without data.
    pub fn of(g: &'a QuantGraph, v: ValueId) -> Result<Option<Terms<'a>>, InterpError> {
        let QuantOp::LinearMap { kernels, bias, .. } = &g.node(v).op else { return Ok(None) };
        let kernels = kernels.iter().map(|k| g.consts.ints(*k)).collect::<Result<_, _>>()?;
        let bias = bias.map(|b| g.consts.ints(b)).transpose()?;
        Ok(Some(Terms { g, v, kernels, bias }))
    }
    /// The constant that is added to element `i` of the result.
    pub fn bias(&self, i: usize) -> i64 {
        let [_, h, w] = self.g.ty(self.v).chw();
        self.bias
            .map_or(0, |b| if b.shape.iter().product::<usize>() == self.g.ty(self.v).shape.len() { b.data[i] } else { b.data[i / (h * w)] })
    }
    /// Calls `f` with every term of element `i` of the result.
    pub fn each(&self, i: usize, mut f: impl FnMut(Term)) {
        let n = self.g.node(self.v);
        let QuantOp::LinearMap { strides, origins, reads, .. } = &n.op else { return };
        let [channels, height, width] = n.ty.chw();
        let (o, y, x) = (i / (height * width), i / width % height, i % width);
        for (operand, kernel) in self.kernels.iter().enumerate() {
            let [_, h, w] = self.g.ty(n.args[operand]).chw();
            let (inner, kh, kw) = (kernel.shape[1], kernel.shape[2], kernel.shape[3]);
            let first = o / (channels / n.op.groups(operand)) * inner;
            let lists = reads.of(operand);
            let at = |d: usize, tap: usize, out: usize, extent: usize| {
                let p = match lists {
                    Some(l) => l[d][tap][out],
                    None => (strides[operand][d] * out + tap) as i64 + origins[operand][d],
                };
                usize::try_from(p).ok().filter(|p| *p < extent)
            };
            for (ky, row) in (0..kh).filter_map(|ky| Some((ky, at(0, ky, y, h)?))) {
                for (kx, column) in (0..kw).filter_map(|kx| Some((kx, at(1, kx, x, w)?))) {
                    for c in 0..inner {
                        let weight = kernel.data[((o * inner + c) * kh + ky) * kw + kx];
                        if weight != 0 {
                            f(Term { operand, element: ((first + c) * h + row) * w + column, weight });
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Quant, run_integers, verify};

    /// The sums of all terms are what the interpreter computes: with strides, padding, groups,
    /// lists and a bias for each position.
    #[test]
    fn terms_add_up() {
        let text = "quant @t {
            const @k : i64[4x1x2x2] = [1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, 0, 1, 0, -1]
            const @m : i64[4x2x1x2] = [1, 0, -1, 2, 3, 1, 1, 1, 0, 0, 2, -2, 1, 5, 1, -3]
            const @b : i64[4x2x2] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
            %0 = input : int<bits=9 range=-7..8 scale=1.0> 2x3x3
            %1 = linear_map %0, %0 {kernels=[@k, @m], strides=[[2, 2], [1, 1]], origins=[[-1, -1], [0, 0]], bias=@b, reads=[[[], []], [[[0, 2]], [[0, -1], [2, 1]]]], groups=[2, 1]} : int<bits=9 range=-300..300 scale=1.0> 4x2x2
            return %0, %1
        }";
        let g = verify(crate::text::parse::<Quant>(text).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        let image: Vec<f32> = (0..18).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
        let out = run_integers(&g, &image, 1).unwrap();
        let terms = Terms::of(&g, ValueId(1)).unwrap().unwrap();
        for (i, want) in out[1].iter().enumerate() {
            let mut sum = terms.bias(i);
            terms.each(i, |t| sum += t.weight * out[0][t.element]);
            assert_eq!(sum, *want, "element {i}");
        }
        assert_eq!(Terms::of(&g, ValueId(0)).unwrap().map(|_| ()), None);
    }
}
