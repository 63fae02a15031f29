//! A verified program that may run: its parameters are secure, and its answers are right but with
//! the probability that is allowed.

use crate::TfheError;
use chiffre_backend::tfhe::demand;
use chiffre_ir::container::Reader;
use chiffre_ir::quant::file::{self, QuantFile};
use chiffre_ir::quant::{QuantOp, QuantType, Quantised};
use chiffre_ir::token::{KeyId, hex, parse_id};
use chiffre_params::tfhe::TfheParams;
use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::Path;

/// A run on one image is wrong with a probability of 2^-`FAILURE_BITS` at most, or the program is
/// refused.
pub const FAILURE_BITS: f64 = 40.0;

/// The public seed of uniform words.
pub type Seed = [u8; 16];

/// A program and its parameters.
#[derive(Debug, Clone)]
pub struct Session {
    file: QuantFile,
    params: TfheParams,
    input: QuantType,
}

impl Session {
    /// Of a program. The probability of a wrong run is computed anew: what the header says of it
    /// is not relied upon.
    ///
    /// # Errors
    /// A program without parameters; one whose parameters are not secure, unless that is permitted;
    /// one whose runs are wrong too often.
    pub fn new(file: QuantFile, allow_insecure: bool) -> Result<Session, TfheError> {
        let g = &file.program;
        let params =
            g.header.params.ok_or_else(|| TfheError::Input("the program has no parameters: it was not compiled to the end".into()))?;
        if !params.is_secure() && !allow_insecure {
            return Err(TfheError::Insecure);
        }
        let log2_failure = demand(g, FAILURE_BITS)?.log2_failure(&params);
        if log2_failure.is_nan() || log2_failure > -FAILURE_BITS {
            return Err(TfheError::Input(format!(
                "a run on one image is wrong with probability 2^{log2_failure:.1} under the program's parameters, and 2^-{FAILURE_BITS} is \
                 allowed: compile it anew"
            )));
        }
        let input = g.nodes.iter().find(|n| matches!(n.op, QuantOp::Input {})).map(|n| n.ty.clone());
        let input = input.ok_or_else(|| TfheError::Input("the program has no input".into()))?;
        Ok(Session { file, params, input })
    }
    /// Of a program file.
    ///
    /// # Errors
    /// As [`Self::new`]; files that are no programs.
    pub fn load(path: &Path, allow_insecure: bool) -> Result<Session, TfheError> {
        Session::new(file::load(path)?, allow_insecure)
    }
    /// The program with what its file holds.
    pub fn file(&self) -> &QuantFile {
        &self.file
    }
    /// The program.
    pub fn program(&self) -> &Quantised {
        &self.file.program
    }
    /// Its parameters.
    pub fn params(&self) -> &TfheParams {
        &self.params
    }
    /// Type of the input.
    pub fn input(&self) -> &QuantType {
        &self.input
    }
    /// Types of the outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &QuantType> {
        self.file.program.outputs.iter().map(|o| self.file.program.ty(*o))
    }
    /// Words of a ciphertext between look-ups.
    pub fn words(&self) -> usize {
        self.params.big() + 1
    }
}

/// Metadata of a file that belongs to the session's program and to a secret key.
pub fn binding(s: &Session, id: &KeyId) -> BTreeMap<String, String> {
    BTreeMap::from([("program".to_string(), s.file.digest.clone()), ("key-id".to_string(), hex(id))])
}

/// The name of the secret key in a file's metadata.
///
/// # Errors
/// There is none.
pub fn key_id<R: Read + Seek>(r: &Reader<R>) -> Result<KeyId, TfheError> {
    parse_id(r.meta("key-id")?).ok_or_else(|| r.error("bad key id").into())
}

/// Checks that a file belongs to the session's program, and reads the key id that it carries.
///
/// # Errors
/// A file of another program, or one that names none.
pub fn check_binding<R: Read + Seek>(r: &Reader<R>, s: &Session) -> Result<KeyId, TfheError> {
    let (theirs, ours) = (r.meta("program")?, &s.file.digest);
    if theirs != ours {
        return Err(TfheError::Mismatch(format!(
            "{} was made for another program (digest {}…, this one is {}…)",
            r.path().display(),
            theirs.get(..12).unwrap_or(""),
            &ours[..12]
        )));
    }
    key_id(r)
}
