//! Families of layouts: a few numbers that fix the layout of every value of a network.
//!
//! From the least significant slot bit up: columns, rows, images; or, for few images, columns,
//! rows, images, channels, and **copies** of all these in the slots that are left, so that
//! rotations of channels are cyclic. Positions belong to the bits of the *input's* rows and
//! columns: after a stride of two a value has no use for its lowest one, which becomes a gap, so no
//! layer needs compaction. A gap takes the next batch bit, as long as there are any (units of the
//! layer before are merged into it), and then, if asked for, a channel bit. The lowest row and
//! column bits may select the ciphertext instead (**phases**): then a convolution reads each phase
//! under fewer rotations, images fill more of the slots, and a stride of two drops phases instead
//! of leaving gaps. Vectors may have their channels where images have rows and columns: then those
//! of one image repeat many times.

use crate::options::PackingWish;
use chiffre_ir::graph::{Node, ValueId};
use chiffre_ir::layout::{Bit, Dim, Layout, bit};
use chiffre_ir::tensor::{Tensor, TensorGraph, TensorOp};

/// A family of layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Packing {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Low bits of the input's rows and columns that select the ciphertext.
    pub phases: [usize; 2],
    /// Channel bits in the slots above images, at most; what no image and no channel needs then
    /// holds copies.
    pub channels: usize,
    /// A batch bit selects real or imaginary part.
    pub complex: bool,
    /// Gaps that no batch bit takes and that are given to channel bits.
    pub fill: usize,
    /// Channels of vectors (1×1 images) lie where other values have rows and columns.
    pub vectors: bool,
}

/// Where the batch bits of a value are.
#[derive(Clone, Copy)]
struct BatchBits {
    /// Position of the first in the slots.
    first_batch: usize,
    /// How many lie side by side from there on.
    inside: usize,
    /// Those below this number may take gaps.
    in_slots: usize,
    /// All of them.
    total: usize,
}

/// Numbers of channel bits in gaps that are tried.
const FILLS: [usize; 6] = [0, 1, 2, 4, 6, 8];
/// Numbers of phase bits that are tried.
const PHASES: [[usize; 2]; 5] = [[0, 0], [0, 1], [1, 1], [1, 2], [2, 2]];

/// A batch that fills one of so many slots may have a ciphertext for each element.
const SPREAD_SHARE: usize = 8;
/// Elements of all values of a network for which a ciphertext for each is tried.
const MOST_SPREAD: usize = 1 << 12;

/// `⌈log2 n⌉`.
pub fn log2_ceil(n: usize) -> usize {
    n.next_power_of_two().trailing_zeros() as usize
}

/// The grid of positions of a network: as fine as its finest value.
struct Grid {
    /// Bits of its rows and columns.
    bits: [usize; 2],
    /// log2 of the distance between rows, and between columns, of each value.
    steps: Vec<[usize; 2]>,
}

impl Grid {
    /// The grid of the input, if all values fit it, else a finer or a wider one.
    fn of(g: &TensorGraph) -> Result<Grid, String> {
        let input = g.nodes.iter().find(|n| matches!(n.op, TensorOp::Input {})).ok_or("the network has no input")?;
        let [_, h, w] = input.ty.chw();
        let own = [log2_ceil(h), log2_ceil(w)];
        let mut refusal = String::new();
        for more in 0..=MOST_FINER {
            // What is finer than the input first, then what is wider.
            for finer in (0..=more).rev() {
                match steps(g, own.map(|b| b + more), finer) {
                    Ok(steps) => return Ok(Grid { bits: own.map(|b| b + more), steps }),
                    Err(e) => refusal = e,
                }
            }
        }
        Err(refusal)
    }
}

/// Bits by which a grid may be finer and wider than the input: 32 times in each direction.
const MOST_FINER: usize = 5;

