//! A process that keeps a journal is killed at random moments, again and again, and still gets to
//! its end.

use chiffre_ckks::ring::primes::ntt_primes_below;
use chiffre_ckks::ring::{Ring, RnsPoly};
use chiffre_runtime::journal::{Journal, Opened, Shapes, directory};
use chiffre_testing::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const FOLDER: &str = "CHIFFRE_TEST_JOURNAL";
const STEPS: usize = 150;
const LIMBS: usize = 3;

fn ring() -> Ring {
    Ring::new(10, &ntt_primes_below(49, 10, LIMBS, &[]).unwrap(), &[]).unwrap()
}

/// Two values are live, with two ciphertexts each.
fn live(step: usize) -> Option<Shapes> {
    (step <= STEPS).then(|| (step.saturating_sub(2)..step).map(|v| ((v, 0), [2, LIMBS])).collect())
}

fn value(v: usize) -> Vec<[RnsPoly; 2]> {
    let poly = |i: usize| {
        let mut p = RnsPoly::new_zero(1 << 10, LIMBS);
        p.iter_mut().for_each(|row| row.iter_mut().enumerate().for_each(|(k, w)| *w = (v << 20 | k << 4 | i) as u64));
        p
    };
    vec![[poly(0), poly(1)], [poly(2), poly(3)]]
}

fn open(dir: &Path) -> Opened {
    let binding = BTreeMap::from([("program".to_string(), "p".to_string())]);
    let o = Journal::open(dir, &ring(), binding, live).unwrap();
    assert_eq!(o.warning, None);
    if let Some(r) = &o.resume {
        assert_eq!(r.values.len(), r.step.min(2));
        assert!(r.values.iter().all(|((v, _), cts)| *cts == value(*v)));
    }
    o
}

/// The process that is killed; without the variable it has nothing to do.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let output = PathBuf::from(folder).join("out");
    let Opened { mut journal, resume, .. } = open(&directory(&output));
    let mut values: BTreeMap<_, _> = BTreeMap::new();
    let mut step = 0;
    if let Some(r) = resume {
        (step, values) = (r.step, r.values);
    }
    while step < STEPS {
        values.insert((step, 0), value(step));
        step += 1;
        values.retain(|(v, _), _| v + 2 >= step);
        journal.commit(step, values.iter().map(|(k, v)| (*k, v))).unwrap();
    }
    std::fs::write(&output, "done").unwrap();
    journal.finish().unwrap();
}

#[test]
fn a_killed_process_goes_on() {
    let tmp = tempfile::tempdir().unwrap();
    let output = tmp.path().join("out");
    let dir = directory(&output);
    let (mut kills, mut step, mut random) = (0u64, 0, Rng::new(1));
    while !output.exists() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(FOLDER, tmp.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Longer and longer, so that slow machines come to an end.
        std::thread::sleep(Duration::from_micros(random.below(100_000) as u64 + 3000 * kills));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(status.code().is_none_or(|c| c == 0), "ended by itself and failed");
        kills += 1;
        if !output.exists() {
            let now = open(&dir).resume.map_or(0, |r| r.step);
            assert!(now >= step, "went back from step {step} to {now}");
            step = now;
        }
    }
    println!("{kills} kills");
    assert!(!dir.exists() || open(&dir).journal.finish().is_ok());
}

/// A limit on the size of files stands in for a full disk.
#[cfg(unix)]
#[test]
fn a_write_that_fails_is_an_error_and_keeps_the_state() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = directory(&tmp.path().join("out"));
    let mut journal = open(&dir).journal;
    for step in 1..=3 {
        let values: Vec<_> = live(step).unwrap().into_keys().map(|k| (k, value(k.0))).collect();
        journal.commit(step, values.iter().map(|(k, v)| (*k, v))).unwrap();
    }
    drop(journal);
    let out = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact child --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, tmp.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && text.contains("value-000003-000000.chf") && text.contains("too large"), "{text}");
    assert_eq!(open(&dir).resume.unwrap().step, 3);
}
