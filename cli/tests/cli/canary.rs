//! Images with known answers among those of the data owner: what they find that a nonce does not.

use crate::common::{chiffre, fails, shipped};
use crate::receipts::{changed, does, prepared, refuses, run, words};
use chiffre_testing::Sealed;
use ndarray::{Array2, Array4};
use std::path::Path;

/// Lets the result `from` pass as that of the batch of `of`: a server can copy what it sees.
fn forged(dir: &Path, from: &str, of: &str, to: &str) {
    let of = Sealed::read(&dir.join(of));
    changed(dir, from, to, |s| s.metadata = of.metadata);
}

fn logits(dir: &Path, name: &str) -> Array2<f32> {
    ndarray_npy::read_npy(dir.join(name)).unwrap()
}

const DECRYPT: &str = "decrypt p.chf --secret secret.key";

#[test]
fn a_forged_result_is_refused_by_its_canary() {
    let tmp = prepared("tiny_mlp.onnx", "--batch 8 --log-n 11");
    let dir = tmp.path();
    run(dir, "plain", 5, "");
    does(dir, &format!("{DECRYPT} --input plain.out -o plain.npy --receipt plain.ct.receipt"));
    let said = run(dir, "a", 5, " --canary");
    assert!(said.starts_with("5 images and 1 canary in "), "{said}");
    run(dir, "b", 5, " --canary");
    does(dir, &format!("{DECRYPT} --input a.out -o a.npy --receipt a.ct.receipt"));
    let (plain, hidden) = (logits(dir, "plain.npy"), logits(dir, "a.npy"));
    let error = (&plain - &hidden).iter().fold(0.0, |m: f32, e| m.max(e.abs()));
    assert!(hidden.nrows() == 5 && error < 0.02, "{error}");
    // Without its receipt it has one row more.
    does(dir, &format!("{DECRYPT} --input a.out -o all.npy --no-receipt"));
    assert_eq!(logits(dir, "all.npy").nrows(), 6);
    // The places are secret: two batches differ, sooner or later.
    let place = |name: &str| Sealed::read(&dir.join(name)).tensors["canary.places"].bytes.clone();
    let drawn = (0..20).map(|_| {
        let data = shipped("tiny1_test.npz");
        does(dir, &format!("encrypt p.chf --secret secret.key --input {} --count 5 -o c.ct --canary", data.display()));
        place("c.ct.receipt")
    });
    assert!(drawn.collect::<std::collections::BTreeSet<_>>().len() > 1);

    forged(dir, "b.out", "a.out", "forged.out");
    let error = fails(dir, 1, &words(&format!("{DECRYPT} --input forged.out -o x.npy --receipt a.ct.receipt")));
    assert!(error.contains("refused for tiny1_test.npz[0-4]: the canary among them has a wrong answer"), "{error}");
    assert!(error.contains("5 of 5 images have no answer") && logits(dir, "x.npy").iter().all(|x| x.is_nan()), "{error}");
    std::fs::remove_file(dir.join("x.npy")).unwrap();

    // Receipts that nobody has written.
    for (tensor, change) in [("canary.places", 6u64.to_le_bytes().to_vec()), ("canary.logits", f32::NAN.to_le_bytes().to_vec())] {
        changed(dir, "a.ct.receipt", "bad.receipt", |s| {
            s.tensors.get_mut(tensor).unwrap().bytes[..change.len()].copy_from_slice(&change);
        });
        assert!(refuses(dir, 2, "--input a.out --receipt bad.receipt").contains("bad.receipt: bad canaries"), "{tensor}");
    }
    changed(dir, "a.ct.receipt", "bad.receipt", |s| drop(s.metadata.insert("canary.bound".into(), "inf".into())));
    assert!(refuses(dir, 2, "--input a.out --receipt bad.receipt").contains("bad canaries"));
}

#[test]
fn every_unit_has_a_place_less() {
    let tmp = prepared("tiny_mlp.onnx", "--batch 8 --log-n 11");
    let dir = tmp.path();
    let data = shipped("tiny1_test.npz");
    let encrypt = |count: usize| format!("encrypt p.chf --secret secret.key --input {} --count {count} -o a.ct --canary", data.display());
    let error = fails(dir, 2, &words(&encrypt(8)));
    assert!(error.contains("8 images and 2 canaries") && error.contains("takes at most 7 images"), "{error}");
    does(dir, &encrypt(7));
    let tmp = prepared("tiny_mlp.onnx", "--batch 1 --log-n 9");
    let error = fails(tmp.path(), 2, &words(&encrypt(1)));
    assert!(error.contains("the program takes one image") || error.contains("takes at most 0 images"), "{error}");
}

