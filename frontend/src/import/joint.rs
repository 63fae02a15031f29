//! Slice, Pad, Concat and Split, as shortcuts and branches use them.

use super::context::Context;
use super::{Bound, Var, rearrange};
use crate::constant::{Const, Data, Dim, axis, coordinates, flat_index, slice_span};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::TensorOp;

type Result<T> = std::result::Result<T, String>;

/// Per-dimension list `[C, H, W]` from one that follows the file's dimensions.
fn chw(list: &[usize], default: usize) -> Result<[usize; 3]> {
    let at = |i: usize| list.get(i).copied().unwrap_or(default);
    if list.len() > 3 { Err(format!("{} dimensions beside the batch", list.len())) } else { Ok([at(0), at(1), at(2)]) }
}

pub(super) fn slice(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let list = |i: usize, name: &str| cx.ints_or_input(name, i);
    let starts = list(1, "starts")?.ok_or("starts are missing")?;
    let ends = list(2, "ends")?.ok_or("ends are missing")?;
    let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps differ in length".into());
    }
    let (mut start, mut count, mut step) = (vec![0; x.dims.len()], x.dims.clone(), vec![1; x.dims.len()]);
    for k in 0..starts.len() {
        let a = axis(axes[k], x.dims.len() + 1)?;
        if a == 0 {
            if starts[k] != 0 || ends[k] < i64::from(u16::MAX) || steps[k] != 1 {
                return Err("slicing the batch is not supported".into());
            }
            continue;
        }
        let (s, n) = slice_span(starts[k], ends[k], steps[k], x.dims[a - 1])?;
        if n == 0 {
            return Err(format!("axis {a} of extent {} is sliced to nothing", x.dims[a - 1]));
        }
        (start[a - 1], count[a - 1]) = (s, n);
        step[a - 1] = if n == 1 { 1 } else { steps[k] };
    }
    sliced(cx, &x, &start, &count, &step).map(Bound::Value)
}

fn sliced(cx: &mut Context, x: &Var, start: &[usize], count: &[usize], step: &[i64]) -> Result<Var> {
    let forward: Option<Vec<usize>> = step.iter().map(|&s| usize::try_from(s).ok()).collect();
    let Some(step) = forward.filter(|_| x.dims.len() <= 3) else {
        let read = |at: &[usize]| Some((0..at.len()).map(|d| (start[d] as i64 + step[d] * at[d] as i64) as usize).collect());
        return cx.gathered(x, count, &read);
    };
    if count == x.dims {
        return Ok(x.clone());
    }
    let id = if x.dims.len() == 1 { cx.flat(x)? } else { cx.spatial(x)? };
    let op = TensorOp::Slice { start: chw(start, 0)?, count: chw(count, 1)?, step: chw(&step, 1)? };
    Ok(Var::plain(cx.emit(op, vec![id])?, count.to_vec()))
}

pub(super) fn split(cx: &mut Context) -> Result<Vec<Bound>> {
    let x = cx.value(0)?;
    let a = axis(cx.int("axis", 0)?, x.dims.len() + 1)?;
    let outputs = cx.node.outputs.len();
    let Some(extent) = a.checked_sub(1).map(|a| x.dims[a]) else { return Err("splitting the batch is not supported".into()) };
    let even = extent.div_ceil(outputs.max(1));
    let parts = match cx.ints_or_input("split", 1)? {
        Some(list) => {
            list.into_iter().map(|n| usize::try_from(n).map_err(|_| format!("a part of {n} elements"))).collect::<Result<Vec<_>>>()?
        }
        None => (0..outputs).map(|i| extent.saturating_sub(i * even).min(even)).collect(),
    };
    if parts.len() != outputs || parts.contains(&0) || parts.iter().try_fold(0usize, |a, &n| a.checked_add(n)) != Some(extent) {
        return Err(format!("{extent} elements cannot be split into {parts:?}"));
    }
    let mut at = 0;
    let mut out = vec![];
    for n in parts {
        let (mut start, mut count) = (vec![0; x.dims.len()], x.dims.clone());
        (start[a - 1], count[a - 1]) = (at, n);
        at += n;
        out.push(Bound::Value(sliced(cx, &x, &start, &count, &vec![1; x.dims.len()])?));
    }
    Ok(out)
}

