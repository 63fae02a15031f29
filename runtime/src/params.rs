//! A program together with the CKKS context it runs in.

use crate::RuntimeError;
use chiffre_ckks::context::Context;
use chiffre_ckks::engine::Engine;
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::ring::Gadget;
use chiffre_ckks::scale::Scale;
use chiffre_ir::he;
use chiffre_ir::layout::Layout;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::program::{Program, ProgramOp};
use std::sync::Arc;

/// A program, its file's digest, its context and the engine that computes with them. Both halves of
/// the runtime start from one.
#[derive(Debug)]
pub struct Session {
    /// The verified program and its provenance.
    pub file: ProgramFile,
    /// Ring and encoder.
    pub context: Context,
    engine: Arc<Engine>,
}

impl Session {
    /// Checks the program's parameters and builds their context, on an engine of its own with all
    /// defaults.
    ///
    /// # Errors
    /// Parameters outside the security tables unless `allow_insecure`, or inconsistent ones; a
    /// system without threads to give.
    pub fn new(file: ProgramFile, allow_insecure: bool) -> Result<Session, RuntimeError> {
        Session::on(Engine::new()?, file, allow_insecure)
    }
    /// As [`Session::new`], on this engine, which several sessions may share. Keys, encryption,
    /// decryption, servers and runs of the session compute on its threads and take their memory
    /// from it.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn on(engine: impl Into<Arc<Engine>>, file: ProgramFile, allow_insecure: bool) -> Result<Session, RuntimeError> {
        let engine = engine.into();
        let h = &file.program.header;
        if h.insecure && !allow_insecure {
            return Err(RuntimeError::Insecure);
        }
        let literal = CkksParamsLiteral { log_n: h.log_n, q: h.q.clone(), p: h.p.clone(), allow_insecure: h.insecure };
        let params = CkksParams::try_from(literal)?;
        if let Some(b) = &h.bootstrap {
            let keys: Vec<_> = file.program.keys().into_iter().collect();
            params.check_sparse_keys(&keys, b.weight)?;
        }
        let context = engine.install(|| Context::new(params))?;
        Ok(Session { file, context, engine })
    }
    /// What the session computes on.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
    /// The program.
    pub fn program(&self) -> &Program {
        &self.file.program
    }
    /// Layout, limbs and scale of the encrypted input.
    pub fn input(&self) -> Result<&he::HeType, RuntimeError> {
        let mut it = self.program().nodes.iter().filter(|n| matches!(n.op, ProgramOp::Input {}));
        match (it.next(), it.next()) {
            (Some(n), None) => Ok(&n.ty),
            _ => Err(RuntimeError::Input("the program does not have exactly one input".into())),
        }
    }
    /// Layout, limbs and scale of the result.
    pub fn output(&self) -> Result<&he::HeType, RuntimeError> {
        match self.program().outputs[..] {
            [o] => Ok(self.program().ty(o)),
            _ => Err(RuntimeError::Input("the program does not have exactly one output".into())),
        }
    }
    /// A scale of the program over the primes of its chain.
    ///
    /// # Panics
    /// If it names a prime that the chain does not have; the scales of verified programs do not.
    pub fn scale(&self, s: &he::Scale) -> Scale {
        s.over(&self.program().header.q).expect("the verifier has checked that scales name primes of the chain")
    }
    /// Target and shape of every key that the program uses.
    pub fn key_targets(&self) -> Vec<(KeyTarget, Gadget)> {
        self.program().keys().into_iter().collect()
    }
    /// The input's layout.
    pub fn input_layout(&self) -> Result<&Layout, RuntimeError> {
        Ok(&self.input()?.layout)
    }
}
