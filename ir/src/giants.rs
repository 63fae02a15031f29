//! Giant steps: a linear map as partial sums, which a second map rotates and adds.
//!
//! Step k of a map to `outputs` ciphertexts has the partial sums from `k · stride` on, where the
//! stride is the next power of two of `outputs`.

use crate::table::{DiagTable, Entry, Row, TableError, TableLiteral};

/// Ciphertexts between the partial sums of neighbouring steps.
pub fn stride(outputs: usize) -> usize {
    outputs.next_power_of_two()
}

/// Number of partial sums of a map to `outputs` ciphertexts with so many steps; without steps its
/// outputs themselves.
pub fn partial_sums(outputs: usize, steps: Option<usize>) -> usize {
    steps.map_or(outputs, |k| stride(outputs).saturating_mul(k.saturating_sub(1)).saturating_add(outputs))
}

/// The table of the second map.
///
/// # Errors
/// No or too many outputs, too many steps, a step that occurs twice.
pub fn table(steps: &[i64], outputs: usize) -> Result<DiagTable, TableError> {
    let mut t = TableLiteral { taps: steps.to_vec(), outputs, ..TableLiteral::default() };
    for tap in 0..steps.len() {
        for output in 0..outputs {
            t.entries.push(Entry { row: t.rows.len() as u32, output: output as u32, mask: None, weight: 1.0 });
            t.rows.push(Row { operand: 0, ct: (tap * stride(outputs) + output) as u32, tap: tap as u32 });
        }
    }
    DiagTable::new(t)
}

/// The steps of a table that [`table`] makes; none of any other.
pub fn steps(t: &DiagTable) -> Option<&[i64]> {
    let count = t.taps.len().checked_mul(t.outputs)?;
    let plausible = count > 0 && count == t.rows.len() && count == t.entries.len() && t.masks.is_empty();
    let sum = || {
        t.rows.iter().zip(&t.entries).enumerate().all(|(i, (r, e))| {
            let (tap, output) = (i / t.outputs, i % t.outputs);
            *r == Row { operand: 0, ct: (tap * stride(t.outputs) + output) as u32, tap: tap as u32 }
                && *e == Entry { row: i as u32, output: output as u32, mask: None, weight: 1.0 }
        })
    };
    (plausible && sum()).then_some(&t.taps)
}

/// True if steps are different rotations of so many slots.
pub fn distinct(steps: &[i64], slots: usize) -> bool {
    let mut seen: Vec<i64> = steps.iter().map(|s| s.rem_euclid(slots as i64)).collect();
    seen.sort_unstable();
    seen.windows(2).all(|w| w[0] != w[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::apply;
    use num_complex::Complex64;

    #[test]
    fn steps_are_recognised() {
        for (list, outputs) in [(&[0, 8, -8][..], 1), (&[0, 8], 3), (&[4], 2)] {
            let t = table(list, outputs).unwrap();
            assert_eq!(steps(&t), Some(list));
            assert_eq!(t.reads(), [partial_sums(outputs, Some(list.len()))]);
            let broken: [fn(&mut TableLiteral); 4] = [
                |t| t.entries[0].weight = 2.0,
                |t| t.rows.iter_mut().for_each(|r| r.ct += 9),
                |t| t.outputs += 1,
                |t| t.entries.truncate(1),
            ];
            for break_it in &broken[..if t.entries.len() > 1 { 4 } else { 3 }] {
                let mut other = TableLiteral::clone(&t);
                break_it(&mut other);
                assert_eq!(steps(&DiagTable::new(other).unwrap()), None);
            }
        }
        assert_eq!(steps(&DiagTable::new(TableLiteral { outputs: 1, ..TableLiteral::default() }).unwrap()), None);
        assert_eq!(partial_sums(5, None), 5);
        assert!(distinct(&[0, 16, -8], 32) && !distinct(&[16, 0, -16], 32));
    }

    #[test]
    fn partial_sums_are_rotated_and_added() {
        let ct = |from: usize| -> Vec<Complex64> { (0..4).map(|s| Complex64::from((from * 10 + s) as f64)).collect() };
        let partials: Vec<_> = (0..7).map(ct).collect();
        let out = apply(&table(&[0, 1], 3).unwrap(), &[&partials], 4);
        assert_eq!(out.len(), 3);
        assert_eq!(out[1][3], Complex64::from(13.0 + 50.0));
    }
}
