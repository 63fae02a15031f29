//! Runs that are killed at any moment go on and end with the same bytes; other runs' journals are
//! refused.

use crate::common::{chiffre, command, fails, ok, shipped, succeeds};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Small units, so that there are many steps.
pub const PASSES: &str = "tensor(recognise-activation,fold-affine,compose-linear,fold-scales),choose-layout{phases=0x0,fill=0,tile=1},\
    lower-linear,he(assign-levels,place-relin,select-params),schedule";

/// A folder with a program for 200 images in several units, keys, and 120 encrypted images.
fn prepared() -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    let (m, d) = (shipped("tiny_resnet.onnx"), shipped("tiny3_test.npz"));
    let (m, d) = (m.to_str().unwrap(), d.to_str().unwrap());
    ok(tmp.path(), &["compile", m, "-o", "p.chf", "--batch", "200", "--log-n", "11", "--passes", PASSES, "--allow-insecure"]);
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

/// What the manifest of the run that writes `out.ct` holds, if there is one.
fn manifest(dir: &Path) -> Option<Vec<u8>> {
    std::fs::read(dir.join("out.ct.partial-run/manifest.chf")).ok()
}

/// Starts a run and kills it `delay` after it has stored something new, if it does not end before.
/// Returns if it ended, and what it said.
fn killed(dir: &Path, delay: Duration) -> (bool, String) {
    let before = manifest(dir);
    let mut child = command(dir, &run_args("in.ct", "out.ct")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() && manifest(dir).is_none_or(|m| Some(m) == before) {
        assert!(start.elapsed() < Duration::from_secs(60), "a tiny run takes seconds");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(delay);
    let _ = child.kill();
    let out = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() || out.status.code().is_none(), "ended by itself, with an error: {err}");
    (out.status.success(), err)
}

#[test]
fn a_run_from_prepared_state_ends_with_the_same_bytes() {
    let tmp = prepared();
    let dir = tmp.path();
    ok(dir, &run_args("in.ct", "whole.ct"));
    ok(dir, &["prepare", "p.chf", "--eval", "eval.key", "-o", "server.chf", "--allow-insecure"]);
    let run = ["run", "p.chf", "--allow-insecure", "--input", "in.ct", "-o", "again.ct"];
    let out = succeeds(dir, &[&run[..], &["--prepared", "server.chf", "--trace", "t.json"]].concat());
    // How long reading and starting took is said, and the trace begins with it.
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.lines().any(|l| l.starts_with("prepared state: read after ") && l.ends_with(" s later")), "{said}");
    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("t.json")).unwrap()).unwrap();
    let bars: Vec<_> = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "X").collect();
    let ends = |e: &serde_json::Value| e["ts"].as_f64().unwrap() + e["dur"].as_f64().unwrap();
    assert!(
        bars[0]["name"] == "reading" && bars[1]["name"] == "starting" && ends(bars[1]) < bars[2]["ts"].as_f64().unwrap() + 1.0,
        "{bars:?}"
    );
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    assert!(read("whole.ct") == read("again.ct"));
    // Neither of them, both of them, and a file of another kind.
    for (arguments, message) in [
        (&[][..], "--eval"),
        (&["--prepared", "server.chf", "--eval", "eval.key"], "cannot be used with"),
        (&["--prepared", "eval.key"], "kind `evaluation-keys`"),
    ] {
        let out = command(dir, &[&run[..], arguments].concat()).output().unwrap();
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && err.contains(message), "{arguments:?}: {err}");
    }
    // Of other keys.
    ok(dir, &["keygen", "p.chf", "--secret", "other.key", "--eval", "other-eval.key", "--allow-insecure"]);
    ok(dir, &["prepare", "p.chf", "--eval", "other-eval.key", "-o", "other-server.chf", "--allow-insecure"]);
    let out = command(dir, &[&run[..], &["--prepared", "other-server.chf"]].concat()).output().unwrap();
    assert!(out.status.code() == Some(2) && String::from_utf8_lossy(&out.stderr).contains("different secret keys"));
}

