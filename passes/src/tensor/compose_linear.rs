//! `compose-linear`: every maximal linear region becomes one `linear_map` per non-linear consumer.
//!
//! A value is kept as a sum of kernels over *bases* (inputs and results of non-linear ops) plus a
//! bias tensor, and is materialised only where a non-linear op or an output reads it, or where
//! composition would not be exact (zero padding in the middle). Batch norm, pooling before a fully
//! connected layer, shortcuts and residual adds vanish here. A layer that many non-linear ops would
//! compute is computed once.

use super::linear_form::{Kernel, Reading, Spec};
use crate::error::PassError;
use chiffre_ir::consts::{Array, ConstId, Consts};
use chiffre_ir::graph::{Node, ValueId};
use chiffre_ir::tensor::{Reads, Tensor, TensorGraph, TensorOp, TensorType};
use std::collections::BTreeSet;

/// A value as Σ kernel(base) + bias.
#[derive(Clone)]
struct Form {
    shape: [usize; 3],
    terms: Vec<(ValueId, Kernel)>,
    bias: Vec<f64>,
}

impl Form {
    fn base(v: ValueId, shape: [usize; 3]) -> Form {
        Form { shape, terms: vec![(v, Kernel::identity(shape))], bias: vec![0.0; shape.iter().product()] }
    }
    fn add(mut self, other: &Form, factor: f64) -> Form {
        for (v, k) in &other.terms {
            if !self.terms.iter_mut().any(|(w, l)| w == v && l.merge(k, factor)) {
                let mut k = k.clone();
                k.scale_outputs(|_| factor);
                self.terms.push((*v, k));
            }
        }
        self.bias.iter_mut().zip(&other.bias).for_each(|(a, b)| *a += factor * b);
        self
    }
}

struct Composer<'a> {
    old: &'a TensorGraph,
    new: TensorGraph,
    forms: Vec<Option<Form>>,
    /// Nodes that hold a value, for consumers that may share one.
    shared: Vec<Option<ValueId>>,
    /// Values that a product reads: there is a linear map for each of them anyway.
    factors: Vec<bool>,
    /// Linear maps on the longest path to each new node.
    depth: Vec<usize>,
}

/// Rewrites the graph into `input`, `linear_map`, `mul`, `square` and `poly` (`chebyshev`,
/// activations and max pooling stay as they are).
pub fn compose_linear(g: &TensorGraph) -> Result<TensorGraph, PassError> {
    let mut factors = vec![false; g.nodes.len()];
    for n in g.nodes.iter().filter(|n| matches!(n.op, TensorOp::Mul {} | TensorOp::Square {})) {
        n.args.iter().for_each(|a| factors[a.index()] = true);
    }
    let (n, readers) = (g.nodes.len(), readers(g));
    let mut c = Composer { old: g, new: TensorGraph::new(&g.name), forms: vec![None; n], shared: vec![None; n], factors, depth: vec![] };
    for (v, n) in g.iter() {
        let form = c.form(n)?;
        c.forms[v.index()] = Some(form);
        let layer = matches!(n.op, TensorOp::Conv2d { .. } | TensorOp::Linear { .. } | TensorOp::LinearMap { .. });
        if layer && readers[v.index()].len() >= MANY_READERS {
            let own = c.materialise_shared(v);
            c.forms[v.index()] = Some(Form::base(own, n.ty.chw()));
        }
    }
    for o in &g.outputs {
        let out = c.materialise_shared(*o);
        c.new.outputs.push(out);
    }
    c.new.prune(|op| matches!(op, TensorOp::Input {}));
    Ok(c.new)
}

/// Non-linear readers from which on a layer is computed once, for a level: each would compute it
/// anew. In a dense block all later layers read every one.
const MANY_READERS: usize = 6;

/// For every value the non-linear ops and outputs that read it through linear ones.
fn readers(g: &TensorGraph) -> Vec<BTreeSet<usize>> {
    let linear = |op: &TensorOp| {
        !matches!(
            op,
            TensorOp::Mul {} | TensorOp::Square {} | TensorOp::Poly { .. } | TensorOp::Chebyshev { .. } | TensorOp::MaxPool { .. }
        ) && !op.is_activation()
    };
    let mut out: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); g.nodes.len()];
    g.outputs.iter().for_each(|o| _ = out[o.index()].insert(o.index()));
    for (v, n) in g.iter().collect::<Vec<_>>().into_iter().rev() {
        let mine = if linear(&n.op) { out[v.index()].clone() } else { BTreeSet::from([v.index()]) };
        n.args.iter().for_each(|a| out[a.index()].extend(&mine));
    }
    out
}

