//! Counts of a table of diagonals from where its weights are, without the table.

use super::channels::{Class, Extents, Meeting, Shift, joint_period};
use super::fold::Window;
use super::split::Turn;
use crate::tensor::linear_form::{Kernel, Reading, Spec};
use chiffre_backend::cost::LinearShape;
use chiffre_ir::consts::Array;
use chiffre_ir::layout::Layout;
use std::collections::BTreeMap;

/// Where the weights of a map are, in the form of [`Kernel`](crate::tensor::linear_form::Kernel):
/// which (output, input) pairs each tap joins. Taps that join the same pairs, as those of a dense
/// kernel do, share their list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Support {
    input: [usize; 3],
    output: [usize; 3],
    reading: Reading,
    lists: Vec<Vec<(u32, u32)>>,
    /// Tap, and index of the list.
    taps: Vec<((i64, i64), usize)>,
}

impl Support {
    /// Of a dense `[out, in, kh, kw]` array.
    pub fn new(w: &Array, input: [usize; 3], output: [usize; 3], spec: Spec) -> Support {
        let Spec { stride, origin, lists, groups } = spec;
        let reading = lists.map_or(Reading::Strided(stride), |l| Reading::Listed(l.clone()));
        let [channels, kh, kw] = [w.shape[1], w.shape[2], w.shape[3]];
        let outs = w.shape[0] / groups;
        let pair = |(o, i): (usize, usize)| (o as u32, (o / outs * channels + i) as u32);
        let mut s = Support { input, output, reading, lists: vec![], taps: vec![] };
        for (y, x) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
            let weights = w.data.iter().skip(y * kw + x).step_by(kh * kw).enumerate();
            let list: Vec<(u32, u32)> = weights.filter(|(_, v)| **v != 0.0).map(|(n, _)| (n / channels, n % channels)).map(pair).collect();
            if list.is_empty() {
                continue;
            }
            s.add((origin[0] + y as i64, origin[1] + x as i64), list);
        }
        s
    }
}

impl Support {
    /// Of a kernel.
    pub fn of(k: &Kernel) -> Support {
        let mut s = Support { input: k.input, output: k.output, reading: k.reading.clone(), lists: vec![], taps: vec![] };
        for (at, cells) in &k.taps {
            s.add(*at, cells.keys().map(|(o, i)| (*o as u32, *i as u32)).collect());
        }
        s
    }
    /// What taps read, and of what extents.
    pub fn reading(&self) -> (&Reading, [usize; 3]) {
        (&self.reading, self.input)
    }
    /// The same pairs, where taps read and make something else.
    pub fn reading_as(&self, reading: Reading, output: [usize; 3]) -> Support {
        Support { output, reading, ..self.clone() }
    }
    fn add(&mut self, at: (i64, i64), list: Vec<(u32, u32)>) {
        let number = self.lists.iter().position(|l| *l == list).unwrap_or_else(|| {
            self.lists.push(list);
            self.lists.len() - 1
        });
        self.taps.push((at, number));
    }
}

/// A set of small numbers.
#[derive(Clone, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, i: usize) {
        self.0.resize(self.0.len().max(i / 64 + 1), 0);
        self.0[i / 64] |= 1 << (i % 64);
    }
    /// Adds all numbers, moved up by `by`, to the set that some words hold, which have room for it.
    fn add_to(&self, words: &mut [u64], by: usize) {
        let (skip, bits) = (by / 64, by % 64);
        for (i, w) in self.0.iter().enumerate().filter(|(_, w)| **w != 0) {
            words[i + skip] |= w << bits;
            let above = if bits > 0 { w >> (64 - bits) } else { 0 };
            if above != 0 {
                words[i + skip + 1] |= above;
            }
        }
    }
}

/// The outputs that each ciphertext of an operand has under each rotation. Maps have up to millions
/// of these, and rotations come in ascending order: so lists, and no hash.
struct Rows {
    /// Words of a set of outputs.
    words: usize,
    /// For each rotation in [0, s), for the s slots of one copy, the sets of the ciphertexts.
    sets: Vec<Vec<u64>>,
    /// Sets with outputs.
    len: usize,
}

