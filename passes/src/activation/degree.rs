//! The degree of approximated activations, from what the answers may lose.

use super::statistics::Statistics;
use crate::options::{AccuracyTarget, CalibrationSet};
use chiffre_ir::error::InterpError;
use chiffre_ir::tensor::{RefreshNoise, Simulation, TensorGraph, simulate};
use std::cmp::Ordering;

/// Degrees that are tried, in this order: they take 3 and 4 levels.
pub const DEGREES: [usize; 2] = [7, 15];
/// Errors of refreshes that a choice allows for: 2^-9 of the range, several times those of a real
/// refresh.
pub const NOISE: RefreshNoise = RefreshNoise { share: 1.0 / 512.0, seed: 1 };

/// Answers of approximated activations beside those of the exact ones, on the calibration images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// Share of images that keep their best class, in [0, 1].
    pub agreement: f64,
    /// Share of images with the right best class, exact and approximated; absent without labels.
    pub top1: Option<[f64; 2]>,
    /// Images with a value outside of its range.
    pub outside: usize,
}

impl Accuracy {
    /// The loss of top-1, or of agreement without labels.
    pub fn loss(&self) -> f64 {
        self.top1.map_or(1.0 - self.agreement, |[exact, approximated]| exact - approximated)
    }
    /// True if the target is met.
    pub fn meets(&self, target: AccuracyTarget) -> bool {
        match target {
            AccuracyTarget::Loss(most) => self.loss() <= most + 1e-12,
            AccuracyTarget::Agreement(least) => self.agreement >= least - 1e-12,
        }
    }
}

impl std::fmt::Display for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "agreement {:.2} %", 100.0 * self.agreement)?;
        match self.top1 {
            Some([a, b]) => write!(f, ", top-1 {:.2} % (exact: {:.2} %)", 100.0 * b, 100.0 * a),
            None => Ok(()),
        }
    }
}

/// Runs a graph with approximated activations on the calibration images and compares.
///
/// # Errors
/// As [`simulate`].
pub fn accuracy(g: &TensorGraph, s: &Statistics, set: &CalibrationSet, noise: Option<RefreshNoise>) -> Result<Accuracy, InterpError> {
    let Simulation { outputs, outside, .. } = simulate(g, &set.images, set.n, noise)?;
    Ok(Accuracy { outside: outside.len(), ..compare(&s.logits, &outputs[0], set.n, set.labels.as_deref()) })
}

/// Compares two lists of logits of `n` images; rows with values that are not numbers have no best
/// class.
pub fn compare(exact: &[f32], approximated: &[f32], n: usize, labels: Option<&[u32]>) -> Accuracy {
    let classes = (exact.len() / n.max(1)).max(1);
    let best = |l: &[f32]| -> Vec<Option<usize>> {
        let row = |r: &[f32]| {
            let most = r.iter().enumerate().max_by(|a, b| a.1.partial_cmp(b.1).unwrap_or(Ordering::Equal).then(b.0.cmp(&a.0)));
            most.map(|m| m.0).filter(|_| r.iter().all(|x| x.is_finite()))
        };
        l.chunks_exact(classes).map(row).collect()
    };
    let (a, b) = (best(exact), best(approximated));
    let share = |k: usize| k as f64 / n.max(1) as f64;
    let right = |l: &[Option<usize>], labels: &[u32]| share(l.iter().zip(labels).filter(|(a, b)| **a == Some(**b as usize)).count());
    Accuracy {
        agreement: share(a.iter().zip(&b).filter(|(a, b)| a.is_some() && a == b).count()),
        top1: labels.filter(|l| l.len() == n).map(|l| [right(&a, l), right(&b, l)]),
        outside: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_by_label_or_by_agreement() {
        let (exact, other) = ([1.0, 0.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0, f32::NAN, 1.0, 0.0, 1.0]);
        let c = compare(&exact, &other, 4, Some(&[0, 0, 0, 1]));
        assert_eq!(c, Accuracy { agreement: 0.5, top1: Some([0.75, 0.75]), outside: 0 });
        assert!(c.meets(AccuracyTarget::Loss(0.0)) && !c.meets(AccuracyTarget::Agreement(0.6)));
        let c = compare(&exact, &other, 4, None);
        assert_eq!(c.loss(), 0.5);
        assert!(!c.meets(AccuracyTarget::Loss(0.01)) && c.meets(AccuracyTarget::Agreement(0.5)));
        assert_eq!(compare(&exact, &exact, 4, None).to_string(), "agreement 100.00 %");
    }
}
