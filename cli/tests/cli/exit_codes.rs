//! Every class of error, provoked, with the exit code that `docs/errors.md` says.

use crate::common::{command, fails, ok, root, shipped};
use chiffre::{Class, Error};
use chiffre_backend::cost::CostModel;
use chiffre_cli::exit::code;
use chiffre_ir::level::AnyGraph;
use chiffre_passes::options::CompileOptions;
use chiffre_passes::pass::{Context, PassInfo};
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::state::State;
use chiffre_runtime::{EngineError, Isa, RuntimeError};

const INSECURE: [&str; 5] = ["--batch", "4", "--log-n", "10", "--allow-insecure"];

/// A folder with two programs, keys of the first one, and an encrypted batch.
fn prepared() -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, model, data) = (tmp.path(), shipped("tiny_cnn.onnx"), shipped("tiny1_test.npz"));
    let model = model.to_str().unwrap();
    ok(dir, &[&["compile", model, "-o", "p.chf"], &INSECURE[..]].concat());
    ok(dir, &[&["compile", model, "-o", "other.chf", "--batch", "3"], &INSECURE[2..]].concat());
    ok(dir, &["keygen", "p.chf", "--secret", "secret.key", "--eval", "eval.key", "--allow-insecure"]);
    let encrypt = ["encrypt", "p.chf", "--secret", "secret.key", "--count", "4", "-o", "in.ct", "--allow-insecure"];
    ok(dir, &[&encrypt[..], &["--input", data.to_str().unwrap()]].concat());
    tmp
}

