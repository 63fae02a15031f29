//! Local rewrites: a patch says what to compute in the place of a value, a sweep applies many at
//! once.
//!
//! A rewrite looks at one node and may return a [`Patch`]: new nodes over *old* values, and the
//! value that takes the node's place. **Invariant**: a patch claims that its result equals the
//! value it replaces, in terms of values defined before that. All patches of a sweep are made
//! against the same graph and applied together; since each claim holds by itself, so do all of
//! them.

use crate::consts::{Array, ConstId, Data};
use crate::graph::{Dialect, Graph, Node, RemapConsts, ValueId};

/// What takes the place of one value.
#[derive(Clone, Debug)]
pub struct Patch<D: Dialect> {
    first_node: usize,
    first_const: usize,
    nodes: Vec<Node<D>>,
    consts: Vec<(String, Data)>,
    result: Option<ValueId>,
}

impl<D: Dialect> Patch<D> {
    /// An empty patch for a graph.
    pub fn new(g: &Graph<D>) -> Self {
        Patch { first_node: g.nodes.len(), first_const: g.consts.len(), nodes: vec![], consts: vec![], result: None }
    }
    /// A patch that uses another value instead.
    pub fn alias(g: &Graph<D>, value: ValueId) -> Self {
        Patch { result: Some(value), ..Patch::new(g) }
    }
    /// A new constant of single-precision numbers.
    pub fn constant(&mut self, name: &str, array: Array) -> ConstId {
        self.constant_data(name, array)
    }
    /// A new constant of any kind.
    pub fn constant_data(&mut self, name: &str, data: impl Into<Data>) -> ConstId {
        self.consts.push((name.into(), data.into()));
        ConstId((self.first_const + self.consts.len() - 1) as u32)
    }
    /// A new node; its arguments are old values or earlier nodes of the patch. The last one pushed
    /// is the result.
    pub fn push(&mut self, op: D::Op, args: Vec<ValueId>, ty: D::Type, source: &str) -> ValueId {
        self.nodes.push(Node { op, args, ty, source: source.into() });
        let v = ValueId((self.first_node + self.nodes.len() - 1) as u32);
        self.result = Some(v);
        v
    }
}

/// Most sweeps of [`rewrite`]: rules that undo each other end here.
pub const MOST_SWEEPS: usize = 100;

/// Sweeps over the graph until no rule applies (or [`MOST_SWEEPS`] times); returns how many patches
/// were applied. Nodes that nothing reads any more are dropped, inputs stay.
pub fn rewrite<D: crate::level::Level>(g: &mut Graph<D>, rule: impl Fn(&Graph<D>, ValueId) -> Option<Patch<D>>) -> usize
where
    D::Op: RemapConsts,
{
    let mut applied = 0;
    for _ in 0..MOST_SWEEPS {
        let patches: Vec<Option<Patch<D>>> = g.iter().map(|(v, _)| rule(g, v)).collect();
        let found = patches.iter().flatten().count();
        if found == 0 {
            break;
        }
        applied += found;
        *g = apply(g, patches);
        g.prune(D::is_input);
    }
    applied
}

/// The graph with one patch or none for each value.
fn apply<D: Dialect>(g: &Graph<D>, patches: Vec<Option<Patch<D>>>) -> Graph<D>
where
    D::Op: RemapConsts,
{
    let mut out = Graph { nodes: vec![], outputs: vec![], ..g.clone() };
    let mut map: Vec<ValueId> = Vec::with_capacity(g.nodes.len());
    for (n, patch) in g.nodes.iter().zip(patches) {
        let place = |new: &[ValueId], a: ValueId, map: &[ValueId]| {
            if a.index() < g.nodes.len() { map[a.index()] } else { new[a.index() - g.nodes.len()] }
        };
        let value = match patch.and_then(|p| Some((p.result?, p))) {
            None => {
                let args = n.args.iter().map(|a| map[a.index()]).collect();
                out.push(n.op.clone(), args, n.ty.clone(), &n.source)
            }
            Some((result, p)) => {
                let consts: Vec<ConstId> = p.consts.into_iter().map(|(name, data)| out.consts.add_data(&name, data)).collect();
                let mut new = vec![];
                for mut node in p.nodes {
                    node.op.remap_consts(&|c| if (c.0 as usize) < p.first_const { c } else { consts[c.0 as usize - p.first_const] });
                    let args = node.args.iter().map(|a| place(&new, *a, &map)).collect();
                    new.push(out.push(node.op, args, node.ty, &node.source));
                }
                place(&new, result, &map)
            }
        };
        map.push(value);
    }
    out.outputs = g.outputs.iter().map(|o| map[o.index()]).collect();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Tensor, TensorGraph, TensorOp};

    /// `x − x` is zero times x; `x + x` is twice x; a square of a square is a polynomial.
    fn rule(g: &TensorGraph, v: ValueId) -> Option<Patch<Tensor>> {
        let n = g.node(v);
        let scale = match n.op {
            TensorOp::Sub {} if n.args[0] == n.args[1] => 0.0,
            TensorOp::Add {} if n.args[0] == n.args[1] => 2.0,
            _ => return None,
        };
        let mut p = Patch::new(g);
        let scale = p.constant("scale", Array::new(vec![1], vec![scale]));
        let shift = p.constant("shift", Array::zeros(vec![1]));
        p.push(TensorOp::Affine { scale, shift }, vec![n.args[0]], n.ty.clone(), &n.source);
        Some(p)
    }

    #[test]
    fn patches_of_one_sweep_fit_together() {
        let text = "tensor @t {\n%0 = input : f32[2]\n%1 = add %0, %0 : f32[2] ; \"a\"\n%2 = sub %1, %1 : f32[2] ; \"s\"
            %3 = add %2, %1 : f32[2]\n%4 = add %3, %3 : f32[2]\nreturn %4, %1\n}";
        let mut g: TensorGraph = crate::text::parse(text).unwrap();
        let before = crate::tensor::interp(&g, &[1.0, -3.0], 1).unwrap();
        assert_eq!(rewrite(&mut g, rule), 3);
        let g = crate::tensor::verify(g).unwrap();
        assert_eq!(crate::tensor::interp(&g, &[1.0, -3.0], 1).unwrap(), before);
        assert_eq!((g.nodes.len(), g.consts.len(), g.nodes[2].source.as_str()), (5, 6, "s"));
    }

    #[test]
    fn aliases_drop_what_is_not_read() {
        let text = "tensor @t {\n%0 = input : f32[2]\n%1 = square %0 : f32[2]\n%2 = square %1 : f32[2]\nreturn %2\n}";
        let mut g: TensorGraph = crate::text::parse(text).unwrap();
        let n = rewrite(&mut g, |g, v| matches!(g.node(v).op, TensorOp::Square {}).then(|| Patch::alias(g, g.node(v).args[0])));
        assert_eq!((n, g.nodes.len(), g.outputs[0]), (2, 1, ValueId(0)));
        // Rules that never end are cut off.
        let mut g: TensorGraph = crate::text::parse(text).unwrap();
        let again = |g: &TensorGraph, v: ValueId| {
            let n = g.node(v);
            let mut p = Patch::new(g);
            matches!(n.op, TensorOp::Square {}).then(|| p.push(n.op.clone(), n.args.clone(), n.ty.clone(), "")).map(|_| p)
        };
        assert_eq!(rewrite(&mut g, again), 2 * MOST_SWEEPS);
    }
}
