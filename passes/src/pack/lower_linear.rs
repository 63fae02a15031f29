//! `lower-linear`: (linear map, layout in, layout out) → table of diagonals; the tensor graph becomes packed IR.
//!
//! For every tap and every way the channel bits fall into slots, the elements that the tap moves are grouped by
//! (rotation, ciphertext step); a group is a mask over the output slots. Entries of different channels share it. A mask that could be all ones is
//! dropped: where the input slot is known to be zero, the value of a diagonal does not matter.
//! Batch bits that have another place in the result (units of the operand that are merged into gaps of the result's slots) are moved
//! in the same step: they are one more coordinate of the element, and add taps, not levels. A table describes one unit of the result.
//!
//! A map to 1×1 images that weighs all pixels of a channel alike (global average pooling, with or without a fully connected layer behind)
//! is split: a pointwise map first, then sums over columns and over rows by rotations with unit weights, which need no level.

use super::choose_layout::Layouts;
use crate::error::PassError;
use crate::tensor::linear_form::{Cells, Kernel};
use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::layout::{Dim, Layout, bit};
use chiffre_ir::packed::{PackedGraph, PackedOp};
use chiffre_ir::table::{DiagTable, Entry, Row};
use chiffre_ir::tensor::{TensorGraph, TensorOp};
use std::collections::{BTreeMap, HashMap};

const PASS: &str = "lower-linear";

/// Lowers a graph of `input`, `linear_map`, `mul` and `square` under its layouts.
pub fn lower_linear(g: &TensorGraph, layouts: &Layouts) -> Result<PackedGraph, PassError> {
    let mut out = PackedGraph::new(&g.name);
    let mut map: Vec<ValueId> = vec![];
    for (v, n) in g.iter() {
        let ty = &layouts.values[v.index()];
        let args: Vec<ValueId> = n.args.iter().map(|a| map[a.index()]).collect();
        let value = match &n.op {
            TensorOp::Input {} => out.push(PackedOp::Input {}, vec![], ty.clone(), &n.source),
            TensorOp::Mul {} => out.push(PackedOp::Mul {}, args, ty.clone(), &n.source),
            TensorOp::Chebyshev { coeffs, sine, .. } => {
                let c = g.consts.array(*coeffs).map_err(|e| PassError::at(PASS, &n.source, e.to_string()))?.clone();
                let coeffs = out.consts.add(&format!("t{}.series", out.nodes.len()), c);
                out.push(PackedOp::Chebyshev { coeffs, sine: *sine }, args, ty.clone(), &n.source)
            }
            TensorOp::Square {} => out.push(PackedOp::Square {}, args, ty.clone(), &n.source),
            TensorOp::LinearMap { kernels, strides, origins, bias } => {
                let load = |c| g.consts.array(c).map_err(|e| PassError::at(PASS, &n.source, e.to_string()));
                let mut ks = vec![];
                for (j, a) in n.args.iter().enumerate() {
                    ks.push(Kernel::dense(load(kernels[j])?, g.ty(*a).chw(), n.ty.chw(), strides[j], origins[j], [1, 1]));
                }
                let bias = bias.map(load).transpose()?;
                let only_output = g.outputs.contains(&v) && !g.nodes.iter().any(|m| m.args.contains(&v));
                match only_output.then(|| split_pooling(&ks, &args, ty, &out)).flatten() {
                    Some((pointwise, size)) => pooled(&mut out, &args, &pointwise, size, ty, bias, &n.source),
                    None => linear(&mut out, &args, &ks, ty, bias, &n.source),
                }
            }
            op => {
                let what = match op {
                    TensorOp::Activation { kind, .. } => format!(
                        "activation `{kind}` is not a polynomial: the ckks target does not take it yet; train with degree-2 activations"
                    ),
                    TensorOp::MaxPool { .. } => {
                        "max pooling is not a polynomial: the ckks target does not take it; use average pooling".into()
                    }
                    _ => format!(
                        "`{}` should have been rewritten by compose-linear and fold-scales",
                        chiffre_ir::graph::Op::info(op).mnemonic
                    ),
                };
                return Err(PassError::at(PASS, &n.source, what));
            }
        };
        map.push(value);
    }
    out.outputs = g.outputs.iter().map(|o| map[o.index()]).collect();
    Ok(out)
}

