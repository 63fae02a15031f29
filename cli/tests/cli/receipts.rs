//! What a receipt finds at decryption, each by name: old results, swapped ones, truncated ones, and
//! ciphertexts that nobody has encrypted. Tiny rings (insecure, marked) keep it to seconds.

use crate::common::{chiffre, fails, ok, shipped};
use chiffre_testing::Sealed;
use std::path::Path;
use std::process::Output;

/// A folder with a program for so many images and its keys.
pub fn prepared(model: &str, options: &str) -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    let model = shipped(model);
    does(tmp.path(), &format!("compile {} -o p.chf {options}", model.display()));
    does(tmp.path(), "keygen p.chf --secret secret.key --eval eval.key");
    tmp
}

/// The words of a line, for insecure programs.
pub fn words(line: &str) -> Vec<&str> {
    line.split(' ').chain(["--allow-insecure"]).collect()
}

/// What the command of a line prints; it must succeed.
pub fn does(dir: &Path, line: &str) -> String {
    ok(dir, &words(line))
}

/// Decrypts without success, and writes nothing; the error.
pub fn refuses(dir: &Path, code: i32, line: &str) -> String {
    let error = fails(dir, code, &words(&format!("decrypt p.chf --secret secret.key -o x.npy {line}")));
    assert!(!dir.join("x.npy").exists(), "{line}");
    error
}

/// Encrypts the first `count` shipped images as NAME.ct and runs them to NAME.out.
pub fn run(dir: &Path, name: &str, count: usize, options: &str) -> String {
    let data = shipped("tiny1_test.npz");
    let said = does(dir, &format!("encrypt p.chf --secret secret.key --input {} --count {count} -o {name}.ct{options}", data.display()));
    does(dir, &format!("run p.chf --eval eval.key --input {name}.ct -o {name}.out --progress none"));
    said
}

/// Writes a changed copy of a container, with a right digest.
pub fn changed(dir: &Path, from: &str, to: &str, change: impl FnOnce(&mut Sealed)) {
    let mut sealed = Sealed::read(&dir.join(from));
    change(&mut sealed);
    sealed.write(&dir.join(to));
}

const MLP: (&str, &str) = ("tiny_mlp.onnx", "--batch 8 --log-n 11");

