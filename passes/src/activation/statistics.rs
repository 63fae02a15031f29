//! Calibration: what the operands of activations are on sample images, by running the network in
//! the clear with its exact activations.

use super::histogram::Histogram;
use crate::options::CalibrationSet;
use chiffre_ir::graph::{Node, ValueId};
use chiffre_ir::tensor::{Tensor, TensorGraph, TensorOp, fold};

/// The operand of one activation, channel by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatistics {
    /// The activation's value in the graph that was run.
    pub value: ValueId,
    /// ONNX node of the activation.
    pub source: String,
    /// One histogram per channel, with its extreme values.
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
    matches!(op, TensorOp::Activation { .. } | TensorOp::Poly { .. })
}

/// Runs the calibration images. The result does not depend on the number of threads.
///
/// # Errors
/// In words, with the node where there is one: images of another size, constants without data,
/// values that are not finite.
pub fn measure(g: &TensorGraph, set: &CalibrationSet) -> Result<Statistics, (String, String)> {
    let plain = |m: String| (String::new(), m);
    if set.n == 0 {
        return Err(plain("the calibration data hold no image".into()));
    }
    if let Some(i) = set.images.iter().position(|x| !x.is_finite()) {
        let per = set.images.len() / set.n;
        return Err(plain(format!(
            "image {} of the calibration data holds {}: give images of finite values",
            i / per.max(1),
            set.images[i]
        )));
    }
    let nodes: Vec<(ValueId, &Node<Tensor>)> = g.iter().filter(|(_, n)| is_measured(&n.op)).collect();
    // Operand → the activations that read it.
    let mut readers: Vec<Vec<usize>> = vec![vec![]; g.nodes.len()];
    nodes.iter().enumerate().for_each(|(k, (_, n))| readers[n.args[0].index()].push(k));
    struct Seen {
        channels: Vec<Vec<Histogram>>,
        logits: Vec<f32>,
        bad: Option<(usize, usize)>,
    }
    let new =
        || Seen { channels: nodes.iter().map(|(_, n)| vec![Histogram::default(); n.ty.chw()[0]]).collect(), logits: vec![], bad: None };
    let first = g.outputs.first();
    let parts = fold(g, &set.images, set.n, new, |seen: &mut Seen, image, v, x| {
        for &k in &readers[v.index()] {
            if seen.bad.is_none() && x.iter().any(|x| !x.is_finite()) {
                seen.bad = Some((image, k));
            }
            if seen.bad.is_none() {
                let per = x.len() / seen.channels[k].len();
                for (h, x) in seen.channels[k].iter_mut().zip(x.chunks_exact(per)) {
                    x.iter().for_each(|x| h.add(*x));
                }
            }
        }
        if first == Some(&v) {
            seen.logits.extend(x.iter().map(|&x| x as f32));
        }
    })
    .map_err(|e| plain(format!("the network cannot be run on the calibration data: {e}")))?;
    if let Some((image, k)) = parts.iter().find_map(|p| p.bad) {
        let m = format!("image {image} of the calibration data gives values that are not finite: check the image and its normalisation");
        return Err((nodes[k].1.source.clone(), m));
    }
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_else(new);
    for p in parts {
        all.logits.extend(p.logits);
        all.channels.iter_mut().flatten().zip(p.channels.iter().flatten()).for_each(|(a, b)| a.merge(b));
    }
    let nodes =
        nodes.into_iter().zip(all.channels).map(|((value, n), channels)| NodeStatistics { value, source: n.source.clone(), channels });
    Ok(Statistics { images: set.n, nodes: nodes.collect(), logits: all.logits })
}
