//! Every pass keeps the meaning: interp(g) ≈ interp(pass(g)), level by level.

mod common;

use chiffre_backend::ckks::Ckks;
use chiffre_backend::cost::CostModel;
use chiffre_ir::{he, packed, tensor};
use chiffre_passes::he::{assign_levels::assign_levels, place_relin::place_relin, select_params::select_params};
use chiffre_passes::options::{CompileOptions, PackingWish};
use chiffre_passes::pack::{choose_layout::choose_layout, lower_linear::lower_linear};
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::{DEFAULT, Pipeline};
use chiffre_passes::state::State;
use chiffre_passes::tensor::minimise_products::minimise_products;
use chiffre_passes::tensor::{compose_linear::compose_linear, fold_scales::fold_scales, levels};
use chiffre_passes::tensor::{fold_affine::fold_affine, recognise_activation::recognise_activation};
use common::{Facts, Net, Rng, chain, dense_net, gate_net, options, related_net, residual_net, with_series};
use proptest::prelude::*;

fn close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= tolerance * x.abs().max(1.0), "{x} against {y}");
    }
}

/// Both sides of a tensor pass on random images, and the verifier's opinion of the result.
fn same(pass: &str, before: &tensor::TensorGraph, after: tensor::TensorGraph, images: &[f32], n: usize) -> tensor::TensorGraph {
    let after = tensor::verify(after).unwrap_or_else(|e| panic!("{pass}: {e}")).into_inner();
    let (a, b) = (tensor::interp(before, images, n).unwrap(), tensor::interp(&after, images, n).unwrap());
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(&b) {
        let size = x.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        let worst = x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(x.len() == y.len() && worst <= 1e-3 * size, "{pass}: {worst} of {size}\n{}", chiffre_ir::text::print(before));
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Every tensor pass alone, and one after the other, on random chains of affine, polynomial,
    /// sum, product and linear ops.
    #[test]
    fn tensor_passes_keep_the_meaning(seed in any::<u64>()) {
        let g = tensor::verify(chain(seed)).unwrap_or_else(|e| panic!("{e}")).into_inner();
        let n = 3;
        let mut rng = Rng(seed ^ 5);
        let images: Vec<f32> = (0..n * g.nodes[0].ty.len()).map(|_| rng.next()).collect();
        same("fold-affine", &g, fold_affine(&g), &images, n);
        same("compose-linear", &g, compose_linear(&g).unwrap(), &images, n);
        let h = same("recognise-activation", &g, recognise_activation(&g), &images, n);
        let simple = |g: &tensor::TensorGraph| minimise_products(g, &CompileOptions::default(), |_| true).0;
        same("minimise-products", &g, simple(&g), &images, n);
        let h = same("minimise-products", &h, simple(&h), &images, n);
        let h = same("fold-affine", &h, fold_affine(&h), &images, n);
        let h = same("compose-linear", &h, compose_linear(&h).unwrap(), &images, n);
        match fold_scales(&h) {
            Ok(k) => drop(same("fold-scales", &h, k, &images, n)),
            Err(e) => prop_assert!(e.to_string().contains("only degree 2 is"), "{}", e),
        }
    }
}

/// The default pipeline's dumps after every pass, and the parameters.
fn dumps(seed: u64, options: &CompileOptions) -> Vec<String> {
    let cx = Context { options, target: &Ckks::new(&Facts), machine: &CostModel::default() };
    let state = State::from(residual_net(seed));
    let mut out = vec![];
    let end = Pipeline::parse(DEFAULT).unwrap().run(state, &cx, |_, s, _| out.push(s.dump())).unwrap();
    out.push(format!("{:?}", end.params()));
    out
}

#[test]
fn compiling_twice_gives_the_same_text() {
    for seed in 0..3 {
        let opts = options(16, 10);
        assert_eq!(dumps(seed, &opts), dumps(seed, &opts));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn all_levels_agree(
        seed in any::<u64>(),
        n in 1usize..20,
        batch in 20usize..200,
        phases in 0usize..4,
        fill in 0usize..3,
        tile in 1usize..100,
    ) {
        let g = residual_net(seed);
        let mut rng = Rng(seed ^ 77);
        let images: Vec<f32> = (0..n * 128).map(|_| rng.next()).collect();
        let want = tensor::interp(&g, &images, n).unwrap();
        let g = tensor::verify(compose_linear(&g).unwrap()).unwrap().into_inner();
        close(&want[0], &tensor::interp(&g, &images, n).unwrap()[0], 1e-3);
        let g = tensor::verify(fold_scales(&g).unwrap()).unwrap().into_inner();
        close(&want[0], &tensor::interp(&g, &images, n).unwrap()[0], 2e-3);
        prop_assert_eq!(levels(&g, 1, &options(1, 8)).0[0], 7);

        // Rings that the batch overflows, so that units are merged by the strides, with every kind
        // of packing.
        let phases = [None, Some([0, 0]), Some([0, 1]), Some([1, 1])][phases];
        let packing = PackingWish { phases, channels: None, fill: Some(fill), tile: Some(tile) };
        let opts = CompileOptions { packing, ..options(batch, 8) };
        let layouts = choose_layout(&g, &opts, &Facts, &CostModel::default()).unwrap();
        let p = packed::verify(lower_linear(&g, &layouts).unwrap()).unwrap().into_inner();
        close(&want[0], &packed::interp(&p, &images, n).unwrap()[0], 2e-3);

        let h = place_relin(&assign_levels(&p, &opts, Some(&layouts)).unwrap());
        let h = he::verify(h).unwrap().into_inner();
        close(&want[0], &he::interp(&h, &images, n, None).unwrap()[0], 2e-3);
        let params = select_params(&h, &opts, &Facts, Some(layouts.sizes)).unwrap();
        prop_assert_eq!(params.q.len(), 7);
        prop_assert_eq!(h.nodes[0].ty.limbs, 7);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Maps by index relations, under all packings: copies, upsampling, and values that are larger
    /// than the input.
    #[test]
    fn maps_by_lists_agree_at_all_levels(
        seed in any::<u64>(), n in 1usize..4, batch in prop::sample::select(vec![1usize, 3, 20]), times in 1usize..4,
        phases in 0usize..4, channels in 0usize..3, fill in 0usize..3,
    ) {
        let n = n.min(batch);
        let g = tensor::verify(related_net(seed, times)).unwrap_or_else(|e| panic!("{e}")).into_inner();
        let mut rng = Rng(seed ^ 9);
        let images: Vec<f32> = (0..n * 128).map(|_| rng.next()).collect();
        let h = same("compose-linear", &g, compose_linear(&g).unwrap(), &images, n);
        let h = same("fold-scales", &h, fold_scales(&h).unwrap(), &images, n);
        let phases = [None, Some([0, 0]), Some([0, 1]), Some([1, 1])][phases];
        let packing = PackingWish { phases, channels: (batch < 4).then_some(channels), fill: Some(fill), tile: None };
        let opts = CompileOptions { packing, ..options(batch, 12) };
        let layouts = choose_layout(&h, &opts, &Facts, &CostModel::default()).unwrap();
        let p = packed::verify(lower_linear(&h, &layouts).unwrap()).unwrap().into_inner();
        let want = tensor::interp(&h, &images, n).unwrap();
        close(&want[0], &packed::interp(&p, &images, n).unwrap()[0], 2e-3);
    }
}

/// One position of a value, copied to all of another: in stages of rotations with weights of one
/// behind the map that reads it, whatever the radix, and the search takes such stages.
#[test]
fn copies_are_made_in_stages() {
    let mut chosen = 0;
    for (h, w) in [(8, 8), (7, 7), (6, 5), (14, 28)] {
        let mut n = Net { g: tensor::TensorGraph::new("gate"), rng: Rng(3) };
        let x = n.g.push(tensor::TensorOp::Input {}, vec![], tensor::TensorType::new([3, h, w]), "x");
        let square = n.g.push(tensor::TensorOp::Square {}, vec![x], tensor::TensorType::new([3, h, w]), "square");
        let copy = n.listed(square, 3, [vec![vec![1; h]], vec![vec![2; w]]], "copy");
        let gated = n.both(tensor::TensorOp::Mul {}, x, copy, "gated");
        n.g.outputs.push(gated);
        let g = tensor::verify(fold_scales(&compose_linear(&n.g).unwrap()).unwrap()).unwrap_or_else(|e| panic!("{e}")).into_inner();
        let node = g.nodes.iter().position(|n| n.source == "copy").unwrap();
        for batch in [1, 20] {
            let images: Vec<f32> = (0..batch * 3 * h * w).map(|_| n.rng.next()).collect();
            let want = tensor::interp(&g, &images, batch).unwrap();
            // Phases would be copied without a rotation.
            let packing = PackingWish { phases: Some([0, 0]), ..PackingWish::default() };
            let mut layouts = choose_layout(&g, &CompileOptions { packing, ..options(batch, 13) }, &Facts, &CostModel::default()).unwrap();
            chosen += usize::from(layouts.ways[node].radix.is_some());
            for radix in [2, 4, usize::MAX] {
                layouts.ways[node].radix = Some(radix);
                let p = packed::verify(lower_linear(&g, &layouts).unwrap()).unwrap_or_else(|e| panic!("{e}")).into_inner();
                close(&want[0], &packed::interp(&p, &images, batch).unwrap()[0], 1e-4);
                let maps: Vec<_> = p.nodes.iter().filter(|n| n.source == "copy").collect();
                let tables = maps.iter().map(|n| match &n.op {
                    packed::PackedOp::Linear { table, .. } => p.consts.table(*table).unwrap().clone(),
                    op => panic!("{op:?}"),
                });
                let tables: Vec<_> = tables.collect();
                let (first, stages) = tables.split_at(1 + usize::from(layouts.ways[node].modulus.is_some()));
                assert!(
                    first.iter().all(|t| !t.taps.is_empty())
                        && stages.iter().all(|t| t.entries.iter().all(|e| e.mask.is_none() && e.weight == 1.0))
                );
                let positions: usize = stages.iter().map(|t| t.taps.len()).product();
                assert_eq!(positions, h * w, "{radix} {:?}", layouts.values[node].to_string());
            }
        }
    }
    assert!(chosen > 0, "the search takes no stages");
}

/// A map that weighs all positions alike, inside a network: positions are added first behind
/// series, not behind products, in slots and over ciphertexts, and the sums keep the operand's
/// scale.
#[test]
fn positions_are_added_first() {
    let mut steps = 0;
    for (h, w) in [(8, 8), (7, 5), (2, 16)] {
        let (mut rng, net) = (Rng(5), gate_net(h, w));
        for series in [false, true] {
            let g = if series { with_series(net.clone(), 4, 3, |_| false) } else { net.clone() };
            let g = tensor::verify(g).unwrap_or_else(|e| panic!("{e}")).into_inner();
            let g = tensor::verify(fold_scales(&compose_linear(&g).unwrap()).unwrap()).unwrap_or_else(|e| panic!("{e}")).into_inner();
            let node = g.nodes.iter().position(|n| n.source == "squeeze").unwrap();
            for (batch, phases) in [(1, [0, 0]), (3, [1, 1]), (200, [0, 1])] {
                let images: Vec<f32> = (0..batch * 3 * h * w).map(|_| rng.next()).collect();
                let want = tensor::interp(&g, &images, batch).unwrap();
                let packing = PackingWish { phases: Some(phases), ..PackingWish::default() };
                let opts = CompileOptions { packing, ..options(batch, 12) };
                let layouts = choose_layout(&g, &opts, &Facts, &CostModel::default()).unwrap();
                // Ciphertexts of an odd row or column have fewer positions, and series fill
                // the gaps.
                let uneven = phases != [0, 0] && h * w % 2 == 1;
                assert_eq!(layouts.ways[node].summed, series && !uneven, "{h}×{w}, batch {batch}: {:?}", layouts.ways[node]);
                let p = packed::verify(lower_linear(&g, &layouts).unwrap()).unwrap_or_else(|e| panic!("{e}")).into_inner();
                close(&want[0], &packed::interp(&p, &images, batch).unwrap()[0], 1e-3);
                let he = place_relin(&assign_levels(&p, &opts, Some(&layouts)).unwrap());
                let he = he::verify(he).unwrap_or_else(|e| panic!("{e}")).into_inner();
                close(&want[0], &he::interp(&he, &images, batch, None).unwrap()[0], 1e-3);
                let limbs = |node: &chiffre_ir::graph::Node<he::He>| matches!(node.op, he::HeOp::Rescale {}) && node.source == "squeeze";
                assert_eq!(he.nodes.iter().filter(|n| limbs(n)).count(), 1, "the sums take a level");
                steps += p.nodes.iter().filter(|n| n.source == "squeeze").count() - 1;
            }
        }
    }
    assert!(steps > 9, "{steps} steps in front of 7 maps");
}

/// The packings below do lead to maps in two steps.
#[test]
fn channels_in_the_slots_are_rotated_in_two_steps() {
    let g = tensor::verify(fold_scales(&compose_linear(&residual_net(1)).unwrap()).unwrap()).unwrap().into_inner();
    let packing = PackingWish { phases: Some([0, 0]), channels: Some(3), fill: Some(0), tile: None };
    let layouts = choose_layout(&g, &CompileOptions { packing, ..options(1, 12) }, &Facts, &CostModel::default()).unwrap();
    let cut = layouts.ways.iter().filter(|w| w.modulus.is_some()).count();
    let maps = |p: &packed::PackedGraph| p.nodes.iter().filter(|n| matches!(n.op, packed::PackedOp::Linear { .. })).count();
    let p = lower_linear(&g, &layouts).unwrap();
    let before = g.nodes.iter().filter(|n| matches!(n.op, tensor::TensorOp::LinearMap { .. })).count();
    assert!(cut > 0 && maps(&p) >= before + cut, "{cut} of {before} maps are cut, {} ops", maps(&p));
    assert!(layouts.values.iter().any(|l| l.copies > 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Channels in the slots and copies above them, with rotations in one step or two.
    #[test]
    fn few_images_with_channels_in_the_slots(seed in any::<u64>(), batch in 1usize..6, channels in 1usize..4, fill in 0usize..4, phases in 0usize..3) {
        let g = residual_net(seed);
        let mut rng = Rng(seed ^ 31);
        let images: Vec<f32> = (0..batch * 128).map(|_| rng.next()).collect();
        let want = tensor::interp(&g, &images, batch).unwrap();
        let g = tensor::verify(fold_scales(&compose_linear(&g).unwrap()).unwrap()).unwrap().into_inner();
        let packing = PackingWish { phases: [None, Some([0, 0]), Some([1, 1])][phases], channels: Some(channels), fill: Some(fill), tile: None };
        let opts = CompileOptions { packing, ..options(batch, 12) };
        let layouts = choose_layout(&g, &opts, &Facts, &CostModel::default()).unwrap();
        let p = packed::verify(lower_linear(&g, &layouts).unwrap()).unwrap().into_inner();
        close(&want[0], &packed::interp(&p, &images, batch).unwrap()[0], 2e-3);
    }
    /// The same with a series for every channel, behind bootstraps or not, down to HE IR: maps
    /// before series are cut as well.
    #[test]
    fn channels_in_the_slots_have_series_of_their_own(
        seed in any::<u64>(),
        batch in 1usize..6,
        channels in 1usize..4,
        fill in 0usize..4,
        sine: bool,
    ) {
        let g = with_series(residual_net(seed), seed, 3, |s| sine && s != "act0");
        let mut rng = Rng(seed ^ 13);
        let images: Vec<f32> = (0..batch * 128).map(|_| rng.next()).collect();
        let want = tensor::interp(&g, &images, batch).unwrap();
        let g = tensor::verify(compose_linear(&g).unwrap()).unwrap().into_inner();
        let packing = PackingWish { phases: Some([0, 0]), channels: Some(channels), fill: Some(fill), tile: None };
        let opts = CompileOptions { packing, ..options(batch, 12) };
        let layouts = choose_layout(&g, &opts, &Facts, &CostModel::default()).unwrap();
        let p = packed::verify(lower_linear(&g, &layouts).unwrap()).unwrap().into_inner();
        close(&want[0], &packed::interp(&p, &images, batch).unwrap()[0], 2e-3);
        let h = he::verify(place_relin(&assign_levels(&p, &opts, Some(&layouts)).unwrap())).unwrap_or_else(|e| panic!("{e}")).into_inner();
        close(&want[0], &he::interp(&h, &images, batch, None).unwrap()[0], 2e-3);
        let read = |v: usize| g.nodes.iter().any(|n| matches!(n.op, tensor::TensorOp::Chebyshev { .. }) && n.args.iter().any(|a| a.index() == v));
        prop_assert!(channels < 2 || (0..g.nodes.len()).any(|v| layouts.ways[v].modulus.is_some() && read(v)), "no map before a series is cut");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Vectors in the places of rows and columns, and folded maps: the copies of a result that each
    /// take a window of the inputs add up to it.
    #[test]
    fn vectors_lie_in_the_places_of_images(seed in any::<u64>(), side in 3usize..9, middle in 3usize..40, last in 2usize..9) {
        let g = tensor::verify(dense_net(seed, side, &[middle, 6, last])).unwrap_or_else(|e| panic!("{e}")).into_inner();
        let mut rng = Rng(seed ^ 3);
        let images: Vec<f32> = (0..side * side).map(|_| rng.next()).collect();
        let want = tensor::interp(&g, &images, 1).unwrap();
        let g = tensor::verify(fold_scales(&compose_linear(&g).unwrap()).unwrap()).unwrap().into_inner();
        let packing = PackingWish { phases: Some([0, 0]), channels: Some(1), fill: Some(0), tile: None };
        let opts = CompileOptions { packing, ..options(1, 12) };
        let mut layouts = choose_layout(&g, &opts, &Facts, &CostModel::default()).unwrap();
        prop_assert!(layouts.values.iter().filter(|l| l.shape[0] == 6).all(|l| l.copy_slots() == 8), "vectors are not in the lowest slots");
        // The ways that were chosen, and every map folded that can be.
        let mut maps = vec![];
        for folded in [false, true] {
            layouts.ways.iter_mut().for_each(|w| w.folded |= folded);
            let p = packed::verify(lower_linear(&g, &layouts).unwrap()).unwrap().into_inner();
            close(&want[0], &packed::interp(&p, &images, 1).unwrap()[0], 2e-3);
            let h = place_relin(&assign_levels(&p, &opts, Some(&layouts)).unwrap());
            let h = he::verify(h).unwrap_or_else(|e| panic!("{e}")).into_inner();
            close(&want[0], &he::interp(&h, &images, 1, None).unwrap()[0], 2e-3);
            maps.push(p.nodes.len());
        }
        prop_assert!(side < 5 || maps[1] > g.nodes.len(), "no map was folded");
    }
}

/// A wide layer has as many rotations as it has outputs, and a few to add.
#[test]
fn wide_layers_are_folded() {
    let g = tensor::verify(fold_scales(&compose_linear(&dense_net(1, 16, &[32, 6, 4])).unwrap()).unwrap()).unwrap().into_inner();
    let layouts = choose_layout(&g, &options(1, 12), &Facts, &CostModel::default()).unwrap();
    let wide = g.iter().find(|(_, n)| n.source == "fc0").map(|(v, _)| v.index()).unwrap();
    assert!(layouts.ways[wide].folded, "{:?}", layouts.ways);
    let rotations = |n: &chiffre_ir::graph::Node<packed::Packed>| match &n.op {
        packed::PackedOp::Linear { taps, .. } => taps.iter().filter(|t| **t != 0).count(),
        _ => 0,
    };
    let p = lower_linear(&g, &layouts).unwrap();
    let all: usize = p.nodes.iter().filter(|n| n.source == "fc0").map(rotations).sum();
    assert!(all < 32, "{all} rotations");
}
