//! Execution of one step: an instruction on some of its units.

use super::prepare::Linear;
use super::{Bundle, Values};
use crate::{RuntimeError, Session};
use chiffre_ckks::bundle::{
    BundleError, CtRef, Input, LinearOp, LinearTable, PreparedKeys, apply_linear_consuming, apply_linear_many_consuming,
    mul_relin_consuming, pair_mul_consuming, pair_square_consuming, square_relin_consuming,
};
use chiffre_ckks::ciphertext::SeededCiphertext;
use chiffre_ckks::ring::{Gadget, RnsPoly};
use chiffre_ckks::simd::Isa;
use chiffre_ir::graph::Node;
use chiffre_ir::program::{Prog, ProgramOp, Step};

/// What all steps of a run read.
pub(super) struct Machine<'a> {
    pub session: &'a Session,
    pub isa: Isa,
    pub keys: &'a PreparedKeys,
    /// By instruction.
    pub linears: Vec<Option<Linear>>,
    /// `[unit][ciphertext]`.
    pub input: &'a [Vec<SeededCiphertext>],
}

/// Operands of one unit of a linear map: ciphertexts of units that hold no image are absent.
type Operands<'v> = Vec<Option<Input<'v>>>;

/// The values that a step reads: those that end with it are its own, and their memory is used for its results.
struct Sources<'v> {
    kept: &'v Values,
    ending: Values,
}

impl<'v> Sources<'v> {
    /// The ciphertexts of a unit, given away if they end with this step; `None` for a unit without images.
    fn take(&mut self, at: (usize, usize)) -> Option<Vec<Input<'v>>> {
        if let Some(bundle) = self.ending.remove(&at) {
            return Some(bundle.into_iter().map(Input::Owned).collect());
        }
        Some(self.kept.get(&at)?.iter().map(|c| Input::Borrowed(CtRef::from(c))).collect())
    }
}

