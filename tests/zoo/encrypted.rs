//! Every file of the zoo from compilation to decrypted answers.
//!
//! Of each file that is imported: the approximated network answers as its certificate says, the
//! program in the clear answers as the approximated network, and where a run is predicted to be
//! short and to fit into memory, encrypted answers are those of the program in the clear. One line
//! of JSON for each file says what was planned and what was found; `docs/bench-log` keeps them.

use super::{REFUSED, arrays, compare, files, images};
use chiffre::logits::logit_error;
use chiffre::pipeline::{Compiled, Request, bootstraps, compile, memory_plan};
use chiffre_backend::ckks::{Task, peak};
use chiffre_client::ClientKey;
use chiffre_frontend::{Model, load};
use chiffre_ir::gauss::Gauss;
use chiffre_ir::he::{self, Noise};
use chiffre_ir::program::Program;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::{OperandRange, interp, simulate};
use chiffre_passes::activation::degree::Accuracy;
use chiffre_passes::options::{ActivationOptions, CalibrationSet, CompileOptions};
use chiffre_runtime::Session;
use chiffre_runtime::server::Server;
use chiffre_testing::{shared, slow};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What all files take.
const COST: &str = "an hour on two cores, and up to 12 GiB";
/// Predicted seconds up to which a program is run encrypted.
const LONGEST: f64 = 60.0;
/// Memory that a plan may take.
const MEMORY: usize = 12 << 30;
/// What answers may be off by, as a share of their range, from one stage to the next.
const CLOSE: f64 = 0.02;
/// Images for a file that has none beside it.
const IMAGES: usize = 4;
/// Threads that predictions of memory assume.
const THREADS: usize = 2;

/// Images of a file: those beside it, or random ones between 0 and 1.
fn inputs(model: &Model, path: &Path) -> (Vec<f32>, usize) {
    let answers = path.with_extension("npz");
    if !answers.exists() {
        let len: usize = model.input_shape.iter().product();
        let mut gauss = Gauss::new(1);
        return ((0..IMAGES * len).map(|_| gauss.number().abs().min(1.0) as f32).collect(), IMAGES);
    }
    let stored = arrays(&answers);
    compare(model, path, &stored);
    let x = stored.iter().find(|a| a.name != "out").unwrap();
    (images(model, x), x.shape[0])
}

/// Largest difference of two lists of answers as a share of the range of the second one.
fn difference(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let [low, high] = b.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[l, h], &y| [l.min(y), h.max(y)]);
    // Of a single number the range is its size.
    let range = (high - low).max(high.abs().max(low.abs()).min(1.0));
    let worst = a.iter().zip(b).fold(0f32, |m, (a, b)| if (a - b).is_nan() { f32::INFINITY } else { m.max((a - b).abs()) });
    f64::from(worst / range)
}

/// Logits of an encrypted run in one batch, and its seconds.
fn encrypted(compiled: &Compiled, x: &[f32], n: usize) -> (Vec<f32>, f64) {
    let file = ProgramFile::in_memory(compiled.program.clone(), compiled.stages.clone()).unwrap();
    let session = Arc::new(Session::new(file, false).unwrap());
    let client = ClientKey::generate(&session).unwrap();
    let keys = client.evaluation_keys(&session).unwrap().prepare(&session);
    let (batch, receipt) = client.encrypt_unscreened(&session, x, n, false).unwrap();
    let server = Server::new(session.clone(), keys, memory_plan(session.program(), n).working).unwrap();
    let start = Instant::now();
    let result = server.run(batch).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    (client.decrypt(&session, &result, &receipt).unwrap().logits, seconds)
}

/// Predicted seconds of a run.
fn seconds(p: &Program) -> f64 {
    p.header.predicted_us as f64 / 1e6
}

