//! Program files: the text of every level in the metadata, the constants as tensors named by their
//! hashes.

use super::{Prog, Program, VerifiedProgram, verify};
use crate::consts::{Consts, Store, tensors};
use crate::container::{ContainerError, Reader, Writer};
use crate::text;
use std::collections::BTreeMap;
use std::path::Path;

/// Kind of program files.
pub const KIND: &str = "program";

/// A loaded program with the texts of the levels it came from.
#[derive(Debug, Clone)]
pub struct ProgramFile {
    /// The program.
    pub program: VerifiedProgram,
    /// Digest of the file; keys and ciphertexts name it.
    pub digest: String,
    /// Text of the levels `tensor`, `packed`, `he`, by name; and `certificate`: the approximated
    /// activations as JSON, if there are any.
    pub stages: BTreeMap<String, String>,
    /// Constants by hash, to resolve those of the stages.
    pub store: Store,
}

impl ProgramFile {
    /// A program that was never on disk, for runs in one process; its digest is that of its text.
    ///
    /// # Errors
    /// What the verifier finds.
    pub fn in_memory(program: Program, stages: BTreeMap<String, String>) -> Result<ProgramFile, crate::error::VerifyError> {
        let digest = blake3::hash(text::print(&program).as_bytes()).to_hex().to_string();
        let store = program.consts.store();
        Ok(ProgramFile { program: verify(program)?, digest, stages, store })
    }
}

/// Writes a program and the texts of its earlier levels; returns the digest. The same program gives
/// the same bytes.
///
/// # Errors
/// I/O errors; a constant without data.
pub fn save(path: &Path, program: &Program, stages: &BTreeMap<String, String>) -> Result<String, ContainerError> {
    let mut meta: BTreeMap<String, String> = stages.iter().map(|(k, v)| (format!("stage.{k}"), v.clone())).collect();
    meta.insert("program".into(), text::print(program));
    if let Some((_, c)) = program.consts.iter().find(|(_, c)| c.data.is_none()) {
        return Err(ContainerError::Content { path: path.into(), message: format!("constant @{} has no data", c.name) });
    }
    let store = program.consts.store();
    let mut w = Writer::create(path, KIND, meta, &tensors::declare(&store))?;
    tensors::write(&mut w, &store)?;
    w.finish()
}

/// Reads and verifies a program file.
///
/// # Errors
/// I/O errors, and content errors for damaged, foreign or inconsistent files.
pub fn load(path: &Path) -> Result<ProgramFile, ContainerError> {
    let mut r = Reader::open(path, KIND)?;
    let source = r.meta("program")?.to_string();
    let mut program: Program = text::parse::<Prog>(&source).map_err(|e| r.error(format!("program text: {e}")))?;
    let stages = ["tensor", "packed", "he", "certificate"]
        .iter()
        .filter_map(|s| Some((s.to_string(), r.meta(&format!("stage.{s}")).ok()?.to_string())))
        .collect();
    let store = read_consts(&mut r, &program.consts)?;
    program.consts.resolve(&store);
    if let Some((_, c)) = program.consts.iter().find(|(_, c)| c.data.is_none()) {
        return Err(r.error(format!("constant @{} is missing", c.name)));
    }
    let digest = r.digest().to_string();
    let program = verify(program).map_err(|e| r.error(format!("not a valid program: {e}")))?;
    Ok(ProgramFile { program, digest, stages, store })
}

fn read_consts(r: &mut Reader, consts: &Consts) -> Result<Store, ContainerError> {
    let mut store = Store::new();
    for (_, c) in consts.iter() {
        if !store.contains_key(&c.hash)
            && let Some(data) = tensors::read(r, c.hash)?
        {
            store.insert(c.hash, data);
        }
    }
    Ok(store)
}