/// One unit of another batch in the result: its images are refused, and those of other units are
/// not.
#[test]
fn a_wrong_unit_is_refused_alone() {
    let passes = "tensor(recognise-activation,fold-affine,compose-linear,fold-scales),choose-layout{phases=0x0,fill=0,tile=1},\
                  lower-linear,he(assign-levels,place-relin,select-params),schedule";
    let tmp = prepared("tiny_resnet.onnx", &format!("--batch 70 --log-n 9 --passes {passes}"));
    let dir = tmp.path();
    let data = shipped("tiny3_test.npz");
    for name in ["a", "b"] {
        let said = does(dir, &format!("encrypt p.chf --secret secret.key --input {} --count 60 -o {name}.ct --canary", data.display()));
        // Units of eight images at the input: seven of the owner's in each.
        assert!(said.starts_with("60 images and 9 canaries in "), "{said}");
        does(dir, &format!("run p.chf --eval eval.key --input {name}.ct -o {name}.out --progress none"));
    }
    does(dir, &format!("{DECRYPT} --input a.out -o good.npy --receipt a.ct.receipt"));
    // 32 images to a unit of the result: four of the input's.
    let other = Sealed::read(&dir.join("b.out")).tensors["m00001"].clone();
    changed(dir, "a.out", "mixed.out", |s| drop(s.tensors.insert("m00001".into(), other)));
    let error = fails(dir, 1, &words(&format!("{DECRYPT} --input mixed.out -o x.npy --receipt a.ct.receipt")));
    let refused = ["[28-34]", "[35-41]", "[42-48]", "[49-55]"].map(|rows| format!("refused for tiny3_test.npz{rows}: the canary"));
    assert!(refused.iter().all(|r| error.contains(r)) && error.contains("28 of 60 images"), "{error}");
    let (good, mixed) = (logits(dir, "good.npy"), logits(dir, "x.npy"));
    for (i, (want, got)) in good.rows().into_iter().zip(mixed.rows()).enumerate() {
        let wrong = (28..56).contains(&i);
        assert!(got.iter().all(|x| x.is_nan() == wrong) && (wrong || want == got), "image {i}");
    }
}

/// An image far out of range that ruins its neighbours behind a bootstrap, in silence: nothing
/// leaves the modulus, and only the canary tells, where nobody has looked before.
#[test]
fn neighbours_spoilt_behind_a_bootstrap_are_refused() {
    let passes = "tensor(recognise-activation,fold-affine,compose-linear,remove-dead-channels,calibrate-activations,\
                  approximate-activations{refresh=yes},fold-scales),choose-layout,lower-linear,he(assign-levels,place-relin,select-params),\
                  schedule";
    let data = shipped("tiny3_test.npz");
    let tmp = prepared("tiny_resnet_relu.onnx", &format!("--calibrate {} --batch 40 --log-n 11 --passes {passes}", data.display()));
    let dir = tmp.path();
    let m = chiffre_frontend::load(&shipped("tiny_resnet_relu.onnx")).unwrap();
    let normalisation = m.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
    let mut images = chiffre::data::load(&data, &chiffre::DataOptions { shape: [3, 8, 8], normalisation, count: Some(30) }).unwrap();
    let mut encrypted = |name: &str, factor: f32| {
        images.pixels[7 * 192..8 * 192].iter_mut().for_each(|v| *v = (*v * factor).clamp(-9.9e5, 9.9e5));
        ndarray_npy::write_npy(dir.join("x.npy"), &Array4::from_shape_vec((30, 3, 8, 8), images.pixels.clone()).unwrap()).unwrap();
        does(dir, &format!("encrypt p.chf --secret secret.key --input x.npy -o {name}.ct --canary --unscreened"));
        does(dir, &format!("run p.chf --eval eval.key --input {name}.ct -o {name}.out --progress none"));
        chiffre(dir, &words(&format!("{DECRYPT} --input {name}.out -o {name}.npy --receipt {name}.ct.receipt")))
    };
    let good = encrypted("good", 1.0);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let spoilt = encrypted("spoilt", 1e6);
    let error = String::from_utf8_lossy(&spoilt.stderr);
    assert!(spoilt.status.code() == Some(1) && error.contains("refused for x.npy["), "{error}");
}
