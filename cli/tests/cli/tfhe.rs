//! Programs of the target `tfhe`: compiled, inspected and run in the clear, and, with the engine,
//! encrypted.

#[cfg(all(feature = "tfhe", unix))]
use crate::common::command;
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
    // Its page has a row for each value, to which the drawing leads.
    ok(tmp.path(), &["inspect", "p.chf", "--html", "p.html"]);
    let page = std::fs::read_to_string(tmp.path().join("p.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n") && !page.contains("http:"), "{page}");
    for i in 0..json["values"].as_array().unwrap().len() {
        assert!(page.contains(&format!("id=\"layer-{i}\"")) && page.contains(&format!("href=\"#layer-{i}\"")), "{i}");
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

/// With `--answer argmax` nothing is put out but an index, and it is that of the largest of the
/// values of the same network.
#[test]
fn the_answer_may_be_an_index() {
    let tmp = tempfile::tempdir().unwrap();
    compiled(tmp.path(), "tiny_mlp.onnx", "tiny1_test.npz", &["--answer", "argmax"]);
    let (data, model) = (shipped("tiny1_test.npz"), shipped("tiny_mlp.onnx"));
    let (data, model) = (data.to_str().unwrap(), model.to_str().unwrap());
    let said = ok(tmp.path(), &["simulate", "p.chf", "--input", data, "--model", model, "--labels", "-o", "index.npy"]);
    let share = |text: &str| said.split(text).nth(1).unwrap().trim_start().split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!(share("argmax the same on") >= 95.0 && share("top-1:") >= 95.0, "{said}");
    // The same integers without the comparison.
    let passes = "--passes=tensor(recognise-activation,lower-max-pool{form=rectified},fold-affine,compose-linear,remove-dead-channels),\
        quant(quantise{output-scale=common},fit-accumulators,select-tfhe-params),schedule";
    compiled(tmp.path(), "tiny_mlp.onnx", "tiny1_test.npz", &[passes]);
    ok(tmp.path(), &["simulate", "p.chf", "--input", data, "-o", "values.npy"]);
    let (index, values) = (npy(&tmp.path().join("index.npy")), npy(&tmp.path().join("values.npy")));
    assert_eq!((index.len(), values.len()), (128, 4 * 128));
    for (i, row) in index.iter().zip(values.chunks(4)) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(row.iter().position(|x| *x == most), Some(*i as usize), "{row:?}");
    }
    let args = ["compile", model, "-o", "q.chf", "--answer", "argmax"];
    refused(tmp.path(), &args, "--target tfhe");
}

/// Bits stay where they are: one look-up for each activation, and `simulate` says what noise does.
#[test]
fn roundings_may_be_approximate() {
    let tmp = tempfile::tempdir().unwrap();
    compiled(tmp.path(), "tiny_mlp.onnx", "tiny1_test.npz", &["--rounding", "approximate"]);
    let json: serde_json::Value = serde_json::from_str(&ok(tmp.path(), &["inspect", "p.chf", "--json"])).unwrap();
    assert_eq!((json["lookups"].as_u64(), json["approximate"].as_bool()), (Some(32), Some(true)), "{json}");
    let (data, model) = (shipped("tiny1_test.npz"), shipped("tiny_mlp.onnx"));
    let said = ok(tmp.path(), &["simulate", "p.chf", "--input", data.to_str().unwrap(), "--model", model.to_str().unwrap()]);
    let noisy = said.split("With noise as in an encrypted run: argmax the same on").nth(1).unwrap_or_else(|| panic!("{said}"));
    let share: f64 = noisy.trim_start().split(' ').next().unwrap().parse().unwrap();
    // Noise is there, and does little.
    assert!((95.0..=100.0).contains(&share) && !noisy.contains("answers off by 0.00 %"), "{said}");
    refused(tmp.path(), &["compile", model.to_str().unwrap(), "-o", "q.chf", "--rounding", "approximate"], "--target tfhe");
}

