//! Gradients in the clear: values of one image are kept, and gradients go back through the
//! transposed maps and the derivatives of elementwise ops.

use super::convolve::{Window, convolve_back};
use super::interp::{Parts, Prepared, WindowElements, chebyshev, each_image, eval, padded, sliced, slope, windows};
use super::{TensorGraph, TensorOp};
use crate::error::InterpError;
use crate::graph::ValueId;

/// All values of one image, from which gradients go back.
pub struct Trace<'a> {
    g: &'a TensorGraph,
    consts: &'a Prepared,
    /// Values whose gradient is wanted, or goes on to one that is.
    needed: &'a [bool],
    values: Vec<Vec<f64>>,
    /// Derivatives of the elementwise functions of one value, at its elements; empty for other ops.
    slopes: Vec<Vec<f64>>,
}

/// Runs `n` images (`n·C·H·W` values, image-major) and gives each one's trace to `f(state, image,
/// trace)`. Gradients are computed as far back as one of `wanted` is. States are as in
/// [`fold`](super::fold).
///
/// # Errors
/// As [`super::interp`].
pub fn trace<T: Send>(
    g: &TensorGraph,
    images: &[f32],
    n: usize,
    wanted: &[ValueId],
    new: impl Fn() -> T + Sync,
    f: impl Fn(&mut T, usize, &Trace) + Sync,
) -> Result<Vec<T>, InterpError> {
    let mut needed = vec![false; g.nodes.len()];
    wanted.iter().for_each(|v| needed[v.index()] = true);
    for (v, n) in g.iter() {
        needed[v.index()] |= n.args.iter().any(|a| needed[a.index()]);
    }
    each_image(g, images, n, new, |state, i, consts, image| {
        let mut t = Trace { g, consts, needed: &needed, values: vec![], slopes: vec![] };
        for (v, n) in g.iter() {
            let args: Vec<&[f64]> = n.args.iter().map(|a| t.values[a.index()].as_slice()).collect();
            let x = eval(g, consts, v, &args, image);
            let slopes = if n.args.iter().any(|a| needed[a.index()]) { t.slopes_of(v) } else { vec![] };
            t.values.push(x);
            t.slopes.push(slopes);
        }
        f(state, i, &t);
    })
}

