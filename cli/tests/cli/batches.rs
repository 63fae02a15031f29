//! Many batches: shards leave the same bytes as one process, whatever is killed; what is done is
//! kept, what fails is set aside, and what does not belong is refused before anything starts.

use crate::common::{command, fails, ok, root, shipped, succeeds};
use crate::interrupted::PASSES;
use chiffre_cli::args::Cli;
use clap::Parser;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Numbers of images of the encrypted batches.
const SIZES: [&str; 5] = ["60", "10", "120", "5", "30"];
const MANY: [&str; 8] = ["run", "p.chf", "--eval", "eval.key", "--allow-insecure", "--progress", "none", "--inputs"];

/// A folder with a program, keys, and encrypted batches in `in`.
fn prepared() -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, model) = (tmp.path(), shipped("tiny_resnet.onnx"));
    std::fs::create_dir(dir.join("in")).unwrap();
    let compile = ["compile", model.to_str().unwrap(), "-o", "p.chf", "--batch", "200", "--log-n", "11", "--passes", PASSES];
    ok(dir, &[&compile[..], &["--allow-insecure"]].concat());
    keys(dir, "");
    for (i, count) in SIZES.iter().enumerate() {
        encrypt(dir, "secret.key", count, &format!("in/{i}.ct"));
    }
    tmp
}

fn keys(dir: &Path, prefix: &str) {
    let [secret, eval] = ["secret.key", "eval.key"].map(|f| format!("{prefix}{f}"));
    ok(dir, &["keygen", "p.chf", "--secret", &secret, "--eval", &eval, "--allow-insecure"]);
}

fn encrypt(dir: &Path, secret: &str, count: &str, output: &str) {
    let data = shipped("tiny3_test.npz");
    let images = ["--input", data.to_str().unwrap(), "--count", count, "--allow-insecure"];
    ok(dir, &[&["encrypt", "p.chf", "--secret", secret, "-o", output], &images[..]].concat());
}

/// The arguments of a run on all batches, or on a shard of them.
fn many<'a>(inputs: &'a str, outputs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&MANY[..], &[inputs, "--outputs", outputs], more].concat()
}

fn status(outputs: &str) -> [&str; 6] {
    ["batch", "status", "--inputs", "in", "--outputs", outputs]
}

/// The files of a folder, with their bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    all.map(|p| (p.file_name().unwrap().into(), std::fs::read(&p).unwrap())).collect()
}

#[test]
fn shards_leave_the_bytes_of_one_process() {
    let tmp = prepared();
    let dir = tmp.path();
    assert!(fails(dir, 1, &status("whole")).contains("5 of 5 batches have no answer"));
    let said = ok(dir, &many("in", "whole", &[]));
    assert!(said.starts_with("5 batches run (225 images in "), "{said}");
    let whole = files(&dir.join("whole"));
    assert_eq!(whole.len(), 5);
    // Each answer is that of a run on its own.
    let one = ["run", "p.chf", "--eval", "eval.key", "--allow-insecure", "--input", "in/1.ct", "-o", "one.ct"];
    ok(dir, &one);
    assert!(std::fs::read(dir.join("one.ct")).unwrap() == whole[Path::new("1.ct")]);
    for shard in ["0/3", "1/3", "2/3"] {
        ok(dir, &many("in", "shards", &["--shard", shard]));
    }
    assert!(files(&dir.join("shards")) == whole);
    // A list instead of a folder, prepared state instead of keys, a scheduler instead of --shard.
    std::fs::write(dir.join("list"), "# two\nin/4.ct\nin/2.ct\n").unwrap();
    ok(dir, &["prepare", "p.chf", "--eval", "eval.key", "-o", "server.chf", "--allow-insecure"]);
    let listed = ["run", "p.chf", "--prepared", "server.chf", "--allow-insecure", "--inputs", "list", "--outputs", "listed"];
    for id in ["1", "2"] {
        let mut c = command(dir, &listed);
        let array = [("ID", id), ("COUNT", "2"), ("MIN", "1"), ("MAX", "2"), ("STEP", "1")];
        array.iter().for_each(|(name, value)| _ = c.env(format!("SLURM_ARRAY_TASK_{name}"), value));
        let out = c.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        let number = id.parse::<usize>().unwrap() - 1;
        assert!(out.status.success() && said.contains(&format!("shard {number}/2 (SLURM_ARRAY_TASK_ID): 1 of 2 batches")), "{said}");
    }
    let listed = files(&dir.join("listed"));
    assert!(listed.len() == 2 && listed.iter().all(|(name, bytes)| whole[name] == *bytes));
    // Nothing is left to do, and keys are not even read.
    let said = ok(dir, &many("in", "whole", &[]));
    assert_eq!(said, "0 batches run (0 images), 5 done before, 0 set aside\n");
    assert!(ok(dir, &status("whole")).starts_with("5 of 5 batches are done"));
    ok(
        dir,
        &[
            "decrypt",
            "p.chf",
            "--secret",
            "secret.key",
            "--input",
            "whole/0.ct",
            "--receipt",
            "in/0.ct.receipt",
            "-o",
            "y.npy",
            "--allow-insecure",
        ],
    );
}

