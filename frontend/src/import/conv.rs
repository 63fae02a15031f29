//! Conv and BatchNormalization.

use super::context::{Context, size};
use super::{Bound, Var, window, windows};
use crate::constant::MAX_CONST;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{Reads, TensorOp, TensorType};
use std::sync::Arc;

type Result<T> = std::result::Result<T, String>;

pub(super) fn conv(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    if x.dims.len() > 3 {
        return windows::conv(cx);
    }
    let (shape, weights) = cx.floats(1)?;
    let axes = window::axes(&x)?;
    let (out, each, kernel) = match shape[..] {
        [out, each, k] if axes == 1 => (out, each, [k, 1]),
        [out, each, kh, kw] if axes == 2 => (out, each, [kh, kw]),
        _ => {
            return Err(format!("weight \"{}\" has shape {shape:?}, which does not fit an input of shape N×{:?}", cx.name(1), x.dims));
        }
    };
    if out == 0 || each == 0 {
        return Err(format!("weight \"{}\" has shape {shape:?}", cx.name(1)));
    }
    let id = cx.spatial(&x)?;
    let [c, h, w] = cx.g.ty(id).chw();
    let group = cx.int("group", 1)?;
    let groups = size(group, "group")?;
    if groups == 0 || !out.is_multiple_of(groups) || each.checked_mul(groups) != Some(c) {
        let of = if groups == 1 { String::new() } else { format!(" in each of {group} groups") };
        return Err(format!("weight \"{}\" of shape {shape:?} takes {each} channels{of}, the input has {c}", cx.name(1)));
    }
    let [kh, kw] = window::pair(cx, "kernel_shape", axes, kernel)?;
    if [kh, kw] != kernel {
        return Err(format!("kernel_shape {:?} contradicts the weight's {:?}", &[kh, kw][..axes], &kernel[..axes]));
    }
    let win = window::read(cx, axes, [h, w], [size(kh as i64, "kernel")?, size(kw as i64, "kernel")?])?;
    let bias = if cx.has(2) { Some(cx.vector(2, out)?) } else { None };
    let (weight_name, bias_name) = (cx.name(1).to_string(), cx.name(2).to_string());
    if groups > 1 && out.saturating_mul(c).saturating_mul(kh * kw) >= LARGE {
        return in_groups(cx, id, (&weights, [out, each, kh, kw]), bias, &win, axes);
    }
    let data = if groups == 1 { weights.to_vec() } else { spread(cx, &weights, [out, each, kh * kw], groups)? };
    let weight = cx.add_const(&weight_name, &[out, c, kh, kw], data);
    let bias = bias.map(|b| cx.add_const(&bias_name, &[out], b.to_vec()));
    let op = TensorOp::Conv2d { weight, bias, stride: win.stride, pad: win.pad, dilation: win.dilation };
    let id = cx.emit(op, vec![id])?;
    let mut dims = cx.g.ty(id).chw().to_vec();
    dims.truncate(axes + 1);
    Ok(Bound::Value(Var::plain(id, dims)))
}

/// Weights of a kernel over all channels from which a grouped convolution stays in groups.
const LARGE: usize = 1 << 16;

