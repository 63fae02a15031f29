//! The precision of encrypted answers: that the noise model predicts it, and that answers have the
//! scale that their size leaves room for.

#[path = "../passes/tests/common/mod.rs"]
mod common;

use chiffre::data::{DataOptions, load};
use chiffre::pipeline::{Compiled, Request, bootstraps, compile, compile_graph};
use chiffre_client::{ClientKey, Limits};
use chiffre_frontend::Model;
use chiffre_ir::he::{self, Noise};
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::OperandRange;
use chiffre_passes::options::{ActivationOptions, CalibrationSet, CompileOptions, PackingWish};
use chiffre_runtime::Session;
use chiffre_runtime::server::Server;
use common::{Rng, gate_net, with_series};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// Normalised images that ship with a model.
fn images(model: &Model, data: &str, count: usize) -> Vec<f32> {
    let shape: [usize; 3] = model.input_shape.clone().try_into().unwrap();
    let normalisation = model.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
    load(&models().join(data), &DataOptions { shape, normalisation, count: Some(count) }).unwrap().pixels
}

fn compiled(model: &Model, batch: usize, options: CompileOptions) -> Compiled {
    compile(model, &Request { options: CompileOptions { batch, ..options }, ..Request::default() }).unwrap()
}

fn rms_distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    (a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

/// Sums over all positions behind the last rescale add up what key switches leave.
#[test]
fn encrypted_errors_are_as_large_as_predicted() {
    let batch = 32;
    let model = chiffre_frontend::load(&models().join("tiny_resnet_relu.onnx")).unwrap();
    let x = images(&model, "tiny3_test.npz", batch);
    let calibration = Some(Arc::new(CalibrationSet { images: x.clone(), n: batch, labels: None }));
    let activations = ActivationOptions { calibration, degree: Some(7), ..ActivationOptions::default() };
    // Without a bootstrap, and with a scale at which errors of sums are the largest.
    let options = CompileOptions { log_n: Some(11), log_scale: Some(27), allow_insecure: true, activations, ..CompileOptions::default() };
    let compiled = compiled(&model, batch, options);
    assert_eq!(bootstraps(&compiled.program, batch), 0);
    as_predicted("sums at the end", &compiled, &x, batch, 0.6..1.7);
}

/// Positions that are added in front of a map, behind series; behind products they are not.
#[test]
fn positions_are_added_as_precisely_as_predicted() {
    for (series, phases) in [(false, [0, 0]), (false, [0, 1]), (true, [0, 0]), (true, [0, 1])] {
        let g = if series { with_series(gate_net(16, 16), 4, 3, |_| false) } else { gate_net(16, 16) };
        let packing = PackingWish { phases: Some(phases), ..PackingWish::default() };
        let options = CompileOptions { packing, ..common::options(1, 12) };
        let compiled = compile_graph(&g, "gate", &Request { options, ..Request::default() }).unwrap();
        let mut rng = Rng(3);
        let x: Vec<f32> = (0..3 * 16 * 16).map(|_| rng.next()).collect();
        // Few answers, all of two values, and errors within series are no part of the model.
        as_predicted(&format!("series {series}, phases {phases:?}"), &compiled, &x, 1, 0.1..3.0);
    }
}

/// The error of an encrypted run is what the noise in the clear predicts, times something in a
/// range.
fn as_predicted(what: &str, compiled: &Compiled, x: &[f32], batch: usize, ratio: Range<f64>) {
    let seeds = 4;
    let file = ProgramFile::in_memory(compiled.program.clone(), compiled.stages.clone()).unwrap();
    let graph = file.he().unwrap();
    let clear =
        |noise: Option<&mut Noise>| he::simulate(&graph, x, batch, noise, |_| OperandRange::default()).unwrap().outputs.swap_remove(0);
    let exact = clear(None);
    let predicted: f64 =
        (0..seeds).map(|seed| rms_distance(&clear(Some(&mut Noise::of(&compiled.program, seed))), &exact)).sum::<f64>() / seeds as f64;
    let session = Arc::new(Session::new(file, true).unwrap());
    let client = ClientKey::generate(&session).unwrap();
    let keys = client.evaluation_keys(&session).unwrap().prepare(&session);
    let (encrypted, receipt) = client.encrypt(&session, x, batch).unwrap();
    let result = Server::new(session.clone(), keys, 1 << 20).unwrap().run(encrypted).unwrap();
    let found = rms_distance(&client.decrypt(&session, &result, &receipt).unwrap().logits, &exact);
    println!("{what}: predicted {predicted:.2e}, found {found:.2e}");
    assert!(ratio.contains(&(found / predicted)), "{what}: predicted {predicted:.2e}, found {found:.2e}");
}

/// A larger scale has smaller errors, and an answer beyond the limit is lost.
#[test]
fn answers_have_room_and_no_more_than_they_need() {
    for (name, data) in [("tiny_mlp.onnx", "tiny1_test.npz"), ("tiny_cnn.onnx", "tiny1_test.npz"), ("tiny_resnet.onnx", "tiny3_test.npz")] {
        let model = chiffre_frontend::load(&models().join(name)).unwrap();
        let x = images(&model, data, 128);
        let answers = chiffre_ir::tensor::interp(&model.graph, &x, 128).unwrap().remove(0);
        let largest = f64::from(answers.iter().fold(0f32, |m, x| m.max(x.abs())));
        let limit = |options: CompileOptions| {
            let image = Limits::of_program(&compiled(&model, 8, options).program).unwrap().image();
            println!("{name}: answers up to {largest:.2}, limit {image}");
            image
        };
        let by_size = limit(CompileOptions::default());
        assert!((16.0 * largest..1000.0).contains(&by_size), "{name}: {by_size}");
        // What is asked for counts.
        for (log_scale, bits) in [(27, 10.0), (25, 12.0)] {
            let asked = limit(CompileOptions { log_scale: Some(log_scale), ..CompileOptions::default() });
            assert!((asked.log2() - bits).abs() < 0.01, "{name}: {asked}");
        }
    }
}
