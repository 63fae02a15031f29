//! A shipped ReLU network through bootstraps, as a user runs it, with one image that no calibration
//! has seen; and what bootstraps must hold to be safe. Rings are tiny (insecure, marked) where
//! ciphertexts are made.

use crate::common::{ok, refused, shipped, succeeds};
use chiffre::data::{DataOptions, load};
use chiffre::overview::Overview;
use chiffre::pipeline::{Compiled, Request, compile};
use chiffre_ir::program::ProgramOp;
use chiffre_ir::program::file::ProgramFile;
use chiffre_passes::options::{ActivationOptions, BootstrapWish, CalibrationSet, CompileOptions};
use chiffre_runtime::{RuntimeError, Session};
use ndarray::Array4;
use ndarray_npy::WriteNpyExt;
use std::path::PathBuf;
use std::sync::Arc;

const PASSES: &str = "tensor(recognise-activation,fold-affine,compose-linear,remove-dead-channels,calibrate-activations,\
                      approximate-activations{refresh=yes},fold-scales),choose-layout,lower-linear,he(assign-levels,place-relin,select-params),schedule";

fn model() -> PathBuf {
    shipped("tiny_resnet_relu.onnx")
}

fn data() -> PathBuf {
    shipped("tiny3_test.npz")
}

/// Normalised shipped images.
fn images(count: usize) -> chiffre::data::Images {
    let m = chiffre_frontend::load(&model()).unwrap();
    let normalisation = m.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
    load(&data(), &DataOptions { shape: [3, 8, 8], normalisation, count: Some(count) }).unwrap()
}

#[test]
fn encrypted_answers_are_the_simulated_ones_and_an_absurd_image_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let (n, absurd) = (40, 7);
    let mut x = images(n);
    x.pixels[absurd * 192..(absurd + 1) * 192].iter_mut().for_each(|v| *v *= 100.0);
    let array = Array4::from_shape_vec((n, 3, 8, 8), x.pixels.clone()).unwrap();
    array.write_npy(std::fs::File::create(dir.join("x.npy")).unwrap()).unwrap();

    let (m, d) = (model(), data());
    let (m, d) = (m.to_str().unwrap(), d.to_str().unwrap());
    ok(dir, &["compile", m, "-o", "p.chf", "--calibrate", d, "--batch", "40", "--log-n", "11", "--allow-insecure", "--passes", PASSES]);
    let shown = ok(dir, &["inspect", "p.chf"]);
    assert!(shown.contains(" bootstraps (") && shown.matches("relu ").count() == 5, "{shown}");
    ok(dir, &["keygen", "p.chf", "--secret", "s", "--eval", "e", "--allow-insecure"]);
    // It is outside of the range of 8-bit pixels.
    refused(
        dir,
        &["encrypt", "p.chf", "--secret", "s", "--input", "x.npy", "-o", "in.ct", "--allow-insecure"],
        "x.npy[7]: it has the value ",
    );
    ok(dir, &["encrypt", "p.chf", "--secret", "s", "--input", "x.npy", "-o", "in.ct", "--unscreened", "--allow-insecure"]);
    ok(dir, &["run", "p.chf", "--eval", "e", "--input", "in.ct", "-o", "out.ct", "--allow-insecure", "--progress", "none"]);
    ok(dir, &["decrypt", "p.chf", "--secret", "s", "--input", "out.ct", "-o", "y.npy", "--allow-insecure"]);

    let said = ok(dir, &["simulate", "p.chf", "--input", "x.npy", "--answers", "y.npy", "-o", "sim.npy"]);
    assert!(said.contains("1 of 40 images leave the range of an activation\n  node \""), "{said}");
    let same = said.split("argmax as simulated on ").nth(1).and_then(|t| t.split(' ').next()).and_then(|t| t.parse::<f64>().ok());
    // The absurd image's own answer is noise.
    assert!(same.is_some_and(|s| s >= 100.0 * 39.0 / 40.0 - 0.01), "{said}");

    // The others have the answers of the exact network.
    let clear = chiffre_frontend::Reference::load(&model()).unwrap().run(&x.pixels, n).unwrap();
    let got = chiffre::data::load_logits(&dir.join("y.npy"), 4).unwrap();
    let best = |l: &[f32], i: usize| chiffre::logits::argmax(&l[4 * i..4 * i + 4]);
    let changed = (0..n).filter(|&i| i != absurd && best(&clear, i) != best(&got, i)).count();
    assert!(changed <= 1, "{changed} answers of others changed");
    // The original network, on the images as they are.
    let said = ok(dir, &["simulate", "p.chf", "--input", d, "--count", "40", "--model", m]);
    let beside = said.lines().find_map(|l| l.strip_prefix("beside the original network: argmax the same on ")).expect("a line on it");
    let numbers: Vec<f64> = beside.split(|c: char| !(c.is_ascii_digit() || c == '.')).filter_map(|w| w.parse().ok()).collect();
    assert!(numbers[0] >= 95.0 && numbers[1] > 0.0 && numbers[1] < 10.0 && numbers.len() == 3, "{said}");
    let other = shipped("tiny_cnn.onnx");
    refused(dir, &["simulate", "p.chf", "--input", d, "--model", other.to_str().unwrap()], "was not compiled from");
    // Simulated logits are a file like those of `decrypt`.
    assert_eq!(chiffre::data::load_logits(&dir.join("sim.npy"), 4).unwrap().len(), 4 * n);
    let wrong = chiffre::data::load_logits(&dir.join("y.npy"), 5).unwrap_err().to_string();
    assert!(wrong.contains("rows of 5 logits"), "{wrong}");
}

