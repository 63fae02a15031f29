//! `quantise`: a composed network becomes one on integers. Weights have a scale for each output
//! channel, values one for each layer; an activation becomes a table over all that its operand can
//! be.

use super::accuracy::{Judge, calibration, meets};
use super::measure::{Seen, measure};
use super::number::{self, Grid};
use super::settle::{bits_for, settle};
use crate::activation::degree::Accuracy;
use crate::activation::function::Function;
use crate::error::PassError;
use crate::options::{CompileOptions, QuantOptions};
use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::quant::{MAX_BITS, QuantGraph, QuantOp, QuantType};
use chiffre_ir::tensor::{Reads, TensorGraph, TensorOp};

const PASS: &str = "quantise";

/// Bits of inputs, weights and activations that are tried, cheapest first.
const LADDER: [[u32; 3]; 8] = [[2, 2, 2], [2, 3, 3], [3, 3, 3], [4, 3, 3], [4, 4, 4], [5, 5, 5], [6, 6, 6], [8, 8, 8]];
/// Share of the loss that is left to the look-ups' precision.
const SHARE: f64 = 0.5;

/// The network on integers, with what its answers lose on the calibration images.
///
/// # Errors
/// Products of two values; no calibration images; sums that need more than [`MAX_BITS`] bits.
pub fn quantise(g: &TensorGraph, options: &CompileOptions) -> Result<(QuantGraph, Accuracy), PassError> {
    let functions = functions(g)?;
    let set = calibration(PASS, options)?;
    let seen = measure(PASS, g, set)?;
    let judge = Judge::new(PASS, g, set)?;
    let mut best: Option<(QuantGraph, Accuracy)> = None;
    let ladder = options.quant.bits.map_or(LADDER.to_vec(), |bits| vec![bits]);
    let mut refused = None;
    for bits in ladder {
        let made = match (Builder { g, functions: &functions, seen: &seen, bits, options: &options.quant, out: QuantGraph::new(&g.name) })
            .build()
        {
            Ok(made) => made,
            Err(e) => {
                refused = Some(e);
                break;
            }
        };
        let accuracy = judge.accuracy(PASS, &made)?;
        let enough = meets(&accuracy, options.activations.target, SHARE);
        tracing::debug!(?bits, %accuracy, "quantised");
        if best.as_ref().is_none_or(|(_, b)| enough || accuracy.loss() < b.loss()) {
            best = Some((made, accuracy));
        }
        if enough {
            break;
        }
    }
    best.ok_or_else(|| refused.unwrap_or_else(|| PassError::bug(PASS, "", "nothing was tried".into())))
}

/// What a value is an elementwise function of.
struct Applied {
    /// A linear map or the input.
    root: ValueId,
    /// Functions from the root on.
    steps: Vec<Function>,
}

impl Applied {
    fn at(&self, channel: usize, x: f64) -> f64 {
        self.steps.iter().fold(x, |x, f| f.at(channel, x))
    }
}

/// The function of each value that is one of a linear map or of the input.
fn functions(g: &TensorGraph) -> Result<Vec<Option<Applied>>, PassError> {
    let mut all: Vec<Option<Applied>> = vec![];
    for n in &g.nodes {
        let f = match &n.op {
            TensorOp::Input {} | TensorOp::LinearMap { .. } => None,
            TensorOp::Square {} => Some(Function::Poly(vec![vec![0.0, 0.0, 1.0]])),
            TensorOp::Mul {} => {
                let m = "a product of two values is no table look-up: it can be written as ((x + y)² − (x − y)²)/4, or compile for another target";
                return Err(PassError::at(PASS, &n.source, m.into()));
            }
            op => match Function::of(op, &g.consts).map_err(|e| PassError::clear(PASS, &n.source, e))? {
                Some(f) => Some(f),
                None => {
                    let mnemonic = chiffre_ir::graph::Op::info(op).mnemonic;
                    return Err(PassError::at(
                        PASS,
                        &n.source,
                        format!("`{mnemonic}` is neither a linear map nor a function of one value"),
                    ));
                }
            },
        };
        all.push(f.map(|f| {
            let of = n.args[0];
            match &all[of.index()] {
                Some(a) => Applied { root: a.root, steps: a.steps.iter().cloned().chain([f]).collect() },
                None => Applied { root: of, steps: vec![f] },
            }
        }));
    }
    Ok(all)
}

