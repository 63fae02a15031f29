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
    /// The entries of each non-zero cell, in the table's order.
    pub fn cells(&self) -> impl Iterator<Item = &[Entry]> {
        self.entries.chunk_by(|a, b| (a.row, a.output) == (b.row, b.output))
    }
    /// True if a cell has so many masks that its sum is worth making before it is needed modulo many primes.
    pub fn is_dense(entries: usize, cells: usize) -> bool {
        entries >= DENSE * cells
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
    /// Reads and checks a table: every index is in range, weights are finite, masks are of zeros and ones, the period is a power of two.
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
                if m.data.iter().any(|x| *x != 0.0 && *x != 1.0) {
                    return Err(bad("masks must be of zeros and ones"));
                }
                m.data.chunks(m.shape[1]).map(<[f32]>::to_vec).collect()
            }
        };
        // A whole number survives the way to an integer and back; negative ones and NaN do not.
        let index = |v: f32, n: usize| (v as u32 as f32 == v && (v as u32 as usize) < n).then_some(v as u32);
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
        let mut list = Vec::with_capacity(entries.shape[0]);
        for e in entries.data.chunks_exact(4) {
            list.push(cell(e).ok_or_else(|| bad("an entry is out of range or not finite"))?);
        }
        Ok(DiagTable { taps: taps.to_vec(), rows, outputs, masks, entries: list })
    }
    /// Applies the table in the clear. `args[k][ct]` are slot vectors of equal length, a power of two; ciphertexts that an
    /// operand lacks (units without images) count as zero.
    ///
    /// Every output is computed in blocks that stay in the first-level cache; within a block the rotated input and the
    /// mask are contiguous, and entries are added in the table's order.
    pub fn apply(&self, args: &[&[Vec<Complex64>]], slots: usize) -> Vec<Vec<Complex64>> {
        let mut by_output: Vec<Vec<Entry>> = vec![vec![]; self.outputs];
        for e in &self.entries {
            by_output[e.output as usize].push(*e);
        }
        let block = BLOCK.min(slots);
        let masks: Vec<Vec<f64>> = self.masks.iter().map(|m| widened(m, block)).collect();
        by_output
            .into_par_iter()
            .map(|list| {
                let mut acc = vec![Complex64::default(); slots];
                acc.par_chunks_mut(block).enumerate().for_each(|(i, out)| {
                    let start = i * block;
                    for e in &list {
                        let r = self.rows[e.row as usize];
                        let Some(x) = args[r.operand as usize].get(r.ct as usize) else { continue };
                        let mask = e.mask.map(|m| {
                            let m = &masks[m as usize];
                            &m[start % m.len()..][..out.len()]
                        });
                        // The block reads slots from `from` on, around the end if it must.
                        let from = (start as i64 + self.taps[r.tap as usize]).rem_euclid(slots as i64) as usize;
                        let split = out.len().min(slots - from);
                        let (low, high) = out.split_at_mut(split);
                        accumulate(low, &x[from..from + split], mask.map(|m| &m[..split]), e.weight as f64);
                        accumulate(high, &x[..high.len()], mask.map(|m| &m[split..]), e.weight as f64);
                    }
                });
                acc
            })
            .collect()
    }
}

/// Entries of a cell, on average, from which a table is dense.
const DENSE: usize = 4;
/// Slots of a block: 16 KiB of accumulators.
const BLOCK: usize = 1024;

/// A mask as f64, repeated until a block of slots fits into it.
fn widened(mask: &[f32], block: usize) -> Vec<f64> {
    let len = mask.len().max(block.next_multiple_of(mask.len()));
    mask.iter().cycle().take(len).map(|&b| f64::from(b)).collect()
}

/// `acc += weight · mask ⊙ x`.
fn accumulate(acc: &mut [Complex64], x: &[Complex64], mask: Option<&[f64]>, weight: f64) {
    match mask {
        None => acc.iter_mut().zip(x).for_each(|(a, v)| *a += weight * v),
        Some(m) => acc.iter_mut().zip(x).zip(m).for_each(|((a, v), b)| *a += weight * b * v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        let mut s = seed;
        let mut next = || {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (s >> 33) as f64 / (1u64 << 30) as f64 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// `inputs` × `outputs` ciphertexts under every tap, one mask of the period per tap, every third entry scalar.
    fn table(inputs: usize, outputs: usize, taps: &[i64], period: usize) -> DiagTable {
        let mut t = DiagTable { taps: taps.to_vec(), outputs, ..DiagTable::default() };
        let w = numbers(inputs * outputs * taps.len(), 1);
        for tap in 0..taps.len() as u32 {
            t.masks.push((0..period).map(|s| [0.0, 1.0, 1.0][(s + tap as usize) % 3]).collect());
            for ct in 0..inputs as u32 {
                for output in 0..outputs as u32 {
                    let mask = [None, Some(tap), Some(tap)][(ct + output) as usize % 3];
                    t.entries.push(Entry { row: t.rows.len() as u32, output, mask, weight: w[t.entries.len()] as f32 });
                }
                t.rows.push(Row { operand: 0, ct, tap });
            }
        }
        t
    }

    fn input(cts: usize, slots: usize) -> Vec<Vec<Complex64>> {
        (0..cts).map(|c| numbers(2 * slots, c as u64 + 9).chunks(2).map(|v| Complex64::new(v[0], v[1])).collect()).collect()
    }

    /// The definition, slot by slot.
    fn reference(t: &DiagTable, args: &[&[Vec<Complex64>]], slots: usize) -> Vec<Vec<Complex64>> {
        let mut out = vec![vec![Complex64::default(); slots]; t.outputs];
        for e in &t.entries {
            let r = t.rows[e.row as usize];
            for (s, a) in out[e.output as usize].iter_mut().enumerate() {
                let v = args[r.operand as usize][r.ct as usize][(s as i64 + t.taps[r.tap as usize]).rem_euclid(slots as i64) as usize];
                let b = e.mask.map_or(1.0, |m| f64::from(t.masks[m as usize][s % t.period()]));
                *a += e.weight as f64 * b * v;
            }
        }
        out
    }

    #[test]
    fn apply_follows_the_definition_bit_by_bit() {
        for (log_slots, period) in [(0, 1), (3, 1), (3, 8), (9, 64), (11, 4), (11, 1024), (12, 4096), (13, 2048)] {
            let slots = 1usize << log_slots;
            let s = slots as i64;
            let t = table(3, 2, &[0, 1 % s, -1 % s, s / 2, -(s / 2 - s / 8), 33 % s, s - 1], period);
            let x = input(3, slots);
            assert_eq!(t.apply(&[&x], slots), reference(&t, &[&x], slots), "2^{log_slots} slots, period {period}");
        }
    }
}
