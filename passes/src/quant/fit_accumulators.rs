//! `fit-accumulators`: tables become small. What a look-up reads loses its lowest bits, and is
//! shifted so that the table's own symmetry yields what lies beyond its ends, where the function
//! has saturated.

use super::accuracy::{Judge, calibration, meets};
use super::settle::settle;
use crate::activation::degree::Accuracy;
use crate::error::PassError;
use crate::options::QuantOptions;
use crate::pass::Context;
use chiffre_backend::tfhe::demand;
use chiffre_ir::consts::{Array, IntsId};
use chiffre_ir::graph::ValueId;
use chiffre_ir::quant::{QuantGraph, QuantOp, QuantType, entry, prepare, run};
use chiffre_ir::tensor::TensorGraph;
use rayon::prelude::*;

const PASS: &str = "fit-accumulators";

/// log2 of the sizes of tables that are tried.
const SIZES: std::ops::RangeInclusive<u32> = 2..=7;

/// How many entries a look-up behind an approximate rounding may be off: the more, the more noise
/// may its operand have, and the cheaper is what makes the operand.
const SLACKS: [Option<u32>; 3] = [Some(1), Some(2), Some(3)];

/// The graph with small tables: of those that keep to the target of accuracy the one with the least
/// predicted time, else the most accurate one.
///
/// # Errors
/// No calibration images; no size with parameters.
pub fn fit_accumulators(g: &QuantGraph, original: &TensorGraph, cx: &Context) -> Result<(QuantGraph, Accuracy), PassError> {
    let set = calibration(PASS, cx.options)?;
    let judge = Judge::new(PASS, original, set)?;
    let reached = reached(g, &judge)?;
    let sizes: Vec<u32> = cx.options.quant.table_bits.map_or(SIZES.collect(), |b| vec![b]);
    let mut made: Vec<(QuantGraph, Accuracy, f64)> = vec![];
    let failure = cx.options.bootstrap.log2_failure.unwrap_or(super::select_params::LOG2_FAILURE);
    let slacks: &[Option<u32>] = if cx.options.quant.approximate { &SLACKS } else { &[None] };
    for (&size, &slack) in sizes.iter().flat_map(|size| slacks.iter().map(move |slack| (size, slack))) {
        let fitted = fit(g, &reached, size, slack, &cx.options.quant)?;
        let demand = demand(&fitted, -failure).map_err(|e| PassError::clear(PASS, "", e))?;
        let (seconds, accuracy) = match cx.facts().tfhe(&demand) {
            None => (demand.lookups() as f64, judge.accuracy(PASS, &fitted)?),
            Some(Ok(found)) => (demand.seconds(&found.params), judge.noisy_accuracy(PASS, &fitted, &found.params)?),
            // The last one says why, if none will do.
            Some(Err(_)) if made.is_empty() && (Some(&size), Some(&slack)) != (sizes.last(), slacks.last()) => continue,
            Some(Err(_)) => (f64::INFINITY, judge.accuracy(PASS, &fitted)?),
        };
        tracing::debug!(size, slack, %accuracy, lookups = demand.lookups(), seconds, "tables");
        made.push((fitted, accuracy, seconds));
    }
    let enough = |a: &Accuracy| meets(a, cx.options.activations.target, 1.0);
    let best = match made.iter().any(|(_, a, s)| enough(a) && s.is_finite()) {
        true => made.into_iter().filter(|(_, a, _)| enough(a)).min_by(|a, b| a.2.total_cmp(&b.2)),
        false => made.into_iter().min_by(|a, b| {
            (a.2.is_infinite(), a.1.loss()).partial_cmp(&(b.2.is_infinite(), b.1.loss())).unwrap_or(std::cmp::Ordering::Equal)
        }),
    };
    let (fitted, accuracy, _) = best.ok_or_else(|| PassError::bug(PASS, "", "no size of tables was tried".into()))?;
    if !enough(&accuracy) {
        tracing::warn!("small integers lose more than asked for: {accuracy} on the calibration images");
    }
    Ok((fitted, accuracy))
}

