//! `select-params`: the chain, the special primes, and for each op the gadget (key shape) it uses.
//!
//! Key switching at l limbs is cheapest with two digits, ⌈l/2⌉ special primes. Keys made for more
//! limbs work for fewer, at the price of too many special primes; ops are grouped into ranges of
//! limbs so that this waste stays below a bound, which keeps the number of keys small. Keys with
//! one digit, as many special primes as limbs, are a third smaller: that is what ranges with many
//! keys have if so many primes fit.

use crate::error::PassError;
use crate::options::{CompileOptions, ParameterFacts, PrimeSizes};
pub use chiffre_backend::target::Params;
use chiffre_ir::graph::Node;
use chiffre_ir::he::{He, HeGraph, HeOp};
use chiffre_params::Gadget;
use chiffre_params::bootstrap::{BootstrapSpec, RAISE_SPECIALS};
use chiffre_params::polynomial::coefficients_depth;
use std::collections::{BTreeMap, BTreeSet};

const PASS: &str = "select-params";
/// Largest ratio of (limbs + special primes) to the best choice within a range of limbs that share
/// keys.
pub const KEY_RANGE_WASTE: f64 = 1.15;
/// Rotation keys of a range from which on they have one digit.
const MANY_KEYS: usize = 48;

/// Chooses parameters for HE IR whose layouts have 2^(log_n − 1) slots, with the sizes of primes
/// that layouts were chosen for, if they were.
pub fn select_params(
    g: &HeGraph,
    opts: &CompileOptions,
    facts: &dyn ParameterFacts,
    chosen: Option<PrimeSizes>,
) -> Result<Params, PassError> {
    let log_n = g.nodes.first().map_or(0, |n| n.ty.layout.slots.len() as u32 + 1);
    let usual = || PrimeSizes::of(opts, has(g, |o| matches!(o, HeOp::Chebyshev { .. })), has(g, |o| matches!(o, HeOp::Refresh { .. })));
    let sizes = chosen.unwrap_or_else(usual);
    let bootstrap = find_bootstrap(g, log_n, opts, facts)?;
    let raised = raised_limbs(g, bootstrap.as_ref());
    let chain = g.nodes.iter().map(|n| n.ty.limbs).max().unwrap_or(1).max(raised);
    let room = facts.max_log_qp(log_n).unwrap_or(0.0);
    let (log_q, special_bits) = (sizes.chain(chain), f64::from(sizes.special));
    let needed = log_q + special_bits;
    let insecure = room < needed;
    if insecure && !opts.allow_insecure {
        let m = format!("a chain of {chain} primes and a special prime need {needed:.0} bits; 2^{log_n} has {room:.0} at 128-bit security");
        return Err(PassError::Insecure { pass: PASS.into(), message: m });
    }
    let most = if insecure { usize::MAX } else { ((room - log_q) / special_bits) as usize };
    // Limbs at which an op switches keys.
    let mut used = Rotations::new();
    for n in &g.nodes {
        match &n.op {
            HeOp::Linear { taps, .. } if taps.iter().any(|&t| t != 0) => {
                used.entry(n.ty.limbs).or_default().extend(taps.iter().filter(|t| **t != 0));
            }
            HeOp::Mul {} | HeOp::Square {} => _ = used.entry(n.ty.limbs).or_default(),
            HeOp::Chebyshev { .. } => _ = used.entry(g.ty(n.args[0]).limbs).or_default(),
            _ => {}
        }
    }
    let bootstrap = bootstrap.map(|b| shape_keys(b, raised, most));
    let gadgets = key_ranges(&used, most);
    let of_bootstrap = bootstrap.iter().flat_map(|b| [b.low_alpha, b.alpha]);
    let special = gadgets.values().map(|g| g.alpha).chain(of_bootstrap).max().unwrap_or(0);
    let find = |bits: u32, count: usize, skip: &[u64]| {
        let none = || PassError::capacity(PASS, "", format!("there are not {count} primes of {bits} bits for 2^{log_n}"));
        facts.primes(bits, log_n, count, skip).ok_or_else(none)
    };
    let q = if sizes.bottom == sizes.prime {
        find(sizes.prime, chain, &[])?
    } else {
        let mut q = find(sizes.bottom, 1, &[])?;
        q.extend(find(sizes.prime, chain - 1, &q)?);
        q
    };
    let p = find(sizes.special, special, &q)?;
    Ok(Params { log_n, q, p, gadgets, insecure, bootstrap })
}

