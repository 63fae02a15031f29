//! Residues of a panel's weights at one limb.

use super::panels::{Panel, Plan};
use super::patterns::input_of;
use super::{LinearOp, Patterns};
use crate::ring::{Modulus, NttTable, Ring, SymmetricTable};
use crate::simd::{Buffer, Isa, expand_pattern, interleave_into, split_columns, transpose_into};
use rayon::prelude::*;

/// Cells that one task transforms and then spreads over the stripes: their words in a stripe fill a
/// cache line.
const CHUNK: usize = 8;
/// Words between transformed patterns, so that equal blocks do not share cache sets.
const PAD: usize = 24;
/// Fewest words that are worth a task.
const TASK_WORDS: usize = 1 << 12;

/// Expands weights at one modulus.
pub(super) struct Expander<'a> {
    isa: Isa,
    modulus: Modulus,
    op: &'a LinearOp<'a>,
    plan: &'a Plan,
    /// Largest coefficient of each pattern.
    largest: &'a [f64],
    ntt: Option<(&'a NttTable, &'a SymmetricTable)>,
}

impl<'a> Expander<'a> {
    /// `index` is the modulus; `op.input_scales[i]` multiplies all weights of input `i`; `largest`
    /// are the largest coefficients of patterns.
    pub fn new(ring: &'a Ring, isa: Isa, index: usize, op: &'a LinearOp<'a>, plan: &'a Plan, largest: &'a [f64]) -> Self {
        let ntt = (plan.blocks > 1).then(|| (ring.subring_ntt(index, plan.blocks), ring.symmetric(index, plan.blocks)));
        Self { isa, modulus: ring.moduli[index], op, plan, largest, ntt }
    }

    /// All stripes of a panel for degree `n`.
    pub fn expand(&self, panel: &Panel, n: usize) -> Buffer {
        let shape = &panel.shape;
        let (lanes, stride) = (shape.lanes(), shape.stripe_stride());
        let blocks = self.plan.blocks;
        let mut weights = Buffer::unspecified(shape.stripes(n) * stride);
        let row_stride = blocks + PAD;
        split_columns(&mut weights, stride, panel.cells.len() * lanes, CHUNK * lanes)
            .into_par_iter()
            .zip(panel.cells.par_chunks(CHUNK))
            .with_min_len((TASK_WORDS / (CHUNK * blocks)).max(1))
            .for_each_init(
                || (Buffer::unspecified(CHUNK * row_stride), Buffer::unspecified(blocks + 1)),
                |(rows, coefficients), (mut columns, cells)| {
                    for (row, entries) in rows.chunks_exact_mut(row_stride).zip(cells) {
                        self.cell(entries.clone(), coefficients, &mut row[..blocks]);
                    }
                    if lanes == 1 && cells.len() == CHUNK && columns.rows().is_multiple_of(8) {
                        transpose_into(self.isa, rows, row_stride, &mut columns);
                        return;
                    }
                    if lanes > 1 {
                        interleave_into(self.isa, rows, row_stride, lanes, &mut columns);
                        return;
                    }
                    for u in 0..columns.rows() {
                        for (i, word) in columns.row_mut(u).iter_mut().enumerate() {
                            *word = rows[i * row_stride + u];
                        }
                    }
                },
            );
        weights
    }

    /// The weight of some entries along half of the limb: one word for each block. `coefficients`
    /// is scratch of one word more.
    fn cell(&self, entries: std::ops::Range<usize>, coefficients: &mut [u64], row: &mut [u64]) {
        let LinearOp { table, first, patterns, input_scales, .. } = *self.op;
        let cell = &table.entries[entries.clone()];
        // All entries of a cell have one row.
        let scale = cell.first().map_or(0.0, |e| input_scales[input_of(first, &table.rows[e.row as usize])]);
        let scalar: f64 = cell.iter().filter(|e| e.mask.is_none()).map(|e| e.weight * scale).sum();
        let terms: Vec<(f64, &[f64], f64)> = match patterns {
            Patterns::Masks(patterns) => {
                let masked = cell.iter().filter_map(|e| Some((e.weight * scale, e.mask? as usize)));
                masked.map(|(weight, i)| (weight, &patterns[i][..], self.largest[i])).collect()
            }
            Patterns::Cells { patterns, entries: cells } => {
                let found = cells.partition_point(|c| c.end < entries.end);
                let own = cells.get(found).filter(|c| c.end == entries.end && !cell.is_empty());
                own.map(|_| (scale, &patterns[found][..], self.largest[found])).into_iter().collect()
            }
        };
        let (m, Some((ntt, symmetric))) = (&self.modulus, self.ntt) else {
            row.fill(self.modulus.from_f64(scalar));
            return;
        };
        if terms.is_empty() {
            row.fill(m.from_f64(scalar));
            return;
        }
        let period = table.period();
        expand_pattern(self.isa, m, &terms, &mut coefficients[..period]);
        if scalar != 0.0 {
            coefficients[0] = m.from_f64(terms.iter().fold(scalar, |s, (w, p, _)| s + w * p[0]));
        }
        coefficients[period..].fill(0);
        // Short periods: the same polynomial in a smaller power of X.
        let step = row.len() / period;
        for j in (1..period).rev().filter(|_| step > 1) {
            coefficients.swap(j, j * step);
        }
        symmetric.forward(self.isa, ntt, coefficients, row);
    }
}
