//! The cheapest placement as a shortest path.
//!
//! Vertices are (next value to decide, limbs that the live values must have); an edge is a decision
//! for that value, weighted with the predicted time of its op and the price of its error. Values
//! are decided from last to first, so that all readers of a value are decided before it.

use super::{Network, RingChoice, SiteOp};
use crate::he::select_params::special_primes;
use crate::options::REFRESH_BASE;
use chiffre_backend::cost::{CostModel, Counts, LinearShape, ProductShape, SeriesShape};
use chiffre_params::polynomial::coefficients_depth;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::HashMap;

/// What is decided for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing to decide.
    Plain,
    /// An activation without a bootstrap.
    Levelled,
    /// An activation behind a bootstrap, which leaves so many limbs.
    Refreshed(usize),
}

/// A placement and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The ring and chain.
    pub ring: RingChoice,
    /// The decision for each value.
    pub choices: Vec<Choice>,
    /// Limbs of each value.
    pub limbs: Vec<usize>,
    /// Predicted time, seconds.
    pub seconds: f64,
    /// Prices of the errors of activations without a bootstrap, seconds.
    pub price: f64,
    /// Ciphertexts that are bootstrapped.
    pub bootstraps: f64,
}

/// Limbs that a live value must have, and whether a bootstrap reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Need {
    value: usize,
    limbs: usize,
    refreshed: bool,
}

/// A vertex: the next value to decide is `next − 1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Vertex {
    next: usize,
    live: Vec<Need>,
}

impl Vertex {
    fn require(&mut self, need: Need) {
        match self.live.iter_mut().find(|n| n.value == need.value) {
            Some(n) => *n = Need { value: n.value, limbs: n.limbs.max(need.limbs), refreshed: n.refreshed || need.refreshed },
            None => self.live.push(need),
        }
        self.live.sort_unstable();
    }
}

/// Outcome of a decision: limbs of the value, where the path goes on, seconds, and bootstrapped
/// ciphertexts.
struct Edge {
    choice: Choice,
    limbs: usize,
    to: Vertex,
    seconds: f64,
    price: f64,
}

struct Space<'a> {
    network: &'a Network,
    ring: &'a RingChoice,
    cost: &'a CostModel,
}

impl Space<'_> {
    fn start(&self) -> Vertex {
        let mut v = Vertex { next: self.network.sites.len(), live: vec![] };
        for &o in &self.network.outputs {
            v.require(Need { value: o, limbs: 2, refreshed: false });
        }
        v
    }
    fn time(&self, c: Counts) -> f64 {
        self.cost.time(c, self.ring.log_n)
    }
    /// The edge for a decision, unless the chain is too short for it.
    fn edge(&self, from: &Vertex, choice: Choice) -> Option<Edge> {
        let v = from.next - 1;
        let site = &self.network.sites[v];
        let mut to = Vertex { next: v, live: from.live.iter().filter(|l| l.value != v).copied().collect() };
        let own = from.live.iter().find(|l| l.value == v).copied().unwrap_or(Need { value: v, limbs: 1, refreshed: false });
        let (limbs, wants, refreshed, counts) = match (&site.op, choice) {
            (SiteOp::Input, _) => (own.limbs, 0, false, Counts::default()),
            (SiteOp::Linear(shape, runs), _) => {
                let takes = usize::from(!own.refreshed);
                let wants = own.limbs + takes;
                let alpha = if shape.rotated > 0 { special_primes(wants, self.ring.special) } else { 0 };
                let s = LinearShape { limbs: wants, drop: takes, alpha, ..*shape };
                (own.limbs, wants, false, s.counts(1, 1) * *runs)
            }
            (SiteOp::Product, _) => {
                // With bootstraps a product takes a limb of its own.
                let wants = own.limbs + 1;
                let s = ProductShape { cts: 1, limbs: wants, alpha: special_primes(wants, self.ring.special), complex: true };
                (own.limbs, wants, false, s.counts() * site.cts)
            }
            (SiteOp::Activation { refreshed, .. }, Choice::Refreshed(limbs)) => {
                let behind = limbs + coefficients_depth(*refreshed);
                if limbs < own.limbs || behind + self.ring.bootstrap.levels() > self.ring.chain {
                    return None;
                }
                let bootstrap = Some(Box::new(self.ring.bootstrap.clone()));
                let s = SeriesShape {
                    cts: 1,
                    limbs: behind,
                    coefficients: *refreshed,
                    alpha: self.ring.special,
                    complex: true,
                    slotwise: false,
                    bootstrap,
                };
                (limbs, REFRESH_BASE, true, s.counts() * site.cts)
            }
            (SiteOp::Activation { levelled, .. }, _) => {
                let levelled = &(*levelled)?;
                let wants = own.limbs + coefficients_depth(*levelled);
                let alpha = special_primes(wants, self.ring.special);
                let s =
                    SeriesShape { cts: 1, limbs: wants, coefficients: *levelled, alpha, complex: true, slotwise: false, bootstrap: None };
                (own.limbs, wants, false, s.counts() * site.cts)
            }
        };
        if limbs.max(wants) > self.ring.chain {
            return None;
        }
        for &a in &site.args {
            to.require(Need { value: a, limbs: wants.max(1), refreshed });
        }
        let price = if choice == Choice::Levelled { site.price } else { 0.0 };
        Some(Edge { choice, limbs, to, seconds: self.time(counts), price })
    }
    /// All edges from a vertex.
    fn edges(&self, from: &Vertex) -> Vec<Edge> {
        let v = from.next - 1;
        let own = from.live.iter().find(|l| l.value == v).map_or(1, |l| l.limbs);
        let choices = match self.network.sites[v].op {
            SiteOp::Activation { .. } => vec![Choice::Levelled, Choice::Refreshed(own)],
            _ => vec![Choice::Plain],
        };
        choices.into_iter().filter_map(|c| self.edge(from, c)).collect()
    }
}

