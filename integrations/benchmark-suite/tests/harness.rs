//! The order, the folders and the checks of the suite's harness, written anew: it starts the stages
//! as the suite does, looks at what they leave, and fails where the suite would only go on.

use ndarray::{Array2, Array4};
use ndarray_npy::NpzReader;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A root of the suite with one submission.
struct Suite {
    root: tempfile::TempDir,
    dataset: &'static str,
}

/// The folder of the integration.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

impl Suite {
    /// Copies the submission and builds it, as the suite does: both scripts, from its root.
    fn new(dataset: &'static str, description: &str, model: &Path) -> Suite {
        let root = tempfile::tempdir().unwrap();
        let suite = Suite { root, dataset };
        fs::create_dir_all(suite.at("scripts")).unwrap();
        fs::create_dir_all(suite.base()).unwrap();
        for script in ["get_openfhe.sh", "build_task.sh"] {
            fs::copy(Path::new(HERE).join("scripts").join(script), suite.at("scripts").join(script)).unwrap();
        }
        fs::write(suite.base().join("submission.json"), description).unwrap();
        for script in ["scripts/get_openfhe.sh".to_string(), format!("scripts/build_task.sh ./submissions/{dataset}")] {
            let mut words = script.split(' ');
            let mut c = Command::new(format!("./{}", words.next().unwrap()));
            c.args(words)
                .current_dir(suite.at("."))
                .env("CHIFFRE_STAGES", env!("CARGO_BIN_EXE_chiffre-stages"))
                .env("CHIFFRE_MODEL", model);
            succeeds(&script, &c.output().unwrap());
        }
        suite
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn base(&self) -> PathBuf {
        self.at("submissions").join(self.dataset)
    }

    /// The bytes of a folder, as `du -sb` counts its files.
    fn bytes(&self, folder: &str) -> u64 {
        let Ok(all) = fs::read_dir(self.at(folder)) else { return 0 };
        all.map(|e| e.unwrap().metadata().unwrap().len()).sum()
    }

    /// Starts a stage from the root, and fails if it is not there.
    fn stage(&self, name: &str, size: Option<usize>) -> Output {
        let path = format!("submissions/{}/build/{name}", self.dataset);
        assert!(self.at(&path).is_file(), "the suite would skip {name} without a word");
        Command::new(format!("./{path}")).args(size.map(|s| s.to_string())).current_dir(self.at(".")).output().unwrap()
    }

    fn run(&self, name: &str, size: Option<usize>) -> String {
        succeeds(name, &self.stage(name, size))
    }

    /// Stages 1 to 3: folders are wiped, keys made, and the server prepared.
    fn set_up(&self, size: usize, remote: bool) {
        let name = INSTANCES[size];
        let _ = fs::remove_dir_all(self.at(&format!("io/{name}")));
        fs::create_dir_all(self.at(&format!("io/{name}"))).unwrap();
        if remote {
            self.run("server_get_params", Some(size));
            assert!(self.bytes(&format!("io/{name}/client_data")) > 0);
        }
        self.run("client_key_generation", Some(size));
        if remote {
            self.run("server_upload_ek", Some(size));
        }
        assert!(self.bytes(&format!("io/{name}/public_keys")) > 100_000);
        self.without_secrets(name, || self.run("server_preprocess_model", None));
        assert!(self.bytes("io/server_data") > self.bytes(&format!("io/{name}/public_keys")), "expanded keys and tables");
    }

    /// Stages 4 to 9 on images, each a list of pixels between 0 and 1. Returns the predictions.
    fn infer(&self, size: usize, images: &[Vec<f32>]) -> Vec<usize> {
        let name = INSTANCES[size];
        let mut text = String::new();
        for image in images {
            let values: Vec<String> = image.iter().map(|v| format!("{v:.6}")).collect();
            writeln!(text, "{}", values.join(" ")).unwrap();
        }
        let folder = self.at(&format!("datasets/{name}/intermediate"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("test_pixels.txt"), text).unwrap();
        self.run("client_preprocess_input", Some(size));
        self.run("client_encode_encrypt_input", Some(size));
        assert!(self.bytes(&format!("io/{name}/ciphertexts_upload")) > 0);
        self.without_secrets(name, || self.run("server_encrypted_compute", Some(size)));
        // Nothing but answers is in the folder that is measured.
        let answers = fs::read_dir(self.at(&format!("io/{name}/ciphertexts_download"))).unwrap().map(|e| e.unwrap().path());
        assert!(answers.into_iter().all(|p| p.extension().is_some_and(|e| e == "ct") && p.is_file()));
        self.run("client_decrypt_decode", Some(size));
        self.run("client_postprocess", Some(size));
        let steps: BTreeMap<String, f64> =
            serde_json::from_slice(&fs::read(self.at(&format!("io/{name}/server_reported_steps.json"))).unwrap()).unwrap();
        assert!(steps.contains_key("load prepared state") && steps.keys().any(|k| k.starts_with("run: ")), "{steps:?}");
        let lines = fs::read_to_string(self.at(&format!("io/{name}/encrypted_model_predictions.txt"))).unwrap();
        let lines: Vec<usize> = lines.lines().map(|l| l.parse().unwrap()).collect();
        assert_eq!(lines.len(), images.len(), "one line for each image");
        lines
    }

    /// Something that the server does, while there is no secret key, nor what the client keeps.
    fn without_secrets(&self, name: &str, act: impl FnOnce() -> String) {
        let hidden: Vec<_> = ["secret_key", "intermediate"].map(|f| (self.at(&format!("io/{name}/{f}")), self.at(f))).into_iter().collect();
        let there: Vec<_> = hidden.iter().filter(|(from, _)| from.exists()).collect();
        there.iter().for_each(|(from, to)| fs::rename(from, to).unwrap());
        act();
        assert!(hidden.iter().all(|(from, _)| !from.exists()), "the server has made what is the client's");
        there.iter().for_each(|(from, to)| fs::rename(to, from).unwrap());
    }
}

const INSTANCES: [&str; 4] = ["single", "small", "medium", "large"];

fn succeeds(what: &str, out: &Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{what}: {said}");
    said
}

/// Pixels between 0 and 1 and labels of a shipped data file.
fn shipped(file: &str, count: usize) -> (Vec<Vec<f32>>, Vec<u8>) {
    let mut npz = NpzReader::new(fs::File::open(chiffre_testing::repository().join("models").join(file)).unwrap()).unwrap();
    let pixels: Array4<u8> = npz.by_name("images").unwrap();
    let labels: ndarray::Array1<i64> = npz.by_name("labels").unwrap();
    let image = |i: usize| pixels.index_axis(ndarray::Axis(0), i).iter().map(|&p| f32::from(p) / 255.0).collect();
    ((0..count).map(image).collect(), labels.iter().take(count).map(|&l| l as u8).collect())
}

const TINY: &str = r#"{ "model": "none", "calibrate": null, "mean": [0.5], "std": [0.25], "batches": { "single": 1, "small": 8, "medium": 8, "large": 8 } }"#;

#[test]
fn all_stages_in_the_order_of_the_suite() {
    let model = chiffre_testing::repository().join("models/tiny_cnn.onnx");
    let suite = Suite::new("mnist", TINY, &model);
    let (images, labels) = shipped("tiny1_test.npz", 19);
    let right = |predicted: &[usize]| predicted.iter().zip(&labels).filter(|(p, l)| **p == usize::from(**l)).count();
    // One image, as a remote submission.
    suite.set_up(0, true);
    assert_eq!(suite.infer(0, &images[..1]), [usize::from(labels[0])]);
    // Three batches, of which the last one is not full, in one process; twice with the same keys.
    suite.set_up(1, false);
    let first = suite.infer(1, &images);
    assert!(right(&first) >= 18, "{first:?} {labels:?}");
    assert_eq!(fs::read_dir(suite.at("io/small/ciphertexts_upload")).unwrap().count(), 3);
    let again = suite.infer(1, &images[8..]);
    assert_eq!(again, first[8..], "what the run before has left is not counted");
    // New keys: prepared state of the old ones is made again, not used.
    suite.set_up(1, false);
    assert_eq!(suite.infer(1, &images[..3]), first[..3]);
}

#[test]
fn an_image_without_an_answer_still_has_a_line() {
    let model = chiffre_testing::repository().join("models/tiny_cnn.onnx");
    let suite = Suite::new("mnist", TINY, &model);
    suite.set_up(1, false);
    let (images, labels) = shipped("tiny1_test.npz", 4);
    let predicted = suite.infer(1, &images);
    assert_eq!(predicted.iter().map(|&p| p as u8).collect::<Vec<_>>(), labels);
    // As decryption leaves an image that was left out, or lost.
    let logits = suite.at("io/small/intermediate/logits.npy");
    let mut rows: Array2<f32> = ndarray_npy::read_npy(&logits).unwrap();
    rows.row_mut(2).fill(f32::NAN);
    ndarray_npy::write_npy(&logits, &rows).unwrap();
    assert!(suite.run("client_postprocess", Some(1)).contains("1 of 4 images have no answer; class 0"));
    let lines = fs::read_to_string(suite.at("io/small/encrypted_model_predictions.txt")).unwrap();
    let expected: Vec<String> = [predicted[0], predicted[1], 0, predicted[3]].map(|p| p.to_string()).into();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    // Pixels that are none, and lines of another length, are refused with their place.
    let bad = suite.at("datasets/small/intermediate/test_pixels.txt");
    for (text, message) in [("0.5 0.5\n", "line 1: 2 pixels, where an image of the network has 64"), ("0.5 2.0\n", "`2.0` is no pixel")] {
        fs::write(&bad, text).unwrap();
        let out = suite.stage("client_preprocess_input", Some(1));
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.contains("test_pixels.txt") && said.contains(message), "{said}");
    }
}

#[test]
fn what_is_missing_or_in_the_wrong_order_is_named() {
    let model = chiffre_testing::repository().join("models/tiny_mlp.onnx");
    let suite = Suite::new("mnist", TINY, &model);
    for (stage, size, message) in [
        ("client_key_generation", None, "takes the size"),
        ("client_key_generation", Some(4), "is no size"),
        ("server_preprocess_model", None, "client_key_generation comes first"),
        ("client_encode_encrypt_input", Some(1), "images.npy"),
        ("server_encrypted_compute", Some(1), "eval.key"),
        ("client_decrypt_decode", Some(1), "secret.key"),
    ] {
        let out = suite.stage(stage, size);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.contains(message), "{stage}: {said}");
    }
    // The script fails where a stage is missing, which the suite itself would not notice.
    let all: Vec<_> = fs::read_dir(suite.base().join("build")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(all.iter().filter(|n| n.starts_with("server_") || n.starts_with("client_")).count(), 9, "{all:?}");
    let fake = suite.at("fake-stages");
    fs::write(&fake, "#!/bin/sh\nrm -f \"$2/build/client_postprocess\"\n").unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&fake).status().unwrap().success());
    let mut c = Command::new("./scripts/build_task.sh");
    let out = c.arg("./submissions/mnist").current_dir(suite.at(".")).env("CHIFFRE_STAGES", &fake).output().unwrap();
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("build/client_postprocess is missing"));
}

