//! The server's half: runs a program on ciphertexts with evaluation keys only.
//!
//! A [`Server`] is made once from a session and its keys, and may be shared by threads; a [`Run`]
//! is one batch on its way through the program. Neither borrows anything.

mod checkpoint;
mod execute;
mod pace;
mod prepare;
mod prepared;
mod run;
mod series;
mod stored;
mod values;

pub use checkpoint::Checkpoints;
pub use pace::Policy;
pub use run::{Event, Finished, Run};
pub use stored::KIND as PREPARED_KIND;

use crate::{Batch, ResultBatch, RuntimeError, ServerKeys, Session};
use prepared::Prepared;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// A program ready to run with the keys of one client. Clones are handles to the same server.
#[derive(Clone)]
pub struct Server {
    prepared: Arc<Prepared>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("program", &self.session().program().name).finish_non_exhaustive()
    }
}

impl Server {
    /// Brings tables, series and bootstraps of the program into the form that kernels take, and
    /// lets the engine take `buffers` bytes of memory for ciphertexts from the system: what runs
    /// need beyond them they take when they need it.
    ///
    /// # Errors
    /// Tables that do not fit the program's ring; names the ONNX node.
    pub fn new(session: impl Into<Arc<Session>>, keys: impl Into<Arc<ServerKeys>>, buffers: usize) -> Result<Server, RuntimeError> {
        Ok(Server::from_prepared(Prepared::new(session.into(), keys.into())?, buffers))
    }

    fn from_prepared(prepared: Prepared, buffers: usize) -> Server {
        prepared.session.engine().reserve(prepared.session.context.ring().n(), buffers);
        Server { prepared: Arc::new(prepared) }
    }

    /// The program and its context.
    pub fn session(&self) -> &Arc<Session> {
        &self.prepared.session
    }

    /// The keys it runs with.
    pub fn keys(&self) -> &Arc<ServerKeys> {
        &self.prepared.keys
    }

    /// When the last byte of prepared state had been read; `None` for a server that was not read
    /// ([`Server::load`]).
    pub fn read_at(&self) -> Option<Instant> {
        self.prepared.read_at
    }

    /// Runs the program on an encrypted batch, from beginning to end.
    ///
    /// # Errors
    /// As [`Self::start`] and [`Run::step`].
    pub fn run(&self, batch: impl Into<Arc<Batch>>) -> Result<ResultBatch, RuntimeError> {
        let mut run = self.start(batch)?;
        // Nobody asks for a stop.
        let _ = run.drive(|_| ControlFlow::Continue(()))?;
        Ok(run.finish()?.result)
    }

    /// Begins a run on an encrypted batch; nothing is computed yet.
    ///
    /// # Errors
    /// [`RuntimeError::Mismatch`] for a batch under another key than the server's.
    pub fn start(&self, batch: impl Into<Arc<Batch>>) -> Result<Run, RuntimeError> {
        Run::new(self.prepared.clone(), batch.into(), None)
    }

    /// Begins a run, or goes on with the interrupted one that `checkpoints` holds; the run stores
    /// its live values there from time to time.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(&self, batch: impl Into<Arc<Batch>>, checkpoints: Checkpoints) -> Result<Run, RuntimeError> {
        Run::new(self.prepared.clone(), batch.into(), Some(checkpoints))
    }
}