/// Padding with zeros, another number or elements; negative pads crop.
pub(super) fn pad(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let mode = cx.word("mode", "constant")?;
    let fill = if cx.has(2) { cx.constant(2)?.scalar().ok_or("the fill value must be one number")? } else { cx.float("value", 0.0)? };
    let pads = cx.ints_or_input("pads", 1)?.ok_or("pads are missing")?;
    let rank = x.dims.len() + 1;
    let axes = if cx.has(3) { cx.constant(3)?.known_ints()? } else { (0..rank as i64).collect() };
    if pads.len() != 2 * axes.len() {
        return Err(format!("{} pads for {} axes", pads.len(), axes.len()));
    }
    let (mut before, mut after) = (vec![0; x.dims.len()], vec![0; x.dims.len()]);
    let (mut start, mut count) = (vec![0; x.dims.len()], x.dims.clone());
    let (mut first, mut dims) = (vec![0; x.dims.len()], x.dims.clone());
    for (k, &a) in axes.iter().enumerate() {
        let (lo, hi) = (pads[k], pads[k + axes.len()]);
        let a = axis(a, rank)?;
        if a == 0 {
            if (lo, hi) != (0, 0) {
                return Err("padding the batch is not supported".into());
            }
            continue;
        }
        let limit = |p: i64| super::context::size(p.unsigned_abs().try_into().unwrap_or(i64::MAX), "pads");
        let (l, h) = (limit(lo)?, limit(hi)?);
        let crop = if lo < 0 { l } else { 0 } + if hi < 0 { h } else { 0 };
        if crop >= x.dims[a - 1] {
            return Err(format!("axis {a} of extent {} is cropped to nothing", x.dims[a - 1]));
        }
        count[a - 1] -= crop;
        (first[a - 1], dims[a - 1]) = (lo, (x.dims[a - 1] as i64 + lo + hi) as usize);
        if lo < 0 {
            start[a - 1] = l
        } else {
            before[a - 1] = l
        }
        if hi >= 0 {
            after[a - 1] = h;
        }
    }
    if mode != "constant" || fill != 0.0 || x.dims.len() > 3 {
        rearrange::border(&mode, 0, 1)?;
        let from = x.dims.clone();
        let read = |at: &[usize]| -> Option<Vec<usize>> {
            let one = |d: usize| rearrange::border(&mode, at[d] as i64 - first[d], from[d]).ok().flatten();
            (0..at.len()).map(one).collect()
        };
        let y = cx.gathered(&x, &dims, &read)?;
        let count = dims.iter().product();
        let outside = (0..count).map(|o| if read(&coordinates(o, &dims)).is_none() { fill } else { 0.0 }).collect();
        return cx.plus(&y, outside).map(Bound::Value);
    }
    let step = vec![1; x.dims.len()];
    let x = sliced(cx, &x, &start, &count, &step)?;
    padded(cx, &x, &before, &after).map(Bound::Value)
}

fn padded(cx: &mut Context, x: &Var, before: &[usize], after: &[usize]) -> Result<Var> {
    if before.iter().chain(after).all(|&p| p == 0) {
        return Ok(x.clone());
    }
    let dims: Vec<usize> = x.dims.iter().zip(before).zip(after).map(|((d, b), a)| d + b + a).collect();
    // A vector view that gains positions must become channels and positions first.
    let id = if dims.len() == 1 { cx.flat(x)? } else { rank3(cx, x, &dims)? };
    Ok(Var::plain(cx.emit(TensorOp::Pad { before: chw(before, 0)?, after: chw(after, 0)? }, vec![id])?, dims))
}

fn rank3(cx: &mut Context, x: &Var, dims: &[usize]) -> Result<ValueId> {
    let id = cx.spatial(x)?;
    if cx.g.ty(id).shape.len() == 1 && dims[1..].iter().any(|&d| d != 1) {
        return Err("padding a vector to an image is not supported".into());
    }
    Ok(id)
}

