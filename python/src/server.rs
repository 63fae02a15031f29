//! The server's side: runs a program on encrypted images with evaluation keys only.

use crate::batch::{Batch, Result as ResultClass};
use crate::error::{self, Failure};
use crate::guard::{self, EVERY};
use crate::keys::EvaluationKeys;
use crate::program::Program;
use chiffre::memory::{Task, admit_task};
use chiffre::pipeline::{Work, memory_plan};
use chiffre_runtime::journal::Journal;
use chiffre_runtime::server::{self, Checkpoints, Policy};
use chiffre_runtime::{EvalKeySet, ResultBatch, ServerKeys};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A program ready to run with the keys of one client. There is no way from here to a secret.
#[pyclass(frozen, module = "chiffre")]
pub(crate) struct Server {
    program: chiffre::Program,
    inner: server::Server,
    memory: Option<u64>,
}

/// How far a run is.
#[pyclass(frozen, get_all, module = "chiffre")]
pub(crate) struct Progress {
    /// Steps that are done.
    step: usize,
    /// All steps.
    steps: usize,
    /// Share of the work that is done, by prediction, from 0 to 1.
    fraction: f64,
    /// Name of the ONNX node of the last step.
    node: String,
    /// Seconds since the run began in this process.
    seconds: f64,
}

#[pymethods]
impl Progress {
    fn __repr__(&self) -> String {
        format!("<chiffre.Progress {} of {} steps, {:.0} %, {:.1} s>", self.step, self.steps, 100.0 * self.fraction, self.seconds)
    }
}

/// Calls back at most every [`EVERY`](guard::EVERY), and looks for signals.
pub(crate) struct Watch<'a> {
    callback: Option<&'a Py<PyAny>>,
    work: Work,
    began: Instant,
    last: Instant,
    /// What has stopped the run.
    raised: Option<PyErr>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(callback: Option<&'a Py<PyAny>>, work: Work) -> Watch<'a> {
        let now = Instant::now();
        Watch { callback, work, began: now, last: now.checked_sub(EVERY).unwrap_or(now), raised: None }
    }

    /// A step is done. Stops the run where a signal has come, or the callback raises.
    pub(crate) fn step(&mut self, event: &server::Event<'_>) -> ControlFlow<()> {
        self.work.step(event.instruction, event.units.len());
        let end = event.step + 1 == event.steps;
        if !end && self.last.elapsed() < EVERY {
            return ControlFlow::Continue(());
        }
        self.last = Instant::now();
        let (step, steps) = (event.step + 1, event.steps);
        let (fraction, node, seconds) = (self.work.fraction(), event.source.to_string(), self.began.elapsed().as_secs_f64());
        let called = Python::attach(|py| -> PyResult<()> {
            py.check_signals()?;
            if let Some(callback) = self.callback {
                callback.call1(py, (Progress { step, steps, fraction, node, seconds },))?;
            }
            Ok(())
        });
        match called {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                self.raised = Some(e);
                ControlFlow::Break(())
            }
        }
    }

    /// What has stopped the run, if something has.
    pub(crate) fn raised(self) -> Result<(), Failure> {
        self.raised.map_or(Ok(()), |e| Err(Failure::Python(e)))
    }
}

/// Keys as a caller gives them.
#[derive(FromPyObject)]
enum Keys<'py> {
    Made(Bound<'py, EvaluationKeys>),
    Bytes(PyBackedBytes),
    File(PathBuf),
}

/// Images as a caller gives them.
#[derive(FromPyObject)]
enum Images<'py> {
    Made(Bound<'py, Batch>),
    Bytes(PyBackedBytes),
    File(PathBuf),
}

/// Keys without the interpreter.
enum Source {
    Made(Arc<EvalKeySet>),
    Bytes(PyBackedBytes),
    File(PathBuf),
}

/// Bytes of ciphertexts that a full run has at most.
fn buffers(program: &chiffre::Program) -> usize {
    memory_plan(program.session().program(), program.batch()).working
}

impl Server {
    fn admit(program: &chiffre::Program, task: Task, memory: Option<u64>) -> Result<(), chiffre::Error> {
        let s = program.session();
        admit_task(s.program(), task, s.engine().threads(), memory)
    }
}

