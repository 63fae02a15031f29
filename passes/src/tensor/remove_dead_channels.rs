//! `remove-dead-channels`: what the weights prove constant or unread is not computed.
//!
//! A channel of a linear map whose weights are all zero (below 1e-30), or that reads constant
//! channels only, holds its bias, position by position: it is constant, and so is every elementwise
//! function of it. Linear maps that read it take its contribution into their own bias, exactly,
//! border included. Channels that nothing reads any more disappear from all nodes; those of inputs
//! and outputs stay. A sum of two branches is one linear map here, so a channel of the sum is dead
//! only if it is dead in both.

use crate::activation::function::Function;
use crate::error::PassError;
use chiffre_ir::consts::{Array, ConstId};
use chiffre_ir::graph::{Node, ValueId};
use chiffre_ir::tensor::{Reads, Tensor, TensorGraph, TensorOp, TensorType, activate, chebyshev};

use super::compose_linear::{push_linear_map, store_bias};
use super::linear_form::{Kernel, Spec};

const PASS: &str = "remove-dead-channels";
/// Weights below this are zero: their contribution is far below the last bit of anything.
const ZERO: f32 = 1e-30;

/// How much went away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Channels of linear maps that are gone.
    pub channels: usize,
    /// Channels of linear maps before.
    pub of: usize,
    /// Filters (one kernel's weights for one output channel) that are zero, as given.
    pub zero_filters: usize,
    /// Filters, as given.
    pub filters: usize,
}

/// What is known about a node's channels.
struct Facts {
    /// Value at every position, for constant channels.
    constant: Vec<Option<Vec<f64>>>,
    /// Kernels without the columns that read constant channels, and without zeros; linear maps
    /// only.
    kernels: Vec<Array>,
    /// Bias with the contributions of constant channels; linear maps only.
    bias: Vec<f64>,
}

/// Rewrites the graph; the same graph comes back if all channels live.
///
/// # Errors
/// An op that `compose-linear` should have rewritten; constants without data.
pub fn remove_dead_channels(g: &TensorGraph) -> Result<(TensorGraph, Removed), PassError> {
    let mut facts: Vec<Facts> = vec![];
    let mut report = Removed::default();
    for n in &g.nodes {
        let f = learn(g, n, &facts, &mut report)?;
        facts.push(f);
    }
    let kept: Vec<Vec<usize>> = needed(g, &facts).iter().map(|need| (0..need.len()).filter(|c| need[*c]).collect()).collect();
    for (n, k) in g.nodes.iter().zip(&kept).filter(|(n, _)| matches!(n.op, TensorOp::LinearMap { .. })) {
        report.of += n.ty.chw()[0];
        report.channels += n.ty.chw()[0] - k.len();
    }
    if report.channels == 0 {
        return Ok((g.clone(), report));
    }
    let mut out = TensorGraph::new(&g.name);
    let mut map: Vec<ValueId> = vec![];
    for (v, n) in g.iter() {
        let kept_of = |a: ValueId| kept[a.index()].as_slice();
        let new = rebuild(g, &mut out, (v, n), &facts[v.index()], &kept_of, &map)?;
        map.push(new);
    }
    out.outputs = g.outputs.iter().map(|o| map[o.index()]).collect();
    out.prune(|op| matches!(op, TensorOp::Input {}));
    Ok((out, report))
}

fn array<'a>(g: &'a TensorGraph, c: ConstId, source: &str) -> Result<&'a Array, PassError> {
    g.consts.array(c).map_err(|e| PassError::clear(PASS, source, e))
}