#[test]
fn killed_runs_go_on_and_end_with_the_same_bytes() {
    let tmp = prepared();
    let dir = tmp.path();
    ok(dir, &run_args("in.ct", "whole.ct"));
    assert!(!dir.join("whole.ct.partial-run").exists());
    let whole = std::fs::read(dir.join("whole.ct")).unwrap();
    let mut steps = vec![];
    // The first kill at once, so that there is something left to do whatever the machine's speed.
    for attempt in 0..12 {
        let (ended, err) = killed(dir, Duration::from_millis(attempt * 7 % 25));
        let resumed = err.split("going on with step ").nth(1).and_then(|t| t.split(' ').next()?.parse::<usize>().ok());
        // On a busy machine a kill may come before the journal is read.
        assert!(if attempt == 0 { resumed.is_none() } else { resumed.is_some() || !ended }, "attempt {attempt}: {err}");
        steps.extend(resumed);
        // The output is complete or not there; and it may be complete if the kill came behind the
        // rename.
        assert!(std::fs::read(dir.join("out.ct")).is_ok_and(|b| b == whole) || !dir.join("out.ct").exists());
        // A kill between the rename and the end of the process leaves nothing to go on with.
        if ended || dir.join("out.ct").exists() {
            break;
        }
    }
    let last = chiffre(dir, &run_args("in.ct", "out.ct"));
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    println!("runs went on with steps {steps:?}");
    assert!(!steps.is_empty() && steps.is_sorted_by(|a, b| a < b), "every run got further: {steps:?}");
    assert_eq!(std::fs::read(dir.join("out.ct")).unwrap(), whole);
    assert!(!dir.join("out.ct.partial-run").exists());
    // It still says which batch it answers.
    let decrypt = ["decrypt", "p.chf", "--secret", "secret.key", "--input", "out.ct", "-o", "y.npy", "--allow-insecure"];
    ok(dir, &[&decrypt[..], &["--receipt", "in.ct.receipt"]].concat());
    assert!(fails(dir, 2, &[&decrypt[..], &["--receipt", "other.ct.receipt"]].concat()).contains("another batch"));
}

#[test]
fn another_run_s_journal_is_refused() {
    let tmp = prepared();
    let dir = tmp.path();
    let (ended, _) = killed(dir, Duration::ZERO);
    assert!(!ended && manifest(dir).is_some());
    let err = fails(dir, 2, &run_args("other.ct", "out.ct"));
    assert!(err.contains("out.ct.partial-run"), "{err}");
    assert!(manifest(dir).is_some());
    ok(dir, &run_args("in.ct", "out.ct"));
}

/// Starts a run that makes no checkpoints by itself, and sends it signals as soon as it has begun.
#[cfg(unix)]
fn signalled(dir: &Path, signals: &[&str]) -> std::process::Output {
    let arguments: Vec<&str> = run_args("in.ct", "out.ct").into_iter().map(|a| if a == "0" { "1000" } else { a }).collect();
    let child = command(dir, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !dir.join("out.ct.partial-run/lock").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "a tiny run takes seconds");
        std::thread::sleep(Duration::from_millis(1));
    }
    for signal in signals {
        assert!(std::process::Command::new("kill").args([signal, child.id().to_string().as_str()]).status().unwrap().success());
    }
    child.wait_with_output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_signal_stops_a_run_behind_its_step_and_the_same_command_goes_on() {
    use std::os::unix::process::ExitStatusExt;
    let tmp = prepared();
    let dir = tmp.path();
    ok(dir, &run_args("in.ct", "whole.ct"));
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let out = signalled(dir, &[signal]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{said}");
        assert!(said.contains("stopping behind this step") && said.contains(" steps left: "), "{said}");
        assert!(said.contains("the same command goes on from there") && manifest(dir).is_some() && !dir.join("out.ct").exists(), "{said}");
        let out = chiffre(dir, &run_args("in.ct", "out.ct"));
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("going on with step "), "{said}");
        assert!(std::fs::read(dir.join("out.ct")).unwrap() == std::fs::read(dir.join("whole.ct")).unwrap());
        std::fs::remove_file(dir.join("out.ct")).unwrap();
    }
    // The second signal ends the process at once; both are there when it goes on.
    let out = signalled(dir, &["-STOP", "-INT", "-TERM", "-CONT"]);
    assert!(matches!(out.status.signal(), Some(2 | 15)), "{:?}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    ok(dir, &run_args("in.ct", "out.ct"));
    assert!(std::fs::read(dir.join("out.ct")).unwrap() == std::fs::read(dir.join("whole.ct")).unwrap());
}
