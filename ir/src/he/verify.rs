//! Verifier of the HE IR. Invariants, beside those of the packed IR for layouts and tables:
//! 1. `limbs` is 1 to [`MAX_PRIMES`]; `parts` is 2 or 3; operands of `linear`, `mul`, `square`,
//!    `rescale` and outputs have 2 parts;
//! 2. `linear`: one weight scale per operand; operand scale × weight scale is the same for all
//!    operands and equals the result's scale; the result has as many limbs as the operand with the
//!    fewest;
//! 3. `mul`, `square`: operands have equal limbs; the result has 3 parts and scale product (× 2^2
//!    if complex-packed);
//! 4. `chebyshev`: as many limbs less as the series is deep; `refresh`: any limbs; both have any
//!    scale; series as in the packed IR;
//! 5. `relin`: 3 parts to 2, nothing else changes; `rescale`: scale / q_{limbs−1} and one limb
//!    less; `mod_drop`: fewer limbs, nothing else changes.

use super::{He, HeGraph, HeOp, HeType, PrimeIndex, Scale, product_scale};
use crate::error::{Finding, VerifyError};
use crate::graph::Verified;
use crate::layout::Layout;
use crate::packed::verify::{check_chebyshev, check_layouts, check_linear, check_product};
use chiffre_params::parameters::MAX_PRIMES;
use chiffre_params::polynomial::coefficients_depth;

/// Checks all invariants; the graph is given back wrapped, or all findings.
pub fn verify(g: HeGraph) -> Result<Verified<He>, VerifyError> {
    let findings = findings(&g, true);
    Verified::from_findings(g, findings)
}

/// Checks all invariants but one: products may be read and returned with three parts, as
/// `assign-levels` leaves them for `place-relin`.
///
/// # Errors
/// All findings.
pub fn verify_products_open(g: HeGraph) -> Result<HeGraph, VerifyError> {
    let findings = findings(&g, false);
    if findings.is_empty() { Ok(g) } else { Err(VerifyError { findings }) }
}

fn findings(g: &HeGraph, relinearised: bool) -> Vec<Finding> {
    let mut f: Vec<Finding> = vec![];
    g.check_structure(&mut f);
    if f.is_empty() {
        for (v, n) in g.iter() {
            let args: Vec<&HeType> = n.args.iter().map(|a| g.ty(*a)).collect();
            let layouts: Vec<&Layout> = args.iter().map(|a| &a.layout).collect();
            let mut m = check_layouts(&layouts, &n.ty.layout);
            if let HeOp::Linear { taps, table, bias, .. } = &n.op {
                m.extend(check_linear(&g.consts, &layouts, &n.ty.layout, n.ty.layout.unit_cts(), taps, (*table, *bias)));
            } else if let HeOp::Chebyshev { coeffs } | HeOp::Refresh { coeffs } = &n.op {
                m.extend(check_chebyshev(&g.consts, &layouts, &n.ty.layout, *coeffs));
                if let HeOp::Chebyshev { .. } = &n.op {
                    let want = args[0].limbs as i64 - coefficients_depth(g.consts.get(*coeffs).shape().get(1).copied().unwrap_or(1)) as i64;
                    expect(&mut m, "limbs", want.to_string(), n.ty.limbs.to_string());
                }
            } else {
                m.extend(check_product(&layouts, &n.ty.layout));
            }
            m.extend(check_arithmetic(&n.op, &args, &n.ty, relinearised));
            f.extend(m.into_iter().map(|m| g.finding(v, m)));
        }
        for o in &g.outputs {
            if relinearised && g.ty(*o).parts != 2 {
                f.push(g.finding(*o, "an output is not relinearised".into()));
            }
        }
    }
    f
}

fn check_arithmetic(op: &HeOp, args: &[&HeType], ty: &HeType, relinearised: bool) -> Vec<String> {
    let mut e = vec![];
    if !(1..=MAX_PRIMES).contains(&ty.limbs) || !(2..=3).contains(&ty.parts) {
        e.push(format!("{} limbs and {} parts", ty.limbs, ty.parts));
        return e;
    }
    if args.iter().any(|a| a.limbs > MAX_PRIMES) {
        // Said of the operand.
        return e;
    }
    if relinearised && !matches!(op, HeOp::Relin {} | HeOp::ModDrop {}) && args.iter().any(|a| a.parts != 2) {
        e.push("an operand is not relinearised".into());
    }
    let want_type = |limbs: usize, scale: &Scale, parts: usize| (limbs.to_string(), scale.to_string(), parts.to_string());
    let (limbs, scale, parts) = match op {
        HeOp::Input {} => return e,
        HeOp::Linear { scales, .. } => {
            if scales.len() != args.len() {
                e.push(format!("{} weight scales for {} operands", scales.len(), args.len()));
                return e;
            }
            for (a, s) in args.iter().zip(scales) {
                expect(&mut e, "operand scale × weight scale", ty.scale.to_string(), (&a.scale * s).to_string());
            }
            want_type(args.iter().map(|a| a.limbs).min().unwrap_or(0), &ty.scale, 2)
        }
        HeOp::Mul {} | HeOp::Square {} => {
            if args.iter().any(|a| a.limbs != args[0].limbs) {
                e.push("operands of a product differ in limbs".into());
                return e;
            }
            want_type(args[0].limbs, &product_scale(args[0], args[args.len() - 1]), 3)
        }
        HeOp::Chebyshev { .. } | HeOp::Refresh { .. } => want_type(ty.limbs, &ty.scale, 2),
        HeOp::Relin {} => want_type(args[0].limbs, &args[0].scale, 2),
        HeOp::Rescale {} => {
            if args[0].limbs < 2 {
                e.push("no limb left to rescale by".into());
                return e;
            }
            want_type(args[0].limbs - 1, &args[0].scale.div_prime(PrimeIndex(args[0].limbs as u32 - 1)), 2)
        }
        HeOp::ModDrop {} => {
            if ty.limbs > args[0].limbs {
                e.push(format!("{} limbs from {}", ty.limbs, args[0].limbs));
            }
            want_type(ty.limbs, &args[0].scale, args[0].parts)
        }
    };
    expect(&mut e, "limbs", limbs, ty.limbs.to_string());
    expect(&mut e, "scale", scale, ty.scale.to_string());
    expect(&mut e, "parts", parts, ty.parts.to_string());
    e
}

fn expect(e: &mut Vec<String>, what: &str, want: String, got: String) {
    if want != got {
        e.push(format!("{what} should be {want}, not {got}"));
    }
}
