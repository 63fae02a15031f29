//! Strided convolution of one image: dense kernels as a matrix product over gathered columns,
//! sparse ones weight by weight. Planes of zeros, such as a grouped convolution has between its
//! groups, cost nothing: outputs that read the same channels are computed together.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use std::collections::HashMap;

/// Share of non-zero weights below which a kernel goes weight by weight.
const SPARSE: usize = 8;
/// Values gathered at once: a block of columns stays in the cache.
const BLOCK: usize = 1 << 16;

/// Where a kernel reads: output `y` and tap `ky` meet input row `stride·y + origin + dilation·ky`.
pub(crate) struct Window {
    pub stride: [usize; 2],
    pub origin: [i64; 2],
    pub dilation: [usize; 2],
}

impl Window {
    /// The outputs whose tap `k` of axis `d` reads inside `0..extent`, and the input position of
    /// the first.
    fn valid(&self, d: usize, k: usize, extent: usize, out: usize) -> (std::ops::Range<usize>, usize) {
        let (stride, first) = (self.stride[d] as i64, self.origin[d] + (k * self.dilation[d]) as i64);
        let lo = if first < 0 { (-first + stride - 1) / stride } else { 0 };
        let hi = if first >= extent as i64 { 0 } else { ((extent as i64 - 1 - first) / stride + 1).min(out as i64) };
        let lo = lo.min(hi);
        (lo as usize..hi as usize, (first + lo * stride).max(0) as usize)
    }
}

/// Adds the convolution of `x` with `kernel` (`[out, in, kh, kw]`) to `acc`.
pub(super) fn convolve(x: &[f64], dims: [usize; 3], kernel: &[f64], shape: &[usize], at: &Window, acc: &mut [f64], out: [usize; 3]) {
    let Some(blocks) = blocks(kernel, shape) else {
        return dense(x, dims, kernel, shape, at, acc, out);
    };
    let (plane, area) = (dims[1] * dims[2], out[1] * out[2]);
    for b in blocks {
        let x: Vec<f64> = b.ins.iter().flat_map(|&i| &x[i * plane..(i + 1) * plane]).copied().collect();
        let mut part = vec![0.0; b.outs.len() * area];
        let dims = [b.ins.len(), dims[1], dims[2]];
        dense(&x, dims, &b.kernel, &b.shape(shape), at, &mut part, [b.outs.len(), out[1], out[2]]);
        for (&o, part) in b.outs.iter().zip(part.chunks_exact(area)) {
            acc[o * area..(o + 1) * area].iter_mut().zip(part).for_each(|(a, p)| *a += p);
        }
    }
}

/// A convolution without regard to planes of zeros.
fn dense(x: &[f64], dims: [usize; 3], kernel: &[f64], shape: &[usize], at: &Window, acc: &mut [f64], out: [usize; 3]) {
    if is_sparse(kernel) || gathered(x, dims, kernel, shape, at, acc, out).is_none() {
        weight_by_weight(x, dims, kernel, shape, at, acc, out);
    }
}

fn is_sparse(kernel: &[f64]) -> bool {
    kernel.iter().filter(|w| **w != 0.0).count() * SPARSE <= kernel.len()
}

/// Outputs that read the same channels, with the weights between the two.
struct Block {
    outs: Vec<usize>,
    ins: Vec<usize>,
    kernel: Vec<f64>,
}

impl Block {
    fn shape(&self, whole: &[usize]) -> [usize; 4] {
        [self.outs.len(), self.ins.len(), whole[2], whole[3]]
    }
}

/// The blocks of a kernel; none if there is but one, or if most hold a single output.
fn blocks(kernel: &[f64], shape: &[usize]) -> Option<Vec<Block>> {
    let [ins, taps] = [shape[1], shape[2] * shape[3]];
    if taps == 0 || ins == 0 {
        return None;
    }
    let read = |filter: &[f64]| -> Vec<usize> { (0..ins).filter(|i| filter[i * taps..(i + 1) * taps].iter().any(|w| *w != 0.0)).collect() };
    let filter = |o: usize| &kernel[o * ins * taps..(o + 1) * ins * taps];
    let mut of: HashMap<Vec<usize>, Vec<usize>> = HashMap::new();
    for o in 0..shape[0] {
        of.entry(read(filter(o))).or_default().push(o);
    }
    let one = of.len() == 1 && of.keys().all(|read| read.len() == ins);
    // Blocks of single outputs are no matrices: gathering their operands would cost as much as
    // using them.
    if one || of.len() * 2 > shape[0] {
        return None;
    }
    let block = |(ins, outs): (Vec<usize>, Vec<usize>)| {
        let plane = |o: usize, i: usize| &filter(o)[i * taps..(i + 1) * taps];
        let kernel = outs.iter().flat_map(|&o| ins.iter().flat_map(move |&i| plane(o, i))).copied().collect();
        Block { outs, ins, kernel }
    };
    let mut all: Vec<Block> = of.into_iter().filter(|(ins, _)| !ins.is_empty()).map(block).collect();
    all.sort_unstable_by_key(|b| b.outs[0]);
    Some(all)
}

