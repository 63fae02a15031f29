//! Encrypted runs at full size, with `CHIFFRE_SLOW=1` only: each takes minutes in a debug build and about 6 GiB.

use chiffre_testing::{shared, slow};
use std::process::Command;

/// What a run at full size takes.
const COST: &str = "minutes and 6 GiB, at 128-bit security";

#[test]
fn demo_agrees() {
    if !slow(COST) {
        return;
    }
    let out = Command::new(env!("CARGO_BIN_EXE_chiffre")).args(["demo", "--progress", "none"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn real_resnet20_agrees() {
    let (model, data) = (shared("models/resnet20_cifar10_quad_aespa.onnx"), shared("data/cifar10_test_evalA1000.bin"));
    let (Some(model), Some(data)) = (model, data) else { return };
    if !slow(COST) {
        return;
    }
    let mut c = Command::new(env!("CARGO_BIN_EXE_chiffre"));
    let out = c
        .arg("bench")
        .arg(model)
        .arg("--data")
        .arg(data)
        .args(["--batch", "64", "--count", "64", "--json", "--progress", "none"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let report: serde_json::Value = serde_json::from_str(String::from_utf8_lossy(&out.stdout).lines().last().unwrap()).unwrap();
    assert!(report["agreement"].as_f64().unwrap() >= 63.0 / 64.0, "{report}");
    assert!(report["max_abs_logit_error"].as_f64().unwrap() <= 0.15, "{report}");
    assert!(report["security_bits"].as_u64().unwrap() >= 128 && report["bootstraps"] == 0, "{report}");
    assert!(report["peak_rss_bytes"].as_u64().unwrap() < 16 << 30, "{report}");
}
