//! `assign-levels`: limbs and exact scales; one prime per linear map and the product before it.
//!
//! Every value behind a linear map has a scale Δ. A product leaves Δ² (Δ²·4 if complex-packed), the
//! next linear map multiplies by integers at weight scale ω = Δ'·q / (operand scale), and one
//! rescale by the prime q gives the scale Δ' of its own readers. So a rescale happens only behind a
//! linear map (lazily), and residual branches meet because each operand has its own ω. A linear map
//! with small integer scalar weights needs no prime.
//!
//! Errors are the smaller the larger Δ is, and errors of weights the smaller the larger ω: what a
//! product reads takes the largest Δ that leaves ω its bits, and what only linear maps read, or
//! nobody, the scale of answers. Limbs are counted from the outputs: a value has one limb more
//! than the linear map that reads it leaves.

use crate::error::PassError;
use crate::levels::{LimbEffect, needed};
use crate::options::{CompileOptions, PrimeSizes, REFRESH_BASE};
use crate::pack::layouts::Layouts;
use chiffre_ir::graph::{Node, ValueId};
use chiffre_ir::he::{HeGraph, HeOp, HeType, PrimeIndex, Scale, product_scale};
use chiffre_ir::packed::{Packed, PackedGraph, PackedOp};
use chiffre_ir::table::DiagTable;
use chiffre_params::polynomial::coefficients_depth;

const PASS: &str = "assign-levels";
/// Smallest weight scale, bits: below it, rounding the weights would change what the network
/// computes.
pub const MIN_WEIGHT_BITS: f64 = 8.0;

/// Bits of the weights that read a product of two values, with the two bits that complex slots
/// take: at primes of 49 bits these and values at scale 2^27 have errors alike.
const PRODUCT_WEIGHT_BITS: i32 = 22;
/// Smallest scale of what a product reads, bits: primes of networks with series are shorter, and
/// weights behind a product would be left with none.
const LEAST_PRODUCT_SCALE: i32 = 22;

/// What reads a linear map, or reads nothing but a sum of it, and wants a scale of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// A bootstrap, which rescales.
    Refresh,
    /// A series without one.
    Series,
}

impl Reader {
    fn of(sine: bool) -> Reader {
        if sine { Reader::Refresh } else { Reader::Series }
    }
}

/// True if the map's weights are small integers, exact at scale 1.
fn is_unit(t: &DiagTable) -> bool {
    t.entries.iter().all(|e| e.mask.is_none() && e.weight.fract() == 0.0 && e.weight.abs() <= 16.0)
}

/// True if all weights are one, in all slots.
fn has_unit_weights(t: &DiagTable) -> bool {
    t.entries.iter().all(|e| e.mask.is_none() && e.weight == 1.0)
}

/// The readers of each value, with those of sums that keep its scale in place of the sums.
fn through(users: &[Vec<ValueId>], passing: &[bool]) -> Vec<Vec<ValueId>> {
    let mut out: Vec<Vec<ValueId>> = users.to_vec();
    for v in (0..users.len()).rev() {
        out[v] = users[v].iter().flat_map(|u| if passing[u.index()] { out[u.index()].clone() } else { vec![*u] }).collect();
    }
    out
}

/// log2 of the scale that each value should have, if it is the result of a linear map: the smallest
/// that a reader wants. `readers` are those with a scale of their own, `unit` the maps that take no
/// level.
fn log_scales(
    g: &PackedGraph,
    users: &[Vec<ValueId>],
    readers: &[Option<Reader>],
    unit: &[bool],
    sizes: &PrimeSizes,
    answers: i32,
) -> Vec<i32> {
    let mut out = vec![answers; g.nodes.len()];
    for (v, _) in g.iter().collect::<Vec<_>>().into_iter().rev() {
        let wanted = |u: &ValueId| match (&g.node(*u).op, readers[u.index()]) {
            (PackedOp::Linear { .. }, None) if unit[u.index()] => out[u.index()],
            // The weights that read the product.
            (PackedOp::Mul {} | PackedOp::Square {}, _) => {
                let behind = users[u.index()].iter().map(|w| match (&g.node(*w).op, readers[w.index()]) {
                    (PackedOp::Linear { .. }, None) => out[w.index()],
                    (PackedOp::Linear { .. }, Some(Reader::Series)) => sizes.prime as i32 - 1,
                    _ => sizes.log_scale,
                });
                let behind = behind.min().unwrap_or(sizes.log_scale);
                ((sizes.prime as i32 + behind - PRODUCT_WEIGHT_BITS) / 2).clamp(LEAST_PRODUCT_SCALE, answers)
            }
            _ => answers,
        };
        out[v.index()] = users[v.index()].iter().map(wanted).min().unwrap_or(answers);
    }
    out
}