/// Blocks of output rows, whose operands are gathered into a matrix `[in·kh·kw, positions]`.
/// `None`, with `acc` untouched, for sizes that do not fit together.
fn gathered(
    x: &[f64],
    [_, h, w]: [usize; 3],
    kernel: &[f64],
    shape: &[usize],
    at: &Window,
    acc: &mut [f64],
    [outs, oh, ow]: [usize; 3],
) -> Option<()> {
    let [ins, kh, kw] = [shape[1], shape[2], shape[3]];
    let taps = ins * kh * kw;
    let matrix = ArrayView2::from_shape((outs, taps), kernel).ok()?;
    let mut acc = ArrayViewMut2::from_shape((outs, oh * ow), acc).ok()?;
    let rows = (BLOCK / (taps * ow).max(1)).clamp(1, oh.max(1));
    let mut columns = vec![0.0; taps * rows * ow];
    for top in (0..oh).step_by(rows) {
        let bottom = (top + rows).min(oh);
        let width = (bottom - top) * ow;
        let columns = &mut columns[..taps * width];
        columns.fill(0.0);
        for (t, line) in columns.chunks_exact_mut(width).enumerate() {
            let (i, ky, kx) = (t / (kh * kw), t / kw % kh, t % kw);
            let (ys, y0) = at.valid(0, ky, h, oh);
            let (xs, x0) = at.valid(1, kx, w, ow);
            for y in ys.start.max(top)..ys.end.min(bottom) {
                let row = (i * h + y0 + (y - ys.start) * at.stride[0]) * w;
                let src = &x[row..row + w];
                let dst = &mut line[(y - top) * ow + xs.start..(y - top) * ow + xs.end];
                if at.stride[1] == 1 {
                    dst.copy_from_slice(&src[x0.min(w)..][..dst.len()]);
                } else {
                    dst.iter_mut().zip(src[x0.min(w)..].iter().step_by(at.stride[1])).for_each(|(d, s)| *d = *s);
                }
            }
        }
        let columns = ArrayView2::from_shape((taps, width), columns).ok()?;
        let mut block = acc.slice_axis_mut(Axis(1), Slice::from(top * ow..bottom * ow));
        general_mat_mul(1.0, &matrix, &columns, 1.0, &mut block);
    }
    Some(())
}

/// Adds to `acc` (the shape of the convolution's operand) the gradient at the operand, from the
/// gradient `y` at the result: the transposed map.
pub(super) fn convolve_back(y: &[f64], out: [usize; 3], kernel: &[f64], shape: &[usize], at: &Window, acc: &mut [f64], dims: [usize; 3]) {
    let Some(blocks) = blocks(kernel, shape) else {
        return dense_back(y, out, kernel, shape, at, acc, dims);
    };
    let (plane, area) = (dims[1] * dims[2], out[1] * out[2]);
    for b in blocks {
        let y: Vec<f64> = b.outs.iter().flat_map(|&o| &y[o * area..(o + 1) * area]).copied().collect();
        let mut part = vec![0.0; b.ins.len() * plane];
        let dims = [b.ins.len(), dims[1], dims[2]];
        dense_back(&y, [b.outs.len(), out[1], out[2]], &b.kernel, &b.shape(shape), at, &mut part, dims);
        for (&i, part) in b.ins.iter().zip(part.chunks_exact(plane)) {
            acc[i * plane..(i + 1) * plane].iter_mut().zip(part).for_each(|(a, p)| *a += p);
        }
    }
}

/// The transpose of [`dense`].
fn dense_back(y: &[f64], out: [usize; 3], kernel: &[f64], shape: &[usize], at: &Window, acc: &mut [f64], dims: [usize; 3]) {
    if is_sparse(kernel) || scattered(y, out, kernel, shape, at, acc, dims).is_none() {
        weight_by_weight_back(y, out, kernel, shape, at, acc, dims);
    }
}

