//! Instructions of the program in the form that the kernels take.

use super::series::Series;
use crate::{RuntimeError, Session};
use chiffre_ckks::bundle::{BiasPoly, LinearEntry, LinearPlan, LinearTable, SCALAR, prepare_weights};
use chiffre_ckks::encode::{EncodeError, Encoder, round_coefficients, slot_leaves};
use chiffre_ir::consts::ConstId;
use chiffre_ir::graph::Node;
use chiffre_ir::layout::Layout;
use chiffre_ir::program::{Prog, ProgramOp};
use chiffre_ir::table::{DiagTable, Entry};
use num_complex::Complex64;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What an instruction needs beside its operands and keys.
pub(super) enum Instruction {
    /// Nothing.
    Plain,
    Linear(Box<Linear>),
    Series(Series),
}

/// A linear op ready to run.
pub(super) struct Linear {
    weights: Weights,
    /// How the table's rows are computed together.
    pub plan: LinearPlan,
    pub input_scales: Vec<f64>,
    pub bias: Option<Vec<BiasPoly>>,
    /// Giant steps under which the table's outputs are rotated and added.
    pub giants: Option<Vec<isize>>,
}

enum Weights {
    /// A pattern for each mask, which many cells share.
    Masks(LinearTable),
    /// Cells of many masks: each becomes one pattern, when the op runs and for as long as it runs.
    Cells(Cells),
}

/// A table whose cells have many masks.
struct Cells {
    /// With an entry for each cell and without the patterns.
    table: LinearTable,
    /// The program's table, whose entries the patterns are made of.
    of: Arc<DiagTable>,
    /// Slots of each mask, by their places in the order of [`slot_leaves`].
    masks: Vec<Vec<u32>>,
    /// Entries of each pattern, which have masks.
    sums: Vec<Range<usize>>,
}

impl Cells {
    fn new(t: &Arc<DiagTable>, mut table: LinearTable) -> Cells {
        let (mut sums, mut at) = (vec![], 0);
        table.entries.clear();
        for cell in t.cells() {
            let one = |pattern: u32, weight: f64| LinearEntry { row: cell[0].row, output: cell[0].output, pattern, weight };
            // An entry without a mask is the first of its cell.
            let scalar = cell[0].weight;
            let masked = at + usize::from(cell[0].mask.is_none())..at + cell.len();
            if masked.start > at && scalar != 0.0 {
                table.entries.push(one(SCALAR, scalar));
            }
            if !masked.is_empty() {
                table.entries.push(one(sums.len() as u32, 1.0));
                sums.push(masked);
            }
            at += cell.len();
        }
        let leaves: Vec<u32> = slot_leaves(table.period).map(|l| l as u32).collect();
        let slots = |m: usize| t.masks.ones(m).map(|s| leaves[s]).collect();
        Cells { table, of: t.clone(), masks: (0..t.masks.len()).map(slots).collect(), sums }
    }

    fn table(&self, encoder: &Encoder, spare: &Spare) -> Result<LinearTable, EncodeError> {
        let mut patterns = spare.take(self.sums.len());
        let fill = |leaves: &mut Vec<Complex64>, (sum, pattern): (&Range<usize>, &mut Vec<f64>)| {
            leaves.fill(Complex64::default());
            for (mask, weight) in self.of.entries[sum.clone()].iter().filter_map(|e| Some((e.mask?, e.weight))) {
                self.masks[mask as usize].iter().for_each(|s| leaves[*s as usize].re += weight);
            }
            encoder.encode_leaves(leaves, pattern)
        };
        let empty = || vec![Complex64::default(); self.table.period];
        self.sums.par_iter().zip(&mut patterns).map_init(empty, fill).collect::<Result<(), _>>()?;
        Ok(LinearTable { patterns, ..self.table.clone() })
    }
}

/// Memory of patterns between steps: fresh pages are dear.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<Vec<f64>>>);

impl Spare {
    fn take(&self, count: usize) -> Vec<Vec<f64>> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = free.len().saturating_sub(count);
        let mut out = free.split_off(kept);
        out.resize(count, vec![]);
        out
    }
    /// Takes back the patterns of a table that was made for one step.
    pub fn give_back(&self, table: Cow<'_, LinearTable>) {
        if let Cow::Owned(t) = table {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(t.patterns);
        }
    }
}

impl Linear {
    fn period(&self) -> usize {
        match &self.weights {
            Weights::Masks(t) => t.period,
            Weights::Cells(c) => c.table.period,
        }
    }

    /// The table, with its patterns.
    pub fn table(&self, s: &Session, spare: &Spare) -> Result<Cow<'_, LinearTable>, EncodeError> {
        match &self.weights {
            Weights::Masks(t) => Ok(Cow::Borrowed(t)),
            Weights::Cells(c) => c.table(s.context.encoder(), spare).map(Cow::Owned),
        }
    }
}

