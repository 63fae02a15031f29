//! Shape rules: the type of each op's result from its operands and constants.
//!
//! A `[C]` operand counts as `[C, 1, 1]` wherever an op reads channels and positions. The frontend
//! and the passes use [`infer`] to build nodes, the verifier to check them.

use super::{ActivationKind, TensorOp, TensorType};
use crate::consts::{ConstId, Consts};

/// Largest extent of one dimension; the text form's limit.
pub const MAX_EXTENT: usize = (1 << 24) - 1;
/// Largest number of elements of one value, per image.
pub const MAX_ELEMENTS: usize = 1 << 28;

/// The type that `op` yields on operands of these types, or `None` where the declaration decides
/// (the type of an input, the extents of a `linear_map`). The number of operands must fit the op's
/// arity.
///
/// # Errors
/// The rule that operands, attributes or constants' shapes break, in words.
pub fn infer(op: &TensorOp, args: &[&TensorType], consts: &Consts) -> Result<Option<TensorType>, String> {
    if !crate::graph::Op::info(op).arity.fits(args.len()) {
        return Err(format!("wrong number of operands: {}", args.len()));
    }
    let shape = |c: &ConstId| consts.get(*c).shape();
    let ty = match op {
        TensorOp::Input {} => return Ok(None),
        TensorOp::Conv2d { weight, bias, stride, pad, dilation } => {
            let [c, h, w] = args[0].chw();
            let [o, i, kh, kw] = extents(shape(weight), "weight", "[out, in, kh, kw]")?;
            if i != c {
                return Err(format!("weight takes {i} channels, the operand has {c}"));
            }
            check_bias(bias.as_ref().map(shape), o)?;
            TensorType::new([
                o,
                window(h, [pad[0], pad[2]], kh, stride[0], dilation[0], "height")?,
                window(w, [pad[1], pad[3]], kw, stride[1], dilation[1], "width")?,
            ])
        }
        TensorOp::Linear { weight, bias } => {
            let [c] = extents(&args[0].shape, "the operand", "[C]; flatten it first")?;
            let [o, i] = extents(shape(weight), "weight", "[out, in]")?;
            if i != c {
                return Err(format!("weight takes {i} features, the operand has {c}"));
            }
            check_bias(bias.as_ref().map(shape), o)?;
            TensorType::new([o])
        }
        TensorOp::Affine { scale, shift } => {
            per_channel(shape(scale), args[0], "scale")?;
            per_channel(shape(shift), args[0], "shift")?;
            args[0].clone()
        }
        TensorOp::AddConst { value } => {
            if shape(value) != args[0].shape {
                return Err(format!("value has shape {:?}, the operand {:?}", shape(value), args[0].shape));
            }
            args[0].clone()
        }
        TensorOp::Add {} | TensorOp::Sub {} | TensorOp::Mul {} => {
            if args[0] != args[1] {
                return Err(format!("operands differ in shape: {} and {}", args[0], args[1]));
            }
            args[0].clone()
        }
        TensorOp::Square {} => args[0].clone(),
        TensorOp::Poly { coeffs } | TensorOp::Chebyshev { coeffs, .. } => {
            let [c, terms] = extents(shape(coeffs), "coeffs", "[C, degree+1]")?;
            per_channel(&[c], args[0], "coeffs")?;
            if terms == 0 {
                return Err("coeffs holds no coefficient".into());
            }
            if let TensorOp::Chebyshev { ranges: Some(ranges), .. } = op {
                let [c, _] = extents::<2>(shape(ranges), "ranges", "[C, 2]").and_then(|e| match e[1] {
                    2 => Ok(e),
                    n => Err(format!("ranges has {n} columns, expected 2")),
                })?;
                per_channel(&[c], args[0], "ranges")?;
            }
            args[0].clone()
        }
        TensorOp::Activation { kind, alpha } => {
            match (kind, alpha) {
                (ActivationKind::LeakyRelu, Some(a)) if a.is_finite() => {}
                (ActivationKind::Clip, Some(a)) if a.is_finite() && *a >= 0.0 => {}
                (ActivationKind::LeakyRelu | ActivationKind::Clip, _) => {
                    return Err(format!("{kind} needs a finite alpha, at least 0 for clip"));
                }
                (_, None) => {}
                (_, Some(_)) => return Err(format!("{kind} takes no alpha")),
            }
            args[0].clone()
        }
        TensorOp::Function { of, params } => {
            of.check()?;
            let (c, columns) = match params {
                Some(p) => extents::<2>(shape(p), "params", "[C, k]").map(|[c, k]| (c, k))?,
                None => (1, 0),
            };
            per_channel(&[c], args[0], "params")?;
            if columns != of.params() {
                return Err(format!("params has {columns} columns, the function {} parameters", of.params()));
            }
            args[0].clone()
        }
        TensorOp::AvgPool { kernel, stride, pad, .. } | TensorOp::MaxPool { kernel, stride, pad } => {
            let [c, h, w] = args[0].chw();
            let y = pool(h, [pad[0], pad[2]], kernel[0], stride[0], "height")?;
            TensorType::new([c, y, pool(w, [pad[1], pad[3]], kernel[1], stride[1], "width")?])
        }
        TensorOp::Slice { start, count, step } => {
            for (d, &extent) in args[0].chw().iter().enumerate() {
                let last = count[d].checked_sub(1).and_then(|k| k.checked_mul(step[d])).and_then(|k| k.checked_add(start[d]));
                if step[d] == 0 || last.is_none_or(|l| l >= extent) {
                    return Err(format!(
                        "dimension {d} of extent {extent} has no elements {}, +{}, … ({} of them)",
                        start[d], step[d], count[d]
                    ));
                }
            }
            with_rank(*count, args[0].shape.len())
        }
        TensorOp::Pad { before, after } => {
            let mut out = args[0].chw();
            for d in 0..3 {
                out[d] = out[d].checked_add(before[d]).and_then(|x| x.checked_add(after[d])).ok_or("padding overflows")?;
            }
            if args[0].shape.len() == 1 && out[1..] != [1, 1] {
                return Err("a [C] value is padded along C only".into());
            }
            with_rank(out, args[0].shape.len())
        }
        TensorOp::Concat {} => {
            let mut out = args[0].shape.clone();
            for a in &args[1..] {
                if a.shape.len() != out.len() || a.shape.get(1..) != out.get(1..) {
                    return Err(format!("operands differ beside the channels: {} and {a}", args[0]));
                }
                out[0] = out[0].checked_add(a.shape[0]).ok_or("the number of channels overflows")?;
            }
            TensorType::new(out)
        }
        TensorOp::Flatten {} => TensorType::new([args[0].len()]),
        TensorOp::LinearMap { kernels, strides, origins, bias, reads, groups } => {
            if [kernels.len(), strides.len(), origins.len()] != [args.len(); 3] {
                return Err(format!("{} operands need as many kernels, strides and origins", args.len()));
            }
            if !reads.0.is_empty() && reads.0.len() != args.len() {
                return Err(format!("{} operands, and reads for {}", args.len(), reads.0.len()));
            }
            if groups.as_ref().is_some_and(|all| all.len() != args.len()) {
                return Err(format!("groups are given for other than {} operands", args.len()));
            }
            let mut out = None;
            for (k, (kernel, a)) in kernels.iter().zip(args).enumerate() {
                let [o, i, ..] = extents::<4>(shape(kernel), "kernel", "[out, in, kh, kw]")?;
                let groups = op.groups(k);
                if groups == 0 || o % groups != 0 || i.checked_mul(groups) != Some(a.chw()[0]) {
                    let of = if groups == 1 { String::new() } else { format!(" in each of {groups} groups") };
                    return Err(format!("kernel {k} takes {i} channels{of}, its operand has {}", a.chw()[0]));
                }
                if *out.get_or_insert(o) != o {
                    return Err("kernels differ in their number of outputs".into());
                }
                if reads.of(k).is_some() && (strides[k], origins[k]) != ([1, 1], [0, 0]) {
                    return Err(format!("operand {k} has lists of what is read, and a stride or an origin"));
                }
            }
            if strides.iter().flatten().any(|&s| s == 0) {
                return Err("a stride is zero".into());
            }
            if let Some(b) = bias
                && shape(b).first().copied() != out
            {
                return Err(format!("bias has shape {:?} for {} outputs", shape(b), out.unwrap_or(0)));
            }
            return Ok(None);
        }
    };
    check_size(&ty)?;
    Ok(Some(ty))
}