/// A network that was trained for tables of sixteen entries needs no bits removed: one look-up for
/// each activation, of 12·16 and of 31·4, since one channel is dead.
#[test]
fn a_network_for_small_integers() {
    let tmp = tempfile::tempdir().unwrap();
    compiled(tmp.path(), "tiny_ternary.onnx", "tiny1_test.npz", &["--accuracy-loss", "4"]);
    let json: serde_json::Value = serde_json::from_str(&ok(tmp.path(), &["inspect", "p.chf", "--json"])).unwrap();
    assert_eq!((json["lookups"].as_u64(), json["removal_params"].is_null()), (Some(12 * 16 + 31 * 4), true), "{json}");
    let data = shipped("tiny1_test.npz");
    let said = ok(tmp.path(), &["simulate", "p.chf", "--input", data.to_str().unwrap(), "--labels"]);
    let top1: f64 = said.split("top-1: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(top1 >= 95.0, "{said}");
}

/// Commands that need the engine say how to build it.
#[cfg(not(feature = "tfhe"))]
#[test]
fn what_needs_an_engine_says_so() {
    let tmp = tempfile::tempdir().unwrap();
    compiled(tmp.path(), "tiny_mlp.onnx", "tiny1_test.npz", &["--calibrate-count", "50"]);
    refused(tmp.path(), &["keygen", "p.chf", "--secret", "s", "--eval", "e"], "--features tfhe");
}

/// Without images there is nothing to choose integers by.
#[test]
fn calibration_images_are_asked_for() {
    let tmp = tempfile::tempdir().unwrap();
    let model = shipped("tiny_mlp.onnx");
    refused(tmp.path(), &["compile", model.to_str().unwrap(), "-o", "p.chf", "--target", "tfhe"], "[pass quantise] (--calibrate");
}

/// Four images under 132-bit noise, from files to files: the answers are those of the clear run.
#[cfg(feature = "tfhe")]
#[test]
fn encrypted_answers_are_those_of_the_clear_run() {
    let tmp = tempfile::tempdir().unwrap();
    let folder = tmp.path();
    compiled(folder, "tiny_mlp.onnx", "tiny1_test.npz", &["--calibrate-count", "100"]);
    let data = shipped("tiny1_test.npz");
    let input = ["--input", data.to_str().unwrap(), "--count", "4"];
    ok(folder, &["keygen", "p.chf", "--secret", "s.key", "--eval", "e.key"]);
    refused(folder, &["keygen", "p.chf", "--secret", "s.key", "--eval", "e2.key"], "s.key is there already");
    ok(folder, &[&["encrypt", "p.chf", "--secret", "s.key", "-o", "in.ct"][..], &input].concat());
    let said = ok(folder, &["run", "p.chf", "--eval", "e.key", "--input", "in.ct", "-o", "out.ct"]);
    assert!(said.contains("4 images"), "{said}");
    ok(folder, &["decrypt", "p.chf", "--secret", "s.key", "--input", "out.ct", "-o", "answers.npy", "--top", "1"]);
    let said = ok(folder, &[&["simulate", "p.chf", "--answers", "answers.npy", "-o", "clear.npy"][..], &input].concat());
    assert!(said.contains("answers.npy: 4 of 4 images have the very answers"), "{said}");
    assert_eq!(npy(&folder.join("answers.npy")), npy(&folder.join("clear.npy")));

    // Another batch under the same key, another key, another program.
    ok(folder, &["encrypt", "p.chf", "--secret", "s.key", "-o", "in2.ct", "--input", data.to_str().unwrap(), "--count", "1"]);
    let other = ["decrypt", "p.chf", "--secret", "s.key", "--input", "out.ct", "-o", "a.npy", "--receipt", "in2.ct.receipt"];
    refused(folder, &other, "it answers another batch");
    ok(folder, &["keygen", "p.chf", "--secret", "s2.key", "--eval", "e2.key"]);
    refused(folder, &["run", "p.chf", "--eval", "e2.key", "--input", "in.ct", "-o", "out2.ct"], "the input is under key");
    refused(folder, &["decrypt", "p.chf", "--secret", "s2.key", "--input", "out.ct", "-o", "a.npy", "--no-receipt"], "is under key");
    let (model, calibration) = (shipped("tiny_mlp.onnx"), data.to_str().unwrap());
    let passes = "--passes=tensor(recognise-activation,lower-max-pool,fold-affine,compose-linear,remove-dead-channels),quant(quantise{weight-bits=2},fit-accumulators{table-bits=4},select-tfhe-params),schedule";
    let args = ["compile", model.to_str().unwrap(), "-o", "q.chf", "--target", "tfhe", "--calibrate", calibration, passes];
    ok(folder, &args);
    refused(folder, &["run", "q.chf", "--eval", "e.key", "--input", "in.ct", "-o", "out2.ct"], "was made for another program");
    refused(folder, &["run", "p.chf", "--eval", "in.ct", "--input", "in.ct", "-o", "out2.ct"], "kind");
}

/// A run that is killed again and again goes on from its last layer, and its result has the bytes
/// of one that nobody disturbed.
#[cfg(all(feature = "tfhe", unix))]
#[test]
fn a_killed_run_goes_on() {
    let tmp = tempfile::tempdir().unwrap();
    let folder = tmp.path();
    compiled(folder, "tiny_mlp.onnx", "tiny1_test.npz", &["--calibrate-count", "100"]);
    let data = shipped("tiny1_test.npz");
    ok(folder, &["keygen", "p.chf", "--secret", "s.key", "--eval", "e.key"]);
    ok(folder, &["encrypt", "p.chf", "--secret", "s.key", "-o", "in.ct", "--input", data.to_str().unwrap(), "--count", "3"]);
    let run = |output: &'static str| ["run", "p.chf", "--eval", "e.key", "--input", "in.ct", "-o", output, "--checkpoint-every", "0"];
    ok(folder, &run("whole.ct"));
    let journal = folder.join("out.ct.partial-run");
    let manifest = || std::fs::read(journal.join("manifest.chf")).ok();
    let mut kills = 0;
    let ended = loop {
        let before = manifest();
        let mut child = command(folder, &run("out.ct")).stdout(std::process::Stdio::piped()).spawn().unwrap();
        // It is killed behind its first new checkpoint. Before the first and behind the last one
        // there is none.
        while manifest().is_none_or(|m| Some(&m) == before.as_ref()) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => child.kill().unwrap(),
        }
        child.wait().unwrap();
        kills += 1;
    };
    assert!(ended.success() && kills >= 3, "{kills} kills");
    assert_eq!(std::fs::read(folder.join("out.ct")).unwrap(), std::fs::read(folder.join("whole.ct")).unwrap());
    assert!(!journal.exists());
    ok(folder, &["decrypt", "p.chf", "--secret", "s.key", "--input", "out.ct", "-o", "answers.npy", "--no-receipt"]);
}
