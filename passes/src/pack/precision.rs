//! Predicted precision of a network under a plan: what errors of rounding and of keys, made at
//! every value, do to the answers.
//!
//! An error at a value changes the logits by its product with their gradient there. So one run in
//! the clear gives, for each value, the mean square of a gradient, and the error of a plan is a sum
//! over its operations: independent errors add up in the square. The single errors are those of
//! [`chiffre_params::noise`], for primes that are not chosen yet.
//!
//! Where primes have their full size, only the scale of the answers is chosen here, by their size.

use super::chain::Chain;
use crate::options::{CompileOptions, PrimeSizes};
use chiffre_ir::error::InterpError;
use chiffre_ir::gauss::Gauss;
use chiffre_ir::graph::ValueId;
use chiffre_ir::layout::Layout;
use chiffre_ir::tensor::{TensorGraph, TensorOp, interp, trace};
use chiffre_params::noise::SIGMA;
use std::collections::BTreeMap;

/// Images of the run in the clear.
const IMAGES: usize = 8;
/// Random sums of the logits whose gradients are taken of each image.
const PROBES: usize = 2;
/// Bits by which logits may exceed those of the run in the clear, with a sign.
const HEADROOM: f64 = 5.0;
/// Smallest weight scale that is considered, bits.
const LEAST_WEIGHT_BITS: i32 = 9;
/// Smallest scale of values that is considered, bits.
const LEAST_SCALE: i32 = 12;

/// Bits between the largest answer of the run in the clear and the modulus. The data owner takes an
/// answer for damaged from 12 bits below it on; 6 more are left to images that answer more loudly.
const ANSWER_HEADROOM: f64 = 18.0;
/// Answers below it leave no more room.
const SMALL_ANSWER: f64 = 0.125;
/// Largest scale of answers, bits: with more, the errors of other values are all that is left.
const MOST_ANSWER_SCALE: i32 = 34;

/// The first calibration images, or, without any, of images of standard normal numbers.
fn sample(elements: usize, opts: &CompileOptions) -> Vec<f32> {
    let mut gauss = Gauss::new(1);
    match &opts.activations.calibration {
        Some(set) => set.images.iter().take(IMAGES.min(set.n) * elements).copied().collect(),
        None => (0..IMAGES * elements).map(|_| gauss.number() as f32).collect(),
    }
}

/// log2 of the scale of answers for which a few images leave room, at least that of other values.
///
/// # Errors
/// Constants without data.
pub(super) fn answer_scale(g: &TensorGraph, opts: &CompileOptions, sizes: &PrimeSizes) -> Result<i32, InterpError> {
    let elements =
        g.nodes.iter().filter(|n| matches!(n.op, TensorOp::Input {})).map(|n| n.ty.chw().iter().product::<usize>()).sum::<usize>();
    let images = sample(elements, opts);
    let answers = interp(g, &images, images.len() / elements.max(1))?;
    let largest = answers.iter().flatten().fold(SMALL_ANSWER, |m: f64, x| m.max(f64::from(x.abs())));
    let room = f64::from(sizes.bottom) - ANSWER_HEADROOM - largest.log2();
    let scale = MOST_ANSWER_SCALE.min(if room.is_finite() { room as i32 } else { 0 });
    Ok(scale.max(sizes.log_scale))
}

/// How answers depend on the values of a network.
pub(super) struct Sensitivity {
    /// For each value, the sum over its elements and over all logits of the squared derivatives.
    gradients: Vec<f64>,
    /// Mean square of the elements of each value.
    squares: Vec<f64>,
    /// Sum over the logits of the squared distances from their mean.
    spread: f64,
    /// The largest logit.
    largest: f64,
}

impl Sensitivity {
    /// Of a network on the first calibration images, or, without any, on standard normal numbers.
    ///
    /// # Errors
    /// Constants without data.
    pub fn of(g: &TensorGraph, opts: &CompileOptions) -> Result<Sensitivity, InterpError> {
        let input = g.iter().find(|(_, n)| matches!(n.op, TensorOp::Input {})).map(|(v, n)| (v, n.ty.chw().iter().product::<usize>()));
        let Some((input, elements)) = input else { return Err(InterpError::Unsupported("a network without an input".into())) };
        let images = sample(elements, opts);
        let n = images.len() / elements.max(1);
        let zero = || vec![0.0; g.nodes.len()];
        let new = || Sensitivity { gradients: zero(), squares: zero(), spread: 0.0, largest: 0.0 };
        let parts = trace(g, &images, n, &[input], new, |sums: &mut Sensitivity, image, t| {
            for (v, _) in g.iter() {
                let x = t.value(v);
                sums.squares[v.index()] += x.iter().map(|x| x * x).sum::<f64>() / x.len().max(1) as f64;
            }
            for &o in &g.outputs {
                let x = t.value(o);
                let mean = if x.len() > 1 { x.iter().sum::<f64>() / x.len() as f64 } else { 0.0 };
                sums.spread += x.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
                sums.largest = x.iter().fold(sums.largest, |m, x| m.max(x.abs()));
                let mut signs = Gauss::new(2).part(image as u64);
                for _ in 0..PROBES {
                    let probe: Vec<f64> = x.iter().map(|_| signs.sign()).collect();
                    t.back(o, &probe, |v, dx| sums.gradients[v.index()] += dx.iter().map(|d| d * d).sum::<f64>() / PROBES as f64);
                }
            }
        })?;
        let mut out = new();
        let per = 1.0 / n.max(1) as f64;
        for p in &parts {
            out.gradients.iter_mut().zip(&p.gradients).for_each(|(a, b)| *a += b * per);
            out.squares.iter_mut().zip(&p.squares).for_each(|(a, b)| *a += b * per);
            out.spread += p.spread * per;
            out.largest = out.largest.max(p.largest);
        }
        Ok(out)
    }

