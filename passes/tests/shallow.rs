//! What networks of few layers take: rings, rotations and predicted times.

mod common;

use chiffre_backend::cost::CostModel;
use chiffre_ir::{packed, tensor};
use chiffre_passes::options::CompileOptions;
use chiffre_passes::pack::layouts::Layouts;
use chiffre_passes::pack::{choose_layout::choose_layout, lower_linear::lower_linear};
use chiffre_passes::tensor::{compose_linear::compose_linear, fold_scales::fold_scales};
use common::{Facts, dense_net};

fn composed(side: usize, widths: &[usize]) -> tensor::TensorGraph {
    tensor::verify(fold_scales(&compose_linear(&dense_net(1, side, widths)).unwrap()).unwrap()).unwrap().into_inner()
}

fn planned(g: &tensor::TensorGraph, batch: usize, opts: CompileOptions) -> Layouts {
    let opts = CompileOptions { batch, ..opts };
    let l = choose_layout(g, &opts, &Facts, &CostModel::default()).unwrap();
    let (mib, input) = (l.memory.peak() >> 20, &l.values[0]);
    println!("batch {batch}: 2^{}, {:?}, {:?} bits, {:.3} s, {mib} MiB, {input}, {:?}", l.log_n, l.sizes, l.precision, l.seconds, l.ways);
    l
}

#[test]
fn one_image_of_an_mlp_takes_short_primes_and_folded_layers() {
    let g = composed(28, &[128, 128, 10]);
    let usual = planned(&g, 1, CompileOptions::default());
    let l = planned(&g, 1, CompileOptions { precision: Some(9.0), ..CompileOptions::default() });
    assert_eq!((usual.log_n, usual.precision, l.log_n), (14, None, 13));
    assert!(l.precision.is_some_and(|bits| bits >= 9.0) && l.sizes.prime < 49);
    assert!(l.ways.iter().filter(|w| w.folded).count() >= 1 && l.seconds < 0.2, "{:?}", l.ways);
}

#[test]
fn full_batches_of_vectors_are_products_of_matrices() {
    for (side, widths, batch) in [(28, vec![128, 128, 10], 4096), (22, vec![128, 10], 1000)] {
        let g = composed(side, &widths);
        let l = planned(&g, batch, CompileOptions { precision: Some(9.0), ..CompileOptions::default() });
        let p = lower_linear(&g, &l).unwrap();
        let still = |n: &chiffre_ir::graph::Node<packed::Packed>| match &n.op {
            packed::PackedOp::Linear { taps, .. } => *taps == [0],
            _ => true,
        };
        assert!(p.nodes.iter().all(still), "rotations at batch {batch}");
        assert!(l.log_n <= 13 && l.seconds < 1.0, "{} s", l.seconds);
    }
}