/// There is always a degree; if none is good enough, a warning says what the better one reaches.
#[test]
fn a_target_out_of_reach_gives_the_best_degree_and_a_warning() {
    let tmp = tempfile::tempdir().unwrap();
    let (m, d) = (model(), data());
    let args = ["--calibrate", d.to_str().unwrap(), "--batch", "32", "--log-n", "11", "--allow-insecure", "--passes", PASSES];
    let degree = |target: &[&str]| {
        let out = succeeds(tmp.path(), &[&["compile", m.to_str().unwrap(), "-o", "p.chf"], &args[..], target].concat());
        let list: serde_json::Value = serde_json::from_str(&ok(tmp.path(), &["inspect", "p.chf", "--json"])).unwrap();
        let error = list["accuracy"]["logit_error"].as_f64().unwrap();
        assert!(error > 0.0 && error < 0.2 && ok(tmp.path(), &["inspect", "p.chf"]).contains("\naccuracy     logit error "), "{error}");
        (list["activations"][0]["degree"].as_u64().unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let (degree_taken, said) = degree(&["--accuracy-loss", "0"]);
    assert_eq!(degree_taken, 31);
    assert!(
        said.contains("no degree keeps to a loss of at most 0.00 % and a logit error of at most 0.00 %")
            && said.contains("degree 31 is taken, with logit error"),
        "{said}"
    );
    let (degree_taken, said) = degree(&["--accuracy-loss", "50"]);
    assert!(degree_taken == 7 && !said.contains("no degree"), "{said}");
}

/// Powers square their scale. When the parts of complex slots came at twice that of a prime, T_16
/// was 2^16 too large, and coefficients were rounded away.
#[test]
fn long_levelled_series_on_complex_slots_are_exact() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let (m, d) = (model(), data());
    let passes = PASSES
        .replace("approximate-activations{refresh=yes}", "approximate-activations{refresh=no,degree=31}")
        .replace("choose-layout", "choose-layout{phases=0x0}");
    let args = ["--calibrate", d.to_str().unwrap(), "--batch", "32", "--log-n", "11", "--allow-insecure", "--passes", &passes];
    ok(dir, &[&["compile", m.to_str().unwrap(), "-o", "p.chf"], &args[..]].concat());
    ok(dir, &["keygen", "p.chf", "--secret", "s", "--eval", "e", "--allow-insecure"]);
    let shown = ok(dir, &["debug", "p.chf", d.to_str().unwrap(), "--count", "8", "--secret", "s", "--allow-insecure", "--json"]);
    let steps: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap();
    let series: Vec<_> = steps.iter().filter(|s| s["op"] == "chebyshev").collect();
    assert_eq!(series.len(), 5);
    assert!(ok(dir, &["inspect", "p.chf"]).contains("complex=b4"));
    for s in series {
        assert!(s["rms_error"].as_f64().is_some_and(|e| e < 1e-3), "{s}");
    }
}

/// The network with bootstraps at N = 2^15, compiled only.
fn secure(bootstrap: BootstrapWish) -> Compiled {
    let calibration = images(128);
    let set = CalibrationSet { images: calibration.pixels, n: calibration.n, labels: calibration.labels };
    let activations = ActivationOptions { degree: Some(7), calibration: Some(Arc::new(set)), ..ActivationOptions::default() };
    let options = CompileOptions { batch: 128, log_n: Some(15), bootstrap, activations, ..CompileOptions::default() };
    compile(&chiffre_frontend::load(&model()).unwrap(), &Request { options, ..Request::default() }).unwrap()
}

/// The price of a larger weight is a level of the reduction, and work.
#[test]
fn bootstraps_cannot_fail_and_the_range_follows_from_the_weight() {
    let mut transforms = vec![];
    for (weight, range) in [(32, 17), (64, 33), (128, 65)] {
        let p = secure(BootstrapWish { weight, log2_failure: None }).program;
        let b = p.header.bootstrap.as_ref().expect("a network that is too deep for 2^15");
        assert_eq!((b.weight, b.range), (weight, range));
        assert!(!p.header.insecure && p.header.refresh_noise(1.06).unwrap() > 0.0);
        let overview = Overview::of_program(&p);
        assert!(overview.log2_failure.is_none() && overview.summary().contains("none of which can fail"), "{}", overview.summary());
        assert!(serde_json::to_value(&overview).unwrap()["log2_failure"].is_null());
        println!(
            "weight {weight}: range {range}, degree {}, {} doublings, {} primes, {:.2} s predicted, {} bytes of keys, {} bootstraps",
            b.degree,
            b.doublings,
            p.header.q.len(),
            p.header.predicted_us as f64 / 1e6,
            p.key_bytes(),
            overview.bootstraps
        );
        transforms.push(b.counts(None).total().ntt);
    }
    assert!(transforms.is_sorted_by(|a, b| a < b), "{transforms:?}");
}

/// A probability is taken where it makes bootstraps cheaper, and kept in any case.
#[test]
fn the_failure_bound_of_a_run_is_kept_and_shown() {
    for wanted in [-40.0, -120.0, -200.0] {
        let p = secure(BootstrapWish { log2_failure: Some(wanted), ..BootstrapWish::default() }).program;
        let b = p.header.bootstrap.clone().expect("a network that is too deep for 2^15");
        let refreshed = p.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Refresh { .. })).map(|n| n.ty.layout.ct_count()).sum::<usize>();
        let failure = b.log2_failure_of_run(refreshed as f64);
        assert!(refreshed > 0 && failure <= wanted, "{b:?}");
        println!(
            "2^{wanted}: range {}, degree {}, {} doublings, {:.2} s predicted",
            b.range,
            b.degree,
            b.doublings,
            p.header.predicted_us as f64 / 1e6
        );
        let overview = Overview::of_program(&p);
        assert_eq!(overview.log2_failure.is_some(), failure.is_finite());
        assert_eq!(overview.summary().contains("none of which can fail"), failure.is_infinite());
    }
}