/// Rank 1 or 3, extents in `1..=MAX_EXTENT`, at most `MAX_ELEMENTS` elements.
pub(super) fn check_size(ty: &TensorType) -> Result<(), String> {
    if ![1, 3].contains(&ty.shape.len()) {
        return Err(format!("a value is [C] or [C, H, W], not of rank {}", ty.shape.len()));
    }
    if ty.shape.iter().any(|&d| d == 0 || d > MAX_EXTENT) {
        return Err(format!("extents of {ty} must lie in 1..={MAX_EXTENT}"));
    }
    match ty.shape.iter().try_fold(1usize, |a, &d| a.checked_mul(d)) {
        Some(n) if n <= MAX_ELEMENTS => Ok(()),
        _ => Err(format!("{ty} has more than {MAX_ELEMENTS} elements")),
    }
}

fn extents<const N: usize>(shape: &[usize], what: &str, want: &str) -> Result<[usize; N], String> {
    shape.try_into().map_err(|_| format!("{what} has shape {shape:?}, expected {want}"))
}

fn per_channel(shape: &[usize], x: &TensorType, what: &str) -> Result<(), String> {
    let c = x.chw()[0];
    if shape == [1] || shape == [c] { Ok(()) } else { Err(format!("{what} has shape {shape:?}, expected [1] or [{c}]")) }
}

