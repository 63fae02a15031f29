//! Placement of bootstraps: which activations are computed behind one, to which level each returns,
//! and how long the chain is.
//!
//! A decision fixes the limbs of every value, because limbs are counted from the readers
//! ([`crate::levels`]): an activation without a bootstrap asks its operand for as many limbs more
//! as its series is deep, one behind a bootstrap asks for the base, and raises to just what its
//! readers need. So, going through the network from its outputs, all that the past decisions mean
//! for the rest is the limbs that the *live* values must have, those that are read by something
//! already passed: in a residual network the main path's and the shortcut's. The placements of a
//! network are the paths of a graph over (position, needs of the live values), and the cheapest
//! placement is the shortest path; see [`search`].
//!
//! The cost of a step is the predicted time of its op, at the limbs it gets, on all ciphertexts of
//! the batch: so a bootstrap costs in proportion to the ciphertexts that are live there, and a
//! longer chain costs every op its limbs. An activation without a bootstrap costs its error too.

mod network;
pub mod search;

pub use network::{Network, Site, SiteOp};
pub use search::{Choice, Placement, always_to_the_top, best, greedy, price, search_graph};

use crate::error::{PassError, Setting};
use crate::he::select_params::shape_keys;
use crate::options::{ActivationPlan, CompileOptions, PRICED_REFRESHES, ParameterFacts, PrimeSizes, REFRESH_BASE};
use crate::pack::choose_layout::{DEFAULT_MEMORY, longest_chain};
use crate::tensor::levels;
use chiffre_backend::cost::CostModel;
use chiffre_ir::tensor::TensorGraph;
use chiffre_params::bootstrap::BootstrapSpec;
use chiffre_params::work::MAX_DIGITS;
use std::collections::BTreeMap;

/// A ring and a chain, as far as a placement's cost depends on them.
#[derive(Clone, Debug, PartialEq)]
pub struct RingChoice {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Limbs of the chain: no value may have more, nor a raised modulus.
    pub chain: usize,
    /// Special primes of keys behind a raise, and of levelled ops.
    pub special: usize,
    /// The bootstrap.
    pub bootstrap: BootstrapSpec,
}

/// The rings and chains that have room for a bootstrap whose result keeps at least the base,
/// shortest chain first. The keys of a bootstrap may take half of the memory.
pub fn rings(log_n: u32, opts: &CompileOptions, facts: &dyn ParameterFacts) -> Vec<RingChoice> {
    let budget = opts.memory.unwrap_or(DEFAULT_MEMORY);
    secure_rings(log_n, opts, facts).into_iter().filter(|r| r.bootstrap.key_bytes() <= budget / 2).collect()
}

/// The rings of [`rings`] whatever memory they take.
fn secure_rings(log_n: u32, opts: &CompileOptions, facts: &dyn ParameterFacts) -> Vec<RingChoice> {
    let sizes = PrimeSizes::of(opts, true, true);
    let Some(bootstrap) = facts.bootstrap(log_n, PRICED_REFRESHES, &opts.bootstrap) else { return vec![] };
    let room = if opts.allow_insecure { f64::INFINITY } else { facts.max_log_qp(log_n).unwrap_or(0.0) };
    let fits = |chain: usize| {
        let most = ((room - sizes.chain(chain)) / f64::from(sizes.special)).min(chain as f64);
        (most >= 1.0 && chain.div_ceil(most as usize) <= MAX_DIGITS).then_some(most as usize)
    };
    let one = |chain| {
        let most = fits(chain)?;
        let bootstrap = shape_keys(bootstrap.clone(), chain, most);
        let special = bootstrap.alpha;
        Some(RingChoice { log_n, chain, special, bootstrap })
    };
    (REFRESH_BASE + bootstrap.levels()..=64).filter_map(one).collect()
}

