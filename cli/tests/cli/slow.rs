//! Encrypted runs at full size, with `CHIFFRE_SLOW=1` only: each takes minutes in a debug build and
//! about 6 GiB.

use crate::common::{command, ok, root, shipped};
use chiffre_backend::ckks::{Task, peak};
use chiffre_testing::{shared, slow};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

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

/// The shape of PyTorch's tutorial network, with max pooling.
#[test]
fn max_pooling_agrees() {
    if !slow(COST) {
        return;
    }
    let (model, data) = (shipped("cnn_maxpool.onnx"), shipped("shapes_test.npz"));
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    let options = ["--calibrate-count", "128", "--batch", "64", "--count", "64", "--json", "--progress", "none"];
    let said = ok(root(), &[&["bench", model, "--calibrate", data, "--data", data][..], &options].concat());
    let report: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(report["agreement"].as_f64().unwrap() >= 62.0 / 64.0, "{report}");
    assert!(report["logit_error_simulated"].as_f64().unwrap() <= 0.02, "{report}");
    assert!(report["security_bits"].as_u64().unwrap() >= 128 && report["bootstraps"] == 16, "{report}");
}

/// The largest memory of a command, as its status says while it runs.
#[cfg(target_os = "linux")]
fn measured(dir: &Path, arguments: &[&str]) -> usize {
    let mut child = command(dir, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        most = most.max(peak.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success(), "{arguments:?}");
    most
}

/// Bytes that no prediction can tell: pages of the allocator, and when slots are freed.
#[cfg(target_os = "linux")]
const SMALL: usize = 12 << 20;

/// What all commands are predicted to need, in a ring of degree 2^15 with bootstraps: within a
/// tenth or [`SMALL`].
#[cfg(target_os = "linux")]
#[test]
fn memory_of_every_command_is_as_predicted() {
    if !slow(COST) {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let (model, data) = (shipped("tiny_resnet_relu.onnx"), shipped("tiny3_test.npz"));
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    let compile = ["compile", model, "-o", "p.chf", "--calibrate", data, "--batch", "128", "--log-n", "15", "--activation-degree", "7"];
    ok(dir, &compile);
    let program = chiffre_ir::program::file::load(&dir.join("p.chf")).unwrap().program;
    let commands: [(Task, &[&str]); 6] = [
        (Task::Keygen, &["keygen", "p.chf", "--secret", "s", "--eval", "e"]),
        (Task::Canary(100), &["encrypt", "p.chf", "--secret", "s", "--input", data, "--count", "100", "-o", "hidden.ct", "--canary"]),
        (Task::Encrypt(128), &["encrypt", "p.chf", "--secret", "s", "--input", data, "--count", "128", "-o", "in.ct"]),
        (Task::Prepare, &["prepare", "p.chf", "--eval", "e", "-o", "server"]),
        (Task::Run(128), &["run", "p.chf", "--eval", "e", "--input", "in.ct", "-o", "out.ct", "--progress", "none"]),
        (Task::Decrypt(128), &["decrypt", "p.chf", "--secret", "s", "--input", "out.ct", "-o", "y.npy", "--receipt", "in.ct.receipt"]),
    ];
    for (task, arguments) in commands {
        let (got, want) = (measured(dir, &[arguments, &["--threads", "2"]].concat()), peak(&program, task, 2));
        println!("{task:?}: {} MiB, predicted {} MiB", got >> 20, want >> 20);
        let most = (want / 10).max(SMALL);
        assert!(got.abs_diff(want) < most, "{task:?}: {got} bytes, predicted {want}");
    }
}
