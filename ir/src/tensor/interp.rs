//! Clear interpreter of the tensor IR: values and sums in f64, one image per task.

use super::convolve::{Window, convolve};
use super::{ActivationKind, TensorGraph, TensorOp};
use crate::consts::ConstId;
use crate::error::InterpError;
use crate::graph::{Op, ValueId};
use rayon::prelude::*;
use std::collections::HashMap;

/// Runs `n` images (`n·C·H·W` values, image-major) and returns, per output of the graph, `n·len`
/// values. `g` must satisfy the verifier's invariants.
///
/// # Errors
/// The input has another size than the graph takes, a constant has no data, or there is not exactly
/// one input.
pub fn interp(g: &TensorGraph, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
    let consts = prepare(g, images.len(), n)?;
    let per_image: Vec<Vec<Vec<f32>>> = split(images, n)
        .map(|image| {
            let mut out = vec![vec![]; g.outputs.len()];
            run(g, &consts, image, |v, x: &mut [f64]| {
                for (slot, _) in out.iter_mut().zip(&g.outputs).filter(|(_, o)| **o == v) {
                    *slot = x.iter().map(|&x| x as f32).collect();
                }
            });
            out
        })
        .collect();
    Ok((0..g.outputs.len()).map(|o| per_image.iter().flat_map(|p| p[o].iter().copied()).collect()).collect())
}

/// Largest absolute value of every value of the graph over `n` images, for choosing ranges and
/// scales.
///
/// # Errors
/// As [`interp`].
pub fn ranges(g: &TensorGraph, images: &[f32], n: usize) -> Result<Vec<f32>, InterpError> {
    let consts = prepare(g, images.len(), n)?;
    let zero = || vec![0f32; g.nodes.len()];
    let max = |mut a: Vec<f32>, b: Vec<f32>| {
        a.iter_mut().zip(b).for_each(|(x, y)| *x = x.max(y));
        a
    };
    Ok(split(images, n)
        .map(|image| {
            let mut m = zero();
            run(g, &consts, image, |v, x: &mut [f64]| m[v.index()] = x.iter().fold(0.0, |a: f64, x| a.max(x.abs())) as f32);
            m
        })
        .reduce(zero, max))
}

/// Calls `f(image, value, elements)` for every value of every image, image by image in parallel.
///
/// # Errors
/// As [`interp`].
pub fn visit(g: &TensorGraph, images: &[f32], n: usize, f: impl Fn(usize, ValueId, &[f64]) + Sync) -> Result<(), InterpError> {
    fold(g, images, n, || (), |(), i, v, x| f(i, v, x)).map(|_| ())
}

/// Gives the values of every image to `f(state, image, value, elements)`, which may change the
/// elements before others read them. Consecutive images share a state, made by `new`; there are
/// about as many states as threads, and they come back in the order of the images.
///
/// # Errors
/// As [`interp`].
pub fn fold<T: Send>(
    g: &TensorGraph,
    images: &[f32],
    n: usize,
    new: impl Fn() -> T + Sync,
    f: impl Fn(&mut T, usize, ValueId, &mut [f64]) + Sync,
) -> Result<Vec<T>, InterpError> {
    each_image(g, images, n, new, |state, i, consts, image| run(g, consts, image, |v, x: &mut [f64]| f(state, i, v, x)))
}

/// Calls `f(state, image, constants, pixels)` for every image, with states as in [`fold`].
///
/// # Errors
/// As [`interp`].
pub(super) fn each_image<T: Send>(
    g: &TensorGraph,
    images: &[f32],
    n: usize,
    new: impl Fn() -> T + Sync,
    f: impl Fn(&mut T, usize, &Prepared, &[f32]) + Sync,
) -> Result<Vec<T>, InterpError> {
    let consts = prepare(g, images.len(), n)?;
    let len = images.len().checked_div(n).unwrap_or(1).max(1);
    let each = n.div_ceil(rayon::current_num_threads()).max(1);
    let part = |(k, part): (usize, &[f32])| {
        let mut state = new();
        part.chunks(len).enumerate().for_each(|(i, image)| f(&mut state, k * each + i, &consts, image));
        state
    };
    Ok(images.par_chunks(each * len).enumerate().map(part).collect())
}

