//! Dead channels and approximated activations on random networks: what is exact stays exact, what
//! is approximated stays close.

mod common;

use chiffre_backend::ckks::Ckks;
use chiffre_backend::cost::CostModel;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{ActivationKind, TensorGraph, TensorOp, TensorType, interp, simulate, verify};
use chiffre_passes::activation::degree::{NOISE, compare};
use chiffre_passes::activation::statistics::measure;
use chiffre_passes::options::{ActivationOptions, ActivationPlan, CalibrationSet, CompileOptions, FitMethod};
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::state::State;
use chiffre_passes::tensor::compose_linear::compose_linear;
use chiffre_passes::tensor::remove_dead_channels::remove_dead_channels;
use common::{Facts, Net, Rng};
use proptest::prelude::*;
use std::sync::Arc;

fn activation(n: &mut Net, x: ValueId, kind: ActivationKind, name: &str) -> ValueId {
    let ty = n.g.ty(x).clone();
    let alpha = matches!(kind, ActivationKind::LeakyRelu).then_some(0.1);
    n.g.push(TensorOp::Activation { kind, alpha }, vec![x], ty, name)
}

/// Zeroes some filters of all weights, with or without their bias; every third one is merely tiny.
fn kill(g: &mut TensorGraph, r: &mut Rng, share: f32) {
    let all: Vec<_> = g
        .nodes
        .iter()
        .filter_map(|n| if let TensorOp::Conv2d { weight, bias, .. } = &n.op { Some((*weight, *bias)) } else { None })
        .collect();
    let mut consts = chiffre_ir::consts::Consts::default();
    for (id, c) in g.consts.iter() {
        let mut a = g.consts.array(id).unwrap().clone();
        for (weight, bias) in &all {
            // The same numbers for a weight and its bias.
            let mut own = Rng(r.0 ^ u64::from(weight.0) << 8);
            for o in 0..g.consts.get(*weight).shape()[0] {
                let (dead, tiny, silent) = ((own.next() + 1.0) / 2.0 < share, own.next() > 0.3, own.next() > 0.0);
                let per = a.data.len() / a.shape[0];
                let row = o * per..(o + 1) * per;
                if dead && id == *weight {
                    a.data[row].fill(if tiny { 1e-38 } else { 0.0 });
                } else if dead && silent && Some(id) == *bias {
                    a.data[row].fill(0.0);
                }
            }
        }
        consts.add(&c.name, a);
    }
    g.consts = consts;
}

/// Two residual blocks, one with a stride and a projection, pooling and a fully connected layer.
fn network(seed: u64, share: f32) -> TensorGraph {
    use ActivationKind::*;
    let mut n = Net { g: TensorGraph::new("net"), rng: Rng(seed) };
    let x = n.g.push(TensorOp::Input {}, vec![], TensorType::new([2, 8, 8]), "x");
    let c = n.conv(x, 6, 3, 1, "conv0");
    let h = activation(&mut n, c, Relu, "relu0");
    let a = n.conv(h, 6, 3, 1, "conv1");
    let a = activation(&mut n, a, LeakyRelu, "relu1");
    let b = n.conv(a, 6, 3, 1, "conv2");
    let ty = n.g.ty(b).clone();
    let s = n.g.push(TensorOp::Add {}, vec![b, h], ty, "add1");
    let h = activation(&mut n, s, Relu, "relu2");
    let a = n.conv(h, 7, 3, 2, "conv3");
    let a = n.poly(a, "poly3");
    let b = n.conv(a, 7, 3, 1, "conv4");
    let p = n.conv(h, 7, 1, 2, "projection");
    let s = n.g.push(TensorOp::Add {}, vec![b, p], TensorType::new([7, 4, 4]), "add2");
    let h = activation(&mut n, s, Silu, "silu4");
    let op = TensorOp::AvgPool { kernel: [4, 4], stride: [1, 1], pad: [0; 4], count_pad: false };
    let p = n.g.push(op, vec![h], TensorType::new([7, 1, 1]), "pool");
    let f = n.g.push(TensorOp::Flatten {}, vec![p], TensorType::new([7]), "flat");
    let weight = n.rng.array(&[3, 7], 1.0);
    let weight = n.g.consts.add("fc", weight);
    let y = n.g.push(TensorOp::Linear { weight, bias: None }, vec![f], TensorType::new([3]), "fc");
    n.g.outputs.push(y);
    let mut r = Rng(seed ^ 99);
    kill(&mut n.g, &mut r, share);
    verify(n.g).unwrap_or_else(|e| panic!("{e}")).into_inner()
}

