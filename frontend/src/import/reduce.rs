//! Reductions over axes: sums are linear maps, maxima and products go pair by pair.

use super::context::Context;
use super::{Bound, Var, elementwise, unary, windows};
use crate::constant::{coordinates, flat_index};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{Expr, TensorOp, Unary};

type Result<T> = std::result::Result<T, String>;

pub(super) fn reduce(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let rank = x.dims.len() + 1;
    let axes = match cx.axes(1, rank)? {
        Some(a) if !a.is_empty() => a,
        _ if cx.int("noop_with_empty_axes", 0)? != 0 => {
            let linear = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"].contains(&cx.node.op.as_str());
            return if linear { Ok(Bound::Value(x)) } else { Err("noop_with_empty_axes leaves open what is computed; give axes".into()) };
        }
        _ => return Err("reducing over all axes mixes the images of a batch".into()),
    };
    if axes[0] == 0 {
        return Err("reducing over axis 0 mixes the images of a batch".into());
    }
    let keep = cx.int("keepdims", 1)? != 0;
    let mut dims = x.dims.clone();
    axes.iter().for_each(|&a| dims[a - 1] = 1);
    if !keep {
        let mut k = 0;
        dims.retain(|_| {
            k += 1;
            !axes.contains(&k)
        });
    }
    over(cx, &x, &axes, &dims).map(Bound::Value)
}

/// The reduction over `axes`, counted with the batch as axis 0, with a result of extents `dims`.
fn over(cx: &mut Context, x: &Var, axes: &[usize], dims: &[usize]) -> Result<Var> {
    let function = |cx: &mut Context, x: &Var, f: Unary| unary::of_value(cx, x, Expr::unary(f, Expr::X));
    match cx.node.op.as_str() {
        "ReduceMean" => sum(cx, x, axes, dims, true),
        "ReduceL1" => {
            let x = elementwise::power_of_size(cx, x, 1.0)?;
            sum(cx, &x, axes, dims, false)
        }
        "ReduceL2" => {
            let x = elementwise::power_of_size(cx, x, 2.0)?;
            let sum = sum(cx, &x, axes, dims, false)?;
            elementwise::root(cx, &sum, 2.0)
        }
        "ReduceSumSquare" => {
            let x = elementwise::power_of_size(cx, x, 2.0)?;
            sum(cx, &x, axes, dims, false)
        }
        "ReduceLogSum" => {
            let sum = sum(cx, x, axes, dims, false)?;
            function(cx, &sum, Unary::Log)
        }
        "ReduceLogSumExp" => {
            let x = function(cx, x, Unary::Exp)?;
            let sum = sum(cx, &x, axes, dims, false)?;
            function(cx, &sum, Unary::Log)
        }
        "ReduceMax" => pairs(cx, x, axes, dims, &mut |cx, a, b| elementwise::extreme(cx, true, a, b)),
        "ReduceMin" => pairs(cx, x, axes, dims, &mut |cx, a, b| elementwise::extreme(cx, false, a, b)),
        "ReduceProd" => pairs(cx, x, axes, dims, &mut |cx, a, b| match elementwise::product(cx, a, b)? {
            Bound::Value(v) => Ok(v),
            _ => Err("these operands cannot be multiplied".into()),
        }),
        _ => sum(cx, x, axes, dims, false),
    }
}

/// Elements along the axes, two by two.
fn pairs(
    cx: &mut Context,
    x: &Var,
    axes: &[usize],
    dims: &[usize],
    join: &mut dyn FnMut(&mut Context, &Var, &Var) -> Result<Var>,
) -> Result<Var> {
    let (from, reduced) = (x.dims.clone(), reduced(&x.dims, axes));
    let count: Vec<usize> = axes.iter().map(|&a| from[a - 1]).collect();
    let mut parts = vec![];
    for k in 0..windows::check_pairs(&count)? {
        let at = coordinates(k, &count);
        let part = cx.linear(x, dims, &|o, list| {
            let mut own = coordinates(o, &reduced);
            axes.iter().zip(&at).for_each(|(&a, &i)| own[a - 1] = i);
            list.push((flat_index(&own, &from), 1.0));
        })?;
        parts.push(part);
    }
    windows::tree(cx, parts, join)
}