/// A named activation at `x`; `alpha` is read by leaky ReLU (slope) and clip (upper end).
pub fn activate(kind: ActivationKind, alpha: Option<f64>, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match kind {
        ActivationKind::Relu => x.max(0.0),
        ActivationKind::LeakyRelu => {
            if x > 0.0 {
                x
            } else {
                alpha.unwrap_or(0.01) * x
            }
        }
        ActivationKind::Sigmoid => sigmoid(x),
        ActivationKind::Silu => x * sigmoid(x),
        ActivationKind::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        ActivationKind::Tanh => x.tanh(),
        ActivationKind::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        ActivationKind::Clip => x.max(0.0).min(alpha.unwrap_or(f64::INFINITY)),
    }
}

/// The derivative of a named activation at `x`; at a kink, that of the left side.
pub fn slope(kind: ActivationKind, alpha: Option<f64>, x: f64) -> f64 {
    let step = |inside: bool| if inside { 1.0 } else { 0.0 };
    match kind {
        ActivationKind::Relu => step(x > 0.0),
        ActivationKind::LeakyRelu => {
            if x > 0.0 {
                1.0
            } else {
                alpha.unwrap_or(0.01)
            }
        }
        ActivationKind::Sigmoid => {
            let y = activate(kind, alpha, x);
            y * (1.0 - y)
        }
        ActivationKind::Silu => {
            let y = activate(ActivationKind::Sigmoid, None, x);
            y * (1.0 + x * (1.0 - y))
        }
        ActivationKind::Gelu => {
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)) + x * density
        }
        ActivationKind::Tanh => 1.0 - x.tanh().powi(2),
        ActivationKind::HardSwish => {
            if x.abs() < 3.0 {
                (2.0 * x + 3.0) / 6.0
            } else {
                step(x >= 3.0)
            }
        }
        ActivationKind::Clip => step(x > 0.0 && x <= alpha.unwrap_or(f64::INFINITY)),
    }
}

/// `Σ coeffs[k]·T_k(u)` by Clenshaw's recurrence.
pub fn chebyshev(coeffs: &[f64], u: f64) -> f64 {
    let Some((first, rest)) = coeffs.split_first() else { return 0.0 };
    let (b1, b2) = rest.iter().rev().fold((0.0, 0.0), |(b1, b2), c| (2.0 * u * b1 - b2 + c, b1));
    u * b1 - b2 + first
}

