//! `chiffre bench`.

use crate::args::BenchArgs;
use crate::progress::RunProgress;
use chiffre::bench::{Bench, Outcome};
use chiffre::pipeline::{self, Request};
use chiffre::{Error, data, memory};
use chiffre_backend::target::Target;
use chiffre_backend::tfhe::Tfhe;
use chiffre_frontend::{Model, Reference};
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::{Simulation, TensorGraph, certified, simulate};
use chiffre_runtime::{Engine, Session};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// What an encrypted run yields, and the answers that it is compared with.
pub(super) struct Compared {
    /// Of the encrypted run.
    pub outcome: Outcome,
    /// Logits of the clear run, `[images, classes]`.
    pub reference: Vec<f32>,
}

/// Runs everything in one process and reports times, memory and agreement.
pub(super) fn bench(args: &BenchArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    if args.compiler.target == Tfhe.name() {
        return super::tfhe::bench(args, engine);
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
    let out = encrypted_run(&name, &model, &reference, &request, &images, engine, args.progress.progress)?.outcome;
    if args.json {
        eprintln!("{}", out.table());
        super::print(out.report.to_json()?)?;
    } else {
        super::print(out.table())?;
    }
    Ok(())
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
) -> Result<Compared, Error> {
    let at = Instant::now();
    let compiled = pipeline::compile(model, request)?;
    let compile_s = at.elapsed().as_secs_f64();
    let budget = request.options.memory.map(|bytes| bytes as u64);
    memory::admit_all(&compiled.program, engine.threads(), images.n.min(compiled.program.header.batch), budget)?;
    let clear = reference.run(&images.pixels, images.n)?;
    let simulation = simulated(compiled.tensor.as_ref(), images)?;
    let file = ProgramFile::in_memory(compiled.program, compiled.stages).map_err(Error::failed)?;
    let session = Arc::new(Session::on(engine.clone(), file, request.options.allow_insecure)?);
    let (simulation, cost) = (simulation.as_ref(), request.cost);
    let bench = Bench { model: name, session: &session, images, clear: &clear, simulation, cost, compile_s };
    let mut bar = RunProgress::new(mode, session.program(), &bench.sizes());
    let outcome = bench.run(|event| {
        tracing::info!(op = event.op, node = event.source, units = ?event.units, ms = event.time.as_millis() as u64, "step");
        bar.step(event);
        ControlFlow::Continue(())
    })?;
    bar.finish();
    outcome.problems.iter().for_each(|line| eprintln!("{line}"));
    Ok(Compared { outcome, reference: clear })
}
