//! `fold-affine`: affine maps disappear into the layer before them.
//!
//! An `affine` behind a `conv2d` or `linear` that nothing else reads scales that layer's rows and
//! joins its bias; two affines in a row become one; an identity vanishes. The sums run in f64. The
//! folded layer keeps the name of the convolution or fully connected node.

use chiffre_ir::consts::{Array, ConstId};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{TensorGraph, TensorOp};

/// Folds affine maps until none is left that could be. Constants without data leave their affine as
/// it is.
pub fn fold_affine(g: &TensorGraph) -> TensorGraph {
    let mut g = g.clone();
    while sweep(&mut g) {
        g.prune(|op| matches!(op, TensorOp::Input {}));
    }
    g
}

/// One pass over all nodes; true if anything changed.
fn sweep(g: &mut TensorGraph) -> bool {
    let uses = g.use_counts();
    let mut alias: Vec<ValueId> = (0..g.nodes.len() as u32).map(ValueId).collect();
    let mut changed = false;
    for i in 0..g.nodes.len() {
        for k in 0..g.nodes[i].args.len() {
            g.nodes[i].args[k] = alias[g.nodes[i].args[k].index()];
        }
        let Some((scale, shift)) = affine(g, ValueId(i as u32)) else { continue };
        let x = g.nodes[i].args[0];
        if scale.iter().all(|&s| s == 1.0) && shift.iter().all(|&t| t == 0.0) {
            alias[i] = x;
            changed = true;
        } else if let Some((s, t)) = affine(g, x) {
            // scale·(s·y + t) + shift
            let n = [&scale, &shift, &s, &t].iter().map(|v| v.len()).max().unwrap_or(1);
            let at = |v: &[f64], c: usize| v[c % v.len()];
            let s2 = (0..n).map(|c| at(&scale, c) * at(&s, c)).collect();
            let t2 = (0..n).map(|c| at(&scale, c) * at(&t, c) + at(&shift, c)).collect();
            let name = g.nodes[i].source.clone();
            if let (Some(s2), Some(t2)) = (constant(g, &name, "scale", s2), constant(g, &name, "shift", t2)) {
                g.nodes[i].op = TensorOp::Affine { scale: s2, shift: t2 };
                g.nodes[i].args = g.nodes[x.index()].args.clone();
                changed = true;
            }
        } else if uses[x.index()] == 1
            && let Some(op) = folded(g, x, &scale, &shift)
        {
            let layer = g.nodes[x.index()].clone();
            g.nodes[i].op = op;
            g.nodes[i].args = layer.args;
            g.nodes[i].source = layer.source;
            changed = true;
        }
    }
    for o in &mut g.outputs {
        *o = alias[o.index()];
    }
    changed
}

/// Scale and shift of an affine node whose constants are known.
fn affine(g: &TensorGraph, v: ValueId) -> Option<(Vec<f64>, Vec<f64>)> {
    match &g.node(v).op {
        TensorOp::Affine { scale, shift } => Some((values(g, *scale)?, values(g, *shift)?)),
        _ => None,
    }
}

fn values(g: &TensorGraph, c: ConstId) -> Option<Vec<f64>> {
    Some(g.consts.array(c).ok()?.data.iter().map(|&x| f64::from(x)).collect())
}

/// A per-channel constant, unless a value leaves the range of f32.
fn constant(g: &mut TensorGraph, node: &str, what: &str, v: Vec<f64>) -> Option<ConstId> {
    let v: Vec<f32> = v.into_iter().map(|x| x as f32).collect();
    v.iter().all(|x| x.is_finite()).then(|| g.consts.add(&format!("{node}.{what}"), Array::new(vec![v.len()], v)))
}

