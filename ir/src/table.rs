//! Tables of diagonals: the content of the packed `linear` op.
//!
//! Output ciphertext o is `Σ_e w_e · mask_e ⊙ rotate(in[row_e], tap_e)` over the entries e of o: a sparse matrix whose
//! rows are (operand, ciphertext, rotation) and whose cells are sums of weight × 0/1 mask. A mask is a periodic slot
//! vector; an entry without a mask is a scalar diagonal.

use crate::consts::{Array, ConstId, Consts};
use crate::error::InterpError;
use num_complex::Complex64;
use rayon::prelude::*;

/// One input ciphertext under one rotation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Row {
    /// Operand of the op.
    pub operand: u32,
    /// Ciphertext in the operand's bundle.
    pub ct: u32,
    /// Index into [`DiagTable::taps`].
    pub tap: u32,
}

/// `weight · mask` at (row, output).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entry {
    /// Index into [`DiagTable::rows`].
    pub row: u32,
    /// Output ciphertext.
    pub output: u32,
    /// Index into [`DiagTable::masks`]; `None` for a scalar.
    pub mask: Option<u32>,
    /// Weight.
    pub weight: f32,
}

/// A linear map between bundles of slot vectors.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DiagTable {
    /// Rotation offsets: slot s of a row reads slot s + tap of its input.
    pub taps: Vec<i64>,
    /// Inputs under rotation.
    pub rows: Vec<Row>,
    /// Number of output ciphertexts.
    pub outputs: usize,
    /// 0/1 vectors, all of one period (a power of two).
    pub masks: Vec<Vec<f32>>,
    /// Cells, sorted by (row, output, mask).
    pub entries: Vec<Entry>,
}

/// The constants that hold a table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TableConsts {
    /// `[rows, 3]`: operand, ciphertext, tap index.
    pub rows: ConstId,
    /// `[entries, 4]`: row, output, mask (or −1), weight.
    pub entries: ConstId,
    /// `[masks, period]`; absent if all entries are scalar.
    pub masks: Option<ConstId>,
}

impl DiagTable {
    /// Period of the masks; 1 if there are none.
    pub fn period(&self) -> usize {
        self.masks.first().map_or(1, Vec::len)
    }
    /// Stores the table in a graph's constants under `name`.
    pub fn store(&self, consts: &mut Consts, name: &str) -> TableConsts {
        let rows = self.rows.iter().flat_map(|r| [r.operand as f32, r.ct as f32, r.tap as f32]).collect();
        let entries =
            self.entries.iter().flat_map(|e| [e.row as f32, e.output as f32, e.mask.map_or(-1.0, |m| m as f32), e.weight]).collect();
        let rows = consts.add(&format!("{name}.rows"), Array::new(vec![self.rows.len(), 3], rows));
        let entries = consts.add(&format!("{name}.entries"), Array::new(vec![self.entries.len(), 4], entries));
        let masks = (!self.masks.is_empty())
            .then(|| consts.add(&format!("{name}.masks"), Array::new(vec![self.masks.len(), self.period()], self.masks.concat())));
        TableConsts { rows, entries, masks }
    }
    /// Reads and checks a table: every index is in range, weights are finite, the period is a power of two.
    pub fn load(consts: &Consts, c: TableConsts, taps: &[i64], outputs: usize, operands: usize) -> Result<DiagTable, InterpError> {
        let bad = |what: &str| InterpError::Unsupported(format!("table @{}: {what}", consts.get(c.entries).name));
        let (rows, entries) = (consts.array(c.rows)?, consts.array(c.entries)?);
        if rows.shape.get(1) != Some(&3) || rows.shape.len() != 2 || entries.shape.get(1) != Some(&4) || entries.shape.len() != 2 {
            return Err(bad("rows must be [n x 3] and entries [n x 4]"));
        }
        let masks: Vec<Vec<f32>> = match c.masks {
            None => vec![],
            Some(m) => {
                let m = consts.array(m)?;
                if m.shape.len() != 2 || !m.shape[1].is_power_of_two() {
                    return Err(bad("masks must be [n x 2^k]"));
                }
                m.data.chunks(m.shape[1]).map(<[f32]>::to_vec).collect()
            }
        };
        let index = |v: f32, n: usize| (v >= 0.0 && v.fract() == 0.0 && (v as usize) < n).then_some(v as u32);
        let rows: Option<Vec<Row>> = rows
            .data
            .chunks(3)
            .map(|r| Some(Row { operand: index(r[0], operands)?, ct: index(r[1], 1 << 24)?, tap: index(r[2], taps.len())? }))
            .collect();
        let rows = rows.ok_or_else(|| bad("a row names an operand, ciphertext or tap that does not exist"))?;
        let cell = |e: &[f32]| {
            let mask = if e[2] == -1.0 { None } else { Some(index(e[2], masks.len())?) };
            e[3].is_finite().then_some(())?;
            Some(Entry { row: index(e[0], rows.len())?, output: index(e[1], outputs)?, mask, weight: e[3] })
        };
        let entries: Option<Vec<Entry>> = entries.data.chunks(4).map(cell).collect();
        let entries = entries.ok_or_else(|| bad("an entry is out of range or not finite"))?;
        Ok(DiagTable { taps: taps.to_vec(), rows, outputs, masks, entries })
    }
    /// Applies the table in the clear. `args[k][ct]` are slot vectors of equal length.
    pub fn apply(&self, args: &[&[Vec<Complex64>]], slots: usize) -> Vec<Vec<Complex64>> {
        let mut by_output: Vec<Vec<Entry>> = vec![vec![]; self.outputs];
        for e in &self.entries {
            by_output[e.output as usize].push(*e);
        }
        by_output
            .into_par_iter()
            .map(|list| {
                let mut acc = vec![Complex64::default(); slots];
                for e in list {
                    let r = self.rows[e.row as usize];
                    let x = &args[r.operand as usize][r.ct as usize];
                    let shift = self.taps[r.tap as usize].rem_euclid(slots as i64) as usize;
                    let w = e.weight as f64;
                    let (tail, head) = x.split_at(shift);
                    let rotated = head.iter().chain(tail);
                    match e.mask {
                        None => acc.iter_mut().zip(rotated).for_each(|(a, v)| *a += w * v),
                        Some(m) => {
                            let mask = &self.masks[m as usize];
                            acc.iter_mut().zip(rotated).zip(mask.iter().cycle()).for_each(|((a, v), &b)| *a += w * b as f64 * v);
                        }
                    }
                }
                acc
            })
            .collect()
    }
}