impl Packing {
    /// All families for a ring that can be of use for a batch.
    pub fn candidates(g: &TensorGraph, log_n: u32, batch: usize, wish: &PackingWish) -> Result<Vec<Packing>, String> {
        let [yb, xb] = Grid::of(g)?.bits;
        let slots = log_n.saturating_sub(1) as usize;
        // Vectors that something reads: the last one has few channels.
        let inner = |v: &ValueId| g.nodes.iter().any(|n| n.args.contains(v));
        let has_vectors = yb + xb > 0 && g.iter().any(|(v, n)| n.ty.chw()[0] > 1 && n.ty.chw()[1..] == [1, 1] && inner(&v));
        let widest = g.nodes.iter().map(|n| log2_ceil(n.ty.chw()[0])).max().unwrap_or(0);
        let mut out = vec![];
        let mut all_phases = PHASES.to_vec();
        // A ciphertext for each element, and no rotation at all.
        let elements: usize = g.nodes.iter().map(|n| n.ty.chw().iter().product::<usize>()).sum();
        if elements <= MOST_SPREAD && SPREAD_SHARE * batch >= 1 << slots && !all_phases.contains(&[yb, xb]) {
            all_phases.push([yb, xb]);
        }
        for phases in wish.phases.map_or(all_phases, |p| vec![p]) {
            if phases[0] > yb || phases[1] > xb || yb + xb - phases[0] - phases[1] > slots {
                continue;
            }
            let free = slots - (yb + xb - phases[0] - phases[1]);
            // As many slot bits for channels as the batch leaves unused, and fewer.
            let most = (free + 1).saturating_sub(log2_ceil(batch)).min(free).min(widest);
            for channels in wish.channels.map_or(0..=most, |c| c..=c.min(free)) {
                for complex in [false, true] {
                    let room = free - channels + usize::from(complex);
                    // Both parts are used when one would overflow, and not before; with channels in
                    // the slots, as soon as there are two images.
                    let first = if channels > 0 { 1 } else { room };
                    let useless = if complex { log2_ceil(batch) < first } else { batch > 1 << room };
                    if useless {
                        continue;
                    }
                    // Phases save rotations of rows and columns, of which channels in the slots
                    // need few.
                    if channels > 0 && wish.phases.is_none() && phases[0] + phases[1] > 2 {
                        continue;
                    }
                    for fill in wish.fill.map_or(FILLS.to_vec(), |f| vec![f]) {
                        // Where images take units, their bits take the places of rows and columns.
                        let own_places = has_vectors && channels > 0 && batch <= 1 << room;
                        out.extend([false, true].into_iter().filter(|v| !v || own_places).map(|vectors| Packing {
                            log_n,
                            phases,
                            channels,
                            complex,
                            fill,
                            vectors,
                        }));
                    }
                }
            }
        }
        if out.is_empty() {
            return Err(format!("an image needs 2^{} slots, there are 2^{slots}", xb + yb));
        }
        Ok(out)
    }

    /// One layout per value, or why the ring is too small.
    pub fn assign(&self, g: &TensorGraph, batch: usize) -> Result<Vec<Layout>, String> {
        let Grid { bits, steps } = Grid::of(g)?;
        let slots = self.log_n.saturating_sub(1) as usize;
        let low = bits[0] + bits[1] - self.phases[0] - self.phases[1];
        if low + self.channels > slots {
            return Err(format!("an image needs 2^{low} slots, there are 2^{slots}"));
        }
        let room = slots - low - self.channels;
        let inside = if self.channels == 0 { room } else { room.min(log2_ceil(batch).saturating_sub(usize::from(self.complex))) };
        let total = log2_ceil(batch).max(inside + usize::from(self.complex));
        // Where rows or columns move together again, gaps close, and units merged into them would
        // have to be split: then none are merged.
        let closes = |(n, step): (&Node<Tensor>, &[usize; 2])| n.args.iter().any(|a| (0..2).any(|k| step[k] < steps[a.index()][k]));
        let in_slots = if g.nodes.iter().zip(&steps).any(closes) { inside + usize::from(self.complex) } else { total };
        // The operand of a bootstrap may hold anything where it has no element: the sine bounds it.
        let refreshed = |v: ValueId| g.nodes.iter().any(|n| matches!(n.op, TensorOp::Chebyshev { sine: true, .. }) && n.args.contains(&v));
        let mut out: Vec<Layout> = vec![];
        for ((v, n), step) in g.iter().zip(&steps) {
            let mut l = self.layout(bits, *step, n.ty.chw(), batch, BatchBits { first_batch: low, inside, in_slots, total });
            if matches!(n.op, TensorOp::Chebyshev { .. }) || (matches!(n.op, TensorOp::LinearMap { .. }) && refreshed(v)) {
                l = l.filled();
            }
            if let Some(a) = n.args.iter().find(|a| !out[a.index()].leads_to(&l)) {
                return Err(format!("node \"{}\": units of {} would have to be split", n.source, out[a.index()]));
            }
            if let Some(e) = l.check().into_iter().next() {
                return Err(format!("node \"{}\": {e}", n.source));
            }
            out.push(l);
        }
        Ok(out)
    }