/// Joins values along the channels; operands of zeros become padding.
pub(super) fn concat(cx: &mut Context) -> Result<Bound> {
    let mut parts: Vec<(Var, usize, usize)> = vec![];
    let mut leading = 0;
    let Some(shape) = (0..cx.node.inputs.len()).find_map(|i| cx.value(i).ok()).map(|v| v.dims) else {
        return cx.value(0).map(Bound::Value);
    };
    let a = axis(cx.int("axis", 1)?, shape.len() + 1)?;
    let Some(along) = a.checked_sub(1) else { return Err("joining along axis 0 mixes the images of a batch".into()) };
    let mut constants = (0..cx.node.inputs.len()).filter_map(|i| cx.maybe_constant(i).ok().flatten());
    let zeros_only = constants.all(|c| zeros(&c, &shape).is_ok());
    if along > 0 || shape.len() > 3 || !zeros_only {
        return concat_along(cx, along, &shape);
    }
    for i in 0..cx.node.inputs.len() {
        match cx.maybe_constant(i)? {
            Some(c) => {
                let n = zeros(&c, &shape).map_err(|e| format!("input \"{}\" {e}", cx.name(i)))?;
                match parts.last_mut() {
                    Some(p) => p.2 += n,
                    None => leading += n,
                }
            }
            None => {
                let v = cx.value(i)?;
                if v.dims.len() != shape.len() || v.dims[1..] != shape[1..] {
                    return Err(format!("the operands have shapes N×{shape:?} and N×{:?}", v.dims));
                }
                parts.push((v, std::mem::take(&mut leading), 0));
            }
        }
    }
    let mut ids = vec![];
    let mut dims = shape.clone();
    dims[0] = 0;
    for (v, lo, hi) in parts {
        let side = |n: usize| (0..v.dims.len()).map(|k| if k == 0 { n } else { 0 }).collect::<Vec<_>>();
        let v = padded(cx, &v, &side(lo), &side(hi))?;
        dims[0] += v.dims[0];
        ids.push(if v.dims.len() == 1 { cx.flat(&v)? } else { cx.spatial(&v)? });
    }
    let flat = ids.iter().any(|&i| cx.g.ty(i).shape.len() == 1);
    if flat && ids.iter().any(|&i| cx.g.ty(i).shape.len() != 1) {
        ids = ids.into_iter().map(|id| cx.flat(&Var::plain(id, vec![]))).collect::<Result<_>>()?;
    }
    let id = if ids.len() == 1 { ids[0] } else { cx.emit(TensorOp::Concat {}, ids)? };
    Ok(Bound::Value(Var::plain(id, dims)))
}

/// Joins values and constants along any axis: each is moved to its place, and all are added.
fn concat_along(cx: &mut Context, a: usize, shape: &[usize]) -> Result<Bound> {
    let mut dims = shape.to_vec();
    dims[a] = 0;
    let (mut values, mut constants) = (vec![], vec![]);
    for i in 0..cx.node.inputs.len() {
        let start = dims[a];
        let own = match cx.maybe_constant(i)? {
            Some(c) => {
                let own = c.shape().map_err(|_| format!("input \"{}\" has an image for each of the batch", cx.name(i)))?;
                let numbers = cx.floats(i)?.1;
                let Some((&n, own)) = own.split_first() else { return Err(format!("input \"{}\" is a number", cx.name(i))) };
                let per = own.iter().product::<usize>().max(1);
                let alike = numbers.chunks(per).all(|image| image == &numbers[..per]);
                if n != 1 && !(alike && cx.batch == Some(n)) {
                    return Err(format!("input \"{}\" differs between the images of a batch", cx.name(i)));
                }
                constants.push((numbers, own.to_vec(), start));
                own.to_vec()
            }
            None => {
                let v = cx.value(i)?;
                values.push((v.clone(), start));
                v.dims
            }
        };
        let fits = own.len() == shape.len() && (0..own.len()).all(|d| d == a || own[d] == shape[d]);
        if !fits {
            return Err(format!("the operands have shapes N×{shape:?} and N×{own:?}"));
        }
        dims[a] += own[a];
    }
    let mut sum: Option<Var> = None;
    for (v, start) in values {
        let extent = v.dims[a];
        let read = |at: &[usize]| {
            let mut from = at.to_vec();
            from[a] = from[a].checked_sub(start).filter(|&i| i < extent)?;
            Some(from)
        };
        let part = cx.gathered(&v, &dims, &read)?;
        sum = Some(match sum {
            Some(s) => Var::plain(cx.emit(TensorOp::Add {}, vec![s.id, part.id])?, dims.clone()),
            None => part,
        });
    }
    let mut numbers = vec![0.0; dims.iter().product()];
    for (values, own, start) in constants {
        for i in 0..own.iter().product() {
            let mut at = coordinates(i, &own);
            at[a] += start;
            numbers[flat_index(&at, &dims)] = values[i];
        }
    }
    let sum = sum.ok_or("it has no operand that is computed")?;
    cx.plus(&sum, numbers).map(Bound::Value)
}

/// Number of channels of a constant operand of zeros that fits beside values of `shape`.
fn zeros(c: &Const, shape: &[usize]) -> Result<usize> {
    let zero = match &c.data {
        Data::Uniform(x) => *x == 0.0,
        Data::Float(v) => v.iter().all(|&x| x == 0.0),
        Data::Int(v) => v.iter().all(|&d| d == Dim::Known(0)),
    };
    if !zero {
        return Err("is a constant other than zero; only zeros can be joined to values".into());
    }
    let fits = c.dims.len() == shape.len() + 1 && c.dims[2..].iter().zip(&shape[1..]).all(|(d, &s)| *d == Dim::Known(s as i64));
    match c.dims.get(1) {
        Some(Dim::Known(n)) if fits => super::context::size(*n, "a constant's extent"),
        _ => Err(format!("has a shape that does not fit values of shape N×{shape:?}")),
    }
}
