//! `lower-max-pool`: a maximum over a window becomes sums and absolute values of differences.
//!
//! `max(a, b) = (a + b + |a − b|)/2`. A window is halved again and again, first along the width,
//! then along the height; what is computed at every other position is a value of half the size, so
//! the next stage and what follows it work on fewer elements. A ReLU in front moves behind the
//! pooling, where a quarter of the positions is left of a 2×2 one: `max(f(a), f(b)) = f(max(a, b))`
//! for every f that does not fall. ReLU and 2×2 pooling then take one absolute value for every
//! second and one for every fourth position, and a ReLU for every fourth: as many as the ReLU alone
//! did.
//!
//! In the form `rectified` it is `max(a, b) = b + max(a − b, 0)`, and rectifiers stay in front. On
//! integers that is exact, and no value needs more bits than the operand.
//!
//! Reads beyond the border are zeros where the operand has no negative value, or a ReLU reads the
//! result. Elsewhere they are the nearest elements inside, which every window that reaches there
//! holds anyway.

use crate::options::MaximumForm;
use chiffre_ir::consts::{Array, ConstId};
use chiffre_ir::graph::{Node, ValueId};
use chiffre_ir::tensor::{ActivationKind, Expr, Reads, Tensor, TensorGraph, TensorOp, TensorType, Unary};

/// Rewrites all max poolings; the same graph comes back if there is none.
pub fn lower_max_pool(g: &TensorGraph, form: MaximumForm) -> TensorGraph {
    let is_pool = |n: &Node<Tensor>| matches!(n.op, TensorOp::MaxPool { .. });
    if !g.nodes.iter().any(is_pool) {
        return g.clone();
    }
    let users = g.users();
    let mut out = TensorGraph::new(&g.name);
    (out.header, out.consts) = (g.header.clone(), g.consts.clone());
    let half = out.consts.add("max.half", Array::new(vec![1], vec![0.5]));
    let zero = out.consts.add("max.zero", Array::new(vec![1], vec![0.0]));
    let mut map: Vec<ValueId> = vec![];
    for (v, n) in g.iter() {
        let TensorOp::MaxPool { kernel, stride, pad } = &n.op else {
            let args = n.args.iter().map(|a| map[a.index()]).collect();
            map.push(out.push(n.op.clone(), args, n.ty.clone(), &n.source));
            continue;
        };
        let operand = n.args[0];
        let shape = g.ty(operand).chw();
        // Elements that are read beyond the end of each axis.
        let beyond = [0, 1].map(|d| (stride[d] * (n.ty.chw()[d + 1] - 1) + kernel[d]).saturating_sub(shape[d + 1] + pad[d]));
        let padded = beyond.iter().chain(&pad[..2]).any(|&p| p > 0);
        let rectifier = |v: ValueId| if let TensorOp::Activation { kind, .. } = g.node(v).op { rectifies(kind) } else { false };
        // The function behind the pooling, if it moves there.
        let moved = match &g.node(operand).op {
            TensorOp::Activation { kind, alpha }
                if never_falls(*kind, *alpha) && (rectifies(*kind) || !padded || !never_negative(g, operand)) =>
            {
                Some((*kind, *alpha))
                    .filter(|_| form == MaximumForm::Absolute && users[operand.index()] == [v] && !g.outputs.contains(&operand))
            }
            _ => None,
        };
        let read_by_rectifiers = !users[v.index()].is_empty() && users[v.index()].iter().all(|&u| rectifier(u)) && !g.outputs.contains(&v);
        let edge = match moved {
            Some((kind, _)) => !rectifies(kind),
            None => !read_by_rectifiers && !never_negative(g, operand),
        };
        let from = if moved.is_some() { g.node(operand).args[0] } else { operand };
        let mut l = Lowering { out: &mut out, source: &n.source, form, stages: 0, extent: 0, edge, half, zero };
        let mut x = map[from.index()];
        for d in [1, 0] {
            l.extent = shape[d + 1];
            x = l.pad(x, d + 1, pad[d], beyond[d]);
            x = l.windows(x, d + 1, kernel[d], stride[d], n.ty.chw()[d + 1]);
        }
        map.push(match moved {
            Some((kind, alpha)) => out.push(TensorOp::Activation { kind, alpha }, vec![x], n.ty.clone(), &g.node(operand).source),
            None => x,
        });
    }
    out.outputs = g.outputs.iter().map(|o| map[o.index()]).collect();
    out.prune(|op| matches!(op, TensorOp::Input {}));
    out
}

