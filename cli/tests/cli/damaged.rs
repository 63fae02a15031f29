//! One image far out of range, encrypted and run for real: what it takes with it is named and has
//! no answer, and nothing else is. `encrypt` would refuse it, and is told not to look. Tiny rings
//! (insecure, marked) keep it to seconds.

use crate::common::{chiffre, ok, shipped, succeeds};
use ndarray::{Array2, Array4};
use std::path::Path;
use std::process::Output;

/// The arguments of a line.
fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// The shipped images, with the pixels of image `bad` multiplied by `factor`, as `images.npy`; and
/// the clear model's logits.
fn images(dir: &Path, model: &str, data: &str, count: usize, bad: usize, factor: f32) -> Array2<f32> {
    let m = chiffre_frontend::load(&shipped(model)).unwrap();
    let shape: [usize; 3] = m.input_shape.clone().try_into().unwrap();
    let normalisation = m.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
    let options = chiffre::data::DataOptions { shape, normalisation, count: Some(count) };
    let mut pixels = chiffre::data::load(&shipped(data), &options).unwrap().pixels;
    let per: usize = shape.iter().product();
    pixels[bad * per..(bad + 1) * per].iter_mut().for_each(|v| *v *= factor);
    let clear = chiffre_frontend::Reference::load(&shipped(model)).unwrap().run(&pixels, count).unwrap();
    let [c, h, w] = shape;
    ndarray_npy::write_npy(dir.join("images.npy"), &Array4::from_shape_vec((count, c, h, w), pixels).unwrap()).unwrap();
    let classes = clear.len() / count;
    Array2::from_shape_vec((count, classes), clear).unwrap()
}

/// Small units, which the strides merge: the search would put all images of so small a network into
/// one.
const SMALL_UNITS: &str = "tensor(recognise-activation,fold-affine,compose-linear,fold-scales),choose-layout{phases=0x0,fill=0,tile=1},\
    lower-linear,he(assign-levels,place-relin,select-params),schedule";

/// Compiles with these options and makes keys.
fn prepare(dir: &Path, model: &str, options: &str) {
    let model = shipped(model);
    ok(dir, &words(&format!("compile {} -o p.chf --allow-insecure {options}", model.display())));
    ok(dir, &words("keygen p.chf --secret secret.key --eval eval.key --allow-insecure"));
}

/// Images per unit of the output.
fn output_unit(dir: &Path) -> usize {
    let facts: serde_json::Value = serde_json::from_str(&ok(dir, &words("inspect p.chf --format json"))).unwrap();
    facts["unit_batches"].as_array().unwrap().last().unwrap().as_u64().unwrap() as usize
}

/// Encrypts `images.npy`, runs, and returns what `decrypt` said and wrote.
fn run(dir: &Path) -> (Output, Array2<f32>) {
    ok(dir, &words("encrypt p.chf --secret secret.key --input images.npy -o in.ct --unscreened --allow-insecure"));
    ok(dir, &words("run p.chf --eval eval.key --input in.ct -o out.ct --allow-insecure --progress none"));
    let out = chiffre(dir, &words("decrypt p.chf --secret secret.key --input out.ct -o logits.npy --top 1 --allow-insecure"));
    (out, ndarray_npy::read_npy(dir.join("logits.npy")).unwrap())
}

/// Images in `lost` have NaN and are marked; all others agree with the clear model. Returns their
/// largest error.
fn only_these_are_lost(out: &Output, logits: &Array2<f32>, clear: &Array2<f32>, limit: f32, lost: impl Fn(usize) -> bool) -> f32 {
    let top = String::from_utf8_lossy(&out.stdout);
    assert_eq!(top.lines().count(), logits.nrows());
    let mut largest = 0.0f32;
    for ((i, (got, want)), line) in logits.rows().into_iter().zip(clear.rows()).enumerate().zip(top.lines()) {
        assert_eq!(line == format!("images.npy[{i}]: no answer"), lost(i), "{line}");
        if lost(i) {
            assert!(got.iter().all(|v| v.is_nan()), "image {i}: {got}");
        } else {
            let error = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < limit, "image {i}: {error}");
            largest = largest.max(error);
        }
    }
    largest
}

#[test]
fn an_image_that_wraps_takes_its_unit_and_no_more() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir, "tiny_resnet.onnx", &format!("--batch 70 --log-n 9 --passes {SMALL_UNITS}"));
    let unit = output_unit(dir);
    let lost = 40 / unit * unit..(40 / unit + 1) * unit;
    assert!(lost.start > 0 && lost.end < 70, "units of {unit} images: some before and some behind that of image 40");
    // Its largest pixel is near the limit of 10^6.
    let clear = images(dir, "tiny_resnet.onnx", "tiny3_test.npz", 70, 40, 3e5);
    let (out, logits) = run(dir);
    let err = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{err}");
    let named = format!("no answer for images.npy[{}-{}]:", lost.start, lost.end - 1);
    assert!(err.contains(&named) && err.contains(&format!("{unit} of 70 images")), "{err}");
    only_these_are_lost(&out, &logits, &clear, 0.02, |i| lost.contains(&i));
}

#[test]
fn an_image_with_implausible_logits_is_reported_alone() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir, "tiny_cnn.onnx", "--batch 32 --log-n 11");
    let clear = images(dir, "tiny_cnn.onnx", "tiny1_test.npz", 29, 5, 5.0);
    let largest = clear.row(5).iter().fold(0.0, |m: f32, v| m.max(v.abs()));
    assert!((280.0..1000.0).contains(&largest), "{largest}: chosen beyond the limit of one image, and below that of its ciphertext");
    let (out, logits) = run(dir);
    let err = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{err}");
    assert!(err.contains("no answer for images.npy[5]: implausible logits") && !err.contains("out of range ("), "{err}");
    let error = only_these_are_lost(&out, &logits, &clear, 0.1, |i| i == 5);
    println!("largest logit {largest}: errors of the other images are up to {error}");
}

#[test]
fn ordinary_images_report_nothing() {
    // With small units, the last unit of the output holds six images, and three quarters of the
    // units merged into it hold none.
    for options in ["--batch 70 --log-n 11".to_string(), format!("--batch 70 --log-n 9 --passes {SMALL_UNITS}")] {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path();
        prepare(dir, "tiny_resnet.onnx", &options);
        let clear = images(dir, "tiny_resnet.onnx", "tiny3_test.npz", 70, 40, 1.0);
        let (out, logits) = run(dir);
        assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        only_these_are_lost(&out, &logits, &clear, 0.02, |_| false);
    }
}

#[test]
fn bench_counts_images_without_answer_as_disagreeing() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    images(dir, "tiny_cnn.onnx", "tiny1_test.npz", 40, 35, 1e4);
    let model = shipped("tiny_cnn.onnx");
    let bench = format!("bench {} --data images.npy --log-n 11 --allow-insecure --progress none --json --batch", model.display());
    let out = succeeds(dir, &words(&format!("{bench} 32")));
    let report: serde_json::Value = serde_json::from_str(String::from_utf8_lossy(&out.stdout).lines().last().unwrap()).unwrap();
    // 32 of the first batch agree, the 8 of the second are lost.
    assert_eq!((&report["agreement"], &report["images_without_answer"]), (&0.8.into(), &8.into()), "{report}");
    assert!(report["max_abs_logit_error"].as_f64().unwrap() < 0.02, "{report}");
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(err.contains("no answer for images 32-39") && err.contains("8 of 40 images"), "{err}");
}
