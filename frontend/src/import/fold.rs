//! Folding of nodes that depend on constants and shapes only.

use super::context::Context;
use super::{Bound, quantise};
use crate::constant::{Const, Data, Dim, axis, coordinates, count, count_made, extent, flat_index, slice_span};

type Result<T> = std::result::Result<T, String>;

/// Operators that are folded, and not computed on values.
pub(super) const FOLDED: &[&str] = &["Constant", "ConstantOfShape", "Equal", "Range", "Shape", "Size", "Where"];

/// The value of a node that does not depend on the image, or `None`.
///
/// # Errors
/// The node is constant but not computable.
pub(super) fn fold(cx: &Context) -> Result<Option<Const>> {
    let op = cx.node.op.as_str();
    if op == "Constant" {
        let names = ["value", "value_float", "value_int", "value_floats", "value_ints"];
        for n in names {
            if let Some(c) = cx.attr_tensor(n)? {
                return Ok(Some(c));
            }
        }
        return Err("it holds no numeric value".into());
    }
    if op == "Shape"
        && let Bound::Value(v) = cx.bound(0)?
    {
        let dims: Vec<Dim> = std::iter::once(Dim::Batch).chain(v.dims.iter().map(|&d| Dim::Known(d as i64))).collect();
        return shape_of(cx, &dims).map(Some);
    }
    let present: Vec<usize> = (0..cx.node.inputs.len()).filter(|&i| cx.has(i)).collect();
    for &i in &present {
        if cx.maybe_constant(i)?.is_none() {
            return Ok(None);
        }
    }
    if present.is_empty() {
        return Ok(None);
    }
    let x = cx.constant(present[0])?;
    let folded = match op {
        "Identity" | "Dropout" => (*x).clone(),
        "Shape" => shape_of(cx, &x.dims)?,
        "Cast" => cast(&x, cx.int("to", 1)?)?,
        "ConstantOfShape" => constant_of_shape(cx, &x)?,
        "Expand" => expand(&x, &cx.constant(1)?.ints()?)?,
        "Gather" => gather(cx, &x)?,
        "Concat" => concat(cx)?,
        "Reshape" => reshape(cx, &x)?,
        "Squeeze" => {
            let shape = x.shape()?;
            let axes = cx.axes(1, shape.len())?;
            let drop = |k: usize| axes.as_ref().map_or(shape[k] == 1, |a| a.contains(&k));
            let kept: Vec<usize> = (0..shape.len()).filter(|&k| !drop(k)).map(|k| shape[k]).collect();
            x.reshape(&kept)?
        }
        "Unsqueeze" => {
            let shape = x.shape()?;
            let list = cx.ints_or_input("axes", 1)?.ok_or("axes are missing")?;
            let rank = shape.len() + list.len();
            let axes = list.into_iter().map(|a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
            let mut rest = shape.into_iter();
            let dims: Vec<usize> = (0..rank).filter_map(|k| if axes.contains(&k) { Some(1) } else { rest.next() }).collect();
            x.reshape(&dims)?
        }
        "Slice" => slice(cx, &x)?,
        "Transpose" => {
            let shape = x.shape()?;
            let perm = cx.ints("perm")?.unwrap_or_else(|| (0..shape.len() as i64).rev().collect());
            let perm = perm.into_iter().map(|a| axis(a, shape.len())).collect::<Result<Vec<_>>>()?;
            if perm.len() != shape.len() {
                return Err("perm does not fit its operand".into());
            }
            let out: Vec<usize> = perm.iter().map(|&k| shape[k]).collect();
            x.select(&out, |i| {
                let c = coordinates(i, &out);
                let mut at = vec![0; shape.len()];
                perm.iter().zip(c).for_each(|(&k, c)| at[k] = c);
                flat_index(&at, &shape)
            })?
        }
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Equal" => arithmetic(op, &x, &*cx.constant(1)?, cx.batch)?,
        "Neg" => arithmetic("Sub", &zero_like(&x), &x, cx.batch)?,
        "Sqrt" | "Exp" | "Reciprocal" | "Abs" | "Floor" | "Ceil" => unary(op, &x)?,
        "Range" => range(cx)?,
        "DequantizeLinear" => quantise::dequantised(cx, &x)?,
        "QuantizeLinear" => quantise::quantised(cx, &x)?,
        "Size" => Const::int(&[], vec![Dim::Known(count(&x.shape()?)? as i64)]),
        "Where" => select(&x, &*cx.constant(1)?, &*cx.constant(2)?)?,
        _ => return Err(format!("all inputs are constant, but constants are not folded through {op}; simplify the model before export")),
    };
    Ok(Some(folded))
}

fn shape_of(cx: &Context, dims: &[Dim]) -> Result<Const> {
    let n = dims.len();
    let (start, len) = slice_span(cx.int("start", 0)?, cx.int("end", i64::MAX)?, 1, n)?;
    Ok(Const::int(&[len], dims[start..start + len].to_vec()))
}

fn zero_like(x: &Const) -> Const {
    match x.data {
        Data::Int(_) => Const::int(&[], vec![Dim::Known(0)]),
        _ => Const::float(&[], vec![0.0]),
    }
}

/// Element types of the file: 1, 10, 11, 16 are floats, 2–9, 12, 13 integers and booleans.
fn cast(x: &Const, to: i64) -> Result<Const> {
    match (to, &x.data) {
        (1 | 10 | 11 | 16, Data::Int(_)) => Ok(Const::float(&x.shape()?, x.floats()?.to_vec())),
        (1 | 10 | 11 | 16, _) | (2..=9 | 12 | 13, Data::Int(_)) => Ok(x.clone()),
        (2..=9 | 12 | 13, _) => {
            let whole = x.floats()?.iter().map(|v| Dim::Known(v.trunc() as i64)).collect();
            Ok(Const::int(&x.shape()?, whole))
        }
        _ => Err(format!("a cast to element type {to} is not supported")),
    }
}

fn constant_of_shape(cx: &Context, x: &Const) -> Result<Const> {
    let dims = x.ints()?.to_vec();
    let Some(value) = cx.attr_tensor("value")? else { return Ok(Const { dims, data: Data::Uniform(0.0) }) };
    let scalar = value.scalar().ok_or("value must hold one element")?;
    if let (Data::Int(v), false) = (&value.data, dims.contains(&Dim::Batch)) {
        let shape = Const { dims: dims.clone(), data: Data::Uniform(0.0) }.shape()?;
        return Ok(Const::int(&shape, vec![v[0]; count_made(&shape, 0)?]));
    }
    Ok(Const { dims, data: Data::Uniform(scalar) })
}

fn expand(x: &Const, target: &[Dim]) -> Result<Const> {
    if let Some(s) = x.scalar().filter(|_| target.contains(&Dim::Batch)) {
        return Ok(Const { dims: target.to_vec(), data: Data::Uniform(s) });
    }
    let to = Const { dims: target.to_vec(), data: Data::Uniform(0.0) }.shape()?;
    let from = x.shape()?;
    let out = broadcast_shape(&from, &to)?;
    x.select(&out, |i| broadcast_index(i, &out, &from))
}

fn gather(cx: &Context, x: &Const) -> Result<Const> {
    let shape = x.shape()?;
    let a = axis(cx.int("axis", 0)?, shape.len())?;
    let indices = cx.constant(1)?;
    let index_shape = indices.shape()?;
    let list = indices.known_ints()?.into_iter().map(|i| axis(i, shape[a])).collect::<Result<Vec<_>>>()?;
    let out: Vec<usize> = [&shape[..a], &index_shape, &shape[a + 1..]].concat();
    let inner: usize = shape[a + 1..].iter().product();
    x.select(&out, |i| (i / inner / list.len() * shape[a] + list[i / inner % list.len()]) * inner + i % inner)
}

fn concat(cx: &Context) -> Result<Const> {
    let parts = (0..cx.node.inputs.len()).map(|i| cx.constant(i)).collect::<Result<Vec<_>>>()?;
    let shapes = parts.iter().map(|p| p.shape()).collect::<Result<Vec<_>>>()?;
    let a = axis(cx.int("axis", 0)?, shapes[0].len())?;
    let mut out = shapes[0].clone();
    out[a] = 0;
    for s in &shapes {
        if s.len() != out.len() || (0..s.len()).any(|k| k != a && s[k] != out[k]) {
            return Err(format!("constants of shapes {:?} and {s:?} cannot be joined", shapes[0]));
        }
        out[a] += s[a];
    }
    let n = count_made(&out, parts.iter().map(|p| p.stored()).sum())?;
    // Element i of the result is element `.1` of operand `.0`.
    let place = |i: usize| {
        let mut c = coordinates(i, &out);
        let k = shapes
            .iter()
            .take_while(|s| {
                c[a] >= s[a] && {
                    c[a] -= s[a];
                    true
                }
            })
            .count();
        (k, flat_index_exact(&c, &shapes[k]))
    };
    if parts.iter().all(|p| matches!(p.data, Data::Int(_))) {
        let v = parts.iter().map(|p| p.ints()).collect::<Result<Vec<_>>>()?;
        Ok(Const::int(
            &out,
            (0..n)
                .map(|i| {
                    let (k, j) = place(i);
                    v[k][j]
                })
                .collect(),
        ))
    } else {
        let v = parts.iter().map(|p| p.floats()).collect::<Result<Vec<_>>>()?;
        Ok(Const::float(
            &out,
            (0..n)
                .map(|i| {
                    let (k, j) = place(i);
                    v[k][j]
                })
                .collect(),
        ))
    }
}

fn flat_index_exact(c: &[usize], shape: &[usize]) -> usize {
    c.iter().zip(shape).fold(0, |a, (&i, &d)| a * d + i)
}

fn reshape(cx: &Context, x: &Const) -> Result<Const> {
    let shape = x.shape()?;
    let copy_zero = cx.int("allowzero", 0)? == 0;
    let mut dims: Vec<Option<usize>> = vec![];
    for (i, d) in cx.constant(1)?.known_ints()?.into_iter().enumerate() {
        dims.push(match d {
            -1 => None,
            0 if copy_zero => Some(*shape.get(i).ok_or("a 0 of the shape copies a dimension that is not there")?),
            d => Some(extent(d)?),
        });
    }
    let known = count(&dims.iter().flatten().copied().collect::<Vec<_>>())?;
    let total = count(&shape)?;
    if dims.iter().filter(|d| d.is_none()).count() > 1 {
        return Err("more than one dimension is -1".into());
    }
    let full: Vec<usize> = dims.into_iter().map(|d| d.unwrap_or(total / known.max(1))).collect();
    x.reshape(&full)
}

fn slice(cx: &Context, x: &Const) -> Result<Const> {
    let shape = x.shape()?;
    let starts = cx.ints_or_input("starts", 1)?.ok_or("starts are missing")?;
    let ends = cx.ints_or_input("ends", 2)?.ok_or("ends are missing")?;
    let axes = cx.ints_or_input("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = cx.ints_or_input("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps differ in length".into());
    }
    let (mut out, mut from) = (shape.clone(), vec![(0usize, 1i64); shape.len()]);
    for k in 0..starts.len() {
        let a = axis(axes[k], shape.len())?;
        let (start, n) = slice_span(starts[k], ends[k], steps[k], shape[a])?;
        (out[a], from[a]) = (n, (start, steps[k]));
    }
    x.select(&out, |i| {
        let at: Vec<usize> = coordinates(i, &out).iter().zip(&from).map(|(&c, &(s, step))| (s as i64 + c as i64 * step) as usize).collect();
        flat_index_exact(&at, &shape)
    })
}

fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let n = a.len().max(b.len());
    let at = |s: &[usize], k: usize| (k + s.len()).checked_sub(n).map_or(1, |k| s[k]);
    (0..n)
        .map(|k| match (at(a, k), at(b, k)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(format!("constants of shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

/// The element of a tensor of shape `from` that lands on element `i` of the broadcast shape `out`.
fn broadcast_index(i: usize, out: &[usize], from: &[usize]) -> usize {
    let c = coordinates(i, out);
    flat_index(&c[out.len() - from.len()..], from)
}

fn arithmetic(op: &str, a: &Const, b: &Const, batch: Option<usize>) -> Result<Const> {
    if let (Data::Uniform(x), Some(y)) = (&a.data, b.scalar()) {
        return Ok(Const { dims: a.dims.clone(), data: Data::Uniform(float(op, *x, y)) });
    }
    let (sa, sb) = (a.shape()?, b.shape()?);
    let out = broadcast_shape(&sa, &sb)?;
    let n = count_made(&out, a.stored().max(b.stored()))?;
    if let (Data::Int(x), Data::Int(y)) = (&a.data, &b.data) {
        let at = |i: usize| integer(op, x[broadcast_index(i, &out, &sa)], y[broadcast_index(i, &out, &sb)], batch);
        return Ok(Const::int(&out, (0..n).map(at).collect::<Result<_>>()?));
    }
    let (x, y) = (a.floats()?, b.floats()?);
    let at = |i: usize| float(op, x[broadcast_index(i, &out, &sa)], y[broadcast_index(i, &out, &sb)]);
    Ok(Const::float(&out, (0..n).map(at).collect()))
}

fn float(op: &str, x: f32, y: f32) -> f32 {
    match op {
        "Add" => x + y,
        "Sub" => x - y,
        "Mul" => x * y,
        "Div" => x / y,
        "Equal" => f32::from(x == y),
        _ => x.powf(y),
    }
}

/// Arithmetic of shape elements; the batch stays a batch under ·1, /1 and +0.
fn integer(op: &str, x: Dim, y: Dim, batch: Option<usize>) -> Result<Dim> {
    match (op, x, y) {
        ("Equal", x, y) if x == y => return Ok(Dim::Known(1)),
        // No batch is a number that stands for one in a shape.
        ("Equal", Dim::Batch, Dim::Known(k)) | ("Equal", Dim::Known(k), Dim::Batch) if k < 1 => return Ok(Dim::Known(0)),
        ("Add", Dim::Known(0), d) | ("Mul", Dim::Known(1), d) => return Ok(d),
        ("Add" | "Sub", d, Dim::Known(0)) | ("Mul" | "Div", d, Dim::Known(1)) => return Ok(d),
        _ => {}
    }
    let known = |d: Dim| match (d, batch) {
        (Dim::Known(k), _) => Ok(k),
        (Dim::Batch, Some(b)) => Ok(b as i64),
        (Dim::Batch, None) => Err("arithmetic with the batch size is not supported".to_string()),
    };
    let (x, y) = (known(x)?, known(y)?);
    let r = match op {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        "Equal" => Some(i64::from(x == y)),
        _ => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
    };
    r.map(Dim::Known).ok_or_else(|| format!("{op} of {x} and {y} is out of range"))
}

/// Elements of `a` where `x` is true, else of `b`.
fn select(x: &Const, a: &Const, b: &Const) -> Result<Const> {
    let shapes = [x.shape()?, a.shape()?, b.shape()?];
    let out = broadcast_shape(&broadcast_shape(&shapes[0], &shapes[1])?, &shapes[2])?;
    let n = count_made(&out, x.stored().max(a.stored()).max(b.stored()))?;
    let choose: Vec<bool> = x.known_ints()?.into_iter().map(|k| k != 0).collect();
    let at = |i: usize, k: usize| broadcast_index(i, &out, &shapes[k]);
    if let (Data::Int(a), Data::Int(b)) = (&a.data, &b.data) {
        return Ok(Const::int(&out, (0..n).map(|i| if choose[at(i, 0)] { a[at(i, 1)] } else { b[at(i, 2)] }).collect()));
    }
    let (a, b) = (a.floats()?, b.floats()?);
    Ok(Const::float(&out, (0..n).map(|i| if choose[at(i, 0)] { a[at(i, 1)] } else { b[at(i, 2)] }).collect()))
}

fn unary(op: &str, x: &Const) -> Result<Const> {
    let f = |v: f32| match op {
        "Sqrt" => v.sqrt(),
        "Exp" => v.exp(),
        "Reciprocal" => 1.0 / v,
        "Abs" => v.abs(),
        "Floor" => v.floor(),
        _ => v.ceil(),
    };
    match &x.data {
        Data::Int(_) if op == "Floor" || op == "Ceil" => Ok(x.clone()),
        _ => Ok(Const::float(&x.shape()?, x.floats()?.iter().map(|&v| f(v)).collect())),
    }
}

fn range(cx: &Context) -> Result<Const> {
    let at = |i: usize| cx.constant(i)?.known_ints()?.first().copied().ok_or("an end of the range is empty".to_string());
    let (start, limit, delta) = (at(0)?, at(1)?, at(2)?);
    if delta == 0 {
        return Err("the step is 0".into());
    }
    let n = ((limit as f64 - start as f64) / delta as f64).ceil().max(0.0);
    if n > f64::from(1 << 20) {
        return Err(format!("a range of {n} elements is too long"));
    }
    Ok(Const::int(&[n as usize], (0..n as i64).map(|k| Dim::Known(start + k * delta)).collect()))
}
