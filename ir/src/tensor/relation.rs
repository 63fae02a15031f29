//! From the entries of a linear map, one by one, to a kernel with lists of what it reads.

use super::reads::Lists;
use std::collections::{BTreeMap, HashMap};

/// A linear map between `[C, H, W]` values by its entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    /// Extents of the operand.
    pub input: [usize; 3],
    /// Extents of the result.
    pub output: [usize; 3],
    /// Element of the result, element of the operand (row-major), weight.
    pub entries: Vec<(u32, u32, f32)>,
}

/// A kernel `[out, in/groups, kh, kw]`, and the lists of rows and of columns that its taps read.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Extents of the kernel.
    pub shape: [usize; 4],
    /// Weights, row-major.
    pub weights: Vec<f32>,
    /// Rows and columns.
    pub lists: [Lists; 2],
    /// Parts of channels that read each other.
    pub groups: usize,
}

impl Listed {
    /// Channel by channel, a map along each axis of positions: entries (position of the result, of
    /// the operand, weight) of rows and of columns, whose weights multiply.
    pub fn separable(channels: usize, output: [usize; 2], axes: [&[(usize, usize, f64)]; 2]) -> Listed {
        let [rows, columns] = [0, 1].map(|d| weighted_lists(axes[d], output[d]));
        let shape = [channels, 1, rows.len().max(1), columns.len().max(1)];
        let mut weights = vec![0.0; shape.iter().product()];
        for (ky, (_, a)) in rows.iter().enumerate() {
            for (kx, (_, b)) in columns.iter().enumerate() {
                (0..channels).for_each(|c| weights[(c * shape[2] + ky) * shape[3] + kx] = (a * b) as f32);
            }
        }
        let mut lists: [Lists; 2] = [rows, columns].map(|l| l.into_iter().map(|(list, _)| list).collect());
        lists.iter_mut().zip(output).filter(|(l, _)| l.is_empty()).for_each(|(l, n)| l.push(vec![-1; n]));
        Listed { shape, weights, lists, groups: channels }
    }
}

/// Entries of a map along one axis (position of the result, of the operand, weight) as lists of
/// what is read, each with one weight: the k-th entries of positions go together.
pub fn weighted_lists(entries: &[(usize, usize, f64)], outs: usize) -> Vec<(Vec<i64>, f64)> {
    let mut sums: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    entries.iter().for_each(|&(o, i, w)| *sums.entry((o, i)).or_insert(0.0) += w);
    let mut lists: BTreeMap<(usize, u64), Vec<i64>> = BTreeMap::new();
    let (mut last, mut rank) = (usize::MAX, 0);
    for ((o, i), w) in sums {
        (last, rank) = (o, if o == last { rank + 1 } else { 0 });
        lists.entry((rank, w.to_bits())).or_insert_with(|| vec![-1; outs])[o] = i as i64;
    }
    lists.into_iter().map(|((_, w), list)| (list, f64::from_bits(w))).collect()
}

/// A position of the result and one of the operand, along one axis; or a channel of each.
type Pair = (u32, u32);
/// Weights between channels, by their bits.
type Matrix = Vec<(Pair, u32)>;
/// Where a matrix stands.
type ColumnsByRow = BTreeMap<Pair, Vec<Pair>>;

