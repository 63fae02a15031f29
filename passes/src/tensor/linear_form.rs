//! Sparse linear maps between tensors, and their exact composition.
//!
//! Output `(o, y, x)` of a [`Kernel`] is the sum over its taps of `w · in(i, r(y), c(x))`, with
//! zero where a tap reads nothing. As a rule `r(y) = sy·y + dy` and `c(x) = sx·x + dx`
//! ([`Reading::Strided`]): convolution, pooling, slicing, padding, per-channel scaling and fully
//! connected layers all have this form. Maps by index relations list what they read
//! ([`Reading::Listed`]).

use chiffre_ir::consts::Array;
use chiffre_ir::tensor::{Lists, TensorOp, groups_of, weighted_lists};
use std::collections::{BTreeMap, HashMap};

/// Channel matrix of one tap: `(out, in) → weight`.
pub type Cells = BTreeMap<(usize, usize), f64>;

/// Weights that a composition may have beyond four times the larger part: a pooling of 8×8 pixels
/// before a fully connected layer stays composable.
const MAX_GROWTH: usize = 1 << 20;

/// Weights up to which a composition is worth the level that it saves, however few channels lie
/// between its parts.
const NARROW: usize = 1 << 14;

/// Weights from which a dense kernel is stored in groups, if it has some.
const LARGE: usize = 1 << 16;

/// What a tap reads at a position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// Step in the input per step in the output, `[y, x]`; taps are offsets.
    Strided([usize; 2]),
    /// Lists of rows and of columns, one position for each of the output, −1 for none; taps are
    /// numbers of lists.
    Listed([Lists; 2]),
}

impl Reading {
    /// The position along an axis (0 for rows) that a tap reads at an output's position, if it is
    /// one of `extent`.
    pub fn at(&self, axis: usize, tap: i64, out: usize, extent: usize) -> Option<usize> {
        let at = match self {
            Reading::Strided(s) => (s[axis] * out) as i64 + tap,
            Reading::Listed(lists) => *lists[axis].get(tap as usize)?.get(out)?,
        };
        usize::try_from(at).ok().filter(|i| *i < extent)
    }
    /// The stride, where there is one.
    pub fn stride(&self) -> Option<[usize; 2]> {
        match self {
            Reading::Strided(s) => Some(*s),
            Reading::Listed(_) => None,
        }
    }
}

/// How a `linear_map` says what the kernel of one operand reads.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    /// Step in the operand per step in the result, `[y, x]`.
    pub stride: [usize; 2],
    /// Offset of the first tap, `[y, x]`.
    pub origin: [i64; 2],
    /// Lists of rows and columns in place of both.
    pub lists: Option<&'a [Lists; 2]>,
    /// Parts of the channels that read each other.
    pub groups: usize,
}

impl<'a> Spec<'a> {
    /// Of a kernel that reads the position that it makes.
    pub const POINT: Spec<'static> = Spec { stride: [1, 1], origin: [0, 0], lists: None, groups: 1 };
    /// Of operand `k` of a `linear_map`.
    pub fn of(op: &'a TensorOp, k: usize) -> Spec<'a> {
        match op {
            TensorOp::LinearMap { strides, origins, reads, .. } => {
                Spec { stride: strides[k], origin: origins[k], lists: reads.of(k), groups: op.groups(k) }
            }
            _ => Spec::POINT,
        }
    }
}

/// A linear map between `[C, H, W]` tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Input shape `[C, H, W]`.
    pub input: [usize; 3],
    /// Output shape `[C, H, W]`.
    pub output: [usize; 3],
    /// What taps read.
    pub reading: Reading,
    /// Non-zero weights by tap, `(dy, dx)` or numbers of lists.
    pub taps: BTreeMap<(i64, i64), Cells>,
}

