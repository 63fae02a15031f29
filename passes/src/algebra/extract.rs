//! The extractor: cheap expressions of e-classes, where what several readers share counts once.
//!
//! Extraction with sharing is NP-hard; regions are small, and this is a heuristic. Each class keeps
//! a few *solutions*: trees with the set of products and operands they need. Sets are united where
//! a node joins its children, so a shared square is paid once. For each class the solutions that
//! come early and those that cost little are kept; results are then chosen together, each within
//! its limit on levels.
//!
//! **Deterministic**: classes and nodes are visited in a fixed order, ties are broken by the order
//! of nodes, rounds are bounded.

use super::expr::{Expr, degree};
use super::measure::{LAYER, operand_maps, poly_levels, poly_products};
use egg::{EGraph, Id, Language, RecExpr};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Solutions that a class keeps of each kind: the earliest and the cheapest.
const KEPT: usize = 4;
/// Rounds over all classes.
const MAX_ROUNDS: usize = 16;
/// Sweeps over the results when they are chosen together.
const SWEEPS: usize = 3;

/// What a solution pays for, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    /// A product, or a polynomial with a linear map of its own.
    Product(Id),
    /// The linear map of a product's operand.
    Operand(Id),
    /// A summand of a result, beyond the first.
    Summand(Id, usize),
}

/// Products and maps of an item.
type Weight = (usize, usize);

/// A way to compute a class.
#[derive(Clone, Debug)]
struct Solution {
    level: usize,
    node: Expr,
    kids: Vec<Rc<Solution>>,
    items: BTreeMap<Item, Weight>,
    size: usize,
}

impl Solution {
    fn cost(&self) -> Weight {
        total(&self.items)
    }
    fn is_leaf(&self) -> bool {
        matches!(self.node, Expr::Leaf(_))
    }
    /// Maps as an operand of a product; children that are still open count as leaves.
    fn operand(&self) -> usize {
        operand_maps(&self.node, |i| self.kids.get(i).is_none_or(|k| k.is_leaf()))
    }
}

fn total(items: &BTreeMap<Item, Weight>) -> Weight {
    items.values().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
}

/// Solutions of all classes of an e-graph.
pub struct Extractor<'a> {
    graph: &'a EGraph<Expr, ()>,
    leaves: &'a [usize],
    best: HashMap<Id, Vec<Rc<Solution>>>,
}

impl<'a> Extractor<'a> {
    /// Searches solutions for all classes, given the level of each leaf.
    pub fn new(graph: &'a EGraph<Expr, ()>, leaves: &'a [usize]) -> Self {
        let mut x = Extractor { graph, leaves, best: HashMap::new() };
        for _ in 0..MAX_ROUNDS {
            let mut changed = false;
            for class in graph.classes() {
                let mut found: Vec<Rc<Solution>> = class.nodes.iter().flat_map(|n| x.solutions(class.id, n)).collect();
                found = kept(found);
                let old = x.best.get(&class.id);
                let key = |s: &Rc<Solution>| (s.level, s.cost(), s.size);
                if !old.is_some_and(|o| o.iter().map(key).eq(found.iter().map(key))) {
                    changed = true;
                    x.best.insert(class.id, found);
                }
            }
            if !changed {
                break;
            }
        }
        x
    }

    fn of(&self, id: Id) -> &[Rc<Solution>] {
        self.best.get(&self.graph.find(id)).map_or(&[], |v| v)
    }

