//! Smaller graphs: fewer outputs, fewer nodes, smaller extents, simpler constants; the largest
//! steps first.

use super::edit::replaced;
use super::resize;
use chiffre_ir::consts::Array;
use chiffre_ir::graph::{Graph, RemapConsts, ValueId};
use chiffre_ir::level::{AnyGraph, Level};

/// Candidates in the order in which they are tried; they need not verify.
pub(super) fn candidates(g: &AnyGraph) -> Vec<AnyGraph> {
    let mut out = match g {
        AnyGraph::Tensor(g) => structure(g),
        AnyGraph::Quant(g) => structure(g),
        AnyGraph::Packed(g) => structure(g),
        AnyGraph::He(g) => structure(g),
        AnyGraph::Program(g) => structure(g),
    };
    if let AnyGraph::Tensor(g) = g {
        out.extend(resize::candidates(g).into_iter().map(AnyGraph::Tensor));
    }
    out.extend(match g {
        AnyGraph::Tensor(g) => simpler(g),
        AnyGraph::Quant(_) | AnyGraph::Packed(_) | AnyGraph::He(_) | AnyGraph::Program(_) => vec![],
    });
    out
}

/// Fewer outputs and nodes.
fn structure<L: Level>(g: &Graph<L>) -> Vec<AnyGraph>
where
    L::Op: RemapConsts,
{
    let mut out = vec![];
    let mut add = |mut c: Graph<L>| {
        c.prune(|_| false);
        if !c.nodes.iter().any(|n| L::is_input(&n.op)) || c.nodes.len() >= g.nodes.len() && c.outputs.len() >= g.outputs.len() {
            return;
        }
        out.push(L::any(c));
    };
    if g.outputs.len() > 1 {
        g.outputs.iter().for_each(|&o| add(Graph { outputs: vec![o], ..g.clone() }));
    }
    // Drop the end: in halves first, then node by node.
    let ends = |n: usize| std::iter::successors(Some(n / 2), move |k| Some(k + (n - k).div_ceil(2)).filter(|k| *k < n && n - k > 1));
    let n = g.nodes.len();
    for i in ends(n).chain((n.saturating_sub(2)..n.saturating_sub(1)).rev()) {
        add(Graph { outputs: vec![ValueId(i as u32)], ..g.clone() });
    }
    // Drop the beginning: a value in the middle becomes the input.
    for i in ends(n).collect::<Vec<_>>().into_iter().rev().chain(1..n) {
        let mut c = g.clone();
        (c.nodes[i].op, c.nodes[i].args) = (L::input(), vec![]);
        for n in c.nodes.iter_mut().skip(i) {
            n.args.iter_mut().filter(|a| L::is_input(&g.node(**a).op)).for_each(|a| *a = ValueId(i as u32));
        }
        add(c);
    }
    // Leave out a node whose operand can stand in for it.
    for i in (0..n).rev() {
        for a in g.nodes[i].args.iter().filter(|a| g.ty(**a) == &g.nodes[i].ty) {
            let mut c = g.clone();
            let instead = |v: &mut ValueId| {
                if v.index() == i {
                    *v = *a;
                }
            };
            c.nodes.iter_mut().flat_map(|n| &mut n.args).for_each(instead);
            c.outputs.iter_mut().for_each(instead);
            add(c);
        }
    }
    out
}

/// Simpler constants: all zero, all one, whole numbers.
fn simpler(g: &Graph<chiffre_ir::tensor::Tensor>) -> Vec<AnyGraph> {
    let forms: [fn(f32) -> f32; 3] = [|_| 0.0, |_| 1.0, f32::round];
    let mut out = vec![];
    for (id, c) in g.consts.iter() {
        let Some(a) = c.array() else { continue };
        for f in forms {
            let data: Vec<f32> = a.data.iter().map(|&x| f(x)).collect();
            // Zero is the simplest, then ones, then whole numbers.
            let zeros = a.data.iter().all(|x| *x == 0.0);
            let ones = a.data.iter().all(|x| *x == 1.0);
            if data == a.data || zeros || (ones && data.iter().any(|x| *x != 0.0)) {
                continue;
            }
            let mut c = g.clone();
            c.consts = replaced(&g.consts, id.0 as usize, Array::new(a.shape.clone(), data));
            out.push(AnyGraph::Tensor(c));
        }
    }
    out
}