fn linear(out: &mut PackedGraph, args: &[ValueId], ks: &[Kernel], ty: &Layout, bias: Option<&Array>, source: &str) -> ValueId {
    let layouts: Vec<Layout> = args.iter().map(|a| out.ty(*a).clone()).collect();
    let refs: Vec<&Layout> = layouts.iter().collect();
    let table = diagonals(ks, &refs, ty);
    push(out, args, &table, ty, bias, source)
}

fn push(out: &mut PackedGraph, args: &[ValueId], table: &DiagTable, ty: &Layout, bias: Option<&Array>, source: &str) -> ValueId {
    let name = format!("t{}", out.nodes.len());
    let c = table.store(&mut out.consts, &name);
    let bias = bias.map(|b| out.consts.add(&format!("{name}.bias"), bias_slots(b, ty)));
    out.push(
        PackedOp::Linear { taps: table.taps.clone(), rows: c.rows, entries: c.entries, masks: c.masks, bias },
        args.to_vec(),
        ty.clone(),
        source,
    )
}

/// A bias `[C]` or `[C, H, W]` as `[ciphertexts of a unit, period]`, zero where there is no element.
fn bias_slots(b: &Array, l: &Layout) -> Array {
    let [c, h, w] = l.shape;
    let period = l.period();
    let mut a = Array::zeros(vec![l.unit_cts(), period]);
    let per = c * h * w / b.data.len();
    let low = l.low_batch_slots(period);
    for i in 0..c * h * w {
        let p = l.place([0, i / (h * w), i / w % h, i % w]);
        low.iter().for_each(|s| a.data[p.ct * period + p.slot + s] = b.data[i / per]);
    }
    a
}

/// Where an element is in the result and in the operand, as far as one coordinate decides it.
#[derive(Clone, Copy, Default)]
struct Step {
    out_slot: usize,
    out_ct: usize,
    in_slot: usize,
    in_ct: usize,
}

/// Smallest period that describes every tap: that of the layouts, and above every batch bit that moves.
fn joint_period(from: &[&Layout], to: &Layout) -> usize {
    let layouts = from.iter().map(|l| l.period()).max().unwrap_or(1).max(to.period());
    let moved = from.iter().flat_map(|l| {
        let differ = |i: &usize| {
            let b = |l: &Layout| l.slots[*i].filter(|b| b.dim == Dim::B);
            b(l) != b(to)
        };
        (0..to.slots.len()).rev().find(differ).map(|i| 2 << i)
    });
    moved.max().unwrap_or(1).max(layouts)
}

/// Places of all values of the batch bits that lie below `period` or move, within one unit of the result.
fn batch_steps(from: &Layout, to: &Layout, period: usize) -> Vec<Step> {
    let slot = |l: &Layout, bit| l.slots.iter().position(|b| *b == Some(bit)).map(|i| 1usize << i);
    let kept = from.unit_bits() - to.unit_bits();
    let first = from.unit_batch().trailing_zeros() as usize;
    let mut out = vec![Step::default()];
    for index in 0..to.batch_capacity().trailing_zeros() as usize {
        let bit = bit(Dim::B, index);
        let Some(o) = slot(to, bit) else { continue };
        let step = match slot(from, bit) {
            Some(i) if i == o && o >= period => continue,
            Some(in_slot) => Step { out_slot: o, in_slot, ..Step::default() },
            None => {
                debug_assert!((first..first + kept).contains(&index));
                Step { out_slot: o, in_ct: from.unit_cts() << (index - first), ..Step::default() }
            }
        };
        let moved =
            |s: &Step| Step { out_slot: s.out_slot + step.out_slot, in_slot: s.in_slot + step.in_slot, in_ct: s.in_ct + step.in_ct, ..*s };
        out.extend(out.iter().map(moved).collect::<Vec<_>>());
    }
    out
}

/// What a tap does to channel classes: (rotation, input ciphertext of y/x, output ciphertext of y/x) → output slots below the period.
type Groups = BTreeMap<(i64, usize, usize), Vec<usize>>;

