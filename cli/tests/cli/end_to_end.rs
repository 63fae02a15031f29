//! The whole path on the shipped tiny networks, as a user runs it: separate processes in separate
//! folders, the server's with only the program, the evaluation keys and the ciphertexts. Tiny rings
//! (insecure, marked) keep it to seconds.

use crate::common::{fails, ok, refused, shipped};
use std::path::Path;

pub fn npy(path: &Path) -> Vec<f32> {
    let b = std::fs::read(path).expect("logits were written");
    let header = u16::from_le_bytes([b[8], b[9]]) as usize;
    b[10 + header..].chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

pub fn reference(model: &Path, data: &Path, count: usize) -> Vec<f32> {
    let m = chiffre_frontend::load(model).unwrap();
    let d = |i: usize| m.input_shape.get(i).copied().unwrap_or(1);
    let normalisation = m.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
    let options = chiffre::data::DataOptions { shape: [d(0), d(1), d(2)], normalisation, count: Some(count) };
    let images = chiffre::data::load(data, &options).unwrap();
    chiffre_frontend::Reference::load(model).unwrap().run(&images.pixels, images.n).unwrap()
}

/// Compiles, runs client and server apart, and compares with the clear run.
fn apart(model: &str, data: &str, batch: usize, count: usize, passes: Option<&str>) {
    let tmp = tempfile::tempdir().unwrap();
    let (client, server) = (tmp.path().join("client"), tmp.path().join("server"));
    std::fs::create_dir_all(&client).unwrap();
    std::fs::create_dir_all(&server).unwrap();
    let (model, data) = (shipped(model), shipped(data));
    let (m, d, b, c) = (model.to_str().unwrap(), data.to_str().unwrap(), batch.to_string(), count.to_string());
    let passes = passes.map_or(vec![], |p| vec!["--passes", p]);
    ok(&client, &[&["compile", m, "-o", "p.chf", "--batch", &b, "--log-n", "11", "--allow-insecure"], &passes[..]].concat());
    ok(&client, &["keygen", "p.chf", "--secret", "secret.key", "--eval", "eval.key", "--allow-insecure"]);
    ok(&client, &["encrypt", "p.chf", "--secret", "secret.key", "--input", d, "--count", &c, "-o", "in.ct", "--allow-insecure"]);
    for f in ["p.chf", "eval.key", "in.ct"] {
        std::fs::copy(client.join(f), server.join(f)).unwrap();
    }
    ok(&server, &["run", "p.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "out.ct", "--allow-insecure", "--progress", "none"]);
    std::fs::copy(server.join("out.ct"), client.join("out.ct")).unwrap();
    let top = ok(
        &client,
        &["decrypt", "p.chf", "--secret", "secret.key", "--input", "out.ct", "-o", "logits.npy", "--top", "1", "--allow-insecure"],
    );
    assert_eq!(top.lines().count(), count);
    let (got, want) = (npy(&client.join("logits.npy")), reference(&model, &data, count));
    assert_eq!(got.len(), want.len());
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{m}: largest logit error {worst}");
    assert!(worst < 0.02, "largest logit error {worst}");

    let sim = ok(&client, &["simulate", "p.chf", "--input", d, "--count", &c, "--labels"]);
    assert!(sim.contains("top-1"), "{sim}");
    for stage in ["tensor", "packed", "he", "program"] {
        for format in ["text", "json", "dot"] {
            assert!(!ok(&client, &["inspect", "p.chf", "--stage", stage, "--format", format]).is_empty());
        }
    }
    // The server refuses what does not belong together.
    refused(&server, &["run", "p.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "x.ct"], "--allow-insecure");
    refused(
        &server,
        &["run", "p.chf", "--eval", "in.ct", "--input", "in.ct", "-o", "x.ct", "--allow-insecure"],
        "expected `evaluation-keys`",
    );
    ok(&client, &["keygen", "p.chf", "--secret", "other.key", "--eval", "other.eval", "--allow-insecure"]);
    refused(
        &client,
        &["run", "p.chf", "--eval", "other.eval", "--input", "in.ct", "-o", "x.ct", "--allow-insecure"],
        "different secret keys",
    );
    refused(&client, &["decrypt", "p.chf", "--secret", "other.key", "--input", "out.ct", "-o", "x.npy", "--allow-insecure"], "under key");
    ok(&client, &["compile", m, "-o", "q.chf", "--batch", "3", "--log-n", "11", "--allow-insecure"]);
    refused(&client, &["run", "q.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "x.ct", "--allow-insecure"], "another program");
    assert!(!client.join("x.ct").exists() && !client.join("x.npy").exists());
}

#[test]
fn tiny_mlp_real_slots() {
    apart("tiny_mlp.onnx", "tiny1_test.npz", 8, 8, None);
}

#[test]
fn tiny_cnn_complex_slots_partial_batch() {
    // 2^10 slots hold 16 images of 64 pixels, complex packing 32; 29 of them are used.
    apart("tiny_cnn.onnx", "tiny1_test.npz", 32, 29, None);
}

#[test]
fn tiny_resnet_as_the_search_packs_it() {
    apart("tiny_resnet.onnx", "tiny3_test.npz", 70, 70, None);
}

/// Channels in the slots, with copies of all of them above: rotations are cut into baby steps and
/// giant steps.
#[test]
fn tiny_resnet_with_channels_in_the_slots() {
    for (packing, batch, count) in
        [("phases=0x0,channels=3,fill=2", 1, 1), ("phases=0x0,channels=2,fill=0", 2, 2), ("phases=0x1,channels=4,fill=4", 1, 1)]
    {
        let passes = format!(
            "tensor(recognise-activation,fold-affine,compose-linear,fold-scales),choose-layout{{{packing}}},lower-linear,\
             he(assign-levels,place-relin,select-params),schedule"
        );
        apart("tiny_resnet.onnx", "tiny3_test.npz", batch, count, Some(&passes));
    }
}

#[test]
fn tiny_resnet_units_merged_by_strides_and_a_partial_batch() {
    // 32 images of 64 pixels in a unit; the strides make one unit of four. Units 4 to 6 of the
    // batch hold no image.
    for tile in [1, 64] {
        let passes = format!(
            "tensor(recognise-activation,fold-affine,compose-linear,fold-scales),choose-layout{{phases=0x0,fill=0,tile={tile}}},\
             lower-linear,he(assign-levels,place-relin,select-params),schedule"
        );
        apart("tiny_resnet.onnx", "tiny3_test.npz", 200, 120, Some(&passes));
    }
}

/// A network with cubic and quartic activations, which `minimise-products` takes apart, encrypted,
/// without calibration data.
#[test]
fn cubic_and_quartic_activations_as_products() {
    use chiffre_ir::tensor::{TensorOp, interp};
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let model = chiffre_frontend::load(&shipped("tiny_mlp.onnx")).unwrap();
    for coefficients in [vec![0.1, 0.5, 0.25, -0.125], vec![0.1, 0.5, 0.25, 0.125, -0.0625], vec![0.0, 0.0, 0.0, 0.0, 0.25]] {
        let mut g = (*model.graph).clone();
        let shape = vec![1, coefficients.len()];
        let coeffs = g.consts.add("form", chiffre_ir::consts::Array::new(shape, coefficients));
        for n in g.nodes.iter_mut().filter(|n| matches!(n.op, TensorOp::Square {} | TensorOp::Mul {})) {
            n.op = TensorOp::Poly { coeffs };
            n.args.truncate(1);
        }
        let options = chiffre_passes::options::CompileOptions { batch: 8, log_n: Some(11), allow_insecure: true, ..Default::default() };
        let compiled =
            chiffre::pipeline::compile_graph(&g, "cubic", &chiffre::pipeline::Request { options, ..Default::default() }).unwrap();
        assert_eq!(compiled.explained.len(), 1);
        chiffre_ir::program::file::save(&dir.join("p.chf"), &compiled.program, &compiled.stages).unwrap();
        let pixels = chiffre_passes::reduce::noise([0, 1, 2].map(|i: usize| model.input_shape.get(i).copied().unwrap_or(1)), 8);
        let shape: Vec<usize> = std::iter::once(8).chain(model.input_shape.iter().copied()).collect();
        let array = ndarray::ArrayD::from_shape_vec(shape, pixels.clone()).unwrap();
        ndarray_npy::write_npy(dir.join("x.npy"), &array).unwrap();
        let keys = ["--secret", "secret.key", "--allow-insecure"];
        ok(dir, &[&["keygen", "p.chf", "--eval", "eval.key"], &keys[..]].concat());
        ok(dir, &[&["encrypt", "p.chf", "--input", "x.npy", "-o", "in.ct"], &keys[..]].concat());
        ok(dir, &["run", "p.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "out.ct", "--allow-insecure", "--progress", "none"]);
        ok(dir, &[&["decrypt", "p.chf", "--input", "out.ct", "-o", "logits.npy"], &keys[..]].concat());
        let (got, want) = (npy(&dir.join("logits.npy")), interp(&g, &pixels, 8).unwrap().remove(0));
        let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("largest logit error {worst}");
        assert!(got.len() == want.len() && worst < 0.02, "largest logit error {worst}");
        for f in ["secret.key", "eval.key", "in.ct", "out.ct", "logits.npy"] {
            std::fs::remove_file(dir.join(f)).unwrap();
        }
    }
}

#[test]
fn compiling_twice_gives_the_same_bytes() {
    let tmp = tempfile::tempdir().unwrap();
    let model = shipped("tiny_resnet.onnx");
    let m = model.to_str().unwrap();
    ok(tmp.path(), &["compile", m, "-o", "a.chf", "--log-n", "11", "--allow-insecure", "--threads", "1"]);
    ok(tmp.path(), &["compile", m, "-o", "b.chf", "--log-n", "11", "--allow-insecure", "--threads", "2"]);
    assert_eq!(std::fs::read(tmp.path().join("a.chf")).unwrap(), std::fs::read(tmp.path().join("b.chf")).unwrap());
}

#[test]
fn bench_reports_agreement() {
    let tmp = tempfile::tempdir().unwrap();
    let (model, data) = (shipped("tiny_cnn.onnx"), shipped("tiny1_test.npz"));
    let args = [
        "bench",
        model.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--batch",
        "32",
        "--count",
        "40",
        "--log-n",
        "11",
        "--allow-insecure",
        "--json",
    ];
    let out = ok(tmp.path(), &args);
    let report: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(report["images"], 40);
    assert_eq!(report["agreement"], 1.0);
    assert_eq!(report["security_bits"], 0);
    assert!(report["max_abs_logit_error"].as_f64().unwrap() < 0.02);
}

#[test]
fn budgets_and_wrong_models_are_refused_by_name() {
    let tmp = tempfile::tempdir().unwrap();
    let model = shipped("resnet20_shapes.onnx");
    refused(tmp.path(), &["compile", model.to_str().unwrap(), "-o", "p.chf", "--memory", "1GiB"], "or a smaller batch (--memory, --batch)");
    refused(tmp.path(), &["compile", model.to_str().unwrap(), "-o", "p.chf", "--log-n", "14"], "levels");
    refused(tmp.path(), &["compile", "missing.onnx", "-o", "p.chf"], "missing.onnx");
    refused(tmp.path(), &["compile", model.to_str().unwrap(), "-o", "p.chf", "--passes", "schedul"], "did you mean `schedule`");
    assert!(!tmp.path().join("p.chf").exists());
}

/// Every command refuses what needs too much memory, whatever the file says of itself, before it
/// reads keys and images: they do not exist here.
#[test]
fn too_much_memory_is_refused_before_anything_is_read() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, model) = (tmp.path(), shipped("tiny_cnn.onnx"));
    ok(dir, &["compile", model.to_str().unwrap(), "-o", "p.chf", "--batch", "4", "--log-n", "10", "--allow-insecure"]);
    let data = shipped("tiny1_test.npz");
    let data = data.to_str().unwrap();
    let commands: [(&str, &[&str]); 5] = [
        ("key generation", &["keygen", "p.chf", "--secret", "s", "--eval", "e"]),
        ("encryption of 4 images", &["encrypt", "p.chf", "--secret", "none", "--input", data, "--count", "4", "-o", "x"]),
        ("preparation", &["prepare", "p.chf", "--eval", "none", "-o", "x"]),
        ("a run on 3 images", &["run", "p.chf", "--eval", "none", "--input", "in.ct", "-o", "x"]),
        ("decryption of 3 answers", &["decrypt", "p.chf", "--secret", "none", "--input", "out.ct", "-o", "x"]),
    ];
    ok(dir, &["keygen", "p.chf", "--secret", "secret", "--eval", "eval", "--allow-insecure"]);
    let encrypt = ["encrypt", "p.chf", "--secret", "secret", "--input", data, "--count", "3", "-o", "in.ct", "--allow-insecure"];
    ok(dir, &encrypt);
    ok(dir, &["run", "p.chf", "--eval", "eval", "--input", "in.ct", "-o", "out.ct", "--allow-insecure"]);
    for (what, arguments) in commands {
        let tight = [arguments, &["--memory", "20MiB", "--allow-insecure"]].concat();
        let error = fails(dir, 2, &tight);
        assert!(error.contains(&format!("{what} is predicted to need ")) && error.contains("the budget is 20.0 MiB"), "{error}");
        // A limit of the process counts as the machine's memory. (What the data owner does with
        // this program needs less than any process takes.)
        #[cfg(unix)]
        if ["prepare", "run"].contains(&arguments[0]) {
            let script = "ulimit -v 126976; exec \"$0\" \"$@\"";
            let limited = [&["-c", script, env!("CARGO_BIN_EXE_chiffre")], arguments, &["--threads", "1", "--allow-insecure"]].concat();
            let out = std::process::Command::new("sh").args(limited).current_dir(dir).output().unwrap();
            let error = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.code() == Some(2) && error.contains("(ulimit -v) is 124.0 MiB"), "{error}");
        }
    }
    assert!(!dir.join("s").exists() && !dir.join("x.partial-run").exists());
}

/// What does everything in one process is admitted like the commands that it joins, before it makes
/// keys.
#[cfg(unix)]
#[test]
fn bench_and_demo_are_admitted() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, model, data) = (tmp.path(), shipped("tiny_cnn.onnx"), shipped("tiny1_test.npz"));
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    // Large enough for compiling, and too small for the run.
    let options = ["--batch", "4", "--log-n", "17", "--threads", "1"];
    ok(dir, &[&["compile", model, "-o", "p.chf"][..], &options].concat());
    let overview: serde_json::Value = serde_json::from_str(&ok(dir, &["inspect", "p.chf", "--json"])).unwrap();
    let kilobytes = overview["predicted_peak_bytes"].as_u64().unwrap() / 1024 * 3 / 4;
    assert!(kilobytes > 400_000, "{kilobytes} kB are too few for a test");
    let limited = |arguments: &[&str]| {
        let script = format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"");
        let all = [&["-c", &script, env!("CARGO_BIN_EXE_chiffre")], arguments].concat();
        let out = std::process::Command::new("sh").args(all).current_dir(dir).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, error) = limited(&[&["bench", model, "--data", data, "--count", "4"][..], &options].concat());
    assert!(code == Some(2) && error.contains("a run on 4 images is predicted to need") && error.contains("(ulimit -v) is"), "{error}");
    refused(dir, &["demo", "--memory", "1GiB"], "the budget is 1.0 GiB");
}

/// Nobody waits for what a pipe may bring.
#[cfg(unix)]
#[test]
fn pipes_are_refused_as_inputs() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    assert!(std::process::Command::new("mkfifo").arg(dir.join("pipe")).status().unwrap().success());
    std::fs::write(dir.join("empty.npy"), "").unwrap();
    for arguments in [
        &["inspect", "pipe"][..],
        &["compile", "pipe", "-o", "p.chf"],
        &["keygen", "pipe", "--secret", "s", "--eval", "e"],
        &["interp", "pipe", "--input", "empty.npy"],
    ] {
        refused(dir, arguments, "it is a pipe or a device, not a file");
    }
}
