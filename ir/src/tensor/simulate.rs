//! The network with its approximated activations, in the clear: with the error of refreshes, and a
//! count of the values that leave their range.

use super::interp::fold;
use super::{Tensor, TensorGraph, TensorOp};
use crate::error::InterpError;
use crate::gauss::Gauss;
use crate::graph::Node;
use serde::{Deserialize, Serialize};

/// Gaussian errors of refreshes: what bootstrapping adds to the operand of every `chebyshev` behind
/// a sine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefreshNoise {
    /// Standard deviation, radians.
    pub radians: f64,
    /// The same seed gives the same errors.
    pub seed: u64,
}

/// The operands for which a `chebyshev` is meant: `[smallest, largest]` for each channel, or once
/// for all; nothing if that is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OperandRange(pub Vec<[f64; 2]>);

impl OperandRange {
    /// How far the worst of `values` (channel by channel, all of the same size) is from the middle
    /// of its channel's range, as a multiple of half its width: beyond 1 it is outside. Infinite
    /// for values that are not numbers; 0 for a range that is not known.
    pub fn excess(&self, values: impl ExactSizeIterator<Item = f64>, channels: usize) -> f64 {
        let (per, rows) = ((values.len() / channels.max(1)).max(1), self.0.len());
        let one = |(i, x): (usize, f64)| {
            let [lo, hi] = self.0[i / per % rows];
            let far = (x - 0.5 * (lo + hi)).abs() / (0.5 * (hi - lo)).max(f64::MIN_POSITIVE);
            if far.is_nan() { f64::INFINITY } else { far }
        };
        if rows == 0 { 0.0 } else { values.enumerate().map(one).fold(0.0, f64::max) }
    }
}

/// The range of every `chebyshev` of a graph, in order: what its `ranges` say, else the limit of
/// its certificate, else −1 to 1.
///
/// # Errors
/// Ranges without data.
pub fn operand_ranges(g: &TensorGraph) -> Result<Vec<OperandRange>, InterpError> {
    let one = |n: &Node<Tensor>| match &n.op {
        TensorOp::Chebyshev { ranges: Some(ranges), .. } => Some(g.consts.array(*ranges).map(|a| {
            let rows = a.data.chunks_exact(2).map(|r| [f64::from(r[0]), f64::from(r[1])]);
            OperandRange(rows.collect())
        })),
        TensorOp::Chebyshev { certificate, .. } => {
            let limit = certificate.as_ref().map_or(1.0, |c| c.limit);
            Some(Ok(OperandRange(vec![[-limit, limit]])))
        }
        _ => None,
    };
    g.nodes.iter().filter_map(one).collect()
}

/// How far the operand of one `chebyshev` leaves its range.
#[derive(Clone, Debug, PartialEq)]
pub struct Excess {
    /// ONNX node of the activation.
    pub source: String,
    /// Images with at least one value outside.
    pub images: usize,
    /// Largest distance of a value from the middle of its channel's range, as a multiple of half
    /// the range.
    pub largest: f64,
}

/// Result of [`simulate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// Per output of the graph, `n·len` values.
    pub outputs: Vec<Vec<f32>>,
    /// One entry per `chebyshev`, in the order of the graph.
    pub excess: Vec<Excess>,
    /// Images with a value outside of its range somewhere, in ascending order.
    pub outside: Vec<usize>,
}

impl Simulation {
    /// The nodes that values leave, most images first, in words; empty if all stay inside.
    pub fn report(&self, n: usize) -> Vec<String> {
        let mut worst: Vec<&Excess> = self.excess.iter().filter(|e| e.images > 0).collect();
        worst.sort_by(|a, b| b.images.cmp(&a.images).then(b.largest.total_cmp(&a.largest)));
        let lines = worst.iter().map(|e| format!("node \"{}\": {} images, up to {:.2} times the range", e.source, e.images, e.largest));
        let head = (!worst.is_empty()).then(|| format!("{} of {n} images leave the range of an activation", self.outside.len()));
        head.into_iter().chain(lines).collect()
    }
}

/// What a thread has seen.
struct Seen {
    outputs: Vec<Vec<f32>>,
    excess: Vec<(usize, f64)>,
    outside: Vec<usize>,
}