#[test]
fn a_shard_that_is_killed_goes_on() {
    let tmp = prepared();
    let dir = tmp.path();
    ok(dir, &many("in", "whole", &[]));
    ok(dir, &many("in", "out", &["--shard", "1/2"]));
    let args = many("in", "out", &["--shard", "0/2", "--checkpoint-every", "0"]);
    let manifest = dir.join("out/2.ct.partial-run/manifest.chf");
    // Killed in the middle of its second batch.
    let mut child = command(dir, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() && !manifest.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "tiny runs take seconds");
        std::thread::sleep(Duration::from_millis(1));
    }
    let state = || -> serde_json::Value {
        let out = command(dir, &[&status("out")[..], &["--json"]].concat()).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap()
    };
    // Stopped, so that it does not end meanwhile.
    let id = child.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    signal("-STOP");
    assert_eq!(state()["list"][2]["state"], "running");
    child.kill().unwrap();
    assert!(child.wait().unwrap().code().is_none(), "killed before its end");
    assert!(dir.join("out/0.ct").exists() && !dir.join("out/4.ct").exists());
    let said = state();
    assert_eq!(
        (&said["counts"]["done"], &said["counts"]["begun"], &said["counts"]["missing"]),
        (&3.into(), &1.into(), &1.into()),
        "{said}"
    );
    assert_eq!(said["list"][2]["state"], "begun");
    let out = succeeds(dir, &args);
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(text.contains("1 of them done before") && text.contains("going on with step"), "{text}");
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("2 batches run (150 images"));
    assert!(files(&dir.join("out")) == files(&dir.join("whole")));
}

#[test]
fn what_fails_is_set_aside_and_what_is_damaged_made_again() {
    let tmp = prepared();
    let dir = tmp.path();
    ok(dir, &many("in", "whole", &[]));
    let (good, path) = (std::fs::read(dir.join("in/1.ct")).unwrap(), dir.join("in/1.ct"));
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bad).unwrap();
    let out = command(dir, &many("in", "out", &[])).output().unwrap();
    let [said, error] = [&out.stdout, &out.stderr].map(|t| String::from_utf8_lossy(t).into_owned());
    assert_eq!(out.status.code(), Some(1), "{error}");
    assert!(said.starts_with("4 batches run (215 images") && said.contains("\n1.ct: ") && said.contains("digest"), "{said}");
    assert!(error.contains("1 of 5 batches were set aside"), "{error}");
    let shown = String::from_utf8(command(dir, &status("out")).output().unwrap().stdout).unwrap();
    assert!(
        shown.starts_with("4 of 5 batches are done; 0 running, 0 begun, 0 missing, 1 failed\nfailed   1.ct: ") && shown.contains("digest"),
        "{shown}"
    );
    // Repaired; and an answer that was damaged meanwhile.
    std::fs::write(&path, good).unwrap();
    let mut answer = std::fs::read(dir.join("out/3.ct")).unwrap();
    *answer.last_mut().unwrap() ^= 1;
    std::fs::write(dir.join("out/3.ct"), answer).unwrap();
    let out = succeeds(dir, &many("in", "out", &[]));
    assert!(String::from_utf8_lossy(&out.stderr).contains("replaced: out/3.ct: damaged"), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(files(&dir.join("out")) == files(&dir.join("whole")));
}

