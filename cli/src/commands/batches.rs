//! `chiffre run --inputs` and `chiffre batch`: many encrypted batches of one program and key.

use super::run::{begin, end, server};
use crate::args::{RunArgs, StatusArgs};
use crate::progress::RunProgress;
use crate::{shard, signals};
use chiffre::batches::{self, Pair, State};
use chiffre::memory::Task;
use chiffre::{Class, Error};
use chiffre_ir::program::file;
use chiffre_runtime::journal::Journal;
use chiffre_runtime::server::{Finished, PREPARED_KIND, Server};
use chiffre_runtime::{Batch, EVAL_KEYS_KIND, Engine};
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// The states of all batches, if nothing else lies in the place of an answer.
fn states(pairs: &[Pair]) -> Result<Vec<State>, Error> {
    let states = pairs.iter().map(Pair::state).collect::<Result<Vec<_>, _>>()?;
    let foreign = |s: &State| if let State::Foreign(why) = s { Some(why.clone()) } else { None };
    batches::belong(states.iter().filter_map(foreign).collect(), pairs.len())?;
    Ok(states)
}

/// How the batches of a shard ended.
#[derive(Default)]
struct Ended {
    images: usize,
    run: usize,
    seconds: f64,
    /// Names and errors of those that were set aside.
    failed: Vec<(String, Error)>,
}

/// Runs a program on many batches, with the keys and the prepared state of one server.
pub(super) fn run(args: &RunArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let (Some(inputs), Some(outputs)) = (&args.many.inputs, &args.many.outputs) else {
        return Err(Error::input("give a batch (--input, --output) or many (--inputs, --outputs)"));
    };
    let (shard, by) = shard::of(args.many.shard, &|name| std::env::var(name).ok().filter(|v| !v.is_empty()))?;
    let all = batches::pairs(inputs, outputs)?;
    std::fs::create_dir_all(outputs).map_err(|e| Error::write(outputs, e))?;
    let keys = match (&args.prepared, &args.eval) {
        (Some(prepared), _) => batches::binding(prepared, PREPARED_KIND)?,
        (None, Some(eval)) => batches::binding(eval, EVAL_KEYS_KIND)?,
        (None, None) => return Err(Error::input("give the evaluation keys (--eval) or what `chiffre prepare` wrote (--prepared)")),
    };
    // All of them, so that every shard refuses a folder in which something is wrong.
    let program = file::load(&args.program)?;
    let most = batches::check(&all, &program.digest, &keys[1])?.clamp(1, program.program.header.batch);
    drop(program);
    let mine: Vec<Pair> = shard.of(all.iter().cloned()).collect();
    let of_mine = states(&mine)?;
    let todo: Vec<(Pair, State)> = mine.iter().cloned().zip(of_mine).filter(|(_, s)| *s != State::Done).collect();
    eprintln!("shard {shard} ({by}): {} of {} batches, {} of them done before", mine.len(), all.len(), mine.len() - todo.len());
    let mut ended = Ended::default();
    if !todo.is_empty() {
        let session = Arc::new(super::admitted(engine, &args.program, args.allow_insecure, &args.memory, |_| Ok(Task::Run(most)))?);
        let server = server(args, &session, most)?;
        signals::ask_first();
        for (i, (pair, state)) in todo.iter().enumerate() {
            eprintln!("batch {} of {}: {}", i + 1, todo.len(), pair.name());
            one(args, &server, pair, state, &mut ended)?;
        }
        signals::end_at_once();
    }
    report(&mine, todo.len(), ended)
}