/// Runs `n` images (`n·C·H·W` values, image-major).
///
/// # Errors
/// As [`super::interp`].
pub fn simulate(g: &TensorGraph, images: &[f32], n: usize, noise: Option<RefreshNoise>) -> Result<Simulation, InterpError> {
    let ranges = operand_ranges(g)?;
    // Operand → the approximations that read it: number, behind a sine.
    let mut readers: Vec<Vec<(usize, bool)>> = vec![vec![]; g.nodes.len()];
    let mut sources = vec![];
    for n in &g.nodes {
        if let TensorOp::Chebyshev { sine, .. } = &n.op {
            readers[n.args[0].index()].push((sources.len(), *sine));
            sources.push(n.source.clone());
        }
    }
    let new = || Seen { outputs: vec![vec![]; g.outputs.len()], excess: vec![(0, 0.0); sources.len()], outside: vec![] };
    let parts = fold(g, images, n, new, |seen: &mut Seen, image, v, x| {
        for &(k, sine) in &readers[v.index()] {
            let largest = ranges[k].excess(x.iter().copied(), g.ty(v).chw()[0]);
            if largest > 1.0 {
                seen.excess[k].0 += 1;
                if seen.outside.last() != Some(&image) {
                    seen.outside.push(image);
                }
            }
            seen.excess[k].1 = seen.excess[k].1.max(largest);
            if let Some(noise) = noise.filter(|_| sine) {
                let mut gauss = Gauss::new(noise.seed).part(image as u64).part(u64::from(v.0));
                x.iter_mut().for_each(|x| *x += noise.radians * gauss.number());
            }
        }
        for (slot, _) in seen.outputs.iter_mut().zip(&g.outputs).filter(|(_, o)| **o == v) {
            slot.extend(x.iter().map(|&x| x as f32));
        }
    })?;
    let excess = sources.into_iter().enumerate().map(|(k, source)| Excess {
        source,
        images: parts.iter().map(|p| p.excess[k].0).sum(),
        largest: parts.iter().fold(0.0, |m: f64, p| m.max(p.excess[k].1)),
    });
    Ok(Simulation {
        excess: excess.collect(),
        outputs: (0..g.outputs.len()).map(|o| parts.iter().flat_map(|p| p.outputs[o].iter().copied()).collect()).collect(),
        outside: parts.iter().flat_map(|p| p.outside.iter().copied()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Tensor, interp, verify};

    const NET: &str = "tensor @t {
        const @c : f32[1x2] = [0, 1]
        %0 = input : f32[2]
        %1 = square %0 : f32[2] ; \"s\"
        %2 = chebyshev %1 {coeffs=@c, sine=true, certificate=\"relu range=[0,1] margin=1.2 limit=1.25 rms=0 max=0 outside=0\"} : f32[2] ; \"act\"
        %3 = chebyshev %2 {coeffs=@c} : f32[2] ; \"last\"
        return %3
        }";

    #[test]
    fn images_outside_are_counted_per_node() {
        let g = verify(crate::text::parse::<Tensor>(NET).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        let x = [1.0, 0.0, 1.2, 2.0, 0.5, 1.5];
        let s = simulate(&g, &x, 3, None).unwrap();
        assert_eq!(s.outputs, interp(&g, &x, 3).unwrap());
        assert_eq!(s.outside, [1, 2]);
        assert_eq!(s.excess[0], Excess { source: "act".into(), images: 2, largest: 4.0 / 1.25 });
        assert_eq!(s.excess[1].images, 0);
        assert_eq!(s.report(3), ["2 of 3 images leave the range of an activation", "node \"act\": 2 images, up to 3.20 times the range"]);
        assert!(simulate(&g, &x[..2], 1, None).unwrap().report(1).is_empty());
    }

    #[test]
    fn channels_have_ranges_of_their_own() {
        let net = NET.replace("%0 = input", "const @r : f32[2x2] = [-0.5, 4.5, 0, 1]\n%0 = input").replacen(
            "sine=true",
            "sine=true, ranges=@r",
            1,
        );
        let g = verify(crate::text::parse::<Tensor>(&net).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        // Squares are read: 4 is inside for the first channel only.
        let s = simulate(&g, &[2.0, 0.5, 0.5, 2.0, f32::NAN, 0.0], 3, None).unwrap();
        assert_eq!(s.outside, [1, 2]);
        assert_eq!(s.excess[0], Excess { source: "act".into(), images: 2, largest: f64::INFINITY });
        assert_eq!(simulate(&g, &[2.0, 0.5, 0.5, 2.0], 2, None).unwrap().excess[0].largest, 7.0);
    }

    #[test]
    fn ranges_that_are_not_known_are_not_left() {
        assert_eq!(OperandRange::default().excess([1e9, f64::NAN].into_iter(), 1), 0.0);
        assert_eq!(OperandRange(vec![[1.0, 3.0]]).excess([2.0, 3.5].into_iter(), 2), 1.5);
    }

    #[test]
    fn noise_has_the_size_asked_for_and_follows_the_seed() {
        let g = verify(crate::text::parse::<Tensor>(NET).unwrap()).unwrap();
        let (n, x) = (2000, vec![0.0; 4000]);
        let run = |seed| simulate(&g, &x, n, Some(RefreshNoise { radians: 1.25e-3, seed })).unwrap().outputs.remove(0);
        let y = run(1);
        let std = (y.iter().map(|y| f64::from(*y).powi(2)).sum::<f64>() / y.len() as f64).sqrt();
        assert!((std / 1.25e-3 - 1.0).abs() < 0.05, "{std}");
        assert!(run(1) == y && run(2) != y);
    }
}