/// The transpose of [`gathered`]: a matrix product, whose columns are added where they were read.
fn scattered(
    y: &[f64],
    [outs, oh, ow]: [usize; 3],
    kernel: &[f64],
    shape: &[usize],
    at: &Window,
    acc: &mut [f64],
    [_, h, w]: [usize; 3],
) -> Option<()> {
    let [ins, kh, kw] = [shape[1], shape[2], shape[3]];
    let taps = ins * kh * kw;
    let matrix = ArrayView2::from_shape((outs, taps), kernel).ok()?;
    let y = ArrayView2::from_shape((outs, oh * ow), y).ok()?;
    let rows = (BLOCK / (taps * ow).max(1)).clamp(1, oh.max(1));
    let mut columns = vec![0.0; taps * rows * ow];
    for top in (0..oh).step_by(rows) {
        let bottom = (top + rows).min(oh);
        let width = (bottom - top) * ow;
        let mut columns = ArrayViewMut2::from_shape((taps, width), &mut columns[..taps * width]).ok()?;
        general_mat_mul(1.0, &matrix.t(), &y.slice_axis(Axis(1), Slice::from(top * ow..bottom * ow)), 0.0, &mut columns);
        for (t, line) in columns.axis_iter(Axis(0)).enumerate() {
            let (i, ky, kx) = (t / (kh * kw), t / kw % kh, t % kw);
            let (ys, y0) = at.valid(0, ky, h, oh);
            let (xs, x0) = at.valid(1, kx, w, ow);
            let line = line.to_slice()?;
            for y in ys.start.max(top)..ys.end.min(bottom) {
                let row = (i * h + y0 + (y - ys.start) * at.stride[0]) * w;
                let src = &line[(y - top) * ow + xs.start..(y - top) * ow + xs.end];
                add_strided(&mut acc[row..row + w][x0.min(w)..], at.stride[1], src, 1.0);
            }
        }
    }
    Some(())
}

/// Adds `factor·src` to every `step`-th element.
fn add_strided(acc: &mut [f64], step: usize, src: &[f64], factor: f64) {
    if step == 1 {
        acc.iter_mut().zip(src).for_each(|(d, s)| *d += factor * s);
    } else {
        acc.iter_mut().step_by(step).zip(src).for_each(|(d, s)| *d += factor * s);
    }
}

/// The transpose of [`weight_by_weight`].
fn weight_by_weight_back(y: &[f64], out: [usize; 3], kernel: &[f64], shape: &[usize], at: &Window, acc: &mut [f64], [_, h, w]: [usize; 3]) {
    let [ins, kh, kw] = [shape[1], shape[2], shape[3]];
    for (o, plane) in y.chunks_exact(out[1] * out[2]).enumerate() {
        for (t, &weight) in kernel[o * ins * kh * kw..(o + 1) * ins * kh * kw].iter().enumerate() {
            if weight == 0.0 {
                continue;
            }
            let (i, ky, kx) = (t / (kh * kw), t / kw % kh, t % kw);
            let (rows, y0) = at.valid(0, ky, h, out[1]);
            let (cols, x0) = at.valid(1, kx, w, out[2]);
            for (k, row) in rows.enumerate() {
                let to = (i * h + y0 + k * at.stride[0]) * w;
                let src = &plane[row * out[2] + cols.start..row * out[2] + cols.end];
                add_strided(&mut acc[to..to + w][x0.min(w)..], at.stride[1], src, weight);
            }
        }
    }
}

