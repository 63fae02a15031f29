//! Runs: step by step, stopped, gone on with elsewhere, failed.

use super::case::{SQUARES, bits};
use super::squares;
use chiffre_runtime::journal::directory;
use chiffre_runtime::server::{Checkpoints, Finished, Policy, Run, Server};
use chiffre_runtime::{Batch, EvalKeySet, ResultBatch, RuntimeError, ServerKeys, Session};
use std::ops::ControlFlow;
use std::time::Duration;

#[test]
fn what_runs_share_may_go_to_any_thread() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Server>();
    shared::<Session>();
    shared::<ServerKeys>();
    shared::<Batch>();
    shared::<ResultBatch>();
    sent::<Run>();
    sent::<Checkpoints>();
}

#[test]
fn a_run_goes_step_by_step() {
    let case = squares();
    let server = Server::new(case.session.clone(), case.keys(), 0).unwrap();
    let mut run = server.start(case.batch.clone()).unwrap();
    let steps = run.steps().to_vec();
    assert_eq!(steps, case.session.program().steps(40));
    // Another run of the same server, in between.
    let mut other = server.start(case.batch.clone()).unwrap();
    for (i, step) in steps.iter().enumerate() {
        assert_eq!(run.done(), i);
        let event = run.step().unwrap().expect("a step is left");
        assert_eq!((event.step, event.steps, event.instruction, &event.units), (i, steps.len(), step.node, &step.units));
        assert_eq!(event.results.len(), step.units.len());
        assert!(other.step().unwrap().is_some());
    }
    assert!(run.step().unwrap().is_none() && run.done() == steps.len());
    let Finished { result, journal } = run.finish().unwrap();
    assert!(journal.is_none());
    assert_eq!(bits(&result), SQUARES);
    assert_eq!(bits(&other.finish().unwrap().result), SQUARES);
}

#[test]
fn a_run_that_is_stopped_goes_on_in_another_server() {
    let case = squares();
    let tmp = tempfile::tempdir().unwrap();
    let dir = directory(&tmp.path().join("out.ct"));
    let steps = case.session.program().steps(40).len();
    let mut done = 0;
    // Every sitting makes a few steps more, and is stopped by its callback.
    for sitting in 0.. {
        let server = Server::new(case.session.clone(), case.keys(), 0).unwrap();
        let checkpoints = Checkpoints::open(&case.session, &case.batch, &dir).unwrap();
        assert_eq!((checkpoints.warning(), checkpoints.resumed().unwrap_or(0)), (None, done));
        // However slow the machine is, nothing is stored but at a stop.
        let rare = Policy { least: Duration::from_secs(1 << 30), ..Policy::default() };
        let mut run = server.start_with(case.batch.clone(), checkpoints.with_policy(rare)).unwrap();
        assert_eq!(run.done(), done);
        let mut left = 1 + steps / 3;
        let ended = run.drive(|_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if ended.unwrap().is_continue() {
            let Finished { result, journal } = run.finish().unwrap();
            assert_eq!(bits(&result), SQUARES, "after {sitting} stops");
            assert!(sitting >= 2 && dir.exists());
            journal.expect("the run had checkpoints").finish().unwrap();
            assert!(!dir.exists());
            return;
        }
        assert_eq!(run.done(), done + 1 + steps / 3);
        done = run.done();
        if sitting == 0 {
            // Driven again, it goes on by itself; what it stored before stays as it was.
            assert!(run.drive(|_| ControlFlow::Continue(())).unwrap().is_continue());
        } else {
            let e = run.finish().unwrap_err();
            assert!(matches!(e, RuntimeError::Cancelled { left, .. } if left == steps - done), "{e}");
        }
    }
}

#[test]
fn a_run_whose_step_fails_does_not_go_on() {
    let case = squares();
    let EvalKeySet { id, mut keys } = case.key_set();
    keys.clear();
    let server = Server::new(case.session.clone(), EvalKeySet { id, keys }.prepare(&case.session), 0).unwrap();
    let mut run = server.start(case.batch.clone()).unwrap();
    let e = run.drive(|_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(e, RuntimeError::Execution { .. }), "{e}");
    assert!(matches!(run.step(), Err(RuntimeError::Failed)));
    assert!(matches!(run.suspend(), Err(RuntimeError::Failed)));
    assert!(matches!(run.finish(), Err(RuntimeError::Failed)));
    let mut batch = Batch::clone(&case.batch);
    batch.id = [9; 16];
    assert!(matches!(server.start(batch), Err(RuntimeError::Mismatch(_))));
}

/// A run in which every step counts, watched from outside: what is in no checkpoint is at no time
/// more than may be lost and the step that comes on top.
#[test]
fn checkpoints_keep_up_with_the_work() {
    let case = squares();
    let tmp = tempfile::tempdir().unwrap();
    let dir = directory(&tmp.path().join("out.ct"));
    let server = Server::new(case.session.clone(), case.keys(), 0).unwrap();
    let checkpoints = Checkpoints::open(&case.session, &case.batch, &dir).unwrap();
    let policy = Policy { least: Duration::from_millis(2), share: 10, cost_factor: 0 };
    let mut run = server.start_with(case.batch.clone(), checkpoints.with_policy(policy)).unwrap();
    let manifest = || std::fs::read(dir.join("manifest.chf")).ok();
    let (mut before, mut stored) = (manifest(), 0);
    let [mut work, mut since, mut longest] = [Duration::ZERO; 3];
    while let Some(event) = run.step().unwrap() {
        assert_eq!(event.warning, None);
        let time = event.time;
        (work, longest) = (work + time, longest.max(time));
        // The checkpoint behind this step, if there is one, has it.
        since += time;
        let now = manifest();
        if now != before {
            (since, before, stored) = (Duration::ZERO, now, stored + 1);
        }
        assert!(since <= policy.least.max(work / policy.share) + longest, "{since:?} of {work:?}");
    }
    assert!(stored >= 3, "{stored} checkpoints in {work:?}");
    let Finished { result, journal } = run.finish().unwrap();
    assert_eq!(bits(&result), SQUARES);
    journal.expect("the run had checkpoints").finish().unwrap();
}
