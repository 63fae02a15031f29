//! Which outputs of a panel take their dense sums over the same rows.
//!
//! A dense row costs a single multiplication for every output of its class and one for the pair
//! products that the class shares; a row that is not dense costs two multiplications and a load of
//! its own wherever it is used. Outputs with equal rows form a group, and groups are joined while
//! that wastes little. Tables without such a structure become one class.

use std::collections::BTreeMap;

/// More classes than this are no structure, and every class of its own reads the columns of a
/// window once more.
const MOST: usize = 16;
/// A use of a row that is not dense, in dense uses.
const SPARSE: usize = 3;
/// What a dense row costs besides its uses, in uses.
const SHARED: usize = 2;
/// Two classes are joined when that costs at most this part of the smaller one's cost.
const WASTE: (usize, usize) = (3, 10);

/// Outputs and how many of them use each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub outputs: Vec<u32>,
    uses: Vec<u32>,
}

impl Class {
    fn new(outputs: Vec<u32>, uses: &[Vec<u32>], rows: usize) -> Self {
        let mut class = Self { outputs, uses: vec![0; rows] };
        for &output in &class.outputs {
            uses[output as usize].iter().for_each(|&row| class.uses[row as usize] += 1);
        }
        class
    }

    /// Whether a row is dense for these outputs.
    pub fn is_dense(&self, row: usize) -> bool {
        SPARSE * self.uses[row] as usize > self.outputs.len() + SHARED
    }

    /// The cost of this class joined with `other`, in dense uses.
    fn cost_with(&self, other: Option<&Self>) -> usize {
        let dense = self.outputs.len() + other.map_or(0, |o| o.outputs.len()) + SHARED;
        let uses = |row: usize| self.uses[row] as usize + other.map_or(0, |o| o.uses[row] as usize);
        (0..self.uses.len()).map(|row| dense.min(SPARSE * uses(row))).sum()
    }

    fn join(&mut self, other: Self) {
        self.outputs.extend(other.outputs);
        self.uses.iter_mut().zip(other.uses).for_each(|(a, b)| *a += b);
    }
}

/// Classes of the outputs; `uses[o]` are the rows, in `0..rows` and ascending, that output `o`
/// uses. Outputs are ascending in each class.
pub(super) fn classify(uses: &[Vec<u32>], rows: usize) -> Vec<Class> {
    let mut numbers = BTreeMap::new();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for (output, rows) in (0..).zip(uses) {
        let number = *numbers.entry(rows).or_insert(groups.len());
        if number == groups.len() {
            groups.push(Vec::new());
        }
        groups[number].push(output);
    }
    let mut classes: Vec<Class> = Vec::new();
    for group in groups {
        let group = Class::new(group, uses, rows);
        let cost = group.cost_with(None);
        let waste = |class: &Class| {
            let own = class.cost_with(None);
            let waste = class.cost_with(Some(&group)).saturating_sub(own + cost);
            (waste * WASTE.1 <= own.min(cost) * WASTE.0).then_some(waste)
        };
        match (0..classes.len()).filter_map(|i| Some((waste(&classes[i])?, i))).min() {
            Some((_, i)) => classes[i].join(group),
            None if classes.len() < MOST => classes.push(group),
            None => return vec![Class::new((0..uses.len() as u32).collect(), uses, rows)],
        }
    }
    // Classes without dense rows differ in nothing.
    let (mut classes, idle): (Vec<Class>, Vec<Class>) = classes.into_iter().partition(|c| (0..rows).any(|row| c.is_dense(row)));
    classes.extend(idle.into_iter().reduce(|mut a, b| {
        a.join(b);
        a
    }));
    classes.iter_mut().for_each(|c| c.outputs.sort_unstable());
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(uses: &[Vec<u32>], rows: usize) -> Vec<usize> {
        classify(uses, rows).iter().map(|c| c.outputs.len()).collect()
    }

    #[test]
    fn equal_rows_are_one_class() {
        assert_eq!(sizes(&vec![(0..145).collect(); 16], 145), [16]);
        // and stay one with some rows missing and some of their own
        let uses: Vec<Vec<u32>> = (0..16).map(|o| (0..40).filter(|r| r % 16 != o).chain([40 + o]).collect()).collect();
        assert_eq!(sizes(&uses, 56), [16]);
    }

    #[test]
    fn overlapping_halves_are_classes() {
        // each output reads two thirds of the rows of its neighbour class
        let uses: Vec<Vec<u32>> = (0..32).map(|o| if o % 2 == 0 { (0..96).collect() } else { (32..128).collect() }).collect();
        assert_eq!(sizes(&uses, 128), [16, 16]);
        assert!(classify(&uses, 128)[1].outputs.iter().all(|o| o % 2 == 1));
        // a tenth more or less is not worth a class
        let uses: Vec<Vec<u32>> = (0..32).map(|o| if o % 2 == 0 { (0..96).collect() } else { (8..104).collect() }).collect();
        assert_eq!(sizes(&uses, 104), [32]);
    }

    #[test]
    fn disjoint_rows_are_sparse() {
        let uses: Vec<Vec<u32>> = (0..64).map(|o| (4 * o..4 * o + 4).collect()).collect();
        let classes = classify(&uses, 256);
        assert!(classes.len() == 1 && (0..256).all(|row| !classes[0].is_dense(row)));
    }

    #[test]
    fn many_small_classes_are_one() {
        let uses: Vec<Vec<u32>> = (0..80).map(|o| (20 * (o / 4)..20 * (o / 4) + 20).collect()).collect();
        assert_eq!(sizes(&uses, 400), [80]);
    }
}
