//! Damaged and hostile files: a clear error and exit code 2, never a panic, never an allocation
//! beyond the file's size.

use crate::common::shipped;
use chiffre_testing::Rng;
use std::path::Path;
use std::process::{Command, Output};

fn chiffre(dir: &Path, args: &[&str]) -> Output {
    // 4 GiB of address space: a huge allocation would fail loudly.
    let line = format!("ulimit -v 4194304; exec \"$0\" {}", args.iter().map(|a| format!("'{a}'")).collect::<Vec<_>>().join(" "));
    Command::new("sh").current_dir(dir).args(["-c", &line, env!("CARGO_BIN_EXE_chiffre")]).output().expect("chiffre starts")
}

/// One mutation of a file: a flipped bit, a cut, a longer file, or a changed header.
fn mutate(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut b = bytes.to_vec();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    match rng.below(6) {
        0 => {
            let i = rng.below(b.len());
            b[i] ^= 1 << rng.below(8);
        }
        1 => b.truncate(rng.below(bytes.len())),
        2 => b.extend(std::iter::repeat_n(rng.below(256) as u8, 1 + rng.below(100))),
        3 => {
            let i = rng.below(header);
            b[i] = rng.below(256) as u8;
            if b == bytes {
                b[i] ^= 1;
            }
        }
        4 => {
            // A number of the header becomes huge.
            let digits: Vec<usize> = (8..header).filter(|&i| b[i].is_ascii_digit()).collect();
            let i = digits[rng.below(digits.len())];
            b.splice(i..i, *b"99999999999");
            let n = header as u64 - 8 + 11;
            b[..8].copy_from_slice(&n.to_le_bytes());
        }
        _ => b[..8].copy_from_slice(&(u64::MAX >> rng.below(60)).to_le_bytes()),
    }
    b
}

#[test]
fn mutated_containers_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();

    let model = shipped("tiny_cnn.onnx");
    let data = shipped("tiny1_test.npz");
    let insecure = "--allow-insecure";
    let prepare: [&[&str]; 4] = [
        &["compile", model.to_str().unwrap(), "-o", "p.chf", "--batch", "4", "--log-n", "10", insecure],
        &["keygen", "p.chf", "--secret", "secret.key", "--eval", "eval.key", insecure],
        &["encrypt", "p.chf", "--secret", "secret.key", "--input", data.to_str().unwrap(), "--count", "4", "-o", "in.ct", insecure],
        &["run", "p.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "out.ct", insecure],
    ];
    for args in prepare {
        let out = chiffre(dir, args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    let mut rng = Rng::new(1);
    let uses: [(&str, &[&str]); 6] = [
        ("p.chf", &["inspect", "bad"]),
        ("secret.key", &["decrypt", "p.chf", "--secret", "bad", "--input", "out.ct", "-o", "x.npy", insecure]),
        ("eval.key", &["run", "p.chf", "--eval", "bad", "--input", "in.ct", "-o", "x.ct", insecure]),
        ("in.ct", &["run", "p.chf", "--eval", "eval.key", "--input", "bad", "-o", "x.ct", insecure]),
        ("out.ct", &["decrypt", "p.chf", "--secret", "secret.key", "--input", "bad", "-o", "x.npy", insecure]),
        (
            "in.ct.receipt",
            &["decrypt", "p.chf", "--secret", "secret.key", "--input", "out.ct", "--receipt", "bad", "-o", "x.npy", insecure],
        ),
    ];
    let mut fed = 0;
    for (file, args) in uses {
        let bytes = std::fs::read(dir.join(file)).unwrap();
        for _ in 0..60 {
            std::fs::write(dir.join("bad"), mutate(&bytes, &mut rng)).unwrap();
            let out = chiffre(dir, args);
            let err = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(2), "{file}: {err}");
            assert!(err.contains("bad") && !err.contains("bug of Chiffre"), "{file}: {err}");
            fed += 1;
        }
    }
    assert!(!dir.join("x.ct").exists() && !dir.join("x.npy").exists());
    println!("{fed} mutated files refused");
}

#[test]
fn mutated_models_never_crash() {
    let tmp = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(shipped("tiny_resnet.onnx")).unwrap();
    let mut rng = Rng::new(2);
    for i in 0..100 {
        let mut b = bytes.clone();
        if i % 2 == 0 {
            b.truncate(rng.below(bytes.len()));
        } else {
            for _ in 0..1 + rng.below(4) {
                let k = rng.below(b.len());
                b[k] = rng.below(256) as u8;
            }
        }
        std::fs::write(tmp.path().join("bad.onnx"), b).unwrap();
        let out = chiffre(tmp.path(), &["compile", "bad.onnx", "-o", "p.chf", "--log-n", "11", "--allow-insecure"]);
        let err = String::from_utf8_lossy(&out.stderr);
        // A changed weight is still a model.
        assert!(matches!(out.status.code(), Some(0 | 2)), "{:?}: {err}", out.status);
        assert!(!err.contains("bug of Chiffre"), "{err}");
    }
}

#[test]
fn wrong_inputs_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();

    let (model, other) = (shipped("tiny_cnn.onnx"), shipped("tiny3_test.npz"));
    assert!(
        chiffre(dir, &["compile", model.to_str().unwrap(), "-o", "p.chf", "--batch", "4", "--log-n", "10", "--allow-insecure"])
            .status
            .success()
    );
    assert!(chiffre(dir, &["keygen", "p.chf", "--secret", "s", "--eval", "e", "--allow-insecure"]).status.success());
    let encrypt = |input: &str| chiffre(dir, &["encrypt", "p.chf", "--secret", "s", "--input", input, "-o", "x.ct", "--allow-insecure"]);
    let mut nan = b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), }\n".to_vec();
    nan[8] = (nan.len() - 10) as u8;
    nan.extend(std::iter::repeat_n(f32::NAN.to_le_bytes(), 64).flatten());
    std::fs::write(dir.join("nan.npy"), nan).unwrap();
    for (input, message) in [(other.to_str().unwrap(), "tiny3_test.npz"), ("nan.npy", "nan.npy"), ("missing.npy", "missing.npy")] {
        let out = encrypt(input);
        let err = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{input}: {err}");
        assert!(err.contains(message), "{input}: {err}");
    }
    assert!(!dir.join("x.ct").exists());
}
