//! What `encrypt` says of images that are not like others, and what becomes of them. Tiny rings
//! (insecure, marked) keep it to seconds.

use crate::common::{chiffre, fails, ok, shipped};
use crate::receipts::{changed, does, prepared, refuses, words};
use chiffre::data::{DataOptions, Images, load};
use ndarray::{Array2, Array4};
use std::path::Path;

/// Shipped images as the model takes them.
fn images(model: &str, data: &str, count: usize) -> Images {
    let m = chiffre_frontend::load(&shipped(model)).unwrap();
    let shape = m.input_shape.clone().try_into().unwrap();
    load(&shipped(data), &DataOptions { shape, normalisation: m.normalisation, count: Some(count) }).unwrap()
}

/// Writes images with each value changed, given its image.
fn write(dir: &Path, name: &str, x: &Images, f: impl Fn(usize, f32) -> f32) {
    let [c, h, w] = x.shape;
    let pixels = x.pixels.iter().enumerate().map(|(i, v)| f(i / (c * h * w), *v)).collect();
    ndarray_npy::write_npy(dir.join(name), &Array4::from_shape_vec((x.n, c, h, w), pixels).unwrap()).unwrap();
}

fn logits(dir: &Path, name: &str) -> Array2<f32> {
    ndarray_npy::read_npy(dir.join(name)).unwrap()
}

const ENCRYPT: &str = "encrypt p.chf --secret secret.key";

/// What a command that succeeds says on stderr.
fn warned(dir: &Path, line: &str) -> String {
    let out = chiffre(dir, &words(line));
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stderr).unwrap()
}

#[test]
fn absurd_images_are_named_and_may_be_left_out() {
    let tmp = prepared("tiny_resnet.onnx", "--batch 32 --log-n 11");
    let dir = tmp.path();
    let x = images("tiny_resnet.onnx", "tiny3_test.npz", 30);
    write(dir, "images.npy", &x, |i, v| if i == 7 { 1e4 * v } else { v });
    write(dir, "good.npy", &x, |_, v| v);
    let error = fails(dir, 2, &words(&format!("{ENCRYPT} --input images.npy -o in.ct")));
    assert!(error.contains("1 of 30 images cannot be encrypted with the others. images.npy[7]: it has the value "), "{error}");
    assert!(
        error.contains("leave them out (--skip-absurd)") && !dir.join("in.ct").exists() && !dir.join("in.ct.receipt").exists(),
        "{error}"
    );

    let said = warned(dir, &format!("{ENCRYPT} --input images.npy -o in.ct --skip-absurd --canary"));
    assert!(said.starts_with("left out: images.npy[7]: it has the value ") && said.lines().count() == 1, "{said}");
    does(dir, "run p.chf --eval eval.key --input in.ct -o out.ct --progress none");
    let out = chiffre(dir, &words("decrypt p.chf --secret secret.key --input out.ct -o y.npy --top 1"));
    let (top, said) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("no answer for images.npy[7]: left out"), "{said}");
    let lines: Vec<&str> = top.lines().collect();
    assert_eq!((lines.len(), lines[7]), (30, "images.npy[7]: no answer"), "{top}");
    // Everyone else has its answer in its place.
    does(dir, &format!("{ENCRYPT} --input good.npy -o good.ct --receipt good.kept"));
    does(dir, "run p.chf --eval eval.key --input good.ct -o good.out --progress none");
    does(dir, "decrypt p.chf --secret secret.key --input good.out -o good_y.npy --receipt good.kept");
    let (got, want) = (logits(dir, "y.npy"), logits(dir, "good_y.npy"));
    assert_eq!(got.nrows(), 30);
    for (i, (got, want)) in got.rows().into_iter().zip(want.rows()).enumerate() {
        let error = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(if i == 7 { got.iter().all(|x| x.is_nan()) } else { error < 0.02 }, "image {i}: {got}");
    }
    std::fs::remove_file(dir.join("y.npy")).unwrap();

    // Receipts that nobody has written.
    for list in ["[7,7]", "[30]", "[-1]", "7", "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29]"] {
        changed(dir, "in.ct.receipt", "bad.receipt", |s| drop(s.metadata.insert("left-out".into(), list.into())));
        let error = refuses(dir, 2, "--input out.ct --receipt bad.receipt");
        assert!(error.contains("bad number of images") || error.contains("bad numbers of images"), "{list}: {error}");
    }
    write(dir, "all.npy", &x, |_, v| 1e4 * (v + 3.0));
    let error = fails(dir, 2, &words(&format!("{ENCRYPT} --input all.npy -o none.ct --skip-absurd")));
    assert!(error.contains("30 of 30 images") && error.contains("and 10 more"), "{error}");
}

