//! Constants on their own: the companion of a text dump, and any other container that holds
//! constants by their hash.
//!
//! Text names constants by hash, so every file that holds their values serves any number of texts.
//! A file of the kind `constants` holds nothing else; program files hold the constants of their
//! program under the same names.

pub use crate::consts::Store;
use crate::consts::{Consts, Hash, tensors};
use crate::container::{ContainerError, Contents, Reader};
use crate::program::file as program;
use crate::quant::file as quant;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Kind of files of constants.
pub const KIND: &str = "constants";

/// Kinds of program files, which hold constants under the same names.
const PROGRAMS: [&str; 2] = [program::KIND, quant::KIND];

/// Where the constants of a text file are looked for and written: `net.tir` → `net.tir.consts`.
pub fn beside(text: &Path) -> PathBuf {
    let mut name = text.as_os_str().to_owned();
    name.push(".consts");
    name.into()
}

/// Writes all constants that have data; the same constants give the same bytes.
///
/// # Errors
/// I/O errors.
pub fn save(path: &Path, consts: &Consts) -> Result<(), ContainerError> {
    save_store(path, &consts.store())
}

/// Writes a store; the same constants give the same bytes.
///
/// # Errors
/// I/O errors.
pub fn save_store(path: &Path, store: &Store) -> Result<(), ContainerError> {
    contents(store).save(path, |w| tensors::write(w, store)).map(|_| ())
}

/// As [`save_store`], to any sink, which errors call `name`.
///
/// # Errors
/// I/O errors.
pub fn write_store(sink: impl Write, name: &str, store: &Store) -> Result<(), ContainerError> {
    contents(store).write(sink, name, |w| tensors::write(w, store)).map(|_| ())
}

fn contents(store: &Store) -> Contents {
    Contents::new(KIND, BTreeMap::new(), &tensors::declare(store))
}

/// Reads those of the wanted constants that a file of constants or a program file holds.
///
/// # Errors
/// I/O errors; files of another kind or damaged ones; tensors that make no constant or do not match
/// their name.
pub fn load(path: &Path, wanted: &BTreeSet<Hash>) -> Result<Store, ContainerError> {
    let r = match Reader::open(path, KIND) {
        Err(ContainerError::Kind { found, .. }) if PROGRAMS.contains(&found.as_str()) => Reader::open(path, &found)?,
        other => other?,
    };
    from_container(r, wanted)
}

/// As [`load`], from any source, which errors call `name`.
///
/// # Errors
/// As [`load`].
pub fn read(mut source: impl Read + Seek, name: &str, wanted: &BTreeSet<Hash>) -> Result<Store, ContainerError> {
    let io = |source| ContainerError::Io { path: name.into(), source };
    let start = source.stream_position().map_err(io)?;
    let kind = match Reader::new(&mut source, name, KIND) {
        Err(ContainerError::Kind { found, .. }) if PROGRAMS.contains(&found.as_str()) => found,
        other => return from_container(other?, wanted),
    };
    source.seek(SeekFrom::Start(start)).map_err(io)?;
    from_container(Reader::new(source, name, &kind)?, wanted)
}

fn from_container<R: Read + Seek>(mut r: Reader<R>, wanted: &BTreeSet<Hash>) -> Result<Store, ContainerError> {
    let mut store = Store::new();
    for &hash in wanted {
        if let Some(data) = tensors::read(&mut r, hash)? {
            store.insert(hash, data);
        }
    }
    Ok(store)
}

/// Hashes of the constants that have no data.
pub fn missing(consts: &Consts) -> BTreeSet<Hash> {
    consts.iter().filter(|(_, c)| c.data.is_none()).map(|(_, c)| c.hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consts::Array;

    #[test]
    fn constants_are_found_by_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = beside(&dir.path().join("net.tir"));
        assert!(path.ends_with("net.tir.consts"));
        let mut a = Consts::default();
        a.add("w", Array::new(vec![2, 1], vec![1.0, -2.0]));
        a.add("v", Array::new(vec![1], vec![3.0]));
        save(&path, &a).unwrap();
        let text = "tensor @n {\n const @x : f32[2x1] blake3:HASH\n %0 = input : f32[1]\n return %0\n}"
            .replace("HASH", &a.get(crate::consts::ConstId(0)).hash.to_string());
        let mut g: crate::tensor::TensorGraph = crate::text::parse(&text).unwrap();
        let wanted = missing(&g.consts);
        let store = load(&path, &wanted).unwrap();
        assert_eq!(store.len(), 1, "only what is wanted is read");
        g.consts.resolve(&store);
        assert_eq!(g.consts.array(crate::consts::ConstId(0)).unwrap().data, [1.0, -2.0]);
        assert!(missing(&g.consts).is_empty());
        // The same bytes go to any sink, and any source gives them back, also behind something
        // else.
        let mut sent = vec![7; 3];
        write_store(&mut sent, "socket", &a.store()).unwrap();
        assert!(sent[3..] == std::fs::read(&path).unwrap());
        let mut behind = std::io::Cursor::new(&sent);
        behind.set_position(3);
        assert_eq!(read(behind, "socket", &wanted).unwrap(), store);
        let e = read(std::io::Cursor::new(&sent[3..30]), "socket", &wanted).unwrap_err();
        assert!(e.to_string().starts_with("socket: "), "{e}");
        std::fs::write(&path, b"not a container").unwrap();
        assert!(load(&path, &wanted).is_err());
    }
}
