//! `chiffre run`: the server's side.

use crate::args::RunArgs;
use crate::profile::Profile;
use crate::progress::RunProgress;
use crate::trace::Trace;
use chiffre::Error;
use chiffre::memory::human_bytes;
use chiffre_backend::cost::CostModel;
use chiffre_runtime::journal::{Journal, Policy};
use chiffre_runtime::server::{Checkpoints, Server};
use chiffre_runtime::{Batch, EvalKeySet, server};
use std::time::Duration;

/// Runs a program on encrypted images.
pub(super) fn run(args: &RunArgs) -> Result<(), Error> {
    super::set_threads(&args.threads)?;
    let session = super::session(&args.program, args.allow_insecure)?;
    let need = session.program().header.predicted_bytes as u64;
    if let Some(budget) = args.memory
        && need > budget
    {
        return Err(Error::budget(
            format!("the program needs {}, the budget is {}", human_bytes(need), human_bytes(budget)),
            "compile with this --memory or a smaller --batch",
        ));
    }
    let batch = Batch::load(&session, &args.input)?;
    let (id, keys) = EvalKeySet::load_prepared(&session, &args.eval)?;
    let buffers = chiffre::pipeline::memory_plan(session.program(), batch.images).working;
    let server = Server::new(&session, id, &keys, buffers)?;
    let mut bar = RunProgress::new(args.progress.progress, session.program(), &[batch.images]);
    let mut opened = server::open_journal(&session, &batch, &Journal::directory(&args.output))?;
    if let Some(warning) = &opened.warning {
        tracing::warn!("{warning}");
    }
    if let Some(r) = &opened.resume {
        eprintln!("going on with step {} of an interrupted run", r.step + 1);
    }
    let done = opened.resume.as_ref().map_or(0, |r| r.step);
    let mut policy = Policy { min_interval: Duration::from_secs(args.checkpoint_every), ..Policy::default() };
    if args.checkpoint_every == 0 {
        policy.cost_factor = 0;
    }
    opened.journal = opened.journal.with_policy(policy);
    let checkpoints = Checkpoints::new(&session, batch.images, &mut opened.journal, opened.resume.take());
    let mut steps = 0;
    let mut trace = args.trace.as_ref().map(|_| Trace::new(session.program(), batch.images));
    let cost = args.machine.as_deref().map_or(Ok(CostModel::default()), chiffre::machine::load)?.on_threads(args.threads.get());
    let mut profile = args.profile.then(|| Profile::new(session.program(), batch.images, &cost));
    let result = server.run(&batch, Some(checkpoints), |event| {
        steps = event.steps;
        trace.iter_mut().for_each(|t| t.step(event));
        profile.iter_mut().for_each(|p| p.step(event));
        bar.step(event);
    });
    let result = result?;
    bar.finish();
    result.save(&session, &args.output)?;
    opened.journal.finish()?;
    if let (Some(path), Some(t)) = (&args.trace, &trace) {
        std::fs::write(path, t.json().to_string()).map_err(|e| Error::write(path, e))?;
    }
    if let Some(p) = &profile {
        super::print(p.table())?;
    }
    let before = if done > 0 { format!(", {done} of them before the interruption") } else { String::new() };
    super::print(format!("{} images in {steps} steps{before}", batch.images))
}