fn images(seed: u64, n: usize) -> Vec<f32> {
    Rng(seed ^ 5).array(&[n, 128], 1.0).data
}

fn worst(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn removing_dead_channels_is_exact(seed in any::<u64>(), share in 0f32..1.0) {
        let g = network(seed, share);
        let x = images(seed, 4);
        let want = interp(&g, &x, 4).unwrap();
        let composed = compose_linear(&g).unwrap();
        let (h, removed) = remove_dead_channels(&composed).unwrap();
        let h = verify(h).unwrap_or_else(|e| panic!("{e}")).into_inner();
        let size = want[0].iter().fold(1.0f32, |m, v| m.max(v.abs()));
        let error = worst(&interp(&composed, &x, 4).unwrap(), &interp(&h, &x, 4).unwrap());
        prop_assert!(error <= 2e-6 * size && worst(&want, &interp(&h, &x, 4).unwrap()) <= 1e-4 * size, "{} of {}", error, size);
        // Nothing is left that the weights prove dead, so that a second round finds nothing.
        let (again, rest) = remove_dead_channels(&h).unwrap();
        prop_assert!(again == h && rest.channels == 0, "{:?} after {:?}", rest, removed);
        let channels = |g: &TensorGraph| g.nodes.iter().map(|n| n.ty.chw()[0]).sum::<usize>();
        prop_assert!((removed.channels > 0) == (channels(&h) < channels(&composed)));
    }
}

#[test]
fn live_graphs_come_back_as_they_are() {
    let g = compose_linear(&network(3, 0.0)).unwrap();
    let (h, removed) = remove_dead_channels(&g).unwrap();
    assert!(h == g && removed.channels == 0 && removed.zero_filters == 0 && removed.filters > 0);
}

/// Runs the tensor passes with calibration on the images themselves.
fn approximated(g: &TensorGraph, x: &[f32], n: usize, activations: ActivationOptions) -> TensorGraph {
    let calibration = Some(Arc::new(CalibrationSet { images: x.to_vec(), n, labels: None }));
    let options = CompileOptions { activations: ActivationOptions { calibration, ..activations }, ..CompileOptions::default() };
    let cx = Context { options: &options, target: &Ckks::new(&Facts), machine: &CostModel::default() };
    let spec = "tensor(recognise-activation,fold-affine,compose-linear,remove-dead-channels,calibrate-activations,approximate-activations,fold-scales)";
    let state = State::from(g.clone());
    Pipeline::parse(spec).unwrap().run(state, &cx, |_, _, _| {}).unwrap_or_else(|e| panic!("{e}")).tensor().cloned().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn approximated_networks_stay_close(seed in any::<u64>(), refresh in any::<bool>(), per_channel in any::<bool>()) {
        let (g, n) = (network(seed, 0.2), 16);
        let x = images(seed, n);
        let want = interp(&g, &x, n).unwrap();
        let mut o = ActivationOptions { refresh, degree: Some(31), ..ActivationOptions::default() };
        o.fit.per_channel = per_channel;
        // The quadratic in the middle is bootstrapped in one of two cases.
        if refresh {
            o.plans.insert("poly3".into(), ActivationPlan { refresh, degree: 15 });
        }
        let h = approximated(&g, &x, n, o.clone());
        let found = simulate(&h, &x, n, None).unwrap();
        let size = want[0].iter().fold(1.0f32, |m, v| m.max(v.abs()));
        prop_assert!(worst(&want, &found.outputs) <= 0.08 * size, "{} of {}", worst(&want, &found.outputs), size);
        // Ranges were measured with exact activations: errors of earlier approximations take few
        // values out, and not far.
        prop_assert!(found.excess.iter().all(|e| e.images <= 2 && e.largest < 1.1), "{:?}", found.report(n));
        let mut sines = 0;
        for m in &h.nodes {
            assert!(!matches!(m.op, TensorOp::Activation { .. } | TensorOp::Poly { .. } | TensorOp::Affine { .. }));
            if let TensorOp::Chebyshev { sine, certificate: Some(c), .. } = &m.op {
                assert!(matches!(h.node(m.args[0]).op, TensorOp::LinearMap { .. }));
                prop_assert!(c.outside == 0.0 && c.rms <= c.max && c.range[0] <= c.range[1]);
                sines += usize::from(*sine);
            }
        }
        prop_assert_eq!(sines > 0, refresh);
        prop_assert_eq!(&chiffre_ir::text::print(&approximated(&g, &x, n, o)), &chiffre_ir::text::print(&h));
    }
}

