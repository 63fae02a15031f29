//! What approximated activations answer where images are unlike those of the calibration: as a
//! camera might shift them, and far beyond. In the clear, on a public network; every answer is
//! bounded, and those to shifted images stay those of the exact network.

use chiffre::data::{DataOptions, Images, load};
use chiffre_backend::cost::CostModel;
use chiffre_ir::gauss::Gauss;
use chiffre_ir::tensor::{TensorGraph, interp, simulate};
use chiffre_passes::activation::degree::{Accuracy, NOISE, compare};
use chiffre_passes::options::{CalibrationSet, CompileOptions};
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::state::State;
use chiffre_testing::{shared, slow};
use std::path::Path;
use std::sync::Arc;

const SHAPE: [usize; 3] = [3, 32, 32];

/// Images under a change of each value `(image, channel, y, x)`, given a look-up of the original's.
fn changed(images: &[f32], f: impl Fn(&dyn Fn(usize, i64, i64) -> f32, usize, usize, usize) -> f32) -> Vec<f32> {
    let [c, h, w] = SHAPE;
    let one = |image: &[f32]| -> Vec<f32> {
        let clamp = |v: i64, n: usize| v.clamp(0, n as i64 - 1) as usize;
        let at = |k: usize, y: i64, x: i64| image[(k * h + clamp(y, h)) * w + clamp(x, w)];
        (0..c * h * w).map(|i| f(&at, i / (h * w), i / w % h, i % w)).collect()
    };
    images.chunks_exact(c * h * w).flat_map(one).collect()
}

/// The mean of the window of 2·reach + 1 pixels around each.
fn blurred(images: &[f32], reach: i64) -> Vec<f32> {
    changed(images, |at, k, y, x| {
        let (y, x) = (y as i64, x as i64);
        let window = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx)));
        window.map(|(dy, dx)| at(k, y + dy, x + dx)).sum::<f32>() / (2 * reach + 1).pow(2) as f32
    })
}

/// The network with its activations of degree 7: all behind bootstraps, or as they are placed for a
/// batch.
fn approximated(g: &TensorGraph, set: &Arc<CalibrationSet>, placed: Option<usize>) -> TensorGraph {
    let mut options = CompileOptions::default();
    options.batch = placed.unwrap_or(options.batch);
    options.activations.calibration = Some(set.clone());
    options.activations.degree = Some(7);
    let cx = Context { options: &options, target: &chiffre::pipeline::CKKS, machine: &CostModel::default() };
    let place = if placed.is_some() { "place-bootstraps," } else { "" };
    let spec = format!(
        "tensor(recognise-activation,fold-affine,compose-linear,remove-dead-channels,{place}calibrate-activations,approximate-activations)"
    );
    Pipeline::parse(&spec).unwrap().run(State::from(g.clone()), &cx, |_, _, _| {}).unwrap().tensor().cloned().unwrap()
}

#[test]
fn shifted_images_keep_their_answers_and_absurd_ones_are_bounded() {
    let (Some(models), Some(data)) = (shared("models"), shared("data")) else { return };
    if !slow("a minute in the clear") {
        return;
    }
    let model = chiffre_frontend::load(&models.join("resnet20_cifar10_relu_fheon_folded.onnx")).unwrap();
    let images = |file: &Path, count: usize| -> Images {
        let normalisation = model.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
        load(file, &DataOptions { shape: SHAPE, normalisation, count: Some(count) }).unwrap()
    };
    let sample = images(&data.join("cifar10_train_calib500.bin"), 500);
    let set = Arc::new(CalibrationSet { images: sample.pixels, n: sample.n, labels: sample.labels });
    let g = approximated(&model.graph, &set, None);
    let Images { pixels, n, .. } = images(&data.join("cifar10_test_evalA1000.bin"), 200);
    let answers = |g: &TensorGraph, x: &[f32]| -> (Vec<f32>, f32) {
        let y = simulate(g, x, n, Some(NOISE)).unwrap().outputs.swap_remove(0);
        let largest = y.iter().fold(0f32, |m, v| if v.is_finite() { m.max(v.abs()) } else { f32::INFINITY });
        (y, largest)
    };
    let beside = |x: &[f32]| -> (Accuracy, f32) {
        let (y, largest) = answers(&g, x);
        (compare(&interp(&model.graph, x, n).unwrap()[0], &y, n, None), largest)
    };
    let noise = |std: f32, seed: u64| (0..pixels.len()).map(move |i| std * Gauss::new(seed).part(i as u64).number() as f32);
    let scaled = |factor: f32| -> Vec<f32> { pixels.iter().map(|x| factor * x).collect() };
    // (images, least agreement): about two standard errors below what was seen.
    let side = SHAPE[2] as i64 - 1;
    let shifted = [
        ("as they are", pixels.clone(), 0.97),
        ("noise of 0.3", pixels.iter().zip(noise(0.3, 1)).map(|(x, e)| x + e).collect(), 0.92),
        ("blurred by 3x3", blurred(&pixels, 1), 0.85),
        ("blurred by 5x5", blurred(&pixels, 2), 0.84),
        ("half of the contrast", scaled(0.5), 0.93),
        ("contrast and a half", scaled(1.5), 0.96),
        ("inverted", scaled(-1.0), 0.87),
        ("turned", changed(&pixels, |at, k, y, x| at(k, x as i64, side - y as i64)), 0.86),
    ];
    for (name, x, least) in shifted {
        let (a, largest) = beside(&x);
        println!("{name}: {a}, largest logit {largest:.1}");
        assert!(a.agreement >= least && largest <= 50.0, "{name}: {a}, {largest}");
    }
    // Far outside answers mean nothing, and are bounded.
    let nothing: Vec<f32> = noise(1.5, 2).collect();
    for (name, x) in [("nothing but noise", nothing.clone()), ("ten times", scaled(10.0)), ("a thousand times", scaled(1000.0))] {
        let (a, largest) = beside(&x);
        println!("{name}: {a}, largest logit {largest:.1}");
        assert!(largest <= 50.0, "{name}: {largest}");
    }
    for (name, value) in [("black", -2.0), ("white", 2.0)] {
        let (_, largest) = answers(&g, &vec![value; pixels.len()]);
        assert!(largest <= 50.0, "{name}: {largest}");
    }
    let checkered = changed(&pixels, |_, _, y, x| if (x + y) % 2 == 0 { 2.0 } else { -2.0 });
    assert!(answers(&g, &checkered).1 <= 50.0);
    // The plan that is compiled by default has series without bootstraps in front.
    let (_, largest) = answers(&approximated(&model.graph, &set, Some(512)), &nothing);
    println!("nothing but noise, as placed for 512: largest logit {largest:.1}");
    assert!(largest.is_finite());
}
