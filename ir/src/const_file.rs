//! Constants on their own: the companion of a text dump, and any other container that holds
//! constants by their hash.
//!
//! Text names constants by hash, so every file that holds their values serves any number of texts.
//! A file of the kind `constants` holds nothing else; program files hold the constants of their
//! program under the same names.

pub use crate::consts::Store;
use crate::consts::{Consts, Hash, tensors};
use crate::container::{ContainerError, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Kind of files of constants.
pub const KIND: &str = "constants";

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
    let mut w = Writer::create(path, KIND, BTreeMap::new(), &tensors::declare(store))?;
    tensors::write(&mut w, store)?;
    w.finish().map(|_| ())
}

/// Reads those of the wanted constants that a file of constants or a program file holds.
///
/// # Errors
/// I/O errors; files of another kind or damaged ones; tensors that make no constant or do not match
/// their name.
pub fn load(path: &Path, wanted: &BTreeSet<Hash>) -> Result<Store, ContainerError> {
    let mut r = match Reader::open(path, KIND) {
        Err(ContainerError::Kind { found, .. }) if found == crate::program::file::KIND => Reader::open(path, crate::program::file::KIND)?,
        other => other?,
    };
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
        std::fs::write(&path, b"not a container").unwrap();
        assert!(load(&path, &wanted).is_err());
    }
}