/// The graph of all placements of a network on a ring: vertices in words, edges with their decision
/// and seconds, prices included. The last vertex of a path has no value left to decide.
#[derive(Debug)]
pub struct SearchGraph {
    /// The graph.
    pub graph: DiGraph<String, (Choice, f64)>,
    /// Where paths start: at the outputs.
    pub start: NodeIndex,
    vertices: Vec<Vertex>,
}

/// Vertices beyond which no shortest path is looked for: with many live values, as dense blocks
/// have, their needs are too many to be told apart.
const MOST_VERTICES: usize = 1 << 16;

/// Builds the graph of all placements.
pub fn search_graph(network: &Network, ring: &RingChoice, cost: &CostModel) -> SearchGraph {
    bounded_graph(network, ring, cost, usize::MAX).unwrap_or_else(|| unreachable!("there is no bound"))
}

/// The graph of all placements, unless it has more vertices than `most`.
fn bounded_graph(network: &Network, ring: &RingChoice, cost: &CostModel, most: usize) -> Option<SearchGraph> {
    let space = Space { network, ring, cost };
    let mut graph = DiGraph::new();
    let (mut index, mut vertices) = (HashMap::new(), vec![]);
    let mut add = |v: &Vertex, graph: &mut DiGraph<String, (Choice, f64)>| -> (NodeIndex, bool) {
        if let Some(i) = index.get(v) {
            return (*i, false);
        }
        let live: Vec<String> = v.live.iter().map(|n| format!("%{}≥{}", n.value, n.limbs)).collect();
        let i = graph.add_node(format!("{}: {}", v.next, live.join(" ")));
        index.insert(v.clone(), i);
        vertices.push(v.clone());
        (i, true)
    };
    let first = space.start();
    let (start, _) = add(&first, &mut graph);
    let mut open = vec![(start, first)];
    while let Some((at, v)) = open.pop() {
        if graph.node_count() > most {
            return None;
        }
        if v.next == 0 {
            continue;
        }
        for e in space.edges(&v) {
            let (to, new) = add(&e.to, &mut graph);
            graph.add_edge(at, to, (e.choice, e.seconds + e.price));
            if new {
                open.push((to, e.to));
            }
        }
    }
    Some(SearchGraph { graph, start, vertices })
}

