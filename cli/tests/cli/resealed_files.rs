//! Hostile files with a right digest: everything behind the check of a container is reached. A
//! command may refuse such a file, fail on it, or take it, for a changed residue is a residue; it
//! must not crash, hang, take memory without end, or be silent about an error.

use chiffre_testing::{Rng, Sealed};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A tiny network and how it is compiled, insecure.
struct Network {
    model: &'static str,
    data: &'static str,
    options: &'static [&'static str],
}

/// Images in slots.
const PLAIN: Network = Network { model: "tiny_cnn.onnx", data: "tiny1_test.npz", options: &["--batch", "4", "--log-n", "10"] };

/// Channels in slots, with sums under giant steps.
const GIANTS: Network = Network {
    model: "tiny_resnet.onnx",
    data: "tiny3_test.npz",
    options: &[
        "--batch",
        "1",
        "--log-n",
        "11",
        "--passes",
        "tensor(recognise-activation,fold-affine,compose-linear,fold-scales),choose-layout{phases=0x0,channels=3,fill=2},lower-linear,\
         he(assign-levels,place-relin,select-params),schedule",
    ],
};

/// Series behind bootstraps, with a certificate.
const BOOTSTRAPPED: Network = Network {
    model: "tiny_resnet_relu.onnx",
    data: "tiny3_test.npz",
    options: &[
        "--batch",
        "40",
        "--log-n",
        "11",
        "--passes",
        "tensor(recognise-activation,fold-affine,compose-linear,remove-dead-channels,calibrate-activations,\
         approximate-activations{refresh=yes},fold-scales),choose-layout,lower-linear,he(assign-levels,place-relin,select-params),schedule",
    ],
};

/// Files of a network in a folder.
struct Files {
    folder: tempfile::TempDir,
    data: String,
}

/// What the commands said, for the summary at the end.
#[derive(Default)]
struct Heard {
    /// Exit codes.
    codes: BTreeMap<i32, usize>,
    /// Messages without names and numbers, which show that many checks are reached.
    messages: BTreeMap<String, usize>,
}

