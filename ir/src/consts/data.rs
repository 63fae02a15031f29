//! What a constant may be: its type, which the text form states, and its values.

use super::ConstKind;
use super::array::Array;
use crate::element::Element;
use crate::hash::Hash;
use crate::table::{self, DiagTable, TableType};
use std::fmt;
use std::sync::Arc;

/// The type of a constant: `f32[4x3]`,
/// `table<taps=9 rows=144 outputs=32 entries=4608 masks=4x1024 weights=f32>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConstType {
    /// An array of a kind other than [`ConstKind::Table`], with its extents, outermost first.
    Array(ConstKind, Vec<usize>),
    /// A table of diagonals, with its sizes.
    Table(TableType),
}

impl ConstType {
    /// The kind.
    pub fn kind(&self) -> ConstKind {
        match self {
            ConstType::Array(kind, _) => *kind,
            ConstType::Table(_) => ConstKind::Table,
        }
    }
    /// Extents of an array; none of anything else.
    pub fn shape(&self) -> &[usize] {
        match self {
            ConstType::Array(_, shape) => shape,
            ConstType::Table(_) => &[],
        }
    }
    /// Number of numbers that a constant of this type holds.
    pub fn len(&self) -> usize {
        match self {
            ConstType::Array(_, shape) => shape.iter().product(),
            ConstType::Table(t) => t.len(),
        }
    }
    /// True if a constant of this type holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for ConstType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind() {
            ConstKind::F32 => f32::NAME,
            ConstKind::F64 => f64::NAME,
            ConstKind::I64 => i64::NAME,
            ConstKind::Table => "",
        };
        match self {
            ConstType::Array(_, shape) => write!(f, "{name}[{}]", shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")),
            ConstType::Table(t) => t.fmt(f),
        }
    }
}

/// The values of a constant; copies share them.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Single-precision numbers.
    F32(Arc<Array<f32>>),
    /// Double-precision numbers.
    F64(Arc<Array<f64>>),
    /// Integers.
    I64(Arc<Array<i64>>),
    /// A table of diagonals, which is checked by being one.
    Table(Arc<DiagTable>),
}

impl Data {
    /// The type.
    pub fn ty(&self) -> ConstType {
        match self {
            Data::F32(a) => ConstType::Array(ConstKind::F32, a.shape.clone()),
            Data::F64(a) => ConstType::Array(ConstKind::F64, a.shape.clone()),
            Data::I64(a) => ConstType::Array(ConstKind::I64, a.shape.clone()),
            Data::Table(t) => ConstType::Table(t.ty()),
        }
    }
    /// Hash of type, shape and values.
    pub fn hash(&self) -> Hash {
        match self {
            Data::F32(a) => a.hash(),
            Data::F64(a) => a.hash(),
            Data::I64(a) => a.hash(),
            Data::Table(t) => table::hash(t),
        }
    }
    /// Single-precision numbers, if it is of these.
    pub fn as_f32(&self) -> Option<&Arc<Array>> {
        if let Data::F32(a) = self { Some(a) } else { None }
    }
    /// Integers, if it is of these.
    pub fn as_i64(&self) -> Option<&Arc<Array<i64>>> {
        if let Data::I64(a) = self { Some(a) } else { None }
    }
    /// The table, if it is one.
    pub fn as_table(&self) -> Option<&Arc<DiagTable>> {
        if let Data::Table(t) = self { Some(t) } else { None }
    }
    /// The first number that is infinite or no number.
    pub fn not_finite(&self) -> Option<f64> {
        match self {
            Data::F32(a) => a.data.iter().find(|x| !x.is_finite()).map(|x| f64::from(*x)),
            Data::F64(a) => a.data.iter().find(|x| !x.is_finite()).copied(),
            Data::I64(_) | Data::Table(_) => None,
        }
    }
}

macro_rules! data_from {
    ($($t:ty => $v:ident),*) => { $(
        impl From<$t> for Data {
            fn from(x: $t) -> Data { Data::$v(Arc::new(x)) }
        }
        impl From<Arc<$t>> for Data {
            fn from(x: Arc<$t>) -> Data { Data::$v(x) }
        }
    )* };
}
data_from!(Array<f32> => F32, Array<f64> => F64, Array<i64> => I64, DiagTable => Table);