fn check_bias(bias: Option<&[usize]>, out: usize) -> Result<(), String> {
    match bias {
        Some(b) if b != [out] => Err(format!("bias has shape {b:?}, expected [{out}]")),
        _ => Ok(()),
    }
}

fn with_rank(chw: [usize; 3], rank: usize) -> TensorType {
    TensorType::new(if rank == 1 { vec![chw[0]] } else { chw.to_vec() })
}

/// Number of window positions: `(extent + pads − reach) / stride + 1` with
/// `reach = dilation·(kernel−1) + 1`.
fn window(extent: usize, pad: [usize; 2], kernel: usize, stride: usize, dilation: usize, axis: &str) -> Result<usize, String> {
    if kernel == 0 || stride == 0 || dilation == 0 {
        return Err(format!("kernel, stride and dilation of the {axis} must be positive"));
    }
    let padded = extent.checked_add(pad[0]).and_then(|x| x.checked_add(pad[1])).ok_or("padding overflows")?;
    let reach = (kernel - 1).checked_mul(dilation).and_then(|x| x.checked_add(1)).ok_or("dilation overflows")?;
    match padded.checked_sub(reach) {
        Some(room) => Ok(room / stride + 1),
        None => Err(format!("a window of {reach} does not fit the padded {axis} {padded}")),
    }
}

/// As [`window`], and every window holds at least one element of the operand.
fn pool(extent: usize, pad: [usize; 2], kernel: usize, stride: usize, axis: &str) -> Result<usize, String> {
    let n = window(extent, pad, kernel, stride, 1, axis)?;
    if pad[0] >= kernel || (n - 1) * stride >= extent + pad[0] {
        return Err(format!("a window along the {axis} holds padding only"));
    }
    Ok(n)
}
