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
use chiffre_runtime::journal::Journal;
use chiffre_runtime::server::{Checkpoints, Finished, Policy, Server};
use chiffre_runtime::{Batch, Engine, INPUT_KIND, RuntimeError, ServerKeys};
use std::ops::ControlFlow;
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

/// Runs a program on encrypted images.
pub(super) fn run(args: &RunArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let began = Instant::now();
    let task = |p: &_| Ok(Task::Run(super::images_in(p, &args.input, INPUT_KIND)?));
    let session = Arc::new(super::admitted(engine, &args.program, args.allow_insecure, &args.memory, task)?);
    let batch = Arc::new(Batch::load(&session, &args.input)?);
    let buffers = chiffre::pipeline::memory_plan(session.program(), batch.images).working;
    let server = match (&args.prepared, &args.eval) {
        (Some(prepared), _) => Server::load(session.clone(), prepared, buffers)?,
        (None, Some(eval)) => Server::new(session.clone(), ServerKeys::load(&session, eval)?, buffers)?,
        (None, None) => return Err(Error::input("give the evaluation keys (--eval) or what `chiffre prepare` wrote (--prepared)")),
    };
    let read_at = server.read_at();
    let mut bar = RunProgress::new(args.progress.progress, session.program(), &[batch.images]);
    let policy = match args.checkpoint_every {
        0 => Policy::EVERY_MOMENT,
        seconds => Policy { least: Duration::from_secs(seconds), ..Policy::default() },
    };
    signals::ask_first();
    let checkpoints = Checkpoints::open(&session, &batch, &Journal::directory(&args.output))?;
    if let Some(warning) = checkpoints.warning() {
        tracing::warn!("{warning}");
    }
    if let Some(step) = checkpoints.resumed() {
        eprintln!("going on with step {} of an interrupted run", step + 1);
    }
    let mut run = server.start_with(batch.clone(), checkpoints.with_policy(policy))?;
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
    let Finished { result, journal } = run.finish().map_err(|e| match e {
        RuntimeError::Cancelled { .. } => Error::from(e).advise("what is done is stored, and the same command goes on from there"),
        e => e.into(),
    })?;
    result.save(&session, &args.output)?;
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