    /// Solutions of a class through one of its nodes.
    fn solutions(&self, class: Id, node: &Expr) -> Vec<Rc<Solution>> {
        // Children one by one, the partial solutions cut down after each.
        let mut partial = vec![Solution { level: 0, node: node.clone(), kids: vec![], items: BTreeMap::new(), size: 1 }];
        let same = matches!(node, Expr::Mul([a, b]) if self.graph.find(*a) == self.graph.find(*b));
        for (i, child) in node.children().iter().enumerate() {
            let mut next = vec![];
            for p in &partial {
                for kid in self.of(*child) {
                    // Sums of sums are there in one piece, by `flatten-sums`.
                    let nested = matches!((node, &kid.node), (Expr::Sum { .. }, Expr::Sum { .. }));
                    if nested || same && i == 1 && !Rc::ptr_eq(kid, &p.kids[0]) {
                        continue;
                    }
                    let mut s = p.clone();
                    s.level = s.level.max(kid.level);
                    s.items.extend(kid.items.iter().map(|(k, w)| (*k, *w)));
                    s.size += kid.size;
                    if let Expr::Mul(_) = node {
                        s.items.insert(Item::Operand(self.graph.find(*child)), (0, kid.operand()));
                    }
                    s.kids.push(kid.clone());
                    next.push(Rc::new(s));
                }
            }
            partial = kept(next).into_iter().map(|s| (*s).clone()).collect();
        }
        for s in &mut partial {
            match node {
                Expr::Leaf(k) => s.level = self.leaves[*k as usize],
                Expr::Sum { .. } => {}
                Expr::Mul(_) => {
                    s.level += 1;
                    s.items.insert(Item::Product(class), (1, 0));
                }
                Expr::Poly { coeffs, .. } => {
                    let own = s.kids[0].operand();
                    s.level += poly_levels(degree(coeffs));
                    s.items.insert(Item::Product(class), (poly_products(degree(coeffs)), own));
                }
            }
        }
        partial.into_iter().map(Rc::new).collect()
    }

    /// The earliest level of each result.
    pub fn earliest(&self, roots: &[Id]) -> Vec<usize> {
        roots.iter().map(|r| self.of(*r).iter().map(|s| s.level).min().unwrap_or(usize::MAX)).collect()
    }

    /// An expression for all results, none of them later than its limit, with the nodes of the
    /// results.
    pub fn extract(&self, roots: &[Id], limits: &[usize]) -> Option<(RecExpr<Expr>, Vec<Id>)> {
        let choices: Vec<Vec<&Rc<Solution>>> =
            roots.iter().zip(limits).map(|(r, limit)| self.of(*r).iter().filter(|s| s.level <= *limit).collect()).collect();
        let mut chosen: Vec<&Rc<Solution>> = choices.iter().map(|c| c.iter().copied().min_by_key(|s| s.cost())).collect::<Option<_>>()?;
        let with_summands = |s: &Solution, id: Id| {
            let mut items = s.items.clone();
            if let Expr::Sum { args, .. } = &s.node {
                items.extend((1..args.len()).map(|i| (Item::Summand(self.graph.find(id), i), (0, LAYER))));
            }
            items
        };
        for _ in 0..SWEEPS {
            for i in 0..roots.len() {
                let others: BTreeMap<Item, Weight> =
                    (0..roots.len()).filter(|j| *j != i).flat_map(|j| with_summands(chosen[j], roots[j])).collect();
                let joint = |s: &&Rc<Solution>| {
                    let mut all = others.clone();
                    all.extend(with_summands(s, roots[i]));
                    (total(&all), s.level, s.size)
                };
                chosen[i] = choices[i].iter().copied().min_by_key(joint)?;
            }
        }
        let (mut e, mut seen) = (RecExpr::default(), HashMap::new());
        let ids = chosen.iter().map(|s| write(s, &mut e, &mut seen)).collect();
        Some((e, ids))
    }
}

/// The earliest and the cheapest solutions, without those that pay for the same things.
fn kept(mut all: Vec<Rc<Solution>>) -> Vec<Rc<Solution>> {
    let mut out: Vec<Rc<Solution>> = vec![];
    let mut take = |s: &Rc<Solution>| {
        let same = out.iter().any(|o| o.level <= s.level && o.items == s.items && o.operand() <= s.operand());
        if !same {
            out.push(s.clone());
        }
        !same
    };
    all.sort_by_key(|s| (s.level, s.cost(), s.size));
    let mut n = 0;
    for s in &all {
        n += usize::from(n < KEPT && take(s));
    }
    all.sort_by_key(|s| (s.cost(), s.level, s.size));
    let mut n = 0;
    for s in &all {
        n += usize::from(n < KEPT && take(s));
    }
    out.sort_by_key(|s| (s.level, s.cost(), s.size));
    out
}

fn write(s: &Solution, e: &mut RecExpr<Expr>, seen: &mut HashMap<Expr, Id>) -> Id {
    let mut kids = s.kids.iter().map(|k| write(k, e, seen)).collect::<Vec<_>>().into_iter();
    let node = s.node.clone().map_children(|id| kids.next().unwrap_or(id));
    if let Some(id) = seen.get(&node) {
        return *id;
    }
    let id = e.add(node.clone());
    seen.insert(node, id);
    id
}
