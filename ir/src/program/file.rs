//! Program files: the text of every level in the metadata, the constants as tensors named by their
//! hashes.

use super::{Prog, Program, ProgramOp, VerifiedProgram, verify};
use crate::consts::{Store, tensors};
use crate::container::{ContainerError, Contents, Reader};
use crate::error::{Finding, InterpError, VerifyError};
use crate::graph::Verified;
use crate::he::{self, He};
use crate::interface::Interface;
use crate::text;
use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Kind of program files.
pub const KIND: &str = "program";
/// What errors call a program that is in no file.
const IN_MEMORY: &str = "the program";

/// A loaded program with the texts of the levels it came from.
#[derive(Debug, Clone)]
pub struct ProgramFile {
    /// The program.
    pub program: VerifiedProgram,
    /// Digest of the file; keys and ciphertexts name it.
    pub digest: String,
    /// Text of the levels `tensor`, `packed`, `he`, by name; and as JSON `certificate` and
    /// `accuracy`: the approximated activations, if there are any; and `interface`: the model's
    /// inputs and outputs ([`Interface`]).
    pub stages: BTreeMap<String, String>,
    /// Constants by hash, to resolve those of the stages.
    pub store: Store,
    /// The model's inputs and outputs by name, which fit the program.
    pub interface: Interface,
}

/// The stage that holds the [`Interface`].
pub const INTERFACE: &str = "interface";

/// The inputs and outputs that the stages name; without names, those of the program.
fn interface(p: &Program, stages: &BTreeMap<String, String>) -> Result<Interface, String> {
    let shape = |v: Option<usize>| v.map_or([0; 3], |v| p.nodes[v].ty.layout.shape);
    let input = shape(p.nodes.iter().position(|n| matches!(n.op, ProgramOp::Input {})));
    let values = shape(p.outputs.first().map(|o| o.index())).iter().product();
    Interface::read(stages.get(INTERFACE).map(String::as_str), input, values)
}

impl ProgramFile {
    /// A program that was never on disk. Its digest is that of the file which [`save`] makes of it,
    /// so that keys and ciphertexts fit both.
    ///
    /// # Errors
    /// What the verifier finds; constants without data.
    pub fn in_memory(program: Program, stages: BTreeMap<String, String>) -> Result<ProgramFile, VerifyError> {
        let program = verify(program)?;
        let of_graph = |e: ContainerError| VerifyError { findings: vec![Finding::of_graph(e.to_string())] };
        let store = tensors::store(&program.consts, Path::new(IN_MEMORY)).map_err(of_graph)?;
        let digest = contents(&program, &stages, &store).digest(|w| tensors::write(w, &store)).map_err(of_graph)?;
        let interface = interface(&program, &stages).map_err(|e| VerifyError { findings: vec![Finding::of_graph(e)] })?;
        Ok(ProgramFile { program, digest, stages, store, interface })
    }

    /// The HE IR that the file holds beside its program, with its constants.
    ///
    /// # Errors
    /// A file that does not hold it; text that is no HE IR, or that the verifier does not accept;
    /// constants that the file lacks.
    pub fn he(&self) -> Result<Verified<He>, InterpError> {
        let unusable = |e: &dyn std::fmt::Display| InterpError::Unsupported(format!("HE IR: {e}"));
        let text = self.stages.get("he").ok_or_else(|| InterpError::Unsupported("the program does not hold its HE IR".into()))?;
        let mut g = text::parse::<He>(text).map_err(|e| unusable(&e))?;
        g.consts.resolve(&self.store);
        if let Some((_, c)) = g.consts.iter().find(|(_, c)| c.data.is_none()) {
            return Err(unusable(&format!("constant @{} is missing", c.name)));
        }
        he::verify(g).map_err(|e| unusable(&e))
    }
}

/// Writes a program and the texts of its earlier levels; returns the digest. The same program gives
/// the same bytes.
///
/// # Errors
/// I/O errors; a constant without data.
pub fn save(path: &Path, program: &Program, stages: &BTreeMap<String, String>) -> Result<String, ContainerError> {
    let store = tensors::store(&program.consts, path)?;
    contents(program, stages, &store).save(path, |w| tensors::write(w, &store))
}

/// As [`save`], to any sink, which errors call `name`.
///
/// # Errors
/// As [`save`].
pub fn write(sink: impl Write, name: &str, program: &Program, stages: &BTreeMap<String, String>) -> Result<String, ContainerError> {
    let store = tensors::store(&program.consts, Path::new(name))?;
    contents(program, stages, &store).write(sink, name, |w| tensors::write(w, &store))
}

fn contents(program: &Program, stages: &BTreeMap<String, String>, store: &Store) -> Contents {
    let mut meta: BTreeMap<String, String> = stages.iter().map(|(k, v)| (format!("stage.{k}"), v.clone())).collect();
    meta.insert("program".into(), text::print(program));
    Contents::new(KIND, meta, &tensors::declare(store))
}

/// Reads and verifies a program file.
///
/// # Errors
/// I/O errors, and content errors for damaged, foreign or inconsistent files.
pub fn load(path: &Path) -> Result<ProgramFile, ContainerError> {
    from_container(Reader::open(path, KIND)?)
}

/// As [`load`], from any source, which errors call `name`.
///
/// # Errors
/// As [`load`].
pub fn read(source: impl Read + Seek, name: &str) -> Result<ProgramFile, ContainerError> {
    from_container(Reader::new(source, name, KIND)?)
}

fn from_container<R: Read + Seek>(mut r: Reader<R>) -> Result<ProgramFile, ContainerError> {
    let source = r.meta("program")?.to_string();
    let mut program: Program = text::parse::<Prog>(&source).map_err(|e| r.error(format!("program text: {e}")))?;
    if r.meta("stage.tail").is_ok() {
        return Err(r.error("the program is of an earlier form: compile it again"));
    }
    let stages: BTreeMap<_, _> = ["tensor", "packed", "he", "certificate", "accuracy", INTERFACE]
        .iter()
        .filter_map(|s| Some((s.to_string(), r.meta(&format!("stage.{s}")).ok()?.to_string())))
        .collect();
    let store = tensors::resolve(&mut r, &mut program.consts)?;
    let digest = r.digest().to_string();
    let program = verify(program).map_err(|e| r.error(format!("not a valid program: {e}")))?;
    let interface = interface(&program, &stages).map_err(|e| r.error(e))?;
    Ok(ProgramFile { program, digest, stages, store, interface })
}
