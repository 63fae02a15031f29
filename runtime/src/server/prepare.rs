//! Tables of the program in the form that the kernels take.

use crate::{RuntimeError, Session};
use chiffre_ckks::bundle::{BiasPoly, LinearEntry, LinearTable, SCALAR};
use chiffre_ckks::encode::round_coefficients;
use chiffre_ir::consts::ConstId;
use chiffre_ir::graph::Node;
use chiffre_ir::layout::Layout;
use chiffre_ir::packed::table_of;
use chiffre_ir::program::{Prog, ProgramOp};
use num_complex::Complex64;
use rayon::prelude::*;

/// A linear op ready to run.
pub(super) struct Linear {
    pub table: LinearTable,
    pub input_scales: Vec<f64>,
    pub bias: Option<Vec<BiasPoly>>,
}

/// Prepares every `linear` of the program.
pub(super) fn linears(s: &Session) -> Result<Vec<Option<Linear>>, RuntimeError> {
    s.program()
        .nodes
        .par_iter()
        .map(|n| match &n.op {
            ProgramOp::Linear { .. } => linear(s, n).map(Some),
            _ => Ok(None),
        })
        .collect()
}

fn linear(s: &Session, n: &Node<Prog>) -> Result<Linear, RuntimeError> {
    let ProgramOp::Linear { taps, rows, entries, masks, bias, scales, .. } = &n.op else {
        return Err(RuntimeError::Execution { node: n.source.clone(), message: "not a linear op".into() });
    };
    let fail = |e: String| RuntimeError::Execution { node: n.source.clone(), message: e };
    let p = s.program();
    let outputs = n.ty.layout.unit_cts();
    let t = table_of(&p.consts, *rows, *entries, *masks, taps, outputs, n.args.len()).map_err(|e| fail(e.to_string()))?;
    // Ciphertexts of all operands are numbered in a row, with the units that the instruction merges.
    let merged = |l: &Layout| l.unit_cts() << (l.unit_bits() - n.ty.layout.unit_bits());
    let counts: Vec<usize> = n.args.iter().map(|a| merged(&p.ty(*a).layout)).collect();
    let first: Vec<u32> = counts.iter().scan(0, |at, c| Some(std::mem::replace(at, *at + *c as u32))).collect();
    let encoder = s.context.encoder();
    let mask = |m: &Vec<f32>| {
        let v: Vec<Complex64> = m.iter().map(|&x| Complex64::new(x as f64, 0.0)).collect();
        encoder.encode_periodic(&v).map_err(|e| fail(e.to_string()))
    };
    let mut list: Vec<LinearEntry> = t
        .entries
        .iter()
        .map(|e| LinearEntry { row: e.row, output: e.output, pattern: e.mask.unwrap_or(SCALAR), weight: e.weight as f64 })
        .collect();
    list.sort_by_key(|e| (e.row, e.output));
    let table = LinearTable {
        taps: t.taps.iter().map(|&x| x as isize).collect(),
        rows: t.rows.iter().map(|r| (first[r.operand as usize] + r.ct, r.tap as u16)).collect(),
        outputs,
        period: if t.masks.is_empty() { 0 } else { t.period() },
        patterns: t.masks.iter().map(mask).collect::<Result<_, _>>()?,
        entries: list,
    };
    let input_scales = scales.iter().zip(&counts).flat_map(|(w, &c)| std::iter::repeat_n(s.value(w), c)).collect();
    let bias = bias.map(|b| bias_polys(s, n, b)).transpose()?;
    Ok(Linear { table, input_scales, bias })
}

fn bias_polys(s: &Session, n: &Node<Prog>, bias: ConstId) -> Result<Vec<BiasPoly>, RuntimeError> {
    let fail = |e: String| RuntimeError::Execution { node: n.source.clone(), message: e };
    let a = s.program().consts.array(bias).map_err(|e| fail(e.to_string()))?;
    let period = a.shape.get(1).copied().unwrap_or(1);
    let scale = s.value(&n.ty.scale);
    let imag = if n.ty.layout.complex.is_some() { 1.0 } else { 0.0 };
    a.data
        .chunks(period)
        .map(|row| {
            if row.iter().all(|v| *v == 0.0) {
                return Ok(BiasPoly::default());
            }
            let v: Vec<Complex64> = row.iter().map(|&x| Complex64::new(x as f64, x as f64 * imag)).collect();
            let c = s.context.encoder().encode_periodic(&v).map_err(|e| fail(e.to_string()))?;
            Ok(BiasPoly(round_coefficients(&c, scale).map_err(|e| fail(e.to_string()))?))
        })
        .collect()
}
