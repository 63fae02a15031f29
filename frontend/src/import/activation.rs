//! Activations by name, and those that files spell out: SiLU and hard swish.

use super::context::Context;
use super::{Bound, elementwise, unary};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{ActivationKind, TensorGraph, TensorOp};

type Result<T> = std::result::Result<T, String>;

pub(super) fn named(cx: &mut Context) -> Result<Bound> {
    let mut x = cx.value(0)?;
    let mut id = cx.elements(&x)?;
    let (kind, alpha) = match cx.node.op.as_str() {
        "Relu" => (ActivationKind::Relu, None),
        "Sigmoid" => (ActivationKind::Sigmoid, None),
        "Tanh" => (ActivationKind::Tanh, None),
        "HardSwish" => (ActivationKind::HardSwish, None),
        "Gelu" => match cx.word("approximate", "none")?.as_str() {
            "none" => (ActivationKind::Gelu, None),
            // x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
            "tanh" => {
                let text = "mul(mul(0.5, x), add(1, tanh(mul(0.7978845608028654, add(x, mul(0.044715, mul(x, mul(x, x))))))))";
                return unary::function(cx, 0, text.parse()?);
            }
            other => return Err(format!("approximate = {other} is unknown")),
        },
        "LeakyRelu" => (ActivationKind::LeakyRelu, Some(f64::from(cx.float("alpha", 0.01)?))),
        "PRelu" => {
            let slope = match cx.bound(1)?.clone() {
                // Before opset 7 a slope is one number for each channel.
                Bound::Const(mut c) => {
                    if cx.opset() < 7 && c.dims.len() == 1 {
                        let more = std::iter::repeat_n(crate::constant::Dim::Known(1), x.dims.len().saturating_sub(1));
                        c = std::sync::Arc::new(crate::constant::Const {
                            dims: c.dims.iter().copied().chain(more).collect(),
                            ..(*c).clone()
                        });
                    }
                    (x, id) = elementwise::by_channel(cx, &x, &c)?;
                    elementwise::per_channel(cx, &x, &c)?
                }
                _ => return Err(format!("input \"{}\" must be a constant", cx.name(1))),
            };
            match slope[..] {
                [first, ..] if slope.iter().all(|&s| s == first) => (ActivationKind::LeakyRelu, Some(f64::from(first))),
                _ => {
                    let name = format!("{}.slope", cx.node.name);
                    let params = cx.add_const(&name, &[slope.len(), 1], slope);
                    let of = "add(max(x, 0), mul(p0, min(x, 0)))".parse()?;
                    let id = cx.emit(TensorOp::Function { of, params: Some(params) }, vec![id])?;
                    return Ok(cx.like(id, &x));
                }
            }
        }
        // min(max(αx + β, 0), 1)
        "HardSigmoid" => {
            let (a, b) = (cx.float("alpha", 0.2)?, cx.float("beta", 0.5)?);
            id = cx.affine(id, vec![a], vec![b])?;
            (ActivationKind::Clip, Some(1.0))
        }
        other => return Err(super::operators::unsupported(other)),
    };
    let id = cx.emit(TensorOp::Activation { kind, alpha }, vec![id])?;
    Ok(cx.like(id, &x))
}

/// Clip, shifted so that the lower bound is 0; Max and Min.
pub(super) fn clip(cx: &mut Context) -> Result<Bound> {
    let (x, lo, hi) = match cx.node.op.as_str() {
        "Clip" if cx.opset() < 11 => (cx.value(0)?, Some(cx.float("min", f32::MIN)?), Some(cx.float("max", f32::MAX)?)),
        "Clip" => (cx.value(0)?, bound(cx, 1)?, bound(cx, 2)?),
        _ => return extremes(cx),
    };
    let lo = lo.filter(|&l| l > f32::MIN);
    let hi = hi.filter(|&h| h < f32::MAX);
    let id = cx.elements(&x)?;
    let shift = |cx: &mut Context, id, by: f32| if by == 0.0 { Ok(id) } else { cx.affine(id, vec![1.0], vec![by]) };
    let id = match (lo, hi) {
        (None, None) => id,
        (Some(lo), None) => limited(cx, id, true, lo)?,
        (None, Some(hi)) => limited(cx, id, false, hi)?,
        (Some(lo), Some(hi)) if lo <= hi => {
            let s = shift(cx, id, -lo)?;
            let alpha = Some(f64::from(hi) - f64::from(lo));
            let r = cx.emit(TensorOp::Activation { kind: ActivationKind::Clip, alpha }, vec![s])?;
            shift(cx, r, lo)?
        }
        (Some(lo), Some(hi)) => return Err(format!("the lower bound {lo} exceeds the upper bound {hi}")),
    };
    Ok(cx.like(id, &x))
}

