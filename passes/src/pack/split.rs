//! Baby steps and giant steps: a linear map under many rotations as two maps under few.
//!
//! `Σ_r d_r ⊙ rot_r(x) = Σ_g rot_g(Σ_b rot_-g(d_(g+b)) ⊙ rot_b(x))` (Halevi and Shoup, Algorithms
//! in HElib, CRYPTO 2014, section 6.3). The inner sums, the **partials**, are the outputs of one
//! linear map, whose rotations are the baby steps b; the outer sum is a second one with weights of
//! one, which needs no level. Rotations are cut at a power of two, the *modulus*: b is the rotation
//! modulo it, around zero, and g the rest.

use chiffre_backend::cost::{GiantShape, LinearShape};
use chiffre_ir::giants;
use chiffre_ir::layout::{Dim, Layout, bit};
use chiffre_ir::table::{DiagTable, Entry, Masks, Row, TableError, TableLiteral};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An input of a map under a rotation: operand, ciphertext, rotation.
pub(super) type Turn = (usize, usize, i64);

/// A rotation as baby step and giant step; the giant step is taken modulo the operand's copy,
/// around zero.
fn cut(rotation: i64, modulus: i64, copy: i64) -> (i64, i64) {
    let baby = around_zero(rotation, modulus);
    (baby, around_zero(rotation - baby, copy))
}

/// The remainder of `r` modulo m in (−m/2, m/2].
fn around_zero(r: i64, m: i64) -> i64 {
    let r = r.rem_euclid(m);
    if r > m / 2 { r - m } else { r }
}

/// Shape of both maps as one op, without limbs, and their rotations.
pub(super) struct Shapes {
    pub shape: LinearShape,
    pub babies: Vec<i64>,
    pub giants: Vec<i64>,
}

/// Shapes for a map of shape `flat` that reads `turns`, in ascending order, from operands with
/// copies of the given numbers of slots.
pub(super) fn shapes(flat: &LinearShape, turns: &[Turn], copies: &[usize], modulus: i64) -> Shapes {
    // Marks by the step itself: maps have up to millions of turns, which take long to sort for
    // every modulus. Of a baby step the mark is the number of the last input that it turned.
    let widest = copies.iter().copied().max().unwrap_or(1) as i64;
    let (mut babies, mut giants) = (vec![0; modulus as usize], vec![false; 2 * widest as usize + 1]);
    let (mut rows, mut rotated) = (0, 0);
    for (input, turns) in turns.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).enumerate() {
        let before = rows;
        for &(operand, _, rotation) in turns {
            let (b, g) = cut(rotation, modulus, copies[operand] as i64);
            giants[(g + widest) as usize] = true;
            let last = std::mem::replace(&mut babies[b.rem_euclid(modulus) as usize], input + 1);
            rows += usize::from(b != 0 && last != input + 1);
        }
        rotated += usize::from(rows > before);
    }
    let mut babies: Vec<i64> = (0..modulus).filter(|b| babies[*b as usize] > 0).map(|b| around_zero(b, modulus)).collect();
    babies.sort_unstable();
    let giants: Vec<i64> = (-widest..=widest).filter(|g| giants[(g + widest) as usize]).collect();
    let shape = LinearShape {
        rotated,
        taps: babies.iter().filter(|b| **b != 0).count(),
        rows,
        outputs: giants::partial_sums(flat.outputs, Some(giants.len())),
        giants: Some(GiantShape { taps: giants.iter().filter(|g| **g != 0).count(), outputs: flat.outputs, alpha: 0 }),
        ..*flat
    };
    Shapes { shape, babies, giants }
}

/// Moduli that cut some rotations into more than one baby step and more than one giant step.
pub(super) fn moduli(turns: &[Turn]) -> Vec<i64> {
    let furthest = turns.iter().map(|t| t.2.abs()).max().unwrap_or(0);
    (1..40).map(|i| 1i64 << i).take_while(|m| *m <= furthest).collect()
}

