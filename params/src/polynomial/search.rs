//! The search for the cheapest tree of baby and giant steps.

use super::depth::series_depth;
use super::types::{Basis, MAX_DEGREE, Node, Parity, Part, Power};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

/// Costs in a unit far below one product; a relinearisation outweighs everything else, and what
/// happens later is a little cheaper because it has fewer limbs.
const RELINEARISATION: u64 = 1 << 40;
const RESCALE: u64 = 1 << 24;
const PRODUCT: u64 = 1 << 12;
/// Depths are below this.
const DEPTHS: u64 = 8;

/// Sets of at most so many basis elements besides powers of two are tried, by degree.
fn extra_elements(degree: usize) -> usize {
    match degree {
        0..=16 => 3,
        17..=32 => 2,
        33..=MAX_DEGREE => 1,
        _ => 0,
    }
}

fn relinearisation(depth: usize) -> u64 {
    RELINEARISATION + (DEPTHS - depth as u64) * (RESCALE << 4)
}

fn rescale(depth: usize) -> u64 {
    RESCALE + (DEPTHS - depth as u64) * (PRODUCT << 4)
}

fn least_depth(k: usize) -> usize {
    k.next_power_of_two().ilog2() as usize
}

/// Powers and nodes of a plan.
type Found = (Vec<Power>, Vec<Node>);

/// What has been found, by degree, parity and basis: cost models ask for the same few plans again
/// and again, and the search for one takes milliseconds.
static FOUND: [[[OnceLock<Found>; 2]; 3]; MAX_DEGREE + 1] = [const { [const { [const { OnceLock::new() }; 2] }; 3] }; MAX_DEGREE + 1];

/// Powers and nodes of the cheapest tree of least depth, for a degree up to [`MAX_DEGREE`].
pub(super) fn search(degree: usize, parity: Parity, basis: Basis) -> &'static Found {
    FOUND[degree][parity as usize][basis as usize].get_or_init(|| cheapest(degree, parity, basis, series_depth(degree)))
}

fn cheapest(degree: usize, parity: Parity, basis: Basis, depth: usize) -> Found {
    let others = (3..degree).filter(|k| !k.is_power_of_two() && (parity != Parity::Even || k.is_multiple_of(2)));
    let others: Vec<usize> = others.collect();
    let mut best: Option<(u64, Vec<Power>, Vec<Node>)> = None;
    let giants = (0..=degree.ilog2()).rev();
    let sets = giants.flat_map(|top| subsets(&others, extra_elements(degree)).into_iter().map(move |extra| (top, extra)));
    for (top, extra) in sets {
        let mut elements: BTreeSet<usize> = (0..=top).map(|i| 1 << i).collect();
        elements.extend(extra);
        if parity == Parity::Even {
            elements.retain(|k| k.is_multiple_of(2)); // a polynomial of B_2
        }
        let mut tree = Tree { elements, depth, memo: HashMap::new() };
        let mut nodes = Vec::new();
        let Some(cost) = tree.factor_cost(parity, degree, depth) else { continue };
        tree.build(parity, degree, depth, &mut nodes);
        let (power_cost, powers) = powers(basis, parity, &nodes);
        if best.as_ref().is_none_or(|(least, ..)| cost + power_cost < *least) {
            best = Some((cost + power_cost, powers, nodes));
        }
    }
    let (_, powers, nodes) = best.expect("powers of two alone suffice");
    (powers, nodes)
}

/// All subsets of at most `most` elements, the empty one first.
fn subsets(of: &[usize], most: usize) -> Vec<Vec<usize>> {
    let mut out = vec![Vec::new()];
    let mut last = out.clone();
    for _ in 0..most {
        let grow = |set: &Vec<usize>| {
            let from = set.last().copied().unwrap_or(0);
            of.iter().filter(move |&&k| k > from).map(|&k| [&set[..], &[k]].concat()).collect::<Vec<_>>()
        };
        last = last.iter().flat_map(grow).collect();
        out.extend(last.iter().cloned());
    }
    out
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    Nothing,
    Term(usize),
    Product(usize),
}

/// Trees over a set of basis elements.
struct Tree {
    elements: BTreeSet<usize>,
    /// Of the whole polynomial.
    depth: usize,
    /// By parity, degree and depth of the sum.
    memo: HashMap<(Parity, usize, usize), Option<(u64, Choice)>>,
}

impl Tree {
    fn usable(&self, k: usize, depth: usize) -> bool {
        self.elements.contains(&k) && least_depth(k) < depth
    }

    /// Whether a sum at `depth` needs no product.
    fn is_leaf(&self, parity: Parity, degree: usize, depth: usize) -> bool {
        (1..=degree).filter(|&k| parity.has(k)).all(|k| self.usable(k, depth))
    }