/// The error function: Maclaurin series below 3, Laplace's continued fraction of erfc
/// above; |error| < 1e-13.
pub(super) fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for k in 1..100 {
            term *= -a * a / k as f64;
            sum += term / (2 * k + 1) as f64;
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let tail = (1..=60).rev().fold(a, |t, k| a + k as f64 / 2.0 / t);
        1.0 - (-a * a).exp() / (tail * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

/// Constants in use, widened.
pub(super) type Prepared = HashMap<ConstId, Vec<f64>>;

/// Checks the sizes and widens all constants in use.
fn prepare(g: &TensorGraph, len: usize, n: usize) -> Result<Prepared, InterpError> {
    let inputs: Vec<_> = g.nodes.iter().filter(|n| matches!(n.op, TensorOp::Input {})).collect();
    let [input] = inputs[..] else {
        return Err(InterpError::Unsupported(format!("the tensor interpreter runs graphs with one input, not {}", inputs.len())));
    };
    if Some(len) != input.ty.len().checked_mul(n) {
        return Err(InterpError::InputSize { got: len.checked_div(n).unwrap_or(len), want: input.ty.len() });
    }
    let mut out = Prepared::new();
    for c in g.nodes.iter().flat_map(|n| n.op.consts()) {
        if let std::collections::hash_map::Entry::Vacant(e) = out.entry(c) {
            e.insert(g.consts.array(c)?.data.iter().map(|&x| f64::from(x)).collect());
        }
    }
    Ok(out)
}

fn split(images: &[f32], n: usize) -> impl IndexedParallelIterator<Item = &[f32]> {
    images.par_chunks(images.len().checked_div(n).unwrap_or(1).max(1))
}

/// Evaluates all nodes on one image; values are dropped after their last use.
fn run(g: &TensorGraph, consts: &Prepared, image: &[f32], mut f: impl FnMut(ValueId, &mut [f64])) {
    let mut uses = g.use_counts();
    let mut values: Vec<Vec<f64>> = vec![vec![]; g.nodes.len()];
    for (v, n) in g.iter() {
        let args: Vec<&[f64]> = n.args.iter().map(|a| values[a.index()].as_slice()).collect();
        let mut x = eval(g, consts, v, &args, image);
        f(v, &mut x);
        for a in &n.args {
            uses[a.index()] -= 1;
            if uses[a.index()] == 0 {
                values[a.index()] = vec![];
            }
        }
        values[v.index()] = x;
    }
}

/// The value of one node from those of its operands.
pub(super) fn eval(g: &TensorGraph, consts: &Prepared, v: ValueId, args: &[&[f64]], image: &[f32]) -> Vec<f64> {
    let n = g.node(v);
    let out = n.ty.chw();
    let dims = |i: usize| g.ty(n.args[i]).chw();
    let shape = |c: &ConstId| g.consts.get(*c).shape();
    let map = |f: &dyn Fn(f64) -> f64| args[0].iter().map(|&x| f(x)).collect();
    let zip = |f: &dyn Fn(f64, f64) -> f64| args[0].iter().zip(args[1]).map(|(&x, &y)| f(x, y)).collect();
    match &n.op {
        TensorOp::Input {} => image.iter().map(|&x| f64::from(x)).collect(),
        TensorOp::Conv2d { weight, bias, stride, pad, dilation } => {
            let mut acc = biased(out, bias.map(|b| consts[&b].as_slice()));
            let k = Window { stride: *stride, origin: [-(pad[0] as i64), -(pad[1] as i64)], dilation: *dilation };
            convolve(args[0], dims(0), &consts[weight], shape(weight), &k, &mut acc, out);
            acc
        }
        TensorOp::Linear { weight, bias } => {
            let mut acc = biased(out, bias.map(|b| consts[&b].as_slice()));
            for (y, row) in acc.iter_mut().zip(consts[weight].chunks_exact(args[0].len())) {
                *y += row.iter().zip(args[0]).map(|(w, x)| w * x).sum::<f64>();
            }
            acc
        }
        TensorOp::Affine { scale, shift } => {
            let (a, b) = (&consts[scale], &consts[shift]);
            per_channel(args[0], out, |c, x| a[c % a.len()] * x + b[c % b.len()])
        }
        TensorOp::AddConst { value } => args[0].iter().zip(&consts[value]).map(|(x, y)| x + y).collect(),
        TensorOp::Add {} => zip(&|x, y| x + y),
        TensorOp::Sub {} => zip(&|x, y| x - y),
        TensorOp::Mul {} => zip(&|x, y| x * y),
        TensorOp::Square {} => map(&|x| x * x),
        TensorOp::Poly { coeffs } => {
            let rows: Vec<&[f64]> = consts[coeffs].chunks_exact(shape(coeffs)[1]).collect();
            per_channel(args[0], out, |c, x| rows[c % rows.len()].iter().rev().fold(0.0, |acc, a| acc * x + a))
        }
        TensorOp::Chebyshev { coeffs, sine, .. } => {
            let rows: Vec<&[f64]> = consts[coeffs].chunks_exact(shape(coeffs)[1]).collect();
            per_channel(args[0], out, |c, x| chebyshev(rows[c % rows.len()], if *sine { x.sin() } else { x }))
        }
        TensorOp::Activation { kind, alpha } => map(&|x| activate(*kind, *alpha, x)),
        TensorOp::Function { of, params } => {
            let rows = rows(g, consts, *params);
            per_channel(args[0], out, |c, x| of.value(x, &rows[c % rows.len()]))
        }
        TensorOp::AvgPool { kernel, stride, pad, count_pad } => {
            let full = (kernel[0] * kernel[1]) as f64;
            let windows = windows(dims(0), out, *kernel, *stride, *pad);
            let average = |w: WindowElements| {
                let (sum, count) = w.fold((0.0, 0.0), |(s, k), i| (s + args[0][i], k + 1.0));
                sum / if *count_pad { full } else { count }
            };
            windows.map(average).collect()
        }
        TensorOp::MaxPool { kernel, stride, pad } => {
            let windows = windows(dims(0), out, *kernel, *stride, *pad);
            windows.map(|w| w.fold(f64::NEG_INFINITY, |m, i| m.max(args[0][i]))).collect()
        }
        TensorOp::Slice { start, step, .. } => {
            let at = sliced(*start, *step, dims(0), out);
            at.map(|i| args[0][i]).collect()
        }
        TensorOp::Pad { before, .. } => {
            let w = dims(0)[2];
            let mut y = vec![0.0; out.iter().product()];
            args[0].chunks_exact(w).zip(padded(*before, dims(0), out)).for_each(|(src, at)| y[at..at + w].copy_from_slice(src));
            y
        }
        TensorOp::Concat {} => args.concat(),
        TensorOp::Flatten {} => args[0].to_vec(),
        TensorOp::LinearMap { kernels, strides, origins, bias, reads, .. } => {
            let part = |i: usize| MapPart {
                x: args[i],
                dims: dims(i),
                kernel: &consts[&kernels[i]],
                shape: shape(&kernels[i]),
                window: Window { stride: strides[i], origin: origins[i], dilation: [1, 1] },
                lists: reads.of(i),
                groups: n.op.groups(i),
            };
            let parts: Vec<MapPart> = (0..kernels.len()).map(part).collect();
            linear_map(&parts, bias.map(|b| consts[&b].as_slice()), out)
        }
    }
}

/// An operand of a linear map: its elements and extents, the kernel with its shape, and where it
/// reads.
pub(crate) struct MapPart<'a> {
    pub x: &'a [f64],
    pub dims: [usize; 3],
    pub kernel: &'a [f64],
    pub shape: &'a [usize],
    pub window: Window,
    pub lists: Option<&'a [super::Lists; 2]>,
    pub groups: usize,
}

/// A sum of strided kernels over several operands, plus a bias of `[out]` or of the result's shape.
pub(crate) fn linear_map(operands: &[MapPart], bias: Option<&[f64]>, out: [usize; 3]) -> Vec<f64> {
    let mut acc = biased(out, bias);
    for o in operands {
        let parts = Parts::new(o.groups, o.shape, o.dims, out);
        for g in 0..parts.groups {
            let (x, w, acc) = (&o.x[parts.input(g)], &o.kernel[parts.kernel(g)], &mut acc[parts.output(g)]);
            match o.lists {
                Some(lists) => super::reads::apply(x, parts.dims, w, &parts.shape, lists, acc, parts.out),
                None => convolve(x, parts.dims, w, &parts.shape, &o.window, acc, parts.out),
            }
        }
    }
    acc
}

/// The parts of a kernel in groups, each a map of its own between some of the channels.
pub(super) struct Parts {
    pub groups: usize,
    /// Of a part: its kernel `[out, in, kh, kw]`, its operand and its result.
    pub shape: [usize; 4],
    pub dims: [usize; 3],
    pub out: [usize; 3],
}

impl Parts {
    /// Of a kernel of the given shape between values of these extents.
    pub fn new(groups: usize, shape: &[usize], dims: [usize; 3], out: [usize; 3]) -> Parts {
        let shape = [shape[0] / groups, shape[1], shape[2], shape[3]];
        Parts { groups, shape, dims: [shape[1], dims[1], dims[2]], out: [shape[0], out[1], out[2]] }
    }
    fn part(extents: &[usize], g: usize) -> std::ops::Range<usize> {
        let len = extents.iter().product::<usize>();
        g * len..(g + 1) * len
    }
    /// Elements of the operand, of the kernel and of the result that are part `g`.
    pub fn input(&self, g: usize) -> std::ops::Range<usize> {
        Self::part(&self.dims, g)
    }
    pub fn kernel(&self, g: usize) -> std::ops::Range<usize> {
        Self::part(&self.shape, g)
    }
    pub fn output(&self, g: usize) -> std::ops::Range<usize> {
        Self::part(&self.out, g)
    }
}

/// Rows of an optional constant `[C, k]`; one empty row where there is none.
pub(super) fn rows(g: &TensorGraph, consts: &Prepared, c: Option<ConstId>) -> Vec<Vec<f64>> {
    let Some(c) = c else { return vec![vec![]] };
    consts[&c].chunks_exact(g.consts.get(c).shape()[1].max(1)).map(<[f64]>::to_vec).collect()
}

/// An output filled with a bias of `[out]` or of its own shape.
fn biased(out: [usize; 3], bias: Option<&[f64]>) -> Vec<f64> {
    let plane = out[1] * out[2];
    match bias {
        None => vec![0.0; out[0] * plane],
        Some(b) if b.len() == out[0] => b.iter().flat_map(|&b| std::iter::repeat_n(b, plane)).collect(),
        Some(b) => b.to_vec(),
    }
}

fn per_channel(x: &[f64], [_, h, w]: [usize; 3], f: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    x.chunks_exact(h * w).enumerate().flat_map(|(c, p)| p.iter().map(move |&x| (c, x))).map(|(c, x)| f(c, x)).collect()
}

fn positions([c, h, w]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..c).flat_map(move |c| (0..h).flat_map(move |y| (0..w).map(move |x| [c, y, x])))
}