    /// The layout of a value whose rows and columns are `2^step` of the input's apart. Of `total`
    /// batch bits the first `inside` lie in the slots from `first_batch` on, the next selects a
    /// part if complex-packed, and those below `in_slots` may take gaps.
    fn layout(
        &self,
        bits: [usize; 2],
        step: [usize; 2],
        shape: [usize; 3],
        batch: usize,
        BatchBits { first_batch, inside, in_slots, total }: BatchBits,
    ) -> Layout {
        let slots = self.log_n as usize - 1;
        let mut s: Vec<Option<Bit>> = vec![None; slots];
        let mut cts: Vec<Bit> = vec![];
        let mut gaps: Vec<(usize, usize)> = vec![];
        let mut position = 0;
        for (axis, dim, len) in [(1, Dim::X, shape[2]), (0, Dim::Y, shape[1])] {
            for j in 0..bits[axis] {
                let own = (j >= step[axis] && j - step[axis] < log2_ceil(len)).then(|| bit(dim, j - step[axis]));
                if j < self.phases[axis] {
                    cts.extend(own);
                    continue;
                }
                match own {
                    Some(b) => s[position] = Some(b),
                    None if j < step[axis] => gaps.push((j, position)),
                    None => {}
                }
                position += 1;
            }
        }
        let first_gap_bit = inside + usize::from(self.complex);
        (0..inside).for_each(|i| s[first_batch + i] = Some(bit(Dim::B, i)));
        gaps.sort_unstable();
        let vector = self.vectors && shape[1..] == [1, 1] && first_gap_bit >= in_slots;
        let mut free = gaps.into_iter().map(|(_, p)| p);
        let mut next = first_gap_bit;
        while next < in_slots {
            let Some(p) = free.next() else { break };
            s[p] = Some(bit(Dim::B, next));
            next += 1;
        }
        let channel_bits = log2_ceil(shape[0]);
        let mut channels = 0..channel_bits;
        let top = first_batch + inside;
        let places: Vec<usize> = if vector {
            (0..first_batch).chain(top..slots).collect()
        } else {
            free.take(self.fill).chain(top..top + self.channels).collect()
        };
        for (p, c) in places.into_iter().zip(channels.by_ref()) {
            s[p] = Some(bit(Dim::C, c));
        }
        // Above images and channels lie copies, if channels are to be rotated.
        let first = if vector && inside == 0 { 0 } else { top };
        let copies = if self.channels > 0 { s[first..].iter().rev().take_while(|b| b.is_none()).count() } else { 0 };
        cts.extend(channels.map(|i| bit(Dim::C, i)));
        cts.extend((next..total).map(|i| bit(Dim::B, i)));
        Layout { slots: s, cts, complex: self.complex.then(|| bit(Dim::B, inside)), shape, batch, copies, dirty: false }
    }
}

