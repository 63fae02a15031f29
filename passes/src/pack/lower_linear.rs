//! `lower-linear`: (linear map, layout in, layout out) → table of diagonals; the tensor graph
//! becomes packed IR.
//!
//! For every tap and every way the channel bits fall into slots, the elements that the tap moves
//! are grouped by (rotation, ciphertext step); a group is a mask over the output slots. Entries of
//! different channels share it. A mask that could be all ones is dropped: where the input slot is
//! known to be zero, the value of a diagonal does not matter. Batch bits that have another place in
//! the result (units of the operand that are merged into gaps of the result's slots) are moved in
//! the same step: they are one more coordinate of the element, and add taps, not levels. A table
//! describes one unit of the result.
//!
//! Global pooling becomes a pointwise map and sums by rotation (`pooling.rs`), a map whose result
//! repeats one position of it and copies (`copies.rs`); a map with many
//! rotations, which channels in the slots need, is cut into baby steps and giant steps where
//! `choose-layout` says so (`split.rs`).

use super::channels::{Class, Extents, Meeting, Move, joint_period};
use super::copies::{self, Copies, Stage};
use super::fold::{Fold, Window};
use super::layouts::{Layouts, Way, is_last};
use super::pooling::{Pooling, pointwise};
use super::split;
use super::summing::{self, Summing};
use crate::error::PassError;
use crate::tensor::linear_form::{Kernel, Spec};
use crate::tensor::products_rescale;
use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::layout::Layout;
use chiffre_ir::packed::{PackedGraph, PackedOp};
use chiffre_ir::table::{DiagTable, Entry, Masks, Row, TableError, TableLiteral};
use chiffre_ir::tensor::{TensorGraph, TensorOp};
use std::collections::{BTreeMap, HashMap};

const PASS: &str = "lower-linear";