/// The extents with 1 along the axes.
fn reduced(dims: &[usize], axes: &[usize]) -> Vec<usize> {
    dims.iter().enumerate().map(|(k, &d)| if axes.contains(&(k + 1)) { 1 } else { d }).collect()
}

fn sum(cx: &mut Context, x: &Var, axes: &[usize], dims: &[usize], mean: bool) -> Result<Var> {
    if axes.is_empty() {
        return Ok(x.clone());
    }
    if x.dims.len() > 3 {
        let (from, reduced) = (x.dims.clone(), reduced(&x.dims, axes));
        let count: Vec<usize> = axes.iter().map(|&a| from[a - 1]).collect();
        let all: usize = count.iter().product();
        let weight = if mean { 1.0 / all as f32 } else { 1.0 };
        return cx.linear(x, dims, &|o, list| {
            let mut at = coordinates(o, &reduced);
            for k in 0..all {
                axes.iter().zip(coordinates(k, &count)).for_each(|(&a, i)| at[a - 1] = i);
                list.push((flat_index(&at, &from), weight));
            }
        });
    }
    let id = match axes[0] {
        // Every element of an image, or all channels and some axes of positions.
        1 if x.dims.len() == 1 => {
            let id = cx.flat(x)?;
            let id = total(cx, id, x.dims[0], mean)?;
            return Ok(Var::plain(id, dims.to_vec()));
        }
        1 if axes.len() == 1 => cx.spatial(x)?,
        1 => positions(cx, x, &axes[1..], mean)?,
        _ => positions(cx, x, axes, mean)?,
    };
    let id = if axes[0] == 1 {
        let c = cx.g.ty(id).chw()[0];
        total(cx, id, c, mean)?
    } else {
        id
    };
    Ok(Var::plain(id, dims.to_vec()))
}
/// Over axes of positions, counted with the batch as axis 0.
fn positions(cx: &mut Context, x: &Var, axes: &[usize], mean: bool) -> Result<ValueId> {
    let whole = axes.len() == x.dims.len() - 1;
    // A view such as N×C×(H·W) that is reduced as a whole need not be taken apart.
    let as_it_lies = whole && x.order.is_plain() && cx.g.ty(x.id).chw()[0] == x.dims[0];
    let id = if as_it_lies { x.id } else { cx.spatial(x)? };
    let [_, h, w] = cx.g.ty(id).chw();
    let kernel = if whole { [h, w] } else { [if axes.contains(&2) { h } else { 1 }, if axes.contains(&3) { w } else { 1 }] };
    let id = cx.emit(TensorOp::AvgPool { kernel, stride: kernel, pad: [0; 4], count_pad: false }, vec![id])?;
    if mean { Ok(id) } else { cx.affine(id, vec![(kernel[0] * kernel[1]) as f32], vec![0.0]) }
}

/// The sum or mean over the `n` channels of a value, as its only channel.
fn total(cx: &mut Context, id: ValueId, n: usize, mean: bool) -> Result<ValueId> {
    let weight = vec![if mean { 1.0 / n as f32 } else { 1.0 }; n];
    let name = format!("{}.ones", cx.node.name);
    let vector = cx.g.ty(id).shape.len() == 1;
    let shape = if vector { vec![1, n] } else { vec![1, n, 1, 1] };
    let weight = cx.add_const(&name, &shape, weight);
    let op = match vector {
        true => TensorOp::Linear { weight, bias: None },
        false => TensorOp::Conv2d { weight, bias: None, stride: [1, 1], pad: [0; 4], dilation: [1, 1] },
    };
    cx.emit(op, vec![id])
}