impl Trace<'_> {
    /// The elements of a value.
    pub fn value(&self, v: ValueId) -> &[f64] {
        &self.values[v.index()]
    }

    /// Goes back from the gradient at the value `from` and calls `f(value, gradient)` for `from`
    /// and for all values before it that depend on a wanted one and that `from` depends on, last
    /// one first.
    pub fn back(&self, from: ValueId, gradient: &[f64], mut f: impl FnMut(ValueId, &[f64])) {
        let mut all: Vec<Option<Vec<f64>>> = vec![None; from.index() + 1];
        all[from.index()] = Some(gradient.to_vec());
        for (v, n) in self.g.iter().take(from.index() + 1).collect::<Vec<_>>().into_iter().rev() {
            let Some(dy) = all[v.index()].take().filter(|_| self.needed[v.index()]) else { continue };
            f(v, &dy);
            for (k, a) in n.args.iter().enumerate().filter(|(_, a)| self.needed[a.index()]) {
                let dx = all[a.index()].get_or_insert_with(|| vec![0.0; self.values[a.index()].len()]);
                self.pull(v, k, &dy, dx);
            }
        }
    }

    /// Derivatives of a node's function of its only operand; empty for other ops.
    fn slopes_of(&self, v: ValueId) -> Vec<f64> {
        let n = self.g.node(v);
        let Some(x) = n.args.first().map(|a| &self.values[a.index()]) else { return vec![] };
        let per = x.len() / n.ty.chw()[0].max(1);
        let rows = |c| self.consts[c].chunks_exact(self.g.consts.get(*c).shape()[1]).map(<[f64]>::to_vec);
        let by_row = |rows: Vec<Vec<f64>>, f: &dyn Fn(&[f64], f64) -> f64| {
            x.iter().enumerate().map(|(i, &x)| f(&rows[i / per.max(1) % rows.len()], x)).collect()
        };
        match &n.op {
            TensorOp::Square {} => x.iter().map(|x| 2.0 * x).collect(),
            TensorOp::Activation { kind, alpha } => x.iter().map(|&x| slope(*kind, *alpha, x)).collect(),
            TensorOp::Function { of, params } => by_row(super::interp::rows(self.g, self.consts, *params), &|r, x| of.slope(x, r)),
            TensorOp::Poly { coeffs } => {
                let power = |r: Vec<f64>| r.iter().enumerate().skip(1).map(|(k, a)| k as f64 * a).collect();
                by_row(rows(coeffs).map(power).collect(), &|r, x| r.iter().rev().fold(0.0, |acc, a| acc * x + a))
            }
            TensorOp::Chebyshev { coeffs, sine, .. } => by_row(rows(coeffs).map(|r| chebyshev_slope(&r)).collect(), &|r, x| {
                if *sine { chebyshev(r, x.sin()) * x.cos() } else { chebyshev(r, x) }
            }),
            _ => vec![],
        }
    }

    /// Adds to `dx` what the gradient `dy` at `v` makes of the gradient at its operand `k`.
    fn pull(&self, v: ValueId, k: usize, dy: &[f64], dx: &mut [f64]) {
        let n = self.g.node(v);
        let (out, dims) = (n.ty.chw(), self.g.ty(n.args[k]).chw());
        let shape = |c: &crate::consts::ConstId| self.g.consts.get(*c).shape();
        let add = |dx: &mut [f64], factors: &mut dyn Iterator<Item = f64>| {
            dx.iter_mut().zip(dy).zip(factors).for_each(|((x, y), f)| *x += f * y);
        };
        let mut constant = |factor: f64| add(dx, &mut std::iter::repeat(factor));
        match &n.op {
            TensorOp::Input {} => {}
            TensorOp::AddConst { .. } | TensorOp::Add {} | TensorOp::Flatten {} => constant(1.0),
            TensorOp::Sub {} => constant(if k == 0 { 1.0 } else { -1.0 }),
            TensorOp::Mul {} => add(dx, &mut self.values[n.args[1 - k].index()].iter().copied()),
            TensorOp::Square {}
            | TensorOp::Poly { .. }
            | TensorOp::Chebyshev { .. }
            | TensorOp::Activation { .. }
            | TensorOp::Function { .. } => {
                add(dx, &mut self.slopes[v.index()].iter().copied());
            }
            TensorOp::Affine { scale, .. } => {
                let (a, per) = (&self.consts[scale], (out[1] * out[2]).max(1));
                add(dx, &mut (0..dy.len()).map(|i| a[i / per % a.len()]));
            }
            TensorOp::Conv2d { weight, stride, pad, dilation, .. } => {
                let at = Window { stride: *stride, origin: [-(pad[0] as i64), -(pad[1] as i64)], dilation: *dilation };
                convolve_back(dy, out, &self.consts[weight], shape(weight), &at, dx, dims);
            }
            TensorOp::LinearMap { kernels, strides, origins, reads, .. } => {
                let at = Window { stride: strides[k], origin: origins[k], dilation: [1, 1] };
                let kernel = &self.consts[&kernels[k]];
                let parts = Parts::new(n.op.groups(k), shape(&kernels[k]), dims, out);
                for g in 0..parts.groups {
                    let (dy, w, dx) = (&dy[parts.output(g)], &kernel[parts.kernel(g)], &mut dx[parts.input(g)]);
                    match reads.of(k) {
                        Some(lists) => super::reads::back(dy, parts.out, w, &parts.shape, lists, dx, parts.dims),
                        None => convolve_back(dy, parts.out, w, &parts.shape, &at, dx, parts.dims),
                    }
                }
            }
            TensorOp::Linear { weight, .. } => {
                for (row, y) in self.consts[weight].chunks_exact(dx.len()).zip(dy) {
                    dx.iter_mut().zip(row).for_each(|(x, w)| *x += w * y);
                }
            }
            TensorOp::AvgPool { kernel, stride, pad, count_pad } => {
                for (w, y) in windows(dims, out, *kernel, *stride, *pad).zip(dy) {
                    let inside: Vec<usize> = w.collect();
                    let count = if *count_pad { kernel[0] * kernel[1] } else { inside.len() };
                    inside.into_iter().for_each(|i| dx[i] += y / count as f64);
                }
            }
            TensorOp::MaxPool { kernel, stride, pad } => {
                let x = &self.values[n.args[0].index()];
                let first = |w: WindowElements| w.reduce(|a, b| if x[b] > x[a] { b } else { a });
                windows(dims, out, *kernel, *stride, *pad).zip(dy).for_each(|(w, y)| first(w).into_iter().for_each(|i| dx[i] += y));
            }
            TensorOp::Slice { start, step, .. } => sliced(*start, *step, dims, out).zip(dy).for_each(|(i, y)| dx[i] += y),
            TensorOp::Pad { before, .. } => {
                let w = dims[2];
                for (row, at) in dx.chunks_exact_mut(w).zip(padded(*before, dims, out)) {
                    row.iter_mut().zip(&dy[at..at + w]).for_each(|(x, y)| *x += y);
                }
            }
            TensorOp::Concat {} => {
                let before: usize = n.args[..k].iter().map(|a| self.values[a.index()].len()).sum();
                dx.iter_mut().zip(&dy[before..]).for_each(|(x, y)| *x += y);
            }
        }
    }
}

