//! The tensor passes on whole imported networks: the meaning stays, and exported activations are
//! recognised.

use chiffre_backend::cost::CostModel;
use chiffre_frontend::{Model, load};
use chiffre_ir::graph::Op;
use chiffre_ir::tensor::{TensorGraph, TensorOp, certified, interp, simulate, verify};
use chiffre_passes::activation::degree::{NOISE, compare};
use chiffre_passes::options::{CalibrationSet, CompileOptions};
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::state::State;
use chiffre_passes::tensor::{compose_linear::compose_linear, remove_dead_channels::remove_dead_channels};
use chiffre_passes::tensor::{fold_affine::fold_affine, recognise_activation::recognise_activation};
use chiffre_testing::shared;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn images(model: &Model, data: &Path, count: usize) -> (Vec<f32>, usize) {
    let d = |i: usize| model.input_shape.get(i).copied().unwrap_or(1);
    let normalisation = model.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
    let options = chiffre::data::DataOptions { shape: [d(0), d(1), d(2)], normalisation, count: Some(count) };
    let images = chiffre::data::load(data, &options).unwrap();
    (images.pixels, images.n)
}

/// Ops of a graph by mnemonic, beside its input.
fn census(g: &TensorGraph) -> BTreeMap<&'static str, usize> {
    let mut out = BTreeMap::new();
    g.nodes[1..].iter().for_each(|n| *out.entry(n.op.info().mnemonic).or_default() += 1);
    out
}

/// Runs both passes; the logits must stay within 1e-4 of their range.
fn simplified(model: &Path, data: &Path) -> TensorGraph {
    let model = load(model).unwrap_or_else(|e| panic!("{e}"));
    let (x, n) = images(&model, data, 8);
    let want = interp(&model.graph, &x, n).unwrap().remove(0);
    let range = want.iter().fold(0f32, |a, y| a.max(y.abs()));
    let mut g = model.graph.into_inner();
    for pass in [recognise_activation, fold_affine] {
        g = verify(pass(&g)).unwrap_or_else(|e| panic!("{e}")).into_inner();
        let got = interp(&g, &x, n).unwrap().remove(0);
        let worst = want.iter().zip(&got).fold(0f32, |a, (x, y)| a.max((x - y).abs())) / range;
        assert!(worst <= 1e-4, "{}: {worst}", g.name);
    }
    println!("{}: {:?}", g.name, census(&g));
    g
}

#[test]
fn shipped_networks() {
    let dir = root().join("models");
    let g = |m: &str, d: &str| simplified(&dir.join(m), &dir.join(d));
    assert_eq!(census(&g("tiny_mlp.onnx", "tiny1_test.npz")), BTreeMap::from([("flatten", 1), ("linear", 2), ("square", 1)]));
    let ops = census(&g("tiny_resnet.onnx", "tiny3_test.npz"));
    assert_eq!((ops.get("affine"), ops.get("square")), (None, None), "{ops:?}");
    let ops = census(&g("resnet20_shapes.onnx", "shapes_test.npz"));
    assert_eq!((ops["poly"], ops.get("affine"), ops.get("square")), (19, None, None), "{ops:?}");
}

#[test]
fn public_networks() {
    let (Some(models), Some(data)) = (shared("models"), shared("data")) else { return };
    let run = |m: &str, d: &str| census(&simplified(&models.join(m), &data.join(d)));
    let ops = run("resnet20_cifar10_quad_aespa.onnx", "cifar10_test_evalA1000.bin");
    assert_eq!((ops["poly"], ops["conv2d"], ops["add"], ops.get("affine")), (19, 19, 9, None), "{ops:?}");
    let ops = run("resnet32_cifar100_quad_aespa_bn.onnx", "cifar100_test_evalA1000.bin");
    assert_eq!((ops["poly"], ops.get("square")), (31, None), "{ops:?}");
    let ops = run("vgg11slim_cifar10_quad_aespa_autofhe.onnx", "cifar10_test_evalA1000.bin");
    assert_eq!((ops["poly"], ops["conv2d"], ops.get("affine")), (10, 10, None), "{ops:?}");
    let ops = run("resnet20_cifar10_relu_akamaster_bn.onnx", "cifar10_test_evalA1000.bin");
    assert_eq!((ops["activation"], ops["conv2d"], ops.get("affine")), (19, 19, None), "{ops:?}");
}

/// ResNet-20 with ReLU: filters that training has zeroed, and polynomials of degree 7 behind
/// bootstraps.
#[test]
fn a_public_relu_network() {
    let (Some(models), Some(data)) = (shared("models"), shared("data")) else { return };
    let model = load(&models.join("resnet20_cifar10_relu_fheon_folded.onnx")).unwrap();
    let composed = compose_linear(&fold_affine(&model.graph)).unwrap();
    let (_, removed) = remove_dead_channels(&composed).unwrap();
    println!("{removed:?}");
    // Channels of the 19 activations' operands and of the logits; where a sum of branches lives,
    // its channel lives.
    assert_eq!((removed.channels, removed.of), (130, 698));
    let (sample, n) = images(&model, &data.join("cifar10_train_calib500.bin"), 100);
    let mut options = CompileOptions::default();
    options.activations.calibration = Some(Arc::new(CalibrationSet { images: sample, n, labels: None }));
    options.activations.degree = Some(7);
    let cx = Context { options: &options, target: &chiffre::pipeline::CKKS, machine: &CostModel::default() };
    let spec = "tensor(recognise-activation,fold-affine,compose-linear,remove-dead-channels,calibrate-activations,approximate-activations,fold-scales)";
    let state = State::from(model.graph.clone().into_inner());
    let g = Pipeline::parse(spec).unwrap().run(state, &cx, |_, _, _| {}).unwrap().tensor().cloned().unwrap();
    let list = certified(&g).unwrap();
    assert!(list.len() == 19 && list.iter().all(|c| c.refresh && c.degree == 7 && c.certificate.rms < 0.05), "{list:?}");
    for n in g.nodes.iter().filter(|n| matches!(n.op, TensorOp::Chebyshev { .. })) {
        assert!(matches!(g.node(n.args[0]).op, TensorOp::LinearMap { .. }));
    }
    let (x, n) = images(&model, &data.join("cifar10_test_evalA1000.bin"), 100);
    let found = simulate(&g, &x, n, Some(NOISE)).unwrap();
    let a = compare(&interp(&model.graph, &x, n).unwrap()[0], &found.outputs[0], n, None);
    println!("{a}, {} images leave a range", found.outside.len());
    // With all 500 calibration images and 1000 test images, 6.9 and 98.5 %.
    assert!(a.logit_error <= 0.08 && a.agreement >= 0.96, "{a}");
}
