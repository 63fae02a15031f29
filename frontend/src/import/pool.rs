//! Windowed and global pooling, and means over positions.

use super::context::Context;
use super::{Bound, Var, window};
use chiffre_ir::tensor::TensorOp;

type Result = std::result::Result<Bound, String>;

/// AveragePool and MaxPool.
pub(super) fn window(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    if x.dims.len() != 3 {
        return Err(format!("the input has shape N×{:?}: only 2-D pooling is supported", x.dims));
    }
    let id = cx.spatial(&x)?;
    let [_, h, w] = cx.g.ty(id).chw();
    if cx.ints("kernel_shape")?.is_none() {
        return Err("attribute kernel_shape is missing".into());
    }
    let kernel = cx.sizes("kernel_shape", [1, 1])?;
    let win = window::read(cx, [h, w], kernel)?;
    if win.dilation != [1, 1] {
        return Err(format!("dilations {:?} are not supported in pooling", win.dilation));
    }
    let average = cx.node.op == "AveragePool";
    let count_pad = average && cx.int("count_include_pad", 0)? != 0;
    let mut pad = win.pad;
    if cx.int("ceil_mode", 0)? != 0 {
        for (d, extent) in [h, w].into_iter().enumerate() {
            let more = ceil_padding(extent, kernel[d], win.stride[d], pad[d], pad[d + 2]);
            if more > 0 && count_pad {
                return Err("ceil_mode with count_include_pad and a partial last window is not supported".into());
            }
            pad[d + 2] += more;
        }
    }
    let stride = win.stride;
    let op = if average { TensorOp::AvgPool { kernel, stride, pad, count_pad } } else { TensorOp::MaxPool { kernel, stride, pad } };
    cx.emit_var(op, vec![id])
}

/// Padding to add at the end so that the partial last window of `ceil_mode` counts; none if it
/// would start in padding.
fn ceil_padding(extent: usize, kernel: usize, stride: usize, before: usize, after: usize) -> usize {
    let padded = extent + before + after;
    let Some(room) = padded.checked_sub(kernel) else { return kernel - padded };
    let start = room.div_ceil(stride) * stride;
    if start >= extent + before { 0 } else { (start + kernel).saturating_sub(padded) }
}

pub(super) fn global(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    let id = cx.spatial(&x)?;
    let [_, h, w] = cx.g.ty(id).chw();
    let (kernel, stride, pad) = ([h, w], [1, 1], [0; 4]);
    let average = cx.node.op == "GlobalAveragePool";
    let op = if average { TensorOp::AvgPool { kernel, stride, pad, count_pad: false } } else { TensorOp::MaxPool { kernel, stride, pad } };
    let id = cx.emit(op, vec![id])?;
    let mut dims = vec![1; x.dims.len()];
    dims[0] = x.dims[0];
    Ok(Bound::Value(Var { id, dims }))
}

/// ReduceMean and ReduceSum over positions.
pub(super) fn reduce(cx: &mut Context) -> Result {
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
    if axes[0] == 1 {
        return Err("reducing over channels is not supported; only over positions".into());
    }
    let whole = axes.len() == x.dims.len() - 1;
    // A view such as N×C×(H·W) that is reduced as a whole need not be taken apart.
    let id = if whole && cx.g.ty(x.id).chw()[0] == x.dims[0] { x.id } else { cx.spatial(&x)? };
    let [_, h, w] = cx.g.ty(id).chw();
    let kernel = if whole { [h, w] } else { [if axes.contains(&2) { h } else { 1 }, if axes.contains(&3) { w } else { 1 }] };
    let mut id = cx.emit(TensorOp::AvgPool { kernel, stride: kernel, pad: [0; 4], count_pad: false }, vec![id])?;
    if cx.node.op == "ReduceSum" {
        id = cx.affine(id, vec![(kernel[0] * kernel[1]) as f32], vec![0.0])?;
    }
    let keep = cx.int("keepdims", 1)? != 0;
    let mut dims = x.dims;
    axes.iter().for_each(|&a| dims[a - 1] = 1);
    if !keep {
        let mut k = 0;
        dims.retain(|_| {
            k += 1;
            !axes.contains(&k)
        });
    }
    Ok(Bound::Value(Var { id, dims }))
}
