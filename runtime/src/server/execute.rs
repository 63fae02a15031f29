//! Execution of one step: an instruction on some of its units.

use super::prepare::Linear;
use super::{Bundle, Values};
use crate::{RuntimeError, Session};
use chiffre_ckks::bundle::{BundleError, CtRef, LinearOp, PreparedKeys, apply_linear_many, mul_relin, pair_mul, pair_square, square_relin};
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
    /// Images of the batch.
    pub images: usize,
}

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
                let units: Vec<Vec<CtRef>> = step.units.clone().map(|u| self.operands(n, u, values)).collect();
                let bias = l.bias.as_deref();
                let op = LinearOp { table: &l.table, input_scales: &l.input_scales, limbs_in: limbs, bias, gadget: g, drop_limbs: *drop };
                let slices: Vec<&[CtRef]> = units.iter().map(Vec::as_slice).collect();
                apply_linear_many(ring, isa, &slices, &op, self.keys)
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
    ///
    /// In the place of units that hold no image stands the first one that is merged with them: a copy of images runs the same course as
    /// they do, while zeros in the middle of a network are an image like no other, whose values may run away and take the unit with them.
    fn operands<'v>(&self, n: &Node<Prog>, unit: usize, values: &'v Values) -> Vec<CtRef<'v>> {
        let p = self.session.program();
        let mut out = vec![];
        for a in &n.args {
            let layout = &p.ty(*a).layout;
            let (shift, units) = (layout.unit_bits() - n.ty.layout.unit_bits(), layout.units_for(self.images));
            for u in unit << shift..(unit + 1) << shift {
                let u = if u < units { u } else { unit << shift };
                out.extend(values.get(&(a.index(), u)).into_iter().flatten().map(CtRef::from));
            }
        }
        out
    }
}