/// A convolution in groups as a linear map, with zeros between dilated taps.
fn in_groups(
    cx: &mut Context,
    id: ValueId,
    (weights, [out, each, kh, kw]): (&[f32], [usize; 4]),
    bias: Option<Arc<Vec<f32>>>,
    win: &window::Window,
    axes: usize,
) -> Result<Bound> {
    let [c, h, w] = cx.g.ty(id).chw();
    let [dy, dx] = win.dilation;
    let [rows, columns] = [(kh - 1) * dy + 1, (kw - 1) * dx + 1];
    let count = |extent: usize, before: usize, after: usize, reach: usize, stride: usize| {
        (extent + before + after).checked_sub(reach).map(|room| room / stride + 1)
    };
    let size = [count(h, win.pad[0], win.pad[2], rows, win.stride[0]), count(w, win.pad[1], win.pad[3], columns, win.stride[1])];
    let [Some(oh), Some(ow)] = size else { return Err(format!("a window of {rows}×{columns} does not fit {h}×{w} positions")) };
    let len = (out * each).saturating_mul(rows).saturating_mul(columns);
    if len > MAX_CONST {
        return Err(format!("its kernel would be larger than {MAX_CONST} elements"));
    }
    cx.spend(len * size_of::<f32>())?;
    let mut data = vec![0.0; len];
    for (k, weight) in weights.iter().enumerate() {
        let (filter, y, x) = (k / (kh * kw), k / kw % kh, k % kw);
        data[(filter * rows + y * dy) * columns + x * dx] = *weight;
    }
    let (weight_name, bias_name) = (cx.name(1).to_string(), cx.name(2).to_string());
    let op = TensorOp::LinearMap {
        kernels: vec![cx.add_const(&weight_name, &[out, each, rows, columns], data)],
        strides: vec![win.stride],
        origins: vec![[-(win.pad[0] as i64), -(win.pad[1] as i64)]],
        bias: bias.map(|b| cx.add_const(&bias_name, &[out], b.to_vec())),
        reads: Reads::default(),
        groups: Some(vec![c / each]),
    };
    let source = cx.node.name.clone();
    let id = cx.g.push(op, vec![id], TensorType::new([out, oh, ow]), &source);
    let mut dims = vec![out, oh, ow];
    dims.truncate(axes + 1);
    Ok(Bound::Value(Var::plain(id, dims)))
}

/// The kernel of a grouped convolution, `[out, each, taps]`, over all channels: zero between
/// groups.
fn spread(cx: &mut Context, weights: &[f32], [out, each, taps]: [usize; 3], groups: usize) -> Result<Vec<f32>> {
    let row = each * taps;
    let len = weights.len().checked_mul(groups).filter(|&n| n <= MAX_CONST);
    let len = len.ok_or_else(|| format!("a kernel over all channels of {groups} groups would be larger than {MAX_CONST} elements"))?;
    cx.spend(len * size_of::<f32>())?;
    let mut data = vec![0.0; len];
    for (o, filter) in weights.chunks_exact(row).enumerate() {
        let at = (o * groups + o / (out / groups)) * row;
        data[at..at + row].copy_from_slice(filter);
    }
    Ok(data)
}

/// `scale·(x − mean)/√(var + ε) + shift` with the stored statistics.
pub(super) fn batch_normalization(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    // Statistics belong to the file's channels, each of which is several of a value of more than
    // three axes.
    let (id, like) = match (x.order.is_plain(), x.dims.len()) {
        (true, 1) => (cx.flat(&x)?, x.clone()),
        _ => {
            let id = cx.spatial(&x)?;
            (id, Var::plain(id, x.dims.clone()))
        }
    };
    let stored = cx.g.ty(id).chw()[0];
    let c = if x.dims.len() > 3 { x.dims[0] } else { stored };
    if cx.int("training_mode", 0)? != 0 {
        return Err("training_mode is set: export the model for inference (eval mode)".into());
    }
    if cx.opset() < 7 && cx.int("is_test", 0)? == 0 {
        return Err("is_test is not set: export the model for inference (eval mode)".into());
    }
    if cx.opset() < 9 && cx.int("spatial", 1)? != 1 {
        return Err("spatial = 0 is not supported".into());
    }
    let epsilon = f64::from(cx.float("epsilon", 1e-5)?);
    let [scale, shift, mean, var] = [cx.vector(1, c)?, cx.vector(2, c)?, cx.vector(3, c)?, cx.vector(4, c)?];
    let mut a = Vec::with_capacity(c);
    let mut b = Vec::with_capacity(c);
    for k in 0..c {
        let v = f64::from(var[k]) + epsilon;
        if v <= 0.0 {
            return Err(format!("the variance of channel {k} is {}", var[k]));
        }
        let s = f64::from(scale[k]) / v.sqrt();
        a.push(s as f32);
        b.push((f64::from(shift[k]) - f64::from(mean[k]) * s) as f32);
    }
    let [a, b] = [a, b].map(|v| v.into_iter().flat_map(|x| std::iter::repeat_n(x, stored / c)).collect());
    let id = cx.affine(id, a, b)?;
    Ok(cx.like(id, &like))
}
