//! How many ciphertexts are bootstrapped: what the search of packings makes of large images, and of
//! max pooling.

mod common;

use chiffre_backend::cost::CostModel;
use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{ActivationKind, TensorGraph, TensorOp, TensorType, verify};
use chiffre_passes::options::{CompileOptions, MaximumForm};
use chiffre_passes::pack::choose_layout::choose_layout;
use chiffre_passes::tensor::{compose_linear::compose_linear, fold_scales::fold_scales, lower_max_pool::lower_max_pool};
use common::{Facts, Net, Rng};

/// Ciphertexts that a run of a network bootstraps, with all its activations behind bootstraps.
fn bootstraps(g: &TensorGraph, batch: usize) -> usize {
    let mut g = compose_linear(&lower_max_pool(g, MaximumForm::Absolute)).unwrap();
    for v in 0..g.nodes.len() {
        if g.nodes[v].op.is_activation() {
            let coeffs = g.consts.add("series", Array::new(vec![1, 8], vec![0.1; 8]));
            g.nodes[v].op = TensorOp::Chebyshev { coeffs, sine: true, ranges: None, certificate: None };
        }
    }
    let g = verify(fold_scales(&g).unwrap()).unwrap();
    let opts = CompileOptions { batch, memory: Some(16 << 30), ..CompileOptions::default() };
    let l = choose_layout(&g, &opts, &Facts, &CostModel::default()).unwrap();
    println!("batch {batch}: 2^{}, {:.1} s, {} MiB, {}", l.log_n, l.seconds, l.memory.peak() >> 20, l.values[0]);
    let refreshed = g.nodes.iter().zip(&l.values).filter(|(n, _)| matches!(n.op, TensorOp::Chebyshev { .. }));
    refreshed.map(|(_, l)| l.unit_cts() * batch.div_ceil(l.unit_batch())).sum()
}

fn relu(n: &mut Net, x: ValueId, name: &str) -> ValueId {
    let ty = n.g.ty(x).clone();
    n.g.push(TensorOp::Activation { kind: ActivationKind::Relu, alpha: None }, vec![x], ty, name)
}

/// Strides leave eight gaps for each position of the last value, and its channels fill them.
#[test]
fn channels_of_large_images_take_the_gaps() {
    let mut n = Net { g: TensorGraph::new("large"), rng: Rng(1) };
    let mut x = n.g.push(TensorOp::Input {}, vec![], TensorType::new([3, 224, 224]), "x");
    for (i, width) in [8, 16, 32, 64, 256].into_iter().enumerate() {
        let y = n.conv(x, width, 3, 2, &format!("conv{i}"));
        x = relu(&mut n, y, &format!("relu{i}"));
    }
    n.g.outputs.push(x);
    // 8·128², 16·64², 32·32², 64·16² and 256·8² places, in ciphertexts of 2^14.
    assert_eq!(bootstraps(&n.g, 1), 8 + 4 + 2 + 1 + 1);
}

/// The absolute values of the halves and the ReLU behind them have as many elements as the ReLU in
/// front of the pooling, and as few ciphertexts: units are merged where positions disappear.
#[test]
fn relu_and_max_pooling_cost_what_the_relu_does() {
    let network = |pooled: bool| {
        let mut n = Net { g: TensorGraph::new("pooled"), rng: Rng(2) };
        let x = n.g.push(TensorOp::Input {}, vec![], TensorType::new([3, 32, 32]), "x");
        let c = n.conv(x, 16, 3, 1, "conv1");
        let mut x = relu(&mut n, c, "relu");
        if pooled {
            let pool = TensorOp::MaxPool { kernel: [2, 2], stride: [2, 2], pad: [0; 4] };
            x = n.g.push(pool, vec![x], TensorType::new([16, 16, 16]), "pool");
        }
        let y = n.conv(x, 16, 3, 1, "conv2");
        let features = n.g.ty(y).len();
        let flat = n.g.push(TensorOp::Flatten {}, vec![y], TensorType::new([features]), "flat");
        let weight = n.rng.array(&[10, features], 0.1);
        let weight = n.g.consts.add("fc", weight);
        let y = n.g.push(TensorOp::Linear { weight, bias: None }, vec![flat], TensorType::new([10]), "fc");
        n.g.outputs.push(y);
        n.g
    };
    let [alone, pooled] = [false, true].map(|p| bootstraps(&network(p), 512));
    println!("{alone} bootstraps of the ReLU alone, {pooled} with max pooling");
    // 512 images of 16·32² elements, in ciphertexts of 2^14 complex slots.
    assert_eq!(alone, 256);
    assert!(10 * pooled <= 13 * alone, "{pooled} beside {alone}");
}
