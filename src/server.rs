//! The server's side: runs a program on encrypted images with evaluation keys only.

use crate::{Error, Program, pipeline};
use chiffre_ckks::bundle::PreparedKeys;
use chiffre_runtime::{Batch, EvalKeySet, KeyId, ResultBatch, server};
use std::path::Path;
use std::sync::Arc;

/// A program ready to run with the keys of one client.
pub struct Server {
    program: Program,
    id: KeyId,
    keys: PreparedKeys,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("program", &self.program).finish_non_exhaustive()
    }
}

impl Server {
    /// Makes the server ready: expands the keys.
    ///
    /// # Errors
    /// Keys of another program.
    pub fn new(program: &Program, keys: EvalKeySet) -> Result<Server, Error> {
        Ok(Server { id: keys.id, keys: keys.prepare(program.session()), program: program.clone() })
    }

    /// As [`Server::new`], with keys from a file.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged or of another kind; keys of another program.
    pub fn load(program: &Program, keys: impl AsRef<Path>) -> Result<Server, Error> {
        let (id, keys) = EvalKeySet::load_prepared(program.session(), keys.as_ref())?;
        Ok(Server { id, keys, program: program.clone() })
    }

    /// Runs the program on encrypted images, from beginning to end.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for images under another secret key than the server's; [`Error::Failed`] with the ONNX node for an instruction that
    /// fails.
    pub fn run(&self, images: impl Into<Arc<Batch>>) -> Result<ResultBatch, Error> {
        let (session, images) = (self.program.session(), images.into());
        let buffers = pipeline::memory_plan(session.program(), images.images).working;
        let inner = server::Server::new(session, self.id, &self.keys, buffers)?;
        Ok(inner.run(&images, None, |_| {})?)
    }
}