/// The layout of the partials: that of the sum, with the giant step in channel bits above all
/// others of the ciphertext index.
pub(super) fn partials_layout(sum: &Layout, giants: usize) -> Layout {
    let channel_bits = sum.slots.iter().flatten().chain(&sum.cts).filter(|b| b.dim == Dim::C).count();
    let (inner, batch): (Vec<_>, Vec<_>) = sum.cts.iter().copied().partition(|b| b.dim != Dim::B);
    let steps = giants.next_power_of_two().trailing_zeros() as usize;
    let cts = inner.into_iter().chain((0..steps).map(|i| bit(Dim::C, channel_bits + i))).chain(batch).collect();
    let [c, h, w] = sum.shape;
    Layout { cts, shape: [((giants - 1) << channel_bits) + c, h, w], dirty: true, ..sum.clone() }
}

/// The partials' table and the sum's.
///
/// # Errors
/// More partial sums than a table has outputs.
pub(super) fn tables(flat: &DiagTable, copies: &[usize], modulus: i64) -> Result<[DiagTable; 2], TableError> {
    let period = flat.period();
    let cuts: Vec<(i64, i64)> =
        flat.rows.iter().map(|r| cut(flat.taps[r.tap as usize], modulus, copies[r.operand as usize] as i64)).collect();
    let numbers = |steps: BTreeSet<i64>| -> BTreeMap<i64, u32> { steps.into_iter().zip(0..).collect() };
    let babies = numbers(cuts.iter().map(|c| c.0).collect());
    let steps = numbers(cuts.iter().map(|c| c.1).collect());
    let turned: Vec<Row> = flat.rows.iter().zip(&cuts).map(|(r, c)| Row { tap: babies[&c.0], ..*r }).collect();
    let key = |r: &Row| (r.operand, r.tap, r.ct);
    let mut rows = turned.clone();
    rows.sort_by_key(key);
    rows.dedup();
    let stride = giants::stride(flat.outputs);
    // Slots of each mask, in ascending order.
    let mut masks: Vec<Vec<usize>> = vec![];
    let mut known: HashMap<(u32, usize), u32> = HashMap::new();
    let mut moved = |mask: u32, giant: i64| {
        // out[s] = partial[s + g], so that the partial's mask is g slots further on.
        let by = giant.rem_euclid(period as i64) as usize;
        *known.entry((mask, by)).or_insert_with(|| {
            let mut m: Vec<usize> = flat.masks.ones(mask as usize).map(|s| (s + by) % period).collect();
            m.sort_unstable();
            masks.push(m);
            masks.len() as u32 - 1
        })
    };
    let mut entries: Vec<Entry> = flat
        .entries
        .iter()
        .map(|e| {
            let giant = cuts[e.row as usize].1;
            Entry {
                row: rows.binary_search_by_key(&key(&turned[e.row as usize]), key).unwrap_or(0) as u32,
                output: steps[&giant] * stride as u32 + e.output,
                mask: e.mask.map(|m| moved(m, giant)),
                weight: e.weight,
            }
        })
        .collect();
    let masks = merge_equal(&masks, &mut entries);
    entries.sort_by_key(|e| (e.row, e.output, e.mask));
    // Rotations that differ by whole copies are the same.
    entries.dedup_by(|next, sum| {
        let same = (next.row, next.output, next.mask) == (sum.row, sum.output, sum.mask);
        if same {
            sum.weight = f64::from((sum.weight + next.weight) as f32);
        }
        same
    });
    let outputs = giants::partial_sums(flat.outputs, Some(steps.len()));
    let masks = Masks::of_slots(period, masks.into_iter().map(Vec::as_slice))?;
    let taps = babies.keys().copied().collect();
    let partials = DiagTable::new(TableLiteral { taps, rows, outputs, masks, entries, ..TableLiteral::default() })?;
    let sum = giants::table(&steps.keys().copied().collect::<Vec<_>>(), flat.outputs)?;
    Ok([partials, sum])
}

