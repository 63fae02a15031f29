//! `chiffre prepare` and `chiffre run`: the server's side.

use crate::args::{PrepareArgs, RunArgs};
use crate::profile::Profile;
use crate::progress::RunProgress;
use crate::signals;
use crate::trace::Trace;
use chiffre::Error;
use chiffre::memory::Task;
use chiffre::memory::human_bytes;
use chiffre_backend::cost::CostModel;
use chiffre_ir::output::Output;
use chiffre_runtime::journal::{Journal, directory};
use chiffre_runtime::server::{Checkpoints, Finished, Policy, Server};
use chiffre_runtime::{Batch, Engine, INPUT_KIND, RuntimeError, ServerKeys};
use chiffre_runtime::{Session, server::Run};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes the prepared state of a program and its evaluation keys.
pub(super) fn prepare(args: &PrepareArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let session = Arc::new(super::admitted(engine, &args.program, args.allow_insecure, &args.memory, |_| Ok(Task::Prepare))?);
    let keys = ServerKeys::load(&session, &args.eval)?;
    Server::new(session, keys, 0)?.save(&args.output)?;
    let bytes = std::fs::metadata(&args.output).map_or(0, |m| m.len());
    super::print(format!("prepared state of {}", human_bytes(bytes)))
}

/// The server of a session: from prepared state, or from evaluation keys. `images` are those of the
/// largest batch.
pub(super) fn server(args: &RunArgs, session: &Arc<Session>, images: usize) -> Result<Server, Error> {
    let buffers = chiffre::pipeline::memory_plan(session.program(), images).working;
    match (&args.prepared, &args.eval) {
        (Some(prepared), _) => Ok(Server::load(session.clone(), prepared, buffers)?),
        (None, Some(eval)) => Ok(Server::new(session.clone(), ServerKeys::load(session, eval)?, buffers)?),
        (None, None) => Err(Error::input("give the evaluation keys (--eval) or what `chiffre prepare` wrote (--prepared)")),
    }
}

/// Begins a run, or goes on with the interrupted one whose journal is beside the output.
pub(super) fn begin(server: &Server, batch: &Arc<Batch>, output: &Path, checkpoint_every: u64) -> Result<Run, Error> {
    let policy = match checkpoint_every {
        0 => Policy::EVERY_MOMENT,
        seconds => Policy { least: Duration::from_secs(seconds), ..Policy::default() },
    };
    let checkpoints = Checkpoints::open(server.session(), batch, &directory(output))?;
    if let Some(warning) = checkpoints.warning() {
        tracing::warn!("{warning}");
    }
    if let Some(step) = checkpoints.resumed() {
        eprintln!("going on with step {} of an interrupted run", step + 1);
    }
    Ok(server.start_with(batch.clone(), checkpoints.with_policy(policy))?)
}

/// The result of a run that was driven, and its journal.
pub(super) fn end(run: Run) -> Result<Finished, Error> {
    run.finish().map_err(|e| match e {
        RuntimeError::Cancelled { .. } => Error::from(e).advise("what is done is stored, and the same command goes on from there"),
        e => e.into(),
    })
}

/// Runs a program on encrypted images.
pub(super) fn run(args: &RunArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let began = Instant::now();
    let (Some(input), Some(output)) = (&args.input, &args.output) else { return super::batches::run(args, engine) };
    let task = |p: &_| Ok(Task::Run(super::images_in(p, input, INPUT_KIND)?));
    let session = Arc::new(super::admitted(engine, &args.program, args.allow_insecure, &args.memory, task)?);
    let batch = Arc::new(Batch::load(&session, input)?);
    let server = server(args, &session, batch.images)?;
    let read_at = server.read_at();
    let mut bar = RunProgress::new(args.progress.progress, session.program(), &[batch.images]);
    signals::ask_first();
    let mut run = begin(&server, &batch, output, args.checkpoint_every)?;
    let (steps, done) = (run.steps().len(), run.done());
    bar.skip(&run.steps()[..done]);
    let mut trace = args.trace.as_ref().map(|_| Trace::new(session.program(), batch.images));
    if let Some(at) = read_at {
        let (reading, starting) = (at - began, at.elapsed());
        eprintln!("prepared state: read after {:.2} s, first step {:.2} s later", reading.as_secs_f64(), starting.as_secs_f64());
        trace.iter_mut().for_each(|t| t.begin(&[("reading", reading), ("starting", starting)]));
    }
    let cost = args.machine.as_deref().map_or(Ok(CostModel::default()), chiffre::machine::load)?.on_threads(engine.threads());
    let mut profile = args.profile.then(|| Profile::new(session.program(), batch.images, &cost));
    let ended = run.drive(|event| {
        trace.iter_mut().for_each(|t| t.step(event));
        profile.iter_mut().for_each(|p| p.step(event));
        bar.step(event);
        if signals::asked().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    signals::end_at_once();
    let _ = ended?;
    bar.finish();
    let Finished { result, journal } = end(run)?;
    result.save(&session, output)?;
    journal.map_or(Ok(()), Journal::finish)?;
    if let (Some(path), Some(t)) = (&args.trace, &trace) {
        Output::publish(path, t.json().to_string()).map_err(|e| Error::write(path, e))?;
    }
    if let Some(p) = &profile {
        super::print(p.table())?;
    }
    let before = if done > 0 { format!(", {done} of them before the interruption") } else { String::new() };
    super::print(format!("{} images in {steps} steps{before}", batch.images))
}
