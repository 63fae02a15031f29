//! ReduceMean and ReduceSum: linear maps.

use super::context::Context;
use super::{Bound, Var};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::TensorOp;

type Result<T> = std::result::Result<T, String>;

pub(super) fn reduce(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let rank = x.dims.len() + 1;
    let axes = match cx.axes(1, rank)? {
        Some(a) if !a.is_empty() => a,
        _ if cx.int("noop_with_empty_axes", 0)? != 0 => return Ok(Bound::Value(x)),
        _ => return Err("reducing over all axes mixes the images of a batch".into()),
    };
    if axes[0] == 0 {
        return Err("reducing over axis 0 mixes the images of a batch".into());
    }
    let mean = cx.node.op == "ReduceMean";
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
    let id = match axes[0] {
        // Every element of an image, or all channels and some axes of positions.
        1 if x.dims.len() == 1 => {
            let id = cx.flat(&x)?;
            let id = total(cx, id, x.dims[0], mean)?;
            return Ok(Bound::Value(Var::plain(id, dims)));
        }
        1 if axes.len() == 1 => cx.spatial(&x)?,
        1 => positions(cx, &x, &axes[1..], mean)?,
        _ => positions(cx, &x, &axes, mean)?,
    };
    let id = if axes[0] == 1 {
        let c = cx.g.ty(id).chw()[0];
        total(cx, id, c, mean)?
    } else {
        id
    };
    Ok(Bound::Value(Var::plain(id, dims)))
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