/// Prepares every instruction of the program.
pub(super) fn instructions(s: &Session) -> Result<Vec<Instruction>, RuntimeError> {
    let one = |n: &Node<Prog>| match &n.op {
        ProgramOp::Linear { .. } => linear(s, n).map(|l| Instruction::Linear(Box::new(l))),
        ProgramOp::Chebyshev { coeffs, .. } | ProgramOp::Refresh { coeffs } => {
            let fail = |message: String| RuntimeError::Execution { node: n.source.clone(), message };
            Series::new(s, *coeffs, &n.ty.layout).map(Instruction::Series).map_err(fail)
        }
        ProgramOp::Input {} | ProgramOp::Square { .. } | ProgramOp::Mul { .. } => Ok(Instruction::Plain),
    };
    let all: Vec<Instruction> = s.program().nodes.par_iter().map(one).collect::<Result<_, _>>()?;
    let period = |i: &Instruction| match i {
        Instruction::Linear(l) => l.period(),
        Instruction::Plain | Instruction::Series(_) => 0,
    };
    let periods: BTreeSet<usize> = all.iter().map(period).filter(|p| *p > 0).collect();
    periods.into_iter().for_each(|p| prepare_weights(s.context.ring(), p));
    Ok(all)
}

fn linear(s: &Session, n: &Node<Prog>) -> Result<Linear, RuntimeError> {
    let ProgramOp::Linear { table, bias, scales, giants, .. } = &n.op else {
        return Err(RuntimeError::Execution { node: n.source.clone(), message: "not a linear op".into() });
    };
    let fail = |e: String| RuntimeError::Execution { node: n.source.clone(), message: e };
    let p = s.program();
    let t = p.consts.table(*table).map_err(|e| fail(e.to_string()))?;
    // Ciphertexts of all operands are numbered in a row, with the units that the instruction
    // merges.
    let merged = |l: &Layout| l.unit_cts() << (l.unit_bits() - n.ty.layout.unit_bits());
    let counts: Vec<usize> = n.args.iter().map(|a| merged(&p.ty(*a).layout)).collect();
    let first: Vec<u32> = counts.iter().scan(0, |at, c| Some(std::mem::replace(at, *at + *c as u32))).collect();
    let mut table = in_kernels(t, &first);
    let input_scales: Vec<f64> = scales.iter().zip(&counts).flat_map(|(w, &c)| std::iter::repeat_n(s.scale(w).to_f64(), c)).collect();
    let plan = LinearPlan::new(&table, s.context.ring().log_n, input_scales.len()).map_err(|e| fail(e.to_string()))?;
    let weights = if DiagTable::is_dense(t.entries.len(), t.cell_count()) && !t.masks.is_empty() {
        Weights::Cells(Cells::new(t, table))
    } else {
        let pattern = |m: usize| s.context.encoder().encode_symmetric(&t.masks.values(m).collect::<Vec<_>>());
        table.patterns = (0..t.masks.len()).into_par_iter().map(pattern).collect::<Result<_, _>>().map_err(|e| fail(e.to_string()))?;
        table.check(s.context.ring().n, input_scales.len()).map_err(|e| fail(e.to_string()))?;
        Weights::Masks(table)
    };
    let bias = bias.map(|b| bias_polys(s, n, b)).transpose()?;
    let giants = giants.as_ref().map(|g| g.iter().map(|&s| s as isize).collect());
    Ok(Linear { weights, plan, input_scales, bias, giants })
}

/// A table as the kernels take it, without patterns; the ciphertexts of operand k are numbered from
/// `first[k]` on.
fn in_kernels(t: &DiagTable, first: &[u32]) -> LinearTable {
    let one = |e: &Entry| LinearEntry { row: e.row, output: e.output, pattern: e.mask.unwrap_or(SCALAR), weight: e.weight };
    LinearTable {
        taps: t.taps.iter().map(|&x| x as isize).collect(),
        rows: t.rows.iter().map(|r| (first[r.operand as usize] + r.ct, r.tap as u16)).collect(),
        outputs: t.outputs,
        period: if t.masks.is_empty() { 0 } else { t.period() },
        patterns: vec![],
        entries: t.entries.iter().map(one).collect(),
    }
}

fn bias_polys(s: &Session, n: &Node<Prog>, bias: ConstId) -> Result<Vec<BiasPoly>, RuntimeError> {
    let fail = |e: String| RuntimeError::Execution { node: n.source.clone(), message: e };
    let a = s.program().consts.array(bias).map_err(|e| fail(e.to_string()))?;
    let period = a.shape.get(1).copied().unwrap_or(1);
    let scale = s.scale(&n.ty.scale).to_f64();
    let imag = if n.ty.layout.complex.is_some() { 1.0 } else { 0.0 };
    a.data
        .par_chunks(period)
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