impl Rows {
    fn new(copy: usize, outputs: usize) -> Rows {
        Rows { words: outputs.div_ceil(64), sets: vec![vec![]; copy], len: 0 }
    }
    fn add(&mut self, rotation: i64, ct: usize, outputs: &Bits, by: usize) {
        let (copy, end) = (self.sets.len() as i64, (ct + 1) * self.words);
        let sets = &mut self.sets[rotation.rem_euclid(copy) as usize];
        if sets.len() < end {
            sets.resize(end, 0);
        }
        let set = &mut sets[end - self.words..end];
        self.len += usize::from(set.iter().all(|w| *w == 0));
        outputs.add_to(set, by);
    }
    /// Rotation in (−s/2, s/2], ciphertext and number of outputs of all that have some.
    fn all(&self) -> impl Iterator<Item = (i64, usize, usize)> {
        let copy = self.sets.len() as i64;
        let signed = move |r: usize| if r as i64 > copy / 2 { r as i64 - copy } else { r as i64 };
        let of = move |(r, sets): (usize, &Vec<u64>)| {
            let count = |set: &[u64]| set.iter().map(|w| w.count_ones() as usize).sum::<usize>();
            let counts: Vec<usize> = sets.chunks_exact(self.words).map(count).collect();
            counts.into_iter().enumerate().map(move |(ct, n)| (signed(r), ct, n))
        };
        self.sets.iter().enumerate().flat_map(of).filter(|(_, _, n)| *n > 0)
    }
}

/// What a list joins at one distance of slots, under rotations that are equal for all of it.
struct Distance {
    /// One of the classes that are so far apart: all need masks alike.
    class: Class,
    /// Pairs of channels.
    pairs: usize,
    /// Ciphertext of the operand's channel → those of the result's.
    cts: BTreeMap<usize, Bits>,
}

/// The pairs of a list by the distance between the slots of their channels, of which a copy of the
/// operand has `copy`.
fn distances(list: &[(u32, u32)], meeting: &Meeting, copy: usize) -> Vec<Distance> {
    let mut out: Vec<Distance> = vec![];
    let mut number: Vec<Option<usize>> = vec![None; copy];
    for &(o, i) in list {
        let (po, pi) = (meeting.outs[o as usize], meeting.ins[i as usize]);
        let class = Class { out_slot: po.slot, in_slot: pi.slot };
        let place = &mut number[(class.in_slot as i64 - class.out_slot as i64).rem_euclid(copy as i64) as usize];
        let n = *place.get_or_insert_with(|| {
            out.push(Distance { class, pairs: 0, cts: BTreeMap::new() });
            out.len() - 1
        });
        out[n].pairs += 1;
        out[n].cts.entry(pi.ct).or_default().insert(po.ct);
    }
    // In the order of their rotations, but for a shift of all.
    out.sort_unstable_by_key(|d| (d.class.in_slot as i64 - d.class.out_slot as i64).rem_euclid(copy as i64));
    out
}

/// Counts of the table of Σ_k map_k(arg_k) under layouts, with no limbs yet, and the inputs under
/// their rotations: what [`diagonals`](super::lower_linear::diagonals) of maps with this support
/// has, as long as no weights cancel. With a window only of the rotations in it. None if there are
/// more rows, of one cell or more each, than `most_rows`.
pub(super) fn shape(
    supports: &[Support],
    from: &[&Layout],
    to: &Layout,
    window: Option<Window>,
    most_rows: usize,
) -> Option<(LinearShape, Vec<Turn>)> {
    let period = joint_period(from, to);
    let (mut masked, mut entries, mut cells) = (false, 0, 0);
    let mut turns: Vec<Turn> = vec![];
    for (operand, (s, l)) in supports.iter().zip(from).enumerate() {
        let meeting = Meeting::new(l, to, Extents { input: s.input, output: s.output, reading: &s.reading }, period);
        let mut rows = Rows::new(l.copy_slots(), to.unit_cts());
        for (index, list) in s.lists.iter().enumerate() {
            let distances = distances(list, &meeting, l.copy_slots());
            for (at, _) in s.taps.iter().filter(|(_, i)| *i == index) {
                let shifts = meeting.shifts(*at);
                let holds = |shift: &Shift, class: Class| window.is_none_or(|w| w.holds(meeting.rotation(shift, class)));
                let inside = |class: Class| shifts.iter().filter(|s| holds(s, class)).count();
                entries += distances.iter().map(|d| inside(d.class) * d.pairs).sum::<usize>();
                if !masked {
                    let filled: Vec<usize> = meeting.filled(*at).iter().map(Vec::len).collect();
                    let mut all = distances.iter().flat_map(|d| shifts.iter().zip(&filled).map(|(s, f)| (s, *f, d.class)));
                    masked = all.any(|(shift, filled, class)| meeting.is_masked(shift, filled, class));
                }
                for shift in &shifts {
                    for Distance { class, cts, .. } in distances.iter().filter(|d| holds(shift, d.class)) {
                        let rotation = meeting.rotation(shift, *class);
                        cts.iter().for_each(|(ct, outputs)| rows.add(rotation, ct + shift.in_ct, outputs, shift.out_ct));
                    }
                    if turns.len() + rows.len > most_rows {
                        return None;
                    }
                }
            }
        }
        for (rotation, ct, outputs) in rows.all() {
            turns.push((operand, ct, rotation));
            cells += outputs;
        }
    }
    turns.sort_unstable();
    let turned: Vec<Turn> = turns.iter().copied().filter(|t| t.2 != 0).collect();
    let inputs = |turns: &[Turn]| turns.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).count();
    let mut taps: Vec<i64> = turned.iter().map(|t| t.2).collect();
    taps.sort_unstable();
    taps.dedup();
    let shape = LinearShape {
        inputs: inputs(&turns),
        rotated: inputs(&turned),
        taps: taps.len(),
        rows: turned.len(),
        cells,
        entries,
        weight_words: if masked { period } else { 1 },
        outputs: to.unit_cts(),
        limbs: 0,
        drop: 0,
        alpha: 0,
        giants: None,
    };
    Some((shape, turns))
}

