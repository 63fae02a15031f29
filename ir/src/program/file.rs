//! Program files: the text of every level in the metadata, the constants as tensors named by their hash.

use super::{Prog, Program, VerifiedProgram, verify};
use crate::consts::{Array, Consts, Hash};
use crate::container::{ContainerError, Contents, Dtype, Reader, Writer};
use crate::text;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

/// Kind of program files.
pub const KIND: &str = "program";

/// A loaded program with the texts of the levels it came from.
#[derive(Debug, Clone)]
pub struct ProgramFile {
    /// The program.
    pub program: VerifiedProgram,
    /// Digest of the file; keys and ciphertexts name it.
    pub digest: String,
    /// Text of the levels `tensor`, `packed`, `he`, by name; and `certificate`: the approximated activations as JSON, if there are any.
    pub stages: BTreeMap<String, String>,
    /// Constants by hash, to resolve those of the stages.
    pub store: HashMap<Hash, Arc<Array>>,
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

/// Writes a program and the texts of its earlier levels; returns the digest. The same program gives the same bytes.
///
/// # Errors
/// I/O errors; a constant without data.
pub fn save(path: &Path, program: &Program, stages: &BTreeMap<String, String>) -> Result<String, ContainerError> {
    let arrays = arrays(program, path)?;
    contents(program, stages, &arrays).save(path, |w| fill(w, &arrays))
}

/// As [`save`], to any sink, which errors call `name`.
///
/// # Errors
/// As [`save`].
pub fn write(sink: impl Write, name: &str, program: &Program, stages: &BTreeMap<String, String>) -> Result<String, ContainerError> {
    let arrays = arrays(program, Path::new(name))?;
    contents(program, stages, &arrays).write(sink, name, |w| fill(w, &arrays))
}

/// Constants by the text of their hash.
type Arrays = BTreeMap<String, Arc<Array>>;

fn arrays(program: &Program, path: &Path) -> Result<Arrays, ContainerError> {
    let mut arrays = Arrays::new();
    for (_, c) in program.consts.iter() {
        let data = c
            .data
            .clone()
            .ok_or_else(|| ContainerError::Content { path: path.into(), message: format!("constant @{} has no data", c.name) })?;
        arrays.insert(c.hash.to_string(), data);
    }
    Ok(arrays)
}

fn contents(program: &Program, stages: &BTreeMap<String, String>, arrays: &Arrays) -> Contents {
    let mut meta: BTreeMap<String, String> = stages.iter().map(|(k, v)| (format!("stage.{k}"), v.clone())).collect();
    meta.insert("program".into(), text::print(program));
    let list: Vec<_> = arrays.iter().map(|(n, a)| (n.clone(), Dtype::F32, a.shape.clone())).collect();
    Contents::new(KIND, meta, &list)
}

fn fill(w: &mut Writer<'_>, arrays: &Arrays) -> Result<(), ContainerError> {
    for (n, a) in arrays {
        let bytes: Vec<u8> = a.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        w.tensor(n, &bytes)?;
    }
    Ok(())
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

fn read_consts<R: Read + Seek>(r: &mut Reader<R>, consts: &Consts) -> Result<HashMap<Hash, Arc<Array>>, ContainerError> {
    let mut store = HashMap::new();
    for (_, c) in consts.iter() {
        if store.contains_key(&c.hash) {
            continue;
        }
        let bytes = r.read(&c.hash.to_string(), Dtype::F32, &c.shape)?;
        let data = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let a = Array::new(c.shape.clone(), data);
        if a.hash() != c.hash {
            return Err(r.error(format!("constant @{} does not match its hash", c.name)));
        }
        store.insert(c.hash, Arc::new(a));
    }
    Ok(store)
}
