//! Cutting a linear map into panels: which rows are computed together, and where their weights lie.

use super::BundleError;
use super::classes::{Class, classify};
use super::patterns::{check_table, input_of};
use crate::ring::{Galois, NttTable, Ring};
use crate::simd::{OutputClass, PanelRow, PanelShape};
use chiffre_params::table::{DiagTable, Entry};
use chiffre_params::work::PANEL_WEIGHT_BYTES;
use std::ops::Range;

/// Rows of a panel when that would leave fewer.
const MIN_SLOTS: usize = 16;
/// How a linear map is computed in a ring: its rows cut into panels, for the Q limbs and for the
/// special limbs. It follows from the rows and entries of the table; patterns may be filled in
/// later.
#[derive(Debug)]
pub struct LinearPlan(Plan);

impl LinearPlan {
    /// Plans a table for rings of degree `2^log_n` and a number of inputs, of which operand k has
    /// those from `first[k]` on.
    ///
    /// # Errors
    /// [`BundleError::Table`] if the table reads other inputs or has a longer period than the ring.
    pub fn new(table: &DiagTable, first: &[u32], log_n: u32, inputs: usize) -> Result<Self, BundleError> {
        check_table(table, first, 1 << log_n, inputs)?;
        Ok(Self(Plan::new(table, first, log_n, inputs)))
    }

    /// The plan, if it is one for a table with so many entries, inputs and outputs in a ring of
    /// that degree.
    pub(super) fn of(&self, table: &DiagTable, log_n: u32, inputs: usize) -> Option<&Plan> {
        let Self(plan) = self;
        (plan.log_n == log_n && plan.entries == table.entries.len() && plan.outputs == table.outputs && plan.hoisted.len() == inputs)
            .then_some(plan)
    }
}

/// A linear map cut into panels.
#[derive(Debug)]
pub(super) struct Plan {
    /// Of the ring, and of the table: what [`LinearPlan::of`] compares.
    log_n: u32,
    entries: usize,
    outputs: usize,
    /// Distinct automorphisms of rotated rows.
    pub galois: Vec<Galois>,
    /// Different weights along half of a limb: the period of patterns, or what is large enough for
    /// a transform; 1 for scalars.
    pub blocks: usize,
    /// Panels of all rows.
    pub q: Vec<Panel>,
    /// Panels of the rotated rows: unrotated inputs come times the special modulus and vanish at
    /// its primes.
    pub p: Vec<Panel>,
    /// Inputs that rotated rows read.
    pub hoisted: Vec<bool>,
}

/// Rows that are computed together.
#[derive(Debug)]
pub(super) struct Panel {
    pub shape: PanelShape,
    /// Index into [`Plan::galois`] and rows.
    pub taps: Vec<(usize, Vec<PanelRow>)>,
    pub identity: Vec<PanelRow>,
    pub padding: Vec<u32>,
    /// Entries of each weight cell, empty for a zero weight.
    pub cells: Vec<Range<usize>>,
}

/// A row that feeds at least one output.
struct UsedRow {
    input: u32,
    /// Index into the automorphisms; `None` is the identity.
    galois: Option<usize>,
    /// (output, entries), by output.
    weights: Vec<(usize, Range<usize>)>,
}

