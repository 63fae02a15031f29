//! Execution of one step: an instruction on some of its units.

use super::prepare::Linear;
use super::{Bundle, Values};
use crate::{RuntimeError, Session};
use chiffre_ckks::bundle::{
    BundleError, CtRef, LinearOp, LinearTable, PreparedKeys, apply_linear, apply_linear_many, mul_relin, pair_mul, pair_square,
    square_relin,
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
type Operands<'v> = Vec<Option<CtRef<'v>>>;

impl Machine<'_> {
    /// Computes the step's units, then ends the buffers that it frees.
    pub fn execute(&self, step: &Step, values: &mut Values) -> Result<(), RuntimeError> {
        let n = &self.session.program().nodes[step.node];
        let fail = |e: BundleError| RuntimeError::Execution { node: n.source.clone(), message: e.to_string() };
        let out = self.compute(step, n, values).map_err(fail)?;
        for at in &step.free {
            values.remove(at);
        }
        values.extend(step.units.clone().zip(out).map(|(u, b)| ((step.node, u), b)));
        Ok(())
    }

    fn compute(&self, step: &Step, n: &Node<Prog>, values: &Values) -> Result<Vec<Bundle>, BundleError> {
        let (ring, isa) = (self.session.context.ring(), self.isa);
        let p = self.session.program();
        let limbs = n.args.iter().map(|a| p.ty(*a).limbs).min().unwrap_or(n.ty.limbs);
        let gadget = |g: &[usize; 2]| Gadget { limbs: g[0], alpha: g[1] };
        let complex = n.ty.layout.complex.is_some();
        let refs = |arg: usize, unit: usize| -> Vec<CtRef<'_>> {
            values.get(&(n.args[arg].index(), unit)).into_iter().flatten().map(CtRef::from).collect()
        };
        match &n.op {
            ProgramOp::Input {} => Ok(step.units.clone().map(|u| self.fresh(u, n.ty.limbs)).collect()),
            ProgramOp::Linear { drop, gadget: g, .. } => {
                let Some(l) = &self.linears[step.node] else { return Err(BundleError::Table("not prepared".into())) };
                let g = g.as_ref().map_or(Gadget { limbs, alpha: 1 }, gadget);
                let units: Vec<Operands> = step.units.clone().map(|u| self.operands(n, u, values)).collect();
                let bias = l.bias.as_deref();
                let op = LinearOp { table: &l.table, input_scales: &l.input_scales, limbs_in: limbs, bias, gadget: g, drop_limbs: *drop };
                let whole: Vec<Vec<CtRef>> = units.iter().map_while(|u| u.iter().copied().collect()).collect();
                let slices: Vec<&[CtRef]> = whole.iter().map(Vec::as_slice).collect();
                let mut out = vec![];
                if !whole.is_empty() {
                    out = apply_linear_many(ring, isa, &slices, &op, self.keys)?;
                }
                for part in &units[whole.len()..] {
                    let (table, scales) = present(l, part);
                    let inputs: Vec<CtRef> = part.iter().flatten().copied().collect();
                    let op = LinearOp { table: &table, input_scales: &scales, ..op };
                    out.push(apply_linear(ring, isa, &inputs, &op, self.keys)?);
                }
                Ok(out)
            }
            ProgramOp::Square { gadget: g } => step
                .units
                .clone()
                .map(|u| {
                    let x = refs(0, u);
                    let square = if complex { pair_square } else { square_relin };
                    square(ring, isa, &x, limbs, self.keys, gadget(g))
                })
                .collect(),
            ProgramOp::Mul { gadget: g } => step
                .units
                .clone()
                .map(|u| {
                    let (x, y) = (refs(0, u), refs(1, u));
                    let product = if complex { pair_mul } else { mul_relin };
                    product(ring, isa, &x, &y, limbs, self.keys, gadget(g))
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
    fn operands<'v>(&self, n: &Node<Prog>, unit: usize, values: &'v Values) -> Operands<'v> {
        let p = self.session.program();
        let mut out = vec![];
        for a in &n.args {
            let layout = &p.ty(*a).layout;
            let shift = layout.unit_bits() - n.ty.layout.unit_bits();
            for u in unit << shift..(unit + 1) << shift {
                match values.get(&(a.index(), u)) {
                    Some(b) => out.extend(b.iter().map(|c| Some(CtRef::from(c)))),
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