#[test]
fn what_does_not_belong_is_named_before_anything_starts() {
    let tmp = prepared();
    let dir = tmp.path();
    keys(dir, "other-");
    encrypt(dir, "other-secret.key", "2", "in/9.ct");
    std::fs::copy(dir.join("p.chf"), dir.join("in/7.ct")).unwrap();
    // Every shard says so, also one that would not have run them.
    for shard in ["0/3", "1/3"] {
        let error = fails(dir, 2, &many("in", "out", &["--shard", shard]));
        assert!(error.contains("2 of 7 batches do not belong") && error.contains("in/9.ct was made under another secret key"), "{error}");
        assert!(error.contains("in/7.ct: this is a file of kind `program`") && files(&dir.join("out")).is_empty(), "{error}");
    }
    std::fs::remove_file(dir.join("in/7.ct")).unwrap();
    std::fs::remove_file(dir.join("in/9.ct")).unwrap();
    // The answer to another batch has the name of one.
    ok(dir, &many("in", "out", &["--shard", "0/5"]));
    std::fs::rename(dir.join("out/0.ct"), dir.join("out/1.ct")).unwrap();
    let error = fails(dir, 2, &many("in", "out", &[]));
    assert!(error.contains("out/1.ct is the answer to another batch than in/1.ct") && !dir.join("out/0.ct").exists(), "{error}");
    assert!(fails(dir, 1, &status("out")).contains("5 of 5 batches have no answer"));
    for (arguments, message) in [
        (&["--inputs", "in", "--outputs", "in"][..], "another folder"),
        (&["--inputs", "in"], "--outputs"),
        (&["--inputs", "in", "--outputs", "out", "--shard", "4/4"], "below 4"),
        (&["--inputs", "in", "--outputs", "out", "--shard", "auto"], "neither"),
        (&["--inputs", "none", "--outputs", "out"], "cannot read none"),
        (&["--inputs", "in", "--outputs", "out", "--input", "in/0.ct", "-o", "x.ct"], "cannot be used with"),
        (&["--inputs", "in", "--outputs", "out", "--profile"], "cannot be used with"),
        (&["--input", "in/0.ct"], "--output"),
        (&[], "--input"),
    ] {
        let error = fails(dir, 2, &[&MANY[..7], arguments].concat());
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
}

/// The template for Slurm runs, with the variables that Slurm sets, and leaves all answers.
#[cfg(unix)]
#[test]
fn the_slurm_template_runs() {
    let tmp = prepared();
    let dir = tmp.path();
    let script = root().join("examples/slurm/chiffre.sbatch");
    assert!(Command::new("bash").arg("-n").arg(&script).status().unwrap().success());
    let text = std::fs::read_to_string(&script).unwrap();
    let asked = |line: &str| text.lines().any(|l| l == line);
    assert!(asked("#SBATCH --array=0-15") && asked("#SBATCH --signal=B:TERM@120"), "{text}");
    // `chiffre` on the path permits insecure parameters, which only tests have.
    std::fs::create_dir(dir.join("bin")).unwrap();
    let wrapper = dir.join("bin/chiffre");
    std::fs::write(&wrapper, format!("#!/bin/sh\nexec {} \"$@\" --allow-insecure\n", env!("CARGO_BIN_EXE_chiffre"))).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&wrapper).status().unwrap().success());
    let path = format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap());
    let task = |id: &str| {
        let mut c = Command::new("bash");
        c.arg(&script).current_dir(dir).env("PATH", &path);
        c.envs([("PROGRAM", "p.chf"), ("KEYS", "eval.key"), ("INPUTS", "in"), ("OUTPUTS", "out"), ("SLURM_CPUS_PER_TASK", "1")]);
        c.envs([
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_COUNT", "2"),
            ("SLURM_ARRAY_TASK_MIN", "0"),
            ("SLURM_ARRAY_TASK_MAX", "1"),
        ]);
        let out = c.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    task("0");
    assert!(fails(dir, 1, &status("out")).contains("2 of 5 batches"));
    task("1");
    ok(dir, &status("out"));
    // Without its variables it says which one is missing.
    let out = Command::new("bash").arg(&script).current_dir(dir).env_remove("PROGRAM").output().unwrap();
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("PROGRAM: the program"));
}

