//! A broken pass is found, and a network on which it fails is reduced to a few lines.

mod common;

use chiffre_backend::ckks::Ckks;
use chiffre_backend::cost::CostModel;
use chiffre_ir::level::AnyGraph;
use chiffre_ir::tensor::TensorOp;
use chiffre_passes::options::CompileOptions;
use chiffre_passes::pass::Context;
use chiffre_passes::pass::PassInfo;
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::reduce::{Outcome, Test, outcome, reduce};
use common::{Facts, residual_net};

/// Loses the bias of convolutions with a stride.
static WRONG: PassInfo = PassInfo::tensor("wrong", "", |g, _| {
    let mut g = g.clone();
    for n in &mut g.nodes {
        if let TensorOp::LinearMap { strides, bias, .. } = &mut n.op
            && strides[0] == [2, 2]
        {
            *bias = None;
        }
    }
    Ok(g)
});

/// Cannot bear squares.
static CRASHES: PassInfo = PassInfo::tensor("crashes", "", |g, _| {
    assert!(!g.nodes.iter().any(|n| matches!(n.op, TensorOp::Square {})), "a square");
    Ok(g.clone())
});

/// Breaks a type.
static BREAKS: PassInfo = PassInfo::tensor("breaks", "", |g, _| {
    let mut g = g.clone();
    for n in &mut g.nodes {
        if matches!(n.op, TensorOp::Mul {} | TensorOp::Square {}) {
            n.ty.shape[0] += 1;
        }
    }
    Ok(g)
});

#[test]
fn failures_stay_while_networks_shrink() {
    let options = CompileOptions::default();
    let cx = Context { options: &options, target: &Ckks::new(&Facts), machine: &CostModel::default() };
    let composed = |seed: u64| {
        let g = chiffre_passes::tensor::compose_linear::compose_linear(&residual_net(seed)).unwrap();
        let mut g = chiffre_passes::tensor::fold_scales::fold_scales(&g).unwrap();
        g.name = "found".into();
        AnyGraph::Tensor(g)
    };
    let own = [&WRONG, &CRASHES, &BREAKS];
    // The pass's own panics are expected and many.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.to_string().contains("a square") {
            usual(info);
        }
    }));
    for (spec, test, most_nodes) in [("wrong", Test::Differs, 3), ("crashes", Test::Crash, 2), ("breaks", Test::Verifier, 2)] {
        let pipeline = Pipeline::parse_with(spec, &own).unwrap();
        let g = composed(1);
        if outcome(&g, &pipeline, &cx) == Outcome::Fine {
            panic!("{spec} does no harm");
        }
        let other = if test == Test::Crash { Test::Differs } else { Test::Crash };
        assert!(reduce(&g, &pipeline, &cx, Some(other), 100).is_none());
        let small = reduce(&g, &pipeline, &cx, Some(test), 2000).unwrap();
        assert_eq!(small.outcome.test(), Some(test));
        assert!(small.graph.nodes() <= most_nodes && small.graph.nodes() < g.nodes(), "{spec}: {}", small.graph.print(64));
        let values: usize = small.graph.consts().iter().map(|(_, c)| c.ty.len()).sum();
        assert!(values <= 24, "{spec}: {}", small.graph.print(64));
        assert_eq!(
            outcome(&AnyGraph::parse(&small.graph.print(64)).unwrap().0, &pipeline, &cx).test(),
            Some(test),
            "the text alone fails as well"
        );
    }
    let _ = std::panic::take_hook();
    let fine = Pipeline::parse("fold-affine").unwrap();
    assert!(reduce(&composed(1), &fine, &cx, None, 10).is_none());
}
