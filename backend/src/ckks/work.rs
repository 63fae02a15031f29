//! The work of a program's instructions.

use crate::cost::{GiantShape, LinearShape, ProductShape, SeriesShape, Work};
use crate::memory::{Outline, Value, constant_bytes};
use chiffre_ir::graph::Node;
use chiffre_ir::program::{Prog, Program, ProgramOp};
use chiffre_params::Gadget;
use chiffre_params::polynomial::coefficients_depth;

/// The work of an instruction; inputs do none.
pub fn work_of(p: &Program, n: &Node<Prog>) -> Option<Work> {
    let limbs = n.args.iter().map(|a| p.ty(*a).limbs).min().unwrap_or(n.ty.limbs);
    let cts = n.ty.layout.unit_cts();
    let complex = n.ty.layout.complex.is_some();
    let coefficients = |c| p.consts.get(c).shape().get(1).copied().unwrap_or(1);
    let slotwise = |c| n.ty.layout.has_slotwise(p.consts.get(c).shape().first().copied().unwrap_or(1));
    match &n.op {
        ProgramOp::Input {} => None,
        ProgramOp::Linear { table, drop, gadget, giants, giant_gadget, .. } => {
            let table = p.consts.table(*table).ok()?;
            let alpha = |g: &Option<Gadget>| g.map_or(0, |g| g.alpha);
            let of =
                |steps: &Vec<i64>| GiantShape { taps: steps.iter().filter(|s| **s != 0).count(), outputs: cts, alpha: alpha(giant_gadget) };
            let giants = giants.as_ref().map(of);
            Some(Work::Linear(LinearShape { limbs, drop: *drop, alpha: alpha(gadget), giants, ..LinearShape::of_table(table) }))
        }
        ProgramOp::Chebyshev { coeffs, gadget } => {
            let coefficients = coefficients(*coeffs);
            Some(Work::Series(SeriesShape {
                cts,
                limbs,
                coefficients,
                alpha: gadget.alpha,
                complex,
                slotwise: slotwise(*coeffs),
                bootstrap: None,
            }))
        }
        ProgramOp::Refresh { coeffs } => {
            let b = p.header.bootstrap.clone()?;
            let coefficients = coefficients(*coeffs);
            let (limbs, alpha) = (n.ty.limbs + coefficients_depth(coefficients), b.alpha);
            Some(Work::Series(SeriesShape {
                cts,
                limbs,
                coefficients,
                alpha,
                complex,
                slotwise: slotwise(*coeffs),
                bootstrap: Some(Box::new(b)),
            }))
        }
        ProgramOp::Mul { gadget } | ProgramOp::Square { gadget } => {
            Some(Work::Product(ProductShape { cts, limbs, alpha: gadget.alpha, complex }))
        }
    }
}

/// What a run of a program on `images` images consists of.
pub fn outline(p: &Program, images: usize) -> Outline {
    let value =
        |n: &Node<Prog>| Value { unit_bytes: n.ty.layout.unit_cts() * 2 * (n.ty.limbs << (p.header.log_n + 3)), work: work_of(p, n) };
    Outline {
        ring: Some(p.header.log_n),
        flow: p.flow(images),
        values: p.nodes.iter().map(value).collect(),
        outputs: p.outputs.iter().map(|o| o.index()).collect(),
        keys: p.key_bytes(),
        constants: p.consts.iter().map(|(_, c)| constant_bytes(&c.ty)).sum(),
    }
}

/// Ciphertexts that are bootstrapped in a run on `images` images.
pub fn bootstraps(p: &Program, images: usize) -> usize {
    let refreshed = p.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Refresh { .. }));
    refreshed.map(|n| n.ty.layout.unit_cts() * n.ty.layout.units_for(images)).sum()
}
