//! Add, Sub, Mul, Div, Neg, Pow and Sum of values and constants that broadcast.

use super::context::Context;
use super::{Bound, Var, activation, relation, unary};
use crate::constant::{Const, Dim, axis, coordinates, flat_index};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{Binary, Expr, TensorOp, Unary};

type Result<T> = std::result::Result<T, String>;

const QUOTIENT: &str = "these operands cannot be divided";

/// Largest exponent of Pow that is computed exactly.
const MAX_POWER: f32 = 16.0;

/// An operand. Before opset 7 the second one, if it broadcasts, may name the axis of the first
/// where it begins.
fn operand(cx: &Context, i: usize) -> Result<Bound> {
    let mut b = cx.bound(i)?.clone();
    let names_axis = i == 1 && cx.opset() < 7 && cx.int("broadcast", 0)? != 0;
    if let (true, Some(at), Bound::Value(x)) = (names_axis, cx.int("axis", i64::MIN).ok().filter(|a| *a != i64::MIN), cx.bound(0)?) {
        let rank = x.dims.len() + 1;
        let at = axis(at, rank)?;
        match &mut b {
            Bound::Const(c) => {
                let missing = rank.checked_sub(at + c.dims.len()).ok_or("axis leaves no room for the second operand")?;
                let dims = c.dims.iter().copied().chain(std::iter::repeat_n(Dim::Known(1), missing)).collect();
                b = Bound::Const(std::sync::Arc::new(Const { dims, ..(**c).clone() }));
            }
            _ => return Err("a computed operand that begins at an axis is not supported; export with opset 7 or later".into()),
        }
    }
    Ok(b)
}

pub(super) fn add(cx: &mut Context) -> Result<Bound> {
    let mut sum = operand(cx, 0)?;
    for i in 1..cx.node.inputs.len() {
        let next = operand(cx, i)?;
        sum = match (sum, next) {
            (Bound::Const(c), Bound::Value(v)) | (Bound::Value(v), Bound::Const(c)) => shifted(cx, &v, &c, false)?,
            (Bound::Value(a), Bound::Value(b)) => binary(cx, TensorOp::Add {}, &a, &b)?,
            _ => return Err("these operands cannot be added".into()),
        };
    }
    Ok(sum)
}

