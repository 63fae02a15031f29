//! `choose-layout`: ring degree, packing, tile and the layout of every value, by the cost model.
//!
//! The candidates are the [`Packing`]s of every ring degree that the depth allows, each with
//! several tiles (images that pass a layer together). The fastest that keeps the memory budget is
//! taken, or, if none does, the leanest.

use super::layouts::Layouts;
use super::packing::Packing;
use super::precision::answer_scale;
use super::price::{Bounds, Price, Pricer, Ring};
use crate::error::PassError;
use crate::he::select_params::shape_keys;
use crate::levels::LimbEffect;
use crate::options::{CompileOptions, PRICED_REFRESHES, ParameterFacts, PrimeSizes};
use crate::tensor::{levels, limb_effects};
use chiffre_backend::cost::CostModel;
use chiffre_ir::layout::Layout;
use chiffre_ir::tensor::TensorGraph;
use chiffre_params::work::MAX_DIGITS;

const PASS: &str = "choose-layout";
/// Memory that a plan should keep when the caller names no budget.
pub const DEFAULT_MEMORY: usize = 6 << 30;

/// Chooses ring degree and layouts for a graph of `input`, `linear_map`, `mul` and `square`.
pub fn choose_layout(g: &TensorGraph, opts: &CompileOptions, facts: &dyn ParameterFacts, cost: &CostModel) -> Result<Layouts, PassError> {
    if let Some(n) = opts.log_n.filter(|n| !(3..=17).contains(n)) {
        return Err(PassError::capacity(PASS, "", format!("a ring of degree 2^{n}: log-n must lie in 3..=17")));
    }
    let (limbs, sizes) = levels(g, 1, opts);
    let effects = limb_effects(g, 1);
    let refreshes = effects.iter().any(|s| matches!(s, LimbEffect::Refresh(_)));
    let budget = opts.memory.unwrap_or(DEFAULT_MEMORY);
    let mut pricer = Pricer::new(g, opts, cost)?;
    let mut best: Option<(Price, Layouts)> = None;
    let mut refusals = vec![];
    let (mut too_deep, mut deepest) = (false, 0);
    let range = if refreshes { 15..=16 } else { 10..=16 };
    for log_n in opts.log_n.map_or(range, |n| n..=n) {
        let room = match facts.max_log_qp(log_n) {
            _ if opts.allow_insecure => f64::INFINITY,
            Some(max) => max,
            None => continue,
        };
        // Bootstraps want a small ring: each needs the same levels, and a larger ring, if it is not
        // needed for more, only makes them dearer.
        if refreshes && best.is_some() {
            break;
        }
        let mut bootstrap = None;
        if refreshes {
            let Some(b) = facts.bootstrap(log_n, PRICED_REFRESHES, &opts.bootstrap) else {
                refusals.push(format!("2^{log_n} has no bootstrap"));
                continue;
            };
            bootstrap = Some(b);
        }
        let raise = |(s, l): (&LimbEffect, &usize)| match (s, &bootstrap) {
            (LimbEffect::Refresh(d), Some(b)) => b.raised(*l, *d),
            _ => 0,
        };
        let raised = effects.iter().zip(&limbs).map(raise).max().unwrap_or(0);
        let primes = limbs.iter().copied().max().unwrap_or(1).max(raised);
        let longest = longest_chain(room, &sizes);
        let (fits, short) = (primes <= longest, short_primes(&effects, primes, room, opts, &sizes));
        if !fits {
            (too_deep, deepest) = (true, primes);
            refusals.push(format!("2^{log_n} has room for {} levels within {room:.0} bits", longest.saturating_sub(1)));
            if short.is_empty() {
                continue;
            }
        }
        if opts.allow_insecure && opts.log_n.is_none() && log_n > 12 {
            break;
        }
        deepest = primes;
        let most = ((room - sizes.chain(primes)) / f64::from(sizes.special)).min(primes as f64) as usize;
        let bootstrap = bootstrap.map(|b| shape_keys(b, raised, most));
        let usual = fits.then_some(Ring { limbs: &limbs, most, bootstrap, sizes, short: false });
        let shorter = short.into_iter().map(|(sizes, most)| Ring { limbs: &limbs, most, bootstrap: None, sizes, short: true });
        let rings: Vec<Ring> = usual.into_iter().chain(shorter).collect();
        let packings = match Packing::candidates(g, log_n, opts.batch, &opts.packing) {
            Ok(p) => p,
            Err(e) => {
                refusals.push(format!("2^{log_n}: {e}"));
                continue;
            }
        };
        let mut seen: Vec<Vec<Layout>> = vec![];
        for packing in packings {
            opts.stop.check(PASS)?;
            let values = match packing.assign(g, opts.batch) {
                Ok(v) if seen.contains(&v) => continue,
                Ok(v) => v,
                Err(e) => {
                    refusals.push(format!("2^{log_n}: {e}"));
                    continue;
                }
            };
            // What cannot fit is given up early, once something fits, and so is what is slower.
            let none = Bounds { bytes: usize::MAX, seconds: f64::INFINITY };
            let best_fits = best.as_ref().filter(|(b, _)| b.bytes() <= budget);
            let bounds = best_fits.map_or(none, |(b, _)| Bounds { bytes: budget, seconds: worth(b, budget) });
            for price in rings.iter().flat_map(|ring| pricer.prices(&packing, &values, ring, bounds)).collect::<Vec<_>>() {
                tracing::debug!(?packing, seconds = price.seconds, mib = price.bytes() >> 20, tile = price.tile, "candidate");
                if best.as_ref().is_none_or(|(b, _)| better(&price, b, budget)) {
                    let Price { seconds, memory, tile, ref ways, sizes, precision } = price;
                    let layouts = Layouts {
                        log_n,
                        tile,
                        values: values.clone(),
                        ways: ways.clone(),
                        sizes,
                        precision,
                        answer_log_scale: None,
                        seconds,
                        memory,
                    };
                    best = Some((price, layouts));
                }
            }
            seen.push(values);
        }
    }
    refusals.dedup();
    if let Some((_, l)) = best.as_mut().filter(|(_, l)| !refreshes && l.precision.is_none() && opts.log_scale.is_none()) {
        l.answer_log_scale = Some(answer_scale(g, opts, &l.sizes).map_err(|e| PassError::clear(PASS, "", e))?);
    }
    best.map(|(_, l)| l).ok_or_else(|| {
        if !too_deep {
            return PassError::capacity(PASS, "", format!("no ring degree fits:\n  {}", refusals.join("\n  ")));
        }
        let node = deepest_node(g, facts, opts, &sizes);
        let without = if refreshes { "" } else { " without bootstrapping" };
        let m = format!("the network needs {} levels; no ring degree fits it{without}:\n  {}", deepest - 1, refusals.join("\n  "));
        PassError::capacity(PASS, &node, m)
    })
}

