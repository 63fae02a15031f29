//! Tables of diagonals: the linear maps between bundles, as compilers make them and kernels read
//! them.
//!
//! Output ciphertext o is `Σ_e w_e · mask_e ⊙ rotate(in[row_e], tap_e)` over the entries e of o: a
//! sparse matrix whose rows are (operand, ciphertext, rotation) and whose cells are sums of weight
//! × 0/1 mask. A mask is a periodic slot vector; an entry without a mask is a scalar diagonal.
//!
//! **A [`DiagTable`] is well formed.** It is made from a [`TableLiteral`] by a check of everything
//! that the table alone decides, whether a pass, a text or a file gives it, and cannot be changed.
//! What depends on the op that uses it (operands, outputs, slots) is checked where it is used, from
//! the table's sizes.

mod check;
mod masks;
mod ty;

pub use check::{MAX_CT, MAX_OPERANDS, MAX_OUTPUTS, MAX_TAPS, TableError};
pub use masks::Masks;
pub use ty::TableType;

use std::ops::Deref;

/// One input ciphertext under one rotation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Row {
    /// Operand of the op.
    pub operand: u32,
    /// Ciphertext in the operand's bundle.
    pub ct: u32,
    /// Index into [`TableLiteral::taps`].
    pub tap: u32,
}

/// `weight · mask` at (row, output).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entry {
    /// Index into [`TableLiteral::rows`].
    pub row: u32,
    /// Output ciphertext.
    pub output: u32,
    /// Index into [`TableLiteral::masks`]; `None` for a scalar.
    pub mask: Option<u32>,
    /// Weight; a single-precision number if the table's [`weights`](TableLiteral::weights) are.
    pub weight: f64,
}

/// Precision in which the weights of a table are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum WeightType {
    /// Single precision.
    #[default]
    F32,
    /// Double precision.
    F64,
}

/// The parts of a table, which nobody has checked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TableLiteral {
    /// Distinct rotation offsets: slot s of a row reads slot s + tap of its input.
    pub taps: Vec<i64>,
    /// Inputs under rotation, in ascending order of (operand, tap, ciphertext), without repetition.
    pub rows: Vec<Row>,
    /// Number of output ciphertexts.
    pub outputs: usize,
    /// 0/1 vectors, all of one period (a power of two).
    pub masks: Masks,
    /// Cells, in ascending order of (row, output, mask), without repetition.
    pub entries: Vec<Entry>,
    /// Precision of the weights.
    pub weights: WeightType,
}

/// A linear map between bundles of slot vectors: a [`TableLiteral`] that is well formed.
#[derive(Clone, PartialEq, Debug)]
pub struct DiagTable {
    literal: TableLiteral,
    /// For each operand, the number of ciphertexts up to the last that a row names.
    reads: Vec<usize>,
    cells: usize,
}

impl Deref for DiagTable {
    type Target = TableLiteral;
    fn deref(&self) -> &TableLiteral {
        &self.literal
    }
}

impl TableLiteral {
    /// Period of the masks; 1 if there are none.
    pub fn period(&self) -> usize {
        if self.masks.is_empty() { 1 } else { self.masks.period() }
    }
}

impl DiagTable {
    /// Checks a table.
    ///
    /// # Errors
    /// The first thing that makes it no table.
    pub fn new(mut literal: TableLiteral) -> Result<DiagTable, TableError> {
        check::check(&literal)?;
        if literal.masks.is_empty() {
            literal.masks = Masks::default();
        }
        let mut reads = vec![];
        for r in &literal.rows {
            let operand = r.operand as usize;
            reads.resize(reads.len().max(operand + 1), 0);
            reads[operand] = reads[operand].max(r.ct as usize + 1);
        }
        let cells = literal.entries.chunk_by(same_cell).count();
        Ok(DiagTable { literal, reads, cells })
    }
    /// The sizes.
    pub fn ty(&self) -> TableType {
        TableType {
            taps: self.taps.len(),
            rows: self.rows.len(),
            outputs: self.outputs,
            entries: self.entries.len(),
            masks: self.masks.len(),
            period: self.period(),
            weights: self.weights,
        }
    }
    /// For each operand that a row names, and those before it, the number of ciphertexts that it
    /// must have.
    pub fn reads(&self) -> &[usize] {
        &self.reads
    }
    /// The entries of each non-zero cell, in the table's order.
    pub fn cells(&self) -> impl Iterator<Item = &[Entry]> {
        self.entries.chunk_by(same_cell)
    }
    /// Number of non-zero cells.
    pub fn cell_count(&self) -> usize {
        self.cells
    }
    /// True if a cell has so many masks that its sum is worth making before it is needed modulo
    /// many primes.
    pub fn is_dense(entries: usize, cells: usize) -> bool {
        entries >= DENSE * cells
    }
    /// The table, if it has the declared sizes.
    ///
    /// # Errors
    /// [`TableError::Sizes`] with both.
    pub fn of_type(self, declared: &TableType) -> Result<DiagTable, TableError> {
        if self.ty() == *declared { Ok(self) } else { Err(TableError::Sizes(format!("they make a {}", self.ty()))) }
    }
    /// The same table with other weights, in double precision.
    ///
    /// # Errors
    /// [`TableError::Weight`] for a weight that is not finite.
    pub fn with_weights(&self, weight: impl Fn(&Entry) -> f64) -> Result<DiagTable, TableError> {
        let mut t = self.clone();
        t.literal.weights = WeightType::F64;
        for e in &mut t.literal.entries {
            e.weight = weight(e);
        }
        check::check_weights(&t.literal)?;
        Ok(t)
    }
}

impl TryFrom<TableLiteral> for DiagTable {
    type Error = TableError;
    fn try_from(literal: TableLiteral) -> Result<DiagTable, TableError> {
        DiagTable::new(literal)
    }
}

fn same_cell(a: &Entry, b: &Entry) -> bool {
    (a.row, a.output) == (b.row, b.output)
}

/// Entries of a cell, on average, from which a table is dense.
const DENSE: usize = 4;
