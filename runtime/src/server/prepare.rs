//! Instructions of the program in the form that the kernels take.

use super::series::Series;
use crate::{RuntimeError, Session};
use chiffre_ckks::bundle::{BiasPoly, LinearPlan, Patterns, masked_cells, prepare_weights};
use chiffre_ckks::encode::{EncodeError, Encoder, round_coefficients, slot_leaves};
use chiffre_ir::consts::ConstId;
use chiffre_ir::graph::Node;
use chiffre_ir::layout::Layout;
use chiffre_ir::program::{Prog, ProgramOp};
use chiffre_ir::table::DiagTable;
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
    /// The program's table.
    pub table: Arc<DiagTable>,
    /// The number of the first ciphertext of each operand.
    pub first: Vec<u32>,
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
    Masks(Vec<Vec<f64>>),
    /// Cells of many masks: each becomes one pattern, when the op runs and for as long as it runs.
    Cells(Cells),
}

/// What the patterns of cells with many masks are made of.
struct Cells {
    /// Slots of each mask, by their places in the order of [`slot_leaves`].
    masks: Vec<Vec<u32>>,
    /// Entries of each pattern, which have masks.
    entries: Vec<Range<usize>>,
}

impl Cells {
    fn new(t: &DiagTable) -> Cells {
        let leaves: Vec<u32> = slot_leaves(t.period()).map(|l| l as u32).collect();
        let slots = |m: usize| t.masks.ones(m).map(|s| leaves[s]).collect();
        Cells { masks: (0..t.masks.len()).map(slots).collect(), entries: masked_cells(t) }
    }

    fn patterns(&self, t: &DiagTable, encoder: &Encoder, spare: &Spare) -> Result<Vec<Vec<f64>>, EncodeError> {
        let mut patterns = spare.take(self.entries.len());
        let fill = |leaves: &mut Vec<Complex64>, (sum, pattern): (&Range<usize>, &mut Vec<f64>)| {
            leaves.fill(Complex64::default());
            for (mask, weight) in t.entries[sum.clone()].iter().filter_map(|e| Some((e.mask?, e.weight))) {
                self.masks[mask as usize].iter().for_each(|s| leaves[*s as usize].re += weight);
            }
            encoder.encode_leaves(leaves, pattern)
        };
        let empty = || vec![Complex64::default(); t.period()];
        self.entries.par_iter().zip(&mut patterns).map_init(empty, fill).collect::<Result<(), _>>()?;
        Ok(patterns)
    }
}

/// The patterns of a linear map for one step.
pub(super) struct StepPatterns<'a> {
    list: Cow<'a, [Vec<f64>]>,
    /// The entries that each stands for, if it is one of a cell.
    cells: Option<&'a [Range<usize>]>,
}

impl StepPatterns<'_> {
    /// As the kernels take them.
    pub fn view(&self) -> Patterns<'_> {
        match self.cells {
            None => Patterns::Masks(&self.list),
            Some(entries) => Patterns::Cells { patterns: &self.list, entries },
        }
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
    /// Takes back patterns that were made for one step.
    pub fn give_back(&self, patterns: StepPatterns<'_>) {
        if let Cow::Owned(list) = patterns.list {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(list);
        }
    }
}

impl Linear {
    /// The period of its patterns; 0 without masks.
    fn period(&self) -> usize {
        if self.table.masks.is_empty() { 0 } else { self.table.period() }
    }

    /// What stands for the table's masks.
    pub fn patterns(&self, s: &Session, spare: &Spare) -> Result<StepPatterns<'_>, EncodeError> {
        Ok(match &self.weights {
            Weights::Masks(list) => StepPatterns { list: Cow::Borrowed(list), cells: None },
            Weights::Cells(c) => {
                let list = c.patterns(&self.table, s.context.encoder(), spare)?;
                StepPatterns { list: Cow::Owned(list), cells: Some(&c.entries) }
            }
        })
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
    let input_scales: Vec<f64> = scales.iter().zip(&counts).flat_map(|(w, &c)| std::iter::repeat_n(s.scale(w).to_f64(), c)).collect();
    let plan = LinearPlan::new(t, &first, s.context.ring().log_n(), input_scales.len()).map_err(|e| fail(e.to_string()))?;
    let weights = if DiagTable::is_dense(t.entries.len(), t.cell_count()) && !t.masks.is_empty() {
        Weights::Cells(Cells::new(t))
    } else {
        let pattern = |m: usize| s.context.encoder().encode_symmetric(&t.masks.values(m).collect::<Vec<_>>());
        let patterns: Vec<Vec<f64>> =
            (0..t.masks.len()).into_par_iter().map(pattern).collect::<Result<_, _>>().map_err(|e| fail(e.to_string()))?;
        Patterns::Masks(&patterns).check(t).map_err(|e| fail(e.to_string()))?;
        Weights::Masks(patterns)
    };
    let bias = bias.map(|b| bias_polys(s, n, b)).transpose()?;
    let giants = giants.as_ref().map(|g| g.iter().map(|&s| s as isize).collect());
    Ok(Linear { table: t.clone(), first, weights, plan, input_scales, bias, giants })
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