/// True for functions with `f(x) = f(max(x, 0))`.
fn rectifies(kind: ActivationKind) -> bool {
    matches!(kind, ActivationKind::Relu | ActivationKind::Clip)
}

/// True for functions that do not fall anywhere.
fn never_falls(kind: ActivationKind, alpha: Option<f64>) -> bool {
    match kind {
        ActivationKind::Relu | ActivationKind::Clip | ActivationKind::Sigmoid | ActivationKind::Tanh => true,
        ActivationKind::LeakyRelu => alpha.is_none_or(|a| a >= 0.0),
        ActivationKind::Silu | ActivationKind::Gelu | ActivationKind::HardSwish => false,
    }
}

/// True if no element of a value can be negative.
fn never_negative(g: &TensorGraph, v: ValueId) -> bool {
    let n = g.node(v);
    match &n.op {
        TensorOp::Square {} => true,
        TensorOp::Activation { kind, .. } => {
            matches!(kind, ActivationKind::Relu | ActivationKind::Clip | ActivationKind::Sigmoid)
        }
        TensorOp::Function { of: Expr::Unary(f, _), .. } => {
            matches!(f, Unary::Abs | Unary::Exp | Unary::Sqrt | Unary::Sigmoid | Unary::Softplus | Unary::Cosh)
        }
        TensorOp::Add {}
        | TensorOp::Mul {}
        | TensorOp::AvgPool { .. }
        | TensorOp::MaxPool { .. }
        | TensorOp::Slice { .. }
        | TensorOp::Pad { .. }
        | TensorOp::Concat {}
        | TensorOp::Flatten {} => n.args.iter().all(|&a| never_negative(g, a)),
        _ => false,
    }
}

/// A value of which every `stride`-th element along an axis counts, from `start` on.
#[derive(Clone, Copy)]
struct Read {
    value: ValueId,
    stride: usize,
    start: usize,
}

/// The pooling that is being rewritten.
struct Lowering<'a> {
    out: &'a mut TensorGraph,
    source: &'a str,
    form: MaximumForm,
    /// Absolute values so far: each is an activation with a name of its own.
    stages: usize,
    /// Elements of the operand along the axis in question: no value of a stage has more.
    extent: usize,
    /// Padding repeats the border.
    edge: bool,
    half: ConstId,
    zero: ConstId,
}

impl Lowering<'_> {
    /// Zeros before and after the elements along an axis, or its first and its last one.
    fn pad(&mut self, x: ValueId, axis: usize, before: usize, after: usize) -> ValueId {
        if before + after == 0 {
            return x;
        }
        let (mut zeros, mut shape) = ([[0; 3]; 2], self.out.ty(x).chw());
        let extent = shape[axis];
        shape[axis] += before + after;
        if self.edge {
            let mut lists = [1, 2].map(|d| vec![(0..shape[d] as i64).collect::<Vec<i64>>()]);
            let clamped = |o: usize| o.saturating_sub(before).min(extent - 1) as i64;
            lists[axis - 1] = vec![(0..shape[axis]).map(clamped).collect()];
            let c = shape[0];
            let op = TensorOp::LinearMap {
                kernels: vec![self.out.consts.add("max.edge", Array::new(vec![c, 1, 1, 1], vec![1.0; c]))],
                strides: vec![[1, 1]],
                origins: vec![[0, 0]],
                bias: None,
                reads: Reads::new(vec![Some(lists)]),
                groups: Some(vec![c]),
            };
            return self.out.push(op, vec![x], TensorType::new(shape), self.source);
        }
        (zeros[0][axis], zeros[1][axis]) = (before, after);
        let [before, after] = zeros;
        self.out.push(TensorOp::Pad { before, after }, vec![x], TensorType::new(shape), self.source)
    }

    /// `count` maxima over `width` elements along `axis`, `stride` apart.
    fn windows(&mut self, x: ValueId, axis: usize, width: usize, stride: usize, count: usize) -> ValueId {
        let read = self.read(x, axis, [width, stride, 0, count]);
        self.elements(read, axis, count)
    }

    /// As [`Self::windows`], with the first window at `start`: `window` is `[width, stride, start,
    /// count]`. A window of one element is only read.
    fn read(&mut self, x: ValueId, axis: usize, window: [usize; 4]) -> Read {
        let [width, stride, start, count] = window;
        if width <= 1 {
            return Read { value: x, stride, start };
        }
        let Halves { part, shift, step, all, shared, .. } = halve(width, stride, count, self.extent);
        let [a, b] = if shared {
            let r = self.read(x, axis, [part, step, start, all]);
            let every = stride / step;
            [0, shift / step].map(|first| Read { value: r.value, stride: r.stride * every, start: r.start + r.stride * first })
        } else {
            [self.read(x, axis, [part, stride, start, count]), self.read(x, axis, [shift, stride, start + part, count])]
        };
        let [a, b] = [a, b].map(|r| self.elements(r, axis, count));
        Read { value: self.larger(a, b), stride: 1, start: 0 }
    }

    /// The elements that a read names.
    fn elements(&mut self, r: Read, axis: usize, count: usize) -> ValueId {
        let shape = self.out.ty(r.value).chw();
        let (mut start, mut counts, mut step) = ([0; 3], shape, [1; 3]);
        (start[axis], counts[axis], step[axis]) = (r.start, count, r.stride);
        if r.start == 0 && counts == shape {
            return r.value;
        }
        self.out.push(TensorOp::Slice { start, count: counts, step }, vec![r.value], TensorType::new(counts), self.source)
    }

    /// The larger of two values, element by element.
    fn larger(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.stages += 1;
        let ty = self.out.ty(a).clone();
        let name = format!("{}.{}", self.source, self.stages);
        let absolute = TensorOp::Function { of: Expr::unary(Unary::Abs, Expr::X), params: None };
        let difference = self.out.push(TensorOp::Sub {}, vec![a, b], ty.clone(), self.source);
        let rectifier = TensorOp::Activation { kind: ActivationKind::Relu, alpha: None };
        let of_difference = if self.form == MaximumForm::Rectified { rectifier } else { absolute };
        let distance = self.out.push(of_difference, vec![difference], ty.clone(), &name);
        if self.form == MaximumForm::Rectified {
            return self.out.push(TensorOp::Add {}, vec![b, distance], ty, self.source);
        }
        let sum = self.out.push(TensorOp::Add {}, vec![a, b], ty.clone(), self.source);
        let twice = self.out.push(TensorOp::Add {}, vec![sum, distance], ty.clone(), self.source);
        self.out.push(TensorOp::Affine { scale: self.half, shift: self.zero }, vec![twice], ty, self.source)
    }
}