/// Lowers a graph of `input`, `linear_map`, `mul` and `square` under its layouts.
pub fn lower_linear(g: &TensorGraph, layouts: &Layouts) -> Result<PackedGraph, PassError> {
    let mut out = PackedGraph::new(&g.name);
    let mut map: Vec<ValueId> = vec![];
    let rescale = products_rescale(g);
    for (v, n) in g.iter() {
        let ty = &layouts.values[v.index()];
        let args: Vec<ValueId> = n.args.iter().map(|a| map[a.index()]).collect();
        let value = match &n.op {
            TensorOp::Input {} => out.push(PackedOp::Input {}, vec![], ty.clone(), &n.source),
            TensorOp::Mul {} => product(&mut out, PackedOp::Mul {}, args, ty, &n.source, rescale)?,
            TensorOp::Chebyshev { coeffs, sine, .. } => {
                let c = g.consts.array(*coeffs).map_err(|e| PassError::clear(PASS, &n.source, e))?.clone();
                let coeffs = out.consts.add(&format!("t{}.series", out.nodes.len()), c);
                out.push(PackedOp::Chebyshev { coeffs, sine: *sine }, args, ty.clone(), &n.source)
            }
            TensorOp::Square {} => product(&mut out, PackedOp::Square {}, args, ty, &n.source, rescale)?,
            TensorOp::LinearMap { kernels, strides, origins, bias, reads, groups } => {
                let load = |c| g.consts.array(c).map_err(|e| PassError::clear(PASS, &n.source, e));
                let arrays: Vec<&Array> = kernels.iter().map(|k| load(*k)).collect::<Result<_, _>>()?;
                let bias = bias.map(load).transpose()?;
                let from: Vec<&Layout> = n.args.iter().map(|a| &layouts.values[a.index()]).collect();
                let of = |arrays: &[&Array], output: [usize; 3], strides: &[[usize; 2]]| -> Vec<Kernel> {
                    let shapes = n.args.iter().map(|a| g.ty(*a).chw());
                    let spec = |j: usize| Spec { stride: strides[j], ..Spec::of(&n.op, j) };
                    shapes.enumerate().map(|(j, shape)| Kernel::of(arrays[j], shape, output, spec(j))).collect()
                };
                let way = layouts.ways[v.index()];
                let strided = reads.0.is_empty() && groups.is_none();
                let pooling = (strided && is_last(g, v)).then(|| Pooling::find(&arrays, origins, &from, ty)).flatten();
                match pooling {
                    Some(p) => {
                        let points: Vec<Array> = arrays.iter().map(|k| pointwise(k)).collect();
                        let ks = of(&points.iter().collect::<Vec<_>>(), p.mid.shape, &vec![[1, 1]; points.len()]);
                        let mid = linear(&mut out, &args, &ks, &p.mid, None, &n.source, way);
                        mid.and_then(|mid| sums(&mut out, mid, &p.sums(), &dirty(&p.mid), &dirty(ty), bias, &n.source))
                    }
                    None if way.summed => {
                        let mut sums = vec![];
                        for (j, w) in arrays.iter().enumerate() {
                            let ([c, h, w_], output) = (g.ty(n.args[j]).chw(), n.ty.chw());
                            let point = summing::alike(w, Spec::of(&n.op, j), [h, w_], output);
                            let (Some(point), Some(s)) = (point, Summing::find(from[j], ty)) else {
                                return Err(PassError::at(PASS, &n.source, "the positions of its operand cannot be added first".into()));
                            };
                            sums.push((s, Kernel::of(&point, [c, 1, 1], output, Spec::POINT)));
                        }
                        summed(&mut out, &args, sums, ty, bias, &n.source, way)
                    }
                    None => {
                        let kernels = of(&arrays, n.ty.chw(), strides);
                        match way.radix {
                            Some(radix) => copied(&mut out, &args, kernels, ty, bias, &n.source, (way, radix)),
                            None => linear(&mut out, &args, &kernels, ty, bias, &n.source, way),
                        }
                    }
                }
                .map_err(|e| PassError::capacity(PASS, &n.source, e.to_string()))?
            }
            op => {
                let what = match op {
                    TensorOp::Activation { kind, .. } => format!(
                        "activation `{kind}` is not a polynomial: the ckks target does not take it yet; train with degree-2 activations"
                    ),
                    TensorOp::Function { of, .. } => format!("the function `{of}` is not a polynomial: run approximate-activations first"),
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

/// A product, and a map with weights of one behind it where it has to be rescaled at once.
fn product(
    out: &mut PackedGraph,
    op: PackedOp,
    args: Vec<ValueId>,
    ty: &Layout,
    source: &str,
    rescale: bool,
) -> Result<ValueId, PassError> {
    let v = out.push(op, args, ty.clone(), source);
    if !rescale {
        return Ok(v);
    }
    let mut t = TableLiteral { taps: vec![0], outputs: ty.unit_cts(), ..TableLiteral::default() };
    for ct in 0..t.outputs as u32 {
        t.rows.push(Row { operand: 0, ct, tap: 0 });
        t.entries.push(Entry { row: ct, output: ct, mask: None, weight: 1.0 });
    }
    let table = DiagTable::new(t).map_err(|e| PassError::capacity(PASS, source, e.to_string()))?;
    Ok(push(out, &[v], table, ty, None, source))
}

/// The same places, where other slots hold partial sums.
fn dirty(l: &Layout) -> Layout {
    Layout { dirty: true, ..l.clone() }
}

/// One linear map, or two if a modulus cuts its rotations, and the sums of one that is folded.
fn linear(
    out: &mut PackedGraph,
    args: &[ValueId],
    ks: &[Kernel],
    ty: &Layout,
    bias: Option<&Array>,
    source: &str,
    way: Way,
) -> Result<ValueId, TableError> {
    let layouts: Vec<Layout> = args.iter().map(|a| out.ty(*a).clone()).collect();
    let from: Vec<&Layout> = layouts.iter().collect();
    if let Some(fold) = Fold::find(&from, ty).filter(|_| way.folded) {
        let table = diagonals(ks, &from, ty, Some(fold.window))?;
        let v = cut(out, args, table, &fold.mid, None, source, way.modulus)?;
        return sums(out, v, &fold.sums(), &fold.mid, ty, bias, source);
    }
    let table = diagonals(ks, &from, ty, None)?;
    cut(out, args, table, ty, bias, source, way.modulus)
}

/// One linear map by a table, or two if a modulus cuts its rotations.
fn cut(
    out: &mut PackedGraph,
    args: &[ValueId],
    table: DiagTable,
    ty: &Layout,
    bias: Option<&Array>,
    source: &str,
    modulus: Option<i64>,
) -> Result<ValueId, TableError> {
    let layouts: Vec<Layout> = args.iter().map(|a| out.ty(*a).clone()).collect();
    let Some(modulus) = modulus else { return Ok(push(out, args, table, ty, bias, source)) };
    let copies: Vec<usize> = layouts.iter().map(Layout::copy_slots).collect();
    let [partials, sum] = split::tables(&table, &copies, modulus)?;
    let mid = split::partials_layout(ty, sum.taps.len());
    let v = push(out, args, partials, &mid, None, source);
    Ok(push(out, &[v], sum, ty, bias, source))
}

/// One position of a map whose result repeats, and its copies.
fn copied(
    out: &mut PackedGraph,
    args: &[ValueId],
    mut ks: Vec<Kernel>,
    ty: &Layout,
    bias: Option<&Array>,
    source: &str,
    (way, radix): (Way, usize),
) -> Result<ValueId, TableError> {
    let Some(along) = copies::axes(ks.iter().map(|k| (&k.reading, k.input)), ty.shape) else {
        return linear(out, args, &ks, ty, bias, source, way);
    };
    for k in &mut ks {
        k.reading = copies::first_position(&k.reading, along);
        k.output = copies::first_shape(k.output, along);
    }
    let Copies { first, stages } = Copies::new(along, ty, radix);
    let mut v = linear(out, args, &ks, &first, None, source, way)?;
    let last = stages.len();
    for (i, Stage { kernel, to }) in stages.into_iter().enumerate() {
        let table = diagonals(&[kernel], &[out.ty(v)], &to, None)?;
        v = push(out, &[v], table, &to, bias.filter(|_| i + 1 == last), source);
    }
    Ok(v)
}

/// The sums of the operands' positions, and a map that reads them.
fn summed(
    out: &mut PackedGraph,
    args: &[ValueId],
    all: Vec<(Summing, Kernel)>,
    ty: &Layout,
    bias: Option<&Array>,
    source: &str,
    way: Way,
) -> Result<ValueId, TableError> {
    let (mut read, mut kernels) = (vec![], vec![]);
    for (&arg, (summing, kernel)) in args.iter().zip(all) {
        let mut v = arg;
        for table in summing.tables()? {
            v = push(out, &[v], table, &summing.mid, None, source);
        }
        read.push(v);
        kernels.push(kernel);
    }
    linear(out, &read, &kernels, ty, bias, source, way)
}

/// Sums under rotations, one after the other: results have the layout `mid`, the last one `ty`.
fn sums(
    out: &mut PackedGraph,
    mut v: ValueId,
    all: &[Vec<i64>],
    mid: &Layout,
    ty: &Layout,
    bias: Option<&Array>,
    source: &str,
) -> Result<ValueId, TableError> {
    let n = mid.unit_cts();
    for (i, taps) in all.iter().enumerate() {
        let mut t = TableLiteral { taps: taps.clone(), outputs: n, ..TableLiteral::default() };
        for tap in 0..taps.len() as u32 {
            for ct in 0..n as u32 {
                t.entries.push(Entry { row: t.rows.len() as u32, output: ct, mask: None, weight: 1.0 });
                t.rows.push(Row { operand: 0, ct, tap });
            }
        }
        let last = i + 1 == all.len();
        let ty = if last { ty } else { mid };
        v = push(out, &[v], DiagTable::new(t)?, ty, if last { bias } else { None }, source);
    }
    Ok(v)
}

fn push(out: &mut PackedGraph, args: &[ValueId], table: DiagTable, ty: &Layout, bias: Option<&Array>, source: &str) -> ValueId {
    let name = format!("t{}", out.nodes.len());
    let taps = table.taps.clone();
    let table = out.consts.add_table(&format!("{name}.table"), table);
    let bias = bias.map(|b| out.consts.add(&format!("{name}.bias"), bias_slots(b, ty)));
    out.push(PackedOp::Linear { taps, table, bias }, args.to_vec(), ty.clone(), source)
}

/// A bias `[C]` or `[C, H, W]` as `[ciphertexts of a unit, period]`, zero where there is no
/// element.
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

/// A weight and where it belongs, before rows and masks have their final numbers.
struct Cell {
    row: Row,
    output: u32,
    /// Number of the mask in order of appearance.
    mask: Option<u32>,
    weight: f64,
}

/// A move of the class's first ciphertexts: row, output, and number of the mask.
type Numbered = (Row, usize, Option<u32>);

/// The table of Σ_k kernel_k(arg_k) under layouts, for one unit of the result; with a window only
/// what rotations in it contribute.
///
/// # Errors
/// A map beyond the limits of a table.
pub fn diagonals(kernels: &[Kernel], from: &[&Layout], to: &Layout, window: Option<Window>) -> Result<DiagTable, TableError> {
    let period = joint_period(from, to);
    let mut taps: BTreeMap<i64, u32> = BTreeMap::new();
    let mut masks: HashMap<Vec<usize>, u32> = HashMap::new();
    let mut cells: Vec<Cell> = vec![];
    for (operand, (k, l)) in kernels.iter().zip(from).enumerate() {
        let meeting = Meeting::new(l, to, Extents { input: k.input, output: k.output, reading: &k.reading }, period);
        for (&at, tap_cells) in &k.taps {
            let (shifts, filled) = (meeting.shifts(at), meeting.filled(at));
            // Slot offsets in result and operand → moves, with the numbers of their taps and masks.
            let mut classes: HashMap<Class, Vec<Numbered>> = HashMap::new();
            for (&(o, i), &weight) in tap_cells {
                let (po, pi) = (meeting.outs[o], meeting.ins[i]);
                let class = Class { out_slot: po.slot, in_slot: pi.slot };
                let moves = classes.entry(class).or_insert_with(|| {
                    let numbered = |m: Move| {
                        let n = taps.len() as u32;
                        let tap = *taps.entry(m.rotation).or_insert(n);
                        let n = masks.len() as u32;
                        let mask = m.mask.map(|list| *masks.entry(list).or_insert(n));
                        (Row { operand: operand as u32, ct: m.in_ct as u32, tap }, m.out_ct, mask)
                    };
                    let inside = |m: &Move| window.is_none_or(|w| w.holds(m.rotation));
                    meeting.moves(&shifts, &filled, class).into_iter().filter(inside).map(numbered).collect()
                });
                cells.extend(moves.iter().map(|&(row, out_ct, mask)| Cell {
                    row: Row { ct: row.ct + pi.ct as u32, ..row },
                    output: (po.ct + out_ct) as u32,
                    mask,
                    weight,
                }));
            }
        }
    }
    table(taps, masks, cells, to.unit_cts(), period)
}

/// Puts the collected parts in a canonical order: rows by (operand, tap, ciphertext), masks by
/// content.
fn table(
    taps: BTreeMap<i64, u32>,
    masks: HashMap<Vec<usize>, u32>,
    cells: Vec<Cell>,
    outputs: usize,
    period: usize,
) -> Result<DiagTable, TableError> {
    let places = |order: &mut dyn Iterator<Item = u32>| {
        let mut new: Vec<(u32, u32)> = order.enumerate().map(|(new, old)| (old, new as u32)).collect();
        new.sort_unstable();
        new.into_iter().map(|(_, new)| new).collect::<Vec<u32>>()
    };
    let tap_map = places(&mut taps.values().copied());
    let mut lists: Vec<(Vec<usize>, u32)> = masks.into_iter().collect();
    lists.sort();
    let mask_map = places(&mut lists.iter().map(|(_, old)| *old));
    let canonical = |r: Row| Row { tap: tap_map[r.tap as usize], ..r };
    let key = |r: &Row| (r.operand, r.tap, r.ct);
    let mut rows: Vec<Row> = cells.iter().map(|c| canonical(c.row)).collect();
    rows.sort_by_key(key);
    rows.dedup();
    let number = |r: Row| rows.binary_search_by_key(&key(&r), key).expect("every cell's row is listed") as u32;
    let mut sums: Vec<(u32, u32, Option<u32>, f64)> =
        cells.iter().map(|c| (number(canonical(c.row)), c.output, c.mask.map(|m| mask_map[m as usize]), c.weight)).collect();
    // Stable, so that what falls together is added in the order of taps and channels.
    sums.sort_by_key(|s| (s.0, s.1, s.2));
    sums.dedup_by(|next, sum| {
        let same = (next.0, next.1, next.2) == (sum.0, sum.1, sum.2);
        if same {
            sum.3 += next.3;
        }
        same
    });
    let entry = |&(row, output, mask, w): &(u32, u32, Option<u32>, f64)| Entry { row, output, mask, weight: f64::from(w as f32) };
    DiagTable::new(TableLiteral {
        taps: taps.keys().copied().collect(),
        masks: Masks::of_slots(period, lists.iter().map(|(list, _)| list.as_slice()))?,
        entries: sums.iter().filter(|s| s.3 != 0.0).map(entry).collect(),
        rows,
        outputs,
        ..TableLiteral::default()
    })
}
