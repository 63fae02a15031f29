//! `check`, on models that are taken and on one that is not.

use crate::common::{fails, ok, shipped};
use crate::onnx::{Onnx, noise};

#[test]
fn a_model_that_is_taken() {
    let tmp = tempfile::tempdir().unwrap();
    let model = shipped("tiny_cnn.onnx");
    let text = ok(tmp.path(), &["check", model.to_str().unwrap()]);
    for line in ["exact        ", "input        \"", "output       \""] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("refused"), "{text}");
    // Extents that contradict the file's.
    let error = fails(tmp.path(), 2, &["check", model.to_str().unwrap(), "--input-shape", "9,9,9"]);
    assert!(error.contains("takes images of shape") && error.contains("not [9, 9, 9]"), "{error}");
}

/// A file with two obstacles, and one whose end is left to the owner of the key.
#[test]
fn obstacles_and_tails() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let bad = Onnx::new(17, &[0, 3, 0, 6]).node("LRN", "x", "a", &[]).node("Foo", "a", "y", &[]);
    std::fs::write(dir.join("bad.onnx"), bad.bytes()).unwrap();
    for command in [&["check", "bad.onnx"][..], &["compile", "bad.onnx", "-o", "p.chf"]] {
        let error = fails(dir, 2, command);
        for part in ["3 things stand in the way", "must have fixed extents", "(LRN)", "(Foo)", "(--input-shape C,H,W)"] {
            assert!(error.contains(part), "{error}");
        }
    }
    let error = fails(dir, 2, &["check", "bad.onnx", "--input-shape", "3,6,6"]);
    assert!(error.contains("2 things stand in the way"), "{error}");

    let good = Onnx::new(17, &[0, 3]).weights("w", &[3, 4]).node("MatMul", "x w", "z", &[]).node("Softmax", "z", "y", &[]);
    std::fs::write(dir.join("good.onnx"), good.bytes()).unwrap();
    let text = ok(dir, &["check", "good.onnx"]);
    assert!(text.contains("output \"y\" is left before its softmax (node \"/net/Softmax_y\")"), "{text}");
    let text = ok(dir, &["compile", "good.onnx", "-o", "p.chf", "--batch", "4", "--log-n", "10", "--allow-insecure"]);
    assert!(text.contains("left before its softmax"), "{text}");
    let x = noise(12, 3);
    chiffre::logits::write_logits(&dir.join("x.npy"), &x, 3).unwrap();
    ok(dir, &["keygen", "p.chf", "--secret", "s.key", "--eval", "e.key", "--allow-insecure"]);
    ok(dir, &["encrypt", "p.chf", "--secret", "s.key", "--input", "x.npy", "-o", "in.ct", "--allow-insecure"]);
    ok(dir, &["run", "p.chf", "--eval", "e.key", "--input", "in.ct", "-o", "out.ct", "--allow-insecure"]);
    ok(dir, &["decrypt", "p.chf", "--secret", "s.key", "--input", "out.ct", "-o", "y.npy", "--allow-insecure"]);
    ok(dir, &["interp", "good.onnx", "--input", "x.npy", "-o", "clear.npy"]);
    let [y, clear] = ["y.npy", "clear.npy"].map(|f| chiffre::data::load_logits(&dir.join(f), 4).unwrap());
    assert!(y.chunks(4).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5), "{y:?}");
    assert!(y.iter().zip(&clear).all(|(a, b)| (a - b).abs() < 1e-3), "{y:?} {clear:?}");
    let text = ok(dir, &["simulate", "p.chf", "--input", "x.npy", "--answers", "y.npy", "--model", "good.onnx"]);
    assert!(text.contains("argmax as simulated on 100.00 %"), "{text}");
}

/// Slopes of channels, and a function in pieces: each becomes one series.
#[test]
fn functions_of_one_value_are_approximated() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let o = Onnx::new(17, &[0, 3]).weights("a", &[3, 6]).weights("slopes", &[6]).weights("b1", &[6, 4]).weights("last", &[4, 2]);
    let o = o.node("MatMul", "x a", "u", &[]).node("PRelu", "u slopes", "v", &[]).node("MatMul", "v b1", "w", &[]);
    let o = o.node("Softplus", "w", "s", &[]).node("Tanh", "s", "t", &[]).node("Mul", "w t", "m", &[]).node("MatMul", "m last", "y", &[]);
    std::fs::write(dir.join("net.onnx"), o.bytes()).unwrap();
    chiffre::logits::write_logits(&dir.join("x.npy"), &noise(3 * 256, 5), 3).unwrap();
    let options = ["--calibrate", "x.npy", "--activation-degree", "15", "--batch", "4", "--log-n", "11", "--allow-insecure"];
    ok(dir, &[&["compile", "net.onnx", "-o", "p.chf"][..], &options].concat());
    let text = ok(dir, &["inspect", "p.chf"]);
    assert!(text.contains("mul(x, tanh(softplus(x)))") && text.contains("add(max(x, 0), mul(p0, min(x, 0)))"), "{text}");
    let text = ok(dir, &["simulate", "p.chf", "--input", "x.npy", "--model", "net.onnx", "--count", "64"]);
    let beside = text.lines().find(|line| line.starts_with("beside the original network")).unwrap_or_default();
    let error = beside.split("logit error ").nth(1).and_then(|t| t.split(' ').next()).and_then(|t| t.parse::<f64>().ok());
    assert!(error.is_some_and(|e| e < 5.0), "{text}");
}
