//! `choose-layout`: ring degree, micro-batch and the layout of every value, by the cost model.
//!
//! Candidates keep one channel per ciphertext; rows and columns lie in the low slot bits, images in the bits above them and in the
//! complex bit. A stride-2 map leaves its result where it is (a gap bit appears), so no layer needs compaction. Among the ring degrees that the
//! depth allows and the batch sizes they hold, the one with the least predicted time for the whole batch is taken.

use crate::cost::CostModel;
use crate::error::PassError;
use crate::options::{CompileOptions, ParameterFacts};
use crate::tensor::depth;
use chiffre_ir::layout::{Bit, Dim, Layout, bit};
use chiffre_ir::tensor::{TensorGraph, TensorOp};

/// The chosen ring and layouts.
#[derive(Clone, Debug, PartialEq)]
pub struct Layouts {
    /// log2 of the ring degree.
    pub log_n: usize,
    /// Layout of each value of the tensor graph.
    pub values: Vec<Layout>,
}

const PASS: &str = "choose-layout";
/// Digits of a key switch beyond which keys take more memory and time than is practical.
pub const MAX_DIGITS: usize = 6;

/// Chooses ring degree and layouts for a graph of `input`, `linear_map`, `mul` and `square`.
pub fn choose_layout(g: &TensorGraph, opts: &CompileOptions, facts: &dyn ParameterFacts, cost: &CostModel) -> Result<Layouts, PassError> {
    if let Some(n) = opts.log_n.filter(|n| !(3..=17).contains(n)) {
        return Err(PassError::capacity(PASS, "", format!("a ring of degree 2^{n}: log-n must lie in 3..=17")));
    }
    let primes = depth(g)? + 1;
    let log_q = primes as f64 * opts.prime_bits as f64;
    let mut best: Option<(f64, Layouts)> = None;
    let mut refusals = vec![];
    let mut too_deep = false;
    for log_n in opts.log_n.map_or(10..=16, |n| n..=n) {
        let room = match facts.max_log_qp(log_n) {
            _ if opts.allow_insecure => f64::INFINITY,
            Some(max) => max,
            None => continue,
        };
        let longest = longest_chain(room, opts);
        if primes > longest {
            too_deep = true;
            refusals.push(format!("2^{log_n} has room for {} levels within {room:.0} bits", longest.saturating_sub(1)));
            continue;
        }
        if opts.allow_insecure && opts.log_n.is_none() && log_n > 12 {
            break;
        }
        match assign(g, log_n, opts.batch) {
            Err(e) => refusals.push(format!("2^{log_n}: {e}")),
            Ok(values) => {
                let l = Layouts { log_n, values };
                let micro = l.values[0].batch;
                let t = cost.layout_time(g, &l, primes, room - log_q, opts) * opts.batch.div_ceil(micro) as f64;
                if best.as_ref().is_none_or(|(b, _)| t < *b) {
                    best = Some((t, l));
                }
            }
        }
    }
    best.map(|(_, l)| l).ok_or_else(|| {
        if !too_deep {
            return PassError::capacity(PASS, "", format!("no ring degree fits:\n  {}", refusals.join("\n  ")));
        }
        let node = deepest_node(g, facts, opts);
        let m =
            format!("the network needs {} levels; no ring degree fits it without bootstrapping:\n  {}", primes - 1, refusals.join("\n  "));
        PassError::capacity(PASS, &node, m)
    })
}

/// Number of primes whose chain, with a special prime for every [`MAX_DIGITS`] of them, has at most `room` bits.
fn longest_chain(room: f64, opts: &CompileOptions) -> usize {
    let bits = |chain: usize| chain as f64 * opts.prime_bits as f64 + chain.div_ceil(MAX_DIGITS) as f64 * opts.special_bits as f64;
    (1..=256).take_while(|&c| bits(c) <= room).last().unwrap_or(0)
}

/// The first node whose depth no longer fits the largest ring.
fn deepest_node(g: &TensorGraph, facts: &dyn ParameterFacts, opts: &CompileOptions) -> String {
    let Some(room) = facts.max_log_qp(opts.log_n.unwrap_or(16)) else { return String::new() };
    let levels = longest_chain(room, opts).saturating_sub(1);
    let mut d = vec![0usize; g.nodes.len()];
    for (v, n) in g.iter() {
        d[v.index()] = n.args.iter().map(|a| d[a.index()]).max().unwrap_or(0) + usize::from(matches!(n.op, TensorOp::LinearMap { .. }));
        if d[v.index()] > levels {
            return n.source.clone();
        }
    }
    String::new()
}

fn log2_ceil(n: usize) -> usize {
    n.next_power_of_two().trailing_zeros() as usize
}

/// One layout per value, or why the ring is too small.
fn assign(g: &TensorGraph, log_n: usize, batch: usize) -> Result<Vec<Layout>, String> {
    let input = g.nodes.iter().find(|n| matches!(n.op, TensorOp::Input {})).ok_or("the network has no input")?;
    let [_, h, w] = input.ty.chw();
    let (xb, yb) = (log2_ceil(w), log2_ceil(h));
    let slots = log_n - 1;
    if xb + yb > slots {
        return Err(format!("an image of {h}x{w} needs 2^{} slots, there are 2^{slots}", xb + yb));
    }
    let bb = slots - xb - yb;
    let complex = batch > 1 << bb;
    let batch = batch.min(if complex { 2 << bb } else { 1 << bb });
    // Step in slots of a row and of a column, as log2, per value.
    let mut steps: Vec<[usize; 2]> = vec![];
    let mut out = vec![];
    for n in &g.nodes {
        let step = match &n.op {
            TensorOp::LinearMap { strides, .. } => {
                let from = steps[n.args[0].index()];
                let log = |s: usize| s.is_power_of_two().then_some(s.trailing_zeros() as usize);
                let [_, oh, ow] = n.ty.chw();
                let fit = |from: usize, stride: usize, len: usize, bits: usize| {
                    log(stride).map(|l| from + l).filter(|s| s + log2_ceil(len) <= bits).unwrap_or(0)
                };
                if [oh, ow] == [1, 1] { [0, 0] } else { [fit(from[0], strides[0][0], oh, yb), fit(from[1], strides[0][1], ow, xb)] }
            }
            _ => n.args.first().map_or([0, 0], |a| steps[a.index()]),
        };
        steps.push(step);
        let shape = n.ty.chw();
        let axis = |d: Dim, bits: usize, step: usize, len: usize| -> Vec<Option<Bit>> {
            (0..bits).map(|i| (i >= step && i - step < log2_ceil(len)).then(|| bit(d, i - step))).collect()
        };
        let mut s = axis(Dim::X, xb, step[1], shape[2]);
        s.extend(axis(Dim::Y, yb, step[0], shape[1]));
        s.extend((0..bb).map(|i| Some(bit(Dim::B, i))));
        if shape[1] > 1 << yb || shape[2] > 1 << xb {
            return Err(format!("node \"{}\" makes an image larger than the input", n.source));
        }
        let cts = (0..log2_ceil(shape[0])).map(|i| bit(Dim::C, i)).collect();
        out.push(Layout { slots: s, cts, complex: complex.then(|| bit(Dim::B, bb)), shape, batch, dirty: false });
    }
    Ok(out)
}