impl Kernel {
    /// A map without weights yet, of the given stride.
    pub fn empty(input: [usize; 3], output: [usize; 3], stride: [usize; 2]) -> Kernel {
        Kernel { input, output, reading: Reading::Strided(stride), taps: BTreeMap::new() }
    }
    /// The identity on a shape.
    pub fn identity(shape: [usize; 3]) -> Kernel {
        let cells = (0..shape[0]).map(|c| ((c, c), 1.0)).collect();
        Kernel { taps: BTreeMap::from([((0, 0), cells)]), ..Kernel::empty(shape, shape, [1, 1]) }
    }
    /// Of an operand of a `linear_map` with the kernel `w`, `[out, in/groups, kh, kw]`.
    pub fn of(w: &Array, input: [usize; 3], output: [usize; 3], spec: Spec) -> Kernel {
        let mut k = Kernel::dense(w, input, output, spec.stride, spec.origin, [1, 1]);
        if spec.groups > 1 {
            let (outs, ins) = (w.shape[0] / spec.groups, w.shape[1]);
            let moved = |cells: Cells| cells.into_iter().map(|((o, i), v)| ((o, o / outs * ins + i), v)).collect();
            k.taps = k.taps.into_iter().map(|(t, cells)| (t, moved(cells))).collect();
        }
        if let Some(lists) = spec.lists {
            k.reading = Reading::Listed(lists.clone());
        }
        k
    }
    /// From a dense `[out, in, kh, kw]` array whose first tap reads at `origin` and whose taps are
    /// `dilation` apart.
    pub fn dense(w: &Array, input: [usize; 3], output: [usize; 3], stride: [usize; 2], origin: [i64; 2], dilation: [usize; 2]) -> Kernel {
        let [channels, kh, kw] = [w.shape[1], w.shape[2], w.shape[3]];
        let mut k = Kernel::empty(input, output, stride);
        for (y, x) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
            // In the order of the map, which is then built at once.
            let weights = w.data.iter().skip(y * kw + x).step_by(kh * kw).enumerate();
            let cells: Cells = weights.filter(|(_, v)| **v != 0.0).map(|(n, &v)| ((n / channels, n % channels), f64::from(v))).collect();
            if !cells.is_empty() {
                k.taps.insert((origin[0] + (y * dilation[0]) as i64, origin[1] + (x * dilation[1]) as i64), cells);
            }
        }
        k
    }
    /// Channel by channel, a map along each axis of positions: `axes` are entries (output position,
    /// input position, weight) of rows and of columns, and the weights multiply.
    pub fn separable(input: [usize; 3], output: [usize; 3], axes: [&[(usize, usize, f64)]; 2]) -> Kernel {
        let [rows, columns] = [0, 1].map(|d| weighted_lists(axes[d], output[d + 1]));
        let mut k = Kernel::empty(input, output, [1, 1]);
        for (y, (_, a)) in rows.iter().enumerate() {
            for (x, (_, b)) in columns.iter().enumerate() {
                (0..output[0].min(input[0])).for_each(|c| k.add(y as i64, x as i64, c, c, a * b));
            }
        }
        k.reading = Reading::Listed([rows, columns].map(|l| l.into_iter().map(|(list, _)| list).collect()));
        k.simplified()
    }
    /// Adds a weight.
    pub fn add(&mut self, dy: i64, dx: i64, o: usize, i: usize, w: f64) {
        *self.taps.entry((dy, dx)).or_default().entry((o, i)).or_insert(0.0) += w;
    }
    /// Number of non-zero weights.
    pub fn nonzeros(&self) -> usize {
        self.taps.values().map(BTreeMap::len).sum()
    }
    /// Multiplies output channel o by `f(o)`, dropping zeros.
    pub fn scale_outputs(&mut self, f: impl Fn(usize) -> f64) {
        self.map_weights(|(o, _), w| w * f(o));
    }
    /// Multiplies input channel i by `f(i)`, dropping zeros.
    pub fn scale_inputs(&mut self, f: impl Fn(usize) -> f64) {
        self.map_weights(|(_, i), w| w * f(i));
    }
    fn map_weights(&mut self, f: impl Fn((usize, usize), f64) -> f64) {
        for cells in self.taps.values_mut() {
            cells.retain(|&k, w| {
                *w = f(k, *w);
                *w != 0.0
            });
        }
        self.taps.retain(|_, c| !c.is_empty());
    }
    /// Adds another map of the same shapes; false, with nothing done, if it reads in another way.
    pub fn merge(&mut self, other: &Kernel, factor: f64) -> bool {
        let numbers = match (&mut self.reading, &other.reading) {
            (Reading::Strided(s), Reading::Strided(t)) if s == t => None,
            (Reading::Listed(mine), Reading::Listed(theirs)) => Some([0, 1].map(|d| adopt(&mut mine[d], &theirs[d]))),
            _ => return false,
        };
        for (&(dy, dx), cells) in &other.taps {
            let (dy, dx) = numbers.as_ref().map_or((dy, dx), |n| (n[0][dy as usize], n[1][dx as usize]));
            for (&(o, i), w) in cells {
                self.add(dy, dx, o, i, factor * w);
            }
        }
        true
    }
    /// True if the map is the identity.
    pub fn is_identity(&self) -> bool {
        *self == Kernel::identity(self.input)
    }
    /// Number of taps that move something.
    pub fn moving(&self) -> usize {
        let still = |axis: usize, tap: i64| match &self.reading {
            Reading::Strided(_) => tap == 0,
            Reading::Listed(lists) => lists[axis][tap as usize].iter().enumerate().all(|(o, &i)| i < 0 || i == o as i64),
        };
        self.taps.keys().filter(|t| !(still(0, t.0) && still(1, t.1))).count()
    }
    /// The same map with a stride, if it has one; without taps that read nothing.
    fn simplified(mut self) -> Kernel {
        let Reading::Listed(lists) = &self.reading else { return self };
        let reads = |axis: usize, tap: i64| lists[axis][tap as usize].iter().any(|i| *i >= 0);
        self.taps.retain(|t, cells| !cells.is_empty() && reads(0, t.0) && reads(1, t.1));
        // Only lists that some tap uses, in order.
        let used = |d: usize| -> Vec<usize> {
            let keys: std::collections::BTreeSet<i64> = self.taps.keys().map(|t| [t.0, t.1][d]).collect();
            keys.into_iter().map(|k| k as usize).collect()
        };
        let used = [used(0), used(1)];
        let kept = [0, 1].map(|d| used[d].iter().map(|&k| lists[d][k].clone()).collect::<Lists>());
        let number = |d: usize, k: i64| used[d].binary_search(&(k as usize)).unwrap_or(0) as i64;
        let offsets = [0, 1].map(|d| offsets(&kept[d], self.input[d + 1]));
        let taps = std::mem::take(&mut self.taps);
        let renumbered = taps.into_iter().map(|(t, cells)| ((number(0, t.0), number(1, t.1)), cells));
        match offsets {
            [Some((sy, ys)), Some((sx, xs))] => {
                self.taps = renumbered.map(|((y, x), cells)| ((ys[y as usize], xs[x as usize]), cells)).collect();
                self.reading = Reading::Strided([sy, sx]);
            }
            _ => {
                self.taps = renumbered.collect();
                self.reading = Reading::Listed(kept);
            }
        }
        self
    }
    /// True if no output reads outside the input.
    fn reads_inside(&self) -> bool {
        let Some(stride) = self.reading.stride() else { return false };
        let inside = |d: i64, stride: usize, out: usize, len: usize| d >= 0 && (stride * (out - 1)) as i64 + d < len as i64;
        self.taps
            .keys()
            .all(|&(dy, dx)| inside(dy, stride[0], self.output[1], self.input[1]) && inside(dx, stride[1], self.output[2], self.input[2]))
    }
    /// True if all taps are at offset zero and every multiple of the stride inside the input is an
    /// output.
    fn is_pointwise(&self) -> bool {
        let Some(stride) = self.reading.stride() else { return false };
        let covers = |axis: usize| self.input[axis].div_ceil(stride[axis - 1]) == self.output[axis];
        self.taps.keys().all(|&t| t == (0, 0)) && covers(1) && covers(2)
    }
    /// `then ∘ self`, if that is a [`Kernel`] and not much larger than its parts. Of two maps with
    /// strides the zero padding of `then` must fall on the zero padding of `self`.
    pub fn compose(&self, then: &Kernel) -> Option<Kernel> {
        if self.is_identity() {
            return Some(then.clone());
        }
        let (Some(s), Some(t)) = (self.reading.stride(), then.reading.stride()) else { return self.compose_listed(then) };
        if !(then.reads_inside() || self.is_pointwise()) {
            return None;
        }
        let out = Kernel::empty(self.input, then.output, [s[0] * t[0], s[1] * t[1]]);
        let s = [s[0] as i64, s[1] as i64];
        self.compose_taps(then, out, |a, b| Some((s[0] * b.0 + a.0, s[1] * b.1 + a.1)))
    }
    /// As [`Self::compose`], where one of the two has lists: exact, whatever is read outside.
    fn compose_listed(&self, then: &Kernel) -> Option<Kernel> {
        let mut lists: [Lists; 2] = Default::default();
        let mut known: [HashMap<(i64, i64), Option<i64>>; 2] = Default::default();
        let mut behind = |d: usize, a: i64, b: i64| {
            *known[d].entry((a, b)).or_insert_with(|| {
                let one = |o: usize| {
                    let mid = then.reading.at(d, b, o, then.input[d + 1])?;
                    self.reading.at(d, a, mid, self.input[d + 1])
                };
                let list: Vec<i64> = (0..then.output[d + 1]).map(|o| one(o).map_or(-1, |i| i as i64)).collect();
                list.iter().any(|i| *i >= 0).then(|| adopt(&mut lists[d], &[list])[0])
            })
        };
        let out = Kernel::empty(self.input, then.output, [1, 1]);
        let mut out = self.compose_taps(then, out, |a, b| Some((behind(0, a.0, b.0)?, behind(1, a.1, b.1)?)))?;
        out.reading = Reading::Listed(lists);
        Some(out.simplified())
    }
    /// True if the channels between two maps are so few that both have far fewer weights than their
    /// composition, as behind the last layer of an inverted bottleneck.
    fn narrows(&self, then: &Kernel) -> bool {
        let distinct = |k: &Kernel, channels: usize, of: fn(&(usize, usize)) -> usize| {
            let mut used = vec![false; channels];
            k.taps.values().flat_map(BTreeMap::keys).for_each(|c| used[of(c)] = true);
            used.into_iter().filter(|u| *u).count()
        };
        let ins = distinct(self, self.input[0], |c| c.1);
        let mids = distinct(self, self.output[0], |c| c.0);
        let outs = distinct(then, then.output[0], |c| c.0);
        // Where all channels meet, each pair of taps joins every input with every output.
        let composed = ins * outs * self.taps.len() * then.taps.len();
        let parts = self.nonzeros() + then.nonzeros();
        let dense = 2 * self.nonzeros() > ins * mids * self.taps.len() && 2 * then.nonzeros() > mids * outs * then.taps.len();
        dense && mids < ins.min(outs) && composed > NARROW && 2 * composed > 3 * parts
    }
    /// Products of channel matrices of all pairs of taps, at what `tap` says; pairs without a tap
    /// read nothing.
    fn compose_taps(
        &self,
        then: &Kernel,
        mut out: Kernel,
        mut tap: impl FnMut((i64, i64), (i64, i64)) -> Option<(i64, i64)>,
    ) -> Option<Kernel> {
        if self.narrows(then) {
            return None;
        }
        let limit = 4 * self.nonzeros().max(then.nonzeros()) + MAX_GROWTH;
        let mut count = 0;
        // Sums of one output channel, by input channel, and which input channels have one.
        let (mut sums, mut met, mut inputs) = (vec![0.0; self.input[0]], vec![false; self.input[0]], vec![]);
        for (&at, a) in &self.taps {
            let mut by_mid: Vec<Vec<(usize, f64)>> = vec![vec![]; self.output[0]];
            for (&(m, i), &w) in a {
                by_mid[m].push((i, w));
            }
            for (&then_at, b) in &then.taps {
                let Some(at) = tap(at, then_at) else { continue };
                let cells = out.taps.entry(at).or_default();
                let before = cells.len();
                let mut row = b.iter().peekable();
                while let Some((&(o, _), _)) = row.peek().copied() {
                    while let Some((&(_, m), &w)) = row.next_if(|((p, _), _)| *p == o) {
                        for &(i, v) in &by_mid[m] {
                            if !std::mem::replace(&mut met[i], true) {
                                sums[i] = if before > 0 { cells.get(&(o, i)).copied().unwrap_or(0.0) } else { 0.0 };
                                inputs.push(i);
                            }
                            sums[i] += w * v;
                        }
                    }
                    inputs.sort_unstable();
                    for i in inputs.drain(..) {
                        cells.insert((o, i), sums[i]);
                        met[i] = false;
                    }
                    if count + cells.len() - before > limit {
                        return None;
                    }
                }
                count += cells.len() - before;
            }
        }
        out.taps.retain(|_, c| !c.is_empty());
        Some(out)
    }
    /// Applies the map to one tensor `[C, H, W]`.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let ([_, ih, iw], [oc, oh, ow]) = (self.input, self.output);
        let mut out = vec![0.0; oc * oh * ow];
        for (&(dy, dx), cells) in &self.taps {
            for y in 0..oh {
                let Some(sy) = self.reading.at(0, dy, y, ih) else { continue };
                for xo in 0..ow {
                    let Some(sx) = self.reading.at(1, dx, xo, iw) else { continue };
                    for (&(o, i), w) in cells {
                        out[(o * oh + y) * ow + xo] += w * x[(i * ih + sy) * iw + sx];
                    }
                }
            }
        }
        out
    }
    /// Groups that are worth to be told: where the dense array is large.
    fn groups(&self, [kh, kw]: [usize; 2]) -> usize {
        let (outs, ins) = (self.output[0], self.input[0]);
        if outs * ins * kh * kw < LARGE {
            return 1;
        }
        groups_of(outs, ins, self.taps.values().flat_map(|c| c.keys().copied()))
    }
    /// The dense `[out, in/groups, kh, kw]` array, the offset of its first tap (zero for lists, of
    /// which all have a tap), and its groups.
    pub fn to_dense(&self) -> (Array, [i64; 2], usize) {
        let span = |d: usize| match &self.reading {
            Reading::Listed(lists) => (0, lists[d].len() as i64 - 1),
            Reading::Strided(_) => {
                let all = self.taps.keys().map(|t| [t.0, t.1][d]);
                (all.clone().min().unwrap_or(0), all.max().unwrap_or(0))
            }
        };
        let [(y0, y1), (x0, x1)] = [span(0), span(1)];
        let [kh, kw] = [(y1 - y0 + 1) as usize, (x1 - x0 + 1) as usize];
        let groups = self.groups([kh, kw]);
        let each = self.input[0] / groups;
        let mut a = Array::zeros(vec![self.output[0], each, kh, kw]);
        for (&(dy, dx), cells) in &self.taps {
            for (&(o, i), &w) in cells {
                a.data[((o * each + i % each) * kh + (dy - y0) as usize) * kw + (dx - x0) as usize] = w as f32;
            }
        }
        (a, [y0, x0], groups)
    }
}

