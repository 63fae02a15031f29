//! The end of a network, which is computed with decrypted values.

use super::context::Context;
use super::{Bound, Var, operators};
use crate::constant::axis;
use crate::proto::File;
use chiffre_ir::tail::{TailKind, TailOp};
use std::collections::HashMap;

type Res<T> = std::result::Result<T, String>;

/// A result behind the end of the network.
#[derive(Clone, Debug)]
pub(crate) struct Result {
    /// The last value that is computed encrypted.
    pub value: Var,
    /// Name of that value in the file.
    pub from: String,
    /// What is done with it.
    pub ops: Vec<TailOp>,
    /// Extents of the result, without the batch.
    dims: Vec<usize>,
}

impl Result {
    /// Extents of the result, without the batch.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }
}

/// Operators that end a network where nothing but its outputs depends on them.
const ENDS: [&str; 6] = ["Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "ArgMin", "TopK"];
/// Operators that only change how a result is seen.
const VIEWS: [&str; 6] = ["Identity", "Dropout", "Cast", "Squeeze", "Unsqueeze", "Flatten"];

/// For every node, whether it may belong to the end: all that depends on it does.
pub(crate) fn nodes(file: &File) -> Vec<bool> {
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (k, n) in file.nodes.iter().enumerate() {
        n.inputs.iter().for_each(|i| readers.entry(i).or_default().push(k));
    }
    let mut ends = vec![false; file.nodes.len()];
    for (k, n) in file.nodes.iter().enumerate().rev() {
        let read = |o: &String| readers.get(o.as_str()).into_iter().flatten();
        let all = n.outputs.iter().flat_map(read).all(|&r| r > k && ends[r]);
        ends[k] = all && (ENDS.contains(&n.op.as_str()) || VIEWS.contains(&n.op.as_str()));
    }
    ends
}

/// True for operators that are computed at the end of a network only.
pub(super) fn only_ends(op: &str) -> bool {
    ENDS.contains(&op) && op != "Sigmoid"
}

/// A node that is no end of the network.
pub(super) fn only(cx: &mut Context) -> Res<Bound> {
    Err(operators::unsupported(&cx.node.op))
}

/// The results of a node that belongs to the end; `None` if it is an ordinary one, because the end
/// comes later.
pub(super) fn convert(cx: &mut Context) -> Res<Option<Vec<Bound>>> {
    let op = cx.node.op.as_str();
    let mut r = match cx.bound(0)? {
        Bound::Tail(r) => r.clone(),
        Bound::Value(v) if ENDS.contains(&op) => {
            let mut v = v.clone();
            if !v.order.is_plain() {
                v = Var::plain(if v.dims.len() > 1 { cx.spatial(&v)? } else { cx.flat(&v)? }, v.dims.clone());
            }
            Result { dims: v.dims.clone(), value: v, from: cx.name(0).into(), ops: vec![] }
        }
        _ => return Ok(None),
    };
    let rank = r.dims.len() + 1;
    match op {
        "Identity" | "Dropout" => {}
        "Cast" => cast(cx, &r)?,
        "Flatten" => match cx.int("axis", 1)? {
            1 => r.dims = vec![r.dims.iter().product()],
            a => return Err(format!("axis = {a}: only flattening to N×K (axis 1) is supported")),
        },
        "Squeeze" => {
            let axes = cx.axes(1, rank)?;
            let drop = |k: usize, d: usize| axes.as_ref().map_or(d == 1, |a| a.contains(&(k + 1)));
            if axes.as_ref().is_some_and(|a| a.contains(&0)) || r.dims.iter().enumerate().any(|(k, &d)| d != 1 && drop(k, d)) {
                return Err("these axes cannot be squeezed".into());
            }
            r.dims = r.dims.iter().enumerate().filter(|(k, d)| !drop(*k, **d)).map(|(_, d)| *d).collect();
        }
        "Unsqueeze" => {
            let list = cx.ints_or_input("axes", 1)?.ok_or("axes are missing")?;
            let mut axes = list.iter().map(|&a| axis(a, rank + list.len())).collect::<Res<Vec<_>>>()?;
            axes.sort_unstable();
            if axes.contains(&0) {
                return Err("a dimension before the batch is not supported".into());
            }
            axes.into_iter().for_each(|a| r.dims.insert((a - 1).min(r.dims.len()), 1));
        }
        _ => return end(cx, r).map(Some),
    }
    Ok(Some(vec![Bound::Tail(r)]))
}

/// A cast changes nothing to floating-point numbers, nor indices to integers.
fn cast(cx: &Context, r: &Result) -> Res<()> {
    let whole = r.ops.last().is_some_and(|o| matches!(o.kind, TailKind::ArgMax { .. } | TailKind::TopK { indices: true, .. }));
    match cx.int("to", 1)? {
        1 => Ok(()),
        5 | 6 | 7 | 12 | 13 if whole => Ok(()),
        to => Err(format!("a cast of a computed value to element type {to} is not supported; only to floats")),
    }
}

fn end(cx: &Context, r: Result) -> Res<Vec<Bound>> {
    let rank = r.dims.len() + 1;
    let op = cx.node.op.as_str();
    // Before opset 13, softmax ran over all axes from this one on.
    let old = cx.opset() < 13;
    let at = match op {
        "Softmax" | "LogSoftmax" => axis(cx.int("axis", if old { 1 } else { -1 })?, rank)?,
        "ArgMax" | "ArgMin" => axis(cx.int("axis", 0)?, rank)?,
        "TopK" => axis(cx.int("axis", -1)?, rank)?,
        _ => 1,
    };
    let Some(k) = at.checked_sub(1) else { return Err("it runs over the batch".into()) };
    let dims = &r.dims;
    let count = |d: &[usize]| d.iter().product::<usize>();
    let extents = match op {
        "Sigmoid" => [1, count(dims), 1],
        "Softmax" | "LogSoftmax" if old => [count(&dims[..k]), count(&dims[k..]), 1],
        _ => [count(&dims[..k]), *dims.get(k).unwrap_or(&1), count(dims.get(k + 1..).unwrap_or(&[]))],
    };
    let with = |kind: TailKind, dims: Vec<usize>| {
        let mut r = r.clone();
        r.ops.push(TailOp { kind, extents, source: cx.node.name.clone() });
        r.dims = dims;
        Bound::Tail(r)
    };
    let same = || r.dims.clone();
    Ok(vec![match op {
        "Softmax" => with(TailKind::Softmax, same()),
        "LogSoftmax" => with(TailKind::LogSoftmax, same()),
        "Sigmoid" => with(TailKind::Sigmoid, same()),
        "TopK" => {
            let n = if cx.opset() < 10 { cx.int("k", 1)? } else { cx.constant(1)?.known_ints()?.first().copied().unwrap_or(0) };
            let n = usize::try_from(n)
                .ok()
                .filter(|n| (1..=extents[1]).contains(n))
                .ok_or_else(|| format!("k = {n} of {} values", extents[1]))?;
            let largest = cx.int("largest", 1)? != 0;
            let mut dims = same();
            if let Some(d) = dims.get_mut(k) {
                *d = n;
            }
            let both = [false, true].map(|indices| with(TailKind::TopK { k: n, largest, indices }, dims.clone()));
            return Ok(both.into());
        }
        _ => {
            let kind = TailKind::ArgMax { min: op == "ArgMin", last: cx.int("select_last_index", 0)? != 0 };
            let mut dims = same();
            match cx.int("keepdims", 1)? {
                0 if k < dims.len() => _ = dims.remove(k),
                _ if k < dims.len() => dims[k] = 1,
                _ => {}
            }
            with(kind, dims)
        }
    }])
}
