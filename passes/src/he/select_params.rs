//! `select-params`: the chain, the special primes, and for each op the gadget (key shape) it uses.
//!
//! Key switching at l limbs is cheapest with two digits, ⌈l/2⌉ special primes. Keys made for more limbs work for fewer, at the price of
//! too many special primes; ops are grouped into ranges of limbs so that this waste stays below a bound, which keeps the number of keys small.

use crate::error::PassError;
use crate::options::{CompileOptions, ParameterFacts};
use chiffre_ir::he::{HeGraph, HeOp};
use std::collections::BTreeMap;

const PASS: &str = "select-params";
/// Largest ratio of (limbs + special primes) to the best choice within a range of limbs that share keys.
pub const KEY_RANGE_WASTE: f64 = 1.15;

/// Concrete parameters for a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// log2 of the ring degree.
    pub log_n: usize,
    /// The chain, bottom first.
    pub q: Vec<u64>,
    /// Special primes.
    pub p: Vec<u64>,
    /// Limbs of an op → gadget `[limbs, special primes]`.
    pub gadgets: BTreeMap<usize, [usize; 2]>,
    /// Outside the security table.
    pub insecure: bool,
}

impl Params {
    /// log2 of the product of all primes.
    pub fn log_qp(&self) -> f64 {
        self.q.iter().chain(&self.p).map(|&p| (p as f64).log2()).sum()
    }
}

/// Chooses parameters for HE IR whose layouts have 2^(log_n − 1) slots.
pub fn select_params(g: &HeGraph, opts: &CompileOptions, facts: &dyn ParameterFacts) -> Result<Params, PassError> {
    let log_n = g.nodes.first().map_or(0, |n| n.ty.layout.slots.len() + 1);
    let chain = g.nodes.iter().map(|n| n.ty.limbs).max().unwrap_or(1);
    let room = facts.max_log_qp(log_n).unwrap_or(0.0);
    let (bits, special_bits) = (opts.prime_bits as f64, opts.special_bits as f64);
    let needed = chain as f64 * bits + special_bits;
    let insecure = room < needed;
    if insecure && !opts.allow_insecure {
        let m =
            format!("{chain} primes of {bits} bits and a special prime need {needed:.0} bits; 2^{log_n} has {room:.0} at 128-bit security");
        return Err(PassError::capacity(PASS, "", m));
    }
    let most = if insecure { usize::MAX } else { ((room - chain as f64 * bits) / special_bits) as usize };
    // Limbs at which an op switches keys.
    let mut used: Vec<usize> = vec![];
    for n in &g.nodes {
        match &n.op {
            HeOp::Linear { taps, .. } if taps.iter().any(|&t| t != 0) => used.push(n.ty.limbs),
            HeOp::Mul {} | HeOp::Square {} => used.push(n.ty.limbs),
            _ => {}
        }
    }
    let gadgets = key_ranges(&used, most);
    let special = gadgets.values().map(|g| g[1]).max().unwrap_or(0);
    let find = |bits: u32, count: usize, skip: &[u64]| {
        let none = || PassError::capacity(PASS, "", format!("there are not {count} primes of {bits} bits for 2^{log_n}"));
        facts.primes(bits, log_n, count, skip).ok_or_else(none)
    };
    let q = find(opts.prime_bits, chain, &[])?;
    let p = find(opts.special_bits, special, &q)?;
    Ok(Params { log_n, q, p, gadgets, insecure })
}

/// The number of special primes for which a key switch at `limbs` limbs is cheapest: two digits, unless fewer fit (`most`).
pub fn special_primes(limbs: usize, most: usize) -> usize {
    limbs.div_ceil(2).min(most)
}

/// Gadgets `[limbs, special primes]` for ops at the given numbers of limbs, with at most `most` special primes.
pub fn key_ranges(used: &[usize], most: usize) -> BTreeMap<usize, [usize; 2]> {
    let best = |l: usize| special_primes(l, most);
    let mut used = used.to_vec();
    used.sort_unstable_by(|a, b| b.cmp(a));
    used.dedup();
    let mut gadgets = BTreeMap::new();
    let mut current: Option<[usize; 2]> = None;
    for l in used {
        let fits = current.filter(|g| ((l + g[1]) as f64) <= KEY_RANGE_WASTE * (l + best(l)) as f64);
        let g = fits.unwrap_or([l, best(l)]);
        current = Some(g);
        gadgets.insert(l, g);
    }
    gadgets
}