/// The smallest and the largest element of each channel of every value, on the calibration images.
fn reached(g: &QuantGraph, judge: &Judge) -> Result<Vec<Vec<[i64; 2]>>, PassError> {
    let consts = prepare(g).map_err(|e| PassError::clear(PASS, "", e))?;
    let (images, n) = judge.images();
    let Some(input) = g.nodes.iter().find(|n| matches!(n.op, QuantOp::Input {})) else {
        return Err(PassError::at(PASS, "", "the graph has no input".into()));
    };
    let none = || g.nodes.iter().map(|n| vec![[i64::MAX, i64::MIN]; n.ty.chw()[0]]).collect::<Vec<_>>();
    let one = |image: &[f32]| {
        let mut all = none();
        run(g, &consts, &entry(&input.ty, image), |v, x| {
            let plane = (x.len() / all[v.index()].len()).max(1);
            for (r, x) in all[v.index()].iter_mut().zip(x.chunks(plane)) {
                *r = x.iter().fold(*r, |[lo, hi], x| [lo.min(*x as i64), hi.max(*x as i64)]);
            }
        });
        all
    };
    let join = |mut a: Vec<Vec<[i64; 2]>>, b: Vec<Vec<[i64; 2]>>| {
        a.iter_mut().flatten().zip(b.iter().flatten()).for_each(|(a, b)| *a = [a[0].min(b[0]), a[1].max(b[1])]);
        a
    };
    Ok(images.par_chunks((images.len() / n.max(1)).max(1)).map(one).reduce(none, join))
}

/// Every look-up with a table of `2^size` entries, where it has more.
fn fit(g: &QuantGraph, reached: &[Vec<[i64; 2]>], size: u32, slack: Option<u32>, options: &QuantOptions) -> Result<QuantGraph, PassError> {
    let mut out = QuantGraph { nodes: vec![], outputs: vec![], ..g.clone() };
    let mut values: Vec<ValueId> = vec![];
    for (v, n) in g.iter() {
        let args: Vec<ValueId> = n.args.iter().map(|a| values[a.index()]).collect();
        let fitted = match &n.op {
            QuantOp::Lookup { table, flip } if fits(g, v) && g.ty(n.args[0]).bits > size => {
                let table = g.consts.ints(*table).map_err(|e| PassError::clear(PASS, &n.source, e))?;
                let ranges = widened(&reached[n.args[0].index()], options.margin, table.shape[1] as i64);
                let window = Window::find(table, *flip, &ranges, size, slack);
                Some(replace(&mut out, args[0], &window, &n.ty, *flip, &n.source)?)
            }
            _ => None,
        };
        values.push(fitted.unwrap_or_else(|| out.push(n.op.clone(), args, n.ty.clone(), &n.source)));
    }
    out.outputs = g.outputs.iter().map(|o| values[o.index()]).collect();
    settle(&mut out);
    out.prune(|_| false);
    Ok(out)
}

/// True for a look-up whose operand is a linear map that nothing else reads.
fn fits(g: &QuantGraph, v: ValueId) -> bool {
    let operand = g.node(v).args[0];
    g.use_counts()[operand.index()] == 1 && matches!(g.node(operand).op, QuantOp::LinearMap { .. })
}

/// Ranges with a margin, within the ends of a table.
fn widened(ranges: &[[i64; 2]], margin: f64, entries: i64) -> Vec<[i64; 2]> {
    let wide = |r: &[i64; 2]| {
        let more = ((margin - 1.0).max(0.0) * (r[1] - r[0]).max(0) as f64 / 2.0).ceil() as i64;
        [(r[0] - more).max(0), (r[1] + more).min(entries - 1)]
    };
    ranges.iter().map(wide).collect()
}

