//! What becomes of the files that hold secrets.
#![cfg(unix)]

use crate::common::{ok, refused, shipped};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn secrets_are_their_owners_alone() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let (model, data) = (shipped("tiny_mlp.onnx"), shipped("tiny1_test.npz"));
    let data = data.to_str().unwrap();
    let keygen = ["keygen", "p.chf", "--secret", "secret.key", "--eval", "eval.key", "--allow-insecure"];
    let encrypt = ["encrypt", "p.chf", "--secret", "secret.key", "--input", data, "--count", "4", "-o", "in.ct", "--allow-insecure"];
    ok(dir, &["compile", model.to_str().unwrap(), "-o", "p.chf", "--batch", "8", "--log-n", "11", "--allow-insecure"]);

    // What an attacker left under names that an unfinished key may have is neither written nor
    // taken.
    let (trap, stolen) = (dir.join("secret.key.partial"), dir.join("stolen"));
    std::fs::write(&stolen, "").unwrap();
    set_mode(&stolen, 0o644);
    symlink(&stolen, &trap).unwrap();
    ok(dir, &keygen);
    assert_eq!(std::fs::read(&stolen).unwrap(), b"");
    let secret = dir.join("secret.key");
    assert_eq!(mode(&secret), 0o600);
    let names: Vec<String> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|n| n.ends_with(".partial")).collect::<Vec<_>>(), ["secret.key.partial"], "the trap alone");

    // A key is not overwritten, nor is what a link in its place leads to.
    let first = std::fs::read(&secret).unwrap();
    refused(dir, &keygen, "secret.key is there already");
    std::fs::rename(&secret, dir.join("kept.key")).unwrap();
    refused(dir, &keygen, "eval.key is there already");
    symlink(dir.join("nowhere"), &secret).unwrap();
    refused(dir, &keygen, "secret.key is there already");
    ok(dir, &[&keygen[..], &["--force"]].concat());
    assert!(!dir.join("nowhere").exists() && mode(&secret) == 0o600);
    assert_eq!(std::fs::read(dir.join("kept.key")).unwrap(), first);

    // A key that others may read is no secret.
    ok(dir, &encrypt);
    assert_eq!(mode(&dir.join("in.ct.receipt")), 0o600);
    set_mode(&secret, 0o640);
    refused(dir, &encrypt, "a secret that others may read (mode 640)");
    set_mode(&secret, 0o600);

    // Answers are for the owner of the key.
    ok(dir, &["run", "p.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "out.ct", "--allow-insecure"]);
    let logits = dir.join("logits.npy");
    std::fs::write(&logits, "old").unwrap();
    set_mode(&logits, 0o644);
    ok(dir, &["decrypt", "p.chf", "--secret", "secret.key", "--input", "out.ct", "-o", "logits.npy", "--allow-insecure"]);
    assert_eq!(mode(&logits), 0o600);
}
