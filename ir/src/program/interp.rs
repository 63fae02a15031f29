//! Clear interpreter of programs.

use super::{Program, ProgramOp};
use crate::error::InterpError;
use crate::giants;
use crate::graph::ValueId;
use crate::packed::interp::{Bundle, add_bias, by_batches, by_units, chebyshev, multiply};
use crate::table::apply;

/// Runs the program on a batch of tensors `[n, C, H, W]`.
pub fn interp(g: &Program, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
    let inputs: Vec<_> = g.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Input {})).map(|n| &n.ty.layout).collect();
    let outputs: Vec<_> = g.outputs.iter().map(|o| &g.ty(*o).layout).collect();
    by_batches(&inputs, &outputs, images, n, |b| run(g, b, |_| true, |_, _| {}))
}

/// Runs the program on one batch of at most its own size, and calls `f(value, elements)` with what
/// each instruction computes for the images, `[n, C, H, W]`.
///
/// # Errors
/// More images than a batch has, an input of another size, constants without data.
pub fn visit(g: &Program, images: &[f32], n: usize, mut f: impl FnMut(ValueId, Vec<f32>)) -> Result<(), InterpError> {
    let inputs: Vec<_> = g.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Input {})).map(|n| &n.ty.layout).collect();
    if n == 0 || n > g.header.batch {
        return Err(InterpError::Unsupported(format!("{n} images; a batch has 1 to {}", g.header.batch)));
    }
    by_batches(&inputs, &[], images, n, |b| run(g, b, |_| true, |v, x| f(v, g.ty(v).layout.unpack(x, n))).map(|_| vec![]))?;
    Ok(())
}

/// Computes the instructions that are `wanted`, and with them what they read; `see` may change what
/// each one leaves before others read it. Outputs that are not wanted are empty.
pub(super) fn run(
    g: &Program,
    inputs: Vec<Bundle>,
    wanted: impl Fn(ValueId) -> bool,
    mut see: impl FnMut(ValueId, &mut Bundle),
) -> Result<Vec<Bundle>, InterpError> {
    let mut values: Vec<Bundle> = vec![vec![]; g.nodes.len()];
    let mut inputs = inputs.into_iter();
    let mut last_use = vec![0; g.nodes.len()];
    for (v, n) in g.iter().filter(|(v, _)| wanted(*v)) {
        n.args.iter().for_each(|a| last_use[a.index()] = v.index());
    }
    g.outputs.iter().for_each(|o| last_use[o.index()] = usize::MAX);
    for (v, n) in g.iter().filter(|(v, _)| wanted(*v)) {
        let args: Vec<_> = n.args.iter().map(|a| values[a.index()].as_slice()).collect();
        let mut out = match &n.op {
            ProgramOp::Input {} => inputs.next().ok_or_else(|| InterpError::Unsupported("too few inputs".into()))?,
            ProgramOp::Linear { table, bias, giants: steps, .. } => {
                let outputs = n.ty.layout.unit_cts();
                let t = g.consts.table(*table)?;
                let sum = steps.as_ref().map(|s| giants::table(s, outputs)).transpose();
                let sum = sum.map_err(|e| InterpError::Unsupported(e.to_string()))?;
                let layouts: Vec<_> = n.args.iter().map(|a| &g.ty(*a).layout).collect();
                let slots = n.ty.layout.slot_count();
                let unit = |args: &[&[Vec<_>]]| {
                    let partials = apply(t, args, slots);
                    if let Some(sum) = &sum { apply(sum, &[&partials], slots) } else { partials }
                };
                let mut out = by_units(&args, &layouts, &n.ty.layout, unit);
                add_bias(&g.consts, *bias, n.ty.layout.complex.is_some(), &mut out)?;
                out
            }
            ProgramOp::Mul { .. } => multiply(args[0], args[1]),
            ProgramOp::Chebyshev { coeffs, .. } => chebyshev(&g.consts, *coeffs, false, &n.ty.layout, args[0])?,
            ProgramOp::Refresh { coeffs } => chebyshev(&g.consts, *coeffs, true, &n.ty.layout, args[0])?,
            ProgramOp::Square { .. } => multiply(args[0], args[0]),
        };
        see(v, &mut out);
        values[v.index()] = out;
        for a in &n.args {
            if last_use[a.index()] == v.index() {
                values[a.index()] = vec![];
            }
        }
    }
    Ok(g.outputs.iter().map(|o| values[o.index()].clone()).collect())
}
