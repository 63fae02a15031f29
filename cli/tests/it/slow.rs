//! Encrypted runs at full size, with `CHIFFRE_SLOW=1` only: each takes minutes in a debug build and about 6 GiB.

use crate::common::{ok, root};
use std::path::Path;

fn slow() -> bool {
    let on = std::env::var("CHIFFRE_SLOW").is_ok_and(|v| v == "1");
    if !on {
        println!("skipped: a 128-bit secure ResNet-20 run takes minutes and 6 GiB; set CHIFFRE_SLOW=1");
    }
    on
}

#[test]
fn demo_agrees() {
    if !slow() {
        return;
    }
    ok(Path::new("."), &["demo", "--progress", "none"]);
}

#[test]
fn real_resnet20_agrees() {
    let shared = root().join("../shared");
    if !shared.exists() {
        println!("skipped: there is no folder ../shared with real models and images");
        return;
    }
    if !slow() {
        return;
    }
    let (model, data) = (shared.join("models/resnet20_cifar10_quad_aespa.onnx"), shared.join("data/cifar10_test_evalA1000.bin"));
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    let said = ok(root(), &["bench", model, "--data", data, "--batch", "64", "--count", "64", "--json", "--progress", "none"]);
    let report: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(report["agreement"].as_f64().unwrap() >= 63.0 / 64.0, "{report}");
    assert!(report["max_abs_logit_error"].as_f64().unwrap() <= 0.15, "{report}");
    assert!(report["security_bits"].as_u64().unwrap() >= 128 && report["bootstraps"] == 0, "{report}");
    assert!(report["peak_rss_bytes"].as_u64().unwrap() < 16 << 30, "{report}");
}
