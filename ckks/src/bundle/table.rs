//! The table of a linear map on bundles, and its checks.

use super::BundleError;
use crate::encode::{EncodeError, Encoder};

/// Pattern number of an entry that multiplies all slots by its weight alone.
pub const SCALAR: u32 = u32::MAX;

/// A linear map `out_o = sum over rows k = (input i, tap t) of W[k][o] rot_t(in_i)`, independent of
/// level and scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinearTable {
    /// Slot rotation offsets, `out[j] = in[j + offset]`; 0 is the identity and needs no key.
    pub taps: Vec<isize>,
    /// (input, tap) of each row.
    pub rows: Vec<(u32, u16)>,
    /// Number of output ciphertexts.
    pub outputs: usize,
    /// Period g of all patterns in the slot index, a power of two; 0 when every entry is a scalar.
    pub period: usize,
    /// For each pattern the first `g` coefficients, at scale 1 and unrounded, of the polynomial in
    /// `X^(N/2g)` that encodes it. Patterns are real: the polynomial is symmetric, and these are
    /// all of it.
    pub patterns: Vec<Vec<f64>>,
    /// Entries sorted by (row, output). Entries of the same row and output add up before rounding.
    pub entries: Vec<LinearEntry>,
}

/// One weight of a linear map: `weight` times a pattern or, for [`SCALAR`], times one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearEntry {
    /// Row in [`LinearTable::rows`].
    pub row: u32,
    /// Output ciphertext.
    pub output: u32,
    /// Pattern in [`LinearTable::patterns`], or [`SCALAR`].
    pub pattern: u32,
    /// The weight; it is multiplied by the input's weight scale and the pattern, then rounded.
    pub weight: f64,
}

/// An additive constant of one output: coefficients, at the output scale, of a polynomial in
/// `X^(N / len)`, where `len` is a power of two up to N. Empty: nothing to add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BiasPoly(pub Vec<i64>);

impl LinearTable {
    /// The map `out = Σ_t diagonal_t ⊙ rot_t(in)` of one ciphertext: rotation offsets with real
    /// diagonals, whose lengths are powers of two up to the number of slots, and which are repeated
    /// to fill them.
    ///
    /// # Errors
    /// [`EncodeError::Length`], [`EncodeError::NotFinite`].
    pub fn from_diagonals(encoder: &Encoder, diagonals: &[(isize, Vec<f64>)]) -> Result<Self, EncodeError> {
        let period = diagonals.iter().map(|(_, d)| d.len()).max().unwrap_or(0);
        let mut out = Self { outputs: 1, period, ..Self::default() };
        for ((offset, diagonal), index) in diagonals.iter().zip(0u16..) {
            if !diagonal.len().is_power_of_two() {
                return Err(EncodeError::Length { len: diagonal.len(), slots: encoder.slots() });
            }
            let repeated: Vec<f64> = diagonal.iter().cycle().take(period).copied().collect();
            out.patterns.push(encoder.encode_symmetric(&repeated)?);
            out.taps.push(*offset);
            out.rows.push((0, index));
            out.entries.push(LinearEntry { row: u32::from(index), output: 0, pattern: u32::from(index), weight: 1.0 });
        }
        Ok(out)
    }

    /// Checks all indices, shapes and numbers against each other, a degree and a number of inputs.
    ///
    /// # Errors
    /// [`BundleError::Table`] with the first contradiction found.
    pub fn check(&self, n: usize, inputs: usize) -> Result<(), BundleError> {
        self.check_structure(n, inputs)?;
        self.check_patterns()
    }

    /// Checks the patterns, and that entries name no others.
    pub(super) fn check_patterns(&self) -> Result<(), BundleError> {
        let fail = |message: String| Err(BundleError::Table(message));
        for (i, p) in self.patterns.iter().enumerate() {
            if p.len() != self.period {
                return fail(format!("pattern {i} has {} coefficients, not {}", p.len(), self.period));
            }
            if p.iter().any(|c| !c.is_finite()) {
                return fail(format!("pattern {i} is not finite"));
            }
        }
        match self.entries.iter().position(|e| e.pattern != SCALAR && e.pattern as usize >= self.patterns.len()) {
            Some(i) => fail(format!("entry {i} has pattern {}", self.entries[i].pattern)),
            None => Ok(()),
        }
    }

    /// Checks everything but the patterns.
    pub(super) fn check_structure(&self, n: usize, inputs: usize) -> Result<(), BundleError> {
        let fail = |message: String| Err(BundleError::Table(message));
        if self.outputs == 0 || self.outputs > 1 << 16 {
            return fail(format!("{} outputs", self.outputs));
        }
        if self.period != 0 && !(self.period.is_power_of_two() && 2 * self.period <= n) {
            return fail(format!("a period of {} is not a power of two up to {}", self.period, n / 2));
        }
        for (i, &(input, tap)) in self.rows.iter().enumerate() {
            if input as usize >= inputs || tap as usize >= self.taps.len() {
                return fail(format!("row {i} reads input {input} of {inputs}, tap {tap} of {}", self.taps.len()));
            }
        }
        for (i, e) in self.entries.iter().enumerate() {
            if e.row as usize >= self.rows.len() || e.output as usize >= self.outputs {
                return fail(format!("entry {i} is at row {}, output {}", e.row, e.output));
            }
            if !e.weight.is_finite() {
                return fail(format!("entry {i} has weight {}", e.weight));
            }
        }
        if !self.entries.is_sorted_by_key(|e| (e.row, e.output)) {
            return fail("entries are not sorted by row and output".into());
        }
        Ok(())
    }
}
