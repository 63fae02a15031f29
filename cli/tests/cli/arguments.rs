//! The command line as a user meets it: help, usage errors, exit codes, and what goes to which
//! stream.

use chiffre::Class;
use chiffre::logits::write_logits;
use chiffre::report::BenchReport;
use chiffre_cli::args::{Cli, Command, Format};
use chiffre_cli::progress::ProgressMode;
use clap::Parser;
use ndarray::Array2;
use std::path::Path;
use std::process::Output;

fn chiffre(arguments: &[&str]) -> Output {
    crate::common::chiffre(Path::new("."), arguments)
}

#[test]
fn help_and_version_are_fine() {
    for arguments in [&["--help"][..], &["--version"], &["bench", "--help"], &["help", "run"]] {
        let output = chiffre(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn every_command_explains_itself() {
    let commands = [
        ("compile", "Compile an ONNX model"),
        ("inspect", "Show a program"),
        ("keygen", "Generate the secret key"),
        ("encrypt", "Encrypt images"),
        ("run", "Run a program on encrypted"),
        ("decrypt", "Decrypt the answers"),
        ("simulate", "Run a program in the clear"),
        ("bench", "Compile, encrypt, run"),
        ("demo", "Compile, encrypt, run"),
        ("measure-machine", "Measure this machine"),
        ("passes", "List the compiler's passes"),
        ("opt", "Run passes on IR"),
        ("interp", "Run IR of any level"),
        ("reduce", "Shrink IR"),
        ("debug", "Run a program as data owner"),
    ];
    for (command, about) in commands {
        let help = String::from_utf8(chiffre(&[command, "--help"]).stdout).unwrap();
        assert!(help.starts_with(about), "{command}: {help}");
    }
}

#[test]
fn usage_errors_exit_with_two() {
    let wrong = [
        "",
        "frobnicate",
        "compile",
        "compile m.onnx",
        "compile m.onnx -o p.chf --batch 0",
        "compile m.onnx -o p.chf --memory 16GB",
        "compile m.onnx -o p.chf --target seal",
        "compile m.onnx -o p.chf --dump-ir pack",
        "inspect p.chf --stage nowhere",
        "run p.chf --eval e --input i -o o --secret s",
        "run p.chf --eval e --input i -o o --threads 0",
        "keygen p.chf --secret s --eval e --seed 1",
        "encrypt p.chf --secret s --input d -o o --seed 1",
        "simulate p.chf --input d --mean 0.5",
        "decrypt p.chf --secret s --input i -o l.npy --top many",
        "decrypt p.chf --secret s --input i -o l.npy --receipt r --no-receipt",
        "decrypt p.chf --secret s --input i -o l.csv --share logits",
        "decrypt p.chf --secret s --input i -o l.csv --share label --top 1",
        "decrypt p.chf --secret s --input i -o l.csv --share label --no-receipt",
        "compile m.onnx -o p.chf --calibrate d --activation-degree 0",
        "compile m.onnx -o p.chf --calibrate d --accuracy-loss 101",
        "compile m.onnx -o p.chf --calibrate d --accuracy-loss 1 --accurate",
        "compile m.onnx -o p.chf --calibrate-count 5",
        "compile m.onnx -o p.chf --failure-bits 0",
        "compile m.onnx -o p.chf --failure-bits 201",
        "compile m.onnx -o p.chf --ephemeral-weight 31",
        "compile m.onnx -o p.chf --input-range 1,-1",
        "compile m.onnx -o p.chf --input-range 0,1e7",
        "compile m.onnx -o p.chf --input-range 1",
        "encrypt p.chf --secret s --input d -o o --unscreened --skip-absurd",
    ];
    for line in wrong {
        let output = chiffre(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{line}");
    }
}

#[test]
fn options_of_the_contract_are_understood() {
    let parse = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().command;
    let Command::Compile(compile) = parse(
        "chiffre compile m.onnx -o p.chf --batch 512 --memory 16GiB --calibrate d.npy --activation-degree 2 --target clear \
         --passes tensor(fold),pack --dump-ir after:pack --dump-ir after:fold --time-passes --log-n 12 --machine machine.json --allow-insecure",
    ) else {
        panic!("not compile")
    };
    let compiler = compile.compiler;
    assert_eq!((compiler.memory, compiler.activation_degree, compiler.target.as_str()), (Some(16 << 30), Some(2), "clear"));
    assert_eq!(compiler.dump_ir.iter().map(ToString::to_string).collect::<Vec<_>>(), ["after:pack", "after:fold"]);
    assert_eq!(compiler.machine.as_deref(), Some(Path::new("machine.json")));
    assert_eq!((compiler.accuracy_loss, compiler.accurate, compiler.failure_bits, compiler.ephemeral_weight), (1.0, false, None, 32));
    let Command::Compile(compile) = parse("chiffre compile m.onnx -o p.chf --calibrate d --calibrate-count 9 --accuracy-loss 0.5") else {
        panic!("not compile")
    };
    assert_eq!((compile.compiler.accuracy_loss, compile.compiler.calibrate_count.map(usize::from)), (0.5, Some(9)));
    let Command::Compile(compile) = parse("chiffre compile m.onnx -o p.chf --input-range -1.5,2") else { panic!("not compile") };
    assert_eq!(compile.compiler.input_range, Some([-1.5, 2.0]));
    let Command::Inspect(inspect) = parse("chiffre inspect p.chf --stage he --format dot") else { panic!("not inspect") };
    assert_eq!(inspect.format, Format::Dot);
    let Command::Run(run) = parse("chiffre run p.chf --eval e --input i -o o --threads 2 --memory 4096MiB --progress plain") else {
        panic!("not run")
    };
    assert_eq!(
        (run.threads.threads.map(|t| t.get()), run.memory.memory, run.progress.progress),
        (Some(2), Some(4 << 30), ProgressMode::Plain)
    );
    assert_eq!(run.checkpoint_every, 5);
    let Command::Run(run) = parse("chiffre run p.chf --eval e --input i -o o --checkpoint-every 0") else { panic!("not run") };
    assert_eq!(run.checkpoint_every, 0);
    let Command::Encrypt(encrypt) = parse("chiffre encrypt p.chf --secret s --input d -o i --mean -0.5,0.25,1 --std 0.5") else {
        panic!("not encrypt")
    };
    let given = encrypt.normalisation.or(Some("px/255")).unwrap().unwrap();
    assert_eq!((given.mean(), given.std()), (&[-0.5, 0.25, 1.0][..], &[0.5][..]));
    let Command::Bench(bench) = parse("chiffre bench m.onnx --data d --batch 8 --memory 1GiB --threads 1 --count 8 --json") else {
        panic!("not bench")
    };
    assert!(bench.json);
    assert_eq!(bench.compiler.normalisation.or(None), Ok(None));
    assert!(bench.compiler.normalisation.or(Some("px/255")).unwrap().is_some());
    parse("chiffre decrypt p.chf --secret s --input o -o l.npy --top 5");
    let Command::Decrypt(decrypt) = parse("chiffre decrypt p.chf --secret s --input o -o l.csv --receipt r --share label") else {
        panic!("not decrypt")
    };
    assert_eq!(decrypt.share_budget, 1024);
    parse("chiffre encrypt p.chf --secret s --input d -o i --receipt r --canary");
    parse("chiffre keygen p.chf --secret s --eval e");
    parse("chiffre simulate p.chf --input d --labels --count 3 --seed 7 -o sim.npy --answers logits.npy");
    parse("chiffre demo");
    for name in ["measure-machine", "calibrate-machine"] {
        assert!(matches!(parse(&format!("chiffre {name} -o machine.json --threads 2")), Command::MeasureMachine(_)), "{name}");
    }
    parse("chiffre passes fold");
}

fn report() -> BenchReport {
    BenchReport {
        model: "tiny".into(),
        batch: 4,
        images: 8,
        threads: 2,
        log_n: 14,
        log_qp: 430.5,
        levels: 5,
        security_bits: 128,
        bootstraps: 0,
        rotation_keys: 12,
        eval_key_bytes: 3 << 20,
        compile_s: 0.5,
        keygen_s: 0.25,
        prepare_s: 0.5,
        encrypt_s: 0.125,
        run_s: 2.0,
        decrypt_s: 0.0625,
        amortized_s_per_image: 0.25,
        peak_rss_bytes: 1 << 30,
        agreement: 1.0,
        max_abs_logit_error: 0.001,
        logit_error: 0.0625,
        agreement_simulated: None,
        max_abs_logit_error_simulated: None,
        logit_error_simulated: None,
        images_out_of_range: None,
        top1: None,
        predicted_run_s: 2.5,
        predicted_peak_bytes: 900 << 20,
        images_without_answer: 0,
    }
}

#[test]
fn bench_report_has_the_fields_of_the_contract() {
    insta::assert_snapshot!("bench_json", report().to_json().unwrap());
    assert_eq!(serde_json::from_str::<BenchReport>(&report().to_json().unwrap()).unwrap(), report());
    insta::assert_snapshot!("bench_table", BenchReport { top1: Some(0.875), ..report() }.to_string());
    let approximated = BenchReport {
        agreement_simulated: Some(0.75),
        max_abs_logit_error_simulated: Some(0.25),
        logit_error_simulated: Some(0.125),
        images_out_of_range: Some(1),
        ..report()
    };
    insta::assert_snapshot!("bench_table_approximated", approximated.to_string());
}

#[test]
fn logits_are_written_as_an_array() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("logits.npy");
    write_logits(&path, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3).unwrap();
    let array: Array2<f32> = ndarray_npy::read_npy(&path).unwrap();
    assert_eq!(array, ndarray::array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    assert_eq!(write_logits(&path, &[1.0, 2.0], 3).unwrap_err().class(), Class::Failed);
    assert_eq!(write_logits(&dir.path().join("no/such/dir.npy"), &[1.0], 1).unwrap_err().class(), Class::Io);
}

/// Activations that are not polynomials need calibration data, and calibration data must be fit for
/// it.
#[test]
fn what_calibration_needs_is_said() {
    let Some(model) = chiffre_testing::shared("models/resnet20_cifar10_relu_fheon_folded.onnx") else { return };
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.npy");
    let mut images = ndarray::Array4::<f32>::zeros((2, 3, 32, 32));
    images[[1, 0, 0, 0]] = f32::NAN;
    ndarray_npy::write_npy(&bad, &images).unwrap();
    let out = dir.path().join("p.chf");
    let run = |more: &[&str]| {
        let output = chiffre(&[&["compile", model.to_str().unwrap(), "-o", out.to_str().unwrap()], more].concat());
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = run(&[]);
    assert!(
        text.contains("node \"")
            && text.contains("`relu` needs the range of its operand: give calibration images")
            && text.contains("(--calibrate DATA)"),
        "{text}"
    );
    let text = run(&["--calibrate", bad.to_str().unwrap()]);
    assert!(text.contains("image 1 has the value NaN"), "{text}");
    assert!(!out.exists());
}