struct Builder<'a> {
    g: &'a TensorGraph,
    functions: &'a [Option<Applied>],
    seen: &'a [Seen],
    bits: [u32; 3],
    options: &'a QuantOptions,
    out: QuantGraph,
}

/// A linear map's weights as integers.
struct Integers {
    kernels: Vec<Array<i64>>,
    /// What 1 of the sum stands for, channel by channel.
    scales: Vec<f64>,
    bias: Array<i64>,
    /// What the sums of a channel can be at most.
    possible: Vec<[i64; 2]>,
    /// True if the integers are what the weights are, and the scale of all channels is the same.
    exact: bool,
}

impl Builder<'_> {
    fn build(mut self) -> Result<QuantGraph, PassError> {
        let g = self.g;
        // What is read by a linear map or is an output has a value of its own; what only functions
        // read does not.
        let mut wanted = vec![false; g.nodes.len()];
        g.outputs.iter().for_each(|o| wanted[o.index()] = true);
        let maps = g.nodes.iter().filter(|n| matches!(n.op, TensorOp::LinearMap { .. }));
        maps.flat_map(|n| &n.args).for_each(|a| wanted[a.index()] = true);
        let mut values: Vec<Option<ValueId>> = vec![None; g.nodes.len()];
        for (v, n) in g.iter() {
            let made = match (&n.op, &self.functions[v.index()]) {
                (TensorOp::Input {}, _) => Some(self.input(v)),
                (_, Some(f)) if wanted[v.index()] => Some(self.lookup(v, f, &values)?),
                (TensorOp::LinearMap { .. }, _) if wanted[v.index()] => {
                    let integers = self.integers(v, &values)?;
                    Some(self.sum(v, integers, &values, None))
                }
                _ => None,
            };
            values[v.index()] = made;
        }
        self.out.outputs = g.outputs.iter().filter_map(|o| values[o.index()]).collect();
        settle(&mut self.out);
        match self.out.nodes.iter().find(|n| n.ty.bits > MAX_BITS) {
            Some(n) => Err(too_wide(&n.source, n.ty.bits)),
            None => Ok(self.out),
        }
    }

    fn grid(&self, v: ValueId, bits: u32) -> Grid {
        let seen = &self.seen[v.index()];
        number::values(seen.range(), bits, &seen.samples)
    }

    fn input(&mut self, v: ValueId) -> ValueId {
        let Grid { scale, range } = self.grid(v, self.bits[0]);
        let n = self.g.node(v);
        let ty = QuantType { bits: bits_for(range), range, scale: vec![scale], shape: n.ty.clone() };
        self.out.push(QuantOp::Input {}, vec![], ty, &n.source)
    }

    /// The weights of a linear map on the values as they are.
    fn integers(&self, v: ValueId, values: &[Option<ValueId>]) -> Result<Integers, PassError> {
        let n = self.g.node(v);
        let TensorOp::LinearMap { kernels, bias, .. } = &n.op else { return Err(bug(&n.source)) };
        let clear = |e| PassError::clear(PASS, &n.source, e);
        let arrays = kernels.iter().map(|k| self.g.consts.array(*k)).collect::<Result<Vec<_>, _>>().map_err(clear)?;
        let channels = n.ty.chw()[0];
        // What a weight is worth on integers of its operand.
        let mut rows: Vec<Vec<f64>> = vec![vec![]; channels];
        let mut worth = vec![];
        for (i, a) in arrays.iter().enumerate() {
            let ty = self.out.ty(values[n.args[i].index()].ok_or_else(|| bug(&n.source))?);
            let (inner, taps) = (a.shape[1], a.shape[2] * a.shape[3]);
            let per = channels / n.op.groups(i);
            let of = |(at, w): (usize, &f32)| f64::from(*w) * ty.scale_of(at / (inner * taps) / per * inner + at / taps % inner);
            let all: Vec<f64> = a.data.iter().enumerate().map(of).collect();
            let length = inner * taps;
            rows.iter_mut().zip(all.chunks(length.max(1))).for_each(|(row, w)| row.extend(w));
            worth.push(all);
        }
        let exact: Option<Vec<Grid>> = rows.iter().map(|row| number::exact(row, self.bits[1])).collect();
        let exact = exact.filter(|all| all.iter().all(|g| (g.scale / all[0].scale - 1.0).abs() < 1e-5));
        let is_exact = exact.is_some();
        // Answers are compared with each other under one scale.
        let together = self.options.common_scale && self.g.outputs.contains(&v);
        let grids: Vec<Grid> = match exact {
            Some(all) => vec![all[0]; channels],
            None if together => vec![number::weights(&rows.concat(), self.bits[1]); channels],
            None => rows.iter().map(|row| number::weights(row, self.bits[1])).collect(),
        };
        let integer = |x: f64, g: &Grid| ((x / g.scale).round() as i64).clamp(g.range[0], g.range[1]);
        let kernels = arrays.iter().zip(worth).map(|(a, all)| {
            let per = (all.len() / channels).max(1);
            let data = all.iter().enumerate().map(|(at, x)| integer(*x, &grids[at / per])).collect();
            Array::new(a.shape.clone(), data)
        });
        let kernels: Vec<Array<i64>> = kernels.collect();
        let bias = match bias {
            None => Array::new(vec![channels], vec![0; channels]),
            Some(b) => {
                let b = self.g.consts.array(*b).map_err(clear)?;
                let per = (b.data.len() / channels).max(1);
                let data = b.data.iter().enumerate().map(|(i, x)| (f64::from(*x) / grids[i / per].scale).round() as i64).collect();
                Array::new(b.shape.clone(), data)
            }
        };
        let mut possible: Vec<[i64; 2]> = vec![[0; 2]; channels];
        for (kernel, a) in kernels.iter().zip(&n.args) {
            let ty = self.out.ty(values[a.index()].ok_or_else(|| bug(&n.source))?);
            // Beyond the border are zeros.
            let [lo, hi] = [ty.range[0].min(0), ty.range[1].max(0)];
            let per = (kernel.data.len() / channels).max(1);
            for (at, w) in kernel.data.iter().enumerate() {
                let p = &mut possible[at / per];
                *p = [p[0] + (w * lo).min(w * hi), p[1] + (w * lo).max(w * hi)];
            }
        }
        let per = (bias.data.len() / channels).max(1);
        for (p, b) in possible.iter_mut().zip(bias.data.chunks(per)) {
            *p = [p[0] + b.iter().min().unwrap_or(&0), p[1] + b.iter().max().unwrap_or(&0)];
        }
        let exact = is_exact && bias.data.iter().all(|b| *b == 0);
        Ok(Integers { kernels, scales: grids.iter().map(|g| g.scale).collect(), bias, possible, exact })
    }

    /// What the sums of a linear map are expected to reach, in each channel, and can.
    fn reach(&self, v: ValueId, made: &Integers) -> Vec<[i64; 2]> {
        let wide = |(r, scale): (&[f64; 2], &f64)| {
            let (middle, half) = ((r[0] + r[1]) / 2.0, self.options.margin * (r[1] - r[0]) / 2.0);
            [((middle - half) / scale).floor() as i64 - 1, ((middle + half) / scale).ceil() as i64 + 1]
        };
        let within = |([lo, hi], [least, most]): ([i64; 2], &[i64; 2])| [lo.clamp(*least, *most), hi.clamp(*least, *most)];
        self.seen[v.index()].ranges.iter().zip(made.scales.iter().cycle()).map(wide).zip(&made.possible).map(within).collect()
    }

    /// A linear map; with `window`, the bits of its result and what is added to each channel.
    fn sum(&mut self, v: ValueId, made: Integers, values: &[Option<ValueId>], window: Option<(u32, &[i64])>) -> ValueId {
        let n = self.g.node(v);
        let reach = self.reach(v, &made);
        let shift = |c: usize| window.map_or(0, |(_, s)| s[c]);
        let range =
            reach.iter().enumerate().fold([i64::MAX, i64::MIN], |[lo, hi], (c, r)| [lo.min(r[0] + shift(c)), hi.max(r[1] + shift(c))]);
        let mut bias = made.bias;
        let per = (bias.data.len() / reach.len()).max(1);
        bias.data.iter_mut().enumerate().for_each(|(i, b)| *b += shift(i / per));
        let (op, args) = match &n.op {
            TensorOp::LinearMap { strides, origins, reads, groups, .. } => {
                let kernels = made.kernels.into_iter().map(|k| self.out.consts.add_ints("weights", k)).collect();
                let bias = Some(self.out.consts.add_ints("bias", bias));
                let args = n.args.iter().filter_map(|a| values[a.index()]).collect();
                (
                    QuantOp::LinearMap {
                        kernels,
                        strides: strides.clone(),
                        origins: origins.clone(),
                        bias,
                        reads: reads.clone(),
                        groups: groups.clone(),
                    },
                    args,
                )
            }
            // The input, as it is: a function reads it directly.
            _ => {
                let channels = n.ty.chw()[0];
                let one = self.out.consts.add_ints("one", Array::new(vec![channels, 1, 1, 1], vec![1; channels]));
                let bias = Some(self.out.consts.add_ints("bias", bias));
                let (strides, origins) = (vec![[1, 1]], vec![[0, 0]]);
                let op = QuantOp::LinearMap {
                    kernels: vec![one],
                    strides,
                    origins,
                    bias,
                    reads: Reads::default(),
                    groups: Some(vec![channels]),
                };
                (op, values[v.index()].into_iter().collect())
            }
        };
        let ty = QuantType { bits: window.map_or(bits_for(range), |w| w.0), range, scale: made.scales, shape: n.ty.clone() };
        self.out.push(op, args, ty, &n.source)
    }

    /// The scale of the operand, if the function takes all integers that the operand may be to
    /// integers: nothing is then lost, as in a maximum, which is one of two values.
    fn same_grid(&self, f: &Applied, made: &Integers, reach: &[[i64; 2]]) -> Option<Grid> {
        let scale = made.exact.then_some(made.scales[0])?;
        let mut range = [0i64; 2];
        for (c, [lo, hi]) in reach.iter().enumerate() {
            for x in *lo..=*hi {
                let y = f.at(c, x as f64 * scale) / scale;
                if (y - y.round()).abs() > 1e-5 {
                    return None;
                }
                range = [range[0].min(y.round() as i64), range[1].max(y.round() as i64)];
            }
        }
        (range[1] - range[0] < 1 << self.bits[2]).then_some(Grid { scale, range })
    }

    /// An activation: a sum of its own, shifted so that what it reaches is in the middle of a
    /// table.
    fn lookup(&mut self, v: ValueId, f: &Applied, values: &[Option<ValueId>]) -> Result<ValueId, PassError> {
        let (n, root) = (self.g.node(v), self.g.node(f.root));
        let made = match &root.op {
            TensorOp::LinearMap { .. } => self.integers(f.root, values)?,
            _ => {
                let ty = self.out.ty(values[f.root.index()].ok_or_else(|| bug(&n.source))?);
                let channels = root.ty.chw()[0];
                let scales = (0..channels).map(|c| ty.scale_of(c)).collect();
                Integers {
                    kernels: vec![],
                    scales,
                    bias: Array::new(vec![channels], vec![0; channels]),
                    possible: vec![ty.range; channels],
                    exact: ty.scale.len() == 1,
                }
            }
        };
        let reach = self.reach(f.root, &made);
        let width = reach.iter().map(|r| r[1] - r[0] + 1).max().unwrap_or(1);
        let bits = (u64::BITS - (width - 1).max(1).leading_zeros()).max(1);
        if bits > MAX_BITS {
            return Err(too_wide(&n.source, bits));
        }
        let entries = 1i64 << bits;
        let shifts: Vec<i64> = reach.iter().map(|r| (entries - (r[1] - r[0] + 1)) / 2 - r[0]).collect();
        let grid = self.same_grid(f, &made, &reach).unwrap_or_else(|| self.grid(v, self.bits[2]));
        let (scales, channels) = (made.scales.clone(), n.ty.chw()[0]);
        let entry = |i: usize| {
            let (c, at) = (i >> bits, (i as i64) & (entries - 1));
            let y = f.at(c, (at - shifts[c]) as f64 * scales[c]);
            // A function may be no number where no operand is.
            let y = if y.is_nan() { 0.0 } else { y };
            (y / grid.scale).round().clamp(grid.range[0] as f64, grid.range[1] as f64) as i64
        };
        let table = Array::new(vec![channels, entries as usize], (0..channels << bits).map(entry).collect());
        let sum = self.sum(f.root, made, values, Some((bits, &shifts)));
        let table = self.out.consts.add_ints("table", table);
        let flip = grid.range[0] + grid.range[1];
        let ty = QuantType { bits: bits_for(grid.range), range: grid.range, scale: vec![grid.scale], shape: n.ty.clone() };
        Ok(self.out.push(QuantOp::Lookup { table, flip }, vec![sum], ty, &n.source))
    }
}

fn bug(node: &str) -> PassError {
    PassError::bug(PASS, node, "an operand has no value on integers".into())
}

fn too_wide(node: &str, bits: u32) -> PassError {
    let m = format!("sums of {bits} bits, and {MAX_BITS} are the most: give fewer bits to inputs, weights and activations");
    PassError::capacity(PASS, node, m)
}
