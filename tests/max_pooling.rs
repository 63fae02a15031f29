//! The shipped network with max pooling: its plan, and its answers in the clear as an encrypted run
//! makes them, on images that its ranges were not measured on. `slow::max_pooling_agrees` runs it
//! encrypted.

use chiffre::data::{DataOptions, load};
use chiffre::pipeline::{Request, bootstraps, compile};
use chiffre_ir::he::{self, Noise};
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::{OperandRange, interp};
use chiffre_passes::options::{ActivationOptions, CalibrationSet, CompileOptions};
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_network_with_max_pooling_keeps_its_answers() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let model = chiffre_frontend::load(&models.join("cnn_maxpool.onnx")).unwrap();
    let normalisation = model.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
    let all = load(&models.join("shapes_test.npz"), &DataOptions { shape: [3, 32, 32], normalisation, count: None }).unwrap();
    let (batch, len) = (64, 3 * 32 * 32);
    let (x, rest) = all.pixels.split_at(batch * len);
    let labels = all.labels.as_ref().map(|l| l[batch..].to_vec());
    let calibration = Some(Arc::new(CalibrationSet { images: rest.to_vec(), n: all.n - batch, labels }));
    let activations = ActivationOptions { calibration, ..ActivationOptions::default() };
    let options = CompileOptions { batch, activations, ..CompileOptions::default() };
    let compiled = compile(&model, &Request { options, ..Request::default() }).unwrap();
    let p = &compiled.program;
    // One for every ciphertext behind each of the four activations and each half of a pool.
    assert_eq!(bootstraps(p, batch), 16);
    let graph = ProgramFile::in_memory(p.clone(), compiled.stages.clone()).unwrap().he().unwrap();
    let mut noise = Noise::of(p, 1);
    let ours = he::simulate(&graph, x, batch, Some(&mut noise), |_| OperandRange::default()).unwrap().outputs.swap_remove(0);
    let clear = interp(&model.graph, x, batch).unwrap().swap_remove(0);
    let best = |logits: &[f32]| {
        let class = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        logits.chunks(10).map(class).collect::<Vec<_>>()
    };
    let same = best(&ours).iter().zip(best(&clear)).filter(|(a, b)| **a == *b).count();
    assert!(same >= batch - 2, "{same} of {batch}");
    let right = best(&ours).iter().zip(all.labels.unwrap()).filter(|(a, b)| **a == *b as usize).count();
    assert!(right >= 58, "{right} of {batch}");
}
