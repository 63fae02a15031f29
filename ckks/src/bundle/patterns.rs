//! What stands for the masks of a table of diagonals in a linear map, and its checks.

use super::BundleError;
use crate::encode::Encoder;
use chiffre_params::table::{DiagTable, Entry, Masks, Row, TableError, TableLiteral, WeightType};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Encoded slot vectors of a table's period g: of each the first g coefficients, at scale 1 and
/// unrounded, of the polynomial in `X^(N/2g)` that encodes it. Slot vectors are real: the
/// polynomial is symmetric, and these are all of it.
#[derive(Clone, Copy, Debug)]
pub enum Patterns<'a> {
    /// One for each mask.
    Masks(&'a [Vec<f64>]),
    /// One for each cell that has masks, in the table's order: the sum of its masks, times their
    /// weights.
    Cells {
        /// The patterns.
        patterns: &'a [Vec<f64>],
        /// The entries that each of them stands for: [`masked_cells`] of the table.
        entries: &'a [Range<usize>],
    },
}

impl<'a> Patterns<'a> {
    /// All of them.
    pub(super) fn all(self) -> &'a [Vec<f64>] {
        match self {
            Patterns::Masks(patterns) | Patterns::Cells { patterns, .. } => patterns,
        }
    }

    /// Checks that there is a pattern of the table's period for all that needs one, and no other.
    ///
    /// # Errors
    /// [`BundleError::Table`] with the first contradiction.
    pub fn check(self, table: &DiagTable) -> Result<(), BundleError> {
        let fail = |message: String| Err(BundleError::Table(message));
        let right = match self {
            Patterns::Masks(list) => list.len() == table.masks.len(),
            Patterns::Cells { patterns, entries } => patterns.len() == entries.len() && entries == masked_cells(table),
        };
        if !right {
            return fail(format!("{} patterns are not those of the table", self.all().len()));
        }
        for (i, p) in self.all().iter().enumerate() {
            if p.len() != table.period() {
                return fail(format!("pattern {i} has {} coefficients, not {}", p.len(), table.period()));
            }
            if p.iter().any(|c| !c.is_finite()) {
                return fail(format!("pattern {i} is not finite"));
            }
        }
        Ok(())
    }
}

/// The entries with masks of each cell that has any.
pub fn masked_cells(table: &DiagTable) -> Vec<Range<usize>> {
    let mut at = 0;
    let masked = |cell: &[Entry]| {
        // An entry without a mask is the first of its cell.
        let range = at + usize::from(cell[0].mask.is_none())..at + cell.len();
        at += cell.len();
        range
    };
    table.cells().map(masked).filter(|r| !r.is_empty()).collect()
}

/// Number of a row's input, where the ciphertexts of operand k are numbered from `first[k]` on.
pub(super) fn input_of(first: &[u32], row: &Row) -> usize {
    first[row.operand as usize] as usize + row.ct as usize
}

/// Checks that a table can be applied in a ring of degree n to a number of inputs.
pub(super) fn check_table(table: &DiagTable, first: &[u32], n: usize, inputs: usize) -> Result<(), BundleError> {
    let fail = |message: String| Err(BundleError::Table(message));
    for (operand, &reads) in table.reads().iter().enumerate().filter(|(_, reads)| **reads > 0) {
        match first.get(operand) {
            Some(&first) if first as usize + reads <= inputs => {}
            _ => return fail(format!("operand {operand} has {reads} ciphertexts, which {inputs} inputs numbered from {first:?} lack")),
        }
    }
    if 2 * table.period() > n {
        return fail(format!("a period of {} is beyond {}", table.period(), n / 2));
    }
    Ok(())
}

/// A table with its encoded masks, for inputs whose order is known.
#[derive(Clone, Debug)]
pub struct EncodedTable {
    table: Arc<DiagTable>,
    first: Vec<u32>,
    patterns: Vec<Vec<f64>>,
}

impl EncodedTable {
    /// Encodes the masks of a table whose operand k has the inputs from `first[k]` on.
    ///
    /// # Errors
    /// [`BundleError::Table`] for masks that are longer than there are slots.
    pub fn new(encoder: &Encoder, table: Arc<DiagTable>, first: Vec<u32>) -> Result<Self, BundleError> {
        let encode = |mask: usize| encoder.encode_symmetric(&table.masks.values(mask).collect::<Vec<_>>());
        let patterns = (0..table.masks.len()).map(encode).collect::<Result<_, _>>().map_err(|e| BundleError::Table(e.to_string()))?;
        Ok(Self { table, first, patterns })
    }

    /// The map `out = Σ_t diagonal_t ⊙ rot_t(in)` of one ciphertext: rotation offsets with real
    /// diagonals, whose lengths are powers of two up to the number of slots, and which are repeated
    /// to fill them. Diagonals of equal offsets are added. In the table, the mask of an entry says
    /// where its diagonal is not zero.
    ///
    /// # Errors
    /// [`BundleError::Table`] for other lengths and for numbers that are not finite.
    pub fn from_diagonals(encoder: &Encoder, diagonals: &[(isize, Vec<f64>)]) -> Result<Self, BundleError> {
        let period = diagonals.iter().map(|(_, d)| d.len()).max().unwrap_or(1);
        let mut sums: BTreeMap<isize, Vec<f64>> = BTreeMap::new();
        for (offset, diagonal) in diagonals {
            if !diagonal.len().is_power_of_two() {
                return Err(BundleError::Table(format!("a diagonal of {} slots", diagonal.len())));
            }
            let sum = sums.entry(*offset).or_insert_with(|| vec![0.0; period]);
            sum.iter_mut().zip(diagonal.iter().cycle()).for_each(|(s, d)| *s += d);
        }
        let make = || -> Result<DiagTable, TableError> {
            let mut masks = Masks::new(period)?;
            sums.values().for_each(|d| masks.push((0..period).filter(|&s| d[s] != 0.0)));
            let count = sums.len() as u32;
            DiagTable::new(TableLiteral {
                taps: sums.keys().map(|&r| r as i64).collect(),
                rows: (0..count).map(|tap| Row { operand: 0, ct: 0, tap }).collect(),
                outputs: 1,
                masks,
                entries: (0..count).map(|row| Entry { row, output: 0, mask: Some(row), weight: 1.0 }).collect(),
                weights: WeightType::F64,
            })
        };
        let table = make().map_err(|e| BundleError::Table(e.to_string()))?;
        let patterns = sums.values().map(|d| encoder.encode_symmetric(d)).collect::<Result<_, _>>();
        let patterns = patterns.map_err(|e| BundleError::Table(e.to_string()))?;
        Ok(Self { table: Arc::new(table), first: vec![0], patterns })
    }

    /// The table.
    pub fn table(&self) -> &Arc<DiagTable> {
        &self.table
    }

    /// The number of the first input of each operand.
    pub fn first(&self) -> &[u32] {
        &self.first
    }

    /// What stands for its masks.
    pub fn patterns(&self) -> Patterns<'_> {
        Patterns::Masks(&self.patterns)
    }
}

/// An additive constant of one output: coefficients, at the output scale, of a polynomial in
/// `X^(N / len)`, where `len` is a power of two up to N. Empty: nothing to add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BiasPoly(pub Vec<i64>);
