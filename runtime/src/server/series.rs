//! Chebyshev series of activations, with or without a bootstrap before them.

use super::Bundle;
use super::execute::Machine;
use crate::{RuntimeError, Session};
use chiffre_ckks::bootstrap::{Activation, BootstrapError, BootstrapSpec, Bootstrapper, RefreshOp};
use chiffre_ckks::bundle::Input;
use chiffre_ckks::polynomial::{Basis, Parity, Plan, PolynomialOp, evaluate, evaluate_packed};
use chiffre_ckks::ring::Gadget;
use chiffre_ckks::simd::Isa;
use chiffre_ir::consts::ConstId;
use chiffre_ir::graph::Node;
use chiffre_ir::he::HeType;
use chiffre_ir::layout::Layout;
use chiffre_ir::packed::interp::series_rows;
use chiffre_ir::program::{Prog, ProgramOp};
use chiffre_params::work::SERIES_GROUP;

/// The rows of a series: one, or one for each channel; and the row of each ciphertext of a unit.
pub(super) struct Rows {
    rows: Vec<Vec<f64>>,
    of_ct: Vec<usize>,
}

impl Rows {
    /// The rows, and the plan of their polynomial.
    fn load(m: &Machine, coeffs: ConstId, layout: &Layout) -> Result<(Rows, Plan), String> {
        let array = m.server.session.program().consts.array(coeffs).map_err(|e| e.to_string())?;
        let rows: Vec<Vec<f64>> = series_rows(array).collect();
        let last = rows.len().checked_sub(1).ok_or("a series without coefficients")?;
        let plan = Plan::new(rows[0].len().saturating_sub(1), Parity::Full, Basis::Chebyshev).map_err(|e| e.to_string())?;
        Ok((Rows { of_ct: layout.channel_of_cts().into_iter().map(|c| c.min(last)).collect(), rows }, plan))
    }
    /// The rows of so many units' ciphertexts, one after the other.
    fn of_units(&self, units: usize) -> Vec<&[f64]> {
        let one = self.of_ct.iter().map(|&c| self.rows[c].as_slice());
        std::iter::repeat_n(one, units).flatten().collect()
    }
}

/// Series without a bootstrap, of the ciphertexts of some units.
pub(super) fn levelled(
    m: &Machine,
    n: &Node<Prog>,
    coeffs: ConstId,
    gadget: Gadget,
    from: &HeType,
    units: Vec<Vec<Input<'_>>>,
) -> Result<Vec<Bundle>, RuntimeError> {
    let fail = |message: String| RuntimeError::Execution { node: n.source.clone(), message };
    let (rows, plan) = Rows::load(m, coeffs, &n.ty.layout).map_err(fail)?;
    let coefficients = rows.of_units(units.len());
    let op = PolynomialOp {
        plan: &plan,
        coefficients: &coefficients,
        limbs: from.limbs,
        input_scale: &m.server.session.scale(&from.scale),
        output_scale: &m.server.session.scale(&n.ty.scale),
        gadget,
    };
    let evaluate = if n.ty.layout.complex.is_some() { evaluate_packed } else { evaluate };
    let inputs = units.into_iter().flatten().collect();
    let out = evaluate(m.server.session.context.ring(), m.server.isa, inputs, &op, m.server.keys).map_err(|e| fail(e.to_string()))?;
    Ok(by_units(out, rows.of_ct.len()))
}

fn by_units(cts: Bundle, per_unit: usize) -> Vec<Bundle> {
    let mut cts = cts.into_iter();
    std::iter::from_fn(|| Some(cts.by_ref().take(per_unit).collect::<Bundle>()).filter(|b| !b.is_empty())).collect()
}

/// Series behind a bootstrap, of the ciphertexts of some units.
pub(super) fn refreshed(
    m: &Machine,
    n: &Node<Prog>,
    coeffs: ConstId,
    from: &HeType,
    units: Vec<Vec<Input<'_>>>,
) -> Result<Vec<Bundle>, RuntimeError> {
    let fail = |message: String| RuntimeError::Execution { node: n.source.clone(), message };
    let (rows, plan) = Rows::load(m, coeffs, &n.ty.layout).map_err(fail)?;
    let bootstrapper = if n.ty.layout.complex.is_some() { &m.server.bootstrappers.complex } else { &m.server.bootstrappers.real };
    let bootstrapper = bootstrapper.as_ref().ok_or_else(|| fail("the program has no bootstrap for it".into()))?;
    let coefficients = rows.of_units(units.len());
    let op = RefreshOp {
        input_scale: &m.server.session.scale(&from.scale),
        radians: 1.0,
        activation: Some(Activation { plan: &plan, coefficients: &coefficients }),
        output_scale: &m.server.session.scale(&n.ty.scale),
    };
    let inputs = units.into_iter().flatten().collect();
    let mut out =
        bootstrapper.refresh(m.server.session.context.ring(), m.server.isa, inputs, &op, m.server.keys).map_err(|e| fail(e.to_string()))?;
    for part in out.iter_mut().flatten().filter(|p| p.rows() > n.ty.limbs) {
        *part = part.truncated(n.ty.limbs);
    }
    Ok(by_units(out, rows.of_ct.len()))
}

/// The program's bootstrap, prepared for complex-packed and for real bundles, where there are such.
#[derive(Debug, Default)]
pub(super) struct Bootstrappers {
    complex: Option<Bootstrapper>,
    real: Option<Bootstrapper>,
}

impl Bootstrappers {
    /// Encodes the matrices that the program needs.
    pub fn new(s: &Session, isa: Isa) -> Result<Bootstrappers, RuntimeError> {
        let mut out = Bootstrappers::default();
        let p = s.program();
        let Some(b) = &p.header.bootstrap else { return Ok(out) };
        for n in p.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Refresh { .. })) {
            let complex = n.ty.layout.complex.is_some();
            let slot = if complex { &mut out.complex } else { &mut out.real };
            if slot.is_none() {
                let spec = BootstrapSpec { real_only: !complex, ..b.clone() };
                let fail = |e: BootstrapError| RuntimeError::Execution { node: n.source.clone(), message: e.to_string() };
                let prepared = Bootstrapper::new(s.context.ring(), isa, s.context.encoder(), &spec).map_err(fail)?;
                *slot = Some(prepared.with_group(SERIES_GROUP));
            }
        }
        Ok(out)
    }
}