/// Runs one batch, and sets it aside if that fails.
///
/// # Errors
/// A stop that was asked for, and an error that cannot be kept.
fn one(args: &RunArgs, server: &Server, pair: &Pair, state: &State, ended: &mut Ended) -> Result<(), Error> {
    let at = Instant::now();
    match answer(args, server, pair, state) {
        Ok(images) => {
            pair.forget_failure()?;
            let seconds = at.elapsed().as_secs_f64();
            eprintln!("{}: {images} images in {seconds:.3} s", pair.name());
            ended.run += 1;
            ended.images += images;
            ended.seconds += seconds;
            Ok(())
        }
        Err(e) if e.class() == Class::Cancelled => Err(e),
        Err(e) => {
            eprintln!("set aside: {e}");
            pair.set_aside(&e.to_string())?;
            ended.failed.push((pair.name(), e));
            Ok(())
        }
    }
}

/// Runs one batch and stores its answer. Returns the number of images.
fn answer(args: &RunArgs, server: &Server, pair: &Pair, state: &State) -> Result<usize, Error> {
    let session = server.session();
    let batch = Arc::new(Batch::load(session, &pair.input)?);
    let mut run = begin(server, &batch, &pair.output, args.checkpoint_every)?;
    let mut bar = RunProgress::new(args.progress.progress, session.program(), &[batch.images]);
    bar.skip(&run.steps()[..run.done()]);
    let _ = run.drive(|event| {
        bar.step(event);
        if signals::asked().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish();
    let Finished { result, journal } = end(run)?;
    if let State::Damaged(why) = state {
        tracing::warn!("replaced: {why}");
    }
    pair.store(session, &result)?;
    journal.map_or(Ok(()), Journal::finish)?;
    Ok(batch.images)
}

/// Says what was done, and fails if something was set aside.
fn report(mine: &[Pair], todo: usize, ended: Ended) -> Result<(), Error> {
    let Ended { images, run, seconds, failed } = ended;
    let each = if run > 0 { format!(" in {seconds:.1} s, {:.3} s an image", seconds / images.max(1) as f64) } else { String::new() };
    let kept = mine.len() - todo;
    super::print(format!("{run} batches run ({images} images{each}), {kept} done before, {} set aside", failed.len()))?;
    if failed.is_empty() {
        return Ok(());
    }
    let named = failed.iter().map(|(name, e)| format!("{name}: {e}")).collect::<Vec<_>>().join("\n");
    super::print(&named)?;
    Err(Error::failed(format!("{} of {} batches were set aside; the same command tries them again", failed.len(), mine.len())))
}

/// Says what has become of all batches.
pub(super) fn status(args: &StatusArgs) -> Result<(), Error> {
    let pairs = batches::pairs(&args.inputs, &args.outputs)?;
    let states = pairs.iter().map(Pair::state).collect::<Result<Vec<_>, _>>()?;
    let mut counts: BTreeMap<&str, usize> =
        ["done", "running", "begun", "missing", "failed", "damaged", "foreign"].into_iter().map(|w| (w, 0)).collect();
    states.iter().for_each(|s| *counts.entry(s.word()).or_default() += 1);
    let left = pairs.len() - counts["done"];
    if args.json {
        let one =
            |(p, s): (&Pair, &State)| json!({ "batch": p.name(), "input": p.input, "output": p.output, "state": s.word(), "why": s.why() });
        let list: Vec<_> = pairs.iter().zip(&states).map(one).collect();
        super::print(json!({ "batches": pairs.len(), "counts": counts, "list": list }))?;
    } else {
        super::print(format!(
            "{} of {} batches are done; {} running, {} begun, {} missing, {} failed",
            counts["done"],
            pairs.len(),
            counts["running"],
            counts["begun"],
            counts["missing"],
            counts["failed"] + counts["damaged"] + counts["foreign"]
        ))?;
        for (pair, state) in pairs.iter().zip(&states).filter(|(_, s)| **s != State::Done) {
            super::print(format!("{:<8} {}{}", state.word(), pair.name(), state.why().map(|w| format!(": {w}")).unwrap_or_default()))?;
        }
    }
    if left > 0 { Err(Error::failed(format!("{left} of {} batches have no answer", pairs.len()))) } else { Ok(()) }
}