/// The cheapest placement on a ring, if there is one; of networks with too many placements that of
/// [`greedy`].
pub fn best(network: &Network, ring: &RingChoice, cost: &CostModel) -> Option<Placement> {
    let Some(all) = bounded_graph(network, ring, cost, MOST_VERTICES) else {
        return greedy(network, ring, cost);
    };
    let done = |i: NodeIndex| all.vertices[i.index()].next == 0;
    let (_, path) = petgraph::algo::astar(&all.graph, all.start, done, |e| e.weight().1, |_| 0.0)?;
    let mut choices = vec![Choice::Plain; network.sites.len()];
    for pair in path.windows(2) {
        // Of two equal decisions either will do.
        let cheapest = all.graph.edges_connecting(pair[0], pair[1]).min_by(|a, b| a.weight().1.total_cmp(&b.weight().1))?;
        choices[all.vertices[pair[0].index()].next - 1] = cheapest.weight().0;
    }
    price(network, ring, cost, &choices)
}

/// A given placement with its price, if the chain is long enough for it. [`Choice::Refreshed`] may
/// leave more limbs than are needed.
pub fn price(network: &Network, ring: &RingChoice, cost: &CostModel, choices: &[Choice]) -> Option<Placement> {
    let space = Space { network, ring, cost };
    let mut at = space.start();
    let mut out = Placement {
        ring: ring.clone(),
        choices: choices.to_vec(),
        limbs: vec![0; choices.len()],
        seconds: 0.0,
        price: 0.0,
        bootstraps: 0.0,
    };
    while at.next > 0 {
        let v = at.next - 1;
        let e = space.edge(&at, choices[v])?;
        (out.limbs[v], out.seconds, out.price) = (e.limbs, out.seconds + e.seconds, out.price + e.price);
        if let Choice::Refreshed(_) = e.choice {
            out.bootstraps += network.sites[v].cts;
        }
        at = e.to;
    }
    Some(out)
}

/// Limbs that a bootstrap can leave at most.
fn top(network: &Network, ring: &RingChoice) -> usize {
    let depth =
        network.sites.iter().map(|s| if let SiteOp::Activation { refreshed, .. } = s.op { coefficients_depth(refreshed) } else { 0 });
    ring.chain.saturating_sub(ring.bootstrap.levels() + depth.max().unwrap_or(0))
}

/// "Bootstrap when out of levels": from the inputs on, with a full chain, an activation is
/// bootstrapped when what is left does not reach through it to the next one's bootstrap; each
/// bootstrap returns to what the readers need.
pub fn greedy(network: &Network, ring: &RingChoice, cost: &CostModel) -> Option<Placement> {
    let full = top(network, ring);
    let mut left: Vec<usize> = vec![];
    let mut choices = vec![];
    for s in &network.sites {
        let least = s.args.iter().map(|&a| left[a]).min().unwrap_or(ring.chain);
        let (choice, limbs) = match &s.op {
            SiteOp::Linear(..) | SiteOp::Product => (Choice::Plain, least.saturating_sub(1)),
            SiteOp::Activation { levelled: Some(levelled), .. } if least > coefficients_depth(*levelled) + REFRESH_BASE => {
                (Choice::Levelled, least - coefficients_depth(*levelled))
            }
            SiteOp::Activation { .. } => (Choice::Refreshed(0), full),
            _ => (Choice::Plain, least),
        };
        choices.push(choice);
        left.push(limbs);
    }
    to_what_is_needed(network, ring, cost, &mut choices)
}

/// As [`greedy`], but each bootstrap returns to the top of the chain.
pub fn always_to_the_top(network: &Network, ring: &RingChoice, cost: &CostModel) -> Option<Placement> {
    let full = top(network, ring);
    let mut choices = greedy(network, ring, cost)?.choices;
    for c in &mut choices {
        if let Choice::Refreshed(limbs) = c {
            *limbs = full;
        }
    }
    price(network, ring, cost, &choices)
}

/// Lets every bootstrap return to what its readers need.
fn to_what_is_needed(network: &Network, ring: &RingChoice, cost: &CostModel, choices: &mut [Choice]) -> Option<Placement> {
    let space = Space { network, ring, cost };
    let mut at = space.start();
    while at.next > 0 {
        let v = at.next - 1;
        if let Choice::Refreshed(limbs) = &mut choices[v] {
            *limbs = at.live.iter().find(|l| l.value == v).map_or(1, |l| l.limbs);
        }
        at = space.edge(&at, choices[v])?.to;
    }
    price(network, ring, cost, choices)
}