/// The layer `x` with `scale·… + shift` behind it.
fn folded(g: &mut TensorGraph, x: ValueId, scale: &[f64], shift: &[f64]) -> Option<TensorOp> {
    let op = g.node(x).op.clone();
    let (TensorOp::Conv2d { weight, bias, .. } | TensorOp::Linear { weight, bias }) = &op else { return None };
    let old = g.consts.array(*weight).ok()?;
    let out = old.shape[0];
    let row = old.data.len() / out.max(1);
    let at = |v: &[f64], c: usize| v[c % v.len()];
    let data: Vec<f32> = old.data.iter().enumerate().map(|(i, &w)| (f64::from(w) * at(scale, i / row)) as f32).collect();
    if !data.iter().all(|w| w.is_finite()) {
        return None;
    }
    let weights = Array::new(old.shape.clone(), data);
    let before = match bias {
        Some(b) => values(g, *b)?,
        None => vec![0.0; out],
    };
    let name = g.consts.get(*weight).name.clone();
    let source = g.node(x).source.clone();
    let new_bias = Some(constant(g, &source, "bias", (0..out).map(|o| before[o] * at(scale, o) + at(shift, o)).collect())?);
    let new_weight = g.consts.add(&name, weights);
    Some(match op {
        TensorOp::Conv2d { stride, pad, dilation, .. } => TensorOp::Conv2d { weight: new_weight, bias: new_bias, stride, pad, dilation },
        _ => TensorOp::Linear { weight: new_weight, bias: new_bias },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::tensor::{Tensor, interp, verify};
    use chiffre_ir::text::{parse, print};

    fn run(body: &str) -> (String, TensorGraph) {
        let g = parse::<Tensor>(&format!("tensor @t {{\n{body}\n}}")).unwrap();
        let g = verify(g).unwrap_or_else(|e| panic!("{e}")).into_inner();
        let h = verify(fold_affine(&g)).unwrap_or_else(|e| panic!("{e}")).into_inner();
        let x: Vec<f32> = (0..3 * g.nodes[0].ty.len()).map(|i| ((i * 7919 % 83) as f32 - 41.0) / 41.0).collect();
        for (a, b) in interp(&g, &x, 3).unwrap().iter().flatten().zip(interp(&h, &x, 3).unwrap().iter().flatten()) {
            assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} against {b}");
        }
        (print(&h).lines().filter(|l| l.contains("%")).map(str::trim).collect::<Vec<_>>().join("\n"), h)
    }

    const CONSTS: &str = "const @w : f32[2x2x1x1] = [1, 2, 3, 4]\nconst @b : f32[2] = [1, -1]\nconst @a : f32[2] = [10, 0.5]
        const @one : f32[1] = [1]\nconst @zero : f32[1] = [0]\nconst @fc : f32[1x2] = [1, 1]";

    #[test]
    fn batch_norm_folds_into_its_convolution() {
        let (text, g) = run(&format!(
            "{CONSTS}
            %0 = input : f32[2x2x2]
            %1 = conv2d %0 {{weight=@w, bias=@b, stride=[1, 1], pad=[1, 0, 0, 0], dilation=[1, 1]}} : f32[2x3x2] ; \"conv\"
            %2 = affine %1 {{scale=@a, shift=@b}} : f32[2x3x2] ; \"bn\"
            %3 = affine %2 {{scale=@one, shift=@one}} : f32[2x3x2] ; \"shift\"
            %4 = square %3 : f32[2x3x2] ; \"act\"
            return %4"
        ));
        insta::assert_snapshot!(text, @r#"
        %0 = input : f32[2x2x2]
        %1 = conv2d %0 {weight=@w.2.2, bias=@conv.bias.2, stride=[1, 1], pad=[1, 0, 0, 0], dilation=[1, 1]} : f32[2x3x2] ; "conv"
        %2 = square %1 : f32[2x3x2] ; "act"
        return %2
        "#);
        assert_eq!(g.consts.array(g.consts.find("conv.bias.2").unwrap()).unwrap().data, [12., -0.5]);
        assert_eq!(g.consts.array(g.consts.find("w.2.2").unwrap()).unwrap().data, [10., 20., 1.5, 2.]);
    }

    #[test]
    fn a_layer_with_other_readers_keeps_its_affine() {
        let (text, _) = run(&format!(
            "{CONSTS}
            %0 = input : f32[2]
            %1 = linear %0 {{weight=@fc}} : f32[1] ; \"fc\"
            %2 = affine %1 {{scale=@one, shift=@one}} : f32[1] ; \"s\"
            %3 = mul %1, %2 : f32[1]
            return %3"
        ));
        assert!(text.contains("affine") && text.contains("; \"fc\""), "{text}");
    }

    #[test]
    fn chains_merge_and_identities_vanish() {
        let (text, g) = run(&format!(
            "{CONSTS}
            %0 = input : f32[2]
            %1 = affine %0 {{scale=@a, shift=@b}} : f32[2] ; \"first\"
            %2 = affine %1 {{scale=@one, shift=@zero}} : f32[2] ; \"nothing\"
            %3 = affine %2 {{scale=@a, shift=@one}} : f32[2] ; \"second\"
            return %3, %1, %2"
        ));
        insta::assert_snapshot!(text, @r#"
        %0 = input : f32[2]
        %1 = affine %0 {scale=@a, shift=@b} : f32[2] ; "first"
        %2 = affine %0 {scale=@second.scale, shift=@second.shift} : f32[2] ; "second"
        return %2, %1, %1
        "#);
        assert_eq!(g.consts.array(g.consts.find("second.shift").unwrap()).unwrap().data, [11., 0.5]);
    }
}