/// Why a program is not run encrypted, if it is not.
fn not_run(p: &Program, n: usize) -> Option<String> {
    if seconds(p) > LONGEST {
        return Some(format!("it is predicted to take more than {LONGEST} s"));
    }
    let tasks = [Task::Keygen, Task::Encrypt(n), Task::Prepare, Task::Run(n), Task::Decrypt(n)];
    let most = tasks.into_iter().map(|t| peak(p, t, THREADS)).max().unwrap_or(0);
    chiffre::memory::admit("it", most as u64, Some(MEMORY as u64)).err().map(|e| e.to_string())
}

/// Compiles and runs one file; the line of JSON, and what is wrong.
fn one(name: &str, path: &Path) -> (serde_json::Value, Vec<String>) {
    let model = load(path).unwrap();
    let (x, n) = inputs(&model, path);
    let calibration = Some(Arc::new(CalibrationSet { images: x.clone(), n, labels: None }));
    let activations = ActivationOptions { calibration, ..ActivationOptions::default() };
    let options = CompileOptions { batch: n, memory: Some(MEMORY), activations, ..CompileOptions::default() };
    let compiled = match compile(&model, &Request { options, ..Request::default() }) {
        Ok(compiled) => compiled,
        Err(e) => return (json!({"id": name, "refused": e.to_string()}), vec![format!("{name}: {e}")]),
    };
    let (p, mut wrong) = (&compiled.program, vec![]);
    let exact = interp(&model.graph, &x, n).unwrap().swap_remove(0);
    let classes = exact.len() / n;
    let approximated = simulate(compiled.tensor.as_ref().unwrap(), &x, n, None).unwrap().outputs.swap_remove(0);
    let he = ProgramFile::in_memory(p.clone(), compiled.stages.clone()).unwrap().he().unwrap();
    let mut noise = Noise::of(p, 1);
    let simulated = he::simulate(&he, &x, n, Some(&mut noise), |_| OperandRange::default()).unwrap().outputs.swap_remove(0);
    // What the answers to these very images lose is part of the certificate.
    let certified: Option<Accuracy> = compiled.stages.get("accuracy").map(|a| serde_json::from_str(a).unwrap());
    let certified = certified.map_or(0.0, |a| a.logit_error);
    let error = logit_error(&exact, &approximated, classes);
    let mut check = |what: &str, value: f64, bound: f64| {
        if !value.is_finite() || value > bound {
            wrong.push(format!("{name}: {what} {value:.1e} beyond {bound:.1e}"));
        }
    };
    check("the approximated network has a logit error of", error, 1.5 * certified + 1e-3);
    let off = difference(&simulated, &approximated);
    check("the program in the clear is off by", off, CLOSE);
    let why = not_run(p, n);
    let run = why.is_none().then(|| encrypted(&compiled, &x, n));
    let beside = run.as_ref().map(|(answers, _)| difference(answers, &simulated));
    beside.into_iter().for_each(|d| check("encrypted answers are off by", d, CLOSE));
    let line = json!({
        "id": name,
        "batch": n,
        "log_n": p.header.log_n,
        "levels": p.header.q.len() - 1,
        "bootstraps": bootstraps(p, n),
        "rotation_keys": p.keys().iter().filter(|(u, _)| u.rotation_offset(p.header.log_n).is_some()).count(),
        "predicted_run_s": seconds(p),
        "predicted_peak_bytes": p.header.predicted_bytes,
        "certified_logit_error": certified,
        "logit_error": error,
        "simulated_difference": off,
        "encrypted_difference": beside,
        "run_s": run.map(|(_, seconds)| seconds),
        "not_run": why,
    });
    (line, wrong)
}

#[test]
fn every_file_answers_encrypted_as_in_the_clear() {
    let Some(zoo) = shared("zoo") else { return };
    if !slow(COST) {
        return;
    }
    let mut wrong = vec![];
    for (name, path) in files(&zoo).iter().filter(|(name, _)| !REFUSED.iter().any(|(f, _)| f == name)) {
        let (line, found) = one(name, path);
        println!("{line}");
        wrong.extend(found);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