/// Shifts the linear map `sum`, rounds it, and looks up.
fn replace(out: &mut QuantGraph, sum: ValueId, w: &Window, ty: &QuantType, flip: i64, source: &str) -> Result<ValueId, PassError> {
    let channels = w.shifts.len();
    let QuantOp::LinearMap { bias, .. } = out.node(sum).op.clone() else {
        return Err(PassError::bug(PASS, source, "a look-up of no linear map".into()));
    };
    let mut shifted = match bias {
        Some(b) => out.consts.ints(b).map_err(|e| PassError::clear(PASS, source, e))?.clone(),
        None => Array::new(vec![channels], vec![0; channels]),
    };
    let per = (shifted.data.len() / channels).max(1);
    shifted.data.iter_mut().enumerate().for_each(|(i, b)| *b += w.shifts[i / per]);
    let shifted: IntsId = out.consts.add_ints("bias", shifted);
    let node = &mut out.nodes[sum.index()];
    if let QuantOp::LinearMap { bias, .. } = &mut node.op {
        *bias = Some(shifted);
    }
    (node.ty.bits, node.ty.range) = (w.size + w.removed, w.range);
    let mut operand = sum;
    if w.removed > 0 {
        let from = out.ty(sum);
        let half = 1i64 << (w.removed - 1);
        let scale = from.scale.iter().map(|s| s * 2f64.powi(w.removed as i32)).collect();
        let ty = QuantType { bits: w.size, range: w.range.map(|x| (x + half) >> w.removed), scale, shape: from.shape.clone() };
        operand = out.push(QuantOp::Round { slack: w.slack }, vec![sum], clipped(ty), source);
    }
    let table = out.consts.add_ints("table", w.table.clone());
    Ok(out.push(QuantOp::Lookup { table, flip }, vec![operand], ty.clone(), source))
}

/// A type whose range fits its bits.
fn clipped(mut ty: QuantType) -> QuantType {
    ty.range[1] = ty.range[1].min(ty.range[0] + (2 << ty.bits) - 1);
    ty
}

/// A small table, and how what it is looked up with comes to be.
struct Window {
    size: u32,
    /// Bits that are removed.
    removed: u32,
    /// If they are not, how many cells a look-up may be off.
    slack: Option<u32>,
    /// What is added to each channel before.
    shifts: Vec<i64>,
    /// What the shifted sums reach.
    range: [i64; 2],
    table: Array<i64>,
}

/// A function of integers, as a large table has it; constant beyond its ends.
struct Large<'a>(&'a [i64]);

impl Large<'_> {
    fn at(&self, x: i64) -> i64 {
        self.0[x.clamp(0, self.0.len() as i64 - 1) as usize]
    }
}

impl Window {
    /// The window with the fewest removed bits in which every channel's range has a place.
    fn find(table: &Array<i64>, flip: i64, ranges: &[[i64; 2]], size: u32, slack: Option<u32>) -> Window {
        let entries = table.shape[1];
        let rows: Vec<Large> = (0..ranges.len()).map(|c| Large(&table.data[c % table.shape[0] * entries..][..entries])).collect();
        let bits = entries.trailing_zeros();
        // Cells beyond the first and the last one have to be right as well.
        let beyond = |removed: u32| i64::from(if removed > 0 { slack.unwrap_or(0) } else { 0 });
        let most = bits - size + u32::from(slack.is_some());
        for removed in 0..most {
            let shifts: Option<Vec<i64>> =
                rows.iter().zip(ranges).map(|(f, r)| place(f, flip, *r, size, removed, beyond(removed))).collect();
            if let Some(shifts) = shifts {
                return Window::new(&rows, ranges, shifts, [size, removed], slack);
            }
        }
        // As many bits as there are too many: everything has a place.
        let removed = most;
        let shifts = rows.iter().zip(ranges).map(|(f, r)| place(f, flip, *r, size, removed, beyond(removed)).unwrap_or(0)).collect();
        Window::new(&rows, ranges, shifts, [size, removed], slack)
    }
    fn new(rows: &[Large], ranges: &[[i64; 2]], shifts: Vec<i64>, [size, removed]: [u32; 2], slack: Option<u32>) -> Window {
        let table = rows.iter().zip(&shifts).flat_map(|(f, shift)| (0..1i64 << size).map(move |cell| f.at((cell << removed) - shift)));
        let table = Array::new(vec![rows.len(), 1 << size], table.collect());
        let [lo, hi] = ranges.iter().zip(&shifts).fold([i64::MAX, i64::MIN], |[lo, hi], (r, s)| [lo.min(r[0] + s), hi.max(r[1] + s)]);
        let hi = hi.min(lo + (2 << (size + removed)) - 1);
        Window { size, removed, slack, shifts, range: [lo, hi], table }
    }
}

