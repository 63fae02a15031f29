//! Around everything that computes: the interpreter is released, panics are caught, and a forked
//! process is refused.

use crate::error::{self, Failure};
use chiffre::Stop;
use chiffre_runtime::{Engine, RuntimeError};
use pyo3::prelude::*;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Between two looks for signals and two calls back there is at least this.
pub(crate) const EVERY: Duration = Duration::from_millis(50);

/// What the last panic said, and where it was.
static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);
/// The process in which threads were first started; 0 before.
static STARTED_IN: AtomicU32 = AtomicU32::new(0);
/// The engine of all that does not ask for threads of its own.
static DEFAULT: Mutex<Option<Arc<Engine>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what panics of this module say, instead of printing it. Other modules have hooks of their
/// own.
pub(crate) fn watch_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("a panic without a message");
        let at = info.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
        *lock(&LAST_PANIC) = Some(format!("{text}{at}"));
    }));
}

/// Refuses to compute in a process that was forked from one whose threads had been started: they
/// are not there.
fn refuse_fork() -> PyResult<()> {
    match STARTED_IN.load(Ordering::SeqCst) {
        0 => Ok(()),
        pid if pid == std::process::id() => Ok(()),
        _ => Err(error::forked()),
    }
}

/// Computes without the interpreter. A panic, on whatever thread, is a `chiffre.Bug`.
pub(crate) fn compute<T: Send, E: Into<Failure> + Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, E> + Send) -> PyResult<T> {
    refuse_fork()?;
    // Nothing that the work has touched is used after a panic: who called it gets an error.
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(done) => done.map_err(|e| e.into().raise(py)),
        Err(_) => Err(error::bug(py, &lock(&LAST_PANIC).take().unwrap_or_else(|| "a panic without a message".into()))),
    }
}

/// As [`compute`], and Ctrl-C asks for the end of the work, which has to look for it. The work is
/// then waited for: it ends at its next look, and nothing goes on behind the caller's back.
pub(crate) fn compute_until<T: Send, E: Into<Failure> + Send>(
    py: Python<'_>,
    stop: &Stop,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T> {
    compute(py, || -> Result<T, Failure> {
        thread::scope(|scope| {
            let (done, wait) = sync_channel(1);
            let worker = scope.spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(work));
                // Whoever waits may be gone only by a panic of its own.
                let _ = done.send(());
                result
            });
            let mut raised = None;
            while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(EVERY) {
                if raised.is_none() {
                    raised = Python::attach(|py| py.check_signals()).err();
                    raised.iter().for_each(|_| stop.ask());
                }
            }
            let result = worker.join().and_then(|result| result).unwrap_or_else(|panic| resume_unwind(panic));
            raised.map_or_else(|| result.map_err(Into::into), |e| Err(Failure::Python(e)))
        })
    })
}

/// An engine of so many threads; without a number, the one that all share.
pub(crate) fn engine(py: Python<'_>, threads: Option<usize>) -> PyResult<Arc<Engine>> {
    let asked = threads.map(|n| NonZeroUsize::new(n).ok_or_else(|| error::input(py, "threads must be at least 1"))).transpose()?;
    compute(py, || -> Result<Arc<Engine>, RuntimeError> {
        STARTED_IN.store(std::process::id(), Ordering::SeqCst);
        let Some(threads) = asked else {
            let mut shared = lock(&DEFAULT);
            let engine = shared.take().map_or_else(|| Engine::new().map(Arc::new), Ok)?;
            *shared = Some(engine.clone());
            return Ok(engine);
        };
        Ok(Arc::new(Engine::builder().threads(threads).build()?))
    })
}

/// Panics, on the calling thread or on one of an engine: for the test that this reaches Python as
/// `chiffre.Bug`.
#[pyfunction]
pub(crate) fn _panic(py: Python<'_>, on_a_worker: bool) -> PyResult<()> {
    let engine = engine(py, Some(1))?;
    let work = || -> Result<(), RuntimeError> { panic!("asked to") };
    if on_a_worker { compute(py, || engine.install(work)) } else { compute(py, work) }
}
