//! What answers lose when a network computes on integers, by clear runs on calibration images.

use crate::activation::degree::{Accuracy, compare};
use crate::error::{PassError, Setting};
use crate::options::{AccuracyTarget, CalibrationSet, CompileOptions};
use chiffre_backend::tfhe::read_deviations;
use chiffre_ir::quant::{self, QuantGraph};
use chiffre_ir::tensor::{self, TensorGraph};
use chiffre_params::tfhe::TfheParams;

/// Most calibration images that a choice is judged by.
const MOST_IMAGES: usize = 400;

/// Noise on calibration images is the same in every compilation.
const SEED: u64 = 7;

/// Calibration images with the answers of the network before it was quantised.
#[derive(Debug)]
pub struct Judge<'a> {
    images: &'a [f32],
    n: usize,
    labels: Option<&'a [u32]>,
    exact: Vec<f32>,
}

/// The calibration images of a compilation.
///
/// # Errors
/// There are none.
pub fn calibration<'a>(pass: &str, options: &'a CompileOptions) -> Result<&'a CalibrationSet, PassError> {
    options.activations.calibration.as_deref().filter(|s| s.n > 0).ok_or_else(|| {
        let m = "the integers of a network need the ranges of its values: give calibration images, a few hundred or more like those to be classified";
        PassError::setting(pass, "", Setting::Calibration, m.into())
    })
}

impl<'a> Judge<'a> {
    /// Runs the network in the clear.
    ///
    /// # Errors
    /// Images of another size, constants without data.
    pub fn new(pass: &str, g: &TensorGraph, set: &'a CalibrationSet) -> Result<Judge<'a>, PassError> {
        let n = set.n.min(MOST_IMAGES);
        let images = &set.images[..set.images.len() / set.n * n];
        let mut exact = tensor::interp(g, images, n).map_err(|e| PassError::clear(pass, "", e))?;
        Ok(Judge { images, n, labels: set.labels.as_deref().map(|l| &l[..n]), exact: exact.swap_remove(0) })
    }
    /// Compares the answers of the network on integers.
    ///
    /// # Errors
    /// Constants without data.
    pub fn accuracy(&self, pass: &str, g: &QuantGraph) -> Result<Accuracy, PassError> {
        let answers = quant::interp(g, self.images, self.n).map_err(|e| PassError::clear(pass, "", e))?;
        Ok(compare(&self.exact, &answers[0], self.n, self.labels))
    }
    /// As [`Self::accuracy`], with the noise that look-ups behind approximate roundings read under
    /// these parameters.
    ///
    /// # Errors
    /// Constants without data.
    pub fn noisy_accuracy(&self, pass: &str, g: &QuantGraph, p: &TfheParams) -> Result<Accuracy, PassError> {
        let clear = |e| PassError::clear(pass, "", e);
        let deviations = read_deviations(g, p).map_err(clear)?;
        let integers = quant::run_noisy(g, self.images, self.n, &deviations, SEED).map_err(clear)?;
        let answers = quant::real(g.ty(g.outputs[0]), &integers[0]);
        Ok(compare(&self.exact, &answers, self.n, self.labels))
    }
    /// Images and their number.
    pub fn images(&self) -> (&[f32], usize) {
        (self.images, self.n)
    }
}

/// True if the answers lose so little: top-1 or agreement alone count where a loss is asked for,
/// since the logits of a network on small integers always move.
pub fn meets(a: &Accuracy, target: AccuracyTarget, share: f64) -> bool {
    match target {
        AccuracyTarget::Loss(most) => a.loss() <= share * most + 1e-12,
        AccuracyTarget::LogitError(most) => a.logit_error <= share * most + 1e-12,
    }
}
