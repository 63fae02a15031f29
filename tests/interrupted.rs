//! Runs that are killed at any moment go on and end with the same bytes; other runs' journals are refused.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn chiffre(dir: &Path, args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_chiffre"));
    c.current_dir(dir).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    c
}

fn ok(dir: &Path, args: &[&str]) -> Output {
    let out = chiffre(dir, args).output().expect("chiffre starts");
    assert!(out.status.success(), "chiffre {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

/// A folder with a program for 200 images in several units, keys, and 120 encrypted images.
fn prepared() -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let (m, d) = (models.join("tiny_resnet.onnx"), models.join("tiny3_test.npz"));
    let (m, d) = (m.to_str().unwrap(), d.to_str().unwrap());
    ok(tmp.path(), &["compile", m, "-o", "p.chf", "--batch", "200", "--log-n", "11", "--allow-insecure"]);
    ok(tmp.path(), &["keygen", "p.chf", "--secret", "secret.key", "--eval", "eval.key", "--allow-insecure"]);
    let encrypt = ["encrypt", "p.chf", "--secret", "secret.key", "--input", d, "--count", "120", "--allow-insecure"];
    ok(tmp.path(), &[&encrypt[..], &["-o", "in.ct"]].concat());
    ok(tmp.path(), &[&encrypt[..], &["-o", "other.ct"]].concat());
    tmp
}

const RUN: [&str; 6] = ["run", "p.chf", "--eval", "eval.key", "--allow-insecure", "--progress"];

fn run_args<'a>(input: &'a str, output: &'a str) -> Vec<&'a str> {
    [&RUN[..], &["none", "--checkpoint-every", "0", "--input", input, "-o", output]].concat()
}

#[test]
fn killed_runs_go_on_and_end_with_the_same_bytes() {
    let tmp = prepared();
    let dir = tmp.path();
    ok(dir, &run_args("in.ct", "whole.ct"));
    assert!(!dir.join("whole.ct.partial-run").exists());
    let whole = std::fs::read(dir.join("whole.ct")).unwrap();
    let (mut kills, mut resumed) = (0, 0);
    for round in 0..3u64 {
        // Longer and longer, until one comes through.
        for attempt in 0..200u64 {
            let mut child = chiffre(dir, &run_args("in.ct", "out.ct")).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(30 + 13 * round + 20 * attempt));
            let ended = child.try_wait().unwrap().is_some();
            let _ = child.kill();
            let out = child.wait_with_output().unwrap();
            resumed += usize::from(String::from_utf8_lossy(&out.stderr).contains("going on with step"));
            if ended {
                assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
                break;
            }
            kills += 1;
            // The output is complete or not there; and it may be complete if the kill came behind the rename.
            assert!(std::fs::read(dir.join("out.ct")).is_ok_and(|b| b == whole) || !dir.join("out.ct").exists());
        }
        assert_eq!(std::fs::read(dir.join("out.ct")).unwrap(), whole);
        assert!(!dir.join("out.ct.partial-run").exists());
        std::fs::remove_file(dir.join("out.ct")).unwrap();
    }
    println!("{kills} kills, {resumed} runs that went on");
    assert!(kills > 0 && resumed > 0, "{kills} kills, {resumed} runs that went on");
}

#[test]
fn another_run_s_journal_is_refused() {
    let tmp = prepared();
    let dir = tmp.path();
    for attempt in 0..200u64 {
        let mut child = chiffre(dir, &run_args("in.ct", "out.ct")).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(30 + 10 * attempt));
        let _ = child.kill();
        child.wait().unwrap();
        if dir.join("out.ct.partial-run/manifest.chf").exists() {
            break;
        }
        let _ = std::fs::remove_file(dir.join("out.ct"));
    }
    let out = chiffre(dir, &run_args("other.ct", "out.ct")).output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{err}");
    assert!(err.contains("out.ct.partial-run"), "{err}");
    assert!(dir.join("out.ct.partial-run/manifest.chf").exists());
}
