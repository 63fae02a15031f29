//! Files of programs on integers: the text in the metadata, the constants as tensors named by their
//! hashes.

use super::{Quant, QuantGraph, QuantOp, Quantised, verify};
use crate::consts::{Store, tensors};
use crate::container::{ContainerError, Contents, Reader};
use crate::error::{Finding, VerifyError};
use crate::interface::Interface;
use crate::program::file::INTERFACE;
use crate::text;
use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::Path;

/// Kind of program files.
pub const KIND: &str = "tfhe-program";
/// Texts that a program may hold beside itself.
const STAGES: [&str; 2] = ["tensor", INTERFACE];

/// A loaded program with the texts of the levels it came from.
#[derive(Debug, Clone)]
pub struct QuantFile {
    /// The program.
    pub program: Quantised,
    /// Digest of the file; keys and ciphertexts name it.
    pub digest: String,
    /// Text of the tensor IR, and the inputs and outputs of the model file as JSON, by name.
    pub stages: BTreeMap<String, String>,
    /// Inputs and outputs of the model file.
    pub interface: Interface,
}

/// Inputs and outputs of a program, of which one input and one output are joined.
fn interface(p: &Quantised, stages: &BTreeMap<String, String>) -> Result<Interface, String> {
    let input = p.nodes.iter().find(|n| matches!(n.op, QuantOp::Input {})).map_or([0; 3], |n| n.ty.chw());
    let values = p.outputs.first().map_or(0, |o| p.ty(*o).shape.len());
    Interface::read(stages.get(INTERFACE).map(String::as_str), input, values)
}

impl QuantFile {
    /// A program that was never on disk. Its digest is that of the file which [`save`] makes of it.
    ///
    /// # Errors
    /// What the verifier finds; constants without data.
    pub fn in_memory(program: QuantGraph, stages: BTreeMap<String, String>) -> Result<QuantFile, VerifyError> {
        let program = verify(program)?;
        let of_graph = |e: ContainerError| VerifyError { findings: vec![Finding::of_graph(e.to_string())] };
        let store = tensors::store(&program.consts, Path::new("the program")).map_err(of_graph)?;
        let digest = contents(&program, &stages, &store).digest(|w| tensors::write(w, &store)).map_err(of_graph)?;
        let interface = interface(&program, &stages).map_err(|e| VerifyError { findings: vec![Finding::of_graph(e)] })?;
        Ok(QuantFile { program, digest, stages, interface })
    }
}

/// Writes a program; returns the digest. The same program gives the same bytes.
///
/// # Errors
/// I/O errors; a constant without data.
pub fn save(path: &Path, program: &QuantGraph, stages: &BTreeMap<String, String>) -> Result<String, ContainerError> {
    let store = tensors::store(&program.consts, path)?;
    contents(program, stages, &store).save(path, |w| tensors::write(w, &store))
}

fn contents(program: &QuantGraph, stages: &BTreeMap<String, String>, store: &Store) -> Contents {
    let mut meta: BTreeMap<String, String> = stages.iter().map(|(k, v)| (format!("stage.{k}"), v.clone())).collect();
    meta.insert("program".into(), text::print(program));
    Contents::new(KIND, meta, &tensors::declare(store))
}

/// Reads and verifies a program file.
///
/// # Errors
/// I/O errors, and content errors for damaged, foreign or inconsistent files.
pub fn load(path: &Path) -> Result<QuantFile, ContainerError> {
    from_container(Reader::open(path, KIND)?)
}

/// As [`load`], from any source, which errors call `name`.
///
/// # Errors
/// As [`load`].
pub fn read(source: impl Read + Seek, name: &str) -> Result<QuantFile, ContainerError> {
    from_container(Reader::new(source, name, KIND)?)
}

fn from_container<R: Read + Seek>(mut r: Reader<R>) -> Result<QuantFile, ContainerError> {
    let source = r.meta("program")?.to_string();
    let mut program = text::parse::<Quant>(&source).map_err(|e| r.error(format!("program text: {e}")))?;
    let stage = |s: &&str| Some((s.to_string(), r.meta(&format!("stage.{s}")).ok()?.to_string()));
    let stages: BTreeMap<String, String> = STAGES.iter().filter_map(stage).collect();
    tensors::resolve(&mut r, &mut program.consts)?;
    let digest = r.digest().to_string();
    let program = verify(program).map_err(|e| r.error(format!("not a valid program: {e}")))?;
    let interface = interface(&program, &stages).map_err(|e| r.error(e))?;
    Ok(QuantFile { program, digest, stages, interface })
}
