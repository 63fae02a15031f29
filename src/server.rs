//! The server's side: runs a program on encrypted images with evaluation keys only.

use crate::{Error, Program, pipeline};
use chiffre_runtime::server::{self, Run};
use chiffre_runtime::{Batch, EvalKeySet, ResultBatch, ServerKeys};
use std::path::Path;
use std::sync::Arc;

/// A program ready to run with the keys of one client. It borrows nothing, and clones are handles
/// to the same server.
#[derive(Clone, Debug)]
pub struct Server {
    inner: server::Server,
}

impl Server {
    /// Makes the server ready: expands the keys, encodes the tables of the program, and takes the
    /// memory that a run needs.
    ///
    /// # Errors
    /// A program that contradicts itself, which no compiler makes.
    pub fn new(program: &Program, keys: EvalKeySet) -> Result<Server, Error> {
        Server::with(program, keys.prepare(program.session()))
    }

    /// As [`Server::new`], with keys from a file.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged or of another kind; keys of another program.
    pub fn load(program: &Program, keys: impl AsRef<Path>) -> Result<Server, Error> {
        Server::with(program, ServerKeys::load(program.session(), keys.as_ref())?)
    }

    /// Reads a server that [`Server::save_prepared`] wrote: nothing is expanded and encoded again.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged or of another kind; one of another program, or of
    /// another version of this library.
    pub fn load_prepared(program: &Program, path: impl AsRef<Path>) -> Result<Server, Error> {
        Ok(Server { inner: server::Server::load(program.session().clone(), path.as_ref(), buffers(program))? })
    }

    /// Writes what was expanded and encoded, about as much as the expanded keys.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save_prepared(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.inner.save(path.as_ref())?)
    }

    /// Runs the program on encrypted images, from beginning to end.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for images under another secret key than the server's; [`Error::Failed`]
    /// with the ONNX node for an instruction that fails.
    pub fn run(&self, images: impl Into<Arc<Batch>>) -> Result<ResultBatch, Error> {
        Ok(self.inner.run(images)?)
    }

    /// Begins a run that goes step by step, can be watched, and stops when it is asked to.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for images under another secret key than the server's.
    pub fn start(&self, images: impl Into<Arc<Batch>>) -> Result<Run, Error> {
        Ok(self.inner.start(images)?)
    }

    fn with(program: &Program, keys: ServerKeys) -> Result<Server, Error> {
        Ok(Server { inner: server::Server::new(program.session().clone(), keys, buffers(program))? })
    }
}

/// Bytes of ciphertexts that a full run has at most.
fn buffers(program: &Program) -> usize {
    let p = program.session().program();
    pipeline::memory_plan(p, p.header.batch).working
}
