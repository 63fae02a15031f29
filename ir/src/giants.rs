//! Giant steps: a linear map as partial sums, which a second map rotates and adds.
//!
//! Step k of a map to `outputs` ciphertexts has the partial sums from `k · stride` on, where the stride is the next power of two of `outputs`.

use crate::table::{DiagTable, Entry, Row};
use num_complex::Complex64;

/// Ciphertexts between the partial sums of neighbouring steps.
pub fn stride(outputs: usize) -> usize {
    outputs.next_power_of_two()
}

/// Number of partial sums of a map to `outputs` ciphertexts with so many steps; without steps its outputs themselves.
pub fn partial_sums(outputs: usize, steps: Option<usize>) -> usize {
    steps.map_or(outputs, |k| stride(outputs).saturating_mul(k.saturating_sub(1)).saturating_add(outputs))
}

/// The table of the second map.
pub fn table(steps: &[i64], outputs: usize) -> DiagTable {
    let mut t = DiagTable { taps: steps.to_vec(), outputs, ..DiagTable::default() };
    for tap in 0..steps.len() {
        for output in 0..outputs {
            t.entries.push(Entry { row: t.rows.len() as u32, output: output as u32, mask: None, weight: 1.0 });
            t.rows.push(Row { operand: 0, ct: (tap * stride(outputs) + output) as u32, tap: tap as u32 });
        }
    }
    t
}

/// The steps of a table that [`table`] makes; none of any other.
pub fn steps(t: &DiagTable) -> Option<&[i64]> {
    let count = t.taps.len().checked_mul(t.outputs)?;
    let plausible = count > 0 && count == t.rows.len() && count == t.entries.len() && t.masks.is_empty();
    (plausible && *t == table(&t.taps, t.outputs)).then_some(&t.taps)
}

/// True if steps are different rotations of so many slots.
pub fn distinct(steps: &[i64], slots: usize) -> bool {
    let mut seen: Vec<i64> = steps.iter().map(|s| s.rem_euclid(slots as i64)).collect();
    seen.sort_unstable();
    seen.windows(2).all(|w| w[0] != w[1])
}

/// What the second map makes of partial sums.
pub fn add(partials: &[Vec<Complex64>], steps: &[i64], outputs: usize) -> Vec<Vec<Complex64>> {
    let slots = partials.first().map_or(0, Vec::len);
    table(steps, outputs).apply(&[partials], slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_recognised() {
        for (list, outputs) in [(&[0, 8, -8][..], 1), (&[0, 8], 3), (&[4], 2)] {
            let t = table(list, outputs);
            assert_eq!(steps(&t), Some(list));
            let last = t.rows.iter().map(|r| r.ct as usize).max();
            assert_eq!(last, Some(partial_sums(outputs, Some(list.len())) - 1));
            let broken: [fn(&mut DiagTable); 4] =
                [|t| t.entries[0].weight = 2.0, |t| t.rows[0].ct = 9, |t| t.outputs += 1, |t| t.entries.truncate(1)];
            for break_it in &broken[..if t.entries.len() > 1 { 4 } else { 3 }] {
                let mut other = t.clone();
                break_it(&mut other);
                assert_eq!(steps(&other), None);
            }
        }
        assert_eq!(steps(&DiagTable { outputs: 1, ..DiagTable::default() }), None);
        assert_eq!(partial_sums(5, None), 5);
        assert!(distinct(&[0, 16, -8], 32) && !distinct(&[16, 0, -16], 32));
    }

    #[test]
    fn partial_sums_are_rotated_and_added() {
        let ct = |from: usize| -> Vec<Complex64> { (0..4).map(|s| Complex64::from((from * 10 + s) as f64)).collect() };
        let partials: Vec<_> = (0..7).map(ct).collect();
        let out = add(&partials, &[0, 1], 3);
        assert_eq!(out.len(), 3);
        assert_eq!(out[1][3], Complex64::from(13.0 + 50.0));
    }
}
