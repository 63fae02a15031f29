//! Chebyshev series of activations, with or without a bootstrap before them.

use super::values::Bundle;
use crate::{RuntimeError, Session};
use chiffre_ckks::Isa;
use chiffre_ckks::bootstrap::{Activation, BootstrapError, BootstrapSpec, Bootstrapper, RefreshOp, StoredDiagonals};
use chiffre_ckks::bundle::{Input, PreparedKeys};
use chiffre_ckks::polynomial::{Basis, Coefficients, Parity, Plan, PolynomialOp, SlotRows, evaluate, evaluate_packed};
use chiffre_ckks::ring::Gadget;
use chiffre_ir::consts::ConstId;
use chiffre_ir::graph::Node;
use chiffre_ir::he::HeType;
use chiffre_ir::layout::Layout;
use chiffre_ir::packed::interp::series_rows;
use chiffre_ir::program::{Prog, ProgramOp};
use chiffre_params::work::SERIES_GROUP;

/// Operands of refreshes are angles.
const RADIANS: f64 = 1.0;

/// What a series is evaluated with.
pub(super) struct Means<'a> {
    pub session: &'a Session,
    pub isa: Isa,
    pub keys: &'a PreparedKeys,
}

/// A series ready to run: its rows, one or one for each channel, which of them the slots of each
/// ciphertext of a unit have, and how its polynomial is evaluated.
pub(super) struct Series {
    rows: Vec<Vec<f64>>,
    /// Channel of each ciphertext.
    of_unit: Vec<usize>,
    /// What each slot adds to it.
    of_slots: Vec<usize>,
    plan: Plan,
}

impl Series {
    /// The rows, and the plan of their polynomial.
    pub fn new(s: &Session, coeffs: ConstId, layout: &Layout) -> Result<Series, String> {
        let array = s.program().consts.array(coeffs).map_err(|e| e.to_string())?;
        let rows: Vec<Vec<f64>> = series_rows(array).collect();
        if rows.is_empty() {
            return Err("a series without coefficients".into());
        }
        let plan = Plan::new(rows[0].len().saturating_sub(1), Parity::Full, Basis::Chebyshev).map_err(|e| e.to_string())?;
        Ok(Series { of_unit: layout.channel_of_cts(), of_slots: layout.channel_of_slots(), rows, plan })
    }
    /// The coefficients of so many units' ciphertexts, one after the other.
    fn of_units<'a>(&'a self, s: &'a Session, units: usize) -> Vec<Coefficients<'a>> {
        let of = |first: &usize| match self.of_slots[..] {
            [_] => Coefficients::Row(&self.rows[*first.min(&(self.rows.len() - 1))]),
            ref offsets => Coefficients::Slots(SlotRows { rows: &self.rows, first: *first, offsets, encoder: s.context.encoder() }),
        };
        std::iter::repeat_n(self.of_unit.iter().map(of), units).flatten().collect()
    }

    /// Series without a bootstrap, of the ciphertexts of some units.
    pub fn levelled(
        &self,
        m: &Means,
        n: &Node<Prog>,
        gadget: Gadget,
        from: &HeType,
        units: Vec<Vec<Input<'_>>>,
    ) -> Result<Vec<Bundle>, RuntimeError> {
        let fail = |message: String| RuntimeError::Execution { node: n.source.clone(), message };
        let coefficients = self.of_units(m.session, units.len());
        let op = PolynomialOp {
            plan: &self.plan,
            coefficients: &coefficients,
            limbs: from.limbs,
            input_scale: &m.session.scale(&from.scale),
            output_scale: &m.session.scale(&n.ty.scale),
            gadget,
        };
        let evaluate = if n.ty.layout.complex.is_some() { evaluate_packed } else { evaluate };
        let inputs = units.into_iter().flatten().collect();
        let out = evaluate(m.session.context.ring(), m.isa, inputs, &op, m.keys).map_err(|e| fail(e.to_string()))?;
        Ok(by_units(out, self.of_unit.len()))
    }
}

fn by_units(cts: Bundle, per_unit: usize) -> Vec<Bundle> {
    let mut cts = cts.into_iter();
    std::iter::from_fn(|| Some(cts.by_ref().take(per_unit).collect::<Bundle>()).filter(|b| !b.is_empty())).collect()
}

