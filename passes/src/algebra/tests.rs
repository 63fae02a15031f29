//! Every rule is an identity and fires; saturation and extraction keep the meaning and are
//! deterministic.

use super::emit::emit;
use super::expr::{Expr, Term, build};
use super::measure::measure;
use super::per_channel::PerChannel;
use super::rules::{RULES, Rule};
use super::{Expression, Region, candidates, candidates_by, saturated};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{TensorGraph, TensorOp, TensorType, interp, verify};
use egg::{EGraph, Id, Language};
use proptest::prelude::*;
use std::collections::HashMap;

const CHANNELS: usize = 2;
const LEAVES: usize = 4;

/// Deterministic numbers in [-1, 1).
struct Rng(u64);
impl Rng {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    }
    fn below(&mut self, n: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * n as f64) as usize % n
    }
    /// A row without zeros: one number, or one for each channel; exact in f32.
    fn row(&mut self) -> PerChannel {
        let n = [1, CHANNELS][self.below(2)];
        let mut one = || f64::from((self.next() * 1.5) as f32);
        PerChannel::new(&(0..n).map(|_| one()).map(|x| if x.abs() < 0.1 { 0.5 } else { x }).collect::<Vec<_>>())
    }
    fn coeffs(&mut self, n: usize) -> Vec<PerChannel> {
        (0..n).map(|_| self.row()).collect()
    }
}

/// Terms whose leaves are numbers of leaves.
fn leaf(k: usize) -> Term {
    Term::Of(Id::from(k))
}
fn sum(rng: &mut Rng, terms: Vec<Term>) -> Term {
    Term::Sum(terms.into_iter().map(|t| (rng.row(), t)).collect(), rng.row())
}
fn square(t: Term) -> Term {
    Term::product(t.clone(), t)
}
fn zero() -> PerChannel {
    PerChannel::one(0.0)
}

/// A term on which the rule must fire.
fn sample(name: &str, rng: &mut Rng) -> Term {
    let poly = |coeffs: Vec<PerChannel>, x: Term| Term::Poly(coeffs, Box::new(x));
    match name {
        "flatten-sums" => {
            let inner = sum(rng, vec![leaf(0), leaf(1)]);
            sum(rng, vec![inner, leaf(1), leaf(2)])
        }
        "scale-out-of-product" => Term::product(Term::Sum(vec![(rng.row(), leaf(0))], zero()), leaf(1)),
        "regroup-product" => Term::product(Term::product(leaf(0), leaf(1)), leaf(2)),
        "factor-out-of-sum" => {
            let other = [leaf(0), Term::product(leaf(2), leaf(0))][rng.below(2)].clone();
            sum(rng, vec![Term::product(leaf(0), leaf(1)), other, leaf(3)])
        }
        "factor-quadratic-form" => {
            // a·x² + b·x·y − c·y²: real roots.
            let (a, b, c) = (rng.row().map(f64::abs), rng.row(), rng.row().map(|x| -x.abs()));
            Term::Sum(
                vec![(a, square(leaf(0))), (b, Term::product(leaf(0), leaf(1))), (c, square(leaf(1))), (rng.row(), leaf(2))],
                rng.row(),
            )
        }
        "expand-quadratic" => poly(rng.coeffs(3), leaf(0)),
        "even-in-square" => {
            poly(rng.coeffs(7).into_iter().enumerate().map(|(k, r)| if k % 2 == 1 { zero() } else { r }).collect(), leaf(0))
        }
        "centre-quartic" => {
            // c·((x + h)² + e)² + f, multiplied out; dyadic, so that f32 holds it.
            let [c, h, e, f] = [2.0, 0.25, -0.5, 1.5];
            let (b, d) = (2.0 * h, h * h + e);
            poly([c * d * d + f, 2.0 * c * b * d, c * (b * b + 2.0 * d), 2.0 * c * b, c].map(PerChannel::one).to_vec(), leaf(0))
        }
        "split-cubic" => poly(rng.coeffs(4), leaf(0)),
        "split-quartic" | "factor-quartic" => poly(rng.coeffs(5), leaf(0)),
        other => panic!("no sample for the rule {other}"),
    }
}

