//! What makes a table well formed.

use super::{Entry, Row, TableLiteral, WeightType};

/// Most rotations of a table.
pub const MAX_TAPS: usize = 1 << 16;
/// Most operands that rows name.
pub const MAX_OPERANDS: usize = 1 << 12;
/// Most ciphertexts of an operand.
pub const MAX_CT: usize = 1 << 24;
/// Most output ciphertexts of a table.
pub const MAX_OUTPUTS: usize = 1 << 16;

/// Parts that make no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// No output, or more than [`MAX_OUTPUTS`].
    #[error("a table of {0} outputs (1 to {MAX_OUTPUTS} are possible)")]
    Outputs(usize),
    /// More rotations than [`MAX_TAPS`].
    #[error("a table of {0} taps (at most {MAX_TAPS} are possible)")]
    Taps(usize),
    /// A rotation occurs twice.
    #[error("the tap {0} occurs twice")]
    EqualTaps(i64),
    /// An index of a row is out of range.
    #[error("row {0} names an operand, ciphertext or tap that does not exist")]
    Row(usize),
    /// A row is not behind the one before it.
    #[error("row {0} is out of order: rows ascend by operand, tap and ciphertext, and none occurs twice")]
    RowOrder(usize),
    /// An index of an entry is out of range.
    #[error("entry {0} names a row, output or mask that does not exist")]
    Entry(usize),
    /// An entry is not behind the one before it.
    #[error("entry {0} is out of order: entries ascend by row, output and mask, and none occurs twice")]
    EntryOrder(usize),
    /// A weight is infinite, no number, or needs more precision than the table has.
    #[error("the weight of entry {0} is not finite or needs more than the table's precision")]
    Weight(usize),
    /// The masks' period is no power of two.
    #[error("masks of {0} slots: a period is a power of two, and at least 1")]
    Period(usize),
    /// Masks that are not of zeros and ones, or not all of one length.
    #[error("masks must be words of zeros and ones, of the same length")]
    Masks,
    /// Parts that do not have the sizes that the type declares.
    #[error("the parts of the table have other sizes than declared: {0}")]
    Sizes(String),
}

/// Checks a table.
pub(super) fn check(t: &TableLiteral) -> Result<(), TableError> {
    if !(1..=MAX_OUTPUTS).contains(&t.outputs) {
        return Err(TableError::Outputs(t.outputs));
    }
    if t.taps.len() > MAX_TAPS {
        return Err(TableError::Taps(t.taps.len()));
    }
    let mut taps = t.taps.clone();
    taps.sort_unstable();
    if let Some(w) = taps.windows(2).find(|w| w[0] == w[1]) {
        return Err(TableError::EqualTaps(w[0]));
    }
    let exists = |r: &Row| (r.operand as usize) < MAX_OPERANDS && (r.ct as usize) < MAX_CT && (r.tap as usize) < t.taps.len();
    if let Some(i) = t.rows.iter().position(|r| !exists(r)) {
        return Err(TableError::Row(i));
    }
    if let Some(i) = out_of_order(&t.rows, |r| (r.operand, r.tap, r.ct)) {
        return Err(TableError::RowOrder(i));
    }
    let exists = |e: &Entry| {
        (e.row as usize) < t.rows.len() && (e.output as usize) < t.outputs && e.mask.is_none_or(|m| (m as usize) < t.masks.len())
    };
    if let Some(i) = t.entries.iter().position(|e| !exists(e)) {
        return Err(TableError::Entry(i));
    }
    if let Some(i) = out_of_order(&t.entries, |e| (e.row, e.output, e.mask)) {
        return Err(TableError::EntryOrder(i));
    }
    check_weights(t)
}

/// Checks the weights against their precision.
pub(super) fn check_weights(t: &TableLiteral) -> Result<(), TableError> {
    let kept = |w: f64| match t.weights {
        WeightType::F32 => w.is_finite() && f64::from(w as f32) == w,
        WeightType::F64 => w.is_finite(),
    };
    match t.entries.iter().position(|e| !kept(e.weight)) {
        Some(i) => Err(TableError::Weight(i)),
        None => Ok(()),
    }
}

/// The first element that does not come behind the one before it.
fn out_of_order<T, K: Ord>(list: &[T], key: impl Fn(&T) -> K) -> Option<usize> {
    list.windows(2).position(|w| key(&w[0]) >= key(&w[1])).map(|i| i + 1)
}
