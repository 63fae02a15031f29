//! Around everything that computes: the interpreter is released, panics are caught, and a forked
//! process is refused.

use crate::error::{self, Failure};
use chiffre_runtime::{Engine, RuntimeError};
use pyo3::prelude::*;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
