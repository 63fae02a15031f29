//! Linear maps by index relations: what each element of a result reads.
//!
//! A value of any rank is stored as `[C, H, W]`: its last two axes are rows and columns, all before
//! them together are channels. What an operator does to elements is said in the file's own axes,
//! element by element; [`Relation`] finds the few taps that such a map consists of.

use super::Var;
use super::context::Context;
use super::order::Order;
use crate::constant::{coordinates, flat_index};
use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{Reads, Relation, TensorGraph, TensorOp, TensorType};

type Result<T> = std::result::Result<T, String>;

/// Most entries of a map that is given one by one.
const MAX_ENTRIES: usize = 1 << 23;
/// Most weights of the kernel that such a map becomes.
const MAX_KERNEL: usize = 1 << 26;

/// How a value with these extents is stored.
pub(super) fn storage(dims: &[usize]) -> [usize; 3] {
    match *dims {
        [] => [1, 1, 1],
        [c] => [c, 1, 1],
        [c, h] => [c, h, 1],
        [ref lead @ .., h, w] => [lead.iter().product(), h, w],
    }
}

/// The type of a value with these extents.
pub(super) fn type_of(dims: &[usize]) -> TensorType {
    match dims.len() {
        0 | 1 => TensorType::new([storage(dims)[0]]),
        _ => TensorType::new(storage(dims)),
    }
}

/// What an element of a result reads: elements of the operand and their weights, both row-major in
/// the file's axes.
pub(super) type Reading<'a> = &'a dyn Fn(usize, &mut Vec<(usize, f32)>);

/// The result of extents `dims` whose element `o` is the sum of what `read(o, …)` yields, and the
/// bytes of its kernel.
pub(super) fn mapped(g: &mut TensorGraph, source: &str, x: &Var, dims: &[usize], read: Reading) -> Result<(ValueId, usize)> {
    let (input, output) = (g.ty(x.id).chw(), storage(dims));
    let count = output.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).filter(|&n| n > 0 && n <= MAX_ENTRIES);
    let count = count.ok_or_else(|| format!("a result of shape N×{dims:?} is too large, or empty"))?;
    let mut relation = Relation { input, output, entries: vec![] };
    let mut one = vec![];
    for o in 0..count {
        one.clear();
        read(o, &mut one);
        relation.entries.extend(one.iter().map(|&(i, w)| (o as u32, x.order.at(i) as u32, w)));
        if relation.entries.len() > MAX_ENTRIES {
            return Err(format!("it is a linear map with more than {MAX_ENTRIES} weights that differ by position"));
        }
    }
    if let Some((.., w)) = relation.entries.iter().find(|(.., w)| !w.is_finite()) {
        return Err(format!("a weight becomes {w}"));
    }
    let listed = relation.listed(MAX_KERNEL).ok_or_else(|| {
        format!("it moves elements of a value of shape {input:?} between rows, columns and channels in too many ways; use smaller values")
    })?;
    let bytes = listed.weights.len() * size_of::<f32>();
    let kernel = g.consts.add(&format!("{source}.map"), Array::new(listed.shape.to_vec(), listed.weights));
    let op = TensorOp::LinearMap {
        kernels: vec![kernel],
        strides: vec![[1, 1]],
        origins: vec![[0, 0]],
        bias: None,
        reads: Reads::new(vec![Some(listed.lists)]),
        groups: Some(vec![listed.groups]).filter(|_| listed.groups > 1),
    };
    Ok((g.push(op, vec![x.id], type_of(dims), source), bytes))
}

/// The value stored under its own extents, in the order of the file.
pub(super) fn plain(g: &mut TensorGraph, source: &str, x: &Var) -> Result<(ValueId, usize)> {
    mapped(g, source, x, &x.dims, &|o, list| list.push((o, 1.0)))
}

/// The extents that two operands of an elementwise operator have together.
pub(super) fn joint(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |d: &[usize], k: usize| (k + d.len()).checked_sub(rank).map_or(1, |k| d[k]);
    (0..rank)
        .map(|k| match (at(a, k), at(b, k)) {
            (x, y) if x == y || y == 1 => Some(x),
            (1, y) => Some(y),
            _ => None,
        })
        .collect()
}

impl Context<'_> {
    /// As [`mapped`], as a value of the file.
    pub fn linear(&mut self, x: &Var, dims: &[usize], read: Reading) -> Result<Var> {
        let source = self.node.name.clone();
        let (id, bytes) = mapped(self.g, &source, x, dims, read)?;
        self.spend(bytes)?;
        Ok(Var { id, dims: dims.to_vec(), order: Order::default() })
    }
    /// A map whose element at coordinates reads one element of the operand, or a zero.
    pub fn gathered(&mut self, x: &Var, dims: &[usize], read: &dyn Fn(&[usize]) -> Option<Vec<usize>>) -> Result<Var> {
        let from = x.dims.clone();
        self.linear(x, dims, &|o, list| list.extend(read(&coordinates(o, dims)).map(|c| (flat_index(&c, &from), 1.0))))
    }
    /// The value repeated along axes that it lacks, or that have one element.
    pub fn expanded(&mut self, x: &Var, dims: &[usize]) -> Result<Var> {
        if x.dims == dims {
            return Ok(x.clone());
        }
        let lead = dims.len().checked_sub(x.dims.len());
        let fits = lead.is_some_and(|lead| x.dims.iter().zip(&dims[lead..]).all(|(&a, &b)| a == b || a == 1));
        let Some(lead) = lead.filter(|_| fits) else {
            return Err(format!("a value of shape N×{:?} does not broadcast to N×{dims:?}", x.dims));
        };
        if lead > 0 && x.dims.iter().any(|&d| d > 1) {
            return Err(format!("a value of shape N×{:?} meets one of shape N×{dims:?}: the batch would move; unsqueeze it first", x.dims));
        }
        let from = x.dims.clone();
        let read = |d: usize, o: usize| if from[d] == 1 { 0 } else { o };
        if lead == 0 {
            let axes: Vec<Vec<_>> = (0..dims.len()).map(|d| (0..dims[d]).map(|o| Some(vec![(read(d, o), 1.0)])).collect()).collect();
            return self.along(x, dims, &axes);
        }
        self.linear(x, dims, &|o, list| list.push((flat_index(&coordinates(o, dims)[lead..], &from), 1.0)))
    }
}
