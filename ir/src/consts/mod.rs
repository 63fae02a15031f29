//! Constants of a graph: named, typed, content-addressed, and in the text form large ones stand for
//! themselves by their hash.
//!
//! * **A constant's hash covers its type, its shape and its content**, so that equal hashes mean
//!   equal constants wherever they come from.
//! * **Values are shared, never copied**: graphs of all levels and the files they come from hold
//!   the same memory.

mod array;
mod data;
pub(crate) mod tensors;

pub use array::Array;
pub use data::{ConstType, Data};

pub use crate::element::Element;
use crate::error::InterpError;
pub use crate::hash::{Hash, digest};
pub use crate::ids::{ConstId, ConstKind, IntsId, TableId};
use crate::table::DiagTable;
use std::collections::HashMap;
use std::sync::Arc;

/// Values of constants by hash, from which those of a parsed graph are filled in.
pub type Store = HashMap<Hash, Data>;

/// A constant: its values may be absent in a graph that was parsed from text.
#[derive(Clone, Debug)]
pub struct Const {
    /// Name without `@`, unique in the graph.
    pub name: String,
    /// Its type.
    pub ty: ConstType,
    /// Hash of type, shape and content.
    pub hash: Hash,
    /// The values, if known.
    pub data: Option<Data>,
}

impl Const {
    /// A constant with values.
    pub fn new(name: &str, data: impl Into<Data>) -> Const {
        let data = data.into();
        Const { name: name.into(), ty: data.ty(), hash: data.hash(), data: Some(data) }
    }
    /// Extents of an array; none of a table.
    pub fn shape(&self) -> &[usize] {
        self.ty.shape()
    }
    /// The single-precision numbers, if it is of these and they are known.
    pub fn array(&self) -> Option<&Arc<Array>> {
        self.data.as_ref().and_then(Data::as_f32)
    }
}

impl PartialEq for Const {
    fn eq(&self, o: &Const) -> bool {
        self.name == o.name && self.ty == o.ty && self.hash == o.hash
    }
}

/// The constants of one graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consts {
    items: Vec<Const>,
    /// Where each name is.
    names: HashMap<String, u32>,
}

impl Consts {
    /// Adds an array of single-precision numbers under `name`; a taken name gets a number appended.
    pub fn add(&mut self, name: &str, array: Array) -> ConstId {
        self.push(Const::new(name, array))
    }
    /// Adds values of any kind under `name`; a taken name gets a number appended.
    pub fn add_data(&mut self, name: &str, data: impl Into<Data>) -> ConstId {
        self.push(Const::new(name, data))
    }
    /// Adds an array of integers under `name`; a taken name gets a number appended.
    pub fn add_ints(&mut self, name: &str, array: Array<i64>) -> IntsId {
        IntsId(self.push(Const::new(name, array)))
    }
    /// Adds a table under `name`; a taken name gets a number appended.
    pub fn add_table(&mut self, name: &str, table: impl Into<Arc<DiagTable>>) -> TableId {
        TableId(self.push(Const::new(name, table.into())))
    }
    /// Adds a constant; characters that the text form cannot hold become `_`, a taken name gets a
    /// number appended.
    pub fn push(&mut self, mut c: Const) -> ConstId {
        let clean: String = c.name.chars().map(|ch| if ch.is_ascii_alphanumeric() || matches!(ch, '_' | '.') { ch } else { '_' }).collect();
        let clean = if clean.is_empty() { "c".to_string() } else { clean };
        let mut name = clean.clone();
        let mut k = 1;
        while self.names.contains_key(&name) {
            k += 1;
            name = format!("{clean}.{k}");
        }
        c.name = name.clone();
        let id = self.items.len() as u32;
        self.items.push(c);
        self.names.insert(name, id);
        ConstId(id)
    }
    /// The constant of an id.
    pub fn get(&self, id: ConstId) -> &Const {
        &self.items[id.0 as usize]
    }
    /// The single-precision numbers of a constant.
    ///
    /// # Errors
    /// A constant without values or of another kind.
    pub fn array(&self, id: ConstId) -> Result<&Array, InterpError> {
        self.of(id, ConstKind::F32, Data::as_f32).map(Arc::as_ref)
    }
    /// A table of diagonals.
    ///
    /// # Errors
    /// A constant without values or of another kind.
    pub fn table(&self, id: TableId) -> Result<&Arc<DiagTable>, InterpError> {
        self.of(id.0, ConstKind::Table, Data::as_table)
    }
    /// The integers of a constant.
    ///
    /// # Errors
    /// A constant without values or of another kind.
    pub fn ints(&self, id: IntsId) -> Result<&Array<i64>, InterpError> {
        self.of(id.0, ConstKind::I64, Data::as_i64).map(Arc::as_ref)
    }
    fn of<'a, T>(&'a self, id: ConstId, want: ConstKind, pick: impl Fn(&'a Data) -> Option<&'a T>) -> Result<&'a T, InterpError> {
        let c = self.get(id);
        match &c.data {
            None => Err(InterpError::MissingConst(c.name.clone())),
            Some(d) => pick(d).ok_or_else(|| InterpError::ConstKind { name: c.name.clone(), want, got: c.ty.kind() }),
        }
    }
    /// Finds a constant by name.
    pub fn find(&self, name: &str) -> Option<ConstId> {
        self.names.get(name).map(|&i| ConstId(i))
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
    /// Fills in the values of constants whose hash is in `store`.
    pub fn resolve(&mut self, store: &Store) {
        for c in &mut self.items {
            if c.data.is_none() {
                c.data = store.get(&c.hash).cloned();
            }
        }
    }
    /// All values by hash, to resolve the constants of a parsed graph.
    pub fn store(&self) -> Store {
        self.items.iter().filter_map(|c| Some((c.hash, c.data.clone()?))).collect()
    }
}