/// The number of cases of an ordinary test, times `CHIFFRE_CASES` for longer ones.
fn cases(ordinary: usize) -> usize {
    ordinary * std::env::var("CHIFFRE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

impl Files {
    /// The program of a network.
    fn program(network: &Network) -> Files {
        let models = chiffre_testing::repository().join("models");
        let [model, data] = [network.model, network.data].map(|f| models.join(f).to_str().unwrap().to_string());
        let files = Files { folder: tempfile::tempdir().unwrap(), data };
        let calibrated: &[&str] = if network.model.contains("relu") { &["--calibrate", &files.data] } else { &[] };
        files.good(&[&["compile", &model, "-o", "p.chf", "--allow-insecure"], calibrated, network.options].concat());
        files
    }

    /// The program of a network, keys, an encrypted batch, and the result of a run.
    fn run(network: &Network) -> Files {
        let files = Files::program(network);
        let (data, insecure) = (&files.data, "--allow-insecure");
        files.good(&["keygen", "p.chf", "--secret", "secret.key", "--eval", "eval.key", insecure]);
        // As many images as the program takes, or four.
        let count = if network.options[..2] == ["--batch", "1"] { "1" } else { "4" };
        files.good(&["encrypt", "p.chf", "--secret", "secret.key", "--input", data, "--count", count, "-o", "in.ct", insecure]);
        files.good(&["run", "p.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "out.ct", insecure]);
        files
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command with 4 GiB of address space and a minute: what takes more ends in a way that is
    /// noticed.
    fn chiffre(&self, arguments: &[&str]) -> Output {
        let line = "ulimit -v 4194304; exec timeout 60 \"$0\" \"$@\"";
        let mut c = Command::new("sh");
        c.current_dir(self.path()).args(["-c", line, env!("CARGO_BIN_EXE_chiffre")]).args(arguments).output().expect("sh starts")
    }

    fn good(&self, arguments: &[&str]) {
        let out = self.chiffre(arguments);
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Runs a command on the file `bad`, which was changed as `what` says, and returns whether it
    /// succeeded.
    fn survives(&self, arguments: &[&str], what: &str, heard: &mut Heard) -> bool {
        let out = self.chiffre(arguments);
        let error = String::from_utf8_lossy(&out.stderr);
        let fault = match out.status.code() {
            None => Some("was killed"),
            Some(124) => Some("does not end"),
            Some(0..=2) if error.contains("bug of Chiffre") => Some("panicked"),
            Some(0) => None,
            Some(1) if error.trim().is_empty() => Some("fails without a word"),
            Some(1) => None,
            Some(2) if error.contains("does not match its digest") => Some("is stopped by the digest, which is right"),
            // Files that are good by themselves and do not belong together are told apart by their
            // keys.
            Some(2) if !error.contains("bad") && !error.contains(" key") => Some("does not name the file"),
            Some(2) => None,
            Some(_) => Some("crashed"),
        };
        if let Some(fault) = fault {
            let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("resealed-file");
            let _ = std::fs::copy(self.path().join("bad"), &kept);
            panic!("{arguments:?} {fault} (file kept as {}): {what}\n{:?}\n{error}", kept.display(), out.status);
        }
        *heard.codes.entry(out.status.code().unwrap_or(-1)).or_default() += 1;
        let words = |line: &str| line.split(|c: char| !c.is_alphabetic()).filter(|w| w.len() > 3).take(8).collect::<Vec<_>>().join(" ");
        *heard.messages.entry(error.lines().next().map(words).unwrap_or_default()).or_default() += 1;
        out.status.success()
    }

    /// Changes a file `cases` times, and uses each with every command.
    fn feed(&self, file: &str, cases: usize, seed: u64, commands: &[&[&str]]) -> Heard {
        let good = Sealed::read(&self.path().join(file));
        let (mut rng, mut heard) = (Rng::new(seed), Heard::default());
        for case in 0..cases {
            let mut sealed = good.clone();
            let mut what = format!("case {case} of {file}: {}", sealed.mutate(&mut rng));
            while rng.below(3) == 0 {
                what += &format!("; {}", sealed.mutate(&mut rng));
            }
            sealed.write(&self.path().join("bad"));
            for arguments in commands {
                self.survives(arguments, &what, &mut heard);
            }
        }
        println!("{file}: exit codes {:?}, {} different messages", heard.codes, heard.messages.len());
        heard
    }
}

#[test]
fn resealed_programs_are_survived() {
    for (seed, network) in [PLAIN, GIANTS, BOOTSTRAPPED].iter().enumerate() {
        let files = Files::program(network);
        let commands: [&[&str]; 3] = [
            &["inspect", "bad"],
            &["inspect", "bad", "--stage", "he", "--format", "dot"],
            &["simulate", "bad", "--input", &files.data, "--count", "1"],
        ];
        let heard = files.feed("p.chf", cases(40), seed as u64, &commands);
        assert!(heard.messages.len() > 15 && heard.codes.contains_key(&0), "{:?}", heard.messages);
    }
}

/// Programs that the verifier accepts go all the way: keys, encryption, run, decryption, with files
/// that are made for them.
#[test]
fn resealed_programs_that_verify_run_or_say_why_not() {
    let mut whole_lives = 0;
    for (seed, (network, ordinary)) in [(PLAIN, 60), (GIANTS, 20), (BOOTSTRAPPED, 4)].iter().enumerate() {
        let (cases, files) = (cases(*ordinary), Files::program(network));
        let good = Sealed::read(&files.path().join("p.chf"));
        let (mut rng, mut heard, mut ran) = (Rng::new(100 + seed as u64), Heard::default(), 0);
        for case in 0..cases {
            let mut sealed = good.clone();
            let what = format!("case {case} of {}: {}", network.model, sealed.mutate(&mut rng));
            sealed.write(&files.path().join("bad"));
            let insecure = "--allow-insecure";
            let life: [&[&str]; 5] = [
                &["inspect", "bad", "--html", "bad.html"],
                &["keygen", "bad", "--secret", "bad.key", "--eval", "bad.eval", "--force", insecure],
                &["encrypt", "bad", "--secret", "bad.key", "--input", &files.data, "--count", "1", "-o", "bad.in", insecure],
                &["run", "bad", "--eval", "bad.eval", "--input", "bad.in", "-o", "bad.out", "--memory", "1GiB", insecure],
                &["decrypt", "bad", "--secret", "bad.key", "--input", "bad.out", "-o", "bad.npy", insecure],
            ];
            ran += usize::from(life.iter().all(|arguments| files.survives(arguments, &what, &mut heard)));
        }
        println!("{}: {ran} of {cases} ran to their end; exit codes {:?}, {} messages", network.model, heard.codes, heard.messages.len());
        whole_lives += ran;
    }
    assert!(whole_lives > 10, "{whole_lives}");
}

#[test]
fn resealed_keys_and_ciphertexts_are_survived() {
    let files = Files::run(&PLAIN);
    let insecure = "--allow-insecure";
    let uses: [(&str, &[&str]); 4] = [
        ("secret.key", &["decrypt", "p.chf", "--secret", "bad", "--input", "out.ct", "-o", "x.npy", insecure]),
        ("in.ct", &["run", "p.chf", "--eval", "eval.key", "--input", "bad", "-o", "x.ct", insecure]),
        ("out.ct", &["decrypt", "p.chf", "--secret", "secret.key", "--input", "bad", "-o", "x.npy", insecure]),
        (
            "in.ct.receipt",
            &["decrypt", "p.chf", "--secret", "secret.key", "--input", "out.ct", "--receipt", "bad", "-o", "x.npy", insecure],
        ),
    ];
    for (seed, (file, arguments)) in uses.into_iter().enumerate() {
        let heard = files.feed(file, cases(60), 10 + seed as u64, &[arguments]);
        assert!(heard.messages.len() > 4, "{file}: {:?}", heard.messages);
    }
}

/// Expanded or not, keys that are not those of the client are refused, or decryption finds it out:
/// answers are those of the right keys, or there are none.
#[test]
fn resealed_evaluation_keys_and_prepared_state_give_no_wrong_answer() {
    let insecure = "--allow-insecure";
    let decrypt = |input: &'static str, output: &'static str| {
        ["decrypt", "p.chf", "--secret", "secret.key", "--input", input, "-o", output, insecure]
    };
    let mut right = 0;
    for (seed, (network, ordinary)) in [(PLAIN, 60), (GIANTS, 20), (BOOTSTRAPPED, 4)].iter().enumerate() {
        let files = Files::run(network);
        files.good(&["prepare", "p.chf", "--eval", "eval.key", "-o", "server.chf", insecure]);
        files.good(&decrypt("out.ct", "good.npy"));
        let logits = |name: &str| ndarray_npy::read_npy::<_, ndarray::Array2<f32>>(files.path().join(name)).expect("logits");
        let good = logits("good.npy");
        for (file, option) in [("eval.key", "--eval"), ("server.chf", "--prepared")] {
            let (mut rng, mut heard) = (Rng::new(30 + seed as u64), Heard::default());
            for case in 0..cases(*ordinary) {
                let mut sealed = Sealed::read(&files.path().join(file));
                let what = format!("case {case} of {file}, {}: {}", network.model, sealed.mutate(&mut rng));
                sealed.write(&files.path().join("bad"));
                let run = ["run", "p.chf", option, "bad", "--input", "in.ct", "-o", "x.ct", "--checkpoint-every", "1000", insecure];
                if !files.survives(&run, &what, &mut heard) || !files.survives(&decrypt("x.ct", "x.npy"), &what, &mut heard) {
                    continue;
                }
                right += 1;
                let error = (&logits("x.npy") - &good).iter().fold(0.0, |worst: f32, e| worst.max(e.abs()));
                assert!(error < 0.05, "a wrong answer, by {error}: {what}");
            }
            println!("{file} of {}: exit codes {:?}, {} messages", network.model, heard.codes, heard.messages.len());
        }
    }
    assert!(right > 3, "{right} changes that do not matter");
}
