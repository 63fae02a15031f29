//! `chiffre run`: the server's side.

use super::{failed, predicted, session};
use crate::args::RunArgs;
use crate::commands::print;
use crate::progress::{Progress, ProgressMode};
use crate::signals;
use chiffre::{Error, memory};
use chiffre_backend::tfhe::lookups;
use chiffre_tfhe::{Batch, EvaluationKeys, Results, Server, Step};
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
    let ended = watched(&server, &batch, args.progress.progress, |_| {
        if signals::asked().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    signals::end_at_once();
    let result = ended?;
    result.save(&s, output).map_err(failed)?;
    print(format!("{} images in {} steps", batch.images(), server.steps(batch.images())))
}

/// Time of each kind of operation.
pub(super) type OpTimes = BTreeMap<&'static str, Duration>;

/// Runs a batch with its progress on stderr.
pub(super) fn watched(
    server: &Server,
    batch: &Batch,
    mode: ProgressMode,
    mut watch: impl FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Result<Results, Error> {
    let g = server.session().program();
    // Look-ups take the time; another step counts as one.
    let work: Vec<u64> = g.nodes.iter().map(|n| lookups(g, n).max(1) as u64).collect();
    let mut progress = Progress::new(mode, "running", batch.images() as u64 * work.iter().sum::<u64>());
    let mut done = 0;
    let result = server.run(batch, |step| {
        done += work[step.value.index()];
        progress.set(done);
        watch(step)
    });
    progress.finish();
    result.map_err(failed)
}
