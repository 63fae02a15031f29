//! Calibration: what the operands of activations are on sample images, and how much each matters,
//! by running the network in the clear with its exact activations.
//!
//! A value weighs as much as the square of the gradient of the logits at the activation's result:
//! an error there is then counted as it shows in the logits. Gradients of random sums of the logits
//! (±1 each, less their mean, because only differences of logits count) give that square on
//! average.

use super::histogram::{Histogram, weight};
use crate::options::CalibrationSet;
use crate::stop::Stop;
use chiffre_ir::gauss::Gauss;
use chiffre_ir::graph::{Node, ValueId};
use chiffre_ir::tensor::{Tensor, TensorGraph, TensorOp, trace};
use std::sync::{Mutex, PoisonError};

/// Seed of the probes.
const SEED: u64 = 1;

/// The operand of one activation, channel by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatistics {
    /// The activation's value in the graph that was run.
    pub value: ValueId,
    /// ONNX node of the activation.
    pub source: String,
    /// One histogram per channel, weighted with squared gradients, with its extreme values.
    pub channels: Vec<Histogram>,
}

/// All activations of a graph on one calibration set.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Images run.
    pub images: usize,
    /// In the order of the graph.
    pub nodes: Vec<NodeStatistics>,
    /// Values of the network's first output, image-major.
    pub logits: Vec<f32>,
}

impl Statistics {
    /// Those of a node, if they were measured on this graph.
    pub fn of(&self, v: ValueId, n: &Node<Tensor>) -> Option<&NodeStatistics> {
        self.nodes.iter().find(|s| s.value == v && s.source == n.source && s.channels.len() == n.ty.chw()[0])
    }
}

/// True for nodes whose operand is measured.
pub fn is_measured(op: &TensorOp) -> bool {
    op.is_activation() || matches!(op, TensorOp::Poly { .. })
}

/// Runs the calibration images, with so many probes of gradients for each (without any, all values
/// weigh the same). Histograms depend neither on the number of threads nor on the order of the
/// images.
///
/// # Errors
/// In words, with the node where there is one: images of another size, constants without data,
/// values that are not finite.
pub fn measure(g: &TensorGraph, set: &CalibrationSet, probes: usize) -> Result<Statistics, (String, String)> {
    measure_until(g, set, probes, &Stop::default())
}