impl Plan {
    /// Plans a checked table for degree `2^log_n` and a number of inputs.
    pub fn new(table: &DiagTable, first: &[u32], log_n: u32, inputs: usize) -> Self {
        let n = 1usize << log_n;
        let mut galois: Vec<Galois> = Vec::new();
        let mut rows: Vec<UsedRow> = Vec::new();
        for group in table.entries.chunk_by(|a, b| a.row == b.row) {
            let mut weights = Vec::new();
            let mut at = entries_before(table, group);
            for cell in group.chunk_by(|a, b| a.output == b.output) {
                if cell.iter().any(|e| e.weight != 0.0) {
                    weights.push((cell[0].output as usize, at..at + cell.len()));
                }
                at += cell.len();
            }
            if weights.is_empty() {
                continue;
            }
            let row = &table.rows[group[0].row as usize];
            let g = Galois::rotation(table.taps[row.tap as usize] as isize, log_n);
            let index = (g != Galois::IDENTITY).then(|| {
                galois.iter().position(|&h| h == g).unwrap_or_else(|| {
                    galois.push(g);
                    galois.len() - 1
                })
            });
            rows.push(UsedRow { input: input_of(first, row) as u32, galois: index, weights });
        }
        rows.sort_by_key(|r| (r.galois.is_none(), r.galois, r.input));
        let mut hoisted = vec![false; inputs];
        for row in rows.iter().filter(|r| r.galois.is_some()) {
            hoisted[row.input as usize] = true;
        }
        let scalar = rows.iter().flat_map(|r| &r.weights).all(|(_, e)| table.entries[e.clone()].iter().all(|e| e.mask.is_none()));
        let blocks = if scalar { 1 } else { blocks_of(table.period()) };
        let run = if scalar { n } else { n / (2 * blocks) };
        let rotated = rows.iter().take_while(|r| r.galois.is_some()).count();
        let cut = |rows: &[UsedRow]| panels(rows, table.outputs, blocks, run);
        let q = cut(&rows);
        let p = if rotated == 0 { Vec::new() } else { cut(&rows[..rotated]) };
        Self { log_n, entries: table.entries.len(), outputs: table.outputs, galois, blocks, q, p, hoisted }
    }
}

/// Words of half of a limb for a period.
fn blocks_of(period: usize) -> usize {
    period.max(NttTable::MIN_N)
}

/// Makes the transform tables that weights of some period (at least 1) need, which otherwise the
/// first linear map makes.
pub fn prepare_weights(ring: &Ring, period: usize) {
    ring.prepare_symmetric(blocks_of(period));
}

/// Index of the first entry of `group`, a subslice of the table's entries.
fn entries_before(table: &DiagTable, group: &[Entry]) -> usize {
    table.entries.partition_point(|e| e.row < group[0].row)
}

/// Cuts rows, in order, into as few panels of equal size as the limits allow.
fn panels(rows: &[UsedRow], outputs: usize, words: usize, run: usize) -> Vec<Panel> {
    let uses: usize = rows.iter().map(|r| r.weights.len()).sum();
    let mut count = rows.len().div_ceil(PanelShape::MAX_SLOTS - 1).max(8 * words * uses / PANEL_WEIGHT_BYTES).max(1);
    loop {
        let size = rows.len().div_ceil(count).max(MIN_SLOTS - 1);
        let panels: Vec<Panel> = rows.chunks(size).map(|rows| Panel::new(rows, outputs, run)).collect();
        let fits = |p: &Panel| 8 * words * p.shape.cells() <= PANEL_WEIGHT_BYTES;
        if size < MIN_SLOTS || panels.iter().all(fits) {
            return panels;
        }
        count += 1 + count / 4;
    }
}