/// Nothing is known of the inputs: the first section runs in the clear, and the rest is proven.
#[test]
fn a_program_without_a_range_looks_at_values() {
    let data = shipped("tiny3_test.npz");
    let passes = "tensor(recognise-activation,fold-affine,compose-linear,remove-dead-channels,calibrate-activations,\
                  approximate-activations{refresh=yes},fold-scales),choose-layout,lower-linear,he(assign-levels,place-relin,select-params),\
                  schedule";
    let options = |range: &str| format!("--calibrate {} --batch 40 --log-n 11 --passes {passes}{range}", data.display());
    let tmp = prepared("tiny_resnet_relu.onnx", &options(" --input-range -1e6,1e6"));
    let dir = tmp.path();
    let x = images("tiny_resnet_relu.onnx", "tiny3_test.npz", 40);
    write(dir, "x.npy", &x, |i, v| if i == 7 { (1e6 * v).clamp(-9.9e5, 9.9e5) } else { v });
    let error = fails(dir, 2, &words(&format!("{ENCRYPT} --input x.npy -o in.ct")));
    assert!(error.contains("x.npy[7]: its values reach ") && error.contains("radians at the bootstrap of node"), "{error}");
    let shown = ok(dir, &["inspect", "p.chf"]);
    let section = shown.split("sections     for inputs of -1000000.000 … 1000000.000: not proven for 1 of ").nth(1).expect("a line on it");
    // One bootstrap is open, and nothing behind it.
    let count = |word: &str| section.lines().filter(|l| l.contains(word)).count();
    assert_eq!((count("  no  "), count("  bootstrap  ") + count("  output  ")), (1, 6), "{shown}");
    // With the range of pixels everything is proven.
    let model = shipped("tiny_resnet_relu.onnx");
    does(dir, &format!("compile {} -o q.chf {}", model.display(), options("")));
    let shown = ok(dir, &["inspect", "q.chf"]);
    assert!(shown.contains(": no image disturbs others\n"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&ok(dir, &["inspect", "q.chf", "--json"])).unwrap();
    assert_eq!((json["input_range"].as_array().unwrap().len(), json["calibrated"].as_array().unwrap().len()), (3, 3));
    assert!(json["sections"].as_array().unwrap().iter().all(|s| s["proven"] == true), "{}", json["sections"]);
}

#[test]
fn forgotten_normalisation_is_told_and_ordinary_images_are_not() {
    let data = shipped("tiny1_test.npz");
    let tmp = prepared("tiny_cnn.onnx", &format!("--batch 32 --log-n 11 --calibrate {}", data.display()));
    let dir = tmp.path();
    let x = images("tiny_cnn.onnx", "tiny1_test.npz", 30);
    let m = chiffre_frontend::load(&shipped("tiny_cnn.onnx")).unwrap();
    let n = m.normalisation.unwrap();
    let (mean, std) = (n.mean()[0], n.std()[0]);
    for (name, factor, shift) in
        [("pixels.npy", 255.0 * std, 255.0 * mean), ("scaled.npy", std, mean), ("twice.npy", 1.0 / std, -mean / std)]
    {
        write(dir, name, &x, |_, v| factor * v + shift);
    }
    for count in [1, 5, 30] {
        assert_eq!(warned(dir, &format!("{ENCRYPT} --input {} --count {count} -o in.ct", data.display())), "", "{count}");
    }
    let looks = "where those that the program was calibrated on had mean ";
    let said = fails(dir, 2, &words(&format!("{ENCRYPT} --input pixels.npy -o in.ct")));
    assert!(said.starts_with("warning: pixels.npy: these images have mean ") && said.contains(looks), "{said}");
    assert!(said.contains("they look like pixels from 0 to 255 that were not normalised\nerror: "), "{said}");
    let said = warned(dir, &format!("{ENCRYPT} --input scaled.npy -o in.ct"));
    assert!(said.contains(looks) && said.trim_end().ends_with("they look like pixels from 0 to 1 that were not normalised"), "{said}");
    let said = warned(dir, &format!("{ENCRYPT} --input twice.npy -o in.ct --unscreened"));
    assert!(said.trim_end().ends_with("they look as if they were normalised twice"), "{said}");
    // Figures, and no pixels, are in the program.
    let text = ok(dir, &["inspect", "p.chf", "--stage", "program"]);
    assert!(text.contains("calibrated=[{lowest="), "{}", &text[..400]);
}

/// A program of an older version says nothing of its inputs, and is used as before.
#[test]
fn programs_without_a_range_still_load() {
    let tmp = prepared("tiny_mlp.onnx", "--batch 8 --log-n 11");
    let dir = tmp.path();
    changed(dir, "p.chf", "old.chf", |s| {
        let text = s.metadata.get_mut("program").unwrap();
        let at = text.find("input_range=[[").expect("a range in the header");
        let end = at + text[at..].find("]], ").unwrap() + 4;
        text.replace_range(at..end, "");
    });
    let data = shipped("tiny1_test.npz");
    does(dir, "keygen old.chf --secret old.key --eval old.eval");
    does(dir, &format!("encrypt old.chf --secret old.key --input {} --count 8 -o in.ct", data.display()));
    does(dir, "run old.chf --eval old.eval --input in.ct -o out.ct --progress none");
    does(dir, "decrypt old.chf --secret old.key --input out.ct -o y.npy");
    assert!(ok(dir, &["inspect", "old.chf"]).contains("sections     for any input: not proven for 1 of 1"));
    // Nonsense in its place is refused.
    changed(dir, "p.chf", "bad.chf", |s| {
        let text = s.metadata.get_mut("program").unwrap();
        *text = text.replacen("input_range=[[", "input_range=[[5.0, 1.0], [", 1);
    });
    assert!(fails(dir, 2, &["inspect", "bad.chf"]).contains("a range of inputs"));
}
