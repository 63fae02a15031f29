//! `chiffre run`: the server's side.

use super::{failed, predicted, session};
use crate::args::RunArgs;
use crate::commands::print;
use crate::progress::{Progress, ProgressMode};
use crate::signals;
use chiffre::{Error, memory};
use chiffre_backend::tfhe::lookups;
use chiffre_ir::journal::directory;
use chiffre_tfhe::{Batch, Checkpoints, EvaluationKeys, Results, Server, Step};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// Runs a program on encrypted images.
pub(in crate::commands) fn run(args: &RunArgs) -> Result<(), Error> {
    let other = [(args.prepared.is_some(), "prepared state"), (args.trace.is_some(), "a trace"), (args.profile, "a profile")];
    if let Some((_, what)) = other.iter().find(|(asked, _)| *asked) {
        return Err(Error::input(format!("there is {what} of ckks programs only")));
    }
    let (Some(input), Some(output)) = (&args.input, &args.output) else {
        return Err(Error::input("tfhe programs run one batch at a time: give --input and -o instead of folders"));
    };
    let Some(eval) = &args.eval else { return Err(Error::input("give the evaluation keys (--eval)")) };
    let s = Arc::new(session(&args.program, args.allow_insecure)?);
    memory::admit("a run", predicted(s.file())?.1, args.memory.memory)?;
    let batch = Batch::load(&s, input).map_err(failed)?;
    let server = Server::new(s.clone(), EvaluationKeys::load(&s, eval).map_err(failed)?).map_err(failed)?;
    signals::ask_first();
    let mut checkpoints = Checkpoints::open(&s, &batch, &directory(output), Duration::from_secs(args.checkpoint_every)).map_err(failed)?;
    checkpoints.warning().iter().for_each(|w| tracing::warn!("{w}"));
    let done = checkpoints.resumed().unwrap_or(0);
    if done > 0 {
        eprintln!("going on with step {} of an interrupted run", done + 1);
    }
    let ended = watched(&server, &batch, Some(&mut checkpoints), args.progress.progress, |_| {
        if signals::asked().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    signals::end_at_once();
    let result = ended?;
    result.save(&s, output).map_err(failed)?;
    checkpoints.finish().map_err(failed)?;
    let before = if done > 0 { format!(", {done} of them before the interruption") } else { String::new() };
    print(format!("{} images in {} steps{before}", batch.images(), server.steps(batch.images())))
}

/// Time of each kind of operation.
pub(super) type OpTimes = BTreeMap<&'static str, Duration>;

/// Runs a batch with its progress on stderr.
pub(super) fn watched(
    server: &Server,
    batch: &Batch,
    checkpoints: Option<&mut Checkpoints>,
    mode: ProgressMode,
    mut watch: impl FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Result<Results, Error> {
    let g = server.session().program();
    // Look-ups take the time; another step counts as one.
    let work: Vec<u64> = g.nodes.iter().map(|n| lookups(g, n).max(1) as u64).collect();
    let mut progress = Progress::new(mode, "running", batch.images() as u64 * work.iter().sum::<u64>());
    // What an interrupted run has done is done.
    let before = checkpoints.as_ref().and_then(|c| c.resumed()).unwrap_or(0);
    let mut done = (0..before).map(|step| work[step % work.len()]).sum();
    let result = server.run(batch, checkpoints, |step| {
        step.warning.iter().for_each(|w| tracing::warn!("{w}"));
        done += work[step.value.index()];
        progress.set(done);
        watch(step)
    });
    progress.finish();
    result.map_err(failed)
}