/// The table of Σ_k kernel_k(arg_k) under layouts, for one unit of the result.
pub fn diagonals(kernels: &[Kernel], from: &[&Layout], to: &Layout) -> DiagTable {
    let slots = to.slot_count() as i64;
    let period = joint_period(from, to);
    let mut t = DiagTable { outputs: to.unit_cts(), ..DiagTable::default() };
    let mut taps: BTreeMap<i64, u32> = BTreeMap::new();
    let mut rows: HashMap<Row, u32> = HashMap::new();
    let mut masks: HashMap<Vec<usize>, u32> = HashMap::new();
    // (row, output, mask) → weight
    let mut cells: BTreeMap<(u32, u32, i64), f64> = BTreeMap::new();
    for (operand, (k, l)) in kernels.iter().zip(from).enumerate() {
        let occupied: Vec<bool> = l.occupied().into_iter().cycle().take(period).collect();
        // Where the result has no element: what a dirty one holds there does not matter.
        let clean = Layout { dirty: false, ..to.clone() };
        let wanted: Vec<bool> = clean.occupied().into_iter().map(|o| o || !to.dirty).cycle().take(period).collect();
        let batch = batch_steps(l, to, period);
        let place = |l: &Layout, n: usize| (0..n).map(|c| l.part(Dim::C, c)).collect::<Vec<_>>();
        let (outs, ins) = (place(to, k.output[0]), place(l, k.input[0]));
        for (&(dy, dx), tap_cells) in &k.taps {
            let mut groups: HashMap<(usize, usize), Groups> = HashMap::new();
            for (&(o, i), &w) in tap_cells {
                let (po, pi) = (outs[o], ins[i]);
                let g = groups.entry((po.slot, pi.slot)).or_insert_with(|| moves(k, l, to, (dy, dx), [po.slot, pi.slot], &batch));
                for (&(rot, in_ct, out_ct), list) in g.iter() {
                    let rot = if rot > slots / 2 { rot - slots } else { rot };
                    let n = taps.len() as u32;
                    let tap = *taps.entry(rot).or_insert(n);
                    let n = rows.len() as u32;
                    let row = *rows.entry(Row { operand: operand as u32, ct: (pi.ct + in_ct) as u32, tap }).or_insert(n);
                    let mask = if scalar(list, rot, period, &occupied, &wanted) {
                        -1
                    } else {
                        let n = masks.len() as u32;
                        *masks.entry(list.clone()).or_insert(n) as i64
                    };
                    *cells.entry((row, (po.ct + out_ct) as u32, mask)).or_insert(0.0) += w;
                }
            }
        }
    }
    finish(&mut t, taps, rows, masks, cells, period);
    t
}

/// Which output slots a tap fills, for channels at the given slot offsets.
fn moves(k: &Kernel, from: &Layout, to: &Layout, (dy, dx): (i64, i64), [out_slot, in_slot]: [usize; 2], batch: &[Step]) -> Groups {
    let slots = to.slot_count() as i64;
    let mut g = Groups::new();
    let axis = |d: Dim, stride: usize, delta: i64| -> Vec<Step> {
        (0..to.extent(d))
            .filter_map(|v| {
                let s = usize::try_from((stride * v) as i64 + delta).ok().filter(|s| *s < from.extent(d))?;
                let (a, b) = (to.part(d, v), from.part(d, s));
                Some(Step { out_slot: a.slot, out_ct: a.ct, in_slot: b.slot, in_ct: b.ct })
            })
            .collect()
    };
    let (ys, xs) = (axis(Dim::Y, k.stride[0], dy), axis(Dim::X, k.stride[1], dx));
    for y in &ys {
        for x in &xs {
            for b in batch {
                let (o, i) = (out_slot + y.out_slot + x.out_slot + b.out_slot, in_slot + y.in_slot + x.in_slot + b.in_slot);
                let rot = (i as i64 - o as i64).rem_euclid(slots);
                g.entry((rot, y.in_ct + x.in_ct + b.in_ct, y.out_ct + x.out_ct)).or_default().push(o);
            }
        }
    }
    g.values_mut().for_each(|l| l.sort_unstable());
    g
}

/// True if a constant diagonal has the same effect as the mask: every output slot outside it that is wanted reads a slot that is zero.
fn scalar(list: &[usize], rot: i64, period: usize, occupied: &[bool], wanted: &[bool]) -> bool {
    let mut inside = vec![false; period];
    list.iter().for_each(|&s| inside[s] = true);
    (0..period).all(|s| inside[s] || !wanted[s] || !occupied[(s as i64 + rot).rem_euclid(period as i64) as usize])
}

