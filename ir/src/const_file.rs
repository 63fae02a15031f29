//! Constants on their own: the companion of a text dump, and any other container that holds tensors named by their hash.
//!
//! Text names constants by hash, so every file that holds the arrays serves any number of texts. A file of the kind `constants` holds
//! nothing else; program files hold the constants of their program under the same names.

use crate::consts::{Array, Consts, Hash};
use crate::container::{ContainerError, Dtype, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Kind of files of constants.
pub const KIND: &str = "constants";

/// Arrays by hash.
pub type Store = HashMap<Hash, Arc<Array>>;

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

/// Writes a store; the same arrays give the same bytes.
///
/// # Errors
/// I/O errors.
pub fn save_store(path: &Path, store: &Store) -> Result<(), ContainerError> {
    let arrays: BTreeMap<String, &Arc<Array>> = store.iter().map(|(h, a)| (h.to_string(), a)).collect();
    let list: Vec<_> = arrays.iter().map(|(n, a)| (n.clone(), Dtype::F32, a.shape.clone())).collect();
    let mut w = Writer::create(path, KIND, BTreeMap::new(), &list)?;
    for (n, a) in &arrays {
        let bytes: Vec<u8> = a.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        w.tensor(n, &bytes)?;
    }
    w.finish().map(|_| ())
}

/// Reads those of the wanted constants that a file of constants or a program file holds.
///
/// # Errors
/// I/O errors; files of another kind or damaged ones; an array that does not match its name.
pub fn load(path: &Path, wanted: &BTreeSet<Hash>) -> Result<Store, ContainerError> {
    let mut r = match Reader::open(path, KIND) {
        Err(ContainerError::Kind { found, .. }) if found == crate::program::file::KIND => Reader::open(path, crate::program::file::KIND)?,
        other => other?,
    };
    let held: Vec<(Hash, String, Vec<usize>)> = r
        .tensors()
        .iter()
        .filter(|(_, t)| t.dtype == Dtype::F32)
        .filter_map(|(n, t)| Some((Hash::parse(n)?, n.clone(), t.shape.iter().map(|&d| d as usize).collect())))
        .filter(|(h, ..)| wanted.contains(h))
        .collect();
    let mut store = Store::new();
    for (hash, name, shape) in held {
        let bytes = r.read(&name, Dtype::F32, &shape)?;
        let data = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let array = Array::new(shape, data);
        if array.hash() != hash {
            return Err(r.error(format!("the array {name} does not match its hash")));
        }
        store.insert(hash, Arc::new(array));
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