/// What a file says of its bootstrap is checked against what makes it secure.
#[test]
fn ephemeral_secrets_outside_the_table_are_refused() {
    let compiled = secure(BootstrapWish::default());
    let open = |weight: usize| {
        let mut p = compiled.program.clone();
        p.header.bootstrap.as_mut().unwrap().weight = weight;
        let file = ProgramFile::in_memory(p, compiled.stages.clone()).map_err(|e| e.to_string())?;
        Session::new(file, false).map(|_| ()).map_err(|e| {
            assert!(matches!(e, RuntimeError::Params(_)) && e.is_user_error());
            e.to_string()
        })
    };
    open(32).unwrap();
    let error = open(16).unwrap_err();
    assert!(error.contains("ephemeral secret of weight 16"), "{error}");
    // More coefficients than there may be: an error, not a panic of the key generator.
    for weight in [(1 << 14) + 1, 1 << 15, 1 << 40] {
        let error = open(weight).unwrap_err();
        assert!(error.contains(&format!("weight {weight}, where 1 to 16384 are possible")), "{error}");
    }
}

/// Encrypted, in a tiny ring: under a secret of twice and four times the weight.
#[test]
fn heavier_ephemeral_secrets_give_the_same_answers() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let (m, d) = (model(), data());
    let (m, d) = (m.to_str().unwrap(), d.to_str().unwrap());
    for (weight, range) in [("64", 33), ("128", 65)] {
        let compile =
            ["compile", m, "-o", "p.chf", "--calibrate", d, "--batch", "32", "--log-n", "11", "--allow-insecure", "--passes", PASSES];
        ok(dir, &[&compile[..], &["--activation-degree", "7", "--ephemeral-weight", weight]].concat());
        let shown: serde_json::Value = serde_json::from_str(&ok(dir, &["inspect", "p.chf", "--json"])).unwrap();
        assert_eq!((&shown["bootstrap"]["range"], &shown["bootstrap"]["weight"]), (&range.into(), &weight.parse::<u64>().unwrap().into()));
        ok(dir, &["keygen", "p.chf", "--secret", "s", "--eval", "e", "--allow-insecure", "--force"]);
        ok(dir, &["encrypt", "p.chf", "--secret", "s", "--input", d, "--count", "32", "-o", "in.ct", "--allow-insecure"]);
        ok(dir, &["run", "p.chf", "--eval", "e", "--input", "in.ct", "-o", "out.ct", "--allow-insecure", "--progress", "none"]);
        ok(dir, &["decrypt", "p.chf", "--secret", "s", "--input", "out.ct", "-o", "y.npy", "--allow-insecure"]);
        let said = ok(dir, &["simulate", "p.chf", "--input", d, "--count", "32", "--answers", "y.npy"]);
        println!("weight {weight}: {said}");
        let same = said.split("argmax as simulated on ").nth(1).and_then(|t| t.split(' ').next()).and_then(|t| t.parse::<f64>().ok());
        assert!(same.is_some_and(|s| s >= 96.0), "{said}");
    }
}
