//! `place-relin`: a relinearisation behind every product, before anything reads it.
//!
//! Products are read by linear maps with rotations, whose cost on three polynomials would exceed
//! one key switch, so the earliest place is the best.

use chiffre_ir::graph::ValueId;
use chiffre_ir::he::{HeGraph, HeOp, HeType};

/// Inserts `relin` after each `mul` and `square`.
pub fn place_relin(g: &HeGraph) -> HeGraph {
    let mut out = HeGraph::new(&g.name);
    out.consts = g.consts.clone();
    let mut map: Vec<ValueId> = vec![];
    for n in &g.nodes {
        let args = n.args.iter().map(|a| map[a.index()]).collect();
        let mut v = out.push(n.op.clone(), args, n.ty.clone(), &n.source);
        if n.ty.parts == 3 && matches!(n.op, HeOp::Mul {} | HeOp::Square {}) {
            v = out.push(HeOp::Relin {}, vec![v], HeType { parts: 2, ..n.ty.clone() }, &n.source);
        }
        // What was typed with three parts only because its operand was, now has two.
        if matches!(n.op, HeOp::ModDrop {}) {
            let parts = out.ty(out.node(v).args[0]).parts;
            out.nodes[v.index()].ty.parts = parts;
        }
        map.push(v);
    }
    out.outputs = g.outputs.iter().map(|o| map[o.index()]).collect();
    out
}