impl Composer<'_> {
    fn get(&self, v: ValueId) -> &Form {
        self.forms[v.index()].as_ref().expect("operands come first")
    }

    fn form(&mut self, n: &Node<Tensor>) -> Result<Form, PassError> {
        let shape = n.ty.chw();
        let array = |c: ConstId| self.old.consts.array(c).map_err(|e| PassError::clear("compose-linear", &n.source, e));
        Ok(match &n.op {
            TensorOp::Conv2d { weight, bias, stride, pad, dilation } => {
                let k = Kernel::dense(
                    array(*weight)?,
                    self.old.ty(n.args[0]).chw(),
                    shape,
                    *stride,
                    [-(pad[0] as i64), -(pad[1] as i64)],
                    *dilation,
                );
                let bias = bias.map(array).transpose()?.map(|b| b.data.clone());
                self.apply(n.args[0], k, per_channel(bias.as_deref(), shape))
            }
            TensorOp::Linear { weight, bias } => {
                let w = array(*weight)?;
                let dense = Array::new(vec![w.shape[0], w.shape[1], 1, 1], w.data.clone());
                let k = Kernel::dense(&dense, self.old.ty(n.args[0]).chw(), shape, [1, 1], [0, 0], [1, 1]);
                let bias = bias.map(array).transpose()?.map(|b| b.data.clone());
                self.apply(n.args[0], k, per_channel(bias.as_deref(), shape))
            }
            TensorOp::Affine { scale, shift } => {
                let (s, t) = (array(*scale)?.data.clone(), array(*shift)?.data.clone());
                let mut k = Kernel::identity(shape);
                k.scale_outputs(|c| s[c % s.len()] as f64);
                self.apply(n.args[0], k, per_channel(Some(&t), shape))
            }
            TensorOp::AddConst { value } => {
                let a = array(*value)?.data.clone();
                let mut f = self.get(n.args[0]).clone();
                f.bias.iter_mut().enumerate().for_each(|(i, b)| *b += a[i % a.len()] as f64);
                f
            }
            TensorOp::Add {} => self.sum(n.args[0], n.args[1], 1.0),
            TensorOp::Sub {} => self.sum(n.args[0], n.args[1], -1.0),
            TensorOp::AvgPool { kernel, stride, pad, count_pad } => self.avg_pool(n, shape, *kernel, *stride, *pad, *count_pad),
            TensorOp::Slice { start, count: _, step } => {
                let input = self.old.ty(n.args[0]).chw();
                let mut k = Kernel::empty(input, shape, [step[1], step[2]]);
                (0..shape[0]).for_each(|o| k.add(start[1] as i64, start[2] as i64, o, start[0] + o * step[0], 1.0));
                self.apply(n.args[0], k, vec![0.0; shape.iter().product()])
            }
            TensorOp::Pad { before, .. } => {
                let input = self.old.ty(n.args[0]).chw();
                let mut k = Kernel::empty(input, shape, [1, 1]);
                (0..input[0]).for_each(|i| k.add(-(before[1] as i64), -(before[2] as i64), i + before[0], i, 1.0));
                self.apply(n.args[0], k, vec![0.0; shape.iter().product()])
            }
            TensorOp::Concat {} => {
                let mut out = Form { shape, terms: vec![], bias: vec![0.0; shape.iter().product()] };
                let mut at = 0;
                for a in &n.args {
                    let f = self.get(*a);
                    let mut k = Kernel::empty(f.shape, shape, [1, 1]);
                    (0..f.shape[0]).for_each(|i| k.add(0, 0, at + i, i, 1.0));
                    at += f.shape[0];
                    let part = self.apply(*a, k, vec![0.0; shape.iter().product()]);
                    out = out.add(&part, 1.0);
                }
                out
            }
            TensorOp::Flatten {} => {
                let input = self.old.ty(n.args[0]).chw();
                let mut k = Kernel::empty(input, shape, [1, 1]);
                for o in 0..shape[0] {
                    k.add((o / input[2] % input[1]) as i64, (o % input[2]) as i64, o, o / (input[1] * input[2]), 1.0);
                }
                self.apply(n.args[0], k, vec![0.0; shape.iter().product()])
            }
            TensorOp::LinearMap { kernels, bias, .. } => {
                let mut out = Form { shape, terms: vec![], bias: vec![0.0; shape.iter().product()] };
                for (j, a) in n.args.iter().enumerate() {
                    let k = Kernel::of(array(kernels[j])?, self.old.ty(*a).chw(), shape, Spec::of(&n.op, j));
                    let part = self.apply(*a, k, vec![0.0; shape.iter().product()]);
                    out = out.add(&part, 1.0);
                }
                if let Some(b) = bias {
                    let b = array(*b)?;
                    let per = out.bias.len() / b.data.len();
                    out.bias.iter_mut().enumerate().for_each(|(i, v)| *v += b.data[i / per] as f64);
                }
                out
            }
            TensorOp::Input {} => Form::base(self.new.push(n.op.clone(), vec![], n.ty.clone(), &n.source), shape),
            TensorOp::Mul {} | TensorOp::Square {} | TensorOp::MaxPool { .. } | TensorOp::Activation { .. } => {
                self.nonlinear(n, n.op.clone())
            }
            TensorOp::Function { of, params } => {
                let params = params.map(|p| self.new.consts.push(self.old.consts.get(p).clone()));
                self.nonlinear(n, TensorOp::Function { of: of.clone(), params })
            }
            TensorOp::Poly { coeffs } => {
                let c = self.old.consts.get(*coeffs).clone();
                let op = TensorOp::Poly { coeffs: self.new.consts.push(c) };
                self.nonlinear(n, op)
            }
            TensorOp::Chebyshev { coeffs, sine, ranges, certificate } => {
                let mut again = |c: ConstId| self.new.consts.push(self.old.consts.get(c).clone());
                let (coeffs, ranges) = (again(*coeffs), ranges.map(again));
                let op = TensorOp::Chebyshev { coeffs, sine: *sine, ranges, certificate: certificate.clone() };
                self.nonlinear(n, op)
            }
        })
    }

    /// `a + factor·b`. A summand that is an affine image of a value that has a linear map anyway, a
    /// product's operand or what was computed before, is read from that map, where the other
    /// summand comes no earlier: the layer before is not computed twice, and the sum is no later.
    fn sum(&mut self, a: ValueId, b: ValueId, factor: f64) -> Form {
        let [mut fa, mut fb] = [a, b].map(|v| self.get(v).clone());
        let [da, db] = [&fa, &fb].map(|f| self.form_depth(f));
        let layer = |f: &Form| f.terms.iter().any(|(_, k)| k.nonzeros() > f.shape[0]);
        if da > db && layer(&fb) && self.factor_below(b).is_some() {
            fb = self.near(b);
        } else if db > da && layer(&fa) && self.factor_below(a).is_some() {
            fa = self.near(a);
        }
        fa.add(&fb, factor)
    }

    /// Depth of the deepest base of a form.
    fn form_depth(&mut self, f: &Form) -> usize {
        for n in &self.new.nodes[self.depth.len()..] {
            let operand = n.args.iter().map(|a| self.depth[a.index()]).max().unwrap_or(0);
            self.depth.push(operand + usize::from(matches!(n.op, TensorOp::LinearMap { .. })));
        }
        f.terms.iter().map(|(v, _)| self.depth[v.index()]).max().unwrap_or(0)
    }

    /// True if a linear map computes the value, whatever else does.
    fn has_map(&self, v: ValueId) -> bool {
        self.factors[v.index()] || self.shared[v.index()].is_some()
    }

    /// The value with a linear map of its own that a value is an affine image of.
    fn factor_below(&self, v: ValueId) -> Option<ValueId> {
        match &self.old.node(v).op {
            _ if self.has_map(v) => Some(v),
            TensorOp::Affine { .. } => self.factor_below(self.old.node(v).args[0]),
            _ => None,
        }
    }

    /// An affine image of such a value over its linear map.
    fn near(&mut self, v: ValueId) -> Form {
        let n = self.old.node(v);
        let shape = n.ty.chw();
        let data = |c: ConstId| self.old.consts.array(c).ok().map(|a| a.data.as_slice());
        match &n.op {
            TensorOp::Affine { scale, shift } if !self.has_map(v) => {
                let (Some(s), Some(t)) = (data(*scale), data(*shift)) else { return self.get(v).clone() };
                let mut f = self.near(n.args[0]);
                f.terms.iter_mut().for_each(|(_, k)| k.scale_outputs(|c| f64::from(s[c % s.len()])));
                let scales = per_channel(Some(s), shape);
                f.bias.iter_mut().zip(scales).zip(per_channel(Some(t), shape)).for_each(|((b, s), t)| *b = *b * s + t);
                f
            }
            _ => Form::base(self.materialise_shared(v), shape),
        }
    }

    fn nonlinear(&mut self, n: &Node<Tensor>, op: TensorOp) -> Form {
        // A polynomial gets an operand of its own, which can hold its scale and shift.
        let own = matches!(op, TensorOp::Poly { .. } | TensorOp::Chebyshev { .. });
        let args = n.args.iter().map(|a| if own { self.materialise(*a) } else { self.materialise_shared(*a) }).collect();
        Form::base(self.new.push(op, args, TensorType::new(n.ty.chw()), &n.source), n.ty.chw())
    }

    fn avg_pool(
        &mut self,
        n: &Node<Tensor>,
        shape: [usize; 3],
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 4],
        count_pad: bool,
    ) -> Form {
        let input = self.old.ty(n.args[0]).chw();
        if !count_pad && pad != [0; 4] {
            // The divisor is the product of what is inside along each axis.
            let axis = |d: usize| -> Vec<(usize, usize, f64)> {
                let window = |o: usize| {
                    let from = o * stride[d];
                    from.saturating_sub(pad[d])..(from + kernel[d]).saturating_sub(pad[d]).min(input[d + 1])
                };
                (0..shape[d + 1]).flat_map(|o| window(o).map(move |i| (o, i, 1.0 / window(o).len() as f64))).collect()
            };
            return self.apply(n.args[0], Kernel::separable(input, shape, [&axis(0), &axis(1)]), vec![0.0; shape.iter().product()]);
        }
        let mut k = Kernel::empty(input, shape, stride);
        for y in 0..kernel[0] {
            for x in 0..kernel[1] {
                let w = 1.0 / (kernel[0] * kernel[1]) as f64;
                (0..shape[0]).for_each(|c| k.add(y as i64 - pad[0] as i64, x as i64 - pad[1] as i64, c, c, w));
            }
        }
        self.apply(n.args[0], k, vec![0.0; shape.iter().product()])
    }

    /// `k(value) + bias`, composed into the value's form where exact, else through a materialised
    /// value.
    fn apply(&mut self, value: ValueId, k: Kernel, mut bias: Vec<f64>) -> Form {
        let (f, shape) = (self.get(value), k.output);
        let composed: Option<Vec<_>> = f.terms.iter().map(|(v, t)| Some((*v, t.compose(&k)?))).collect();
        let terms = match composed {
            Some(t) => {
                if f.bias.iter().any(|b| *b != 0.0) {
                    bias.iter_mut().zip(k.apply(&f.bias)).for_each(|(a, b)| *a += b);
                }
                t
            }
            None => vec![(self.materialise_shared(value), k)],
        };
        Form { shape, terms, bias }
    }

    /// A node that holds the value, shared by its consumers.
    fn materialise_shared(&mut self, v: ValueId) -> ValueId {
        match self.shared[v.index()] {
            Some(n) => n,
            None => {
                let n = self.materialise(v);
                self.shared[v.index()] = Some(n);
                n
            }
        }
    }

    /// A new `linear_map` that holds the value.
    fn materialise(&mut self, v: ValueId) -> ValueId {
        let f = self.forms[v.index()].as_ref().expect("operands come first");
        push_linear_map(&mut self.new, &f.terms, &f.bias, f.shape, &self.old.node(v).source)
    }
}

