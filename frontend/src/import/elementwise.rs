//! Add, Sub, Mul, Div, Neg, Pow and Sum: between values of one shape, or with constants that
//! broadcast.

use super::activation::{self, PartialGelu};
use super::context::Context;
use super::{Bound, Var};
use crate::constant::{Const, Dim, coordinates, flat_index};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{ActivationKind, TensorOp};

type Result<T> = std::result::Result<T, String>;

/// Largest exponent of Pow.
const MAX_POWER: f32 = 16.0;

pub(super) fn add(cx: &mut Context) -> Result<Bound> {
    let mut sum = cx.bound(0)?.clone();
    for i in 1..cx.node.inputs.len() {
        let next = cx.bound(i)?.clone();
        sum = match (sum, next) {
            (Bound::Gelu(p), Bound::Const(c)) | (Bound::Const(c), Bound::Gelu(p)) => p.plus(&c)?,
            (Bound::Const(c), Bound::Value(v)) | (Bound::Value(v), Bound::Const(c)) => shifted(cx, &v, &c, false)?,
            (Bound::Value(a), Bound::Value(b)) => binary(cx, TensorOp::Add {}, &a, &b)?,
            _ => return Err("these operands cannot be added".into()),
        };
    }
    Ok(sum)
}

pub(super) fn sub(cx: &mut Context) -> Result<Bound> {
    match (cx.bound(0)?.clone(), cx.bound(1)?.clone()) {
        (Bound::Value(a), Bound::Value(b)) => binary(cx, TensorOp::Sub {}, &a, &b),
        (Bound::Value(v), Bound::Const(c)) => shifted(cx, &v, &c, true),
        (Bound::Const(c), Bound::Value(v)) => {
            let minus = negated(cx, &v)?;
            shifted(cx, &minus, &c, false)
        }
        _ => Err("these operands cannot be subtracted".into()),
    }
}

pub(super) fn mul(cx: &mut Context) -> Result<Bound> {
    match (cx.bound(0)?.clone(), cx.bound(1)?.clone()) {
        (Bound::Gelu(p), Bound::Const(c)) | (Bound::Const(c), Bound::Gelu(p)) => p.scaled(cx, c.scalar()),
        (Bound::Gelu(p), Bound::Value(v)) | (Bound::Value(v), Bound::Gelu(p)) => p.times(cx, &v),
        (Bound::Const(c), Bound::Value(v)) | (Bound::Value(v), Bound::Const(c)) => {
            let scale = per_channel(cx, &v, &c)?;
            scaled(cx, &v, scale)
        }
        (Bound::Value(a), Bound::Value(b)) => product(cx, &a, &b),
        _ => Err("these operands cannot be multiplied".into()),
    }
}

pub(super) fn div(cx: &mut Context) -> Result<Bound> {
    match (cx.bound(0)?.clone(), cx.bound(1)?.clone()) {
        (Bound::Gelu(p), Bound::Const(c)) => p.scaled(cx, c.scalar().map(|x| 1.0 / x)),
        (Bound::Value(v), Bound::Const(c)) => {
            let divisor = per_channel(cx, &v, &c)?;
            if divisor.contains(&0.0) {
                return Err(format!("divisor \"{}\" holds a zero", cx.name(1)));
            }
            scaled(cx, &v, divisor.into_iter().map(|d| 1.0 / d).collect())
        }
        _ => Err("division by an encrypted value is not supported".into()),
    }
}

pub(super) fn neg(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    negated(cx, &x).map(Bound::Value)
}

/// A power with a small non-negative whole exponent.
pub(super) fn pow(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let exponent = cx.constant(1)?.scalar().ok_or_else(|| format!("exponent \"{}\" must be a single number", cx.name(1)))?;
    if exponent.fract() != 0.0 || !(1.0..=MAX_POWER).contains(&exponent) {
        return Err(format!("exponent {exponent}: only whole exponents from 1 to {MAX_POWER} are supported"));
    }
    let id = cx.plain(&x)?;
    let id = match exponent as usize {
        1 => id,
        2 => cx.emit(TensorOp::Square {}, vec![id])?,
        n => {
            let mut coeffs = vec![0.0; n + 1];
            coeffs[n] = 1.0;
            let name = format!("{}.coeffs", cx.node.name);
            let coeffs = cx.add_const(&name, &[1, n + 1], coeffs);
            cx.emit(TensorOp::Poly { coeffs }, vec![id])?
        }
    };
    Ok(Bound::Value(Var { id, dims: x.dims }))
}

fn negated(cx: &mut Context, x: &Var) -> Result<Var> {
    let id = cx.plain(x)?;
    let id = cx.affine(id, vec![-1.0], vec![0.0])?;
    Ok(Var { id, dims: x.dims.clone() })
}

fn scaled(cx: &mut Context, x: &Var, scale: Vec<f32>) -> Result<Bound> {
    let id = cx.plain(x)?;
    let id = cx.affine(id, scale, vec![0.0])?;
    Ok(Bound::Value(Var { id, dims: x.dims.clone() }))
}

