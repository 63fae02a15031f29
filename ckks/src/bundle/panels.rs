//! Cutting a linear map into panels: which rows are computed together, and where their weights lie.

use super::LinearTable;
use crate::ring::Galois;
use crate::simd::{PanelRow, PanelShape};
use std::ops::Range;

/// Bytes of expanded weights of one panel at one limb. More rows than fit make several panels, whose results add up.
const WEIGHT_BYTES: usize = 256 << 20;
/// Rows of a panel when that would leave fewer.
const MIN_SLOTS: usize = 16;
/// A row is dense when it feeds more than `outputs / SPARSE` outputs: a sparse weight costs two multiplications and a
/// load of its own, a dense one a single multiplication for every output.
const SPARSE: usize = 3;

/// A linear map cut into panels, for the Q limbs and for the special limbs.
pub(super) struct Plan {
    /// Distinct automorphisms of rotated rows.
    pub galois: Vec<Galois>,
    /// Different weights along a limb: the transform size of patterns, 1 for scalars.
    pub blocks: usize,
    /// Panels of all rows.
    pub q: Vec<Panel>,
    /// Panels of the rotated rows: unrotated inputs come times the special modulus and vanish at its primes.
    pub p: Vec<Panel>,
    /// Inputs that rotated rows read.
    pub hoisted: Vec<bool>,
}

/// Rows that are computed together.
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
struct Row {
    input: u32,
    /// Index into the automorphisms; `None` is the identity.
    galois: Option<usize>,
    /// (output, entries), by output.
    weights: Vec<(usize, Range<usize>)>,
}

impl Plan {
    /// Plans a checked table for degree `2^log_n` and a number of inputs.
    pub fn new(table: &LinearTable, log_n: u32, inputs: usize) -> Self {
        let n = 1usize << log_n;
        let mut galois: Vec<Galois> = Vec::new();
        let mut rows: Vec<Row> = Vec::new();
        for group in table.entries.chunk_by(|a, b| a.row == b.row) {
            let first = rows_before(table, group);
            let mut weights = Vec::new();
            let mut at = first;
            for cell in group.chunk_by(|a, b| a.output == b.output) {
                if cell.iter().any(|e| e.weight != 0.0) {
                    weights.push((cell[0].output as usize, at..at + cell.len()));
                }
                at += cell.len();
            }
            if weights.is_empty() {
                continue;
            }
            let (input, tap) = table.rows[group[0].row as usize];
            let g = Galois::rotation(table.taps[tap as usize], log_n);
            let index = (g != Galois::IDENTITY).then(|| {
                galois.iter().position(|&h| h == g).unwrap_or_else(|| {
                    galois.push(g);
                    galois.len() - 1
                })
            });
            rows.push(Row { input, galois: index, weights });
        }
        rows.sort_by_key(|r| (r.galois.is_none(), r.galois, r.input));
        let mut hoisted = vec![false; inputs];
        for row in rows.iter().filter(|r| r.galois.is_some()) {
            hoisted[row.input as usize] = true;
        }
        let scalar = rows.iter().flat_map(|r| &r.weights).all(|(_, e)| table.entries[e.clone()].iter().all(|e| e.pattern == super::SCALAR));
        let blocks = if scalar { 1 } else { (2 * table.period).max(crate::ring::NttTable::MIN_N) };
        let rotated = rows.iter().take_while(|r| r.galois.is_some()).count();
        let cut = |rows: &[Row]| panels(rows, table.outputs, n, n / blocks);
        let q = cut(&rows);
        let p = if rotated == 0 { Vec::new() } else { cut(&rows[..rotated]) };
        Self { galois, blocks, q, p, hoisted }
    }
}

/// Index of the first entry of `group`, a subslice of the table's entries.
fn rows_before(table: &LinearTable, group: &[super::LinearEntry]) -> usize {
    table.entries.partition_point(|e| e.row < group[0].row)
}

/// Cuts rows, in order, into panels.
fn panels(rows: &[Row], outputs: usize, n: usize, run: usize) -> Vec<Panel> {
    let words = if run < 8 { n } else { n / run };
    let most = (WEIGHT_BYTES / (8 * words * outputs)).clamp(MIN_SLOTS, PanelShape::MAX_SLOTS) & !1;
    rows.chunks(most - 1).map(|rows| Panel::new(rows, outputs, run)).collect()
}

impl Panel {
    fn new(rows: &[Row], outputs: usize, run: usize) -> Self {
        let (dense, sparse): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|r| r.weights.len() * SPARSE > outputs);
        let dense_slots = dense.len().next_multiple_of(2);
        let mut lists: Vec<Vec<u32>> = vec![Vec::new(); outputs];
        let mut sparse_cells: Vec<Vec<Range<usize>>> = vec![Vec::new(); outputs];
        for (i, row) in sparse.iter().enumerate() {
            for (output, entries) in &row.weights {
                lists[*output].push((dense_slots + i) as u32);
                sparse_cells[*output].push(entries.clone());
            }
        }
        let shape = PanelShape::new(dense_slots, dense_slots + sparse.len(), &lists, run);
        let mut cells = vec![0..0; shape.cells()];
        for (slot, row) in dense.iter().enumerate() {
            for (output, entries) in &row.weights {
                cells[shape.dense_cell(slot, *output)] = entries.clone();
            }
        }
        for (output, list) in sparse_cells.into_iter().enumerate() {
            for (cell, entries) in shape.sparse_cells(output).zip(list) {
                cells[cell] = entries;
            }
        }
        let mut taps: Vec<(usize, Vec<PanelRow>)> = Vec::new();
        let mut identity = Vec::new();
        let slots = (0..).zip(&dense).chain((dense_slots..).zip(&sparse));
        let mut placed: Vec<(u32, &Row)> = slots.map(|(slot, row)| (slot as u32, *row)).collect();
        placed.sort_by_key(|(_, r)| (r.galois.is_none(), r.galois, r.input));
        for (slot, row) in placed {
            let place = PanelRow { slot, input: row.input };
            match (row.galois, taps.last_mut()) {
                (None, _) => identity.push(place),
                (Some(g), Some((last, rows))) if *last == g => rows.push(place),
                (Some(g), _) => taps.push((g, vec![place])),
            }
        }
        let padding = (dense.len()..dense_slots).map(|s| s as u32).collect();
        Self { shape, taps, identity, padding, cells }
    }
}