/// Row by row, one weight at a time.
fn weight_by_weight(x: &[f64], [_, h, w]: [usize; 3], kernel: &[f64], shape: &[usize], at: &Window, acc: &mut [f64], out: [usize; 3]) {
    let [ins, kh, kw] = [shape[1], shape[2], shape[3]];
    let step = at.stride[1];
    for (o, plane) in acc.chunks_exact_mut(out[1] * out[2]).enumerate() {
        for (t, &weight) in kernel[o * ins * kh * kw..(o + 1) * ins * kh * kw].iter().enumerate() {
            let (i, ky, kx) = (t / (kh * kw), t / kw % kh, t % kw);
            if weight == 0.0 {
                continue;
            }
            let (rows, mut y) = at.valid(0, ky, h, out[1]);
            let (cols, x0) = at.valid(1, kx, w, out[2]);
            for row in rows {
                let src = &x[(i * h + y) * w..(i * h + y + 1) * w];
                let dst = &mut plane[row * out[2] + cols.start..row * out[2] + cols.end];
                if step == 1 {
                    for (d, s) in dst.iter_mut().zip(&src[x0.min(w)..]) {
                        *d += weight * s;
                    }
                } else {
                    for (d, s) in dst.iter_mut().zip(src[x0.min(w)..].iter().step_by(step)) {
                        *d += weight * s;
                    }
                }
                y += at.stride[0];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A grouped convolution is as many small ones, and zeros between the groups are not
    /// multiplied.
    #[test]
    fn planes_of_zeros_cost_nothing() {
        let (groups, each, k) = (4, 6, 3);
        let c = groups * each;
        let shape = [c, c, k, k];
        let mut kernel = vec![0.0; c * c * k * k];
        for (t, w) in kernel.iter_mut().enumerate() {
            let (o, i) = (t / (c * k * k), t / (k * k) % c);
            if o / each == i / each {
                *w = (t * 7919 % 83) as f64 / 41.0 - 1.0;
            }
        }
        let found = blocks(&kernel, &shape).expect("a kernel of blocks");
        assert_eq!(found.len(), groups);
        assert_eq!(found.iter().map(|b| b.kernel.len()).sum::<usize>(), c * each * k * k);
        assert_eq!((&found[1].outs, &found[1].ins), (&(6..12).collect(), &(6..12).collect()));
        assert!(blocks(&vec![1.0; 81], &[3, 3, 3, 3]).is_none());
        // Depthwise: one weight at a time, of the non-zero ones only.
        let depthwise: Vec<f64> = (0..32 * 32 * 9).map(|t| if t / (32 * 9) == t / 9 % 32 { 0.5 } else { 0.0 }).collect();
        assert!(blocks(&depthwise, &[32, 32, 3, 3]).is_none() && is_sparse(&depthwise));
        let at = Window { stride: [2, 1], origin: [-1, 0], dilation: [1, 2] };
        let (dims, out) = ([c, 7, 9], [c, 4, 5]);
        let x: Vec<f64> = (0..c * 63).map(|i| (i * 31 % 17) as f64 - 8.0).collect();
        let (mut a, mut b) = (vec![1.0; c * 20], vec![1.0; c * 20]);
        convolve(&x, dims, &kernel, &shape, &at, &mut a, out);
        weight_by_weight(&x, dims, &kernel, &shape, &at, &mut b, out);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9 * b.abs().max(1.0)));
        let (mut c, mut d) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        convolve_back(&b, out, &kernel, &shape, &at, &mut c, dims);
        weight_by_weight_back(&b, out, &kernel, &shape, &at, &mut d, dims);
        assert!(c.iter().zip(&d).all(|(c, d)| (c - d).abs() < 1e-9 * d.abs().max(1.0)));
    }

    proptest! {
        #[test]
        fn both_ways_agree(
            h in 1usize..9, w in 1usize..9, oh in 1usize..9, ow in 1usize..9, k in (1usize..4, 1usize..4), stride in (1usize..4, 1usize..4),
            origin in (-4i64..4, -4i64..4), dilation in 1usize..3, outs in 1usize..4, ins in 1usize..4, seed in any::<u32>(),
        ) {
            let mut s = u64::from(seed);
            let mut next = || {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (s >> 40) as f64 / 1e6 - 8.0
            };
            let x: Vec<f64> = (0..ins * h * w).map(|_| next()).collect();
            let kernel: Vec<f64> = (0..outs * ins * k.0 * k.1).map(|_| next()).collect();
            let at = Window { stride: [stride.0, stride.1], origin: [origin.0, origin.1], dilation: [dilation; 2] };
            let (mut a, mut b) = (vec![1.0; outs * oh * ow], vec![1.0; outs * oh * ow]);
            let shape = [outs, ins, k.0, k.1];
            prop_assert!(gathered(&x, [ins, h, w], &kernel, &shape, &at, &mut a, [outs, oh, ow]).is_some());
            weight_by_weight(&x, [ins, h, w], &kernel, &shape, &at, &mut b, [outs, oh, ow]);
            prop_assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9 * b.abs().max(1.0)));
            // Both transposes are those of the map: ⟨A·x, y⟩ = ⟨x, Aᵀ·y⟩.
            let y: Vec<f64> = (0..outs * oh * ow).map(|_| next()).collect();
            let (mut c, mut d) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            prop_assert!(scattered(&y, [outs, oh, ow], &kernel, &shape, &at, &mut c, [ins, h, w]).is_some());
            weight_by_weight_back(&y, [outs, oh, ow], &kernel, &shape, &at, &mut d, [ins, h, w]);
            prop_assert!(c.iter().zip(&d).all(|(c, d)| (c - d).abs() < 1e-9 * d.abs().max(1.0)));
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (forth, back) = (dot(&a, &y) - y.iter().sum::<f64>(), dot(&x, &c));
            let size: f64 = a.iter().zip(&y).map(|(a, y)| (a * y).abs()).sum::<f64>().max(1.0);
            prop_assert!((forth - back).abs() < 1e-9 * size, "{} {}", forth, back);
        }
    }
}