fn per_channel(bias: Option<&[f32]>, shape: [usize; 3]) -> Vec<f64> {
    let area = shape[1] * shape[2];
    (0..shape[0] * area).map(|i| bias.map_or(0.0, |b| b[(i / area) % b.len()] as f64)).collect()
}

/// Appends a `linear_map` for Σ kernel(base) + bias.
pub(crate) fn push_linear_map(g: &mut TensorGraph, terms: &[(ValueId, Kernel)], bias: &[f64], shape: [usize; 3], source: &str) -> ValueId {
    let (mut kernels, mut strides, mut origins, mut reads, mut groups) = (vec![], vec![], vec![], vec![], vec![]);
    for (_, k) in terms {
        let (a, origin, parts) = k.to_dense();
        kernels.push(g.consts.add("k", a));
        strides.push(k.reading.stride().unwrap_or([1, 1]));
        origins.push(origin);
        groups.push(parts);
        reads.push(if let Reading::Listed(lists) = &k.reading { Some(lists.clone()) } else { None });
    }
    let bias = store_bias(&mut g.consts, bias, shape);
    let groups = Some(groups).filter(|all| all.iter().any(|n| *n > 1));
    let args = terms.iter().map(|(v, _)| *v).collect();
    g.push(TensorOp::LinearMap { kernels, strides, origins, bias, reads: Reads::new(reads), groups }, args, TensorType::new(shape), source)
}