#[test]
fn what_was_given_is_at_fault() {
    let tmp = prepared();
    let dir = tmp.path();
    let model = shipped("tiny_cnn.onnx");
    let model = model.to_str().unwrap();
    let run = ["run", "p.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "out.ct"];
    // Input: a kind of file that is not read. Security: an insecure program, not allowed.
    std::fs::write(dir.join("text.onnx"), "no model").unwrap();
    assert!(fails(dir, 2, &["compile", "text.onnx", "-o", "x.chf"]).contains("text.onnx"));
    assert!(fails(dir, 2, &run).contains("has to be permitted (--allow-insecure)"));
    let case = root().join("passes/tests/filetests/place-relin/wrong_scale.hir");
    let opt = ["opt", case.to_str().unwrap(), "--passes=place-relin"];
    assert!(fails(dir, 2, &opt).contains("scale should be 2^62"), "IR that is wrong before a pass is no bug of the pass");
    // Mismatch: keys of another program, and a file of another kind.
    let run_other = ["run", "other.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "out.ct", "--allow-insecure"];
    assert!(fails(dir, 2, &run_other).contains("another program"));
    assert!(fails(dir, 2, &["inspect", "eval.key"]).contains("file of kind `evaluation-keys`, expected `program`"));
    // Damaged: a byte is changed.
    let mut bytes = std::fs::read(dir.join("p.chf")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(dir.join("damaged.chf"), bytes).unwrap();
    assert!(fails(dir, 2, &["inspect", "damaged.chf"]).contains("does not match its digest"));
    // Budget: less memory than the leanest plan needs.
    let tight = ["compile", model, "-o", "x.chf", "--memory", "1KiB"];
    assert!(fails(dir, 2, &[&tight[..], &INSECURE[..]].concat()).contains("or a smaller batch (--memory, --batch)"));
    // Io: no such file.
    assert!(fails(dir, 2, &["inspect", "none.chf"]).contains("none.chf"));
}

#[test]
fn failed_computations_exit_with_one() {
    let tmp = prepared();
    let dir = tmp.path();
    // Another secret key under the same id cannot be had; what can is an image that spoils its
    // ciphertext.
    let images = ndarray::Array4::<f32>::from_elem((4, 1, 8, 8), 1e6);
    ndarray_npy::write_npy(dir.join("wild.npy"), &images).unwrap();
    let encrypt = ["encrypt", "p.chf", "--secret", "secret.key", "--input", "wild.npy", "-o", "wild.ct", "--allow-insecure"];
    assert!(fails(dir, 2, &encrypt).contains("4 of 4 images cannot be encrypted with the others. wild.npy[0]: "));
    ok(dir, &[&encrypt[..], &["--unscreened"]].concat());
    ok(dir, &["run", "p.chf", "--eval", "eval.key", "--input", "wild.ct", "-o", "out.ct", "--allow-insecure", "--progress", "none"]);
    let decrypt = ["decrypt", "p.chf", "--secret", "secret.key", "--input", "out.ct", "-o", "y.npy", "--allow-insecure"];
    assert!(fails(dir, 1, &[&decrypt[..], &["--receipt", "wild.ct.receipt"]].concat()).contains("have no answer"));
    // Mismatch: the receipt of another batch.
    assert!(fails(dir, 2, &[&decrypt[..], &["--receipt", "in.ct.receipt"]].concat()).contains("another batch"));
}

/// The instruction set is the command's to choose: a name that there is not is no other choice, and
/// neither is one that this processor does not have.
#[test]
fn instruction_sets_are_chosen_by_name() {
    let tmp = tempfile::tempdir().unwrap();
    let passes = |isa: &str| command(tmp.path(), &["passes"]).env("CHIFFRE_ISA", isa).output().expect("chiffre starts");
    for isa in Isa::ALL {
        let out = passes(&isa.name().to_uppercase());
        let error = String::from_utf8_lossy(&out.stderr);
        if Isa::available().contains(&isa) {
            assert!(out.status.success(), "{error}");
        } else {
            assert!(out.status.code() == Some(2) && error.contains(isa.name()) && error.contains("it has scalar"), "{error}");
        }
    }
    assert!(passes("").status.success(), "an empty variable is as none");
    let out = passes("avx3");
    let error = String::from_utf8_lossy(&out.stderr);
    assert_eq!(
        (out.status.code(), error.trim_end()),
        (Some(2), "error: CHIFFRE_ISA: there is no instruction set `avx3`; there are scalar, avx2, avx512, neon")
    );
    // What the engine is told to be is what it is.
    let e = Error::from(RuntimeError::from(EngineError::Isa(Isa::Avx512Ifma)));
    assert_eq!((e.class(), code(e.class())), (Class::Input, 2), "{e}");
}

/// A pass with a bug.
static LOSE_OUTPUTS: PassInfo = PassInfo::tensor("lose-outputs", "what no pass may do", |g, _| {
    let mut g = g.clone();
    g.outputs.clear();
    Ok(g)
});

#[test]
fn what_a_verifier_finds_behind_a_pass_is_a_bug() {
    let model = chiffre_frontend::load(&shipped("tiny_mlp.onnx")).unwrap();
    let pipeline = Pipeline::parse_with("fold-affine,lose-outputs", &[&LOSE_OUTPUTS]).unwrap();
    let options = CompileOptions::default();
    let cx = Context { options: &options, target: &chiffre::pipeline::CKKS, machine: &CostModel::default() };
    let state = State::from_graph(AnyGraph::Tensor(model.graph.into_inner())).unwrap();
    let e = Error::from(pipeline.run(state, &cx, |_, _, _| {}).unwrap_err());
    assert_eq!((e.class(), code(e.class())), (Class::Bug, 70), "{e}");
    assert!(e.to_string().contains("the graph has no output") && e.to_string().contains("lose-outputs"), "{e}");
}

#[test]
fn the_page_says_the_codes() {
    let page = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let all = [
        Class::Input,
        Class::Security,
        Class::Mismatch,
        Class::Damaged,
        Class::Budget,
        Class::Io,
        Class::Failed,
        Class::Cancelled,
        Class::Bug,
    ];
    for class in all {
        assert!(page.contains(&format!("| `{class:?}` | {} |", code(class))), "docs/errors.md: {class:?}");
    }
    assert_eq!(page.lines().filter(|l| l.starts_with("| `")).count(), all.len());
}