/// Chebyshev coefficients of the derivative of `Σ c[k]·T_k`.
fn chebyshev_slope(c: &[f64]) -> Vec<f64> {
    let mut d = vec![0.0; c.len() + 1];
    for k in (1..c.len()).rev() {
        d[k - 1] = d[k + 1] + 2.0 * k as f64 * c[k];
    }
    d[0] *= 0.5;
    d.truncate(c.len().max(2) - 1);
    d
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gauss::Gauss;
    use crate::tensor::{Tensor, interp, verify};

    /// A network with every op that has operands, some of them twice.
    const NET: &str = "tensor @t {
        const @w : f32[2x2x3x3] = [1,-2,0,3,1,0,-1,2,1, 0,1,2,-1,1,0,2,0,1, 1,1,-1,0,2,1,-2,0,1, 3,0,1,1,-1,2,0,1,1]
        const @s : f32[2] = [0.5, -1.5]
        const @p : f32[2x4] = [0, 1, 0.5, 0.25, 1, -1, 0.5, 0.1]
        const @q : f32[1x4] = [0.1, 0.7, 0.3, -0.2]
        const @k : f32[2x2x2x1] = [1, 2, -1, 0.5, 0, 0, 1, 3]
        const @e : f32[2x2x1x1] = [0, 0, 0, 2]
        const @fc : f32[3x8] = [1,2,3,4,5,6,7,8, -1,0,1,0,-1,0,1,0, 0.5,0.5,2,1,1,-2,0,1]
        const @g : f32[2x1x1x1] = [0.5, -2]
        const @r : f32[2x2x2x1] = [1, 2, 0, -1, 0.5, 1, 3, 0]
        const @a : f32[2x3x3] = [1,2,3,4,5,6,7,8,9,9,8,7,6,5,4,3,2,1]
        %0 = input : f32[2x5x5]
        %1 = conv2d %0 {weight=@w, bias=@s, stride=[2, 2], pad=[1, 1, 1, 1], dilation=[1, 1]} : f32[2x3x3]
        %2 = affine %1 {scale=@s, shift=@s} : f32[2x3x3]
        %3 = add_const %2 {value=@a} : f32[2x3x3]
        %4 = activation %3 {kind=tanh} : f32[2x3x3]
        %5 = activation %2 {kind=silu} : f32[2x3x3]
        %6 = mul %4, %5 : f32[2x3x3]
        %7 = mul %5, %5 : f32[2x3x3]
        %8 = add %6, %7 : f32[2x3x3]
        %9 = sub %8, %4 : f32[2x3x3]
        %10 = square %9 : f32[2x3x3]
        %11 = chebyshev %9 {coeffs=@p, sine=true} : f32[2x3x3]
        %12 = chebyshev %4 {coeffs=@q} : f32[2x3x3]
        %13 = poly %4 {coeffs=@p} : f32[2x3x3]
        %14 = concat %11, %12 : f32[4x3x3]
        %15 = slice %14 {start=[1, 0, 0], count=[2, 2, 2], step=[1, 1, 2]} : f32[2x2x2]
        %16 = avg_pool %13 {kernel=[2, 2], stride=[2, 2], pad=[1, 1, 0, 0]} : f32[2x2x2]
        %17 = avg_pool %13 {kernel=[2, 2], stride=[2, 2], pad=[1, 1, 0, 0], count_pad=true} : f32[2x2x2]
        %18 = max_pool %10 {kernel=[2, 2], stride=[1, 1], pad=[0, 0, 0, 0]} : f32[2x2x2]
        %19 = add %15, %16 : f32[2x2x2]
        %20 = sub %19, %17 : f32[2x2x2]
        %21 = pad %20 {before=[0, 1, 0], after=[0, 0, 1]} : f32[2x3x3]
        %22 = linear_map %21, %18 {kernels=[@k, @e], strides=[[1, 2], [1, 1]], origins=[[0, 0], [0, 0]]} : f32[2x2x2]
        %23 = linear_map %22, %21 {kernels=[@g, @r], strides=[[1, 1], [1, 1]], origins=[[0, 0], [0, 0]], reads=[[[], []], [[[2, 2], [-1, 0]], [[1, 0]]]], groups=[2, 1]} : f32[2x2x2]
        %24 = flatten %23 : f32[8]
        %25 = linear %24 {weight=@fc} : f32[3]
        return %25
        }";

    #[test]
    fn gradients_are_those_of_differences() {
        let g = verify(crate::text::parse::<Tensor>(NET).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        let mut gauss = Gauss::new(3);
        let x: Vec<f32> = (0..50).map(|_| gauss.number() as f32).collect();
        let seed = [1.0, -2.0, 0.5];
        let found = trace(&g, &x, 1, &[ValueId(0)], Vec::new, |all: &mut Vec<Vec<f64>>, _, t| {
            assert_eq!(t.value(ValueId(25)).iter().map(|&y| y as f32).collect::<Vec<_>>(), interp(&g, &x, 1).unwrap()[0]);
            t.back(ValueId(25), &seed, |v, dx| all.extend((v.0 == 0).then(|| dx.to_vec())));
        });
        let gradient = found.unwrap().concat().concat();
        // The interpreter's results in full precision.
        let value = |x: &[f32]| {
            let out = trace(&g, x, 1, &[], || 0.0, |sum, _, t| *sum = t.value(ValueId(25)).iter().zip(seed).map(|(y, s)| y * s).sum());
            out.unwrap()[0]
        };
        for i in 0..50 {
            let at = |h: f32| {
                let mut x = x.clone();
                x[i] += h;
                (f64::from(x[i]), value(&x))
            };
            let ((x0, y0), (x1, y1)) = (at(-1e-3), at(1e-3));
            let want = (y1 - y0) / (x1 - x0);
            assert!((gradient[i] - want).abs() < 1e-3 * want.abs().max(10.0), "{i}: {} {want}", gradient[i]);
        }
        assert!(gradient.iter().filter(|d| d.abs() > 1.0).count() > 30, "{gradient:?}");
    }

    #[test]
    fn gradients_stop_at_what_is_wanted() {
        let g = verify(crate::text::parse::<Tensor>(NET).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        let x = [0.25; 100];
        let seen = trace(&g, &x, 2, &[ValueId(20), ValueId(18)], Vec::new, |seen, image, t| {
            t.back(ValueId(25), &[1.0; 3], |v, _| seen.push((image, v.0)));
        });
        let one = |i| [25, 24, 23, 22, 21, 20, 18].map(|v| (i, v));
        assert_eq!(seen.unwrap().concat(), [one(0), one(1)].concat());
    }

    #[test]
    fn derivatives_of_series() {
        // T0..T3 have the derivatives 0, 1, 4u, 12u² − 3.
        let d = chebyshev_slope(&[5., 1., 2., 3.]);
        assert_eq!(chebyshev(&d, 0.5), 1. + 2. * 2. + 3. * 0.);
        assert_eq!((chebyshev_slope(&[2.0]), chebyshev_slope(&[2.0, 3.0])), (vec![0.0], vec![3.0]));
    }
}