impl Panel {
    fn new(rows: &[UsedRow], outputs: usize, run: usize) -> Self {
        let mut uses: Vec<Vec<u32>> = vec![Vec::new(); outputs];
        for (i, row) in (0..).zip(rows) {
            row.weights.iter().for_each(|(output, _)| uses[*output].push(i));
        }
        let classes = classify(&uses, rows.len());
        let slots = order(&classes, rows.len());
        let mut slot_of = vec![0; rows.len()];
        for (slot, row) in (0u32..).zip(&slots) {
            row.iter().for_each(|&row| slot_of[row] = slot);
        }
        let dense = |class: &Class, slot: usize| slots.get(slot).copied().flatten().is_some_and(|row| class.is_dense(row));
        let output_classes: Vec<OutputClass> = classes
            .iter()
            .map(|class| {
                let pairs = (0..slots.len() / 2).filter(|&p| dense(class, 2 * p) || dense(class, 2 * p + 1));
                OutputClass { outputs: class.outputs.clone(), pairs: pairs.map(|p| p as u32).collect() }
            })
            .collect();
        uses.iter_mut().flatten().for_each(|row| *row = slot_of[*row as usize]);
        let shape = PanelShape::new(slots.len(), &output_classes, &uses, run);
        let mut cells = vec![0..0; shape.cells()];
        for (row, &slot) in rows.iter().zip(&slot_of) {
            for (output, entries) in &row.weights {
                cells[shape.cell(*output, slot)] = entries.clone();
            }
        }
        let mut taps: Vec<(usize, Vec<PanelRow>)> = Vec::new();
        let mut identity = Vec::new();
        for (row, &slot) in rows.iter().zip(&slot_of) {
            let place = PanelRow { slot, input: row.input };
            match (row.galois, taps.last_mut()) {
                (None, _) => identity.push(place),
                (Some(g), Some((last, rows))) if *last == g => rows.push(place),
                (Some(g), _) => taps.push((g, vec![place])),
            }
        }
        let padding = (0..).zip(&slots).filter(|(_, row)| row.is_none()).map(|(slot, _)| slot).collect();
        Self { shape, taps, identity, padding, cells }
    }
}

/// The row of each slot: first pairs of rows that are dense for the same classes, then pairs of
/// rows that found no such partner, then rows that are dense nowhere. `None` is a partner of zeros.
fn order(classes: &[Class], rows: usize) -> Vec<Option<usize>> {
    let dense_for = |row: usize| classes.iter().enumerate().fold(0u32, |set, (i, c)| set | u32::from(c.is_dense(row)) << i);
    let mut dense: Vec<(u32, usize)> = (0..rows).map(|row| (dense_for(row), row)).collect();
    dense.sort_by_key(|(set, _)| *set);
    let sparse = dense.partition_point(|(set, _)| *set == 0);
    let mut slots = Vec::with_capacity(rows + 1);
    let mut single = Vec::new();
    for alike in dense[sparse..].chunk_by(|a, b| a.0 == b.0) {
        let (pairs, rest) = alike.split_at(alike.len() & !1);
        slots.extend(pairs.iter().map(|(_, row)| Some(*row)));
        single.extend(rest.iter().map(|(_, row)| Some(*row)));
    }
    slots.extend(single);
    slots.resize(slots.len().next_multiple_of(2), None);
    slots.extend(dense[..sparse].iter().map(|(_, row)| Some(*row)));
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_params::table::{Row, TableLiteral};

    /// Input and output `4 c + 2 py + px` hold every second pixel in each direction: outputs of a
    /// phase read the same rows.
    #[test]
    fn convolutions_between_phases_are_dense_in_four_classes() {
        let taps = [0, 1, -1, 4, -4, 5, -5, 3, -3];
        let steps = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (-1, 1), (1, -1)];
        for (inputs, outputs) in [(8u32, 32usize), (12, 44)] {
            let mut table = TableLiteral { taps: taps.to_vec(), outputs, ..TableLiteral::default() };
            for (tap, (dx, dy)) in (0u32..).zip(steps) {
                for input in 0..inputs {
                    let row = table.rows.len() as u32;
                    table.rows.push(Row { operand: 0, ct: input, tap });
                    for output in 0..outputs as u32 {
                        // distance in pixels
                        let from = |bit: u32, offset: i32| 2 * offset + (input >> bit & 1) as i32 - (output >> bit & 1) as i32;
                        if from(0, dx).abs() <= 1 && from(1, dy).abs() <= 1 {
                            table.entries.push(Entry { row, output, mask: None, weight: 1.0 });
                        }
                    }
                }
            }
            let plan = Plan::new(&DiagTable::new(table).expect("a table"), &[0], 8, inputs as usize);
            let (cells, dense) = (plan.q[0].shape.cells(), 9 * inputs as usize / 4 * outputs);
            assert!((dense..dense + dense / 4).contains(&cells), "{cells} cells for {dense} weights");
        }
    }
}
