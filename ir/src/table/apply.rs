//! A table at work, in the clear.

use super::{DiagTable, Entry, Masks};
use num_complex::Complex64;
use rayon::prelude::*;

/// Applies the table in the clear. `args[k][ct]` are slot vectors of equal length, a power of
/// two; ciphertexts that an operand lacks (units without images) count as zero.
///
/// Every output is computed in blocks that stay in the first-level cache; within a block the
/// rotated input and the mask are contiguous, and entries are added in the table's order.
pub fn apply(t: &DiagTable, args: &[&[Vec<Complex64>]], slots: usize) -> Vec<Vec<Complex64>> {
    let mut by_output: Vec<Vec<Entry>> = vec![vec![]; t.outputs];
    for e in &t.entries {
        by_output[e.output as usize].push(*e);
    }
    let block = BLOCK.min(slots);
    let masks: Vec<Vec<f64>> = (0..t.masks.len()).map(|m| widened(&t.masks, m, block)).collect();
    by_output
        .into_par_iter()
        .map(|list| {
            let mut acc = vec![Complex64::default(); slots];
            acc.par_chunks_mut(block).enumerate().for_each(|(i, out)| {
                let start = i * block;
                for e in &list {
                    let r = t.rows[e.row as usize];
                    let Some(x) = args[r.operand as usize].get(r.ct as usize) else { continue };
                    let mask = e.mask.map(|m| {
                        let m = &masks[m as usize];
                        &m[start % m.len()..][..out.len()]
                    });
                    // The block reads slots from `from` on, around the end if it must.
                    let from = (start as i64 + t.taps[r.tap as usize]).rem_euclid(slots as i64) as usize;
                    let split = out.len().min(slots - from);
                    let (low, high) = out.split_at_mut(split);
                    accumulate(low, &x[from..from + split], mask.map(|m| &m[..split]), e.weight);
                    accumulate(high, &x[..high.len()], mask.map(|m| &m[split..]), e.weight);
                }
            });
            acc
        })
        .collect()
}

/// Slots of a block: 16 KiB of accumulators.
const BLOCK: usize = 1024;

/// A mask as numbers, repeated until a block of slots fits into it.
fn widened(masks: &Masks, mask: usize, block: usize) -> Vec<f64> {
    let one: Vec<f64> = masks.values(mask).collect();
    let len = one.len().max(block.next_multiple_of(one.len()));
    one.iter().copied().cycle().take(len).collect()
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
    use super::super::{Row, TableLiteral, WeightType};
    use super::*;

    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        let mut s = seed;
        let mut next = || {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (s >> 33) as f64 / (1u64 << 30) as f64 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// `inputs` × `outputs` ciphertexts under every distinct tap, one mask of the period per tap,
    /// every third entry scalar.
    fn table(inputs: usize, outputs: usize, taps: &[i64], period: usize) -> DiagTable {
        let mut taps = taps.to_vec();
        taps.sort_unstable();
        taps.dedup();
        let mut t = TableLiteral { outputs, masks: Masks::new(period).unwrap(), weights: WeightType::F64, ..TableLiteral::default() };
        let w = numbers(inputs * outputs * taps.len(), 1);
        for tap in 0..taps.len() as u32 {
            t.masks.push((0..period).filter(|s| !(s + tap as usize).is_multiple_of(3)));
            for ct in 0..inputs as u32 {
                for output in 0..outputs as u32 {
                    let mask = [None, Some(tap), Some(tap)][(ct + output) as usize % 3];
                    t.entries.push(Entry { row: t.rows.len() as u32, output, mask, weight: w[t.entries.len()] });
                }
                t.rows.push(Row { operand: 0, ct, tap });
            }
        }
        DiagTable::new(TableLiteral { taps, ..t }).unwrap()
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
                let b = e.mask.map_or(1.0, |m| f64::from(u8::from(t.masks.get(m as usize, s))));
                *a += e.weight * b * v;
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
            assert_eq!(apply(&t, &[&x], slots), reference(&t, &[&x], slots), "2^{log_slots} slots, period {period}");
        }
    }
}
