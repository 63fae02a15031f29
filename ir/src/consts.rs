//! Constants of a graph: named, shaped, content-addressed, never printed inline.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// BLAKE3 hash of a constant's shape and content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
impl Hash {
    /// Reads 64 hexadecimal digits.
    pub fn parse(s: &str) -> Option<Hash> {
        if s.len() != 64 || !s.is_ascii() {
            return None;
        }
        let mut out = [0; 32];
        for (i, b) in out.iter_mut().enumerate() {
            *b = u8::from_str_radix(&s[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Hash(out))
    }
}

/// Index of a constant in its graph's [`Consts`]; printed as `@name`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConstId(pub u32);

/// A dense array of f32, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extent of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub data: Vec<f32>,
}

impl Array {
    /// An array; panics if the number of values is not the product of the shape.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Array {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "array of shape {shape:?}");
        Array { shape, data }
    }
    /// All values zero.
    pub fn zeros(shape: Vec<usize>) -> Array {
        let n = shape.iter().product();
        Array { shape, data: vec![0.0; n] }
    }
    /// Hash of shape and values (little-endian bytes).
    pub fn hash(&self) -> Hash {
        let mut h = blake3::Hasher::new();
        for &d in &self.shape {
            h.update(&(d as u64).to_le_bytes());
        }
        h.update(b"f32");
        let mut buf = Vec::with_capacity(4 * self.data.len());
        for v in &self.data {
            buf.extend_from_slice(&v.to_le_bytes());
        }
        h.update(&buf);
        Hash(*h.finalize().as_bytes())
    }
}

/// BLAKE3 digest of some bytes, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// A constant: its data may be absent in a graph that was parsed from text.
#[derive(Clone, Debug)]
pub struct Const {
    /// Name without `@`, unique in the graph.
    pub name: String,
    /// Extent of each dimension.
    pub shape: Vec<usize>,
    /// Content hash.
    pub hash: Hash,
    /// The values, if known.
    pub data: Option<Arc<Array>>,
}

impl PartialEq for Const {
    fn eq(&self, o: &Const) -> bool {
        self.name == o.name && self.shape == o.shape && self.hash == o.hash
    }
}

/// The constants of one graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consts {
    items: Vec<Const>,
}

impl Consts {
    /// Adds an array under `name`; a taken name gets a number appended.
    pub fn add(&mut self, name: &str, array: Array) -> ConstId {
        let hash = array.hash();
        self.push(Const { name: name.into(), shape: array.shape.clone(), hash, data: Some(Arc::new(array)) })
    }
    /// Adds a constant; characters that the text form cannot hold become `_`, a taken name gets a number appended.
    pub fn push(&mut self, mut c: Const) -> ConstId {
        let clean: String = c.name.chars().map(|ch| if ch.is_ascii_alphanumeric() || matches!(ch, '_' | '.') { ch } else { '_' }).collect();
        let clean = if clean.is_empty() { "c".to_string() } else { clean };
        let mut name = clean.clone();
        let mut k = 1;
        while self.items.iter().any(|i| i.name == name) {
            k += 1;
            name = format!("{clean}.{k}");
        }
        c.name = name;
        self.items.push(c);
        ConstId(self.items.len() as u32 - 1)
    }
    /// The constant of an id.
    pub fn get(&self, id: ConstId) -> &Const {
        &self.items[id.0 as usize]
    }
    /// The values of a constant.
    pub fn array(&self, id: ConstId) -> Result<&Array, crate::error::InterpError> {
        let c = self.get(id);
        c.data.as_deref().ok_or_else(|| crate::error::InterpError::MissingConst(c.name.clone()))
    }
    /// Finds a constant by name.
    pub fn find(&self, name: &str) -> Option<ConstId> {
        self.items.iter().position(|c| c.name == name).map(|i| ConstId(i as u32))
    }
    /// All constants with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ConstId, &Const)> {
        self.items.iter().enumerate().map(|(i, c)| (ConstId(i as u32), c))
    }
    /// Number of constants.
    pub fn len(&self) -> usize {
        self.items.len()
    }
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
    /// Fills in the data of constants whose hash is in `store`.
    pub fn resolve(&mut self, store: &HashMap<Hash, Arc<Array>>) {
        for c in &mut self.items {
            if c.data.is_none() {
                c.data = store.get(&c.hash).cloned();
            }
        }
    }
    /// All data by hash, to resolve the constants of a parsed graph.
    pub fn store(&self) -> HashMap<Hash, Arc<Array>> {
        self.items.iter().filter_map(|c| Some((c.hash, c.data.clone()?))).collect()
    }
}
