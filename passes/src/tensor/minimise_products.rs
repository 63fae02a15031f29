//! `minimise-products`: elementwise arithmetic in the fewest levels, and in these with the fewest
//! products of ciphertexts.
//!
//! A *region* is a set of add, sub, mul, square, poly and affine nodes that are connected, by an
//! operand or by reading the same value, and such that no value which it reads depends on it.
//! Regions with at least two products or a polynomial of degree 3 or more go through equality
//! saturation ([`crate::algebra`]). What comes back takes the place of the region if the composed
//! network has fewer levels with it, or as many levels and the region fewer products, or as many
//! products and fewer linear maps; a network never gets deeper. All other regions, and so most
//! networks, stay as they are.
//!
//! Polynomials of degree 3 and 4 that stay polynomials become Chebyshev series, which need
//! calibration data and can go behind a bootstrap. So they are taken apart only in networks that
//! have no other activations and no plans for single ones, and only if the result fits a ring
//! without bootstraps.

use super::compose_linear::compose_linear;
use crate::algebra::emit::emit;
use crate::algebra::expr::{Expr, Term, build, show};
use crate::algebra::measure::{Measure, measure, poly_levels};
use crate::algebra::per_channel::PerChannel;
use crate::algebra::{Candidate, Expression, NodeId, Region, candidates};
use crate::options::CompileOptions;
use chiffre_ir::consts::ConstId;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{TensorGraph, TensorOp};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Levels that an activation is taken to need, where only the difference between values that meet
/// matters.
const ACTIVATION_LEVELS: usize = 5;

/// A region that was rewritten, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// For each result: ONNX node, what was computed, what is computed now, and the rules in order,
    /// with formula and reason.
    pub results: Vec<ExplainedResult>,
    /// What the region cost as it was written.
    pub before: RegionCost,
    /// What it costs now.
    pub after: RegionCost,
}

/// What a region costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionCost {
    /// Products of ciphertexts.
    pub products: usize,
    /// Linear maps, in units of one with a single weight per channel.
    pub maps: usize,
    /// Level of the latest result: of the linear map that reads it, counted from the inputs.
    pub level: usize,
}

impl From<&Measure> for RegionCost {
    fn from(m: &Measure) -> Self {
        Self { products: m.products, maps: m.maps, level: m.levels.iter().copied().max().unwrap_or(0) }
    }
}

/// One result of a rewritten region.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedResult {
    /// ONNX node.
    pub source: String,
    /// The expression that was written.
    pub before: String,
    /// The expression that takes its place.
    pub after: String,
    /// Name, formula and reason of each rule.
    pub rules: Vec<[&'static str; 3]>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (was, now) = (self.before, self.after);
        writeln!(
            f,
            "minimise-products: results at level {} → {}, products {} → {}, linear maps {} → {}",
            was.level, now.level, was.products, now.products, was.maps, now.maps
        )?;
        for r in &self.results {
            writeln!(f, "  \"{}\"\n    was  {}\n    now  {}", r.source, r.before, r.after)?;
            for [name, formula, why] in &r.rules {
                writeln!(f, "    by   {name}: {formula}\n         because {why}")?;
            }
        }
        Ok(())
    }
}

/// A region with what takes its place.
type Choice = (Found, Candidate);

/// A region of a graph.
#[derive(Clone)]
struct Found {
    /// Values of the region's leaves.
    leaves: Vec<ValueId>,
    /// Values that others read.
    roots: Vec<ValueId>,
    region: Region,
}

/// Rewrites all regions that gain; `fits` says whether a composed network fits a ring without
/// bootstraps.
pub fn minimise_products(g: &TensorGraph, o: &CompileOptions, fits: impl Fn(&TensorGraph) -> bool) -> (TensorGraph, Vec<Explained>) {
    // Plans name polynomials that must stay.
    let named = !o.activations.plans.is_empty()
        || g.nodes.iter().any(|n| matches!(n.op, TensorOp::Activation { .. } | TensorOp::Function { .. } | TensorOp::Chebyshev { .. }));
    for polynomials in [true, false] {
        if polynomials && named {
            continue;
        }
        let (chosen, explained) = choose(g, o, polynomials);
        if chosen.is_empty() {
            continue;
        }
        let new = rewritten(g, &chosen);
        let better = network_levels(&new, o) <= network_levels(g, o);
        if better && (!polynomials || compose_linear(&new).is_ok_and(|c| fits(&c))) {
            return (new, explained);
        }
    }
    (g.clone(), vec![])
}

