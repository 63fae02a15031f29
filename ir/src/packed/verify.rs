//! Verifier of the packed IR. Invariants:
//! 1. structure (see [`crate::graph`]); layouts are consistent ([`crate::layout::Layout::check`]);
//! 2. operands and result of an op agree in batch, complex bit and number of slots; a linear map
//!    keeps units or merges them ([`crate::layout::Layout::leads_to`]);
//! 3. `linear`: the table has the op's taps and outputs, its rows name existing operands and
//!    ciphertexts, its period is at most the slot vector's; the bias is `[outputs, 2^k]`;
//! 4. `mul` and `square`: operand layouts equal the result's; `chebyshev`: the same, except that
//!    the result is dirty where there are slots without an element; its coefficients are finite,
//!    one row for all channels or one for each.

use super::{Packed, PackedGraph, PackedOp};
use crate::consts::{ConstId, ConstType, Consts, TableId};
use crate::error::{Finding, VerifyError};
use crate::graph::Verified;
use crate::layout::Layout;

/// Checks all invariants; the graph is given back wrapped, or all findings.
pub fn verify(g: PackedGraph) -> Result<Verified<Packed>, VerifyError> {
    let mut f: Vec<Finding> = vec![];
    g.check_structure(&mut f);
    if f.is_empty() {
        for (v, n) in g.iter() {
            let args: Vec<&Layout> = n.args.iter().map(|a| g.ty(*a)).collect();
            f.extend(check_layouts(&args, &n.ty).into_iter().map(|m| g.finding(v, m)));
            let m = match &n.op {
                PackedOp::Linear { taps, table, bias } => check_linear(&g.consts, &args, &n.ty, n.ty.unit_cts(), taps, (*table, *bias)),
                PackedOp::Mul {} | PackedOp::Square {} => check_product(&args, &n.ty),
                PackedOp::Chebyshev { coeffs, .. } => check_chebyshev(&g.consts, &args, &n.ty, *coeffs),
                PackedOp::Input {} => vec![],
            };
            f.extend(m.into_iter().map(|m| g.finding(v, m)));
        }
    }
    Verified::from_findings(g, f)
}

/// Invariants 1 and 2 for one node.
pub fn check_layouts(args: &[&Layout], ty: &Layout) -> Vec<String> {
    let mut e = ty.check();
    for a in args {
        if !a.leads_to(ty) {
            e.push(format!("operand layout `{a}` does not lead to result layout `{ty}`: batch, complex bit and slots must agree, and units can be merged but not split"));
        }
    }
    e
}

/// Invariant 4.
pub fn check_product(args: &[&Layout], ty: &Layout) -> Vec<String> {
    args.iter().filter(|a| **a != ty).map(|a| format!("operand layout `{a}` differs from the result's `{ty}`")).collect()
}

/// Invariant 4 for `chebyshev`; constants without data are not looked into.
pub fn check_chebyshev(consts: &Consts, args: &[&Layout], ty: &Layout, coeffs: ConstId) -> Vec<String> {
    let clean = Layout { dirty: false, ..ty.clone() };
    let operands: Vec<Layout> = args.iter().map(|a| Layout { dirty: false, ..(*a).clone() }).collect();
    let mut e = check_product(&operands.iter().collect::<Vec<_>>(), &clean);
    if *ty != ty.filled() {
        e.push("slots without an element do not stay zero: the result must be dirty".into());
    }
    let c = consts.get(coeffs);
    let shape = c.shape();
    if shape.len() != 2 || shape[1] == 0 || shape[1] > MAX_SERIES || (shape[0] != 1 && shape[0] != ty.shape[0]) {
        e.push(format!("coefficients of shape {shape:?} for {} channels", ty.shape[0]));
    }
    if c.data.as_ref().is_some_and(|d| d.not_finite().is_some()) {
        e.push("a coefficient is not finite".into());
    }
    e
}

/// Most coefficients of a series.
pub const MAX_SERIES: usize = 1025;

/// Invariant 3, for a table with `outputs` outputs; constants without data are not looked into.
pub fn check_linear(
    consts: &Consts,
    args: &[&Layout],
    ty: &Layout,
    outputs: usize,
    taps: &[i64],
    (table, bias): (TableId, Option<ConstId>),
) -> Vec<String> {
    let mut e = vec![];
    let slots = ty.slot_count() as u64;
    if taps.iter().any(|t| t.unsigned_abs() >= slots) {
        e.push(format!("a tap is outside the {slots} slots"));
    }
    if let Some(b) = bias {
        let s = consts.get(b).shape();
        if s.len() != 2 || s[0] != ty.unit_cts() || !s[1].is_power_of_two() || s[1] > ty.slot_count() {
            e.push(format!("bias of shape {s:?} for {} ciphertexts", ty.unit_cts()));
        }
        if consts.get(b).data.as_ref().is_some_and(|d| d.not_finite().is_some()) {
            e.push("the bias is not finite".into());
        }
    }
    let ConstType::Table(sizes) = &consts.get(table.0).ty else { return e };
    if sizes.outputs != outputs {
        e.push(format!("a table of {} outputs for {outputs} ciphertexts", sizes.outputs));
    }
    if sizes.period > ty.slot_count() {
        e.push("masks are longer than the slot vector".into());
    }
    match consts.table(table) {
        Err(_) if sizes.taps != taps.len() => e.push(format!("a table of {} taps under {}", sizes.taps, taps.len())),
        Ok(t) if t.taps != taps => e.push(format!("the taps are not those of the table, {:?}", t.taps)),
        _ => {}
    }
    if let Ok(t) = consts.table(table) {
        // One table serves each unit of the result; it reads the operands' units that are merged
        // into that.
        let held = |l: &Layout| l.unit_cts() << l.unit_bits().saturating_sub(ty.unit_bits());
        if t.reads().len() > args.len() {
            e.push(format!("a row names operand {} of {}", t.reads().len() - 1, args.len()));
        }
        if t.reads().iter().zip(args).any(|(read, a)| *read > held(a)) {
            e.push("a row names a ciphertext that its operand does not have".into());
        }
    }
    e
}
