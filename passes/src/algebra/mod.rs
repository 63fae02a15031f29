//! Equality saturation over elementwise expressions, with `egg`. The only place that names it.
//!
//! `minimise-products` hands over a region of a network as one expression with several results.
//! Here all ways to write it that the rules of [`rules`] reach are kept side by side in an e-graph;
//! [`extract`] picks those that cost least by [`mod@measure`].
//!
//! **Deterministic**: rules run in the order of their table over classes in the order of their
//! making; limits are counts of rounds and nodes, never time.

pub mod emit;
pub mod expr;
pub mod extract;
pub mod measure;
pub mod per_channel;
pub mod rules;
#[cfg(test)]
mod tests;

use egg::{EGraph, Id, Language, RecExpr};
use expr::{Expr, Term, build};
use extract::Extractor;
use measure::{Measure, measure};
use rules::{RULES, Rule, rule};

/// Rounds of rules; a round tries every rule on every node.
const MAX_ROUNDS: usize = 6;
/// The e-graph grows no further from here.
const MAX_NODES: usize = 400;
/// Levels beyond the least that a cheaper expression may take, if the network has room for them.
const SLACK: usize = 2;

/// An expression with sharing: nodes whose children come before them.
pub type Expression = RecExpr<Expr>;
/// A node of an expression.
pub type NodeId = Id;

/// A region as one expression.
#[derive(Clone, Debug)]
pub struct Region {
    /// The expression.
    pub expr: RecExpr<Expr>,
    /// Its results.
    pub roots: Vec<Id>,
    /// The level of each leaf.
    pub leaves: Vec<usize>,
}

/// Another way to compute a region's results.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The expression.
    pub expr: RecExpr<Expr>,
    /// The results, in the order of the region's.
    pub roots: Vec<Id>,
    /// What it costs.
    pub measure: Measure,
    /// For each result, the rules that lead to it from what was written, in order.
    pub rules: Vec<Vec<&'static Rule>>,
}

/// Ways to compute a region that are better than the given one in some respect, earliest results
/// first. With `polynomials` rules may take polynomials of one value apart.
pub fn candidates(region: &Region, polynomials: bool) -> Vec<Candidate> {
    candidates_by(region, |r| polynomials || !r.polynomial)
}

/// As [`candidates`], by some of the rules.
fn candidates_by(region: &Region, wanted: impl Fn(&Rule) -> bool) -> Vec<Candidate> {
    let (mut graph, roots) = saturated(region, wanted);
    let before = measure(&region.expr, &region.roots, &region.leaves);
    let mut found: Vec<(RecExpr<Expr>, Vec<Id>, Measure)> = vec![];
    {
        let x = Extractor::new(&graph, &region.leaves);
        let earliest = x.earliest(&roots);
        for slack in 0..=SLACK {
            let limits: Vec<usize> = earliest.iter().map(|l| l.saturating_add(slack)).collect();
            let Some((expr, roots)) = x.extract(&roots, &limits) else { continue };
            let m = measure(&expr, &roots, &region.leaves);
            if !before.no_worse(&m) && !found.iter().any(|(_, _, f)| f.no_worse(&m)) {
                found.push((expr, roots, m));
            }
        }
    }
    let explain = |(expr, new, measure): (RecExpr<Expr>, Vec<Id>, Measure)| {
        let each = region.roots.iter().zip(&new);
        let rules = each.map(|(old, new)| proof(&mut graph, &tree(&region.expr, *old), &tree(&expr, *new))).collect();
        Candidate { expr, roots: new, measure, rules }
    };
    found.into_iter().map(explain).collect()
}

/// The e-graph of a region after the rules, and the classes of its results.
fn saturated(region: &Region, wanted: impl Fn(&Rule) -> bool) -> (EGraph<Expr, ()>, Vec<Id>) {
    let mut g: EGraph<Expr, ()> = EGraph::default().with_explanations_enabled();
    let mut ids: Vec<Id> = vec![];
    for n in region.expr.as_ref() {
        let id = g.add(n.clone().map_children(|c| ids[usize::from(c)]));
        ids.push(id);
    }
    g.rebuild();
    for _ in 0..MAX_ROUNDS {
        if !round(&mut g, &wanted) {
            break;
        }
    }
    let roots = region.roots.iter().map(|r| g.find(ids[usize::from(*r)])).collect();
    (g, roots)
}

/// Tries some rules on every node; true if the e-graph has changed and may grow further.
fn round(g: &mut EGraph<Expr, ()>, wanted: impl Fn(&Rule) -> bool) -> bool {
    let mut matches: Vec<(&Rule, Expr, Term)> = vec![];
    for r in RULES.iter().filter(|r| wanted(r)) {
        for n in g.classes().flat_map(|c| &c.nodes) {
            matches.extend((r.apply)(g, n).into_iter().map(|t| (r, n.clone(), t)));
        }
    }
    let before = (g.total_number_of_nodes(), g.number_of_classes());
    for (r, node, term) in matches {
        if g.total_number_of_nodes() > MAX_NODES {
            g.rebuild();
            return false;
        }
        let old = g.add(node);
        let new = build(&term, &mut |e| g.add(e));
        g.union_trusted(old, new, r.name);
    }
    g.rebuild();
    (g.total_number_of_nodes(), g.number_of_classes()) != before
}

/// The part of an expression that a node needs, with that node last.
fn tree(e: &RecExpr<Expr>, root: Id) -> RecExpr<Expr> {
    e[root].build_recexpr(|id| e[id].clone())
}

/// Rules on the way between two expressions of one class, each named once.
fn proof(g: &mut EGraph<Expr, ()>, from: &RecExpr<Expr>, to: &RecExpr<Expr>) -> Vec<&'static Rule> {
    let mut explanation = g.explain_equivalence(from, to);
    let mut out: Vec<&'static Rule> = vec![];
    let mut note = |t: &egg::FlatTerm<Expr>| {
        visit(t, &mut |name| {
            if let Some(r) = rule(name).filter(|r| !out.iter().any(|o| o.name == r.name)) {
                out.push(r);
            }
        })
    };
    explanation.make_flat_explanation().iter().for_each(&mut note);
    out
}

fn visit(t: &egg::FlatTerm<Expr>, f: &mut impl FnMut(&str)) {
    for r in [t.forward_rule, t.backward_rule].into_iter().flatten() {
        f(r.as_str());
    }
    t.children.iter().for_each(|c| visit(c, f));
}
