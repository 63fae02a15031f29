//! Encrypted runs at full size, with `CHIFFRE_SLOW=1` only: each takes minutes in a debug build and
//! about 6 GiB.

use crate::common::{ok, root};
use chiffre_testing::{shared, slow};
use std::path::Path;

/// What a run at full size takes.
const COST: &str = "minutes and 6 GiB, at 128-bit security";

#[test]
fn demo_agrees() {
    if !slow(COST) {
        return;
    }
    ok(Path::new("."), &["demo", "--progress", "none"]);
}

#[test]
fn real_resnet20_agrees() {
    let (model, data) = (shared("models/resnet20_cifar10_quad_aespa.onnx"), shared("data/cifar10_test_evalA1000.bin"));
    let (Some(model), Some(data)) = (model, data) else { return };
    if !slow(COST) {
        return;
    }
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    let said = ok(root(), &["bench", model, "--data", data, "--batch", "64", "--count", "64", "--json", "--progress", "none"]);
    let report: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(report["agreement"].as_f64().unwrap() >= 63.0 / 64.0, "{report}");
    assert!(report["max_abs_logit_error"].as_f64().unwrap() <= 0.15, "{report}");
    assert!(report["security_bits"].as_u64().unwrap() >= 128 && report["bootstraps"] == 0, "{report}");
    assert!(report["peak_rss_bytes"].as_u64().unwrap() < 16 << 30, "{report}");
}