impl Relation {
    /// The map as few taps. Positions between which the same matrix of channels stands are put
    /// together, and of these all that are the product of some rows with some columns: a
    /// convolution comes out as one, a map that mixes rows with columns as a tap for each position.
    /// Entries with the same elements are added. `None` if the kernel would have more than `most`
    /// weights.
    pub fn listed(&self, most: usize) -> Option<Listed> {
        let ([_, ih, iw], [_, oh, ow]) = (self.input, self.output);
        let [area_in, area] = [(ih * iw) as u32, (oh * ow) as u32];
        // What stands between two positions: entries (out, in) → weight.
        let mut between: BTreeMap<(Pair, Pair), BTreeMap<Pair, f32>> = BTreeMap::new();
        for &(o, i, w) in &self.entries {
            let (to, from) = (o % area, i % area_in);
            let row = (to / ow as u32, from / iw as u32);
            let column = (to % ow as u32, from % iw as u32);
            *between.entry((row, column)).or_default().entry((o / area, i / area_in)).or_insert(0.0) += w;
        }
        // The same matrix → where it stands: columns by row.
        let mut places: HashMap<Matrix, ColumnsByRow> = HashMap::new();
        for ((row, column), matrix) in between {
            let key: Matrix = matrix.into_iter().filter(|(_, w)| *w != 0.0).map(|(at, w)| (at, w.to_bits())).collect();
            places.entry(key).or_default().entry(row).or_default().push(column);
        }
        let mut places: Vec<_> = places.into_iter().filter(|(m, _)| !m.is_empty()).collect();
        places.sort();
        let mut lists: [Lists; 2] = [vec![], vec![]];
        let mut known: [HashMap<Vec<i64>, usize>; 2] = Default::default();
        let mut number = |d: usize, list: Vec<i64>| {
            *known[d].entry(list).or_insert_with_key(|list| {
                lists[d].push(list.clone());
                lists[d].len() - 1
            })
        };
        let mut taps: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for (k, (_, rows)) in places.iter().enumerate() {
            let mut alike: BTreeMap<&Vec<Pair>, Vec<Pair>> = BTreeMap::new();
            rows.iter().for_each(|(row, columns)| alike.entry(columns).or_default().push(*row));
            for (columns, rows) in alike {
                let columns: Vec<usize> = functions(columns, ow).into_iter().map(|l| number(1, l)).collect();
                for row in functions(&rows, oh) {
                    let row = number(0, row);
                    columns.iter().for_each(|&c| taps.entry((row, c)).or_default().push(k));
                }
            }
        }
        let [kh, kw] = [lists[0].len().max(1), lists[1].len().max(1)];
        let pairs = places.iter().flat_map(|(m, _)| m.iter().map(|((o, i), _)| (*o as usize, *i as usize)));
        let groups = groups_of(self.output[0], self.input[0], pairs);
        let shape = [self.output[0], self.input[0] / groups, kh, kw];
        let len = shape.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).filter(|&n| n <= most)?;
        lists.iter_mut().zip([oh, ow]).filter(|(l, _)| l.is_empty()).for_each(|(l, n)| l.push(vec![-1; n]));
        let mut weights = vec![0.0; len];
        for ((ky, kx), all) in taps {
            for ((o, i), w) in all.into_iter().flat_map(|k| &places[k].0) {
                weights[((*o as usize * shape[1] + *i as usize % shape[1]) * kh + ky) * kw + kx] += f32::from_bits(*w);
            }
        }
        Some(Listed { shape, weights, lists, groups })
    }
}

/// The most parts into which channels of a result and of an operand can be cut, so that each part
/// of the one reads its part of the other only.
pub fn groups_of(outs: usize, ins: usize, pairs: impl Iterator<Item = (usize, usize)>) -> usize {
    let common = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let most = common(outs, ins).max(1);
    let mut cuts: Vec<usize> = (1..=most).rev().filter(|g| most.is_multiple_of(*g)).collect();
    for (o, i) in pairs {
        cuts.retain(|g| o / (outs / g) == i / (ins / g));
        if cuts.len() <= 1 {
            break;
        }
    }
    cuts.first().copied().unwrap_or(1)
}

/// Largest stride that is looked for between positions.
const STRIDES: i64 = 4;