fn with_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

#[test]
fn the_number_of_threads_does_not_show() {
    let g = compose_linear(&network(1, 0.2)).unwrap();
    let set = CalibrationSet { images: images(1, 37), n: 37, labels: None };
    let run = |threads| with_threads(threads, || measure(&g, &set, 3).unwrap());
    assert_eq!(run(1), run(3));
}

/// Gradients are probed by what an image is, not by where it stands, and sums are of integers.
#[test]
fn threads_and_the_order_of_images_leave_the_program_as_it_is() {
    let (g, n) = (network(7, 0.2), 24);
    let x = images(7, n);
    let reversed: Vec<f32> = x.chunks_exact(128).rev().flatten().copied().collect();
    let o = ActivationOptions { degree: Some(7), ..ActivationOptions::default() };
    let text = |x: &[f32], threads| with_threads(threads, || chiffre_ir::text::print(&approximated(&g, x, n, o.clone())));
    let want = text(&x, 1);
    assert!(want.contains("ranges=") && text(&x, 2) == want && text(&reversed, 2) == want && text(&reversed, 1) == want);
    let even = ActivationOptions { probes: 0, ..o.clone() };
    assert_ne!(chiffre_ir::text::print(&approximated(&g, &x, n, even)), want);
}

/// The error of the logits on images that were not seen, with slopes and phases searched, beside
/// that of minimax polynomials on the ranges.
#[test]
fn searched_angles_make_logits_better() {
    let mut sums = [0.0; 2];
    for seed in 0..6 {
        let (g, n) = (network(seed, 0.0), 64);
        let (x, y) = (images(seed, n), images(seed + 100, n));
        let want = interp(&g, &y, n).unwrap().remove(0);
        for (sum, method) in sums.iter_mut().zip([FitMethod::LeastSquares, FitMethod::Minimax]) {
            let mut o = ActivationOptions { degree: Some(7), ..ActivationOptions::default() };
            o.fit.method = method;
            let found = simulate(&approximated(&g, &x, n, o), &y, n, Some(NOISE)).unwrap();
            *sum += compare(&want, &found.outputs[0], n, None).logit_error;
        }
    }
    assert!(sums[0] < 0.4 * sums[1], "{sums:?}");
}

/// Behind bootstraps no image, however absurd, gives an absurd answer.
#[test]
fn absurd_images_stay_bounded_behind_bootstraps() {
    let (g, n) = (network(2, 0.0), 32);
    let x = images(2, n);
    let mut o = ActivationOptions { degree: Some(7), ..ActivationOptions::default() };
    o.plans.insert("poly3".into(), ActivationPlan { refresh: true, degree: 7 });
    let h = approximated(&g, &x, n, o);
    let largest = |x: &[f32]| {
        simulate(&h, x, n, Some(NOISE)).unwrap().outputs[0]
            .iter()
            .fold(0f32, |m, y| if y.is_finite() { m.max(y.abs()) } else { f32::INFINITY })
    };
    let usual = largest(&x);
    for factor in [10.0, 1e3, 1e6] {
        let absurd: Vec<f32> = x.iter().map(|x| x * factor).collect();
        assert!(largest(&absurd) < 20.0 * usual, "{factor}: {} {usual}", largest(&absurd));
    }
}

#[test]
fn unusable_calibration_data_are_refused_with_the_node() {
    let g = network(1, 0.0);
    let set = |images: Vec<f32>, n| CalibrationSet { images, n, labels: None };
    let mut bad = images(1, 3);
    bad[130] = f32::NAN;
    let message = |s: &CalibrationSet| measure(&g, s, 0).map(|_| ()).unwrap_err();
    assert_eq!(message(&set(bad, 3)), (String::new(), "image 1 of the calibration data holds NaN: give images of finite values".into()));
    assert!(message(&set(vec![], 0)).1.contains("hold no image"));
    assert!(message(&set(vec![0.0; 5], 1)).1.contains("input has 5 values per image"));
}