#[cfg(test)]
mod tests {
    use super::super::lower_linear::diagonals;
    use super::super::packing::Packing;
    use super::*;
    use crate::options::PackingWish;
    use chiffre_backend::cost::LinearShape as Shape;
    use chiffre_ir::tensor::{Reads, TensorGraph, TensorOp, TensorType};
    use std::collections::BTreeSet;

    /// Weights of which a third is zero, in a pattern of its own for each tap if `ragged`.
    fn weights(shape: [usize; 4], ragged: bool) -> Array {
        let per = shape[2] * shape[3];
        let value = |n: usize| if ragged && (n * 7 + n / per).is_multiple_of(3) { 0.0 } else { 1.0 + n as f32 };
        Array::new(shape.to_vec(), (0..shape.iter().product()).map(value).collect())
    }

    #[test]
    fn counts_are_those_of_the_table() {
        let mut compared = 0;
        for (ragged, stride, kernel) in [(false, 1, 3), (true, 1, 3), (false, 2, 3), (true, 2, 3), (true, 2, 1), (false, 1, 8)] {
            let (input, extent) = ([6, 8, 8], if kernel == 8 { 1 } else { 8 / stride });
            let output = [5, extent, extent];
            let origin = if kernel == 3 { [-1, -1] } else { [0, 0] };
            let w = weights([5, 6, kernel, kernel], ragged);
            let mut g = TensorGraph::new("t");
            let x = g.push(TensorOp::Input {}, vec![], TensorType::new(input), "x");
            let k = g.consts.add("k", w.clone());
            let map = TensorOp::LinearMap {
                kernels: vec![k],
                strides: vec![[stride; 2]],
                origins: vec![origin],
                bias: None,
                reads: Reads::default(),
                groups: None,
            };
            let y = g.push(map, vec![x], TensorType::new(output), "y");
            g.outputs.push(y);
            let spec = Spec { stride: [stride; 2], origin, lists: None, groups: 1 };
            let support = [Support::new(&w, input, output, spec)];
            let dense = [Kernel::dense(&w, input, output, [stride; 2], origin, [1, 1])];
            for batch in [1, 20, 100] {
                for packing in Packing::candidates(&g, 9, batch, &PackingWish::default()).unwrap() {
                    let Ok(layouts) = packing.assign(&g, batch) else { continue };
                    let table = diagonals(&dense, &[&layouts[0]], &layouts[1], None).unwrap();
                    let counted = shape(&support, &[&layouts[0]], &layouts[1], None, usize::MAX).unwrap();
                    let mut turns: Vec<Turn> =
                        table.rows.iter().map(|r| (r.operand as usize, r.ct as usize, table.taps[r.tap as usize])).collect();
                    turns.sort_unstable();
                    assert_eq!(counted, (Shape::of_table(&table), turns), "{packing:?}, batch {batch}, {ragged} {stride} {kernel}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 100, "{compared}");
    }

    #[test]
    fn sets_move_across_words() {
        let mut a = Bits::default();
        [0, 3, 63, 64, 130].into_iter().for_each(|i| a.insert(i));
        let mut rows = Rows::new(16, 200);
        [0, 1, 64].into_iter().for_each(|by| rows.add(-5, 2, &a, by));
        rows.add(8, 0, &a, 0);
        let want: BTreeSet<usize> = [0, 1, 64].iter().flat_map(|by| [0, 3, 63, 64, 130].map(|i| i + by)).collect();
        let set = &rows.sets[11][2 * rows.words..];
        let got: BTreeSet<usize> = (0..set.len() * 64).filter(|i| set[i / 64] >> (i % 64) & 1 == 1).collect();
        assert_eq!((&got, rows.all().collect::<Vec<_>>()), (&want, vec![(8, 0, 5), (-5, 2, want.len())]));
    }
}
