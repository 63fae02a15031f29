//! Verifier of programs. Invariants, beside those of layouts and tables:
//! 1. the header's chain has at least as many primes as the largest value has limbs and at most
//!    [`MAX_PRIMES`]; primes are distinct, odd, below 2^51; slots number N/2;
//! 2. `linear`: operand scale × weight scale is the same for all operands; the result has that
//!    scale divided by the dropped primes, and min(operand limbs) − drop limbs; a gadget is there
//!    if a tap is not zero; giant steps are distinct rotations, with a gadget of their own for the
//!    result's limbs if one is not zero; scales of values name primes of the chain;
//! 3. products: result limbs = min of the operands', scale product (× 2^2 if complex-packed);
//! 4. gadgets have at least the limbs of the op, at most the chain's, and between 1 and all special
//!    primes;
//! 5. `chebyshev`: as many limbs less as the series is deep; `refresh`: the header has a bootstrap
//!    whose shape fits the chain, the operand has its base limbs at least, and the raised modulus
//!    fits its gadget;
//! 6. all layouts have the header's batch; the schedule has at most [`MAX_STEPS`] steps;
//! 7. the range of inputs and the figures of calibration images are there for each channel of the
//!    input (the range, or once for all), finite and in order.

use super::{ChannelStatistics, LARGEST_INPUT, MAX_STEPS, Prog, Program, ProgramOp};
use crate::error::{Finding, VerifyError};
use crate::giants;
use crate::graph::Verified;
use crate::he::{HeType, PrimeIndex, Scale, product_scale};
use crate::packed::verify::{check_chebyshev, check_layouts, check_linear, check_product};
use chiffre_params::Gadget;
use chiffre_params::parameters::MAX_PRIMES;
use chiffre_params::polynomial::coefficients_depth;

/// Most partial sums of an instruction.
const MAX_PARTIAL_SUMS: usize = 1 << 16;

/// Checks all invariants; the program is given back wrapped, or all findings.
pub fn verify(g: Program) -> Result<Verified<Prog>, VerifyError> {
    let mut f: Vec<Finding> = vec![];
    g.check_structure(&mut f);
    if f.is_empty() {
        f.extend(header(&g).into_iter().map(Finding::of_graph));
        for (v, n) in g.iter() {
            let args: Vec<&HeType> = n.args.iter().map(|a| g.ty(*a)).collect();
            let layouts: Vec<_> = args.iter().map(|a| &a.layout).collect();
            let mut m = check_layouts(&layouts, &n.ty.layout);
            match &n.op {
                ProgramOp::Linear { taps, table, bias, giants: steps, .. } => {
                    let partials = giants::partial_sums(n.ty.layout.unit_cts(), steps.as_ref().map(Vec::len));
                    m.extend(check_linear(&g.consts, &layouts, &n.ty.layout, partials, taps, (*table, *bias)));
                }
                ProgramOp::Mul { .. } | ProgramOp::Square { .. } => m.extend(check_product(&layouts, &n.ty.layout)),
                ProgramOp::Chebyshev { coeffs, .. } | ProgramOp::Refresh { coeffs } => {
                    m.extend(check_chebyshev(&g.consts, &layouts, &n.ty.layout, *coeffs));
                }
                ProgramOp::Input {} => {}
            }
            m.extend(node(&g, &n.op, &args, &n.ty));
            f.extend(m.into_iter().map(|m| g.finding(v, m)));
        }
        let steps = g.nodes.iter().map(|n| 1usize << n.ty.layout.unit_bits()).sum::<usize>();
        if steps > MAX_STEPS {
            f.push(Finding::of_graph(format!("{steps} steps are more than {MAX_STEPS}")));
        }
    }
    Verified::from_findings(g, f)
}

fn header(g: &Program) -> Vec<String> {
    let mut e = vec![];
    let h = &g.header;
    if !(3..=17).contains(&h.log_n) {
        e.push(format!("ring degree 2^{}", h.log_n));
    }
    let all: Vec<u64> = h.q.iter().chain(&h.p).copied().collect();
    if all.len() > MAX_PRIMES {
        e.push(format!("a modulus chain of {} primes; at most {MAX_PRIMES} are supported", all.len()));
    } else if all.iter().any(|p| p % 2 == 0 || *p >= 1 << 51) || (1..all.len()).any(|i| all[..i].contains(&all[i])) {
        e.push("the primes are not distinct odd numbers below 2^51".into());
    }
    if let Some(b) = &h.bootstrap {
        if let Err(m) = b.check() {
            e.push(m.to_string());
        }
        if b.log_n != h.log_n || b.real_only || b.limbs > h.q.len() || b.alpha > h.p.len() {
            let of = format!("{} limbs and {} special primes at a degree of 2^{}", b.limbs, b.alpha, b.log_n);
            e.push(format!("a bootstrap of {of} in a ring of degree 2^{} with {} and {} primes", h.log_n, h.q.len(), h.p.len()));
        }
    }
    if h.batch == 0 || h.tile == 0 || g.nodes.iter().any(|n| n.ty.layout.batch != h.batch) {
        e.push(format!("a batch of {} images in tiles of {}, or layouts for another batch", h.batch, h.tile));
    }
    let inputs = || g.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Input {})).map(|n| n.ty.layout.shape[0]);
    if let Some(range) = &h.input_range {
        let ordered = |[lowest, highest]: &[f64; 2]| lowest < highest && lowest.abs() <= LARGEST_INPUT && highest.abs() <= LARGEST_INPUT;
        if !range.iter().all(ordered) || range.is_empty() || inputs().any(|channels| range.len() != 1 && range.len() != channels) {
            e.push(format!("a range of inputs {range:?} that is empty, beyond {LARGEST_INPUT:e} or not that of the input's channels"));
        }
    }
    if let Some(figures) = &h.calibrated
        && (!figures.iter().all(ChannelStatistics::is_plausible) || inputs().any(|channels| figures.len() != channels))
    {
        e.push(format!("figures of calibration images that no images of the input's channels have: {figures:?}"));
    }
    e
}

