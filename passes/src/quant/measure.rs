//! What the values of a network are on calibration images: ranges of channels, and samples.

use crate::error::PassError;
use crate::options::CalibrationSet;
use chiffre_ir::tensor::{TensorGraph, fold};

/// Elements of a value that are kept of each image, at most.
const SAMPLES: usize = 64;

/// A value of the network.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The smallest and the largest element of each channel.
    pub ranges: Vec<[f64; 2]>,
    /// Some elements of every image.
    pub samples: Vec<f64>,
}

impl Seen {
    fn add(&mut self, x: &[f64], channels: usize) {
        let plane = (x.len() / channels).max(1);
        self.ranges.resize(channels, [f64::INFINITY, f64::NEG_INFINITY]);
        for (r, plane) in self.ranges.iter_mut().zip(x.chunks(plane)) {
            *r = plane.iter().fold(*r, |[lo, hi], x| [lo.min(*x), hi.max(*x)]);
        }
        // A step that is prime to most extents meets every channel.
        let step = (x.len() / SAMPLES).max(1) | 1;
        self.samples.extend(x.iter().step_by(step));
    }
    fn join(&mut self, o: Seen) {
        if self.ranges.is_empty() {
            *self = o;
            return;
        }
        self.ranges.iter_mut().zip(o.ranges).for_each(|(a, b)| *a = [a[0].min(b[0]), a[1].max(b[1])]);
        self.samples.extend(o.samples);
    }
    /// The range of all channels.
    pub fn range(&self) -> [f64; 2] {
        self.ranges.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[lo, hi], r| [lo.min(r[0]), hi.max(r[1])])
    }
}

/// Every value of the network.
///
/// # Errors
/// Images of another size, constants without data, a value that is infinite or no number.
pub(super) fn measure(pass: &str, g: &TensorGraph, set: &CalibrationSet) -> Result<Vec<Seen>, PassError> {
    let new = || vec![Seen::default(); g.nodes.len()];
    let channels: Vec<usize> = g.nodes.iter().map(|n| n.ty.chw()[0]).collect();
    let parts = fold(g, &set.images, set.n, new, |all, _, v, x| all[v.index()].add(x, channels[v.index()]));
    let mut all = new();
    for part in parts.map_err(|e| PassError::clear(pass, "", e))? {
        all.iter_mut().zip(part).for_each(|(a, b)| a.join(b));
    }
    match g.nodes.iter().zip(&all).find(|(_, s)| s.range().iter().any(|x| !x.is_finite()) || s.samples.iter().any(|x| !x.is_finite())) {
        Some((n, _)) => Err(PassError::at(pass, &n.source, "a value is infinite or no number on a calibration image".into())),
        None => Ok(all),
    }
}
