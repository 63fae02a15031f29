//! Activations by name, and those that files spell out: SiLU, hard swish, Gelu through Erf.

use super::context::Context;
use super::{Bound, Var};
use crate::constant::Const;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{ActivationKind, TensorGraph, TensorOp};

type Result<T> = std::result::Result<T, String>;

pub(super) fn named(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let mut id = cx.plain(&x)?;
    let (kind, alpha) = match cx.node.op.as_str() {
        "Relu" => (ActivationKind::Relu, None),
        "Sigmoid" => (ActivationKind::Sigmoid, None),
        "Tanh" => (ActivationKind::Tanh, None),
        "HardSwish" => (ActivationKind::HardSwish, None),
        "Gelu" if cx.word("approximate", "none")? == "none" => (ActivationKind::Gelu, None),
        "Gelu" => return Err("approximate = tanh is not supported; export the exact Gelu".into()),
        "LeakyRelu" => (ActivationKind::LeakyRelu, Some(f64::from(cx.float("alpha", 0.01)?))),
        "PRelu" => {
            let (shape, slope) = cx.floats(1)?;
            match slope[..] {
                [first, ..] if slope.iter().all(|&s| s == first) => (ActivationKind::LeakyRelu, Some(f64::from(first))),
                _ => return Err(format!("slopes of shape {shape:?} that differ between channels are not supported")),
            }
        }
        // min(max(αx + β, 0), 1)
        "HardSigmoid" => {
            let (a, b) = (cx.float("alpha", 0.2)?, cx.float("beta", 0.5)?);
            id = cx.affine(id, vec![a], vec![b])?;
            (ActivationKind::Clip, Some(1.0))
        }
        other => return Err(super::unsupported(other)),
    };
    let id = cx.emit(TensorOp::Activation { kind, alpha }, vec![id])?;
    Ok(Bound::Value(Var { id, dims: x.dims }))
}

/// Clip, and Max and Min against a constant: shifted so that the lower bound is 0.
pub(super) fn clip(cx: &mut Context) -> Result<Bound> {
    let (x, lo, hi) = match cx.node.op.as_str() {
        "Clip" if cx.opset < 11 => (cx.value(0)?, Some(cx.float("min", f32::MIN)?), Some(cx.float("max", f32::MAX)?)),
        "Clip" => (cx.value(0)?, bound(cx, 1)?, bound(cx, 2)?),
        op => {
            let (value, other) = if cx.maybe_constant(0)?.is_some() { (1, 0) } else { (0, 1) };
            if cx.node.inputs.len() != 2 || cx.maybe_constant(other)?.is_none() {
                return Err(format!("{op} is supported between a value and a constant only"));
            }
            let limit = bound(cx, other)?;
            if op == "Max" { (cx.value(value)?, limit, None) } else { (cx.value(value)?, None, limit) }
        }
    };
    let lo = lo.filter(|&l| l > f32::MIN);
    let hi = hi.filter(|&h| h < f32::MAX);
    let id = cx.plain(&x)?;
    let shift =
        |cx: &mut Context, id, scale: f32, by: f32| if (scale, by) == (1.0, 0.0) { Ok(id) } else { cx.affine(id, vec![scale], vec![by]) };
    let relu = TensorOp::Activation { kind: ActivationKind::Relu, alpha: None };
    let id = match (lo, hi) {
        (None, None) => id,
        (Some(lo), None) => {
            let s = shift(cx, id, 1.0, -lo)?;
            let r = cx.emit(relu, vec![s])?;
            shift(cx, r, 1.0, lo)?
        }
        (None, Some(hi)) => {
            let s = shift(cx, id, -1.0, hi)?;
            let r = cx.emit(relu, vec![s])?;
            shift(cx, r, -1.0, hi)?
        }
        (Some(lo), Some(hi)) if lo <= hi => {
            let s = shift(cx, id, 1.0, -lo)?;
            let alpha = Some(f64::from(hi) - f64::from(lo));
            let r = cx.emit(TensorOp::Activation { kind: ActivationKind::Clip, alpha }, vec![s])?;
            shift(cx, r, 1.0, lo)?
        }
        (Some(lo), Some(hi)) => return Err(format!("the lower bound {lo} exceeds the upper bound {hi}")),
    };
    Ok(Bound::Value(Var { id, dims: x.dims }))
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

/// `factor·(erf(x/√2) + one)·x^times`, on the way to Gelu.
#[derive(Clone, Debug)]
pub(super) struct PartialGelu {
    pub x: Var,
    factor: f32,
    one: bool,
    times: bool,
}

/// Erf of `x/√2`, the start of a Gelu.
pub(super) fn erf(cx: &mut Context) -> Result<Bound> {
    let v = cx.value(0)?;
    let id = cx.plain(&v)?;
    match scalar_affine(cx.g, id) {
        Some((x, s, 0.0)) if near(s, std::f32::consts::FRAC_1_SQRT_2) => {
            Ok(Bound::Gelu(PartialGelu { x: Var { id: x, dims: v.dims }, factor: 1.0, one: false, times: false }))
        }
        _ => Err("Erf is supported inside the Gelu pattern x·(1 + erf(x/√2))/2 only".into()),
    }
}

impl PartialGelu {
    pub fn complete(&self) -> bool {
        self.one && self.times && near(self.factor, 0.5)
    }
    pub fn plus(mut self, c: &Const) -> Result<Bound> {
        if self.one || self.times || self.factor != 1.0 || c.scalar() != Some(1.0) {
            return Err("an Erf is used outside of the Gelu pattern x·(1 + erf(x/√2))/2".into());
        }
        self.one = true;
        Ok(Bound::Gelu(self))
    }
    pub fn scaled(mut self, cx: &mut Context, by: Option<f32>) -> Result<Bound> {
        self.factor *= by.ok_or("an Erf is scaled by more than one number")?;
        self.finish(cx)
    }
    /// Times `x`, or a multiple of `x`.
    pub fn times(mut self, cx: &mut Context, v: &Var) -> Result<Bound> {
        let id = cx.plain(v)?;
        let by = if id == self.x.id { Some(1.0) } else { scalar_affine(cx.g, id).filter(|a| a.0 == self.x.id && a.2 == 0.0).map(|a| a.1) };
        match by {
            Some(f) if !self.times => {
                self.factor *= f;
                self.times = true;
                self.finish(cx)
            }
            _ => Err("an Erf is multiplied by another value than its own x: only the Gelu pattern is supported".into()),
        }
    }
}