fn node(g: &Program, op: &ProgramOp, args: &[&HeType], ty: &HeType) -> Vec<String> {
    let mut e = vec![];
    let h = &g.header;
    if ty.limbs == 0 || ty.limbs > h.q.len() || ty.parts != 2 {
        e.push(format!("{} limbs (the chain has {}) and {} polynomials", ty.limbs, h.q.len(), ty.parts));
        return e;
    }
    if ty.scale.odd_factors().any(|(PrimeIndex(i), _)| i as usize >= h.q.len()) {
        e.push(format!("a scale of {} over a chain of {} primes", ty.scale, h.q.len()));
    }
    if ty.layout.slots.len() + 1 != h.log_n as usize {
        e.push(format!("2^{} slots in a ring of degree 2^{}", ty.layout.slots.len(), h.log_n));
    }
    let limbs = args.iter().map(|a| a.limbs).min().unwrap_or(0);
    let fits = |g: &Gadget, limbs: usize| g.limbs >= limbs && g.fits(h.q.len(), h.p.len());
    let mut gadget = |g: &Gadget| {
        if !fits(g, limbs) {
            e.push(format!("gadget {g} for {limbs} limbs, a chain of {} and {} special primes", h.q.len(), h.p.len()));
        }
    };
    let mut refused = None;
    let depth = |c: crate::consts::ConstId| coefficients_depth(g.consts.get(c).shape().get(1).copied().unwrap_or(1));
    let (want_limbs, want_scale) = match op {
        ProgramOp::Input {} => return e,
        ProgramOp::Chebyshev { coeffs, gadget: x } => {
            gadget(x);
            (limbs.saturating_sub(depth(*coeffs)), ty.scale.clone())
        }
        ProgramOp::Refresh { coeffs } => {
            refused = match &h.bootstrap {
                None => Some("a refresh in a program without a bootstrap".into()),
                Some(b) if limbs < b.limbs_in() => Some(format!("{limbs} limbs, a bootstrap starts at {}", b.limbs_in())),
                Some(b) if b.raised(ty.limbs, depth(*coeffs)) > b.limbs => Some(format!(
                    "{} limbs behind a series of depth {} and a bootstrap of {} levels are more than its keys have, {}",
                    ty.limbs,
                    depth(*coeffs),
                    b.levels(),
                    b.limbs
                )),
                Some(_) => None,
            };
            (ty.limbs, ty.scale.clone())
        }
        ProgramOp::Linear { taps, scales, drop, gadget: gad, giants: steps, giant_gadget, .. } => {
            if let Some(x) = gad {
                gadget(x);
            } else if taps.iter().any(|&t| t != 0) {
                e.push("rotations without a gadget".into());
            }
            let slots = ty.layout.slot_count();
            if steps.as_ref().is_some_and(|s| s.is_empty() || !giants::distinct(s, slots)) {
                e.push("giant steps are none or not distinct".into());
            }
            if steps.iter().flatten().any(|t| t.unsigned_abs() >= slots as u64) {
                e.push(format!("a giant step is outside the {slots} slots"));
            }
            if steps.is_some() && giants::partial_sums(ty.layout.unit_cts(), steps.as_ref().map(Vec::len)) > MAX_PARTIAL_SUMS {
                e.push(format!("more than {MAX_PARTIAL_SUMS} partial sums"));
            }
            match giant_gadget {
                Some(g) if steps.is_none() || !fits(g, limbs - (*drop).min(limbs)) => {
                    e.push(format!("gadget {g} for giant steps, a chain of {} and {} special primes", h.q.len(), h.p.len()));
                }
                None if steps.iter().flatten().any(|t| *t != 0) => e.push("giant steps without a gadget".into()),
                _ => {}
            }
            if scales.len() != args.len() || *drop >= limbs {
                e.push(format!("{} weight scales for {} operands, drop {drop} of {limbs} limbs", scales.len(), args.len()));
                return e;
            }
            let products: Vec<Scale> = args.iter().zip(scales).map(|(a, s)| &a.scale * s).collect();
            if products.iter().any(|p| *p != products[0]) {
                e.push("operand scale × weight scale differs between operands".into());
            }
            let dropped = (limbs - drop..limbs).fold(products[0].clone(), |s, i| s.div_prime(PrimeIndex(i as u32)));
            (limbs - drop, dropped)
        }
        ProgramOp::Mul { gadget: x, .. } | ProgramOp::Square { gadget: x, .. } => {
            gadget(x);
            (limbs, product_scale(args[0], args[args.len() - 1]))
        }
    };
    if let Some(m) = refused {
        e.push(m);
    }
    if want_limbs != ty.limbs || want_scale != ty.scale {
        e.push(format!("should have {want_limbs} limbs and scale {want_scale}, not {} and {}", ty.limbs, ty.scale));
    }
    e
}
