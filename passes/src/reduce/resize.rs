//! Smaller extents of a tensor graph: one number of channels, rows or columns becomes smaller
//! wherever it occurs.

use super::edit::replaced;
use chiffre_ir::consts::{Array, ConstId};
use chiffre_ir::tensor::{TensorGraph, TensorOp, TensorType, infer};
use std::collections::BTreeSet;

/// Graphs in which one extent is 1 or half of what it was, everywhere.
pub(super) fn candidates(g: &TensorGraph) -> Vec<TensorGraph> {
    let mut extents: BTreeSet<usize> = g.nodes.iter().flat_map(|n| n.ty.chw()).collect();
    extents.remove(&1);
    let smaller = |e: usize| [1, e / 2, e - 1].into_iter().filter(move |&s| s > 0 && s < e).collect::<BTreeSet<_>>();
    extents.iter().rev().flat_map(|&e| smaller(e).into_iter().filter_map(move |s| resized(g, e, s))).collect()
}

/// Every extent `from` becomes `to`, in constants and in types that are declared; the other types
/// follow.
fn resized(g: &TensorGraph, from: usize, to: usize) -> Option<TensorGraph> {
    let shrink = |shape: &[usize]| shape.iter().map(|&d| if d == from { to } else { d }).collect::<Vec<usize>>();
    let mut out = g.clone();
    for (ConstId(i), c) in g.consts.iter() {
        // The kernel window of a convolution is no extent of a value.
        let window = g.nodes.iter().any(|n| kernels(&n.op).contains(&ConstId(i)));
        let extents = c.shape();
        let shape = if window && extents.len() == 4 { [shrink(&extents[..2]), extents[2..].to_vec()].concat() } else { shrink(extents) };
        let array = crop(c.array()?, &shape);
        out.consts = replaced(&out.consts, i as usize, array);
    }
    for i in 0..g.nodes.len() {
        let n = &g.nodes[i];
        let args: Vec<&TensorType> = n.args.iter().map(|a| out.ty(*a)).collect();
        let ty = match infer(&n.op, &args, &out.consts).ok()? {
            Some(ty) => ty,
            None => declared(g, i, &args, &shrink(&n.ty.shape)),
        };
        if let TensorOp::LinearMap { bias: Some(ConstId(b)), .. } = n.op
            && let Some(a) = out.consts.get(ConstId(b)).array().cloned()
            && a.shape.len() == 3
            && a.shape.iter().zip(ty.chw()).all(|(a, b)| *a >= b)
        {
            out.consts = replaced(&out.consts, b as usize, crop(&a, &ty.chw()));
        }
        out.nodes[i].ty = ty;
    }
    Some(out)
}

/// The type of an input or a linear map, whose declaration decides: rows and columns follow the
/// operand's where they did before.
fn declared(g: &TensorGraph, i: usize, args: &[&TensorType], shrunk: &[usize]) -> TensorType {
    let n = &g.nodes[i];
    let mut shape = shrunk.to_vec();
    if let (TensorOp::LinearMap { strides, .. }, Some(new), Some(old)) = (&n.op, args.first(), n.args.first().map(|a| g.ty(*a))) {
        for (axis, stride) in (1..shape.len()).zip(strides[0]) {
            if n.ty.shape[axis] == old.chw()[axis].div_ceil(stride) {
                shape[axis] = new.chw()[axis].div_ceil(stride);
            }
        }
    }
    TensorType::new(shape)
}

fn kernels(op: &TensorOp) -> Vec<ConstId> {
    match op {
        TensorOp::Conv2d { weight, .. } => vec![*weight],
        TensorOp::LinearMap { kernels, .. } => kernels.clone(),
        _ => vec![],
    }
}

/// The first values along every dimension.
fn crop(a: &Array, shape: &[usize]) -> Array {
    let count: usize = shape.iter().product();
    let at = |mut i: usize| {
        let mut place = vec![0; shape.len()];
        for d in (0..shape.len()).rev() {
            (place[d], i) = (i % shape[d], i / shape[d]);
        }
        place.iter().zip(&a.shape).fold(0, |p, (x, d)| p * d + x)
    };
    Array::new(shape.to_vec(), (0..count).map(|i| a.data[at(i)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_are_kept() {
        let a = Array::new(vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(crop(&a, &[2, 2]).data, [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(crop(&a, &[1, 3]).data, [1.0, 2.0, 3.0]);
    }
}
