//! Residues of a panel's weights at one limb.

use super::panels::Panel;
use super::{LinearTable, SCALAR};
use crate::ring::{Modulus, NttTable, Ring};
use crate::simd::{Buffer, Isa, expand_pattern, split_columns, transpose_into};
use rayon::prelude::*;

/// Cells that one task transforms and then spreads over the units: their words in a unit fill a cache line.
const CHUNK: usize = 8;
/// Words between transformed patterns, so that equal blocks do not share cache sets.
const PAD: usize = 24;
/// Fewest words that are worth a task.
const TASK_WORDS: usize = 1 << 12;

/// Expands weights at one modulus.
pub(super) struct Expander<'a> {
    isa: Isa,
    modulus: Modulus,
    table: &'a LinearTable,
    scales: &'a [f64],
    blocks: usize,
    ntt: Option<&'a NttTable>,
}

impl<'a> Expander<'a> {
    /// `index` is the modulus, `blocks` as in [`super::panels::Plan`]; `scales[i]` multiplies all weights of input `i`.
    pub fn new(ring: &'a Ring, isa: Isa, index: usize, table: &'a LinearTable, scales: &'a [f64], blocks: usize) -> Self {
        let ntt = (blocks > 1).then(|| ring.subring_ntt(index, blocks));
        Self { isa, modulus: ring.moduli[index], table, scales, blocks, ntt }
    }

    /// All units of a panel for degree `n`.
    pub fn expand(&self, panel: &Panel, n: usize) -> Buffer {
        let shape = &panel.shape;
        let (lanes, stride) = (shape.lanes(), shape.unit_stride());
        let units = if self.blocks == 1 { 1 } else { n / shape.unit_span() };
        let mut weights = Buffer::unspecified(units * stride);
        let row_stride = self.blocks + PAD;
        split_columns(&mut weights, stride, panel.cells.len() * lanes, CHUNK * lanes)
            .into_par_iter()
            .zip(panel.cells.par_chunks(CHUNK))
            .with_min_len((TASK_WORDS / (CHUNK * self.blocks)).max(1))
            .for_each_init(
                || vec![0; CHUNK * row_stride],
                |rows, (mut columns, cells)| {
                    for (row, entries) in rows.chunks_exact_mut(row_stride).zip(cells) {
                        self.cell(entries.clone(), &mut row[..self.blocks]);
                    }
                    if lanes == 1 && cells.len() == CHUNK && columns.rows().is_multiple_of(8) {
                        transpose_into(self.isa, rows, row_stride, &mut columns);
                        return;
                    }
                    for u in 0..columns.rows() {
                        let unit = columns.row_mut(u);
                        if lanes == 1 {
                            for (i, word) in unit.iter_mut().enumerate() {
                                *word = rows[i * row_stride + u];
                            }
                        } else {
                            for (i, word) in unit.iter_mut().enumerate() {
                                *word = rows[i / 8 * row_stride + (8 * u + i % 8) * self.blocks / n];
                            }
                        }
                    }
                },
            );
        weights
    }

    /// The weight of some entries along the limb: one word for each block.
    fn cell(&self, entries: std::ops::Range<usize>, row: &mut [u64]) {
        let entries = &self.table.entries[entries];
        let factor = |e: &super::LinearEntry| e.weight * self.scales[self.table.rows[e.row as usize].0 as usize];
        let scalar: f64 = entries.iter().filter(|e| e.pattern == SCALAR).map(factor).sum();
        let patterns = entries.iter().filter(|e| e.pattern != SCALAR);
        let terms: Vec<(f64, &[f64])> = patterns.map(|e| (factor(e), &self.table.patterns[e.pattern as usize][..])).collect();
        let (m, Some(ntt)) = (&self.modulus, self.ntt) else {
            row.fill(self.modulus.from_f64(scalar));
            return;
        };
        if terms.is_empty() {
            row.fill(m.from_f64(scalar));
            return;
        }
        let coefficients = 2 * self.table.period;
        expand_pattern(self.isa, m, &terms, &mut row[..coefficients]);
        if scalar != 0.0 {
            row[0] = m.from_f64(terms.iter().fold(scalar, |s, (w, p)| s + w * p[0]));
        }
        if coefficients < row.len() {
            // Periods below eight: the same polynomial in a smaller power of X.
            let step = row.len() / coefficients;
            for j in (0..coefficients).rev() {
                let value = std::mem::take(&mut row[j]);
                row[j * step] = value;
            }
            for (j, v) in row.iter_mut().enumerate() {
                if j % step != 0 {
                    *v = 0;
                }
            }
        }
        ntt.forward(row);
    }
}