/// A region of one result, and the e-graph's leaves for the terms' numbers.
fn region(t: &Term) -> Region {
    let mut e = Expression::default();
    let mut seen: HashMap<Expr, Id> = HashMap::new();
    let mut add = |n: Expr| *seen.entry(n.clone()).or_insert_with(|| e.add(n));
    for k in 0..LEAVES as u32 {
        add(Expr::Leaf(k));
    }
    let root = build(t, &mut add);
    Region { expr: e, roots: vec![root], leaves: vec![1; LEAVES] }
}

/// The results of expressions on values of the leaves, by the interpreter.
fn values(parts: &[(&Expression, Id)], rng: &mut Rng) -> Vec<Vec<f32>> {
    let mut g = TensorGraph::new("t");
    let each = TensorType::new([CHANNELS, 1, 2]);
    let x = g.push(TensorOp::Input {}, vec![], TensorType::new([CHANNELS * LEAVES, 1, 2]), "x");
    let slice = |k: usize| TensorOp::Slice { start: [k * CHANNELS, 0, 0], count: [CHANNELS, 1, 2], step: [1; 3] };
    let leaves: Vec<ValueId> = (0..LEAVES).map(|k| g.push(slice(k), vec![x], each.clone(), "leaf")).collect();
    for (e, id) in parts {
        let v = emit(e, *id, &leaves, &mut g, "r", &mut HashMap::new());
        g.outputs.push(v);
    }
    let g = verify(g).unwrap_or_else(|e| panic!("{e}"));
    let images = 3;
    let pixels: Vec<f32> = (0..images * CHANNELS * LEAVES * 2).map(|_| 2.0 * rng.next() as f32).collect();
    interp(&g, &pixels, images).unwrap()
}

fn close(a: &[f32], b: &[f32], what: &str) {
    let size = a.iter().chain(b).fold(1.0f32, |m, x| m.max(x.abs()));
    assert!(a.iter().zip(b).all(|(x, y)| (x - y).abs() <= 1e-4 * size), "{what}: {a:?} against {b:?}");
}

/// Applies one rule to every node of an expression's e-graph and compares both sides each time; how
/// often it fired.
fn both_sides(r: &Rule, t: &Term, rng: &mut Rng) -> usize {
    let region = region(t);
    let mut g: EGraph<Expr, ()> = EGraph::default();
    let mut ids: Vec<Id> = vec![];
    for n in region.expr.as_ref() {
        let id = g.add(n.clone().map_children(|c| ids[usize::from(c)]));
        ids.push(id);
    }
    g.rebuild();
    let nodes: Vec<(Id, Expr)> = g.classes().flat_map(|c| c.nodes.iter().map(move |n| (c.id, n.clone()))).collect();
    let mut fired = 0;
    for (id, node) in nodes {
        for term in (r.apply)(&g, &node) {
            let mut h = g.clone();
            let new = build(&term, &mut |e| h.add(e));
            let (left, right) = (h.id_to_expr(id), h.id_to_expr(new));
            let v = values(&[(&left, Id::from(left.as_ref().len() - 1)), (&right, Id::from(right.as_ref().len() - 1))], rng);
            close(&v[0], &v[1], r.name);
            fired += 1;
        }
    }
    fired
}

