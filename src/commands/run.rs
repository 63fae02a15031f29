//! `chiffre run`: the server's side.

use crate::Error;
use crate::cli::RunArgs;
use crate::progress::RunProgress;
use crate::report::human_bytes;
use chiffre_runtime::{Batch, EvalKeySet, server};

/// Runs a program on encrypted images.
pub(super) fn run(args: &RunArgs) -> Result<(), Error> {
    super::set_threads(&args.threads)?;
    let session = super::session(&args.program, args.allow_insecure)?;
    let need = session.program().header.predicted_bytes as u64;
    if let Some(budget) = args.memory
        && need > budget
    {
        return Err(Error::input(format!(
            "the program needs {}, the budget is {}: compile with a smaller --batch",
            human_bytes(need),
            human_bytes(budget)
        )));
    }
    let batch = Batch::load(&session, &args.input).map_err(super::runtime_error)?;
    let (id, keys) = EvalKeySet::load_prepared(&session, &args.eval).map_err(super::runtime_error)?;
    let mut bar = RunProgress::new(args.progress.progress, session.program(), &[batch.images]);
    let result = server::run(&session, id, &keys, &batch, |event| bar.step(event));
    let result = result.map_err(super::runtime_error)?;
    bar.finish();
    result.save(&session, &args.output).map_err(super::runtime_error)
}
