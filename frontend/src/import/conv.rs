//! Conv and BatchNormalization.

use super::context::{Context, size};
use super::{Bound, Var, window};
use chiffre_ir::tensor::TensorOp;

type Result = std::result::Result<Bound, String>;

pub(super) fn conv(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    let (shape, weights) = cx.floats(1)?;
    let [out, ins, kh, kw] = shape[..] else {
        return Err(format!("weight \"{}\" has shape {shape:?}: only 2-D convolutions are supported", cx.name(1)));
    };
    if out == 0 || ins == 0 {
        return Err(format!("weight \"{}\" has shape {shape:?}", cx.name(1)));
    }
    let id = cx.spatial(&x)?;
    let [c, h, w] = cx.g.ty(id).chw();
    let group = cx.int("group", 1)?;
    if group != 1 {
        return Err(format!("group = {group}: grouped and depthwise convolutions are not supported; export them as dense ones"));
    }
    if ins != c {
        return Err(format!("weight \"{}\" of shape {shape:?} takes {ins} channels, the input has {c}", cx.name(1)));
    }
    let kernel = cx.sizes("kernel_shape", [kh, kw])?;
    if kernel != [kh, kw] {
        return Err(format!("kernel_shape {kernel:?} contradicts the weight's {:?}", [kh, kw]));
    }
    let win = window::read(cx, [h, w], [size(kh as i64, "kernel")?, size(kw as i64, "kernel")?])?;
    let bias = if cx.has(2) { Some(cx.vector(2, out)?) } else { None };
    let (weight_name, bias_name) = (cx.name(1).to_string(), cx.name(2).to_string());
    let weight = cx.add_const(&weight_name, &shape, weights.to_vec());
    let bias = bias.map(|b| cx.add_const(&bias_name, &[out], b.to_vec()));
    cx.emit_var(TensorOp::Conv2d { weight, bias, stride: win.stride, pad: win.pad, dilation: win.dilation }, vec![id])
}

/// `scale·(x − mean)/√(var + ε) + shift` with the stored statistics.
pub(super) fn batch_normalization(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    let id = cx.plain(&x)?;
    let c = cx.g.ty(id).chw()[0];
    if cx.int("training_mode", 0)? != 0 {
        return Err("training_mode is set: export the model for inference (eval mode)".into());
    }
    if cx.opset < 9 && cx.int("spatial", 1)? != 1 {
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
    let id = cx.affine(id, a, b)?;
    Ok(Bound::Value(Var { id, dims: x.dims }))
}
