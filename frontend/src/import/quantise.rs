//! Quantisation: of weights it is undone when the model is read; around values it is left out.

use super::Bound;
use super::context::Context;
use crate::constant::{Const, Dim, axis, coordinates};

type Result<T> = std::result::Result<T, String>;

/// A value in fewer bits; the number of steps must be known to be constant.
pub(super) fn quantise(cx: &mut Context) -> Result<Bound> {
    cx.constant(1)?;
    Ok(Bound::Quantised(cx.value(0)?))
}

/// The value that was quantised.
pub(super) fn dequantise(cx: &mut Context) -> Result<Bound> {
    let Bound::Quantised(v) = cx.bound(0)? else {
        return Err("it reads a computed value that no QuantizeLinear has made; export the floating-point model".into());
    };
    let v = v.clone();
    cx.notes.quantised += 1;
    Ok(Bound::Value(v))
}

/// `(x − zero)·scale` of a constant; scale and zero are numbers, or one for each index of an axis.
pub(super) fn dequantised(cx: &Context, x: &Const) -> Result<Const> {
    let (shape, each) = steps(cx, x)?;
    let values = x.floats()?;
    let at = |i: usize| {
        let (scale, zero) = each(i);
        (values[i] - zero) * scale
    };
    Ok(Const::float(&shape, (0..values.len()).map(at).collect()))
}

/// `round(x/scale)` of a constant, in 8 bits.
pub(super) fn quantised(cx: &Context, x: &Const) -> Result<Const> {
    let (shape, each) = steps(cx, x)?;
    let values = x.floats()?;
    // Without a zero the type is uint8; that of a given one is not known here.
    if cx.has(2) {
        return Err("quantisation of a constant is not folded; store the weights quantised, or as floating-point numbers".into());
    }
    let at = |i: usize| {
        let (scale, zero) = each(i);
        Dim::Known(((values[i] / scale).round_ties_even() + zero).clamp(0.0, 255.0) as i64)
    };
    Ok(Const::int(&shape, (0..values.len()).map(at).collect()))
}

type Steps<'a> = Box<dyn Fn(usize) -> (f32, f32) + 'a>;

/// The shape of a constant, and scale and zero of each of its elements.
fn steps<'a>(cx: &Context, x: &Const) -> Result<(Vec<usize>, Steps<'a>)> {
    if cx.int("block_size", 0)? != 0 {
        return Err("quantisation in blocks is not supported; export the floating-point model".into());
    }
    let shape = x.shape()?;
    let (of, scale) = cx.floats(1)?;
    let zero = if cx.has(2) { cx.floats(2)?.1.to_vec() } else { vec![0.0] };
    if scale.len() == 1 && zero.len() == 1 {
        let (scale, zero) = (scale[0], zero[0]);
        return Ok((shape, Box::new(move |_| (scale, zero))));
    }
    let a = axis(cx.int("axis", 1)?, shape.len())?;
    if of.len() != 1 || scale.len() != shape[a] || ![1, scale.len()].contains(&zero.len()) {
        return Err(format!("{} scales for an axis of {}", scale.len(), shape[a]));
    }
    let dims = shape.clone();
    Ok((
        shape,
        Box::new(move |i| {
            let k = coordinates(i, &dims)[a];
            (scale[k], zero[k % zero.len()])
        }),
    ))
}