fn learn(g: &TensorGraph, n: &Node<Tensor>, facts: &[Facts], report: &mut Removed) -> Result<Facts, PassError> {
    let shape = n.ty.chw();
    let area = shape[1] * shape[2];
    let of = |i: usize| &facts[n.args[i].index()].constant;
    let map = |f: &dyn Fn(usize, f64) -> f64| -> Vec<Option<Vec<f64>>> {
        let one = |(c, m): (usize, &Option<Vec<f64>>)| m.as_ref().map(|m| m.iter().map(|x| f(c, *x)).collect());
        of(0).iter().enumerate().map(one).collect()
    };
    // A polynomial without powers is constant whatever it reads.
    let polynomial = |coeffs: ConstId, f: &dyn Fn(&[f64], f64) -> f64| -> Result<Vec<Option<Vec<f64>>>, PassError> {
        let a = array(g, coeffs, &n.source)?;
        let rows: Vec<Vec<f64>> = a.data.chunks_exact(a.shape[1].max(1)).map(|r| r.iter().map(|x| f64::from(*x)).collect()).collect();
        let mut out = map(&|c, x| f(&rows[c % rows.len()], x));
        for (c, m) in out.iter_mut().enumerate() {
            let row = &rows[c % rows.len()];
            if row[1..].iter().all(|x| *x == 0.0) {
                *m = Some(vec![row[0]; area]);
            }
        }
        Ok(out)
    };
    let constant = match &n.op {
        TensorOp::LinearMap { kernels, bias, .. } => {
            let mut total = vec![0.0; shape[0] * area];
            if let Some(b) = bias {
                let b = array(g, *b, &n.source)?;
                let per = total.len() / b.data.len();
                total.iter_mut().enumerate().for_each(|(i, x)| *x += f64::from(b.data[i / per]));
            }
            let mut live = vec![];
            for (j, a) in n.args.iter().enumerate() {
                let mut k = array(g, kernels[j], &n.source)?.clone();
                k.data.iter_mut().filter(|w| w.abs() < ZERO).for_each(|w| *w = 0.0);
                let per = k.data.len() / shape[0];
                report.filters += shape[0];
                report.zero_filters += k.data.chunks_exact(per).filter(|f| f.iter().all(|w| *w == 0.0)).count();
                let known = &facts[a.index()].constant;
                if known.iter().any(Option::is_some) {
                    let input = g.ty(*a).chw();
                    let channel = channel_of(&k, n.op.groups(j));
                    let mut folded = Array::zeros(k.shape.clone());
                    for (t, w) in k.data.iter_mut().enumerate().filter(|(t, _)| known[channel(*t)].is_some()) {
                        folded.data[t] = std::mem::take(w);
                    }
                    let zero = vec![0.0; input[1] * input[2]];
                    let values: Vec<f64> = known.iter().flat_map(|m| m.as_ref().unwrap_or(&zero).iter().copied()).collect();
                    let kernel = Kernel::of(&folded, input, shape, Spec::of(&n.op, j));
                    total.iter_mut().zip(kernel.apply(&values)).for_each(|(a, b)| *a += b);
                }
                live.push(k);
            }
            let dead = |o: usize| {
                live.iter().all(|k| k.data[o * k.data.len() / shape[0]..(o + 1) * k.data.len() / shape[0]].iter().all(|w| *w == 0.0))
            };
            let constant = (0..shape[0]).map(|o| dead(o).then(|| total[o * area..(o + 1) * area].to_vec())).collect();
            return Ok(Facts { constant, kernels: live, bias: total });
        }
        TensorOp::Input {} | TensorOp::MaxPool { .. } => vec![None; shape[0]],
        TensorOp::Activation { kind, alpha } => map(&|_, x| activate(*kind, *alpha, x)),
        TensorOp::Function { .. } => {
            let f = Function::of(&n.op, &g.consts).map_err(|e| PassError::clear(PASS, &n.source, e))?;
            let mut out = map(&|c, x| f.as_ref().map_or(f64::NAN, |f| f.at(c, x)));
            // What is no number is left for the run to find.
            out.iter_mut().filter(|m| m.as_ref().is_some_and(|m| m.iter().any(|x| !x.is_finite()))).for_each(|m| *m = None);
            out
        }
        TensorOp::Square {} => map(&|_, x| x * x),
        TensorOp::Poly { coeffs } => polynomial(*coeffs, &|row, x| row.iter().rev().fold(0.0, |acc, a| acc * x + a))?,
        TensorOp::Chebyshev { coeffs, sine, .. } => polynomial(*coeffs, &|row, x| chebyshev(row, if *sine { x.sin() } else { x }))?,
        TensorOp::Mul {} => {
            let zero = |m: &Option<Vec<f64>>| m.as_ref().is_some_and(|m| m.iter().all(|x| *x == 0.0));
            let one = |(a, b): (&Option<Vec<f64>>, &Option<Vec<f64>>)| match (a, b) {
                _ if zero(a) || zero(b) => Some(vec![0.0; area]),
                (Some(a), Some(b)) => Some(a.iter().zip(b).map(|(x, y)| x * y).collect()),
                _ => None,
            };
            of(0).iter().zip(of(1)).map(one).collect()
        }
        op => {
            let m = format!("`{}` should have been rewritten: run compose-linear first", chiffre_ir::graph::Op::info(op).mnemonic);
            return Err(PassError::at(PASS, &n.source, m));
        }
    };
    Ok(Facts { constant, kernels: vec![], bias: vec![] })
}

