//! Sparse strided linear maps between tensors, and their exact composition.
//!
//! Output `(o, y, x)` of a [`Kernel`] is the sum over its taps of
//! `w · in(i, sy·y + dy, sx·x + dx)`, with zero outside the input. Convolution, pooling, slicing,
//! padding, per-channel scaling and fully connected layers all have this form.

use chiffre_ir::consts::Array;
use std::collections::BTreeMap;

/// Channel matrix of one tap: `(out, in) → weight`.
pub type Cells = BTreeMap<(usize, usize), f64>;

/// Weights that a composition may have beyond four times the larger part: a pooling of 8×8 pixels
/// before a fully connected layer stays composable.
const MAX_GROWTH: usize = 1 << 20;

/// A strided linear map between `[C, H, W]` tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Input shape `[C, H, W]`.
    pub input: [usize; 3],
    /// Output shape `[C, H, W]`.
    pub output: [usize; 3],
    /// Step in the input per step in the output, `[y, x]`.
    pub stride: [usize; 2],
    /// Non-zero weights by offset `(dy, dx)`.
    pub taps: BTreeMap<(i64, i64), Cells>,
}

impl Kernel {
    /// The identity on a shape.
    pub fn identity(shape: [usize; 3]) -> Kernel {
        let cells = (0..shape[0]).map(|c| ((c, c), 1.0)).collect();
        Kernel { input: shape, output: shape, stride: [1, 1], taps: BTreeMap::from([((0, 0), cells)]) }
    }
    /// From a dense `[out, in, kh, kw]` array whose first tap reads at `origin` and whose taps are
    /// `dilation` apart.
    pub fn dense(w: &Array, input: [usize; 3], output: [usize; 3], stride: [usize; 2], origin: [i64; 2], dilation: [usize; 2]) -> Kernel {
        let [channels, kh, kw] = [w.shape[1], w.shape[2], w.shape[3]];
        let mut k = Kernel { input, output, stride, taps: BTreeMap::new() };
        for (y, x) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
            // In the order of the map, which is then built at once.
            let weights = w.data.iter().skip(y * kw + x).step_by(kh * kw).enumerate();
            let cells: Cells = weights.filter(|(_, v)| **v != 0.0).map(|(n, &v)| ((n / channels, n % channels), f64::from(v))).collect();
            if !cells.is_empty() {
                k.taps.insert((origin[0] + (y * dilation[0]) as i64, origin[1] + (x * dilation[1]) as i64), cells);
            }
        }
        k
    }
    /// Adds a weight.
    pub fn add(&mut self, dy: i64, dx: i64, o: usize, i: usize, w: f64) {
        *self.taps.entry((dy, dx)).or_default().entry((o, i)).or_insert(0.0) += w;
    }
    /// Number of non-zero weights.
    pub fn nonzeros(&self) -> usize {
        self.taps.values().map(BTreeMap::len).sum()
    }
    /// Multiplies output channel o by `f(o)`, dropping zeros.
    pub fn scale_outputs(&mut self, f: impl Fn(usize) -> f64) {
        self.map_weights(|(o, _), w| w * f(o));
    }
    /// Multiplies input channel i by `f(i)`, dropping zeros.
    pub fn scale_inputs(&mut self, f: impl Fn(usize) -> f64) {
        self.map_weights(|(_, i), w| w * f(i));
    }
    fn map_weights(&mut self, f: impl Fn((usize, usize), f64) -> f64) {
        for cells in self.taps.values_mut() {
            cells.retain(|&k, w| {
                *w = f(k, *w);
                *w != 0.0
            });
        }
        self.taps.retain(|_, c| !c.is_empty());
    }
    /// Adds another map of the same shapes and stride.
    pub fn merge(&mut self, other: &Kernel, factor: f64) {
        for (&(dy, dx), cells) in &other.taps {
            for (&(o, i), w) in cells {
                self.add(dy, dx, o, i, factor * w);
            }
        }
    }
    /// True if the map is the identity.
    pub fn is_identity(&self) -> bool {
        *self == Kernel::identity(self.input)
    }
    /// True if no output reads outside the input.
    fn reads_inside(&self) -> bool {
        let inside = |d: i64, stride: usize, out: usize, len: usize| d >= 0 && (stride * (out - 1)) as i64 + d < len as i64;
        self.taps.keys().all(|&(dy, dx)| {
            inside(dy, self.stride[0], self.output[1], self.input[1]) && inside(dx, self.stride[1], self.output[2], self.input[2])
        })
    }
    /// True if all taps are at offset zero and every multiple of the stride inside the input is an
    /// output.
    fn is_pointwise(&self) -> bool {
        let covers = |axis: usize| self.input[axis].div_ceil(self.stride[axis - 1]) == self.output[axis];
        self.taps.keys().all(|&t| t == (0, 0)) && covers(1) && covers(2)
    }
    /// `then ∘ self`, if that is a [`Kernel`] and not much larger than its parts: the zero padding
    /// of `then` must fall on the zero padding of `self`.
    pub fn compose(&self, then: &Kernel) -> Option<Kernel> {
        if !(then.reads_inside() || self.is_pointwise()) {
            return None;
        }
        if self.is_identity() {
            return Some(then.clone());
        }
        let s = [self.stride[0] as i64, self.stride[1] as i64];
        let mut out = Kernel {
            input: self.input,
            output: then.output,
            stride: [self.stride[0] * then.stride[0], self.stride[1] * then.stride[1]],
            taps: BTreeMap::new(),
        };
        let limit = 4 * self.nonzeros().max(then.nonzeros()) + MAX_GROWTH;
        let mut count = 0;
        for (&(ay, ax), a) in &self.taps {
            let mut by_mid: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
            for (&(m, i), &w) in a {
                by_mid.entry(m).or_default().push((i, w));
            }
            for (&(by, bx), b) in &then.taps {
                let cells = out.taps.entry((s[0] * by + ay, s[1] * bx + ax)).or_default();
                let before = cells.len();
                for (&(o, m), &w) in b {
                    for &(i, v) in by_mid.get(&m).map_or(&[][..], |v| v) {
                        *cells.entry((o, i)).or_insert(0.0) += w * v;
                    }
                }
                count += cells.len() - before;
                if count > limit {
                    return None;
                }
            }
        }
        out.taps.retain(|_, c| !c.is_empty());
        Some(out)
    }
    /// Applies the map to one tensor `[C, H, W]`.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let ([_, ih, iw], [oc, oh, ow]) = (self.input, self.output);
        let mut out = vec![0.0; oc * oh * ow];
        for (&(dy, dx), cells) in &self.taps {
            for y in 0..oh {
                let sy = (self.stride[0] * y) as i64 + dy;
                if sy < 0 || sy >= ih as i64 {
                    continue;
                }
                for xo in 0..ow {
                    let sx = (self.stride[1] * xo) as i64 + dx;
                    if sx < 0 || sx >= iw as i64 {
                        continue;
                    }
                    for (&(o, i), w) in cells {
                        out[(o * oh + y) * ow + xo] += w * x[(i * ih + sy as usize) * iw + sx as usize];
                    }
                }
            }
        }
        out
    }
    /// The dense `[out, in, kh, kw]` array and the offset of its first tap.
    pub fn to_dense(&self) -> (Array, [i64; 2]) {
        let ys = self.taps.keys().map(|t| t.0);
        let xs = self.taps.keys().map(|t| t.1);
        let (y0, y1) = (ys.clone().min().unwrap_or(0), ys.max().unwrap_or(0));
        let (x0, x1) = (xs.clone().min().unwrap_or(0), xs.max().unwrap_or(0));
        let [kh, kw] = [(y1 - y0 + 1) as usize, (x1 - x0 + 1) as usize];
        let mut a = Array::zeros(vec![self.output[0], self.input[0], kh, kw]);
        for (&(dy, dx), cells) in &self.taps {
            for (&(o, i), &w) in cells {
                a.data[((o * self.input[0] + i) * kh + (dy - y0) as usize) * kw + (dx - x0) as usize] = w as f32;
            }
        }
        (a, [y0, x0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(input: [usize; 3], output: [usize; 3], stride: [usize; 2], offsets: &[i64], seed: u64) -> Kernel {
        let mut k = Kernel { input, output, stride, taps: BTreeMap::new() };
        let mut s = seed;
        for &dy in offsets {
            for &dx in offsets {
                for o in 0..output[0] {
                    for i in 0..input[0] {
                        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        k.add(dy, dx, o, i, (s >> 40) as f64 / 1e6 - 8.0);
                    }
                }
            }
        }
        k
    }

    #[test]
    fn composition_is_exact() {
        let x: Vec<f64> = (0..3 * 64).map(|i| (i as f64).sin()).collect();
        let strided = random([3, 8, 8], [2, 4, 4], [2, 2], &[0], 1); // pointwise with stride
        let conv = random([2, 4, 4], [3, 4, 4], [1, 1], &[-1, 0, 1], 2);
        let pool = random([3, 4, 4], [5, 1, 1], [1, 1], &[0, 1, 2, 3], 3); // reads inside only
        let padded = random([3, 8, 8], [2, 4, 4], [2, 2], &[-1, 0, 1], 4);
        for (a, b) in [(&strided, &conv), (&conv, &pool)] {
            let input = if a.input[0] == 3 { x.clone() } else { x[..32].to_vec() };
            let both = a.compose(b).unwrap().apply(&input);
            let want = b.apply(&a.apply(&input));
            assert!(both.iter().zip(&want).all(|(p, q)| (p - q).abs() < 1e-9 * q.abs().max(1.0)));
        }
        assert!(padded.compose(&conv).is_none(), "padding in the middle is not a kernel");
        let (d, origin) = padded.to_dense();
        assert_eq!(origin, [-1, -1]);
        let again = Kernel::dense(&d, padded.input, padded.output, padded.stride, origin, [1, 1]);
        assert!(again.apply(&x).iter().zip(padded.apply(&x)).all(|(p, q)| (p - q).abs() < 1e-3));
    }
}
