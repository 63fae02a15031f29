//! `check`, on models that are taken and on one that is not.

use crate::common::{fails, ok, shipped};

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