/// Pairs as functions of the result's position: one for each distance from a multiple of it, where
/// these are about as few as can be, else the k-th position that each one reads.
fn functions(pairs: &[Pair], extent: usize) -> Lists {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let mut rank: Vec<i64> = vec![];
    for (k, (o, _)) in sorted.iter().enumerate() {
        let before = k.checked_sub(1).filter(|&b| sorted[b].0 == *o).map(|b| rank[b]);
        rank.push(before.map_or(0, |r| r + 1));
    }
    let fewest = rank.iter().max().map_or(0, |r| r + 1) as usize;
    let distances = |stride: i64| sorted.iter().map(|&(o, i)| i64::from(i) - stride * i64::from(o)).collect::<Vec<i64>>();
    let count = |of: &[i64]| of.iter().collect::<std::collections::BTreeSet<_>>().len();
    let best = (1..=STRIDES).map(distances).min_by_key(|d| count(d)).filter(|d| count(d) < 2 * fewest);
    let mut out: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (&(o, i), of) in sorted.iter().zip(best.unwrap_or(rank)) {
        out.entry(of).or_insert_with(|| vec![-1; extent])[o as usize] = i64::from(i);
    }
    out.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The map that a kernel with lists is, by its entries.
    fn entries(l: &Listed, r: &Relation) -> BTreeMap<Pair, f32> {
        let weights: Vec<f64> = l.weights.iter().map(|&w| f64::from(w)).collect();
        let mut out = BTreeMap::new();
        let parts = super::super::interp::Parts::new(l.groups, &l.shape, r.input, r.output);
        for g in 0..l.groups {
            super::super::reads::each(&weights[parts.kernel(g)], &parts.shape, &l.lists, parts.dims, parts.out, |o, i, w| {
                let at = ((parts.output(g).start + o) as u32, (parts.input(g).start + i) as u32);
                *out.entry(at).or_insert(0.0) += w as f32;
            });
        }
        out
    }

    fn wanted(r: &Relation) -> BTreeMap<Pair, f32> {
        let mut out = BTreeMap::new();
        r.entries.iter().for_each(|&(o, i, w)| *out.entry((o, i)).or_insert(0.0) += w);
        out.retain(|_, w| *w != 0.0);
        out
    }

    #[test]
    fn convolutions_copies_and_shuffles_take_few_taps() {
        let relation = |input: [usize; 3], output: [usize; 3], read: &dyn Fn([usize; 3]) -> Vec<[usize; 3]>| {
            let at = |[c, y, x]: [usize; 3], [_, h, w]: [usize; 3]| ((c * h + y) * w + x) as u32;
            let mut r = Relation { input, output, entries: vec![] };
            for o in 0..output.iter().product::<usize>() {
                let to = [o / (output[1] * output[2]), o / output[2] % output[1], o % output[2]];
                r.entries.extend(read(to).into_iter().map(|i| (o as u32, at(i, input), 1.0)));
            }
            let l = r.listed(1 << 20).unwrap();
            assert_eq!(entries(&l, &r), wanted(&r));
            l.shape
        };
        assert_eq!(relation([3, 1, 1], [3, 4, 5], &|[c, _, _]| vec![[c, 0, 0]]), [3, 1, 1, 1]);
        assert_eq!(relation([2, 4, 4], [2, 8, 8], &|[c, y, x]| vec![[c, y / 2, x / 2]]), [2, 1, 1, 1]);
        // Blocks of channels become positions: a tap for each place in a block.
        assert_eq!(relation([8, 3, 3], [2, 6, 6], &|[c, y, x]| vec![[y % 2 * 4 + x % 2 * 2 + c, y / 2, x / 2]]), [2, 8, 2, 2]);
        let near = |y: usize| (y.saturating_sub(1)..(y + 2).min(6)).collect::<Vec<_>>();
        let average = |[c, y, x]: [usize; 3]| near(y).iter().flat_map(|&a| near(x).into_iter().map(move |b| [c, a, b])).collect();
        assert_eq!(relation([2, 6, 6], [2, 6, 6], &average), [2, 1, 3, 3]);
        assert_eq!(relation([1, 3, 4], [1, 4, 3], &|[c, y, x]| vec![[c, x, y]])[2..], [12, 12]);
    }

    proptest! {
        #[test]
        fn kernels_are_the_entries(
            input in (1usize..4, 1usize..5, 1usize..5), output in (1usize..4, 1usize..5, 1usize..5),
            list in prop::collection::vec((any::<u32>(), any::<u32>(), -3i8..4), 0..60),
        ) {
            let (input, output) = ([input.0, input.1, input.2], [output.0, output.1, output.2]);
            let len = |d: [usize; 3]| d.iter().product::<usize>() as u32;
            let entries_of = |&(o, i, w): &(u32, u32, i8)| (o % len(output), i % len(input), f32::from(w));
            let r = Relation { input, output, entries: list.iter().map(entries_of).collect() };
            let l = r.listed(1 << 20).unwrap();
            prop_assert_eq!(super::super::reads::check(&l.lists, [l.shape[2], l.shape[3]], [input[1], input[2]], [output[1], output[2]]), Ok(()));
            prop_assert_eq!(entries(&l, &r), wanted(&r));
        }
    }

    #[test]
    fn no_kernel_is_larger_than_allowed() {
        // The first channel of the result reads the last of the operand: there are no groups.
        let r = Relation { input: [4, 3, 3], output: [4, 3, 3], entries: vec![(0, 27, 1.0)] };
        assert!(r.listed(16).is_some() && r.listed(15).is_none());
        assert_eq!(groups_of(6, 4, [(0, 1), (2, 0), (5, 3)].into_iter()), 2);
        assert_eq!(groups_of(4, 4, [].into_iter()), 4);
    }
}
