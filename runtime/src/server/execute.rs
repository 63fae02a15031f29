//! Execution of one step: an instruction on some of its units.

use super::prepare::Instruction;
use super::prepared::Prepared;
use super::series::Means;
use super::values::{Bundle, Values};
use crate::RuntimeError;
use chiffre_ckks::bundle::{BundleError, CtRef, GiantSteps, Input, LinearOp, apply_linear, mul_relin, pair_mul, pair_square, square_relin};
use chiffre_ckks::ciphertext::SeededCiphertext;
use chiffre_ckks::ring::{Gadget, RnsPoly};
use chiffre_ir::graph::Node;
use chiffre_ir::program::{Prog, ProgramOp, Step};
use std::ops::Range;

/// What all steps of a run read.
pub(super) struct Machine<'a> {
    pub prepared: &'a Prepared,
    /// `[unit][ciphertext]`.
    pub input: &'a [Vec<SeededCiphertext>],
    /// Images of the batch.
    pub images: usize,
}

/// The values that a step reads: those that end with it are its own, and their memory is used for
/// its results.
struct Sources<'v> {
    kept: &'v Values,
    ending: Values,
}

impl<'v> Sources<'v> {
    /// The ciphertexts of a unit, given away if they end with this step.
    fn take(&mut self, at: (usize, usize)) -> Vec<Input<'v>> {
        if let Some(bundle) = self.ending.remove(&at) {
            return bundle.into_iter().map(Input::Owned).collect();
        }
        self.kept.get(&at).into_iter().flatten().map(|c| Input::Borrowed(CtRef::from(c))).collect()
    }
}