/// A random expression, `depth` ops high at most.
fn random(rng: &mut Rng, depth: usize) -> Term {
    if depth == 0 || rng.below(6) == 0 {
        return leaf(rng.below(LEAVES - 1));
    }
    match rng.below(5) {
        0 => {
            let x = random(rng, depth - 1);
            Term::Poly(rng.coeffs(3), Box::new(x))
        }
        1 => square(random(rng, depth - 1)),
        2 => Term::product(random(rng, depth - 1), random(rng, depth - 1)),
        _ => {
            let terms = (0..1 + rng.below(3)).map(|_| random(rng, depth - 1)).collect();
            sum(rng, terms)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Both sides of every rule, where the rule must fire.
    #[test]
    fn every_rule_fires_and_is_an_identity(seed in any::<u64>()) {
        for r in RULES {
            let rng = &mut Rng(seed);
            let t = sample(r.name, rng);
            let fired = both_sides(r, &t, rng);
            // The size of roots and factors is bounded.
            prop_assert!(fired > 0 || ["factor-quartic", "factor-quadratic-form"].contains(&r.name), "{}", r.name);
        }
    }

    /// Both sides of every rule on expressions that were not made for it.
    #[test]
    fn rules_are_identities_on_random_expressions(seed in any::<u64>()) {
        let rng = &mut Rng(seed);
        let t = random(rng, 3);
        RULES.iter().for_each(|r| { both_sides(r, &t, rng); });
    }

    /// What extraction yields equals what went in, and costs less by its own measure.
    #[test]
    fn candidates_keep_the_meaning(seed in any::<u64>()) {
        let rng = &mut Rng(seed);
        let region = region(&random(rng, 3));
        let before = measure(&region.expr, &region.roots, &region.leaves);
        for c in candidates(&region, true) {
            prop_assert_eq!(&measure(&c.expr, &c.roots, &region.leaves), &c.measure);
            prop_assert!(!before.no_worse(&c.measure));
            let v = values(&[(&region.expr, region.roots[0]), (&c.expr, c.roots[0])], rng);
            close(&v[0], &v[1], "extraction");
        }
    }

    /// Twice the same, bit for bit.
    #[test]
    fn candidates_are_deterministic(seed in any::<u64>()) {
        let region = region(&random(&mut Rng(seed), 3));
        let text = |_| {
            let names = |c: &super::Candidate| c.rules.iter().flatten().map(|r| r.name).collect::<Vec<_>>();
            candidates(&region, true).iter().map(|c| format!("{:?} {:?} {:?} {:?}", c.expr, c.roots, c.measure, names(c))).collect::<Vec<_>>()
        };
        prop_assert_eq!(text(0), text(1));
    }
}

/// Rules that the samples may miss fire on these.
#[test]
fn bounded_rules_fire() {
    let one = |name: &str, t: Term| {
        let r = super::rule(name).unwrap();
        assert!(both_sides(r, &t, &mut Rng(1)) > 0, "{name}");
    };
    let coeffs = |c: &[f64]| c.iter().map(|x| PerChannel::one(*x)).collect::<Vec<_>>();
    one("factor-quartic", Term::Poly(coeffs(&[0.5, -1.0, 0.25, 0.5, 1.0]), Box::new(leaf(0))));
    let form = |a: f64, b: f64, c: f64| {
        let parts = [(a, square(leaf(0))), (b, Term::product(leaf(0), leaf(1))), (c, square(leaf(1)))];
        Term::Sum(parts.into_iter().map(|(r, t)| (PerChannel::one(r), t)).collect(), zero())
    };
    one("factor-quadratic-form", form(1.0, 0.0, -4.0));
    one("factor-quadratic-form", form(1.0, 2.0, 1.0));
}

/// Forms as they are written, with the least number of products, and the least level of the linear
/// map behind for leaves at level 1.
fn known_forms() -> Vec<(&'static str, Term, usize, usize)> {
    let coeffs = |c: &[f64]| c.iter().map(|x| PerChannel::one(*x)).collect::<Vec<_>>();
    let poly = |c: &[f64], x: Term| Term::Poly(coeffs(c), Box::new(x));
    let sum_of = |parts: Vec<(f64, Term)>| Term::Sum(parts.into_iter().map(|(r, t)| (PerChannel::one(r), t)).collect(), zero());
    let [x, y, z] = [leaf(0), leaf(1), leaf(2)];
    let xy = || Term::product(x.clone(), y.clone());
    let fields = sum_of(vec![(1.0, x.clone()), (1.0, y.clone())]);
    let squares = sum_of(vec![(1.0, square(x.clone())), (1.0, square(y.clone()))]);
    vec![
        ("x⁴", poly(&[0.0, 0.0, 0.0, 0.0, 1.0], x.clone()), 2, 3),
        ("x⁸", poly(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], x.clone()), 3, 4),
        ("cubic", poly(&[0.5, 1.0, 0.25, -0.5], x.clone()), 2, 3),
        ("quartic", poly(&[0.5, 1.0, 0.25, -0.5, 1.0], x.clone()), 2, 3),
        ("flat quartic", poly(&[0.5, 1.0, 0.25, -0.5, 1e-3], x.clone()), 2, 3),
        // 2·((x + 1/4)² − 1/2)² + 3/2
        ("quadratic of a quadratic", poly(&[1.882_812_5, -0.875, -1.25, 2.0, 2.0], x.clone()), 2, 3),
        ("x·y + x·z", sum_of(vec![(1.0, xy()), (1.0, Term::product(x.clone(), z.clone()))]), 1, 2),
        (
            "(2·x)·y + x·z",
            sum_of(vec![(1.0, Term::product(sum_of(vec![(2.0, x.clone())]), y.clone())), (1.0, Term::product(x.clone(), z.clone()))]),
            1,
            2,
        ),
        ("p(x) + x·y", sum_of(vec![(1.0, poly(&[0.5, 1.0, 0.25], x.clone())), (1.0, xy())]), 1, 2),
        ("x² − y²", sum_of(vec![(1.0, square(x.clone())), (-1.0, square(y.clone()))]), 1, 2),
        ("x² + x·y + y²", sum_of(vec![(1.0, squares.clone()), (1.0, xy())]), 2, 2),
        ("((x·y)·x)·y", Term::product(Term::product(xy(), x.clone()), y.clone()), 2, 3),
        ("(x + y)² − (x² + y²)", sum_of(vec![(1.0, square(fields)), (-1.0, squares)]), 1, 2),
    ]
}

#[test]
fn known_forms_come_out_best() {
    for (name, t, products, level) in known_forms() {
        let best = candidates(&region(&t), true).iter().map(|c| (c.measure.levels[0], c.measure.products)).min();
        assert_eq!(best, Some((level, products)), "{name}");
    }
}

/// Without any one of the rules, some form comes out worse.
#[test]
fn every_rule_earns_its_place() {
    let best = |without: &str, t: &Term| {
        let region = region(t);
        let all = candidates_by(&region, |r| r.name != without);
        let costs = all.into_iter().map(|c| c.measure).chain([measure(&region.expr, &region.roots, &region.leaves)]);
        costs.min().map(|m| (m.levels, m.products, m.maps))
    };
    let idle: Vec<&str> =
        RULES.iter().map(|r| r.name).filter(|r| known_forms().iter().all(|(_, t, ..)| best(r, t) <= best("", t))).collect();
    assert_eq!(idle, Vec::<&str>::new());
}

/// Limits hold: a large sum of products ends the search, and what is found is still equal.
#[test]
fn growth_is_limited() {
    let rng = &mut Rng(3);
    let mut t = leaf(0);
    for k in 0..24 {
        let more = Term::product(leaf(k % 3), leaf((k + 1) % 4));
        let both = sum(rng, vec![t, more]);
        t = Term::product(both, leaf(k % 4));
    }
    let region = region(&t);
    let (g, _) = saturated(&region, |_| true);
    assert!(g.total_number_of_nodes() <= super::MAX_NODES + 100, "{}", g.total_number_of_nodes());
}