/// Stores a bias tensor as `[C]` if it is constant per channel, else as `[C, H, W]`; nothing if it
/// is zero.
pub(crate) fn store_bias(consts: &mut Consts, bias: &[f64], shape: [usize; 3]) -> Option<ConstId> {
    if bias.iter().all(|b| *b == 0.0) {
        return None;
    }
    let area = shape[1] * shape[2];
    let flat = bias.chunks(area).all(|c| c.iter().all(|x| *x == c[0]));
    let data: Vec<f32> =
        if flat { bias.iter().step_by(area).map(|x| *x as f32).collect() } else { bias.iter().map(|x| *x as f32).collect() };
    let dims = if flat { vec![shape[0]] } else { shape.to_vec() };
    Some(consts.add("b", Array::new(dims, data)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::gauss::Gauss;
    use chiffre_ir::tensor::{ActivationKind, interp, verify};

    /// A residual network of inverted bottlenecks: 64 → 256 channels, ReLU, → 64 channels, added to
    /// what went in.
    fn bottlenecks(blocks: usize) -> TensorGraph {
        let mut gauss = Gauss::new(7);
        let mut g = TensorGraph::new("bottlenecks");
        let (narrow, wide) = (TensorType::new([64, 2, 2]), TensorType::new([256, 2, 2]));
        let mut conv = |g: &mut TensorGraph, x: ValueId, to: &TensorType, name: &str| {
            let shape = vec![to.chw()[0], g.ty(x).chw()[0], 1, 1];
            let size = 1.0 / (shape[1] as f64).sqrt();
            let data = (0..shape.iter().product()).map(|_| (size * gauss.number()) as f32).collect();
            let weight = g.consts.add(name, Array::new(shape, data));
            let op = TensorOp::Conv2d { weight, bias: None, stride: [1, 1], pad: [0; 4], dilation: [1, 1] };
            g.push(op, vec![x], to.clone(), name)
        };
        let relu = TensorOp::Activation { kind: ActivationKind::Relu, alpha: None };
        let input = g.push(TensorOp::Input {}, vec![], wide.clone(), "x");
        let mut x = conv(&mut g, input, &narrow, "first");
        for b in 0..blocks {
            let y = conv(&mut g, x, &wide, &format!("expand{b}"));
            let y = g.push(relu.clone(), vec![y], wide.clone(), &format!("relu{b}"));
            let y = conv(&mut g, y, &narrow, &format!("project{b}"));
            x = g.push(TensorOp::Add {}, vec![x, y], narrow.clone(), &format!("add{b}"));
        }
        let y = conv(&mut g, x, &wide, "last");
        g.outputs = vec![g.push(relu, vec![y], wide, "end")];
        verify(g).unwrap_or_else(|e| panic!("{e}")).into_inner()
    }

    /// Weights of all linear maps.
    fn weights(g: &TensorGraph) -> usize {
        let of = |n: &Node<Tensor>| match &n.op {
            TensorOp::LinearMap { kernels, .. } => kernels.iter().map(|k| g.consts.array(*k).unwrap().data.len()).sum(),
            _ => 0,
        };
        g.nodes.iter().map(of).sum()
    }

    #[test]
    fn bottlenecks_are_computed_once_each() {
        for blocks in [1, 4] {
            let g = bottlenecks(blocks);
            let h = verify(compose_linear(&g).unwrap()).unwrap_or_else(|e| panic!("{e}"));
            let mut gauss = Gauss::new(1);
            let x: Vec<f32> = (0..1024).map(|_| gauss.number() as f32).collect();
            let [want, got] = [&g, &*h].map(|g| interp(g, &x, 1).unwrap().swap_remove(0));
            assert!(want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-4));
            // Two layers of 64 × 256 weights and a shortcut for each block, a layer at either end,
            // and the identity behind the last activation.
            assert_eq!(weights(&h), (2 * blocks + 2) * 64 * 256 + blocks * 64 * 64 + 256);
        }
    }
}