/// The elements of an operand that a slice takes, in the order of the result.
pub(super) fn sliced(start: [usize; 3], step: [usize; 3], [_, h, w]: [usize; 3], out: [usize; 3]) -> impl Iterator<Item = usize> {
    let at = move |d: usize, i: usize| start[d] + i * step[d];
    positions(out).map(move |[c, y, x]| (at(0, c) * h + at(1, y)) * w + at(2, x))
}

/// Where padding puts the rows of an operand: the first element of each.
pub(super) fn padded(before: [usize; 3], [c, h, _]: [usize; 3], out: [usize; 3]) -> impl Iterator<Item = usize> {
    (0..c * h).map(move |row| ((row / h + before[0]) * out[1] + row % h + before[1]) * out[2] + before[2])
}

/// Elements of one window of a pooling op.
pub(super) type WindowElements = Box<dyn Iterator<Item = usize>>;

/// The elements of an operand in every window that lie inside it, in the order of the result.
pub(super) fn windows(
    [_, h, w]: [usize; 3],
    out: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 4],
) -> impl Iterator<Item = WindowElements> {
    positions(out).map(move |[c, oy, ox]| {
        let span = |o: usize, d: usize, extent: usize| {
            let from = o * stride[d];
            from.saturating_sub(pad[d])..(from + kernel[d]).saturating_sub(pad[d]).min(extent)
        };
        let (ys, xs) = (span(oy, 0, h), span(ox, 1, w));
        Box::new(ys.flat_map(move |y| xs.clone().map(move |x| (c * h + y) * w + x))) as WindowElements
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Tensor, verify};

    fn run_text(body: &str, image: &[f32]) -> Vec<f32> {
        let g = crate::text::parse::<Tensor>(&format!("tensor @t {{\n{body}\n}}")).unwrap();
        let g = verify(g).unwrap_or_else(|e| panic!("{e}"));
        interp(&g, image, 1).unwrap().remove(0)
    }
    const X: [f32; 9] = [1., 2., 3., 4., 5., 6., 7., 8., 9.];

    #[test]
    fn convolution_with_padding_stride_and_dilation() {
        let body = |a: &str, ty: &str| {
            format!(
                "const @w : f32[1x1x2x2] = [1, 10, 100, 1000]\nconst @b : f32[1] = [0.5]\n%0 = input : f32[1x3x3]\n%1 = conv2d %0 {{weight=@w, bias=@b, {a}}} : f32[{ty}]\nreturn %1"
            )
        };
        assert_eq!(run_text(&body("stride=[1, 1], pad=[0, 0, 0, 0], dilation=[1, 1]", "1x2x2"), &X), [5421.5, 6532.5, 8754.5, 9865.5]);
        assert_eq!(run_text(&body("stride=[2, 2], pad=[1, 1, 0, 0], dilation=[1, 1]", "1x2x2"), &X), [1000.5, 3200.5, 7040.5, 9865.5]);
        assert_eq!(run_text(&body("stride=[1, 1], pad=[0, 0, 0, 0], dilation=[2, 2]", "1x1x1"), &X), [9731.5]);
    }

    #[test]
    fn pools_slices_and_pads() {
        let pool = |op: &str, ty: &str| run_text(&format!("%0 = input : f32[1x3x3]\n%1 = {op} : f32[{ty}]\nreturn %1"), &X);
        assert_eq!(pool("avg_pool %0 {kernel=[2, 2], stride=[2, 2], pad=[1, 1, 0, 0]}", "1x2x2"), [1.0, 2.5, 5.5, 7.0]);
        assert_eq!(pool("avg_pool %0 {kernel=[2, 2], stride=[2, 2], pad=[1, 1, 0, 0], count_pad=true}", "1x2x2"), [0.25, 1.25, 2.75, 7.0]);
        assert_eq!(pool("max_pool %0 {kernel=[2, 2], stride=[1, 1], pad=[0, 0, 0, 0]}", "1x2x2"), [5., 6., 8., 9.]);
        assert_eq!(pool("slice %0 {start=[0, 0, 1], count=[1, 2, 1], step=[1, 2, 1]}", "1x2x1"), [2., 8.]);
        assert_eq!(
            pool("pad %0 {before=[1, 0, 1], after=[0, 0, 0]}", "2x3x4"),
            [[0.0; 12], [0., 1., 2., 3., 0., 4., 5., 6., 0., 7., 8., 9.]].concat()
        );
    }

    #[test]
    fn linear_map_is_convolution_plus_strided_shortcut() {
        let text = "const @k : f32[1x1x1x3] = [1, 2, 3]\nconst @s : f32[1x1x1x1] = [10]\nconst @b : f32[1x3x2] = [0, 0, 0, 0, 0, 100]
            %0 = input : f32[1x3x3]
            %1 = linear_map %0, %0 {kernels=[@k, @s], strides=[[1, 2], [1, 2]], origins=[[0, -1], [0, 0]], bias=@b} : f32[1x3x2]
            return %1";
        assert_eq!(run_text(text, &X), [18., 38., 63., 77., 108., 216.]);
    }

    #[test]
    fn linear_map_reads_what_its_lists_say() {
        // Rows are copied, reflected at the end; columns are read by two taps of other weights.
        let text = "const @k : f32[1x1x1x2] = [1, 10]
            %0 = input : f32[1x3x3]
            %1 = linear_map %0 {kernels=[@k], strides=[[1, 1]], origins=[[0, 0]], reads=[[[[0, 0, 2, 1]], [[0, 2], [-1, 1]]]]} : f32[1x4x2]
            return %1";
        assert_eq!(run_text(text, &X), [1., 23., 1., 23., 7., 89., 4., 56.]);
    }

    #[test]
    fn groups_read_channels_of_their_own() {
        let text = "const @k : f32[2x1x1x2] = [1, 10, 100, 1000]
            %0 = input : f32[2x1x2]
            %1 = linear_map %0 {kernels=[@k], strides=[[1, 1]], origins=[[0, 0]], groups=[2]} : f32[2x1x1]
            return %1";
        assert_eq!(run_text(text, &X[..4]), [21., 4300.]);
    }

    #[test]
    fn activations_match_known_values() {
        let at = |k, x| activate(k, Some(0.1), x);
        assert_eq!(at(ActivationKind::LeakyRelu, -2.0), -0.2);
        assert_eq!(at(ActivationKind::Clip, 3.0), 0.1);
        assert_eq!(at(ActivationKind::HardSwish, 1.0), 4.0 / 6.0);
        assert!((at(ActivationKind::Silu, 1.0) - 0.731_058_578_630_005).abs() < 1e-14);
        assert!((at(ActivationKind::Gelu, 1.0) - 0.841_344_746_068_543).abs() < 1e-13);
        assert!((erf(3.5) - 0.999_999_256_901_628).abs() < 1e-14 && (erf(2.999) - erf(3.0)).abs() < 2e-7);
        assert_eq!(erf(-0.5), -erf(0.5));
    }

    #[test]
    fn slopes_are_those_of_differences() {
        use ActivationKind::*;
        let h = 1e-5;
        for (kind, alpha) in [
            (Relu, None),
            (LeakyRelu, Some(0.1)),
            (Sigmoid, None),
            (Silu, None),
            (Gelu, None),
            (Tanh, None),
            (HardSwish, None),
            (Clip, Some(2.0)),
        ] {
            for x in [-5.0, -2.9, -1.3, -0.01, 0.01, 0.7, 1.9, 2.1, 2.9, 4.0] {
                let want = (activate(kind, alpha, x + h) - activate(kind, alpha, x - h)) / (2.0 * h);
                assert!((slope(kind, alpha, x) - want).abs() < 1e-8, "{kind} at {x}: {} {want}", slope(kind, alpha, x));
            }
        }
        assert_eq!([Relu, Clip].map(|k| slope(k, Some(1.0), 0.0)), [0.0; 2]);
    }

    #[test]
    fn chebyshev_series_per_channel() {
        // T0..T3 at u: 1, u, 2u²−1, 4u³−3u
        assert_eq!(chebyshev(&[1., 2., 3., 4.], 0.5), 1. + 1. - 1.5 - 4.);
        assert_eq!((chebyshev(&[], 0.3), chebyshev(&[2.], 0.3), chebyshev(&[2., 1.], 0.25)), (0., 2., 2.25));
        let text = |sine: &str| {
            format!(
                "const @c : f32[2x3] = [0, 1, 0, 1, 0, 2]\n%0 = input : f32[2x1x1]\n%1 = chebyshev %0 {{coeffs=@c{sine}}} : f32[2x1x1]\nreturn %1"
            )
        };
        assert_eq!(run_text(&text(""), &[0.5, 0.5]), [0.5, 0.0]);
        let y = 0.5f64.sin();
        assert_eq!(run_text(&text(", sine=true"), &[0.5, 0.5]), [y as f32, (1.0 + 2.0 * (2.0 * y * y - 1.0)) as f32]);
    }

    #[test]
    fn folds_keep_the_order_of_images_and_may_change_values() {
        let text = "tensor @t {\n%0 = input : f32[1]\n%1 = square %0 : f32[1]\nreturn %1\n}";
        let g = verify(crate::text::parse::<Tensor>(text).unwrap()).unwrap();
        let images: Vec<f32> = (0..37).map(|i| i as f32).collect();
        let parts = fold(&g, &images, 37, Vec::new, |seen: &mut Vec<(usize, f64)>, i, v, x| match v.index() {
            0 => x[0] += 1.0,
            _ => seen.push((i, x[0])),
        });
        let want: Vec<(usize, f64)> = (0..37).map(|i| (i, ((i + 1) * (i + 1)) as f64)).collect();
        assert_eq!(parts.unwrap().concat(), want);
    }

    #[test]
    fn ranges_take_the_maximum_over_images() {
        let text = "tensor @t {\n%0 = input : f32[2]\n%1 = square %0 : f32[2]\nreturn %1, %0\n}";
        let g = verify(crate::text::parse::<Tensor>(text).unwrap()).unwrap();
        assert_eq!(ranges(&g, &[1., -3., 2., 0.5], 2).unwrap(), [3.0, 9.0]);
        assert_eq!(interp(&g, &[1., -3., 2., 0.5], 2).unwrap(), [vec![1., 9., 4., 0.25], vec![1., -3., 2., 0.5]]);
        assert_eq!(interp(&g, &[1., 2., 3.], 2).unwrap_err(), InterpError::InputSize { got: 1, want: 2 });
        assert_eq!(interp(&g, &[], 0).unwrap(), [Vec::<f32>::new(), Vec::new()]);
    }
}