/// The best candidate of each region that has one, in order.
fn choose(g: &TensorGraph, o: &CompileOptions, polynomials: bool) -> (Vec<Choice>, Vec<Explained>) {
    let (mut chosen, mut explained) = (vec![], vec![]);
    for found in regions(g) {
        let all: Vec<Candidate> = candidates(&found.region, polynomials).into_iter().filter(in_range).collect();
        let old = measure(&found.region.expr, &found.region.roots, &found.region.leaves);
        let best = match &all[..] {
            [one] if one.measure.no_worse(&old) => Some(0),
            _ => cheapest(g, o, &chosen, &found, &all, &old),
        };
        if let Some(c) = best.map(|i| all[i].clone()) {
            explained.push(explain(g, &found, &c, &old));
            chosen.push((found, c));
        }
    }
    (chosen, explained)
}

/// The candidate with which the network has the fewest levels, then the region the fewest products
/// and maps; `None` if that is the region as it is.
fn cheapest(g: &TensorGraph, o: &CompileOptions, chosen: &[Choice], found: &Found, all: &[Candidate], old: &Measure) -> Option<usize> {
    if all.is_empty() {
        return None;
    }
    let levels = |more: Option<&Candidate>| {
        let with: Vec<Choice> = chosen.iter().cloned().chain(more.map(|c| (found.clone(), c.clone()))).collect();
        network_levels(&rewritten(g, &with), o)
    };
    let each = all.iter().enumerate().map(|(i, c)| ((levels(Some(c)), c.measure.products, c.measure.maps), Some(i)));
    let all = std::iter::once(((levels(None), old.products, old.maps), None)).chain(each);
    all.min_by_key(|(cost, _)| *cost).and_then(|(_, i)| i)
}

/// True if all constants are finite in f32.
fn in_range(c: &Candidate) -> bool {
    let finite = |r: &PerChannel| r.all(|x| (x as f32).is_finite());
    c.expr.as_ref().iter().all(|n| match n {
        Expr::Sum { coeffs, shift, .. } => finite(shift) && coeffs.iter().all(finite),
        Expr::Poly { coeffs, .. } => coeffs.iter().all(finite),
        Expr::Leaf(_) | Expr::Mul(_) => true,
    })
}

/// Limbs that the composed network starts with.
fn network_levels(g: &TensorGraph, o: &CompileOptions) -> usize {
    let count = |c: TensorGraph| super::levels(&c, crate::activation::degree::DEGREES[1] + 1, o).0.into_iter().max();
    compose_linear(g).ok().and_then(count).unwrap_or(usize::MAX)
}

fn explain(g: &TensorGraph, f: &Found, c: &Candidate, old: &Measure) -> Explained {
    let leaf = |k: u32| {
        let v = f.leaves[k as usize];
        Some(&g.node(v).source).filter(|s| !s.is_empty()).cloned().unwrap_or_else(|| format!("%{}", v.0))
    };
    let one = |i: usize| ExplainedResult {
        source: g.node(f.roots[i]).source.clone(),
        before: show(&f.region.expr, f.region.roots[i], &leaf),
        after: show(&c.expr, c.roots[i], &leaf),
        rules: c.rules[i].iter().map(|r| [r.name, r.formula, r.why]).collect(),
    };
    Explained {
        results: (0..f.roots.len()).map(one).filter(|r| r.before != r.after).collect(),
        before: old.into(),
        after: (&c.measure).into(),
    }
}

/// True for ops that a region consists of, as far as their constants are known.
fn elementwise(g: &TensorGraph, v: ValueId) -> bool {
    let known = |c: &ConstId| g.consts.get(*c).array().is_some();
    match &g.node(v).op {
        TensorOp::Add {} | TensorOp::Sub {} | TensorOp::Mul {} | TensorOp::Square {} => true,
        TensorOp::Affine { scale, shift } => known(scale) && known(shift),
        TensorOp::Poly { coeffs } => known(coeffs),
        _ => false,
    }
}

