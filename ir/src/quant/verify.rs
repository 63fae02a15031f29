//! Verifier of the quant IR.
//!
//! **Invariants**
//! 1. Structure: arguments are defined before use, arities fit, constants and outputs exist, there
//!    is an output.
//! 2. There is exactly one `input`.
//! 3. Every value is `[C]` or `[C, H, W]`, has 1 to [`MAX_BITS`] bits, positive scales, one or one
//!    for each channel, and a range that fits its bits.
//! 4. A `linear_map` follows the rules of that of the tensor IR; no operand has fewer bits than the
//!    result; with weights and operands as large as they may be, no sum reaches 2^53, so that the
//!    interpreter is exact.
//! 5. A `round` has a result of fewer bits, a `lookup` a table of `2^bits` entries for each channel
//!    or for all, whose results lie in the range; under parameters of degree N, of fewer than log2
//!    N bits.
//! 6. An approximate `round` is read by look-ups only.
//! 7. Parameters are those of a set, and secure unless the header says otherwise.

use super::{MAX_BITS, Quant, QuantGraph, QuantOp, QuantType};
use crate::error::{Finding, VerifyError};
use crate::graph::{Op, ValueId, Verified};
use crate::tensor::{TensorType, check_linear_map};

/// A quant graph that the verifier has accepted.
pub type Quantised = Verified<Quant>;

/// Sums below this are exact in double precision.
const EXACT: u128 = 1 << 53;

/// Checks all invariants.
///
/// # Errors
/// Every finding, with value and source node.
pub fn verify(g: QuantGraph) -> Result<Quantised, VerifyError> {
    let mut findings = vec![];
    g.check_structure(&mut findings);
    if findings.is_empty() {
        check(&g, &mut findings);
    }
    Verified::from_findings(g, findings)
}

fn check(g: &QuantGraph, findings: &mut Vec<Finding>) {
    if let Some(o) = g.outputs.iter().find(|o| matches!(g.node(**o).op, QuantOp::Round { slack: Some(_) })) {
        findings.push(g.finding(*o, "round: an approximate rounding is put out".into()));
    }
    let inputs = g.nodes.iter().filter(|n| matches!(n.op, QuantOp::Input {})).count();
    if inputs != 1 {
        findings.push(Finding::of_graph(format!("the graph has {inputs} inputs, not one")));
    }
    if let Some(p) = &g.header.params {
        if let Err(e) = p.check() {
            findings.push(Finding::of_graph(e));
        } else if !p.is_secure() && !g.header.insecure {
            findings.push(Finding::of_graph("the parameters are not secure, and the header does not say so".into()));
        }
    }
    for (v, n) in g.iter() {
        let inexact = |a: &&ValueId| matches!(g.node(**a).op, QuantOp::Round { slack: Some(_) });
        if !matches!(n.op, QuantOp::Lookup { .. }) && n.args.iter().any(|a| inexact(&a)) {
            findings.push(g.finding(v, format!("{}: reads an approximate rounding", n.op.info().mnemonic)));
        }
        if matches!(n.op, QuantOp::Round { slack: Some(s) } if s == 0 || s > 1 << n.ty.bits.min(MAX_BITS)) {
            findings.push(g.finding(v, "round: a slack of no entry, or of more than the table has".into()));
        }
        let args: Vec<&QuantType> = n.args.iter().map(|a| g.ty(*a)).collect();
        if let Err(message) = check_type(&n.ty).and_then(|()| check_op(g, &n.op, &args, &n.ty)) {
            findings.push(g.finding(v, format!("{}: {message}", n.op.info().mnemonic)));
        }
    }
}

fn check_type(ty: &QuantType) -> Result<(), String> {
    if !(1..=MAX_BITS).contains(&ty.bits) {
        return Err(format!("{} bits are not 1 to {MAX_BITS}", ty.bits));
    }
    if ![1, ty.chw()[0]].contains(&ty.scale.len()) || !ty.scale.iter().all(|s| s.is_finite() && *s > 0.0) {
        return Err("scales are positive, one for all channels or one for each".into());
    }
    let [lo, hi] = ty.range;
    let width = i128::from(hi) - i128::from(lo);
    if !(0..2 << ty.bits).contains(&width) || lo.unsigned_abs().max(hi.unsigned_abs()) >= 1 << 40 {
        return Err(format!("a range of {lo}..{hi} does not fit {} bits", ty.bits));
    }
    Ok(())
}

fn check_op(g: &QuantGraph, op: &QuantOp, args: &[&QuantType], ty: &QuantType) -> Result<(), String> {
    let same_shape = || match args[0].shape == ty.shape {
        true => Ok(()),
        false => Err(format!("declared {}, the operand is {}", ty.shape, args[0].shape)),
    };
    match op {
        QuantOp::Input {} => Ok(()),
        QuantOp::LinearMap { kernels, bias, .. } => {
            let shapes: Vec<&TensorType> = args.iter().map(|a| &a.shape).collect();
            let map = op.as_tensor().ok_or("is no linear map")?;
            check_linear_map(&map, &shapes, &ty.shape, &g.consts)?;
            if let Some(a) = args.iter().find(|a| a.bits < ty.bits) {
                return Err(format!("an operand of {} bits, and a result of {}", a.bits, ty.bits));
            }
            let sizes = |id: &crate::consts::IntsId| g.consts.ints(*id).map(|a| a.data.iter().map(|w| u128::from(w.unsigned_abs())));
            // Constants without data are checked when they have some.
            let bias = bias.iter().filter_map(|b| sizes(b).ok()).flatten().max().unwrap_or(0);
            let mut most = vec![bias; ty.chw()[0]];
            for (kernel, a) in kernels.iter().zip(args) {
                let Ok(weights) = sizes(kernel) else { continue };
                let per = (g.consts.get(kernel.0).shape()[1..].iter().product::<usize>()).max(1);
                let largest = (2u128 << a.bits) + u128::from(a.range[0].unsigned_abs().max(a.range[1].unsigned_abs()));
                weights.enumerate().for_each(|(i, w)| most[i / per] = most[i / per].saturating_add(w.saturating_mul(largest)));
            }
            match most.iter().position(|&m| m >= EXACT) {
                Some(channel) => Err(format!("sums of channel {channel} may reach 2^53")),
                None => Ok(()),
            }
        }
        QuantOp::Round { .. } => {
            same_shape()?;
            if ty.bits < args[0].bits { Ok(()) } else { Err(format!("{} bits are rounded to {}", args[0].bits, ty.bits)) }
        }
        QuantOp::Lookup { table, flip } => {
            same_shape()?;
            let shape = g.consts.get(table.0).shape();
            if g.header.params.is_some_and(|p| args[0].bits >= p.log_n) {
                return Err(format!("a table of {} bits is too large for the parameters", args[0].bits));
            }
            let entries = 1usize << args[0].bits;
            if shape != [1, entries] && shape != [ty.chw()[0], entries] {
                return Err(format!("a table of shape {shape:?} for {} channels and operands of {} bits", ty.chw()[0], args[0].bits));
            }
            let Ok(a) = g.consts.ints(*table) else { return Ok(()) };
            let [lo, hi] = ty.range;
            let flipped = |x: i64| flip.checked_sub(x).unwrap_or(i64::MAX);
            match a.data.iter().flat_map(|&x| [x, flipped(x)]).find(|x| !(lo..=hi).contains(x)) {
                Some(x) => Err(format!("the table yields {x}, outside of the range")),
                None => Ok(()),
            }
        }
    }
}
