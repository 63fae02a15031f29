//! Gemm and MatMul by a constant.

use super::context::Context;
use super::order::Order;
use super::{Bound, Var};
use chiffre_ir::tensor::TensorOp;

type Result = std::result::Result<Bound, String>;

/// `alpha·x·B + beta·C`.
pub(super) fn gemm(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    if cx.int("transA", 0)? != 0 {
        return Err("transA is set: the batch must stay the first dimension".into());
    }
    let transposed = cx.int("transB", 0)? != 0;
    let (alpha, beta) = (cx.float("alpha", 1.0)?, cx.float("beta", 1.0)?);
    let (weight, out, ins) = matrix(cx, transposed)?;
    let weight = weight.into_iter().map(|w| alpha * w).collect();
    let bias = if cx.has(2) {
        let (shape, c) = cx.floats(2)?;
        let fits = c.len() == 1 || (c.len() == out && shape.last() == Some(&out));
        if !fits {
            return Err(format!("C \"{}\" has shape {shape:?}, expected [{out}]", cx.name(2)));
        }
        Some((0..out).map(|i| beta * c[i % c.len()]).collect())
    } else {
        None
    };
    linear(cx, &x, weight, out, ins, bias)
}

pub(super) fn mat_mul(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    let (weight, out, ins) = matrix(cx, false)?;
    linear(cx, &x, weight, out, ins, None)
}

/// The constant input 1 as `[out, in]`; the file stores `[in, out]` unless `transposed`.
fn matrix(cx: &Context, transposed: bool) -> std::result::Result<(Vec<f32>, usize, usize), String> {
    let (shape, w) = cx.floats(1)?;
    let [rows, cols] = shape[..] else {
        return Err(format!("matrix \"{}\" has shape {shape:?}, expected two dimensions", cx.name(1)));
    };
    if transposed {
        return Ok((w.to_vec(), rows, cols));
    }
    Ok(((0..rows * cols).map(|i| w[i % rows * cols + i / rows]).collect(), cols, rows))
}

/// A layer on vectors, or on the channels of every position where these are the last axis.
fn linear(cx: &mut Context, x: &Var, mut weight: Vec<f32>, out: usize, ins: usize, bias: Option<Vec<f32>>) -> Result {
    if out == 0 || x.dims.last() != Some(&ins) && x.dims.len() == 1 {
        return Err(format!("matrix \"{}\" takes {ins} features to {out}, the input has {}", cx.name(1), x.dims.iter().product::<usize>()));
    }
    let (weight_name, bias_name) = (cx.name(1).to_string(), cx.name(2).to_string());
    if x.dims.len() != 1 {
        let [c, h, w] = cx.g.ty(x.id).chw();
        let turned = |c: usize| Order::default().transposed(&[c, h * w], &[1, 0]);
        if x.dims.last() != Some(&ins) || c != ins || x.order != turned(c) || bias.is_some() {
            return Err(format!("a value of shape N×{:?} meets a matrix: flatten it to N×{ins} first", x.dims));
        }
        let weight = cx.add_const(&weight_name, &[out, ins, 1, 1], weight);
        let op = TensorOp::Conv2d { weight, bias: None, stride: [1, 1], pad: [0; 4], dilation: [1, 1] };
        let id = cx.emit(op, vec![x.id])?;
        let mut dims = x.dims.clone();
        dims.iter_mut().last().into_iter().for_each(|d| *d = out);
        return Ok(Bound::Value(Var { id, dims, order: turned(out) }));
    }
    if !x.order.is_plain() {
        // The matrix takes the elements as they lie.
        for row in weight.chunks_exact_mut(ins) {
            let moved = x.order.stored(row);
            row.copy_from_slice(&moved);
        }
    }
    let id = cx.flat(&Var::plain(x.id, x.dims.clone()))?;
    let weight = cx.add_const(&weight_name, &[out, ins], weight);
    let bias = bias.map(|b| cx.add_const(&bias_name, &[out], b));
    cx.emit_var(TensorOp::Linear { weight, bias }, vec![id])
}