pub(super) fn sub(cx: &mut Context) -> Result<Bound> {
    match (operand(cx, 0)?, operand(cx, 1)?) {
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
    match (operand(cx, 0)?, operand(cx, 1)?) {
        (Bound::Const(c), Bound::Value(v)) | (Bound::Value(v), Bound::Const(c)) => {
            let v = widened(cx, &v, &c)?;
            let factor = factors(cx, &v, &c)?;
            scaled(cx, &v, factor)
        }
        (Bound::Value(a), Bound::Value(b)) => product(cx, &a, &b),
        _ => Err("these operands cannot be multiplied".into()),
    }
}

pub(super) fn div(cx: &mut Context) -> Result<Bound> {
    match (operand(cx, 0)?, operand(cx, 1)?) {
        (Bound::Value(v), Bound::Const(c)) => {
            let v = widened(cx, &v, &c)?;
            let divisor = factors(cx, &v, &c)?;
            if divisor.contains(&0.0) {
                return Err(format!("divisor \"{}\" holds a zero", cx.name(1)));
            }
            scaled(cx, &v, divisor.into_iter().map(|d| 1.0 / d).collect())
        }
        // A quotient is a product with a reciprocal, which is a function of the divisor: together
        // they may be one function of one value.
        (Bound::Const(c), Bound::Value(_)) => {
            let Bound::Value(r) = unary::function(cx, 1, Expr::unary(Unary::Reciprocal, Expr::X))? else { return Err(QUOTIENT.into()) };
            let r = widened(cx, &r, &c)?;
            let scale = factors(cx, &r, &c)?;
            if scale == [1.0] { Ok(Bound::Value(r)) } else { scaled(cx, &r, scale) }
        }
        (Bound::Value(a), Bound::Value(_)) => {
            let Bound::Value(r) = unary::function(cx, 1, Expr::unary(Unary::Reciprocal, Expr::X))? else { return Err(QUOTIENT.into()) };
            product(cx, &a, &r)
        }
        _ => Err(QUOTIENT.into()),
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
    if !exponent.is_finite() {
        return Err(format!("exponent {exponent}"));
    }
    if exponent.fract() != 0.0 || !(1.0..=MAX_POWER).contains(&exponent) {
        let of = match exponent {
            0.5 => Expr::unary(Unary::Sqrt, Expr::X),
            -1.0 => Expr::unary(Unary::Reciprocal, Expr::X),
            e => Expr::binary(Binary::Pow, Expr::X, Expr::Number(e.into())),
        };
        return unary::function(cx, 0, of);
    }
    let id = cx.elements(&x)?;
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
    Ok(cx.like(id, &x))
}

fn negated(cx: &mut Context, x: &Var) -> Result<Var> {
    let id = cx.elements(x)?;
    let id = cx.affine(id, vec![-1.0], vec![0.0])?;
    Ok(Var { id, ..x.clone() })
}

/// A value times one factor, one per channel, or one per element (in the value's own order).
fn scaled(cx: &mut Context, x: &Var, scale: Vec<f32>) -> Result<Bound> {
    let id = cx.elements(x)?;
    let ty = cx.g.ty(id).clone();
    if scale.len() != 1 && scale.len() != ty.chw()[0] {
        let own = Var::plain(id, ty.shape.clone());
        let scaled = cx.linear(&own, &ty.shape, &|o, list| list.push((o, scale[o])))?;
        return Ok(cx.like(scaled.id, x));
    }
    let id = cx.affine(id, scale, vec![0.0])?;
    Ok(cx.like(id, x))
}

/// The value repeated along axes where only the constant has more than one element.
fn widened(cx: &mut Context, x: &Var, c: &Const) -> Result<Var> {
    let known = |d: &Dim| if let Dim::Known(k) = d { usize::try_from(*k).ok() } else { None };
    // The constant's axes behind the batch, where it has one.
    let own = c.dims.len().saturating_sub(x.dims.len() + 1).max(usize::from(c.dims.len() == x.dims.len() + 1));
    let dims: Option<Vec<usize>> = c.dims[own.min(c.dims.len())..].iter().map(known).collect();
    match dims.and_then(|d| relation::joint(&x.dims, &d)).filter(|d| *d != x.dims && d.len() == x.dims.len()) {
        Some(dims) => cx.expanded(x, &dims),
        None => Ok(x.clone()),
    }
}

/// `x + c`, or `x − c`.
fn shifted(cx: &mut Context, x: &Var, c: &Const, minus: bool) -> Result<Bound> {
    let x = &widened(cx, x, c)?;
    let id = cx.elements(x)?;
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
    Ok(cx.like(id, x))
}

/// The value, broadcast to a constant beside it, such that the constant has one number for each of
/// its channels: with every element a channel where it differs between positions.
pub(super) fn by_channel(cx: &mut Context, x: &Var, c: &Const) -> Result<(Var, ValueId)> {
    let x = widened(cx, x, c)?;
    let id = cx.elements(&x)?;
    if factors(cx, &x, c)?.len() <= cx.g.ty(id).chw()[0] {
        return Ok((x, id));
    }
    let id = cx.flat(&x)?;
    Ok((Var::plain(id, x.dims), id))
}

/// A constant that is one number, one for each channel of the value, or one for each element.
fn factors(cx: &mut Context, x: &Var, c: &Const) -> Result<Vec<f32>> {
    let id = cx.elements(x)?;
    expand(cx, x, id, c)
}

/// A constant that is one number, or one for each channel of the value.
pub(super) fn per_channel(cx: &mut Context, x: &Var, c: &Const) -> Result<Vec<f32>> {
    let id = cx.elements(x)?;
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
    let whole = x.order.is_plain() && x.dims.first() == Some(&channels);
    if values.len() == 1 || (whole && values.len() == channels && shape.get(1) == Some(&channels)) {
        return Ok(values);
    }
    let all: Vec<f32> = (0..ty.len()).map(|i| values[flat_index(&coordinates(i, &full), &shape)]).collect();
    let all = x.order.stored(&all);
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
    let (x, y, like) = pair(cx, a, b)?;
    let id = cx.emit(op, vec![x, y])?;
    Ok(cx.like(id, &like))
}

/// Two values in one order, and how the file sees the result.
fn pair(cx: &mut Context, a: &Var, b: &Var) -> Result<(ValueId, ValueId, Var)> {
    let dims = relation::joint(&a.dims, &b.dims);
    let dims = dims.ok_or_else(|| format!("the operands have shapes N×{:?} and N×{:?}", a.dims, b.dims))?;
    let (a, b) = (&cx.expanded(a, &dims)?, &cx.expanded(b, &dims)?);
    let (x, y) = (cx.elements(a)?, cx.elements(b)?);
    if a.order == b.order && cx.g.ty(x) == cx.g.ty(y) {
        return Ok((x, y, a.clone()));
    }
    let plain = |id| Var::plain(id, a.dims.clone());
    if a.dims.len() >= 3 {
        let (x, y) = (cx.spatial(a)?, cx.spatial(b)?);
        return Ok((x, y, plain(x)));
    }
    let (x, y) = (cx.flat(a)?, cx.flat(b)?);
    Ok((x, y, plain(x)))
}

/// The larger (or the smaller) of two values: `(a + b ± |a − b|)/2`.
pub(super) fn extreme(cx: &mut Context, max: bool, a: &Var, b: &Var) -> Result<Var> {
    let (x, y, like) = pair(cx, a, b)?;
    let difference = cx.emit(TensorOp::Sub {}, vec![x, y])?;
    let distance = cx.emit(TensorOp::Function { of: Expr::unary(Unary::Abs, Expr::X), params: None }, vec![difference])?;
    let sum = cx.emit(TensorOp::Add {}, vec![x, y])?;
    let both = cx.emit(if max { TensorOp::Add {} } else { TensorOp::Sub {} }, vec![sum, distance])?;
    let id = cx.affine(both, vec![0.5], vec![0.0])?;
    Ok(Var { id, ..like })
}

/// `|x|^p`.
pub(super) fn power_of_size(cx: &mut Context, x: &Var, p: f32) -> Result<Var> {
    let size = Expr::unary(Unary::Abs, Expr::X);
    if p == 2.0 {
        let id = cx.elements(x)?;
        let id = cx.emit(TensorOp::Square {}, vec![id])?;
        return Ok(Var { id, ..x.clone() });
    }
    if !(p.is_finite() && p > 0.0) {
        return Err(format!("the power {p}"));
    }
    let of = if p == 1.0 { size } else { Expr::binary(Binary::Pow, size, Expr::Number(p.into())) };
    unary::of_value(cx, x, of)
}

/// The p-th root of a value that is not negative.
pub(super) fn root(cx: &mut Context, x: &Var, p: f32) -> Result<Var> {
    let of = match p {
        1.0 => return Ok(x.clone()),
        2.0 => Expr::unary(Unary::Sqrt, Expr::X),
        p => Expr::binary(Binary::Pow, Expr::X, Expr::Number(1.0 / f64::from(p))),
    };
    unary::of_value(cx, x, of)
}

/// The mean of all operands.
pub(super) fn mean(cx: &mut Context) -> Result<Bound> {
    let n = cx.node.inputs.len().max(1) as f32;
    match add(cx)? {
        Bound::Value(sum) if n > 1.0 => scaled(cx, &sum, vec![1.0 / n]),
        other => Ok(other),
    }
}

/// A product of two values; recognises squares, SiLU and hard swish.
pub(super) fn product(cx: &mut Context, a: &Var, b: &Var) -> Result<Bound> {
    let (x, y, like) = pair(cx, a, b)?;
    let id = if x == y {
        cx.emit(TensorOp::Square {}, vec![x])?
    } else if let Some((kind, base, factor)) = activation::gated(cx.g, x, y).or_else(|| activation::gated(cx.g, y, x)) {
        let id = cx.emit(TensorOp::Activation { kind, alpha: None }, vec![base])?;
        if factor == 1.0 { id } else { cx.affine(id, vec![factor], vec![0.0])? }
    } else {
        cx.emit(TensorOp::Mul {}, vec![x, y])?
    };
    Ok(cx.like(id, &like))
}