/// How a window is made of two.
struct Halves {
    /// Elements of the first one.
    part: usize,
    /// Where the second one starts: it has the same size and overlaps the first one, or has what is
    /// left.
    shift: usize,
    /// Both kinds of windows are among those that are so many elements apart…
    step: usize,
    /// …of which there are so many.
    all: usize,
    /// They are read from one value that holds all of these; otherwise from one each.
    shared: bool,
    /// Absolute values that the window takes.
    work: usize,
}

/// The halves of a window of two elements or more, in the way that takes fewer absolute values,
/// with no more than `extent` of them at once.
fn halve(width: usize, stride: usize, count: usize, extent: usize) -> Halves {
    let part = width.next_power_of_two() / 2;
    let shift = width - part;
    let step = greatest_common_divisor(stride, shift);
    let all = (stride * (count - 1) + shift) / step + 1;
    let work = |width: usize, stride: usize, count: usize| if width > 1 { halve(width, stride, count, extent).work } else { 0 };
    let (together, apart) = (work(part, step, all), work(part, stride, count) + work(shift, stride, count));
    let shared = part > 1 && all <= extent && together <= apart;
    Halves { part, shift, step, all, shared, work: count + if shared { together } else { apart } }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::gauss::Gauss;
    use chiffre_ir::tensor::{interp, verify};

    fn pooled(
        shape: [usize; 3],
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 4],
        front: &[TensorOp],
        behind: &[TensorOp],
    ) -> TensorGraph {
        let mut g = TensorGraph::new("t");
        let ty = TensorType::new(shape);
        let mut x = g.push(TensorOp::Input {}, vec![], ty.clone(), "x");
        for op in front {
            x = g.push(op.clone(), vec![x], ty.clone(), "act");
        }
        let size = |d: usize| (shape[d + 1] + pad[d] + pad[d + 2] - kernel[d]) / stride[d] + 1;
        let ty = TensorType::new([shape[0], size(0), size(1)]);
        x = g.push(TensorOp::MaxPool { kernel, stride, pad }, vec![x], ty.clone(), "pool");
        for op in behind {
            x = g.push(op.clone(), vec![x], ty.clone(), "last");
        }
        g.outputs = vec![x];
        verify(g).unwrap_or_else(|e| panic!("{e}")).into_inner()
    }

    fn activation(kind: ActivationKind) -> TensorOp {
        TensorOp::Activation { kind, alpha: None }
    }

    /// Elements of all absolute values, and of the other activations.
    fn elements(g: &TensorGraph) -> [usize; 2] {
        let of = |abs: bool| {
            let is = |n: &&Node<Tensor>| {
                if abs { matches!(n.op, TensorOp::Function { .. }) } else { matches!(n.op, TensorOp::Activation { .. }) }
            };
            g.nodes.iter().filter(is).map(|n| n.ty.len()).sum()
        };
        [of(true), of(false)]
    }

    #[test]
    fn maxima_are_those_of_the_pooling() {
        let relu = [activation(ActivationKind::Relu)];
        let mut gauss = Gauss::new(1);
        for (h, w) in [(7, 7), (8, 9), (12, 5)] {
            let images: Vec<f32> = (0..2 * 2 * h * w).map(|_| gauss.number() as f32).collect();
            for kernel in [[1, 1], [2, 2], [3, 3], [3, 2], [5, 4], [4, 5], [1, 3], [5, 5]] {
                for stride in [[1, 1], [2, 2], [3, 3], [2, 1], [5, 4]] {
                    for pad in [[0; 4], [1, 1, 1, 1], [0, 0, 1, 1]] {
                        let padded = pad != [0; 4];
                        for (front, behind) in [(&relu[..], &[][..]), (&[], &relu[..]), (&[], &[])] {
                            if padded && kernel.contains(&1) {
                                continue;
                            }
                            let g = pooled([2, h, w], kernel, stride, pad, front, behind);
                            let lowered = verify(lower_max_pool(&g, MaximumForm::Absolute)).unwrap_or_else(|e| panic!("{e}"));
                            assert!(!lowered.nodes.iter().any(|n| matches!(n.op, TensorOp::MaxPool { .. })));
                            let [want, got] = [&g, &*lowered].map(|g| interp(g, &images, 2).unwrap().swap_remove(0));
                            let worst = want.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                            assert!(want.len() == got.len() && worst < 1e-6, "{kernel:?} {stride:?} {pad:?}: {worst}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_relu_moves_behind_and_costs_no_more_than_before() {
        let relu = [activation(ActivationKind::Relu)];
        let count = |kernel, stride, pad, front: &[TensorOp]| {
            elements(&lower_max_pool(&pooled([4, 8, 8], kernel, stride, pad, front, &[]), MaximumForm::Absolute))
        };
        assert_eq!(count([2, 2], [2, 2], [0; 4], &relu), [4 * (32 + 16), 4 * 16]);
        // A pair, and its maximum with the third element.
        assert_eq!(count([3, 3], [2, 2], [1, 1, 0, 0], &relu), [4 * 2 * (32 + 16), 4 * 16]);
        // With a stride of one, pairs of pairs serve windows of four and of five.
        assert_eq!(count([1, 4], [1, 1], [0; 4], &[])[0], 4 * 8 * (7 + 5));
        assert_eq!(count([1, 5], [1, 1], [0; 4], &[])[0], 4 * 8 * (6 + 4 + 4));
        // Pairs that reach over the border are one more than there are elements: each is made anew.
        assert_eq!(count([3, 1], [1, 1], [1, 0, 1, 0], &relu)[0], 4 * 8 * (8 + 8));
        // Four neighbours without overlap: one value of pairs.
        assert_eq!(count([1, 4], [1, 4], [0; 4], &[])[0], 4 * 8 * (4 + 2));
    }

    #[test]
    fn functions_move_only_where_that_is_exact() {
        let kinds = |front: &[TensorOp], pad| {
            let g = lower_max_pool(&pooled([1, 4, 4], [2, 2], [2, 2], pad, front, &[]), MaximumForm::Absolute);
            let last = g.node(g.outputs[0]);
            matches!(last.op, TensorOp::Activation { .. }) && last.source == "act"
        };
        let silu = activation(ActivationKind::Silu);
        assert!(kinds(&[activation(ActivationKind::Tanh)], [0; 4]));
        assert!(!kinds(std::slice::from_ref(&silu), [0; 4]));
        assert!(!kinds(&[TensorOp::Square {}], [1; 4]));
        assert!(!kinds(&[silu], [1; 4]) && kinds(&[activation(ActivationKind::Tanh)], [1; 4]));
        // An activation that something else reads stays where it is.
        let mut g = pooled([1, 4, 4], [2, 2], [2, 2], [0; 4], &[activation(ActivationKind::Relu)], &[]);
        g.outputs.push(ValueId(1));
        assert!(elements(&lower_max_pool(&g, MaximumForm::Absolute)) == [8 + 4, 16]);
    }
}