impl Machine<'_> {
    /// Computes the step's units; the buffers that it frees end while it runs.
    pub fn execute(&self, step: &Step, values: &mut Values) -> Result<(), RuntimeError> {
        let n = &self.session.program().nodes[step.node];
        let fail = |e: BundleError| RuntimeError::Execution { node: n.source.clone(), message: e.to_string() };
        // What is read twice in this step is given to neither reader.
        let once = |value: usize| n.args.iter().filter(|a| a.index() == value).count() == 1;
        let given = step.free.iter().filter(|at| once(at.0));
        let ending: Values = given.filter_map(|at| Some((*at, values.remove(at)?))).collect();
        let out = self.compute(step, n, Sources { kept: values, ending }).map_err(fail)?;
        for at in &step.free {
            values.remove(at);
        }
        values.extend(step.units.clone().zip(out).map(|(u, b)| ((step.node, u), b)));
        Ok(())
    }

    fn compute(&self, step: &Step, n: &Node<Prog>, mut from: Sources) -> Result<Vec<Bundle>, BundleError> {
        let (ring, isa) = (self.session.context.ring(), self.isa);
        let p = self.session.program();
        let limbs = n.args.iter().map(|a| p.ty(*a).limbs).min().unwrap_or(n.ty.limbs);
        let gadget = |g: &[usize; 2]| Gadget { limbs: g[0], alpha: g[1] };
        let complex = n.ty.layout.complex.is_some();
        match &n.op {
            ProgramOp::Input {} => Ok(step.units.clone().map(|u| self.fresh(u, n.ty.limbs)).collect()),
            ProgramOp::Linear { drop, gadget: g, .. } => {
                let Some(l) = &self.linears[step.node] else { return Err(BundleError::Table("not prepared".into())) };
                let g = g.as_ref().map_or(Gadget { limbs, alpha: 1 }, gadget);
                let bias = l.bias.as_deref();
                let op = LinearOp { table: &l.table, input_scales: &l.input_scales, limbs_in: limbs, bias, gadget: g, drop_limbs: *drop };
                // Units that lack operands (the last one, in a partial batch) have tables of their own.
                let (mut whole, mut parts) = (vec![], vec![]);
                for u in step.units.clone() {
                    let operands = self.operands(n, u, &mut from);
                    if operands.iter().all(Option::is_some) {
                        whole.push(operands.into_iter().flatten().collect());
                    } else {
                        parts.push(operands);
                    }
                }
                let mut out = vec![];
                if !whole.is_empty() {
                    out = apply_linear_many_consuming(ring, isa, whole, &op, self.keys)?;
                }
                for part in parts {
                    let (table, scales) = present(l, &part);
                    let op = LinearOp { table: &table, input_scales: &scales, ..op };
                    out.push(apply_linear_consuming(ring, isa, part.into_iter().flatten().collect(), &op, self.keys)?);
                }
                Ok(out)
            }
            ProgramOp::Square { gadget: g } => step
                .units
                .clone()
                .map(|u| {
                    let x = from.take((n.args[0].index(), u)).unwrap_or_default();
                    let square = if complex { pair_square_consuming } else { square_relin_consuming };
                    square(ring, isa, x, limbs, self.keys, gadget(g))
                })
                .collect(),
            ProgramOp::Mul { gadget: g } => step
                .units
                .clone()
                .map(|u| {
                    let mut take = |arg: usize| from.take((n.args[arg].index(), u)).unwrap_or_default();
                    let (x, y) = (take(0), take(1));
                    let product = if complex { pair_mul_consuming } else { mul_relin_consuming };
                    product(ring, isa, x, y, limbs, self.keys, gadget(g))
                })
                .collect(),
        }
    }

    /// A unit of the input, expanded from its seeds.
    fn fresh(&self, unit: usize, limbs: usize) -> Bundle {
        let ring = self.session.context.ring();
        let expand = |c: &SeededCiphertext| {
            let mut polys = c.expand(ring, limbs).polys.into_iter();
            let mut next = || polys.next().unwrap_or_else(|| RnsPoly::new_zero(ring.n, 0));
            [next(), next()]
        };
        self.input.get(unit).into_iter().flatten().map(expand).collect()
    }

    /// The ciphertexts that unit `unit` of a linear map reads, of all operands in a row.
    fn operands<'v>(&self, n: &Node<Prog>, unit: usize, from: &mut Sources<'v>) -> Operands<'v> {
        let p = self.session.program();
        let mut out = vec![];
        for a in &n.args {
            let layout = &p.ty(*a).layout;
            let shift = layout.unit_bits() - n.ty.layout.unit_bits();
            for u in unit << shift..(unit + 1) << shift {
                match from.take((a.index(), u)) {
                    Some(b) => out.extend(b.into_iter().map(Some)),
                    None => out.extend((0..layout.unit_cts()).map(|_| None)),
                }
            }
        }
        out
    }
}

/// The part of a linear map that reads the ciphertexts that are there.
fn present(l: &Linear, inputs: &Operands) -> (LinearTable, Vec<f64>) {
    let mut number = vec![None; inputs.len()];
    let there = inputs.iter().enumerate().filter(|(_, c)| c.is_some()).map(|(i, _)| i);
    there.clone().enumerate().for_each(|(new, old)| number[old] = Some(new as u32));
    let t = &l.table;
    let mut rows = vec![];
    let renumbered: Vec<Option<u32>> = t
        .rows
        .iter()
        .map(|&(input, tap)| {
            let input = number[input as usize]?;
            rows.push((input, tap));
            Some(rows.len() as u32 - 1)
        })
        .collect();
    let entries =
        t.entries.iter().filter_map(|e| Some(chiffre_ckks::bundle::LinearEntry { row: renumbered[e.row as usize]?, ..*e })).collect();
    let table = LinearTable { rows, entries, taps: t.taps.clone(), patterns: t.patterns.clone(), ..*t };
    (table, there.map(|i| l.input_scales[i]).collect())
}
