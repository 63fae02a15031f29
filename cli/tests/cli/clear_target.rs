//! Programs of the target `clear`: IR in a file that `chiffre interp` runs on images alone.

use crate::common::{ok, shipped};
use crate::end_to_end::{npy, reference};

/// Compiles for the target, runs the program on some images, and compares with the model.
fn agrees(model: &str, data: &str, count: usize) {
    let tmp = tempfile::tempdir().unwrap();
    let (model, data, c) = (shipped(model), shipped(data), count.to_string());
    let said = ok(tmp.path(), &["compile", model.to_str().unwrap(), "-o", "p.tir", "--target", "clear"]);
    for part in ["target       clear", "memory", "time", "`chiffre interp` runs it"] {
        assert!(said.contains(part), "{said}");
    }
    // The text and the constants beside it are all that a run needs.
    ok(tmp.path(), &["interp", "p.tir", "--input", data.to_str().unwrap(), "--count", &c, "-o", "logits.npy"]);
    let (got, want) = (npy(&tmp.path().join("logits.npy")), reference(&model, &data, count));
    assert_eq!(got.len(), want.len());
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-3, "largest difference {worst}");
}

/// The program carries the normalisation of 8-bit pixels.
#[test]
fn a_network_on_pixels() {
    agrees("tiny_cnn.onnx", "tiny1_test.npz", 5);
}

/// Nothing is approximated, so nothing has to be calibrated.
#[test]
fn activations_stay_as_they_are() {
    agrees("tiny_resnet_relu.onnx", "tiny3_test.npz", 5);
}