/// As [`measure`], until the end is asked for: images are then passed over, and the result says
/// nothing.
///
/// # Errors
/// As [`measure`].
pub fn measure_until(g: &TensorGraph, set: &CalibrationSet, probes: usize, stop: &Stop) -> Result<Statistics, (String, String)> {
    let plain = |m: String| (String::new(), m);
    if set.n == 0 {
        return Err(plain("the calibration data hold no image".into()));
    }
    let per = set.images.len() / set.n;
    if let Some(i) = set.images.iter().position(|x| !x.is_finite()) {
        return Err(plain(format!(
            "image {} of the calibration data holds {}: give images of finite values",
            i / per.max(1),
            set.images[i]
        )));
    }
    let nodes: Vec<(ValueId, &Node<Tensor>)> = g.iter().filter(|(_, n)| is_measured(&n.op)).collect();
    let wanted: Vec<ValueId> = nodes.iter().filter(|_| probes > 0).map(|(v, _)| *v).collect();
    // Result → number of the node.
    let mut number = vec![None; g.nodes.len()];
    nodes.iter().enumerate().for_each(|(k, (v, _))| number[v.index()] = Some(k));
    // One set for all threads: sums of integers are the same in any order.
    let channels: Vec<Mutex<Vec<Histogram>>> = nodes.iter().map(|(_, n)| Mutex::new(vec![Histogram::default(); n.ty.chw()[0]])).collect();
    #[derive(Default)]
    struct Seen {
        logits: Vec<f32>,
        bad: Option<(usize, usize)>,
    }
    let parts = trace(g, &set.images, set.n, &wanted, Seen::default, |seen: &mut Seen, image, t| {
        let logits = g.outputs.first().map(|&o| (o, t.value(o)));
        seen.logits.extend(logits.iter().flat_map(|(_, x)| x.iter().map(|&x| x as f32)));
        let operand = |k: usize| t.value(nodes[k].1.args[0]);
        if seen.bad.is_none() {
            seen.bad = (0..nodes.len()).find(|&k| operand(k).iter().any(|x| !x.is_finite())).map(|k| (image, k));
        }
        if seen.bad.is_some() || stop.asked() {
            return;
        }
        let mut squares: Vec<Vec<f64>> = (0..nodes.len()).map(|k| vec![0.0; operand(k).len()]).collect();
        if let Some((output, logits)) = logits.filter(|_| probes > 0) {
            // The image itself is the seed, and not its number.
            let pixels = &set.images[image * per..(image + 1) * per];
            let seed = pixels.iter().fold(Gauss::new(SEED), |g, x| g.part(u64::from(x.to_bits())));
            for probe in 0..probes {
                t.back(output, &signs(seed.part(probe as u64), logits.len()), |v, gradient| {
                    let Some(k) = number[v.index()] else { return };
                    squares[k].iter_mut().zip(gradient).for_each(|(s, g)| *s += g * g);
                });
            }
        }
        for (k, squares) in squares.iter().enumerate() {
            let mut channels = channels[k].lock().unwrap_or_else(PoisonError::into_inner);
            let each = squares.len() / channels.len();
            for ((h, x), s) in channels.iter_mut().zip(operand(k).chunks_exact(each)).zip(squares.chunks_exact(each)) {
                x.iter().zip(s).for_each(|(x, s)| h.add(*x, weight(*s)));
            }
        }
    })
    .map_err(|e| plain(format!("the network cannot be run on the calibration data: {e}")))?;
    if let Some((image, k)) = parts.iter().find_map(|p| p.bad) {
        let m = format!("image {image} of the calibration data gives values that are not finite: check the image and its normalisation");
        return Err((nodes[k].1.source.clone(), m));
    }
    let channels = channels.into_iter().map(|c| c.into_inner().unwrap_or_else(PoisonError::into_inner));
    let nodes = nodes.into_iter().zip(channels).map(|((value, n), channels)| NodeStatistics { value, source: n.source.clone(), channels });
    Ok(Statistics { images: set.n, nodes: nodes.collect(), logits: parts.into_iter().flat_map(|p| p.logits).collect() })
}

/// Random signs, less their mean: a gradient at logits of which only differences count. A single
/// output counts by itself.
fn signs(mut random: Gauss, n: usize) -> Vec<f64> {
    let signs: Vec<f64> = (0..n).map(|_| random.sign()).collect();
    let mean = if n > 1 { signs.iter().sum::<f64>() / n as f64 } else { 0.0 };
    signs.into_iter().map(|s| s - mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::tensor::verify;

    /// The second channel counts three times as much as the first in the difference of the logits,
    /// the third not at all.
    #[test]
    fn values_weigh_as_the_logits_feel_them() {
        let text = "tensor @t {
            const @w : f32[2x3] = [1, 3, 2, 0, 0, 2]
            %0 = input : f32[3]
            %1 = activation %0 {kind=relu} : f32[3]
            %2 = linear %1 {weight=@w} : f32[2]
            return %2
            }";
        let g = verify(chiffre_ir::text::parse::<Tensor>(text).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        let images = vec![1.0, 1.0, 1.0, -1.0, 1.0, 1.0];
        let set = CalibrationSet { images, n: 2, labels: None };
        let s = measure(&g, &set, 64).unwrap();
        let total = |c: usize| s.nodes[0].channels[c].total();
        // Two equal signs give zero, others a square of 1.
        let (a, b, c) = (total(0), total(1), total(2));
        assert!(a > 32.0 && a < 96.0 && (b / a - 9.0).abs() < 1e-9 && c == 0.0, "{a} {b} {c}");
        // Weights are those of results: the derivative of the activation itself does not count.
        assert!(s.nodes[0].channels[0].density().iter().all(|d| d.1 > 0.0));
        assert_eq!(measure(&g, &set, 0).unwrap().nodes[0].channels[0].total(), 0.0);
        assert_eq!(signs(Gauss::new(1), 1)[0].abs(), 1.0);
    }
}
