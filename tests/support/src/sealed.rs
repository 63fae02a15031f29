//! Containers that are changed and sealed again: what they hold is wrong, and their digest is
//! right.
//!
//! A flipped bit never gets past the digest of a container. Whoever means harm computes the digest
//! anew, so everything that is read behind it has to be tested with files that carry a right one.

use crate::mutate::{mutate_bytes, mutate_shape, mutate_text};
use crate::rng::Rng;
use chiffre_ir::consts::Array;
use chiffre_ir::container::{ContainerError, Contents, Dtype, TensorInfo};
use chiffre_ir::table::{from_tensors, hash};
use std::collections::BTreeMap;
use std::path::Path;

/// The content of a container.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Its kind (`program`, `secret-key`, …).
    pub kind: String,
    /// Metadata without kind, format and digest.
    pub metadata: BTreeMap<String, String>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// A tensor of a container.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Element type.
    pub dtype: Dtype,
    /// Extents.
    pub shape: Vec<usize>,
    /// Little-endian elements.
    pub bytes: Vec<u8>,
}

/// A part of a container that a fuzzer may change by its own means.
#[derive(Debug)]
pub enum Part<'a> {
    /// An entry of the metadata.
    Text(&'a mut String),
    /// The elements of a tensor.
    Bytes(&'a mut Vec<u8>),
}

impl Sealed {
    /// Reads an intact container.
    ///
    /// # Panics
    /// If it is not one: tests start from good files.
    pub fn read(path: &Path) -> Sealed {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Sealed::parse(&bytes).unwrap_or_else(|| panic!("{} is not a container", path.display()))
    }

    /// The content of bytes that look like a container, whatever their digest is.
    pub fn parse(bytes: &[u8]) -> Option<Sealed> {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (json, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).ok()?;
        let mut metadata: BTreeMap<String, String> = BTreeMap::new();
        let mut tensors = BTreeMap::new();
        for (name, entry) in header {
            if name == "__metadata__" {
                metadata = serde_json::from_value(entry).ok()?;
                continue;
            }
            let info: TensorInfo = serde_json::from_value(entry).ok()?;
            let [from, to] = info.data_offsets.map(|o| usize::try_from(o).unwrap_or(usize::MAX));
            let shape: Vec<usize> = info.shape.iter().map(|&d| d as usize).collect();
            let bytes = data.get(from..to)?.to_vec();
            if shape.iter().try_fold(info.dtype.size() as usize, |a, &d| a.checked_mul(d)) != Some(bytes.len()) {
                return None;
            }
            tensors.insert(name, Tensor { dtype: info.dtype, shape, bytes });
        }
        let kind = metadata.remove("chiffre.kind")?;
        metadata.retain(|k, _| !k.starts_with("chiffre."));
        Some(Sealed { kind, metadata, tensors })
    }

    /// Writes the container with a right digest, and returns that.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> String {
        self.try_write(path).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Writes the container with a right digest, and returns that.
    ///
    /// # Errors
    /// I/O errors, and tensors whose shape is not that of their content.
    pub fn try_write(&self, path: &Path) -> Result<String, ContainerError> {
        self.contents().save(path, |w| self.tensors.iter().try_for_each(|(name, t)| w.tensor(name, &t.bytes)))
    }

    /// The bytes of the container, with a right digest.
    ///
    /// # Errors
    /// Tensors whose shape is not that of their content.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ContainerError> {
        let mut out = vec![];
        self.contents().write(&mut out, "memory", |w| self.tensors.iter().try_for_each(|(name, t)| w.tensor(name, &t.bytes)))?;
        Ok(out)
    }

    /// The digest of the container.
    ///
    /// # Errors
    /// As [`Self::to_bytes`].
    pub fn digest(&self) -> Result<String, ContainerError> {
        self.contents().digest(|w| self.tensors.iter().try_for_each(|(name, t)| w.tensor(name, &t.bytes)))
    }

    fn contents(&self) -> Contents {
        let list: Vec<_> = self.tensors.iter().map(|(n, t)| (n.clone(), t.dtype, t.shape.clone())).collect();
        Contents::new(&self.kind, self.metadata.clone(), &list)
    }

    /// Changes one thing, and says what: a text of the metadata, or a tensor's name, shape, type or
    /// content.
    ///
    /// Constants are named by the hash of their content. A changed one gets its new name in all
    /// texts as well, because otherwise nothing behind that check would see the change.
    pub fn mutate(&mut self, rng: &mut Rng) -> String {
        match (self.metadata.is_empty(), self.tensors.is_empty()) {
            // Nothing is left that could change.
            (true, true) => {
                self.metadata.insert("entry".into(), String::new());
                "metadata entry added".into()
            }
            (false, true) => self.mutate_metadata(rng),
            (false, false) if rng.below(3) > 0 => self.mutate_metadata(rng),
            _ => self.mutate_tensors(rng),
        }
    }

    /// A mutable part of the content, chosen at random: the text of a metadata entry or the bytes
    /// of a tensor. What is put in its place has to have the same length if it is a tensor's.
    pub fn part(&mut self, rng: &mut Rng) -> Option<Part<'_>> {
        let (texts, tensors) = (self.metadata.len(), self.tensors.len());
        if texts + tensors == 0 {
            return None;
        }
        let at = rng.below(texts + tensors);
        match at < texts {
            true => self.metadata.values_mut().nth(at).map(Part::Text),
            false => self.tensors.values_mut().nth(at - texts).map(|t| Part::Bytes(&mut t.bytes)),
        }
    }

    fn mutate_metadata(&mut self, rng: &mut Rng) -> String {
        let keys: Vec<String> = self.metadata.keys().cloned().collect();
        // A program is read from the text `program`; the stages are read by tools only.
        let key = if keys.iter().any(|k| k == "program") && rng.below(2) == 0 { "program".to_string() } else { rng.one_of(&keys).clone() };
        if rng.below(20) == 0 {
            self.metadata.remove(&key);
            return format!("metadata {key} removed");
        }
        let (text, what) = mutate_text(&self.metadata[&key], rng);
        self.metadata.insert(key.clone(), text);
        format!("metadata {key}: {what}")
    }

    fn mutate_tensors(&mut self, rng: &mut Rng) -> String {
        let names: Vec<String> = self.tensors.keys().cloned().collect();
        let name = rng.one_of(&names).clone();
        match rng.below(12) {
            0 => {
                self.tensors.remove(&name);
                return format!("tensor {name} removed");
            }
            1 => {
                let tensor = self.tensors[&name].clone();
                self.tensors.insert(format!("{name}0"), tensor);
                return format!("tensor {name}0 added");
            }
            2 => {
                let other = rng.one_of(&names).clone();
                let (a, b) = (self.tensors[&name].clone(), self.tensors[&other].clone());
                self.tensors.insert(name.clone(), b);
                self.tensors.insert(other.clone(), a);
                return format!("tensors {name} and {other} exchanged");
            }
            _ => {}
        }
        let tensor = self.tensors.get_mut(&name).expect("chosen from the names");
        let what = match rng.below(3) {
            0 => mutate_shape(tensor, rng),
            _ => mutate_bytes(tensor, rng),
        };
        self.rename_constant(&name);
        format!("tensor {name}: {what}")
    }

    /// Gives a constant the name that its content has now, if it is one still.
    fn rename_constant(&mut self, tensor: &str) {
        let old = tensor.split('.').next().unwrap_or_default().to_string();
        if old.len() != 64 {
            return;
        }
        let names: Vec<String> = self.tensors.keys().filter(|n| n.split('.').next() == Some(&old)).cloned().collect();
        let of = |n: &String| {
            let t = &self.tensors[n];
            (t.dtype, t.bytes.clone(), t.shape.clone())
        };
        let hash = match &names.iter().map(of).collect::<Vec<_>>()[..] {
            [(Dtype::F32, bytes, shape)] if bytes.len() == 4 * shape.iter().product::<usize>() => {
                let data = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>();
                Array::new(shape.clone(), data).hash()
            }
            parts => match from_tensors(parts) {
                Ok(table) => hash(&table),
                Err(_) => return,
            },
        };
        let new = hash.to_string();
        for name in names {
            let tensor = self.tensors.remove(&name).expect("there");
            self.tensors.insert(name.replace(&old, &new), tensor);
        }
        self.metadata.values_mut().for_each(|text| *text = text.replace(&old, &new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::container::Reader;

    #[test]
    fn a_container_without_content_changes_too() {
        let mut sealed = Sealed { kind: "test".into(), metadata: BTreeMap::new(), tensors: BTreeMap::new() };
        sealed.mutate(&mut Rng::new(1));
        assert_eq!(sealed.metadata.len(), 1);
    }

    fn sample(path: &Path) -> Sealed {
        let tensor = Tensor { dtype: Dtype::U64, shape: vec![2, 2], bytes: vec![7; 32] };
        let sealed = Sealed {
            kind: "test".into(),
            metadata: BTreeMap::from([("count".into(), "12 of 30".into())]),
            tensors: BTreeMap::from([("a".into(), tensor.clone()), ("b".into(), tensor)]),
        };
        sealed.write(path);
        sealed
    }

    #[test]
    fn a_container_comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.chf");
        let sealed = sample(&path);
        assert_eq!(format!("{:?}", Sealed::read(&path)), format!("{sealed:?}"));
        assert_eq!(sealed.to_bytes().expect("bytes"), std::fs::read(&path).expect("a file"));
        assert_eq!(sealed.digest().expect("a digest"), sealed.write(&path));
    }

    /// The changes get past the digest, or are refused for what is wrong with them.
    #[test]
    fn changes_are_sealed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.chf");
        let (mut rng, mut opened) = (Rng::new(1), 0);
        for _ in 0..300 {
            let mut sealed = sample(&path);
            let what = sealed.mutate(&mut rng);
            sealed.write(&path);
            match Reader::open(&path, "test") {
                Ok(_) => opened += 1,
                Err(e) => assert!(!e.to_string().contains("digest"), "{what}: {e}"),
            }
        }
        assert!(opened > 250, "{opened} of 300 were opened");
    }
}