/// Masks in order and without repetition; entries name the new ones.
fn merge_equal<'m>(masks: &'m [Vec<usize>], entries: &mut [Entry]) -> Vec<&'m Vec<usize>> {
    let distinct: BTreeMap<&Vec<usize>, u32> = masks.iter().collect::<BTreeSet<_>>().into_iter().zip(0..).collect();
    for e in entries.iter_mut() {
        e.mask = e.mask.map(|m| distinct[&masks[m as usize]]);
    }
    distinct.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::table::apply;
    use num_complex::Complex64;
    use proptest::prelude::*;

    const SLOTS: usize = 64;

    /// A table on two operands of two ciphertexts each, with masks of period 16 and scalars.
    fn table(numbers: &[(usize, usize, usize, i8)]) -> DiagTable {
        let taps: Vec<i64> = vec![-17, -5, -1, 0, 1, 3, 8, 19, 24];
        let of = |operand: u32| (0..taps.len() as u32).flat_map(move |tap| (0..2).map(move |ct| Row { operand, ct, tap }));
        let rows: Vec<Row> = (0..2).flat_map(of).collect();
        let masks = Masks::of_slots(16, [&[0, 3, 6, 9, 12, 15][..], &[0, 1, 2, 3, 4]]).unwrap();
        let entry = |&(row, output, mask, weight): &(usize, usize, usize, i8)| Entry {
            row: (row % rows.len()) as u32,
            output: (output % 3) as u32,
            mask: [None, Some(0), Some(1)][mask % 3],
            weight: f64::from(weight) / 8.0,
        };
        let mut entries: Vec<Entry> = numbers.iter().map(entry).collect();
        entries.sort_by_key(|e| (e.row, e.output, e.mask));
        entries.dedup_by_key(|e| (e.row, e.output, e.mask));
        DiagTable::new(TableLiteral { taps, rows, outputs: 3, masks, entries, ..TableLiteral::default() }).unwrap()
    }

    proptest! {
        #[test]
        fn both_steps_are_the_map(
            numbers in prop::collection::vec(any::<(usize, usize, usize, i8)>(), 1..80),
            log_modulus in 1u32..6,
            copies in prop::sample::select(vec![[64usize, 64], [32, 64], [16, 32]]),
        ) {
            let flat = table(&numbers);
            let [partials, sum] = tables(&flat, &copies, 1 << log_modulus).unwrap();
            let value = |operand: usize, ct: usize, s: usize| {
                let s = s % copies[operand];
                Complex64::new((s * 7 + ct * 3 + operand) as f64 % 11.0, (s * s + ct) as f64 % 5.0)
            };
            let args: Vec<Vec<Vec<Complex64>>> =
                (0..2).map(|o| (0..2).map(|ct| (0..SLOTS).map(|s| value(o, ct, s)).collect()).collect()).collect();
            let args: Vec<&[Vec<Complex64>]> = args.iter().map(Vec::as_slice).collect();
            let want = apply(&flat, &args, SLOTS);
            let got = apply(&sum, &[&apply(&partials, &args, SLOTS)], SLOTS);
            for (want, got) in want.iter().flatten().zip(got.iter().flatten()) {
                prop_assert!((want - got).norm() < 1e-9, "{want} {got}");
            }
        }
    }

    #[test]
    fn shapes_are_those_of_the_tables() {
        let numbers: Vec<(usize, usize, usize, i8)> = (0..36 * 3).map(|i| (i % 36, i / 36, i % 3, 1 + (i % 7) as i8)).collect();
        let flat = table(&numbers);
        let mut turns: Vec<Turn> = flat.rows.iter().map(|r| (r.operand as usize, r.ct as usize, flat.taps[r.tap as usize])).collect();
        turns.sort_unstable();
        for modulus in moduli(&turns) {
            let [partials, sum] = tables(&flat, &[64, 64], modulus).unwrap();
            let priced = shapes(&LinearShape::of_table(&flat), &turns, &[64, 64], modulus);
            assert_eq!((&priced.babies, &priced.giants), (&partials.taps, &sum.taps));
            let of = LinearShape::of_table(&partials);
            let (shape, steps) = (priced.shape, priced.shape.giants.unwrap());
            assert_eq!((shape.rows, shape.taps, shape.rotated, shape.outputs), (of.rows, of.taps, of.rotated, of.outputs));
            let of = LinearShape::of_table(&sum);
            assert_eq!((steps.rotated(), steps.taps, steps.outputs), (of.rows, of.taps, of.outputs));
        }
    }
}
