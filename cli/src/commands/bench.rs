//! `chiffre bench`.

use crate::args::BenchArgs;
use crate::progress::RunProgress;
use crate::report::{self, BenchReport};
use chiffre::Error;
use chiffre::pipeline::{self, Request};
use chiffre::{data, logits};
use chiffre_backend::target::Target;
use chiffre_backend::tfhe::Tfhe;
use chiffre_client::ClientKey;
use chiffre_frontend::{Model, Reference};
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::{Simulation, TensorGraph, certified, simulate};
use chiffre_runtime::server::Server;
use chiffre_runtime::{Engine, EvalKeySet, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time of each kind of instruction in the encrypted runs.
pub(super) type OpTimes = BTreeMap<&'static str, Duration>;

/// Everything that an encrypted run in one process yields.
pub(super) struct Outcome {
    /// The report.
    pub report: BenchReport,
    /// Decrypted logits, `[images, classes]`.
    pub answers: Vec<f32>,
    /// Logits of the clear run.
    pub reference: Vec<f32>,
    /// Classes.
    pub classes: usize,
    /// Time per kind of instruction.
    pub times: OpTimes,
    /// Images without an answer.
    pub affected: BTreeSet<usize>,
}

/// Runs everything in one process and reports times, memory and agreement.
pub(super) fn bench(args: &BenchArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    if args.compiler.target == Tfhe.name() {
        return super::tfhe::bench(args);
    }
    let model = chiffre_frontend::load_with(&args.model, &args.compiler.import())?;
    if args.compiler.target != chiffre::pipeline::CKKS.name() {
        return Err(Error::input(format!("bench measures encrypted runs, and the {} target has none", args.compiler.target)));
    }
    let request = super::request(&args.compiler, &model)?;
    let options = super::data_options(&model, &args.compiler.normalisation, args.count)?;
    let images = data::load_inputs(&args.data, &model.inputs, &options)?;
    let reference = Reference::load_with(&args.model, &args.compiler.import())?;
    let name = args.model.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let out = encrypted_run(&name, &model, &reference, &request, &images, engine, args.progress.progress)?;
    if args.json {
        eprintln!("{}", table(&out));
        super::print(out.report.to_json()?)?;
    } else {
        super::print(table(&out))?;
    }
    Ok(())
}

/// The report as a table, with the share of each kind of instruction.
pub(super) fn table(out: &Outcome) -> String {
    let mut s = out.report.to_string();
    if !out.affected.is_empty() {
        s += &format!("\n  no answer for {}", report::ranges(&out.affected));
    }
    let total: f64 = out.times.values().map(Duration::as_secs_f64).sum();
    for (op, t) in &out.times {
        s += &format!("\n  {op:<10} {:8.2} s  {:4.1} %", t.as_secs_f64(), 100.0 * t.as_secs_f64() / total.max(1e-9));
    }
    s
}

/// The network with its approximated activations in the clear, if it has any; warns of images that
/// leave a calibrated range.
fn simulated(g: Option<&TensorGraph>, images: &data::Images) -> Result<Option<Simulation>, Error> {
    let Some(g) = g else { return Ok(None) };
    if certified(g).map_err(Error::failed)?.is_empty() {
        return Ok(None);
    }
    let found = simulate(g, &images.pixels, images.n, None).map_err(Error::failed)?;
    found.report(images.n).iter().take(6).for_each(|line| tracing::warn!("{line}"));
    Ok(Some(found))
}

/// Compiles, generates keys, encrypts, runs, decrypts and compares.
pub(super) fn encrypted_run(
    name: &str,
    model: &Model,
    reference: &Reference,
    request: &Request,
    images: &data::Images,
    engine: &Arc<Engine>,
    mode: crate::progress::ProgressMode,
) -> Result<Outcome, Error> {
    let threads = engine.threads();
    let at = Instant::now();
    let compiled = pipeline::compile(model, request)?;
    let compile_s = at.elapsed().as_secs_f64();
    let budget = request.options.memory.map(|bytes| bytes as u64);
    super::admit_all(&compiled.program, threads, images.n.min(compiled.program.header.batch), budget)?;
    let clear = reference.run(&images.pixels, images.n)?;
    let classes = clear.len() / images.n.max(1);
    let simulation = simulated(compiled.tensor.as_ref(), images)?;
    let file = ProgramFile::in_memory(compiled.program, compiled.stages).map_err(Error::failed)?;
    let session = Arc::new(Session::on(engine.clone(), file, request.options.allow_insecure)?);
    let p = session.program();

    let at = Instant::now();
    let client = ClientKey::generate(&session)?;
    let keys: EvalKeySet = client.evaluation_keys(&session)?;
    let seeded_bytes = keys.bytes();
    let keygen_s = at.elapsed().as_secs_f64();
    let at = Instant::now();
    let keys = Arc::new(keys.prepare(&session));
    let buffers = pipeline::memory_plan(p, images.n.min(p.header.batch)).working;
    let server = Server::new(session.clone(), keys.clone(), buffers)?;
    let prepare_s = at.elapsed().as_secs_f64();
    tracing::info!(seeded_bytes, expanded_bytes = keys.bytes(), "evaluation keys");

    let per: usize = images.shape.iter().product();
    let batch = p.header.batch;
    let (mut encrypt_s, mut run_s, mut decrypt_s) = (0.0, 0.0, 0.0);
    let (mut answers, mut problems) = (vec![], vec![]);
    let (mut first, mut affected) = (0, BTreeSet::new());
    let mut times = OpTimes::new();
    let sizes: Vec<usize> = images.pixels.chunks(per * batch).map(|c| c.len() / per).collect();
    let mut bar = RunProgress::new(mode, p, &sizes);
    for chunk in images.pixels.chunks(per * batch) {
        let at = Instant::now();
        let (encrypted, receipt) = client.encrypt_unscreened(&session, chunk, chunk.len() / per, false)?;
        encrypt_s += at.elapsed().as_secs_f64();
        let at = Instant::now();
        let mut run = server.start(encrypted)?;
        let ended = run.drive(|event| {
            *times.entry(event.op).or_default() += event.time;
            tracing::info!(op = event.op, node = event.source, units = ?event.units, ms = event.time.as_millis() as u64, "step");
            bar.step(event);
            ControlFlow::Continue(())
        });
        let _ = ended?;
        let result = run.finish()?.result;
        run_s += at.elapsed().as_secs_f64();
        let at = Instant::now();
        let decrypted = client.decrypt(&session, &result, &receipt)?;
        decrypt_s += at.elapsed().as_secs_f64();
        // Reports number the images of their own batch.
        problems.extend(report::without_answer(&decrypted.report, None).into_iter().map(|line| format!("batch {}: {line}", first / batch)));
        affected.extend(decrypted.report.affected().iter().map(|i| first + i));
        first += decrypted.report.images;
        answers.extend(decrypted.logits);
    }
    bar.finish();
    problems.iter().for_each(|line| eprintln!("{line}"));
    let interface = model.interface();
    let compare = |want: &[f32]| logits::compare_outputs(&answers, want, classes, &interface.outputs, &affected);
    let comparison = compare(&clear)?;
    let as_simulated = simulation.as_ref().map(|s| compare(&s.outputs[0])).transpose()?;
    let rotations = p.keys().iter().filter(|(u, _)| u.rotation_offset(p.header.log_n).is_some()).count();
    let report = BenchReport {
        model: name.into(),
        batch,
        images: images.n,
        threads,
        log_n: p.header.log_n,
        log_qp: p.log_qp(),
        levels: p.header.q.len() - 1,
        security_bits: session.context.params().security_bits(),
        bootstraps: sizes.iter().map(|&n| pipeline::bootstraps(p, n)).sum(),
        rotation_keys: rotations,
        eval_key_bytes: seeded_bytes as u64,
        compile_s,
        keygen_s,
        prepare_s,
        encrypt_s,
        run_s,
        decrypt_s,
        amortized_s_per_image: run_s / images.n.max(1) as f64,
        peak_rss_bytes: chiffre::memory::peak_rss_bytes().unwrap_or(0),
        agreement: comparison.agreement,
        max_abs_logit_error: comparison.max_abs_error,
        logit_error: comparison.logit_error,
        agreement_simulated: as_simulated.map(|c| c.agreement),
        max_abs_logit_error_simulated: as_simulated.map(|c| c.max_abs_error),
        logit_error_simulated: as_simulated.map(|c| c.logit_error),
        images_out_of_range: simulation.map(|s| s.outside.len()),
        top1: images
            .labels
            .as_ref()
            .and_then(|l| logits::top1(&logits::values_of(&answers, classes, &interface.outputs[0]), l, interface.outputs[0].count)),
        predicted_run_s: sizes.iter().map(|&n| pipeline::predicted_seconds(p, &request.cost.on_threads(threads), n)).sum(),
        predicted_peak_bytes: sizes.iter().map(|&n| pipeline::memory_plan(p, n).peak() as u64).max().unwrap_or(0),
        images_without_answer: affected.len(),
    };
    Ok(Outcome { report, answers, reference: clear, classes, times, affected })
}
