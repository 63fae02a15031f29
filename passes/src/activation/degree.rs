//! The degree of approximated activations, from what the answers may lose.

use super::statistics::Statistics;
use crate::options::{AccuracyTarget, CalibrationSet};
use chiffre_ir::error::InterpError;
use chiffre_ir::tensor::{RefreshNoise, Simulation, TensorGraph, simulate};
use chiffre_params::bootstrap::SIMULATED_RADIANS;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Degrees that are tried, in this order: the largest ones of 3, 4 and 5 levels. Each has a fourth
/// to a half of the error of the one before it; a degree between two of them takes the levels of
/// the larger one, and hardly less work. Beyond them noise is what is left.
pub const DEGREES: [usize; 3] = [7, 15, 31];
/// Errors of refreshes that fits and choices allow for, many times those of a real refresh.
pub const NOISE: RefreshNoise = RefreshNoise { radians: SIMULATED_RADIANS, seed: 1 };
/// The error of logits that goes with a loss of 1, so that a loss of a point allows 10 %.
///
/// A network is surer of the images it was trained on than of others, so that a loss on calibration
/// images says little; the error of the logits is nearly the same on others. Two networks lost
/// about half a point of top-1 on test images at 10 %, and changed 3 and 6 % of the answers.
pub const ERROR_OF_LOSS: f64 = 10.0;

/// Answers of approximated activations beside those of the exact ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// See [`logit_error`].
    pub logit_error: f64,
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
            AccuracyTarget::Loss(most) => self.loss() <= most + 1e-12 && self.logit_error <= ERROR_OF_LOSS * most + 1e-12,
            AccuracyTarget::LogitError(most) => self.logit_error <= most + 1e-12,
        }
    }
}

impl std::fmt::Display for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "logit error {:.2} %, agreement {:.2} %", 100.0 * self.logit_error, 100.0 * self.agreement)?;
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

/// The root mean square of the difference of two lists of logits over that of the exact ones, after
/// taking each row's mean from it, because only differences of logits count (with one class, the
/// logits themselves). Not a number if a logit is none; 0 if nothing differs.
pub fn logit_error(exact: &[f32], approximated: &[f32], classes: usize) -> f64 {
    let classes = classes.max(1);
    let centred = |row: &mut dyn Iterator<Item = f64>| -> f64 {
        let row: Vec<f64> = row.collect();
        let mean = if classes > 1 { row.iter().sum::<f64>() / classes as f64 } else { 0.0 };
        row.iter().map(|x| (x - mean).powi(2)).sum()
    };
    let (mut difference, mut size) = (0.0, 0.0);
    for (a, b) in exact.chunks(classes).zip(approximated.chunks(classes)) {
        difference += centred(&mut a.iter().zip(b).map(|(a, b)| f64::from(*b) - f64::from(*a)));
        size += centred(&mut a.iter().map(|a| f64::from(*a)));
    }
    if difference == 0.0 { 0.0 } else { (difference / size).sqrt() }
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
        logit_error: logit_error(exact, approximated, classes),
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
        assert_eq!((c.agreement, c.top1, c.outside), (0.5, Some([0.75, 0.75]), 0));
        assert!(c.logit_error.is_nan() && !c.meets(AccuracyTarget::Loss(0.0)) && !c.meets(AccuracyTarget::LogitError(1.0)));
        let c = compare(&exact, &other[..4], 2, None);
        assert_eq!(c.loss(), 0.5);
        let c = compare(&exact, &exact, 4, None);
        assert_eq!(c.to_string(), "logit error 0.00 %, agreement 100.00 %");
        assert!(c.meets(AccuracyTarget::Loss(0.0)) && c.meets(AccuracyTarget::LogitError(0.0)));
    }

    #[test]
    fn the_logit_error_sees_differences_of_logits_only() {
        // A constant that all logits of a row share is no error.
        let (a, b) = ([3.0, -3.0, 1.0, -1.0], [5.0, -1.0, 1.5, -1.5]);
        let want = (0.5f64 / 20.0).sqrt();
        assert!((logit_error(&a, &b, 2) - want).abs() < 1e-12);
        // The error of a single output is its own.
        assert_eq!(logit_error(&[2.0, 2.0], &[3.0, 1.0], 1), 0.5);
        // All answers stay the same, and the error is still too large for a loss of a point.
        let c = compare(&a, &b, 2, None);
        assert!(c.loss() == 0.0 && !c.meets(AccuracyTarget::Loss(0.01)) && c.meets(AccuracyTarget::Loss(0.016)));
        assert!(c.meets(AccuracyTarget::LogitError(0.16)) && !c.meets(AccuracyTarget::LogitError(0.15)));
    }
}
