//! Ops that only change how a value's elements are seen.

use super::context::Context;
use super::{Bound, Var};
use crate::constant::{Data, Dim, axis, extent};

type Result = std::result::Result<Bound, String>;

/// Identity, and Dropout at inference.
pub(super) fn identity(cx: &mut Context) -> Result {
    let training = cx.node.op == "Dropout" && cx.has(2) && cx.constant(2)?.scalar() != Some(0.0);
    let training = training || (cx.node.op == "Dropout" && cx.opset() < 7 && cx.int("is_test", 0)? == 0);
    if training {
        return Err("training_mode is set: export the model for inference (eval mode)".into());
    }
    Ok(cx.bound(0)?.clone())
}

/// A cast of a computed value; only to floats, where it changes nothing here.
pub(super) fn cast(cx: &mut Context) -> Result {
    match cx.int("to", 1)? {
        1 | 10 | 11 | 16 => Ok(Bound::Value(cx.value(0)?)),
        to => Err(format!("a cast of a computed value to element type {to} is not supported; only to floats")),
    }
}

/// As [`cast`], to the type of another value.
pub(super) fn cast_like(cx: &mut Context) -> Result {
    match cx.bound(1)? {
        Bound::Const(c) if matches!(c.data, Data::Int(_)) => Err("a cast of a computed value to integers is not supported".into()),
        _ => Ok(Bound::Value(cx.value(0)?)),
    }
}

pub(super) fn flatten(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    let a = cx.int("axis", 1)?;
    let rank = x.dims.len() as i64 + 1;
    if a != 1 && a != 1 - rank {
        return Err(format!("axis = {a}: only flattening to N×K (axis 1) is supported"));
    }
    flattened(cx, &x)
}

/// One axis; elements that lie in another order stay so.
fn flattened(cx: &mut Context, x: &Var) -> Result {
    let dims = vec![x.dims.iter().product()];
    let id = if x.order.is_plain() { cx.flat(x)? } else { x.id };
    Ok(Bound::Value(Var { id, dims, order: x.order.clone() }))
}

pub(super) fn reshape(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    let target = if cx.has(1) { cx.constant(1)?.ints()? } else { return Err("the shape is missing".into()) };
    let copy_zero = cx.int("allowzero", 0)? == 0;
    let Some((&first, rest)) = target.split_first() else { return Err("a reshape to a scalar is not supported".into()) };
    let total: usize = x.dims.iter().product();
    let mut dims: Vec<Option<usize>> = vec![];
    for (i, d) in rest.iter().enumerate() {
        dims.push(match *d {
            Dim::Known(-1) => None,
            Dim::Known(0) if copy_zero => Some(*x.dims.get(i).ok_or("a 0 of the shape copies a dimension that is not there")?),
            Dim::Known(k) => Some(extent(k)?),
            Dim::Batch => return Err("the batch size is used beside the first dimension".into()),
        });
    }
    let known = dims.iter().flatten().try_fold(1usize, |a, &d| a.checked_mul(d)).filter(|&k| k > 0);
    let known = known.ok_or_else(|| format!("a reshape to {target:?} is out of range"))?;
    let free = dims.iter().filter(|d| d.is_none()).count();
    if free > 1 || !total.is_multiple_of(known) || (free == 0 && known != total) {
        return Err(format!("a value of shape N×{:?} cannot take this shape per image: {dims:?}", x.dims));
    }
    // With the rest fixed, -1 can only stand for the batch; 0 copies it.
    let batch = match first {
        Dim::Batch => true,
        Dim::Known(-1) => free == 0,
        Dim::Known(0) => copy_zero,
        Dim::Known(k) => cx.batch == usize::try_from(k).ok(),
    };
    if !batch {
        return Err("the first dimension of a reshape must stay the batch (-1, 0 or N)".into());
    }
    let dims: Vec<usize> = dims.into_iter().map(|d| d.unwrap_or(total / known)).collect();
    if dims.len() == 1 { flattened(cx, &x) } else { Ok(Bound::Value(Var { dims, ..x })) }
}

pub(super) fn squeeze(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    let axes = match cx.axes(1, x.dims.len() + 1)? {
        Some(a) => a,
        None => (1..=x.dims.len()).filter(|&k| x.dims[k - 1] == 1).collect(),
    };
    let mut dims = vec![];
    for (k, &d) in x.dims.iter().enumerate() {
        if !axes.contains(&(k + 1)) {
            dims.push(d);
        } else if d != 1 {
            return Err(format!("axis {} of extent {d} cannot be squeezed", k + 1));
        }
    }
    if axes.contains(&0) {
        return Err("the batch must stay".into());
    }
    Ok(Bound::Value(Var { dims, ..x }))
}

pub(super) fn unsqueeze(cx: &mut Context) -> Result {
    if let Bound::Unbatched(v) = cx.bound(0)? {
        return Ok(Bound::Value(v.clone()));
    }
    let x = cx.value(0)?;
    let list = cx.ints_or_input("axes", 1)?.ok_or("axes are missing")?;
    let rank = x.dims.len() + 1 + list.len();
    let axes = list.into_iter().map(|a| axis(a, rank)).collect::<std::result::Result<Vec<_>, _>>()?;
    if axes.contains(&0) {
        return Err("a dimension before the batch is not supported".into());
    }
    let mut rest = x.dims.iter();
    let dims: Vec<usize> = (1..rank).filter_map(|k| if axes.contains(&k) { Some(1) } else { rest.next().copied() }).collect();
    if rest.next().is_some() || dims.len() + 1 != rank {
        return Err("axes are given twice".into());
    }
    Ok(Bound::Value(Var { dims, ..x }))
}

/// A change of view: elements are brought into order when an op needs it.
pub(super) fn transpose(cx: &mut Context) -> Result {
    let x = cx.value(0)?;
    let rank = x.dims.len() + 1;
    let perm = cx.ints("perm")?.unwrap_or_else(|| (0..rank as i64).rev().collect());
    let perm = perm.into_iter().map(|a| axis(a, rank)).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(format!("perm {perm:?} is not a permutation"));
    }
    if perm[0] != 0 {
        return Err(format!("perm {perm:?} moves the batch"));
    }
    let perm: Vec<usize> = perm[1..].iter().map(|k| k - 1).collect();
    let dims = perm.iter().map(|&k| x.dims[k]).collect();
    let moved = perm.iter().copied().filter(|&k| x.dims[k] != 1);
    let order = if moved.is_sorted() { x.order } else { x.order.transposed(&x.dims, &perm) };
    Ok(Bound::Value(Var { id: x.id, dims, order }))
}
