//! Programs of the target `tfhe`: compiled, inspected and run in the clear.

use crate::common::{ok, refused, shipped};
use crate::end_to_end::npy;
use std::path::Path;

/// Compiles a shipped network on so many of its images.
fn compiled(folder: &Path, model: &str, data: &str, options: &[&str]) -> String {
    let (model, data) = (shipped(model), shipped(data));
    let args = ["compile", model.to_str().unwrap(), "-o", "p.chf", "--target", "tfhe", "--calibrate", data.to_str().unwrap()];
    ok(folder, &[&args[..], options].concat())
}

#[test]
fn a_network_on_integers() {
    let tmp = tempfile::tempdir().unwrap();
    let said = compiled(tmp.path(), "tiny_mlp.onnx", "tiny1_test.npz", &[]);
    for part in ["target       tfhe", "132-bit noise", "look-ups", "wrong with probability 2^-4", "accuracy"] {
        assert!(said.contains(part), "{said}");
    }
    let json: serde_json::Value = serde_json::from_str(&ok(tmp.path(), &["inspect", "p.chf", "--json"])).unwrap();
    assert_eq!(json["security_bits"], 132);
    assert!(json["lookups"].as_u64().unwrap() >= 32 && json["log2_failure"].as_f64().unwrap() <= -40.0, "{json}");
    for stage in ["tensor", "program"] {
        assert!(ok(tmp.path(), &["inspect", "p.chf", "--stage", stage]).contains("linear_map"));
    }
    let (data, model) = (shipped("tiny1_test.npz"), shipped("tiny_mlp.onnx"));
    let (data, model) = (data.to_str().unwrap(), model.to_str().unwrap());
    let said = ok(tmp.path(), &["simulate", "p.chf", "--input", data, "--model", model, "--labels", "-o", "clear.npy"]);
    let share = |text: &str| said.split(text).nth(1).unwrap().trim_start().split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!(share("argmax the same on") >= 95.0 && share("top-1:") >= 80.0, "{said}");
    // The program's text is IR of its level.
    std::fs::write(tmp.path().join("p.qir"), ok(tmp.path(), &["inspect", "p.chf", "--stage", "program"])).unwrap();
    ok(tmp.path(), &["interp", "p.qir", "--consts", "p.chf", "--input", data, "--count", "3", "-o", "again.npy"]);
    let (all, again) = (npy(&tmp.path().join("clear.npy")), npy(&tmp.path().join("again.npy")));
    assert_eq!(all[..again.len()], again);
}

/// Commands that need an engine say that there is none.
#[test]
fn what_needs_an_engine_says_so() {
    let tmp = tempfile::tempdir().unwrap();
    compiled(tmp.path(), "tiny_mlp.onnx", "tiny1_test.npz", &["--calibrate-count", "50"]);
    refused(tmp.path(), &["keygen", "p.chf", "--secret", "s", "--eval", "e"], "no engine for tfhe programs");
}

/// Without images there is nothing to choose integers by.
#[test]
fn calibration_images_are_asked_for() {
    let tmp = tempfile::tempdir().unwrap();
    let model = shipped("tiny_mlp.onnx");
    refused(tmp.path(), &["compile", model.to_str().unwrap(), "-o", "p.chf", "--target", "tfhe"], "[pass quantise] (--calibrate");
}