/// Puts the collected parts in a canonical order: rows by (operand, tap, ciphertext), masks by content.
fn finish(
    t: &mut DiagTable,
    taps: BTreeMap<i64, u32>,
    rows: HashMap<Row, u32>,
    masks: HashMap<Vec<usize>, u32>,
    cells: BTreeMap<(u32, u32, i64), f64>,
    period: usize,
) {
    t.taps = taps.keys().copied().collect();
    let tap_map: HashMap<u32, u32> = taps.values().enumerate().map(|(new, &old)| (old, new as u32)).collect();
    let mut sorted: Vec<(Row, u32)> = rows.into_iter().map(|(r, old)| (Row { tap: tap_map[&r.tap], ..r }, old)).collect();
    sorted.sort_by_key(|(r, _)| (r.operand, r.tap, r.ct));
    t.rows = sorted.iter().map(|(r, _)| *r).collect();
    let row_map: HashMap<u32, u32> = sorted.iter().enumerate().map(|(new, (_, old))| (*old, new as u32)).collect();
    let mut lists: Vec<(Vec<usize>, u32)> = masks.into_iter().collect();
    lists.sort();
    let mask_map: HashMap<u32, u32> = lists.iter().enumerate().map(|(new, (_, old))| (*old, new as u32)).collect();
    t.masks = lists
        .iter()
        .map(|(l, _)| {
            let mut m = vec![0.0; period];
            l.iter().for_each(|&s| m[s] = 1.0);
            m
        })
        .collect();
    t.entries = cells
        .into_iter()
        .filter(|(_, w)| *w != 0.0)
        .map(|((row, output, mask), w)| Entry {
            row: row_map[&row],
            output,
            mask: u32::try_from(mask).ok().map(|m| mask_map[&m]),
            weight: w as f32,
        })
        .collect();
    t.entries.sort_by_key(|e| (e.row, e.output, e.mask));
}

/// If every kernel weighs all pixels of a rectangle at the origin alike: the pointwise kernels and the rectangle.
fn split_pooling(ks: &[Kernel], args: &[ValueId], ty: &Layout, g: &PackedGraph) -> Option<(Vec<Kernel>, [usize; 2])> {
    let mut size: Option<[usize; 2]> = None;
    let mut out = vec![];
    for (k, a) in ks.iter().zip(args) {
        let ((_, first), (&(y1, x1), _)) = (k.taps.first_key_value()?, k.taps.last_key_value()?);
        let s = [usize::try_from(y1).ok()? + 1, usize::try_from(x1).ok()? + 1];
        if [k.output[1], k.output[2]] != [1, 1]
            || s[0] * s[1] < 4
            || k.taps.len() != s[0] * s[1]
            || !g.ty(*a).same_batch(ty)
            || g.ty(*a).cts.iter().any(|b| matches!(b.dim, Dim::Y | Dim::X))
            || *size.get_or_insert(s) != s
        {
            return None;
        }
        if !k.taps.values().all(|c: &Cells| c == first) || g.ty(*a).slots != g.ty(args[0]).slots {
            return None;
        }
        let output = [k.output[0], k.input[1], k.input[2]];
        out.push(Kernel { input: k.input, output, stride: [1, 1], taps: BTreeMap::from([((0, 0), first.clone())]) });
    }
    // The pointwise map's result lies like its operand, with the channels of the result.
    let mid = Layout { shape: out.first()?.output, cts: ty.cts.clone(), ..g.ty(args[0]).clone() };
    mid.check().is_empty().then_some((out, size?))
}

/// Pointwise map, then unit-weight sums over columns and rows; the result's other slots hold partial sums (`dirty`).
fn pooled(
    out: &mut PackedGraph,
    args: &[ValueId],
    ks: &[Kernel],
    size: [usize; 2],
    ty: &Layout,
    bias: Option<&Array>,
    source: &str,
) -> ValueId {
    let from = out.ty(args[0]).clone();
    let cts = ty.cts.clone();
    let mid = Layout { shape: ks[0].output, cts, ..from.clone() };
    let mut v = linear(out, args, ks, &mid, None, source);
    for (axis, d) in [(1, Dim::X), (0, Dim::Y)] {
        if size[axis] == 1 {
            continue;
        }
        let step = |i: usize| from.part(d, i).slot as i64;
        let taps: Vec<i64> = (0..size[axis]).map(step).collect();
        let n = mid.unit_cts();
        let mut t = DiagTable { taps, outputs: n, ..DiagTable::default() };
        for tap in 0..size[axis] as u32 {
            for ct in 0..n as u32 {
                t.entries.push(Entry { row: t.rows.len() as u32, output: ct, mask: None, weight: 1.0 });
                t.rows.push(Row { operand: 0, ct, tap });
            }
        }
        let last = axis == 0 || size[0] == 1;
        let ty = if last { Layout { dirty: true, ..ty.clone() } } else { Layout { dirty: true, ..mid.clone() } };
        v = push(out, &[v], &t, &ty, if last { bias } else { None }, source);
    }
    v
}