/// The numbers of some lists among those of a kernel, which takes in what it does not have yet.
fn adopt(mine: &mut Lists, theirs: &[Vec<i64>]) -> Vec<i64> {
    let number = |list: &Vec<i64>| {
        let at = mine.iter().position(|l| l == list).unwrap_or_else(|| {
            mine.push(list.clone());
            mine.len() - 1
        });
        at as i64
    };
    theirs.iter().map(number).collect()
}

/// The stride of lists and the offset of each, if every one reads `stride·o + offset` wherever
/// that is one of `extent` positions.
fn offsets(lists: &[Vec<i64>], extent: usize) -> Option<(usize, Vec<i64>)> {
    let inside = |list: &Vec<i64>| list.iter().copied().enumerate().filter(|(_, i)| *i >= 0).take(2).collect::<Vec<_>>();
    let step = |list: &Vec<i64>| match inside(list)[..] {
        [(o, i), (p, j)] if p == o + 1 => Some(j - i),
        _ => None,
    };
    let stride = lists.iter().find_map(step).unwrap_or(1);
    let stride = usize::try_from(stride).ok().filter(|s| *s > 0)?;
    let offset = |list: &Vec<i64>| {
        let (o, i) = *inside(list).first()?;
        let d = i - (stride * o) as i64;
        let right = |(o, &i): (usize, &i64)| {
            let at = (stride * o) as i64 + d;
            i == if (0..extent as i64).contains(&at) { at } else { -1 }
        };
        list.iter().enumerate().all(right).then_some(d)
    };
    lists.iter().map(offset).collect::<Option<Vec<i64>>>().map(|all| (stride, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(input: [usize; 3], output: [usize; 3], stride: [usize; 2], offsets: &[i64], seed: u64) -> Kernel {
        let mut k = Kernel::empty(input, output, stride);
        let mut s = seed;
        for &dy in offsets {
            for &dx in offsets {
                for o in 0..output[0] {
                    for i in 0..input[0] {
                        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        k.add(dy, dx, o, i, (s >> 40) as f64 / 1e6 - 8.0);
                    }
                }
            }
        }
        k
    }

    #[test]
    fn composition_is_exact() {
        let x: Vec<f64> = (0..3 * 64).map(|i| (i as f64).sin()).collect();
        let strided = random([3, 8, 8], [2, 4, 4], [2, 2], &[0], 1); // pointwise with stride
        let conv = random([2, 4, 4], [3, 4, 4], [1, 1], &[-1, 0, 1], 2);
        let pool = random([3, 4, 4], [5, 1, 1], [1, 1], &[0, 1, 2, 3], 3); // reads inside only
        let padded = random([3, 8, 8], [2, 4, 4], [2, 2], &[-1, 0, 1], 4);
        for (a, b) in [(&strided, &conv), (&conv, &pool)] {
            let input = if a.input[0] == 3 { x.clone() } else { x[..32].to_vec() };
            let both = a.compose(b).unwrap().apply(&input);
            let want = b.apply(&a.apply(&input));
            assert!(both.iter().zip(&want).all(|(p, q)| (p - q).abs() < 1e-9 * q.abs().max(1.0)));
        }
        assert!(padded.compose(&conv).is_none(), "padding in the middle is not a kernel");
        let (d, origin, groups) = padded.to_dense();
        assert_eq!(groups, 1);
        assert_eq!(origin, [-1, -1]);
        let again = Kernel::dense(&d, padded.input, padded.output, [2, 2], origin, [1, 1]);
        assert!(again.apply(&x).iter().zip(padded.apply(&x)).all(|(p, q)| (p - q).abs() < 1e-3));
    }

    /// A map with random lists.
    fn listed(input: [usize; 3], output: [usize; 3], taps: usize, seed: u64) -> Kernel {
        let mut k = random(input, output, [1, 1], &(0..taps as i64).collect::<Vec<_>>(), seed);
        let mut s = seed;
        k.reading = Reading::Listed([1, 2].map(|d| {
            let mut position = || {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (s >> 40) as i64 % (input[d] as i64 + 1) - 1
            };
            (0..taps).map(|_| (0..output[d]).map(|_| position()).collect()).collect()
        }));
        k
    }

    #[test]
    fn maps_by_lists_compose_with_all_others() {
        let x: Vec<f64> = (0..2 * 30).map(|i| (i as f64).sin()).collect();
        let padded = random([2, 5, 6], [3, 5, 6], [1, 1], &[-1, 0, 1], 1);
        let free = listed([2, 5, 6], [3, 5, 6], 3, 2);
        let behind = [random([3, 5, 6], [2, 3, 3], [2, 2], &[-1, 0, 1], 3), listed([3, 5, 6], [2, 7, 4], 2, 4)];
        for (a, b) in [(&padded, &behind[1]), (&free, &behind[0]), (&free, &behind[1])] {
            let both = a.compose(b).unwrap();
            let want = b.apply(&a.apply(&x));
            assert!(both.apply(&x).iter().zip(&want).all(|(p, q)| (p - q).abs() < 1e-9 * q.abs().max(1.0)));
            let (w, origin, groups) = both.to_dense();
            let Reading::Listed(lists) = &both.reading else { panic!("a map by lists") };
            let again = Kernel::of(&w, both.input, both.output, Spec { stride: [1, 1], origin, lists: Some(lists), groups });
            assert_eq!(again.taps.len(), both.taps.len());
        }
        // Copied to twice the size and every other position taken again: nothing has changed.
        let up: Vec<(usize, usize, f64)> = (0..10).map(|o| (o, o / 2, 1.0)).collect();
        let across: Vec<(usize, usize, f64)> = (0..12).map(|o| (o, o / 2, 1.0)).collect();
        let copied = Kernel::separable([2, 5, 6], [2, 10, 12], [&up, &across]);
        let mut taken = Kernel::empty([2, 10, 12], [2, 5, 6], [2, 2]);
        (0..2).for_each(|c| taken.add(1, 0, c, c, 1.0));
        assert!(copied.compose(&taken).unwrap().is_identity());
        assert_eq!((copied.taps.len(), copied.moving()), (1, 1));
    }

    #[test]
    fn what_a_stride_says_needs_no_lists() {
        let window: Vec<(usize, usize, f64)> = (0..4).flat_map(|o| (0..2).map(move |k| (o, 2 * o + k, 0.5))).collect();
        let k = Kernel::separable([3, 8, 8], [3, 4, 4], [&window, &window]);
        assert_eq!((&k.reading, k.taps.keys().next_back()), (&Reading::Strided([2, 2]), Some(&(1, 1))));
        // A divisor that differs at the border needs them.
        let ends: Vec<(usize, usize, f64)> = [(0, 0, 1.0), (1, 0, 0.5), (1, 1, 0.5), (2, 1, 1.0)].to_vec();
        let k = Kernel::separable([1, 2, 2], [1, 3, 3], [&ends, &ends]);
        assert_eq!(k.apply(&[4.0, 8.0, 0.0, 0.0]), [4.0, 6.0, 8.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn large_kernels_of_few_weights_are_stored_in_groups() {
        let mut depthwise = Kernel::empty([128, 4, 4], [128, 4, 4], [1, 1]);
        for (c, t) in (0..128).flat_map(|c| (0..9).map(move |t| (c, t))) {
            depthwise.add(t / 3 - 1, t % 3 - 1, c, c, (c as i64 * 9 + t) as f64);
        }
        let (w, origin, groups) = depthwise.to_dense();
        assert_eq!((&w.shape[..], groups), (&[128, 1, 3, 3][..], 128));
        let again = Kernel::of(&w, depthwise.input, depthwise.output, Spec { stride: [1, 1], origin, lists: None, groups });
        // Weights of zero are none.
        depthwise.scale_outputs(|_| 1.0);
        assert_eq!(again, depthwise);
    }

    #[test]
    fn maps_through_few_channels_stay_two() {
        let between = |mid: usize| [random([96, 4, 4], [mid, 4, 4], [1, 1], &[0], 1), random([mid, 4, 4], [192, 4, 4], [1, 1], &[0], 2)];
        // 96 × 192 weights in place of 16 × (96 + 192), and in place of 88 × (96 + 192).
        let [a, b] = between(16);
        assert!(a.compose(&b).is_none());
        let [a, b] = between(88);
        assert_eq!(a.compose(&b).unwrap().nonzeros(), 96 * 192);
        // Averages of all positions in front of a layer have more weights together, and pass no
        // narrow place.
        let mut pool = Kernel::empty([96, 4, 4], [96, 1, 1], [1, 1]);
        (0..96 * 16).for_each(|i| pool.add((i / 4 % 4) as i64, (i % 4) as i64, i / 16, i / 16, 1.0 / 16.0));
        let layer = random([96, 1, 1], [100, 1, 1], [1, 1], &[0], 3);
        assert_eq!(pool.compose(&layer).unwrap().nonzeros(), 96 * 100 * 16);
    }

    #[test]
    fn maps_are_added_where_they_read_alike() {
        let x: Vec<f64> = (0..2 * 30).map(|i| (i as f64).cos()).collect();
        let [a, b] = [2, 3].map(|seed| listed([2, 5, 6], [3, 4, 4], 2, seed));
        let mut sum = a.clone();
        assert!(sum.merge(&b, -2.0));
        let want = a.apply(&x).into_iter().zip(b.apply(&x)).map(|(a, b)| a - 2.0 * b);
        assert!(sum.apply(&x).into_iter().zip(want).all(|(p, q)| (p - q).abs() < 1e-9));
        assert!(!sum.merge(&random([2, 5, 6], [3, 4, 4], [1, 1], &[0], 1), 1.0));
    }
}