/// Where the linear map that would hold a value stands, in levels from the inputs, and whether a
/// layer's result is part of the value.
fn estimate(g: &TensorGraph) -> Vec<(usize, bool)> {
    let mut out: Vec<(usize, bool)> = vec![];
    for n in &g.nodes {
        let (level, layer) = n.args.iter().map(|a| out[a.index()]).fold((0, false), |x, y| (x.0.max(y.0), x.1 | y.1));
        out.push(match &n.op {
            TensorOp::Input {} => (1, false),
            TensorOp::Conv2d { .. } | TensorOp::Linear { .. } | TensorOp::LinearMap { .. } | TensorOp::AvgPool { .. } => {
                (level + usize::from(layer), true)
            }
            TensorOp::Mul {} | TensorOp::Square {} => (level + 1, false),
            TensorOp::Poly { coeffs } => (level + poly_levels(g.consts.get(*coeffs).shape()[1].saturating_sub(1)), false),
            TensorOp::Activation { .. } | TensorOp::Function { .. } | TensorOp::Chebyshev { .. } | TensorOp::MaxPool { .. } => {
                (level + ACTIVATION_LEVELS, false)
            }
            TensorOp::Affine { .. }
            | TensorOp::AddConst { .. }
            | TensorOp::Add {}
            | TensorOp::Sub {}
            | TensorOp::Slice { .. }
            | TensorOp::Pad { .. }
            | TensorOp::Concat {}
            | TensorOp::Flatten {} => (level, layer),
        });
    }
    out
}

/// Regions that may gain, in order of their first nodes.
fn regions(g: &TensorGraph) -> Vec<Found> {
    let inside: Vec<bool> = g.iter().map(|(v, _)| elementwise(g, v)).collect();
    // Regions of a stage read values of earlier stages and layers of their own; no such layer
    // depends on the stage.
    let mut stage = vec![0usize; g.nodes.len()];
    for (v, n) in g.iter() {
        let behind = |a: &ValueId| stage[a.index()] + usize::from(inside[a.index()] && !inside[v.index()]);
        stage[v.index()] = n.args.iter().map(behind).max().unwrap_or(0);
    }
    // Connected components: each node's region is named by its first node.
    let mut first: Vec<usize> = (0..g.nodes.len()).collect();
    fn top(first: &[usize], mut v: usize) -> usize {
        while first[v] != v {
            v = first[v];
        }
        v
    }
    let users = g.users();
    for (v, _) in g.iter() {
        // A value's readers of one stage belong together, and with the value if it is of that
        // stage: what they compute may be shared.
        let mut of_stage: BTreeMap<usize, usize> = BTreeMap::new();
        let near = users[v.index()].iter().copied().chain([v]).filter(|u| inside[u.index()]);
        for u in near {
            let x = *of_stage.entry(stage[u.index()]).or_insert(u.index());
            let (x, y) = (top(&first, x), top(&first, u.index()));
            first[x.max(y)] = x.min(y);
        }
    }
    let mut members: BTreeMap<usize, Vec<ValueId>> = BTreeMap::new();
    for (v, _) in g.iter().filter(|(v, _)| inside[v.index()]) {
        members.entry(top(&first, v.index())).or_default().push(v);
    }
    let at = estimate(g);
    members.values().filter(|m| may_gain(g, m)).map(|m| found(g, m, &users, &at)).collect()
}

fn may_gain(g: &TensorGraph, members: &[ValueId]) -> bool {
    let products = |v: &ValueId| match &g.node(*v).op {
        TensorOp::Mul {} | TensorOp::Square {} => 1,
        TensorOp::Poly { coeffs } if g.consts.get(*coeffs).shape()[1] > 3 => 2,
        TensorOp::Poly { .. } => 1,
        _ => 0,
    };
    members.iter().map(products).sum::<usize>() >= 2
}

