//! Gemm, and MatMul by a constant or of two values.

use super::context::Context;
use super::order::Order;
use super::{Bound, Var, relation};
use crate::constant::{coordinates, flat_index};
use chiffre_ir::tensor::TensorOp;

type Result = std::result::Result<Bound, String>;

/// Most products of elements of two computed matrices.
const MAX_PRODUCTS: usize = 1 << 16;

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
    match (cx.maybe_constant(0)?, cx.maybe_constant(1)?) {
        (None, Some(b)) if b.dims.len() != 2 => return by_rows(cx, false),
        (Some(_), None) => return by_rows(cx, true),
        (None, None) => return of_values(cx),
        _ => {}
    }
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
        let turned = |c: usize, rows: usize| Order::default().transposed(&[c, rows], &[1, 0]);
        if x.dims.last() != Some(&ins) || bias.is_some() {
            return Err(format!("a value of shape N×{:?} meets a matrix of {ins} rows", x.dims));
        }
        let (mut x, mut rows) = (x.clone(), h * w);
        if c != ins || x.order != turned(c, rows) {
            // The features become channels.
            rows = x.dims.iter().product::<usize>() / ins;
            let by_channel = cx.linear(&x, &[ins, rows], &|o, list| list.push((o % rows * ins + o / rows, 1.0)))?;
            x.id = by_channel.id;
        }
        let weight = cx.add_const(&weight_name, &[out, ins, 1, 1], weight);
        let op = TensorOp::Conv2d { weight, bias: None, stride: [1, 1], pad: [0; 4], dilation: [1, 1] };
        let id = cx.emit(op, vec![x.id])?;
        let mut dims = x.dims.clone();
        dims.iter_mut().last().into_iter().for_each(|d| *d = out);
        return Ok(Bound::Value(Var { id, dims, order: turned(out, rows) }));
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

/// A product with a constant of other than two axes, or one on the left: entry by entry.
fn by_rows(cx: &mut Context, left: bool) -> Result {
    let x = cx.value(usize::from(left))?;
    let (shape, w) = cx.floats(usize::from(!left))?;
    // All axes but the batch, of both operands; a constant may have a batch of one, or none.
    let own = match shape.len() > x.dims.len() {
        true if shape[0] == 1 => shape[1..].to_vec(),
        true => return Err("the matrices differ between the images of a batch".into()),
        false => shape.clone(),
    };
    // A vector stands for a row on the left, and for a column on the right.
    let vector = own.len() == 1;
    let m: Vec<usize> = match (vector, left) {
        (true, true) => vec![1, own[0]],
        (true, false) => vec![own[0], 1],
        _ => own,
    };
    if x.dims.is_empty() || m.len() < 2 || (left && x.dims.len() < 2) {
        return Err(format!("a value of shape N×{:?} meets a matrix of shape {shape:?}", x.dims));
    }
    // One axis beside the batch is the row of an image.
    let single = x.dims.len() == 1;
    let v: Vec<usize> = if single { vec![1, x.dims[0]] } else { x.dims.clone() };
    let (a, b) = if left { (&m, &v) } else { (&v, &m) };
    let (rows, inner, columns) = (a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]);
    let lead = relation::joint(&a[..a.len() - 2], &b[..b.len() - 2]).filter(|_| b[b.len() - 2] == inner);
    let lead = lead.ok_or_else(|| format!("shapes N×{:?} and {shape:?} have no product", x.dims))?;
    let full = [&lead[..], &[rows, columns]].concat();
    let at = |d: &[usize], o: &[usize], [r, c]: [usize; 2]| {
        let skip = lead.len() - (d.len() - 2);
        flat_index(&[&o[skip..lead.len()], &[r, c]].concat(), d)
    };
    let read = |o: usize, list: &mut Vec<(usize, f32)>| {
        let place = coordinates(o, &full);
        let [r, c] = [place[lead.len()], place[lead.len() + 1]];
        for k in 0..inner {
            let (in_a, in_b) = (at(a, &place, [r, k]), at(b, &place, [k, c]));
            list.push(if left { (in_b, w[in_a]) } else { (in_a, w[in_b]) });
        }
    };
    let mut dims = full.clone();
    if vector {
        dims.remove(if left { lead.len() } else { lead.len() + 1 });
    }
    if single {
        dims.remove(lead.len());
    }
    cx.linear(&x, &dims, &read).map(Bound::Value)
}

/// A product of two computed matrices: all products of elements, and their sums.
fn of_values(cx: &mut Context) -> Result {
    let (a, b) = (cx.value(0)?, cx.value(1)?);
    let ([.., rows, inner], [.., other, columns]) = (&a.dims[..], &b.dims[..]) else {
        return Err(format!("shapes N×{:?} and N×{:?} have no product of computed matrices", a.dims, b.dims));
    };
    let (rows, inner, other, columns) = (*rows, *inner, *other, *columns);
    let lead = relation::joint(&a.dims[..a.dims.len() - 2], &b.dims[..b.dims.len() - 2]).filter(|_| inner == other);
    let lead = lead.ok_or_else(|| format!("shapes N×{:?} and N×{:?} have no product", a.dims, b.dims))?;
    let all = [&lead[..], &[rows, inner, columns]].concat();
    if all.iter().product::<usize>() > MAX_PRODUCTS {
        return Err(format!(
            "matrices N×{:?} and N×{:?} take {} products of encrypted numbers; {MAX_PRODUCTS} are the most",
            a.dims,
            b.dims,
            all.iter().product::<usize>()
        ));
    }
    let n = lead.len();
    let spread = |cx: &mut Context, x: &Var, last: [usize; 2]| {
        let from = x.dims.clone();
        let skip = n - (from.len() - 2);
        cx.linear(x, &all, &|o, list| {
            let at = coordinates(o, &all);
            list.push((flat_index(&[&at[skip..n], &last.map(|k| at[n + k])].concat(), &from), 1.0));
        })
    };
    let (x, y) = (spread(cx, &a, [0, 1])?, spread(cx, &b, [1, 2])?);
    let product = cx.emit(TensorOp::Mul {}, vec![x.id, y.id])?;
    let dims = [&lead[..], &[rows, columns]].concat();
    let sum = cx.linear(&Var::plain(product, all.clone()), &dims, &|o, list| {
        let at = coordinates(o, &dims);
        list.extend((0..inner).map(|k| (flat_index(&[&at[..=n], &[k, at[n + 1]]].concat(), &all), 1.0)));
    })?;
    Ok(Bound::Value(sum))
}