/// `x + c`, or `x − c`.
fn shifted(cx: &mut Context, x: &Var, c: &Const, minus: bool) -> Result<Bound> {
    let id = cx.plain(x)?;
    let mut shift = expand(cx, x, id, c)?;
    if minus {
        shift.iter_mut().for_each(|s| *s = -*s);
    }
    let id = if shift.len() == 1 || shift.len() == cx.g.ty(id).chw()[0] {
        cx.affine(id, vec![1.0], shift)?
    } else {
        let shape = cx.g.ty(id).shape.clone();
        let name = format!("{}.value", cx.node.name);
        let value = cx.add_const(&name, &shape, shift);
        cx.emit(TensorOp::AddConst { value }, vec![id])?
    };
    Ok(Bound::Value(Var { id, dims: x.dims.clone() }))
}

fn per_channel(cx: &mut Context, x: &Var, c: &Const) -> Result<Vec<f32>> {
    let id = cx.plain(x)?;
    let v = expand(cx, x, id, c)?;
    let channels = cx.g.ty(id).chw()[0];
    if v.len() == 1 || v.len() == channels {
        Ok(v)
    } else {
        Err(format!("a factor that differs between positions of a {} value is not supported; only one per channel is", cx.g.ty(id)))
    }
}

/// The constant as one value, one per channel of `id`, or one per element: the shortest that holds
/// it.
fn expand(cx: &Context, x: &Var, id: ValueId, c: &Const) -> Result<Vec<f32>> {
    let full: Vec<usize> = std::iter::once(1).chain(x.dims.iter().copied()).collect();
    let extra = c.dims.len().saturating_sub(full.len());
    let (lead, dims) = c.dims.split_at(extra);
    if lead.iter().any(|d| *d != Dim::Known(1)) {
        return Err(format!("a constant with {} dimensions meets a value of shape N×{:?}", c.dims.len(), x.dims));
    }
    let mut shape = vec![1; full.len() - dims.len()];
    for (k, d) in dims.iter().enumerate() {
        let at = full.len() - dims.len() + k;
        shape.push(match *d {
            Dim::Known(1) => 1,
            Dim::Batch if at == 0 => 1,
            Dim::Known(n) if n == full[at] as i64 => full[at],
            _ => return Err(format!("a constant of shape {} does not broadcast to a value of shape N×{:?}", text(&c.dims), x.dims)),
        });
    }
    let values = match c.scalar() {
        Some(s) => vec![s],
        None => c.floats()?.to_vec(),
    };
    if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
        return Err(format!("a constant operand holds {bad}"));
    }
    let ty = cx.g.ty(id);
    let (channels, plane) = (ty.chw()[0], ty.len() / ty.chw()[0].max(1));
    if values.len() == 1 || (values.len() == channels && shape.get(1) == Some(&channels)) {
        return Ok(values);
    }
    let all: Vec<f32> = (0..ty.len()).map(|i| values[flat_index(&coordinates(i, &full), &shape)]).collect();
    let flat = all.chunks_exact(plane.max(1)).all(|p| p.iter().all(|v| v == &p[0]));
    Ok(if flat { all.into_iter().step_by(plane.max(1)).collect() } else { all })
}

fn text(dims: &[Dim]) -> String {
    let one = |d: &Dim| match d {
        Dim::Known(k) => k.to_string(),
        Dim::Batch => "N".into(),
    };
    dims.iter().map(one).collect::<Vec<String>>().join("×")
}

/// Two values of one shape under an elementwise op.
fn binary(cx: &mut Context, op: TensorOp, a: &Var, b: &Var) -> Result<Bound> {
    let (x, y) = pair(cx, a, b)?;
    let id = cx.emit(op, vec![x, y])?;
    Ok(Bound::Value(Var { id, dims: a.dims.clone() }))
}

fn pair(cx: &mut Context, a: &Var, b: &Var) -> Result<(ValueId, ValueId)> {
    if a.dims != b.dims {
        return Err(format!("the operands have shapes N×{:?} and N×{:?}: only constants broadcast", a.dims, b.dims));
    }
    let (x, y) = (cx.plain(a)?, cx.plain(b)?);
    match cx.g.ty(x) == cx.g.ty(y) {
        true => Ok((x, y)),
        false => Ok((cx.flat(a)?, cx.flat(b)?)),
    }
}

/// A product of two values; recognises squares, SiLU and hard swish.
fn product(cx: &mut Context, a: &Var, b: &Var) -> Result<Bound> {
    let (x, y) = pair(cx, a, b)?;
    let dims = a.dims.clone();
    let id = if x == y {
        cx.emit(TensorOp::Square {}, vec![x])?
    } else if let Some((kind, base, factor)) = activation::gated(cx.g, x, y).or_else(|| activation::gated(cx.g, y, x)) {
        let id = cx.emit(TensorOp::Activation { kind, alpha: None }, vec![base])?;
        if factor == 1.0 { id } else { cx.affine(id, vec![factor], vec![0.0])? }
    } else {
        cx.emit(TensorOp::Mul {}, vec![x, y])?
    };
    Ok(Bound::Value(Var { id, dims }))
}

impl PartialGelu {
    /// The Gelu of a complete pattern, or the pattern as it stands.
    pub(super) fn finish(self, cx: &mut Context) -> Result<Bound> {
        if !self.complete() {
            return Ok(Bound::Gelu(self));
        }
        let id = cx.emit(TensorOp::Activation { kind: ActivationKind::Gelu, alpha: None }, vec![self.x.id])?;
        Ok(Bound::Value(Var { id, dims: self.x.dims }))
    }
}