/// The expression of a region.
fn found(g: &TensorGraph, members: &[ValueId], users: &[Vec<ValueId>], at: &[(usize, bool)]) -> Found {
    let (mut nodes, mut seen) = (Expression::default(), HashMap::new());
    let mut add = |e: Expr| *seen.entry(e.clone()).or_insert_with(|| nodes.add(e));
    let (mut leaves, mut ids): (Vec<ValueId>, BTreeMap<ValueId, _>) = (vec![], BTreeMap::new());
    for &v in members {
        let n = g.node(v);
        for &a in &n.args {
            ids.entry(a).or_insert_with(|| {
                leaves.push(a);
                add(Expr::Leaf(leaves.len() as u32 - 1))
            });
        }
        let arg = |i: usize| Term::Of(ids[&n.args[i]]);
        let one = PerChannel::one(1.0);
        let term = match &n.op {
            TensorOp::Add {} => Term::Sum(vec![(one.clone(), arg(0)), (one, arg(1))], PerChannel::one(0.0)),
            TensorOp::Sub {} => Term::Sum(vec![(one, arg(0)), (PerChannel::one(-1.0), arg(1))], PerChannel::one(0.0)),
            TensorOp::Mul {} => Term::product(arg(0), arg(1)),
            TensorOp::Square {} => Term::product(arg(0), arg(0)),
            TensorOp::Affine { scale, shift } => Term::Sum(vec![(column(g, *scale, 0, 1), arg(0))], column(g, *shift, 0, 1)),
            TensorOp::Poly { coeffs } => {
                let width = g.consts.get(*coeffs).shape()[1];
                let mut rows: Vec<PerChannel> = (0..width).map(|k| column(g, *coeffs, k, width)).collect();
                rows.resize(width.max(2), PerChannel::one(0.0));
                Term::Poly(rows, Box::new(arg(0)))
            }
            op => unreachable!("{op:?} is not elementwise"),
        };
        let id = build(&term, &mut add);
        ids.insert(v, id);
    }
    let outside = |v: &ValueId| g.outputs.contains(v) || users[v.index()].iter().any(|u| members.binary_search(u).is_err());
    let roots: Vec<ValueId> = members.iter().copied().filter(outside).collect();
    let region =
        Region { roots: roots.iter().map(|r| ids[r]).collect(), leaves: leaves.iter().map(|l| at[l.index()].0).collect(), expr: nodes };
    Found { leaves, roots, region }
}

/// Every `step`-th value of a constant, from `start`.
fn column(g: &TensorGraph, c: ConstId, start: usize, step: usize) -> PerChannel {
    let data = g.consts.get(c).array().map_or(&[][..], |a| &a.data);
    PerChannel::new(&data.iter().skip(start).step_by(step).map(|&x| f64::from(x)).collect::<Vec<_>>())
}

/// The graph with regions replaced.
fn rewritten(g: &TensorGraph, chosen: &[Choice]) -> TensorGraph {
    let mut out = TensorGraph::new(&g.name);
    out.consts = g.consts.clone();
    let roots = |(i, (f, _)): (usize, &Choice)| (0..f.roots.len()).map(move |k| (f.roots[k], (i, k))).collect::<Vec<_>>();
    let replaced = chosen.iter().enumerate().flat_map(roots).collect();
    let mut w = Writer { g, chosen, replaced, out, map: vec![None; g.nodes.len()], done: vec![HashMap::new(); chosen.len()] };
    for (v, n) in g.iter() {
        if matches!(n.op, TensorOp::Input {}) {
            w.value(v);
        }
    }
    let outputs = g.outputs.iter().map(|o| w.value(*o)).collect();
    w.out.outputs = outputs;
    w.out.prune(|op| matches!(op, TensorOp::Input {}));
    w.out
}

struct Writer<'a> {
    g: &'a TensorGraph,
    chosen: &'a [Choice],
    /// Results that are computed otherwise: region and number.
    replaced: BTreeMap<ValueId, (usize, usize)>,
    out: TensorGraph,
    map: Vec<Option<ValueId>>,
    /// For each region, nodes that are there.
    done: Vec<HashMap<NodeId, ValueId>>,
}

impl Writer<'_> {
    /// The new value of an old one, which is computed first if it is not there.
    fn value(&mut self, v: ValueId) -> ValueId {
        // Operands before their readers, without recursion: networks are deep.
        let mut todo = vec![v];
        while let Some(&v) = todo.last() {
            let needs: &[ValueId] = match self.replaced.get(&v) {
                Some((i, _)) => &self.chosen[*i].0.leaves,
                None => &self.g.node(v).args,
            };
            let open: Vec<ValueId> = needs.iter().copied().filter(|a| self.map[a.index()].is_none()).collect();
            if self.map[v.index()].is_none() && open.is_empty() {
                let n = self.g.node(v);
                let new = match self.replaced.get(&v) {
                    Some(&(i, k)) => {
                        let (found, c) = &self.chosen[i];
                        let leaves: Vec<ValueId> = found.leaves.iter().filter_map(|l| self.map[l.index()]).collect();
                        emit(&c.expr, c.roots[k], &leaves, &mut self.out, &n.source, &mut self.done[i])
                    }
                    None => {
                        let args = n.args.iter().filter_map(|a| self.map[a.index()]).collect();
                        self.out.push(n.op.clone(), args, n.ty.clone(), &n.source)
                    }
                };
                self.map[v.index()] = Some(new);
            }
            if self.map[v.index()].is_some() {
                todo.pop();
            }
            todo.extend(open);
        }
        self.map[v.index()].expect("just computed")
    }
}
