//! Windowed and global pooling.

use super::context::Context;
use super::{Bound, Var, window, windows};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::TensorOp;

type Result<T> = std::result::Result<T, String>;

/// AveragePool and MaxPool.
pub(super) fn window(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let average = cx.node.op == "AveragePool";
    let dilated = cx.ints("dilations")?.is_some_and(|d| d.iter().any(|&d| d != 1));
    if x.dims.len() > 3 || (dilated && !average) {
        return windows::pool(cx);
    }
    let axes = window::axes(&x)?;
    let id = cx.spatial(&x)?;
    let [c, h, w] = cx.g.ty(id).chw();
    if cx.ints("kernel_shape")?.is_none() {
        return Err("attribute kernel_shape is missing".into());
    }
    let kernel = window::pair(cx, "kernel_shape", axes, [1, 1])?;
    let win = window::read(cx, axes, [h, w], kernel)?;
    let reach = |d: usize| (kernel[d] - 1) * win.dilation[d] + 1;
    let count_pad = average && cx.int("count_include_pad", 0)? != 0;
    let (stride, pad) = (win.stride, win.pad);
    // Positions behind the padding that the partial last window of `ceil_mode` reads.
    let mut more = [0, 0];
    if cx.int("ceil_mode", 0)? != 0 {
        for (d, extent) in [h, w].into_iter().enumerate() {
            more[d] = ceil_padding(extent, reach(d), stride[d], pad[d], pad[d + 2]);
        }
    }
    let all = [pad[0], pad[1], pad[2] + more[0], pad[3] + more[1]];
    let dims = |cx: &Context, id: ValueId| {
        let mut dims = cx.g.ty(id).chw().to_vec();
        dims.truncate(axes + 1);
        dims
    };
    let id = if win.dilation != [1, 1] {
        if all != [0; 4] && !(count_pad && more == [0, 0]) {
            return windows::pool(cx);
        }
        dilated_average(cx, id, c, kernel, &win)?
    } else if count_pad && more != [0, 0] {
        // Padding counts in the divisor, but not what the last window reads behind it.
        let padded = TensorOp::Pad { before: [0, pad[0], pad[1]], after: [0, pad[2], pad[3]] };
        let id = if pad == [0; 4] { id } else { cx.emit(padded, vec![id])? };
        cx.emit(TensorOp::AvgPool { kernel, stride, pad: [0, 0, more[0], more[1]], count_pad: false }, vec![id])?
    } else if average {
        // Without padding, both ways to count are the same.
        cx.emit(TensorOp::AvgPool { kernel, stride, pad: all, count_pad: count_pad && all != [0; 4] }, vec![id])?
    } else {
        cx.emit(TensorOp::MaxPool { kernel, stride, pad: all }, vec![id])?
    };
    let dims = dims(cx, id);
    Ok(Bound::Value(Var::plain(id, dims)))
}

/// An average over every so-many-th position: a depthwise convolution.
fn dilated_average(cx: &mut Context, id: ValueId, c: usize, kernel: [usize; 2], win: &window::Window) -> Result<ValueId> {
    let taps = kernel[0] * kernel[1];
    let len = c.checked_mul(c).and_then(|n| n.checked_mul(taps)).ok_or("its kernel is too large")?;
    cx.spend(len.saturating_mul(size_of::<f32>()))?;
    let mut data = vec![0.0; len];
    for k in 0..c {
        data[(k * c + k) * taps..][..taps].fill(1.0 / taps as f32);
    }
    let name = format!("{}.average", cx.node.name);
    let weight = cx.add_const(&name, &[c, c, kernel[0], kernel[1]], data);
    cx.emit(TensorOp::Conv2d { weight, bias: None, stride: win.stride, pad: win.pad, dilation: win.dilation }, vec![id])
}

/// Padding to add at the end so that the partial last window of `ceil_mode` counts; none if it
/// would start in padding.
fn ceil_padding(extent: usize, kernel: usize, stride: usize, before: usize, after: usize) -> usize {
    let padded = extent + before + after;
    let Some(room) = padded.checked_sub(kernel) else { return kernel - padded };
    let start = room.div_ceil(stride) * stride;
    if start >= extent + before { 0 } else { (start + kernel).saturating_sub(padded) }
}

pub(super) fn global(cx: &mut Context) -> Result<Bound> {
    let mut x = cx.value(0)?;
    let given = x.dims.len();
    if x.dims.len() > 3 {
        // All axes of positions together.
        let [c, ref rest @ ..] = x.dims[..] else { return Err("it has no positions".into()) };
        x.dims = vec![c, rest.iter().product()];
    }
    let id = cx.spatial(&x)?;
    let [_, h, w] = cx.g.ty(id).chw();
    let (kernel, stride, pad) = ([h, w], [1, 1], [0; 4]);
    let average = cx.node.op == "GlobalAveragePool";
    let op = if average { TensorOp::AvgPool { kernel, stride, pad, count_pad: false } } else { TensorOp::MaxPool { kernel, stride, pad } };
    let id = cx.emit(op, vec![id])?;
    let mut dims = vec![1; given];
    dims[0] = x.dims[0];
    Ok(Bound::Value(Var::plain(id, dims)))
}