fn has(g: &HeGraph, f: impl Fn(&HeOp) -> bool) -> bool {
    g.nodes.iter().any(|n| f(&n.op))
}

/// The bootstrap for a graph's refreshes, if it has any.
fn find_bootstrap(g: &HeGraph, log_n: u32, opts: &CompileOptions, facts: &dyn ParameterFacts) -> Result<Option<BootstrapSpec>, PassError> {
    let refreshed = g.nodes.iter().filter(|n| matches!(n.op, HeOp::Refresh { .. }));
    let ciphertexts: usize = refreshed.map(|n| n.ty.layout.ct_count()).sum();
    if ciphertexts == 0 {
        return Ok(None);
    }
    let none = || {
        PassError::capacity(
            PASS,
            "",
            format!("there is no bootstrap for a ring of degree 2^{log_n} with an ephemeral secret of weight {}", opts.bootstrap.weight),
        )
    };
    facts.bootstrap(log_n, ciphertexts, &opts.bootstrap).ok_or_else(none).map(Some)
}

/// Limbs of the highest raised modulus.
fn raised_limbs(g: &HeGraph, b: Option<&BootstrapSpec>) -> usize {
    let raised = |n: &Node<He>| match (&n.op, b) {
        (HeOp::Refresh { coeffs }, Some(b)) => {
            b.raised(n.ty.limbs, coefficients_depth(g.consts.get(*coeffs).shape().get(1).copied().unwrap_or(1)))
        }
        _ => 0,
    };
    g.nodes.iter().map(raised).max().unwrap_or(0)
}

/// The bootstrap with key shapes, for one that raises to `raised` limbs, with at most `most`
/// special primes. Most key switches happen in the reduction, behind CoeffsToSlots: its keys have
/// two digits if that is possible, else as few as fit.
pub fn shape_keys(b: BootstrapSpec, raised: usize, most: usize) -> BootstrapSpec {
    let reduction = raised - (b.levels() - b.reduction_depth());
    let digits = reduction.div_ceil(most.clamp(1, reduction)).max(2);
    let low = special_primes(b.limbs_in(), most);
    b.with_keys(raised, reduction.div_ceil(digits).max(RAISE_SPECIALS), low)
}

/// The number of special primes for which a key switch at `limbs` limbs is cheapest: two digits,
/// unless fewer fit (`most`).
pub fn special_primes(limbs: usize, most: usize) -> usize {
    limbs.div_ceil(2).min(most)
}

/// Limbs at which ops switch keys → the rotations among these.
pub type Rotations = BTreeMap<usize, BTreeSet<i64>>;

/// Key shapes for ops that switch keys at some limbs, with at most `most` special primes.
pub fn key_ranges(used: &Rotations, most: usize) -> BTreeMap<usize, Gadget> {
    let best = |l: usize| special_primes(l, most);
    let mut ranges: Vec<(Gadget, Vec<usize>)> = vec![];
    for &l in used.keys().rev() {
        match ranges.last_mut() {
            Some((g, range)) if ((l + g.alpha) as f64) <= KEY_RANGE_WASTE * (l + best(l)) as f64 => range.push(l),
            _ => ranges.push((Gadget { limbs: l, alpha: best(l) }, vec![l])),
        }
    }
    for (gadget, range) in &mut ranges {
        let keys: BTreeSet<i64> = range.iter().flat_map(|l| used[l].iter().copied()).collect();
        if keys.len() >= MANY_KEYS && gadget.limbs <= most {
            gadget.alpha = gadget.limbs;
        }
    }
    ranges.into_iter().flat_map(|(gadget, range)| range.into_iter().map(move |l| (l, gadget))).collect()
}