/// Turns packed IR into HE IR without relinearisation, with the sizes of primes and scales that
/// layouts were chosen for, if they were.
pub fn assign_levels(g: &PackedGraph, opts: &CompileOptions, layouts: Option<&Layouts>) -> Result<HeGraph, PassError> {
    let series = g.nodes.iter().any(|n| matches!(n.op, PackedOp::Chebyshev { sine: false, .. }));
    let refresh = g.nodes.iter().any(|n| matches!(n.op, PackedOp::Chebyshev { sine: true, .. }));
    let usual = || PrimeSizes::of(opts, series, refresh);
    let sizes = layouts
        .and_then(Layouts::short_primes)
        .map_or_else(usual, |s| PrimeSizes { log_scale: opts.log_scale.unwrap_or(s.log_scale), ..s });
    let users = g.users();
    let read_by = |v: ValueId, sine: bool| {
        users[v.index()].iter().any(|u| matches!(g.node(*u).op, PackedOp::Chebyshev { sine: s, .. } if s == sine))
            && !g.outputs.contains(&v)
    };
    let series_of = |v: ValueId| [true, false].into_iter().find(|sine| read_by(v, *sine)).map(Reader::of);
    // Series want a scale of their own; a map of unit weights takes no level, so that what it adds
    // up must come at that scale already.
    let mut readers: Vec<Option<Reader>> = g.iter().map(|(v, _)| series_of(v)).collect();
    let mut unit = vec![false; g.nodes.len()];
    for (v, n) in g.iter().collect::<Vec<_>>().into_iter().rev() {
        if let PackedOp::Linear { table, .. } = &n.op {
            let t = g.consts.table(*table).map_err(|e| PassError::clear(PASS, &n.source, e))?;
            let reader = readers[v.index()];
            let alone = |a: &ValueId| users[a.index()] == [v] && !g.outputs.contains(a);
            // Operands are results of linear maps, which can have any scale that all readers want.
            let plain =
                |a: &ValueId| matches!(g.node(*a).op, PackedOp::Linear { .. }) && series_of(*a).is_none() && (reader.is_none() || alone(a));
            unit[v.index()] = is_unit(t) && n.args.iter().all(plain);
            if unit[v.index()] && reader.is_some() {
                n.args.iter().for_each(|a| readers[a.index()] = reader);
            }
        }
    }
    // Sums of one value that only maps with weights read keep its scale, whatever it is.
    let mut passing = vec![false; g.nodes.len()];
    for (v, n) in g.iter().collect::<Vec<_>>().into_iter().rev() {
        let PackedOp::Linear { table, bias: None, .. } = &n.op else { continue };
        let t = g.consts.table(*table).map_err(|e| PassError::clear(PASS, &n.source, e))?;
        let weighs = |u: &ValueId| matches!(g.node(*u).op, PackedOp::Linear { .. }) && (passing[u.index()] || !unit[u.index()]);
        let read = !users[v.index()].is_empty() && !g.outputs.contains(&v) && users[v.index()].iter().all(weighs);
        // A map that adds nothing is there to rescale.
        passing[v.index()] = read && n.args.len() == 1 && has_unit_weights(t) && t.entries.len() > t.outputs;
    }
    let answers = layouts.and_then(|l| l.answer_log_scale).filter(|_| opts.log_scale.is_none());
    let log_scales = match answers {
        Some(answers) => log_scales(g, &through(&users, &passing), &readers, &unit, &sizes, answers),
        None => vec![sizes.log_scale; g.nodes.len()],
    };
    let depth = |c| coefficients_depth(g.consts.get(c).shape().get(1).copied().unwrap_or(1));
    let effect = |(v, n): (ValueId, &Node<Packed>)| match &n.op {
        PackedOp::Input {} => LimbEffect::Input,
        PackedOp::Mul {} | PackedOp::Square {} => LimbEffect::Product,
        PackedOp::Linear { .. } if passing[v.index()] || unit[v.index()] || readers[v.index()] == Some(Reader::Refresh) => {
            LimbEffect::Unscaled
        }
        PackedOp::Linear { .. } => LimbEffect::Linear,
        PackedOp::Chebyshev { coeffs, sine: true } => LimbEffect::Refresh(depth(*coeffs)),
        PackedOp::Chebyshev { coeffs, .. } => LimbEffect::Series(depth(*coeffs)),
    };
    let effects: Vec<LimbEffect> = g.iter().map(effect).collect();
    let args: Vec<Vec<usize>> = g.nodes.iter().map(|n| n.args.iter().map(|a| a.index()).collect()).collect();
    let outputs: Vec<usize> = g.outputs.iter().map(|o| o.index()).collect();
    let need = needed(&effects, &args, &outputs, sizes.output, REFRESH_BASE);
    let mut out = HeGraph::new(&g.name);
    out.consts = g.consts.clone();
    let mut map: Vec<ValueId> = vec![];
    for (v, n) in g.iter() {
        let args: Vec<ValueId> = n.args.iter().map(|a| map[a.index()]).collect();
        let types: Vec<HeType> = args.iter().map(|a| out.ty(*a).clone()).collect();
        let value = match &n.op {
            PackedOp::Input {} => {
                // Fresh values carry spare precision: weights of the first map get Δ bits.
                let scale = Scale::pow2(sizes.prime as i32);
                out.push(HeOp::Input {}, vec![], HeType { limbs: need[v.index()], scale, parts: 2, layout: n.ty.clone() }, &n.source)
            }
            PackedOp::Chebyshev { coeffs, sine } => {
                let (op, limbs, log_scale) = if *sine {
                    (HeOp::Refresh { coeffs: *coeffs }, need[v.index()], sizes.log_scale)
                } else {
                    (HeOp::Chebyshev { coeffs: *coeffs }, types[0].limbs - depth(*coeffs), sizes.prime as i32)
                };
                out.push(op, args, HeType { limbs, scale: Scale::pow2(log_scale), parts: 2, layout: n.ty.clone() }, &n.source)
            }
            PackedOp::Mul {} | PackedOp::Square {} => {
                // Not fewer, even if fewer are needed: the program's products work on the limbs of
                // their smaller operand.
                let limbs = types.iter().map(|t| t.limbs).min().unwrap_or(0);
                let mut dropped = vec![];
                for (a, t) in args.iter().zip(&types) {
                    let same = t.limbs == limbs;
                    dropped.push(if same { *a } else { out.push(HeOp::ModDrop {}, vec![*a], HeType { limbs, ..t.clone() }, &n.source) });
                }
                let scale = product_scale(&types[0], &types[types.len() - 1]);
                let op = if matches!(n.op, PackedOp::Mul {}) { HeOp::Mul {} } else { HeOp::Square {} };
                out.push(op, dropped, HeType { limbs, scale, parts: 3, layout: n.ty.clone() }, &n.source)
            }
            PackedOp::Linear { taps, table, bias } => {
                let limbs = types.iter().map(|t| t.limbs).min().unwrap_or(0);
                // Powers square their scale, so that of a series' argument must be that of the
                // primes; the parts of complex slots come at twice their scale.
                let argument = Scale::pow2(sizes.prime as i32 - i32::from(n.ty.complex.is_some()));
                let mut kept = match readers[v.index()] {
                    _ if passing[v.index()] => types[0].scale.clone(),
                    Some(Reader::Refresh) => Scale::pow2(sizes.refresh_log_scale),
                    Some(Reader::Series) => argument,
                    None => Scale::pow2(log_scales[v.index()]),
                };
                let rescale = effects[v.index()] == LimbEffect::Linear;
                let mut target = if rescale { kept.mul_prime(PrimeIndex(limbs as u32 - 1)) } else { kept.clone() };
                let mut scales: Vec<Scale> = types.iter().map(|t| &target / &t.scale).collect();
                let bits = |s: &Scale| s.log2_with(|PrimeIndex(i)| f64::from(if i == 0 { sizes.bottom } else { sizes.prime }));
                // Weights of one stay exact at a small scale, if the result takes the scale that
                // comes out.
                let mut whole = unit[v.index()] || passing[v.index()];
                if let ([s], [t], true) = (&scales[..], &types[..], rescale)
                    && bits(s) < MIN_WEIGHT_BITS
                    && has_unit_weights(g.consts.table(*table).map_err(|e| PassError::clear(PASS, &n.source, e))?)
                {
                    let ones = Scale::pow2(bits(s).round().max(0.0) as i32);
                    target = &t.scale * &ones;
                    kept = &target / &Scale::prime(PrimeIndex(limbs as u32 - 1));
                    (scales, whole) = (vec![ones], true);
                }
                if let Some(s) = scales.iter().find(|s| !whole && bits(s) < MIN_WEIGHT_BITS) {
                    let m = format!("weights would be rounded to multiples of 2^{:.0}; choose a smaller log-scale", -bits(s));
                    return Err(PassError::capacity(PASS, &n.source, m));
                }
                let op = HeOp::Linear { taps: taps.clone(), table: *table, bias: *bias, scales };
                let ty = HeType { limbs, scale: target, parts: 2, layout: n.ty.clone() };
                let lin = out.push(op, args, ty.clone(), &n.source);
                if rescale { out.push(HeOp::Rescale {}, vec![lin], HeType { limbs: limbs - 1, scale: kept, ..ty }, &n.source) } else { lin }
            }
        };
        map.push(value);
    }
    out.outputs = g.outputs.iter().map(|o| map[o.index()]).collect();
    Ok(out)
}
