//! What nodes and constants of a graph are called by, and the kinds of constants.

use std::fmt;

/// A value: the result of the node with the same index. Printed as `%3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ValueId(pub u32);

impl ValueId {
    /// The position of the defining node.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of a constant in its graph's [`Consts`](crate::consts::Consts); printed as `@name`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConstId(pub u32);

/// Index of a constant that is a table of diagonals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TableId(pub ConstId);

/// Index of a constant that is an array of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntsId(pub ConstId);

/// Kinds of constants: what an op's attribute asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConstKind {
    /// Single-precision numbers.
    F32,
    /// Double-precision numbers.
    F64,
    /// Integers.
    I64,
    /// A table of diagonals.
    Table,
}

impl fmt::Display for ConstKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConstKind::F32 => "an array of f32",
            ConstKind::F64 => "an array of f64",
            ConstKind::I64 => "an array of i64",
            ConstKind::Table => "a table of diagonals",
        })
    }
}
