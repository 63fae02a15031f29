//! What of answers may be given away: labels that no error changes, and so many of them under a
//! key.

use crate::common::{fails, shipped};
use crate::receipts::{changed, does, prepared, refuses, run, words};
use chiffre_testing::Sealed;
use ndarray::Array4;

const SHARE: &str = "decrypt p.chf --secret secret.key --share label";

#[test]
fn labels_are_shared_up_to_a_budget() {
    let tmp = prepared("tiny_mlp.onnx", "--batch 8 --log-n 11");
    let dir = tmp.path();
    run(dir, "a", 6, " --canary");
    let share = |name: &str, budget: u64| format!("{SHARE} --input a.out -o {name} --receipt a.ct.receipt --share-budget {budget}");
    let said = does(dir, &share("labels.csv", 15));
    assert!(said.starts_with("6 labels, 0 undecided") && said.contains("; 6 of 15 shared under this key"), "{said}");
    let top = does(dir, "decrypt p.chf --secret secret.key --input a.out -o y.npy --receipt a.ct.receipt --top 1");
    let classes = top.lines().enumerate().map(|(i, l)| format!("{i},{}\n", l.split([' ', '(']).nth(1).unwrap()));
    assert_eq!(std::fs::read_to_string(dir.join("labels.csv")).unwrap(), "image,label\n".to_string() + &classes.collect::<String>());
    // What is shared twice is counted twice, and the third time is too often.
    does(dir, &share("labels.csv", 15));
    let error = fails(dir, 2, &words(&share("more.csv", 15)));
    assert!(error.contains("6 labels: 12 were shared under this key, and the budget is 15 (secret.key.shared)"), "{error}");
    assert!(!dir.join("more.csv").exists());
    does(dir, &share("more.csv", 18));
    #[cfg(unix)]
    for name in ["secret.key.shared", "labels.csv"] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }

    // Of a result whose canary is wrong, nothing is shared and nothing is counted.
    run(dir, "b", 6, " --canary");
    let of = Sealed::read(&dir.join("a.out")).metadata;
    changed(dir, "b.out", "forged.out", |s| s.metadata = of);
    let forged = format!("{SHARE} --input forged.out -o x.csv --receipt a.ct.receipt --share-budget 100");
    let error = fails(dir, 1, &words(&forged));
    assert!(error.contains("nothing of such a result is shared") && !dir.join("x.csv").exists(), "{error}");
    let said = does(dir, &share("labels.csv", 24));
    assert!(said.contains("24 of 24 shared"), "{said}");
    // Without canaries there is no bound.
    run(dir, "c", 6, "");
    let error = refuses(dir, 2, "--share label --input c.out --receipt c.ct.receipt");
    assert!(error.contains("c.out: nothing is known of the error") && error.contains("--canary"), "{error}");
}

/// Between two images of different classes is one whose class the error of decryption decides.
#[test]
fn what_an_error_may_change_is_undecided() {
    let tmp = prepared("tiny_mlp.onnx", "--batch 8 --log-n 11");
    let dir = tmp.path();
    let model = shipped("tiny_mlp.onnx");
    let m = chiffre_frontend::load(&model).unwrap();
    let clear = chiffre_frontend::Reference::load(&model).unwrap();
    let normalisation = m.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
    let shape: [usize; 3] = m.input_shape.clone().try_into().unwrap();
    let images = chiffre::data::load(&shipped("tiny1_test.npz"), &chiffre::DataOptions { shape, normalisation, count: Some(20) }).unwrap();
    let class = |x: &[f32]| chiffre::logits::argmax(&clear.run(x, 1).unwrap()).unwrap();
    let first = images.image(0);
    let other = (1..20).map(|i| images.image(i)).find(|x| class(x) != class(first)).unwrap();
    let between = |t: f32| first.iter().zip(other).map(|(a, b)| a + t * (b - a)).collect::<Vec<f32>>();
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if class(&between(middle)) == class(first) { low = middle } else { high = middle }
    }
    let pixels = [first.to_vec(), between(low), other.to_vec()].concat();
    let [c, h, w] = shape;
    ndarray_npy::write_npy(dir.join("x.npy"), &Array4::from_shape_vec((3, c, h, w), pixels).unwrap()).unwrap();
    does(dir, "encrypt p.chf --secret secret.key --input x.npy -o a.ct --canary");
    does(dir, "run p.chf --eval eval.key --input a.ct -o a.out --progress none");
    let said = does(dir, &format!("{SHARE} --input a.out -o labels.csv"));
    assert!(said.starts_with("3 labels, 1 undecided"), "{said}");
    let wanted = format!("image,label\n0,{}\n1,undecided\n2,{}\n", class(first), class(other));
    assert_eq!(std::fs::read_to_string(dir.join("labels.csv")).unwrap(), wanted);
}