/// The template for Kubernetes is YAML, an indexed job that tells its pods how many they are, and
/// what they run is understood.
#[test]
fn the_kubernetes_template_is_an_indexed_job() {
    let template = root().join("examples/kubernetes/job.yaml");
    let read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let Ok(out) = Command::new("python3").args(["-c", read]).arg(&template).output() else {
        return chiffre_testing::skip("python3 is not there, which reads the YAML");
    };
    if !out.status.success() && String::from_utf8_lossy(&out.stderr).contains("No module named 'yaml'") {
        return chiffre_testing::skip("PyYAML is not there");
    }
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let job: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let (spec, container) = (&job["spec"], &job["spec"]["template"]["spec"]["containers"][0]);
    assert_eq!((&job["apiVersion"], &job["kind"], &spec["completionMode"]), (&"batch/v1".into(), &"Job".into(), &"Indexed".into()));
    let number = container["env"][0]["value"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(container["env"][0]["name"] == "JOB_COMPLETIONS" && spec["completions"] == number && spec["parallelism"] == number, "{spec}");
    // Per-index limits and policies on failures ask for pods that are not restarted in place.
    assert!(spec["backoffLimitPerIndex"].is_u64() && spec["template"]["spec"]["restartPolicy"] == "Never");
    let rules = spec["podFailurePolicy"]["rules"].as_array().unwrap();
    assert!(rules.iter().all(|r| r["onExitCodes"]["containerName"] == container["name"]), "{rules:?}");
    let args: Vec<&str> = container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    Cli::try_parse_from([&["chiffre"][..], &args].concat()).unwrap();
    let claim = &spec["template"]["spec"]["volumes"][0];
    assert!(claim["name"] == container["volumeMounts"][0]["name"] && container["volumeMounts"][0]["mountPath"] == "/work");
}

/// Which shard the options and variables make.
fn asked_for(asked: Option<&str>, set: &[(&str, &str)]) -> Result<String, String> {
    let asked = asked.map(|text| text.parse().unwrap());
    let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
    chiffre_cli::shard::of(asked, &variable).map(|(s, _)| s.to_string()).map_err(|e| e.to_string())
}

#[test]
fn shards_come_from_the_command_or_from_the_scheduler() {
    let slurm = |id: &'static str, count, least, most, step| {
        let names =
            ["SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"];
        names.into_iter().zip([id, count, least, most, step]).collect::<Vec<_>>()
    };
    let kubernetes = [("JOB_COMPLETION_INDEX", "3"), ("JOB_COMPLETIONS", "8")];
    for (asked, set, expected) in [
        (None, &[][..], "0/1"),
        (Some("2/5"), &slurm("3", "4", "0", "3", "1")[..], "2/5"),
        (None, &slurm("3", "4", "0", "3", "1")[..], "3/4"),
        (Some("auto"), &slurm("1", "4", "1", "4", "1")[..], "0/4"),
        (None, &slurm("15", "4", "5", "20", "5")[..], "2/4"),
        (None, &slurm("3", "4", "0", "3", "1")[..2], "3/4"),
        (Some("auto"), &kubernetes[..], "3/8"),
    ] {
        assert_eq!(asked_for(asked, set), Ok(expected.into()), "{asked:?} {set:?}");
    }
    let both = [&kubernetes[..], &slurm("3", "4", "0", "3", "1")[..]].concat();
    for (asked, set, expected) in [
        (Some("auto"), &[][..], "neither SLURM_ARRAY_TASK_ID nor"),
        (None, &both[..], "both"),
        (None, &kubernetes[..1], "JOB_COMPLETIONS is not set"),
        (None, &[("JOB_COMPLETION_INDEX", "8"), kubernetes[1]][..], "below 8"),
        (None, &[("JOB_COMPLETION_INDEX", "x"), kubernetes[1]][..], "not a number"),
        // Two tasks of an array of eight that are submitted again.
        (None, &slurm("7", "2", "3", "7", "1")[..], "have gaps"),
    ] {
        let e = asked_for(asked, set).unwrap_err();
        assert!(e.contains(expected), "{asked:?} {set:?}: {e}");
    }
}