/// Channels of every value that stay: those that an output depends on, all of the input's, the same
/// ones on both sides of an elementwise op, and at least one.
fn needed(g: &TensorGraph, facts: &[Facts]) -> Vec<Vec<bool>> {
    let all = |v: ValueId, n: &Node<Tensor>| matches!(n.op, TensorOp::Input {}) || g.outputs.contains(&v);
    let mut needed: Vec<Vec<bool>> = g.iter().map(|(v, n)| vec![all(v, n); n.ty.chw()[0]]).collect();
    loop {
        let before = needed.clone();
        for (v, n) in g.iter().collect::<Vec<_>>().into_iter().rev() {
            let mut mine = std::mem::take(&mut needed[v.index()]);
            if !mine.contains(&true) {
                mine[0] = true;
            }
            for (j, a) in n.args.iter().enumerate() {
                let theirs = &mut needed[a.index()];
                match facts[v.index()].kernels.get(j) {
                    Some(k) => {
                        let (filter, channel) = (k.data.len() / k.shape[0], channel_of(k, n.op.groups(j)));
                        for (t, _) in k.data.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                            theirs[channel(t)] |= mine[t / filter];
                        }
                    }
                    None => {
                        mine.iter_mut().zip(theirs.iter()).for_each(|(a, b)| *a |= b);
                        theirs.iter_mut().zip(&mine).for_each(|(a, b)| *a |= b);
                    }
                }
            }
            needed[v.index()] = mine;
        }
        if needed == before {
            return needed;
        }
    }
}

/// The operand's channel that each weight of a kernel `[out, in/groups, kh, kw]` reads.
fn channel_of(k: &Array, groups: usize) -> impl Fn(usize) -> usize + use<> {
    let (tap, each) = (k.shape[2] * k.shape[3], k.shape[1]);
    let outs = k.shape[0] / groups;
    move |t| t / tap % each + t / tap / each / outs * each
}

/// A linear map in groups without the channels that go: those that stay need not be groups of one
/// size.
fn rebuild_groups<'a>(
    g: &TensorGraph,
    out: &mut TensorGraph,
    (v, n): (ValueId, &Node<Tensor>),
    facts: &Facts,
    kept: &dyn Fn(ValueId) -> &'a [usize],
    map: &[ValueId],
) -> ValueId {
    let (mine, [_, h, w]) = (kept(v), n.ty.chw());
    let mut terms = vec![];
    for (j, (k, a)) in facts.kernels.iter().zip(&n.args).enumerate() {
        let (theirs, input) = (kept(*a), g.ty(*a).chw());
        let mut kernel = Kernel::of(k, input, n.ty.chw(), Spec::of(&n.op, j));
        (kernel.input[0], kernel.output[0]) = (theirs.len(), mine.len());
        for cells in kernel.taps.values_mut() {
            let place = |(o, i): (usize, usize)| Some((mine.binary_search(&o).ok()?, theirs.binary_search(&i).ok()?));
            *cells = std::mem::take(cells).into_iter().filter_map(|(at, w)| Some((place(at)?, w))).collect();
        }
        kernel.taps.retain(|_, cells| !cells.is_empty());
        terms.push((map[a.index()], kernel));
    }
    let alive = terms.iter().any(|(_, k)| !k.taps.is_empty());
    let mut first = true;
    terms.retain(|(_, k)| if alive { !k.taps.is_empty() } else { std::mem::take(&mut first) });
    let bias: Vec<f64> = mine.iter().flat_map(|o| facts.bias[o * h * w..(o + 1) * h * w].iter().copied()).collect();
    push_linear_map(out, &terms, &bias, [mine.len(), h, w], &n.source)
}

