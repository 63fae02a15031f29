//! What all runs of a server read.

use super::prepare::{self, Instruction, Spare};
use super::series::Bootstrappers;
use crate::{RuntimeError, ServerKeys, Session};
use chiffre_ckks::Isa;
use std::sync::Arc;
use std::time::Instant;

/// A program with the keys of one client, in the form that kernels take.
pub(super) struct Prepared {
    pub session: Arc<Session>,
    pub isa: Isa,
    pub keys: Arc<ServerKeys>,
    /// By node of the program.
    pub instructions: Vec<Instruction>,
    pub bootstrappers: Bootstrappers,
    pub spare: Spare,
    /// When the last byte of a store had been read, if this comes from one.
    pub read_at: Option<Instant>,
}

impl Prepared {
    /// Encodes what the program needs.
    pub fn new(session: Arc<Session>, keys: Arc<ServerKeys>) -> Result<Prepared, RuntimeError> {
        let engine = session.engine().clone();
        let isa = engine.isa();
        let prepare = || {
            let instructions = prepare::instructions(&session)?;
            Ok::<_, RuntimeError>((instructions, Bootstrappers::new(&session, isa, None)?))
        };
        let (instructions, bootstrappers) = engine.install(prepare)?;
        Ok(Prepared { session, isa, keys, instructions, bootstrappers, spare: Spare::default(), read_at: None })
    }
}