    /// The scale of values with the smallest predicted error of answers, and their precision in
    /// bits; none if no scale leaves room for the logits and for the weights.
    pub fn best_scale(
        &self,
        g: &TensorGraph,
        chains: &BTreeMap<usize, Chain>,
        layouts: &[Layout],
        limbs: &[usize],
        log_n: u32,
        sizes: &PrimeSizes,
    ) -> Option<(i32, f64)> {
        let room = f64::from(sizes.bottom) - HEADROOM - self.largest.max(1.0).log2();
        let scales = (LEAST_SCALE..sizes.prime as i32).take_while(|s| f64::from(*s) <= room);
        let plan = Plan { g, chains, layouts, limbs, n: (1u64 << log_n) as f64, sizes };
        let one = |s: i32| Some((s, 0.5 * (self.spread / self.error(&plan, s)?).log2()));
        scales.filter_map(one).filter(|(_, bits)| bits.is_finite()).max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Sum of the mean squares of the errors of all logits, if weights keep enough bits.
    fn error(&self, plan: &Plan, log_scale: i32) -> Option<f64> {
        let scales = plan.scales(log_scale);
        let size = |bits: i32| 2f64.powi(-2 * bits);
        let mut sum = 0.0;
        for (v, n) in plan.g.iter() {
            let v = v.index();
            let gain = self.gradients[v];
            let args: Vec<usize> = n.args.iter().map(|a| a.index()).collect();
            match &n.op {
                TensorOp::Input {} => sum += gain * plan.n * SIGMA * SIGMA * size(scales[v]),
                TensorOp::LinearMap { .. } => {
                    let chain = &plan.chains[&v];
                    let shape = &chain.links.first()?.shape;
                    // Copies that are added bring the errors of all.
                    let copies: usize = chain.links.iter().skip(1).map(|l| l.shape.taps + 1).product();
                    let rows = shape.cells as f64 / shape.results().max(1) as f64;
                    let rounded = if shape.weight_words > 1 { 2.0 * shape.weight_words as f64 / 12.0 } else { 1.0 / 12.0 };
                    for &a in &args {
                        let omega = log_scale + plan.sizes.prime as i32 - scales[a];
                        if omega < LEAST_WEIGHT_BITS {
                            return None;
                        }
                        sum += gain * copies as f64 * rows * rounded * self.squares[a] * size(omega);
                        if shape.rotated > 0 {
                            sum += self.gradients[a] * plan.switch(shape.limbs, shape.alpha) * size(scales[a]);
                        }
                    }
                    let keep = shape.limbs - shape.drop;
                    let steps = shape.giants.map_or(0.0, |g| g.taps as f64 * plan.switch(keep, g.alpha));
                    let sums: f64 =
                        chain.links.iter().skip(1).map(|l| plan.rounding() + l.shape.taps as f64 * plan.switch(keep, l.shape.alpha)).sum();
                    sum += gain * copies as f64 * (plan.rounding() * 2.0 + steps + sums) * size(log_scale);
                }
                TensorOp::Mul {} | TensorOp::Square {} => {
                    let at = plan.limbs[v];
                    let noise = plan.rounding() + plan.switch(at, at.div_ceil(2));
                    sum += gain * noise * size(scales[v]);
                    if plan.layouts[v].complex.is_some() {
                        sum += args.iter().map(|&a| self.gradients[a] * noise * size(scales[a])).sum::<f64>();
                    }
                }
                _ => return None,
            }
        }
        Some(sum)
    }
}

/// What is judged.
struct Plan<'p> {
    g: &'p TensorGraph,
    chains: &'p BTreeMap<usize, Chain>,
    layouts: &'p [Layout],
    /// Limbs at which each op works.
    limbs: &'p [usize],
    n: f64,
    sizes: &'p PrimeSizes,
}

impl Plan<'_> {
    /// log2 of the scale of each value, where that of linear maps is given.
    fn scales(&self, log_scale: i32) -> Vec<i32> {
        let mut out: Vec<i32> = vec![];
        for (v, n) in self.g.iter() {
            let of = |a: &ValueId| out[a.index()];
            out.push(match (&n.op, n.args.first(), n.args.last()) {
                (TensorOp::Input {}, ..) => self.sizes.prime as i32,
                (TensorOp::Mul {} | TensorOp::Square {}, Some(a), Some(b)) => {
                    of(a) + of(b) + if self.layouts[v.index()].complex.is_some() { 2 } else { 0 }
                }
                _ => log_scale,
            });
        }
        out
    }
    /// Mean square of the rounding of a division: `N/12·(1 + 2N/3)`.
    fn rounding(&self) -> f64 {
        self.n / 12.0 * (1.0 + 2.0 * self.n / 3.0)
    }
    /// Mean square of the noise of a key switch with `alpha` special primes, each of which is
    /// larger than the chain's.
    fn switch(&self, limbs: usize, alpha: usize) -> f64 {
        let alpha = alpha.max(1);
        let more = f64::from(self.sizes.special) - f64::from(self.sizes.prime);
        (self.n * SIGMA).powi(2) * limbs.div_ceil(alpha) as f64 / 12.0 * (-2.0 * more * alpha as f64).exp2()
    }
}