impl Machine<'_> {
    /// Computes the step's units; the buffers that it frees end while it runs.
    pub fn execute(&self, step: &Step, values: &mut Values) -> Result<(), RuntimeError> {
        let n = &self.prepared.session.program().nodes[step.node];
        // What is read twice in this step is given to neither reader.
        let once = |value: usize| n.args.iter().filter(|a| a.index() == value).count() == 1;
        let given = step.free.iter().filter(|at| once(at.0) && !self.stands_in(n, **at));
        let ending: Values = given.filter_map(|at| Some((*at, values.remove(at)?))).collect();
        let out = self.compute(step, n, Sources { kept: values, ending })?;
        for at in &step.free {
            values.remove(at);
        }
        values.extend(step.units.clone().zip(out).map(|(u, b)| ((step.node, u), b)));
        Ok(())
    }

    fn compute(&self, step: &Step, n: &Node<Prog>, mut from: Sources) -> Result<Vec<Bundle>, RuntimeError> {
        let fail = |e: BundleError| RuntimeError::Execution { node: n.source.clone(), message: e.to_string() };
        let Prepared { session, isa, keys, instructions, bootstrappers, spare, .. } = self.prepared;
        let (isa, keys) = (*isa, keys.keys());
        let means = Means { session, isa, keys };
        let unprepared = || fail(BundleError::Table("not prepared".into()));
        let ring = session.context.ring();
        let p = session.program();
        let limbs = n.args.iter().map(|a| p.ty(*a).limbs).min().unwrap_or(n.ty.limbs);
        let complex = n.ty.layout.complex.is_some();
        match &n.op {
            ProgramOp::Input {} => Ok(step.units.clone().map(|u| self.fresh(u, n.ty.limbs)).collect()),
            ProgramOp::Linear { drop, gadget: g, giant_gadget, .. } => {
                let Instruction::Linear(l) = &instructions[step.node] else { return Err(unprepared()) };
                let or_none = |g: &Option<Gadget>, limbs: usize| g.unwrap_or(Gadget { limbs, alpha: 1 });
                let giants = l.giants.as_ref().map(|steps| GiantSteps {
                    steps,
                    outputs: n.ty.layout.unit_cts(),
                    gadget: or_none(giant_gadget, n.ty.limbs),
                });
                let bias = l.bias.as_deref();
                let patterns = l.patterns(session, spare).map_err(|e| fail(BundleError::Table(e.to_string())))?;
                let op = LinearOp {
                    table: &l.table,
                    first: &l.first,
                    patterns: patterns.view(),
                    plan: Some(&l.plan),
                    input_scales: &l.input_scales,
                    limbs_in: limbs,
                    bias,
                    gadget: or_none(g, limbs),
                    drop_limbs: *drop,
                    giants,
                };
                let units = step.units.clone().map(|u| self.operands(n, u, &mut from)).collect();
                let out = apply_linear(ring, isa, units, &op, keys).map_err(fail);
                spare.give_back(patterns);
                out
            }
            ProgramOp::Chebyshev { gadget: g, .. } => {
                let Instruction::Series(series) = &instructions[step.node] else { return Err(unprepared()) };
                let units = step.units.clone().map(|u| from.take((n.args[0].index(), u))).collect();
                series.levelled(&means, n, *g, p.ty(n.args[0]), units)
            }
            ProgramOp::Refresh { .. } => {
                let Instruction::Series(series) = &instructions[step.node] else { return Err(unprepared()) };
                let units = step.units.clone().map(|u| from.take((n.args[0].index(), u))).collect();
                bootstrappers.refreshed(&means, n, series, p.ty(n.args[0]), units)
            }
            ProgramOp::Square { gadget: g } => step
                .units
                .clone()
                .map(|u| {
                    let x = from.take((n.args[0].index(), u));
                    let square = if complex { pair_square } else { square_relin };
                    square(ring, isa, x, limbs, keys, *g).map_err(fail)
                })
                .collect(),
            ProgramOp::Mul { gadget: g } => step
                .units
                .clone()
                .map(|u| {
                    let mut take = |arg: usize| from.take((n.args[arg].index(), u));
                    let (x, y) = (take(0), take(1));
                    let product = if complex { pair_mul } else { mul_relin };
                    product(ring, isa, x, y, limbs, keys, *g).map_err(fail)
                })
                .collect(),
        }
    }

    /// A unit of the input, expanded from its seeds.
    fn fresh(&self, unit: usize, limbs: usize) -> Bundle {
        let ring = self.prepared.session.context.ring();
        let expand = |c: &SeededCiphertext| {
            let mut polys = c.expand(ring, limbs).polys.into_iter();
            let mut next = || polys.next().unwrap_or_else(|| RnsPoly::new_zero(ring.n(), 0));
            [next(), next()]
        };
        self.input.get(unit).into_iter().flatten().map(expand).collect()
    }

    /// The ciphertexts that unit `unit` of a linear map reads, of all operands in a row.
    ///
    /// In the place of units that hold no image stands the first one that is merged with them: a
    /// copy of images runs the same course as they do, while zeros in the middle of a network are
    /// an image like no other, whose values may run away and take the unit with them.
    fn operands<'v>(&self, n: &Node<Prog>, unit: usize, from: &mut Sources<'v>) -> Vec<Input<'v>> {
        let mut out = vec![];
        for a in &n.args {
            let (merged, units) = self.merge(n, a.index(), unit);
            for u in merged.clone() {
                out.extend(from.take((a.index(), if u < units { u } else { merged.start })));
            }
        }
        out
    }

    /// The units of operand `value` that make unit `unit` of `n`, and how many units of the operand
    /// hold images.
    fn merge(&self, n: &Node<Prog>, value: usize, unit: usize) -> (Range<usize>, usize) {
        let layout = &self.prepared.session.program().nodes[value].ty.layout;
        let shift = layout.unit_bits() - n.ty.layout.unit_bits();
        (unit << shift..(unit + 1) << shift, layout.units_for(self.images))
    }

    /// True if a unit of an operand is read in the place of others too.
    fn stands_in(&self, n: &Node<Prog>, (value, unit): (usize, usize)) -> bool {
        let shift = self.prepared.session.program().nodes[value].ty.layout.unit_bits() - n.ty.layout.unit_bits();
        let (merged, units) = self.merge(n, value, unit >> shift);
        unit == merged.start && merged.end > units
    }
}