/// Shorter primes than usual for a chain of so many, with the special primes that fit beside them,
/// that a ring with `room` bits has and that allow other key shapes or make the ring possible at
/// all. Networks with series have primes as large as their scale.
fn short_primes(effects: &[LimbEffect], chain: usize, room: f64, opts: &CompileOptions, usual: &PrimeSizes) -> Vec<(PrimeSizes, usize)> {
    let series = effects.iter().any(|e| matches!(e, LimbEffect::Series(_) | LimbEffect::Refresh(_)));
    if opts.precision.is_none()
        || series
        || chain > MOST_PRIMES
        || opts.allow_insecure
        || opts.log_scale.is_some()
        || usual.bottom != usual.prime
    {
        return vec![];
    }
    let mut out: Vec<(PrimeSizes, usize)> = vec![];
    // From few special primes, which leave long ones, to keys with one digit.
    for special in chain.div_ceil(MAX_DIGITS)..=chain.min(MOST_SHORT) {
        let bits = ((room - special as f64) / (chain + special) as f64) as u32;
        if (SHORTEST_PRIME..usual.prime).contains(&bits) {
            out.push((PrimeSizes { bottom: bits, prime: bits, special: bits + 1, ..*usual }, special));
        }
    }
    out
}

/// Shortest primes that are tried, bits: shorter ones leave nothing between the noise and the
/// weights.
const SHORTEST_PRIME: u32 = 24;
/// Primes of a chain for which short ones are tried: errors add up over the layers, and every
/// length is a search of its own.
const MOST_PRIMES: usize = 8;
/// Special primes beside short ones that are tried at most.
const MOST_SHORT: usize = 6;

/// Number of primes whose chain, with a special prime for every [`MAX_DIGITS`] of them, has at most
/// `room` bits.
pub(crate) fn longest_chain(room: f64, sizes: &PrimeSizes) -> usize {
    let bits = |chain: usize| sizes.chain(chain) + chain.div_ceil(MAX_DIGITS) as f64 * f64::from(sizes.special);
    (1..=256).take_while(|&c| bits(c) <= room).last().unwrap_or(0)
}

/// The first node whose depth no longer fits the largest ring.
fn deepest_node(g: &TensorGraph, facts: &dyn ParameterFacts, opts: &CompileOptions, sizes: &PrimeSizes) -> String {
    let Some(room) = facts.max_log_qp(opts.log_n.unwrap_or(16)) else { return String::new() };
    let levels = longest_chain(room, sizes).saturating_sub(1);
    let effects = limb_effects(g, 1);
    let mut d = vec![0usize; g.nodes.len()];
    for (v, n) in g.iter() {
        d[v.index()] = n.args.iter().map(|a| d[a.index()]).max().unwrap_or(0) + effects[v.index()].takes();
        if d[v.index()] > levels {
            return n.source.clone();
        }
    }
    String::new()
}

/// The faster of two that keep the budget, where memory counts too; else the one that keeps it, or
/// the leaner.
fn better(a: &Price, b: &Price, budget: usize) -> bool {
    match (a.bytes() <= budget, b.bytes() <= budget) {
        (true, true) => worth(a, budget) < worth(b, budget),
        (false, false) => a.bytes() < b.bytes(),
        (fits, _) => fits,
    }
}

/// Seconds of a plan that keeps the budget, with a part of them for the memory that it takes.
fn worth(p: &Price, budget: usize) -> f64 {
    p.seconds * (1.0 + BUDGET_WORTH * p.bytes() as f64 / budget as f64)
}

/// Share of the time that saving the whole budget would be worth: of plans that take nearly as long
/// the leaner one is chosen.
const BUDGET_WORTH: f64 = 0.1;