/// Plans for the activations of a composed network, given the degree of those behind a bootstrap. A
/// network that has room for all its levels in some ring is not bootstrapped.
///
/// # Errors
/// No ring has room for a bootstrap, or no placement reaches through the network.
pub fn plans(
    g: &TensorGraph,
    degree: usize,
    opts: &CompileOptions,
    facts: &dyn ParameterFacts,
    cost: &CostModel,
) -> Result<BTreeMap<String, ActivationPlan>, PassError> {
    let levelled = 2 * degree + 1;
    let activations = || g.nodes.iter().filter(|n| n.op.is_activation());
    if fits_without(g, levelled + 1, opts, facts) {
        return Ok(activations().map(|n| (n.source.clone(), ActivationPlan { refresh: false, degree: levelled })).collect());
    }
    // The keys of larger rings take more memory than they save time, unless there is plenty.
    let log_ns = opts.log_n.map_or(vec![15, 16], |n| vec![n]);
    let networks: Vec<Network> =
        log_ns.iter().map(|&log_n| Network::new(g, log_n, opts.batch, degree + 1, levelled + 1)).collect::<Result<_, _>>()?;
    let cheapest = |networks: Vec<Network>| {
        let mut found: Option<(Network, Placement)> = None;
        for (network, &log_n) in networks.into_iter().zip(&log_ns) {
            for ring in rings(log_n, opts, facts) {
                let Some(p) = best(&network, &ring, cost) else { continue };
                if found.as_ref().is_none_or(|(_, f)| p.seconds + p.price < f.seconds + f.price) {
                    found = Some((network.clone(), p));
                }
            }
        }
        found
    };
    // Errors are priced in shares of the time of the fastest placement.
    let fastest = cheapest(networks.clone());
    let found = fastest.and_then(|(_, p)| cheapest(networks.into_iter().map(|n| n.priced(p.seconds)).collect()));
    if found.is_none() && activations().next().is_none() {
        // Quadratic networks are refused by `choose-layout`, which knows the levels they lack.
        return Ok(BTreeMap::new());
    }
    let Some((network, p)) = found else {
        let source = activations().next().map_or("", |n| n.source.as_str());
        return Err(nothing_found(source, &log_ns, opts, facts));
    };
    tracing::info!(log_n = p.ring.log_n, chain = p.ring.chain, bootstraps = p.bootstraps, seconds = p.seconds, "placement");
    let plan = |(s, c): (&Site, &Choice)| match c {
        Choice::Plain => None,
        Choice::Levelled => Some((s.source.clone(), ActivationPlan { refresh: false, degree: levelled })),
        Choice::Refreshed(_) => Some((s.source.clone(), ActivationPlan { refresh: true, degree })),
    };
    Ok(network.sites.iter().zip(&p.choices).filter_map(plan).collect())
}

const PASS: &str = "place-bootstraps";

/// Why no placement was found, for the first activation.
fn nothing_found(source: &str, log_ns: &[u32], opts: &CompileOptions, facts: &dyn ParameterFacts) -> PassError {
    let affordable = log_ns.iter().any(|&n| !rings(n, opts, facts).is_empty());
    let keys = log_ns.iter().flat_map(|&n| secure_rings(n, opts, facts)).map(|r| r.bootstrap.key_bytes()).min();
    match keys.filter(|_| !affordable) {
        Some(keys) => {
            let mib = |bytes: usize| bytes.div_ceil(1 << 20);
            let m = format!("the network needs bootstraps, whose keys alone take {} MiB: give {} MiB or more", mib(keys), mib(2 * keys));
            PassError::setting(PASS, source, Setting::Memory, m)
        }
        None => {
            let m = "the network needs bootstraps, and no ring has room for one with its activation behind it";
            PassError::capacity(PASS, source, m.into())
        }
    }
}

/// True if some ring has room for all levels, with series of so many coefficients.
pub(crate) fn fits_without(g: &TensorGraph, coefficients: usize, opts: &CompileOptions, facts: &dyn ParameterFacts) -> bool {
    let (limbs, sizes) = levels(g, coefficients, opts);
    let primes = limbs.into_iter().max().unwrap_or(1);
    let room = |log_n| if opts.allow_insecure { f64::INFINITY } else { facts.max_log_qp(log_n).unwrap_or(0.0) };
    opts.log_n.map_or(10..=16, |n| n..=n).any(|log_n| primes <= longest_chain(room(log_n), &sizes))
}

/// The cheapest placement over all chains of the given rings, prices of errors included.
pub fn place(
    n: impl Fn(u32) -> Network,
    log_ns: &[u32],
    opts: &CompileOptions,
    facts: &dyn ParameterFacts,
    cost: &CostModel,
) -> Option<Placement> {
    let one = |log_n: &u32| {
        let network = n(*log_n);
        rings(*log_n, opts, facts).into_iter().filter_map(|ring| best(&network, &ring, cost)).collect::<Vec<_>>()
    };
    log_ns.iter().flat_map(one).min_by(|a, b| (a.seconds + a.price).total_cmp(&(b.seconds + b.price)))
}