/// Max and Min of constants and values.
fn extremes(cx: &mut Context) -> Result<Bound> {
    let max = cx.node.op == "Max";
    let n = cx.node.inputs.len();
    let (mut values, mut constants) = (vec![], vec![]);
    for i in 0..n {
        match cx.maybe_constant(i)? {
            Some(c) => constants.push(c),
            None => values.push(cx.value(i)?),
        }
    }
    let mut values = values.into_iter();
    let Some(mut x) = values.next() else { return Err("it has no operand".into()) };
    for v in values {
        x = elementwise::extreme(cx, max, &x, &v)?;
    }
    for c in constants {
        let id;
        (x, id) = elementwise::by_channel(cx, &x, &c)?;
        let limits = elementwise::per_channel(cx, &x, &c)?;
        x.id = match limits[..] {
            [limit] => limited(cx, id, max, limit)?,
            _ => {
                let name = format!("{}.limit", cx.node.name);
                let params = cx.add_const(&name, &[limits.len(), 1], limits);
                let of = if max { "max(x, p0)" } else { "min(x, p0)" }.parse()?;
                cx.emit(TensorOp::Function { of, params: Some(params) }, vec![id])?
            }
        };
    }
    Ok(Bound::Value(x))
}

/// The larger (or the smaller) of a value and a number, as a ReLU between affine maps.
fn limited(cx: &mut Context, id: ValueId, max: bool, limit: f32) -> Result<ValueId> {
    let sign = if max { 1.0 } else { -1.0 };
    let shift = |cx: &mut Context, id, by: f32| if (sign, by) == (1.0, 0.0) { Ok(id) } else { cx.affine(id, vec![sign], vec![by]) };
    let s = shift(cx, id, -sign * limit)?;
    let r = cx.emit(TensorOp::Activation { kind: ActivationKind::Relu, alpha: None }, vec![s])?;
    shift(cx, r, limit)
}

/// An optional scalar input.
fn bound(cx: &Context, i: usize) -> Result<Option<f32>> {
    if !cx.has(i) {
        return Ok(None);
    }
    let x = cx.constant(i)?.scalar().filter(|x| !x.is_nan());
    x.map(Some).ok_or_else(|| format!("bound \"{}\" must be a single number", cx.name(i)))
}

/// `scale·x + shift` with one scale and one shift for all channels: `(x, scale, shift)`.
fn scalar_affine(g: &TensorGraph, v: ValueId) -> Option<(ValueId, f32, f32)> {
    let TensorOp::Affine { scale, shift } = &g.node(v).op else { return None };
    let one = |c| match g.consts.get(c).array().map(|a| a.data.as_slice()) {
        Some([x]) => Some(*x),
        _ => None,
    };
    Some((g.node(v).args[0], one(*scale)?, one(*shift)?))
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() < 1e-5
}

/// If `gate·x` is a named activation times a factor: the activation, its operand and the factor.
pub(super) fn gated(g: &TensorGraph, gate: ValueId, x: ValueId) -> Option<(ActivationKind, ValueId, f32)> {
    let TensorOp::Activation { kind, alpha } = &g.node(gate).op else { return None };
    let inner = g.node(gate).args[0];
    match (kind, alpha) {
        (ActivationKind::Sigmoid, _) if inner == x => Some((ActivationKind::Silu, x, 1.0)),
        // x·clip(x/6 + 1/2, 0, 1), and x·clip(x + 3, 0, 6)
        (ActivationKind::Clip, Some(top)) => match scalar_affine(g, inner)? {
            (base, a, b) if base == x && *top == 1.0 && near(a, 1.0 / 6.0) && near(b, 0.5) => Some((ActivationKind::HardSwish, x, 1.0)),
            (base, 1.0, 3.0) if base == x && *top == 6.0 => Some((ActivationKind::HardSwish, x, 6.0)),
            _ => None,
        },
        _ => None,
    }
}