#[test]
fn a_result_answers_the_batch_of_its_receipt() {
    let tmp = prepared(MLP.0, MLP.1);
    let dir = tmp.path();
    assert!(run(dir, "a", 4, "").contains("receipt in a.ct.receipt"));
    run(dir, "b", 4, "");
    let decrypt = |line: &str| does(dir, &format!("decrypt p.chf --secret secret.key {line}"));
    decrypt("--input a.out -o a.npy --receipt a.ct.receipt");
    // Of an old batch, or of another one: files cannot tell which.
    let error = refuses(dir, 2, "--input a.out --receipt b.ct.receipt");
    assert!(error.contains("a.out: it answers another batch") && error.contains("that of b.ct.receipt"), "{error}");
    // Cut, longer than it was, run on a changed batch, and silent about its batch.
    changed(dir, "b.out", "cut.out", |s| drop(s.metadata.insert("images".into(), "3".into())));
    let error = refuses(dir, 2, "--input cut.out --receipt b.ct.receipt");
    assert!(error.contains("cut.out: it is truncated: 3 answers") && error.contains("has 4 images"), "{error}");
    changed(dir, "b.out", "long.out", |s| drop(s.metadata.insert("images".into(), "5".into())));
    assert!(refuses(dir, 2, "--input long.out --receipt b.ct.receipt").contains("long.out: it has 5 answers"));
    changed(dir, "b.ct", "cut.ct", |s| drop(s.metadata.insert("images".into(), "3".into())));
    changed(dir, "b.ct", "other.ct", |s| s.tensors.get_mut("m00000.c0").unwrap().bytes[0] ^= 1);
    for (name, message) in [("cut", "truncated"), ("other", "other.out: it was not computed from the batch of b.ct.receipt")] {
        does(dir, &format!("run p.chf --eval eval.key --input {name}.ct -o {name}.out --progress none"));
        let error = refuses(dir, 2, &format!("--input {name}.out --receipt b.ct.receipt"));
        assert!(error.contains(message), "{error}");
    }
    changed(dir, "b.out", "silent.out", |s| drop(s.metadata.remove("nonce")));
    let error = refuses(dir, 2, "--input silent.out --receipt b.ct.receipt");
    assert!(error.contains("silent.out: it does not say which batch it answers"), "{error}");
    changed(dir, "b.out", "bad.out", |s| drop(s.metadata.insert("nonce".into(), "12".into())));
    assert!(refuses(dir, 2, "--input bad.out --receipt b.ct.receipt").contains("bad nonce"));
    // A receipt is of one program and one key.
    does(dir, "keygen p.chf --secret other.key --eval other.eval");
    changed(dir, "b.ct.receipt", "other.receipt", |s| drop(s.metadata.insert("key-id".into(), "00".repeat(16))));
    assert!(refuses(dir, 2, "--input b.out --receipt other.receipt").contains("and other.receipt is of key 0000"));
    changed(dir, "b.ct.receipt", "other.receipt", |s| drop(s.metadata.insert("program".into(), "00".repeat(32))));
    assert!(refuses(dir, 2, "--input b.out --receipt other.receipt").contains("other.receipt was made for another program"));
    assert!(refuses(dir, 2, "--input b.out --receipt b.ct").contains("expected `receipt`"));
    changed(dir, "b.ct.receipt", "other.receipt", |s| drop(s.metadata.insert("names".into(), "[1]".into())));
    assert!(refuses(dir, 2, "--input b.out --receipt other.receipt").contains("other.receipt: bad names"));
}