/// The program's bootstrap, prepared for complex-packed and for real bundles, where there are such.
#[derive(Debug, Default)]
pub(super) struct Bootstrappers {
    complex: Option<Bootstrapper>,
    real: Option<Bootstrapper>,
}

/// Fills rows with the words that are stored under a name, and says if there are some of this
/// shape.
pub(super) type Fill<'a> = dyn FnMut(&str, &mut [&mut [u64]]) -> bool + 'a;

/// The stored diagonals of one of the two bootstraps.
struct Named<'a, 'b> {
    complex: bool,
    fill: &'a mut Fill<'b>,
}

impl StoredDiagonals for Named<'_, '_> {
    fn fill(&mut self, name: &str, rows: &mut [&mut [u64]]) -> bool {
        (self.fill)(&stored_name(self.complex, name), rows)
    }
}

fn stored_name(complex: bool, name: &str) -> String {
    format!("bootstrap.{}.{name}", if complex { "complex" } else { "real" })
}

impl Bootstrappers {
    /// Encodes the matrices that the program needs, or takes them from a store.
    pub fn new(s: &Session, isa: Isa, mut stored: Option<&mut Fill<'_>>) -> Result<Bootstrappers, RuntimeError> {
        let mut out = Bootstrappers::default();
        let (p, ring) = (s.program(), s.context.ring());
        let Some(b) = &p.header.bootstrap else { return Ok(out) };
        for n in p.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Refresh { .. })) {
            let complex = n.ty.layout.complex.is_some();
            let mut named = stored.as_deref_mut().map(|fill| Named { complex, fill });
            let slot = if complex { &mut out.complex } else { &mut out.real };
            if slot.is_none() {
                let spec = BootstrapSpec { real_only: !complex, ..b.clone() };
                let fail = |e: BootstrapError| RuntimeError::Execution { node: n.source.clone(), message: e.to_string() };
                let prepared =
                    Bootstrapper::with_stored(ring, isa, s.context.encoder(), &spec, named.as_mut().map(|n| n as &mut dyn StoredDiagonals))
                        .map_err(fail)?;
                *slot = Some(prepared.with_group(SERIES_GROUP));
            }
            if let Some(b) = slot {
                b.prepare(ring, isa, &s.scale(&p.ty(n.args[0]).scale), RADIANS, named.as_mut().map(|n| n as &mut dyn StoredDiagonals));
            }
        }
        Ok(out)
    }

    /// Series behind a bootstrap, of the ciphertexts of some units.
    pub fn refreshed(
        &self,
        m: &Means,
        n: &Node<Prog>,
        series: &Series,
        from: &HeType,
        units: Vec<Vec<Input<'_>>>,
    ) -> Result<Vec<Bundle>, RuntimeError> {
        let fail = |message: String| RuntimeError::Execution { node: n.source.clone(), message };
        let bootstrapper = if n.ty.layout.complex.is_some() { &self.complex } else { &self.real };
        let bootstrapper = bootstrapper.as_ref().ok_or_else(|| fail("the program has no bootstrap for it".into()))?;
        let coefficients = series.of_units(m.session, units.len());
        let op = RefreshOp {
            input_scale: &m.session.scale(&from.scale),
            radians: RADIANS,
            activation: Some(Activation { plan: &series.plan, coefficients: &coefficients }),
            output_scale: &m.session.scale(&n.ty.scale),
        };
        let inputs = units.into_iter().flatten().collect();
        let mut out = bootstrapper.refresh(m.session.context.ring(), m.isa, inputs, &op, m.keys).map_err(|e| fail(e.to_string()))?;
        for part in out.iter_mut().flatten().filter(|p| p.rows() > n.ty.limbs) {
            *part = part.truncated(n.ty.limbs);
        }
        Ok(by_units(out, series.of_unit.len()))
    }

    /// Shows all diagonals with the names under which they are stored, in the order of the names.
    pub fn visit<E>(&self, mut visit: impl FnMut(&str, &[&[u64]]) -> Result<(), E>) -> Result<(), E> {
        for (complex, b) in [(true, &self.complex), (false, &self.real)] {
            if let Some(b) = b {
                b.transforms().visit_diagonals(|name, rows| visit(&stored_name(complex, name), rows))?;
            }
        }
        Ok(())
    }
}
