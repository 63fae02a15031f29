//! From expressions back to nodes of a network.

use super::expr::{Expr, degree};
use super::per_channel::{PerChannel, channels};
use super::{Expression, NodeId};
use chiffre_ir::consts::{Array, ConstId};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{TensorGraph, TensorOp};
use std::collections::HashMap;

/// Appends the nodes that `id` needs and that are not in `done` yet, and returns its value.
/// `leaves` (at least one) are values of one shape; all nodes are named `source`.
pub fn emit(
    e: &Expression,
    id: NodeId,
    leaves: &[ValueId],
    out: &mut TensorGraph,
    source: &str,
    done: &mut HashMap<NodeId, ValueId>,
) -> ValueId {
    if let Some(v) = done.get(&id) {
        return *v;
    }
    let ty = out.ty(leaves[0]).clone();
    let v = match &e[id] {
        Expr::Leaf(k) => leaves[*k as usize],
        Expr::Mul([a, b]) => {
            let [x, y] = [a, b].map(|c| emit(e, *c, leaves, out, source, done));
            let (op, args) = if x == y { (TensorOp::Square {}, vec![x]) } else { (TensorOp::Mul {}, vec![x, y]) };
            out.push(op, args, ty, source)
        }
        Expr::Poly { coeffs, arg } => {
            let x = emit(e, arg[0], leaves, out, source, done);
            let (n, d) = (channels(coeffs.iter()), degree(coeffs));
            let data = (0..n).flat_map(|c| coeffs[..=d].iter().map(move |r| r.at(c) as f32)).collect();
            let coeffs = constant(out, source, "coeffs", vec![n, d + 1], data);
            out.push(TensorOp::Poly { coeffs }, vec![x], ty, source)
        }
        Expr::Sum { coeffs, shift, args } => {
            // Products first: `compose-linear` then reads plain summands from where the products'
            // operands are.
            let mut terms: Vec<(&PerChannel, NodeId)> = coeffs.iter().zip(args.iter().copied()).collect();
            terms.sort_by_key(|(_, id)| matches!(e[*id], Expr::Leaf(_)));
            let mut sum: Option<ValueId> = None;
            for (r, id) in terms {
                let x = emit(e, id, leaves, out, source, done);
                let t = if sum.is_none() { shift.clone() } else { PerChannel::one(0.0) };
                let x = if r.is(1.0) && t.is(0.0) { x } else { affine(out, x, r, &t, source) };
                sum = Some(sum.map_or(x, |s| out.push(TensorOp::Add {}, vec![s, x], ty.clone(), source)));
            }
            sum.unwrap_or_else(|| affine(out, leaves[0], &PerChannel::one(0.0), shift, source))
        }
    };
    done.insert(id, v);
    v
}

fn affine(out: &mut TensorGraph, x: ValueId, scale: &PerChannel, shift: &PerChannel, source: &str) -> ValueId {
    let mut row = |what: &str, r: &PerChannel| {
        let data: Vec<f32> = r.values().into_iter().map(|x| x as f32).collect();
        constant(out, source, what, vec![data.len()], data)
    };
    let (scale, shift) = (row("scale", scale), row("shift", shift));
    let ty = out.ty(x).clone();
    out.push(TensorOp::Affine { scale, shift }, vec![x], ty, source)
}

fn constant(out: &mut TensorGraph, source: &str, what: &str, shape: Vec<usize>, data: Vec<f32>) -> ConstId {
    out.consts.add(&format!("{source}.{what}"), Array::new(shape, data))
}