#[pymethods]
impl Server {
    /// Makes the server ready: expands the keys (made ones, their bytes or a file of them) and
    /// encodes the tables of the program. `threads` are its own; without a number, it computes on
    /// those of the program. What is predicted to need more than `memory` bytes is refused; without
    /// a number, what needs more than the system allows.
    #[new]
    #[pyo3(signature = (program, keys, *, threads=None, memory=None))]
    fn new(py: Python<'_>, program: &Program, keys: Keys<'_>, threads: Option<usize>, memory: Option<u64>) -> PyResult<Server> {
        let program = program.on_threads(py, threads)?;
        let source = match keys {
            Keys::Made(made) => Source::Made(made.get().keys.clone()),
            Keys::Bytes(bytes) => Source::Bytes(bytes),
            Keys::File(path) => Source::File(path),
        };
        let inner = guard::compute(py, || -> Result<server::Server, Failure> {
            Server::admit(&program, Task::Prepare, memory)?;
            let s = program.session();
            let keys = match source {
                Source::Made(keys) => keys.expanded(s),
                Source::Bytes(bytes) => ServerKeys::read(s, Cursor::new(&*bytes), "the evaluation keys")?,
                Source::File(path) => ServerKeys::load(s, &path)?,
            };
            Ok(server::Server::new(s.clone(), keys, buffers(&program))?)
        })?;
        Ok(Server { program, inner, memory })
    }

    /// Reads a server that `save_prepared` wrote, or the command `prepare`: nothing is expanded and
    /// encoded again.
    #[staticmethod]
    #[pyo3(signature = (program, path, *, threads=None, memory=None))]
    fn load_prepared(py: Python<'_>, program: &Program, path: PathBuf, threads: Option<usize>, memory: Option<u64>) -> PyResult<Server> {
        let program = program.on_threads(py, threads)?;
        let inner = guard::compute(py, || -> Result<server::Server, Failure> {
            Server::admit(&program, Task::Prepare, memory)?;
            Ok(server::Server::load(program.session().clone(), &path, buffers(&program))?)
        })?;
        Ok(Server { program, inner, memory })
    }

    /// Writes what was expanded and encoded, about as much as the expanded keys.
    fn save_prepared(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        guard::compute(py, || self.inner.save(&path))
    }

    /// Runs the program on encrypted images (a batch, its bytes or a file of it).
    ///
    /// `progress` is called with a `Progress` at most 20 times a second, and at the end; what it
    /// raises stops the run. `journal` is a folder in which the run keeps what it needs to go on:
    /// another run of the same batch goes on from there, also one of the command line (its folder
    /// is OUTPUT.partial-run). It is removed when the run has ended. `checkpoint_every` is the
    /// work, in seconds, that an interruption may lose, or a tenth of the work so far, if that is
    /// more. Ctrl-C stops the run behind its step.
    #[pyo3(signature = (batch, *, progress=None, journal=None, checkpoint_every=5.0))]
    fn run(
        &self,
        py: Python<'_>,
        batch: Images<'_>,
        progress: Option<Py<PyAny>>,
        journal: Option<PathBuf>,
        checkpoint_every: f64,
    ) -> PyResult<ResultClass> {
        let batch = match batch {
            Images::Made(made) => made.get().inner.clone(),
            Images::Bytes(bytes) => Batch::read(py, &self.program, &bytes)?.inner,
            Images::File(path) => Batch::open(py, &self.program, path)?.inner,
        };
        if progress.as_ref().is_some_and(|p| !p.bind(py).is_callable()) {
            return Err(error::input(py, "progress: something that can be called is needed"));
        }
        let least = Duration::try_from_secs_f64(checkpoint_every).map_err(|_| error::input(py, "checkpoint_every: seconds, 0 or more"))?;
        let policy = if least.is_zero() { Policy::EVERY_MOMENT } else { Policy { least, ..Policy::default() } };
        let run = || -> Result<(ResultBatch, Option<String>), Failure> {
            let s = self.program.session();
            Server::admit(&self.program, Task::Run(batch.images), self.memory)?;
            let mut warning = None;
            let mut run = match &journal {
                None => self.inner.start(batch.clone())?,
                Some(folder) => {
                    let checkpoints = Checkpoints::open(s, &batch, folder)?;
                    warning = checkpoints.warning().map(str::to_string);
                    self.inner.start_with(batch.clone(), checkpoints.with_policy(policy))?
                }
            };
            let mut work = Work::new(s.program(), &[batch.images]);
            work.skip(&run.steps()[..run.done()]);
            let mut watch = Watch::new(progress.as_ref(), work);
            let ended = run.drive(|event| {
                warning = event.warning.clone().or(warning.take());
                watch.step(event)
            });
            watch.raised()?;
            let _ = ended?;
            let finished = run.finish()?;
            finished.journal.map_or(Ok(()), Journal::finish)?;
            Ok((finished.result, warning))
        };
        let (result, warning) = guard::compute(py, run)?;
        if let Some(text) = warning {
            error::warn(py, &text)?;
        }
        Ok(ResultClass::of(&self.program, result))
    }

    fn __repr__(&self) -> String {
        let s = self.program.session();
        format!("<chiffre.Server for \"{}\", {} threads>", s.program().name, s.engine().threads())
    }
}