/// What is to be added to a channel so that a table of `2^size` cells of `2^removed` integers each
/// yields the function on the whole range and `beyond` cells more on either side; the nearest to
/// the middle of those that do.
fn place(f: &Large, flip: i64, [lo, hi]: [i64; 2], size: u32, removed: u32, beyond: i64) -> Option<i64> {
    if lo > hi {
        return Some(0);
    }
    let (cells, half) = (1i64 << size, (1i64 << removed) >> 1);
    let needed = ((hi - lo) >> removed) + 1;
    if needed + 2 * beyond > 2 * cells {
        return None;
    }
    // The range begins at the beginning of cell `first`, or in the middle of what is left over.
    let spare = ((1 << removed) - 1 - ((hi - lo) & ((1 << removed) - 1))) / 2;
    let shift = |first: i64| (first << removed) - half - lo + spare;
    let right = |first: &i64| {
        let shift = shift(*first);
        let entry = |cell: i64| f.at((cell << removed) - shift);
        let cell = |x: i64| (x + shift + half) >> removed;
        (cell(lo) - beyond..=cell(hi) + beyond).all(|c| {
            let at = c.rem_euclid(2 * cells);
            let found = if at < cells { entry(at) } else { flip - entry(at - cells) };
            found == entry(c)
        })
    };
    let middle = (cells - needed).div_euclid(2);
    let mut candidates: Vec<i64> = (-cells..=cells).collect();
    candidates.sort_by_key(|c| (c - middle).abs());
    candidates.into_iter().find(right).map(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// min(max(x − 8, 0), 3) on 0..32.
    fn relu() -> Vec<i64> {
        (0..32).map(|x: i64| (x - 8).clamp(0, 3)).collect()
    }

    #[test]
    fn saturation_needs_no_entries() {
        let table = relu();
        // Eight entries serve fourteen arguments: where f is 0, it is 3 eight further.
        let shift = place(&Large(&table), 3, [3, 16], 3, 0, 0).expect("eight cells");
        let cell = |x: i64| (x + shift).rem_euclid(16);
        let entry = |i: i64| table[(i - shift) as usize];
        for x in 3..=16 {
            let found = if cell(x) < 8 { entry(cell(x)) } else { 3 - entry(cell(x) - 8) };
            assert_eq!(found, table[x as usize], "{x}");
        }
        assert_eq!(place(&Large(&table), 3, [3, 17], 3, 0, 0), None, "9 is 1, and 17 is not 2");
        assert_eq!(place(&Large(&table), 0, [3, 16], 3, 0, 0), None, "without the right symmetry");
        assert_eq!(place(&Large(&table), 3, [0, 31], 3, 0, 0), None, "more than two tables");
        assert_eq!(place(&Large(&table), 3, [3, 16], 3, 0, 1), None, "the neighbours of the ends are not right");
        assert!(place(&Large(&table), 3, [4, 15], 3, 0, 1).is_some());
    }

    #[test]
    fn bits_are_removed_where_nothing_else_helps() {
        let line = Array::new(vec![1, 64], (0..64).collect());
        let w = Window::find(&line, 63, &[[0, 63]], 3, None);
        assert_eq!((w.removed, w.table.data.len()), (3, 8));
        for x in 0..64i64 {
            let cell = ((x + w.shifts[0] + 4) >> 3) as usize;
            assert!((w.table.data[cell] - x).abs() <= 4, "{x} becomes {}", w.table.data[cell]);
        }
        let narrow = Window::find(&line, 63, &[[20, 27]], 3, None);
        assert_eq!((narrow.removed, narrow.shifts[0]), (0, -20));
    }
}