    /// The cost of a polynomial as a value at `depth`.
    fn factor_cost(&mut self, parity: Parity, degree: usize, depth: usize) -> Option<u64> {
        if depth == 0 {
            None
        } else if self.is_leaf(parity, degree, depth) {
            Some(rescale(depth))
        } else {
            Some(relinearisation(depth) + self.rest(parity, degree, depth)?.0)
        }
    }

    /// The cheapest way to write what is left of a sum at `depth`, of degree at most `degree`.
    fn rest(&mut self, parity: Parity, degree: usize, depth: usize) -> Option<(u64, Choice)> {
        let Some(degree) = parity.top(degree) else { return Some((0, Choice::Nothing)) };
        if let Some(known) = self.memo.get(&(parity, degree, depth)) {
            return *known;
        }
        let mut best: Option<(u64, Choice)> = None;
        let mut offer = |cost: u64, choice: Choice| {
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, choice));
            }
        };
        if self.usable(degree, depth)
            && let Some((cost, _)) = self.rest(parity, degree - 1, depth)
        {
            offer(cost, Choice::Term(degree));
        }
        let divisors: Vec<usize> = self.elements.iter().copied().filter(|&g| g < degree && least_depth(g) < depth).collect();
        for g in divisors {
            let quotient = parity.quotient(g);
            let Some(top) = quotient.top(degree - g) else { continue };
            let Some(factor) = self.factor_cost(quotient, top, depth - 1) else { continue };
            let Some((rest, _)) = self.rest(parity, g - 1, depth) else { continue };
            offer(PRODUCT + factor + rest, Choice::Product(g));
        }
        self.memo.insert((parity, degree, depth), best);
        best
    }

    /// Appends the nodes of a polynomial at `depth`, operands first, and returns the last one's
    /// number.
    fn build(&mut self, parity: Parity, degree: usize, depth: usize, nodes: &mut Vec<Node>) -> usize {
        debug_assert!(depth <= self.depth);
        let mut parts = Vec::new();
        if self.is_leaf(parity, degree, depth) {
            parts.extend((1..=degree).rev().filter(|&k| parity.has(k)).map(Part::Term));
        } else {
            let mut left = degree;
            while let Some((_, choice)) = self.rest(parity, left, depth) {
                let top = parity.top(left).unwrap_or(0);
                match choice {
                    Choice::Nothing => break,
                    Choice::Term(k) => {
                        parts.push(Part::Term(k));
                        left = k - 1;
                    }
                    Choice::Product(g) => {
                        let quotient = parity.quotient(g);
                        let factor = quotient.top(top - g).unwrap_or(0);
                        let node = self.build(quotient, factor, depth - 1, nodes);
                        parts.push(Part::Product { node, basis: g });
                        left = g - 1;
                    }
                }
            }
        }
        nodes.push(Node { degree, depth, parts });
        nodes.len() - 1
    }
}

/// The basis elements that nodes use and those from which they are formed, with their cost. Depths
/// are the greatest with which all uses are in time. For an even polynomial, `B_1` serves `B_2`
/// alone.
fn powers(basis: Basis, parity: Parity, nodes: &[Node]) -> (u64, Vec<Power>) {
    // latest[k]: the greatest depth that the uses of B_k allow
    let mut latest: BTreeMap<usize, usize> = BTreeMap::new();
    let mut use_at = |k: usize, depth: usize| {
        let at = latest.entry(k).or_insert(depth);
        *at = depth.min(*at);
    };
    for node in nodes {
        for part in &node.parts {
            let (Part::Term(k) | Part::Product { basis: k, .. }) = part;
            use_at(*k, node.depth - 1);
        }
    }
    let mut out = Vec::new();
    let mut cost = 0;
    while let Some((index, depth)) = latest.pop_last() {
        if index == 1 {
            continue;
        }
        let operands = |b: usize| {
            let difference = if basis == Basis::Chebyshev { index - 2 * b } else { 0 };
            [index - b, b, difference].into_iter().filter(|&k| k > 1).collect::<BTreeSet<_>>()
        };
        let even = |b: &usize| parity != Parity::Even || index == 2 || b.is_multiple_of(2);
        let fits = |b: &usize| even(b) && operands(*b).iter().all(|&k| least_depth(k) < depth);
        let new = |b: &usize| operands(*b).iter().filter(|k| !latest.contains_key(k)).count();
        let b = (1..=index / 2).rev().filter(fits).min_by_key(new).expect("halving fits");
        for k in operands(b) {
            let at = latest.entry(k).or_insert(depth - 1);
            *at = (*at).min(depth - 1);
        }
        cost += relinearisation(depth);
        out.push(Power { index, factors: [index - b, b], depth });
    }
    out.reverse();
    (cost, out)
}