fn rebuild<'a>(
    g: &TensorGraph,
    out: &mut TensorGraph,
    (v, n): (ValueId, &Node<Tensor>),
    facts: &Facts,
    kept: &dyn Fn(ValueId) -> &'a [usize],
    map: &[ValueId],
) -> Result<ValueId, PassError> {
    let mine = kept(v);
    let mut shape = n.ty.shape.clone();
    shape[0] = mine.len();
    let ty = TensorType::new(shape);
    let mut rows = |c: ConstId| -> Result<ConstId, PassError> {
        let a = array(g, c, &n.source)?;
        let data = match a.shape[0] {
            1 => a.data.clone(),
            _ => mine.iter().flat_map(|c| a.data[c * a.shape[1]..(c + 1) * a.shape[1]].iter().copied()).collect(),
        };
        let first = if a.shape[0] == 1 { 1 } else { mine.len() };
        Ok(out.consts.add(&g.consts.get(c).name, Array::new(vec![first, a.shape[1]], data)))
    };
    let op = match &n.op {
        TensorOp::LinearMap { groups: Some(_), .. } => return Ok(rebuild_groups(g, out, (v, n), facts, kept, map)),
        TensorOp::LinearMap { strides, origins, reads, .. } => {
            let mut parts = vec![];
            for (j, k) in facts.kernels.iter().enumerate() {
                let (tap, theirs) = (k.shape[2] * k.shape[3], kept(n.args[j]));
                let cell = |o: usize, i: usize| &k.data[(o * k.shape[1] + i) * tap..(o * k.shape[1] + i + 1) * tap];
                let data: Vec<f32> = mine.iter().flat_map(|o| theirs.iter().flat_map(|i| cell(*o, *i).iter().copied())).collect();
                parts.push((j, Array::new(vec![mine.len(), theirs.len(), k.shape[2], k.shape[3]], data)));
            }
            // Operands that nothing is read from go, but for one.
            let alive = parts.iter().any(|(_, k)| k.data.iter().any(|w| *w != 0.0));
            parts.retain(|(j, k)| if alive { k.data.iter().any(|w| *w != 0.0) } else { *j == 0 });
            let [_, h, w] = n.ty.chw();
            let bias: Vec<f64> = mine.iter().flat_map(|o| facts.bias[o * h * w..(o + 1) * h * w].iter().copied()).collect();
            let op = TensorOp::LinearMap {
                strides: parts.iter().map(|(j, _)| strides[*j]).collect(),
                origins: parts.iter().map(|(j, _)| origins[*j]).collect(),
                reads: Reads::new(parts.iter().map(|(j, _)| reads.of(*j).cloned()).collect()),
                groups: None,
                kernels: parts.iter().map(|(_, k)| out.consts.add("k", k.clone())).collect(),
                bias: store_bias(&mut out.consts, &bias, [mine.len(), h, w]),
            };
            let args = parts.iter().map(|(j, _)| map[n.args[*j].index()]).collect();
            return Ok(out.push(op, args, ty, &n.source));
        }
        TensorOp::Poly { coeffs } => TensorOp::Poly { coeffs: rows(*coeffs)? },
        TensorOp::Function { of, params } => TensorOp::Function { of: of.clone(), params: params.map(&mut rows).transpose()? },
        TensorOp::Chebyshev { coeffs, sine, ranges, certificate } => TensorOp::Chebyshev {
            coeffs: rows(*coeffs)?,
            sine: *sine,
            ranges: ranges.map(&mut rows).transpose()?,
            certificate: certificate.clone(),
        },
        op => op.clone(),
    };
    let args = n.args.iter().map(|a| map[a.index()]).collect();
    Ok(out.push(op, args, ty, &n.source))
}