/// Without a name, the only receipt beside the result is meant; several are a question, and none is
/// a warning.
#[test]
fn receipts_are_found_beside_results() {
    let tmp = prepared(MLP.0, MLP.1);
    let dir = tmp.path();
    let decrypt = |line: &str| -> (Output, String) {
        let out = chiffre(dir, &words(&format!("decrypt p.chf --secret secret.key --top 1 {line}")));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        (out, error)
    };
    run(dir, "a", 2, "");
    let (out, error) = decrypt("--input a.out -o x.npy");
    assert!(error.is_empty(), "{error}");
    let top = String::from_utf8_lossy(&out.stdout).into_owned();
    let names: Vec<&str> = top.lines().filter_map(|l| l.split(": ").next()).collect();
    assert_eq!(names, ["tiny1_test.npz[0]", "tiny1_test.npz[1]"]);
    decrypt("--input a.out -o x.csv");
    let table = std::fs::read_to_string(dir.join("x.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("image,class 0,class 1,") && lines[2].starts_with("tiny1_test.npz[1],"), "{table}");
    std::fs::remove_file(dir.join("x.npy")).unwrap();

    run(dir, "b", 2, " --receipt b.receipt");
    let error = refuses(dir, 2, "--input a.out");
    assert!(error.contains("a.out may answer one of several batches") && error.contains("a.ct.receipt, b.receipt"), "{error}");
    // The only one there is may be the wrong one.
    std::fs::remove_file(dir.join("a.ct.receipt")).unwrap();
    assert!(refuses(dir, 2, "--input a.out").contains("another batch"));
    let unchecked = "a.out is decrypted without a receipt: nothing tells whether it is an old result";
    assert!(decrypt("--input a.out -o x.npy --no-receipt").1.contains(unchecked));
    // Files of older versions have neither receipt nor nonce.
    std::fs::remove_file(dir.join("b.receipt")).unwrap();
    changed(dir, "a.ct", "old.ct", |s| drop(s.metadata.remove("nonce")));
    does(dir, "run p.chf --eval eval.key --input old.ct -o old.out --progress none");
    changed(dir, "old.out", "older.out", |s| drop(s.metadata.remove("input")));
    let (out, error) = decrypt("--input older.out -o old.npy");
    assert!(error.contains("older.out is decrypted without a receipt"), "{error}");
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("0: "));
    assert_eq!(std::fs::read(dir.join("old.npy")).unwrap(), std::fs::read(dir.join("x.npy")).unwrap());
    // One file cannot be both.
    let data = shipped("tiny1_test.npz");
    let line = format!("encrypt p.chf --secret secret.key --input {} --count 2 -o c.ct --receipt c.ct", data.display());
    assert!(fails(dir, 2, &words(&line)).contains("c.ct cannot be both"));
}

#[test]
fn transparent_ciphertexts_are_refused() {
    let tmp = prepared(MLP.0, MLP.1);
    let dir = tmp.path();
    run(dir, "a", 4, "");
    // Either polynomial of the first ciphertext, and all of them.
    let half = |s: &mut Sealed| {
        let t = s.tensors.get_mut("m00000").unwrap();
        let ciphertext = t.bytes.len() / t.shape[0];
        (t.bytes.len(), ciphertext / 2)
    };
    for (name, part) in [("c0", 0..1), ("c1", 1..2), ("all", 0..usize::MAX)] {
        changed(dir, "a.out", "bad.out", |s| {
            let (all, half) = half(s);
            let bytes = part.start * half..part.end.saturating_mul(half).min(all);
            s.tensors.get_mut("m00000").unwrap().bytes[bytes].fill(0);
        });
        for option in ["", " --no-receipt"] {
            let error = refuses(dir, 2, &format!("--input bad.out{option}"));
            assert!(error.contains("bad.out: ciphertext 0 of unit 0 is transparent"), "{name}: {error}");
        }
    }
    changed(dir, "a.ct", "bad.ct", |s| s.tensors.get_mut("m00000.c0").unwrap().bytes.fill(0));
    let error = fails(dir, 2, &words("run p.chf --eval eval.key --input bad.ct -o x.out"));
    assert!(error.contains("bad.ct: ciphertext 0 of unit 0 is transparent") && !dir.join("x.out").exists(), "{error}");
}

/// A class without a weight is the same for all images, and an honest run leaves it in the open.
#[test]
fn constant_classes_are_no_transparent_ciphertexts() {
    use chiffre_ir::consts::Array;
    use chiffre_ir::tensor::TensorOp;
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let model = chiffre_frontend::load(&shipped("tiny_mlp.onnx")).unwrap();
    let mut g = (*model.graph).clone();
    let last = g.outputs[0].index();
    let TensorOp::Linear { weight, .. } = g.nodes[last].op else { panic!("{:?}", g.nodes[last].op) };
    let a = g.consts.array(weight).unwrap();
    let mut data = a.data.clone();
    let columns = a.shape[1];
    data[columns..2 * columns].fill(0.0);
    let silent = g.consts.add("silent", Array::new(a.shape.clone(), data));
    if let TensorOp::Linear { weight, .. } = &mut g.nodes[last].op {
        *weight = silent;
    }
    let options = chiffre_passes::options::CompileOptions { batch: 8, log_n: Some(11), allow_insecure: true, ..Default::default() };
    let compiled = chiffre::pipeline::compile_graph(&g, "silent", &chiffre::pipeline::Request { options, ..Default::default() }).unwrap();
    chiffre_ir::program::file::save(&dir.join("p.chf"), &compiled.program, &compiled.stages).unwrap();
    println!("free of images: {:?}", compiled.program.input_free());
    does(dir, "keygen p.chf --secret secret.key --eval eval.key");
    let data = shipped("tiny1_test.npz");
    let encrypt = format!("encrypt p.chf --secret secret.key --input {} --count 4 -o a.ct --mean 0.5 --std 0.25", data.display());
    does(dir, &encrypt);
    does(dir, "run p.chf --eval eval.key --input a.ct -o a.out --progress none");
    does(dir, "decrypt p.chf --secret secret.key --input a.out -o y.npy");
}