#[test]
fn the_submissions_are_described() {
    for (dataset, channels) in [("cifar10", 3), ("mnist", 1)] {
        let text = fs::read(Path::new(HERE).join("submissions").join(dataset).join("submission.json")).unwrap();
        let described: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(described["mean"].as_array().unwrap().len() == channels && described["std"].as_array().unwrap().len() == channels);
        assert!(INSTANCES.iter().all(|name| described["batches"][name].as_u64().unwrap() > 0));
    }
}

/// The network and the images of the suite's CIFAR-10 track, at its own size.
#[test]
fn slow_cifar10_small() {
    let Some(model) = chiffre_testing::shared("models/resnet20_cifar10_quad_aespa.onnx") else { return };
    let Some(data) = chiffre_testing::shared("data/cifar10_test_evalA1000.bin") else { return };
    if !chiffre_testing::slow("3 minutes and 6 GiB") {
        return;
    }
    let description = fs::read_to_string(Path::new(HERE).join("submissions/cifar10/submission.json")).unwrap();
    let suite = Suite::new("cifar10", &description, &model);
    let bytes = fs::read(data).unwrap();
    let records: Vec<&[u8]> = bytes.chunks(3073).take(100).collect();
    let images: Vec<Vec<f32>> = records.iter().map(|r| r[1..].iter().map(|&p| f32::from(p) / 255.0).collect()).collect();
    suite.set_up(1, false);
    let predicted = suite.infer(1, &images);
    let right = predicted.iter().zip(&records).filter(|(p, r)| **p == usize::from(r[0])).count();
    println!("{right} of 100 are right");
    assert!(right >= 85, "{right}");
}