/// log2 of the distance between rows, and between columns, of every value, on a grid of so many
/// bits on which those of the input are `2^input` apart. Values that meet in an elementwise op lie
/// on the same positions.
fn steps(g: &TensorGraph, bits: [usize; 2], input: usize) -> Result<Vec<[usize; 2]>, String> {
    let class = classes(g);
    let mut steps = vec![[input; 2]; g.nodes.len()];
    // In the second round all know where their class lies.
    for round in 0..2 {
        let mut settled = vec![false; g.nodes.len()];
        for (v, n) in g.iter() {
            let c = class[v.index()];
            let Some(a) = n.args.first() else { continue };
            let TensorOp::LinearMap { strides, .. } = &n.op else { continue };
            // A copy of one position to many goes where the others of its class are.
            let (from, to) = (g.ty(*a).chw(), n.ty.chw());
            let copies = from[1..] == [1, 1] && to[1..] != [1, 1];
            let is_input = |u: usize| matches!(g.nodes[u].op, TensorOp::Input {});
            if settled[c] || is_input(c) || (round > 0 && copies && class.iter().filter(|d| **d == c).count() > 1) {
                continue;
            }
            settled[c] = !copies;
            steps[c] = step_of(n, strides[0], steps[class[a.index()]], [from, to], bits)
                .ok_or_else(|| format!("node \"{}\" makes an image of which no grid near that of the input has the positions", n.source))?;
        }
    }
    let all: Vec<[usize; 2]> = class.iter().map(|c| steps[*c]).collect();
    let fits = |shape: [usize; 3], step: [usize; 2]| (0..2).all(|d| shape[d + 1] == 1 || step[d] + log2_ceil(shape[d + 1]) <= bits[d]);
    match g.nodes.iter().zip(&all).find(|(n, step)| !fits(n.ty.chw(), **step)) {
        Some((n, _)) => Err(format!("node \"{}\" makes an image much larger than the input", n.source)),
        None => Ok(all),
    }
}

/// For every value the first of those that share its positions, because elementwise ops join them.
fn classes(g: &TensorGraph) -> Vec<usize> {
    let mut class: Vec<usize> = (0..g.nodes.len()).collect();
    for (v, n) in g.iter().filter(|(_, n)| !matches!(n.op, TensorOp::LinearMap { .. } | TensorOp::Input {})) {
        for a in n.args.iter().map(|a| a.index()) {
            let (one, other) = (class[v.index()], class[a]);
            let (first, last) = (one.min(other), one.max(other));
            class.iter_mut().filter(|c| **c == last).for_each(|c| *c = first);
        }
    }
    class
}

/// The step of a linear map's result behind one of `from`; none if its positions would lie between
/// those of the grid.
fn step_of(n: &Node<Tensor>, stride: [usize; 2], from: [usize; 2], shapes: [[usize; 3]; 2], bits: [usize; 2]) -> Option<[usize; 2]> {
    let [input, output] = shapes;
    if output[1..] == [1, 1] {
        return Some(from);
    }
    let TensorOp::LinearMap { reads, .. } = &n.op else { return Some(from) };
    let axis = |d: usize| -> Option<usize> {
        let len = output[d + 1];
        let fits = |s: &usize| s + log2_ceil(len) <= bits[d];
        if reads.of(0).is_none() {
            // A stride that is no power of two, or rows that would not fit, start anew at the
            // lowest position.
            let log = stride[d].is_power_of_two().then_some(stride[d].trailing_zeros() as usize);
            return Some(log.map(|l| from[d] + l).filter(fits).unwrap_or(0));
        }
        // What is read by lists is as much finer or coarser as the extents say.
        let ratio = if input[d + 1] == 1 { 0.0 } else { (input[d + 1] as f64 / len as f64).log2().round() };
        let step = from[d] as i64 + ratio as i64;
        usize::try_from(step).ok().map(|s| Some(s).filter(fits).unwrap_or(0))
    };
    Some([axis(0)?, axis(1)?])
}
