//! Noise: predicted (see [`NoiseModel`]) and measured.

pub use chiffre_params::noise::{Estimate, NoiseModel};

/// Root mean square over slots of `got − want`: the measured counterpart of [`Estimate::error`].
pub fn measured_error(got: &[num_complex::Complex64], want: &[num_complex::Complex64]) -> f64 {
    let sum: f64 = got.iter().zip(want).map(|(g, w)| (g - w).norm_sqr()).sum();
    (sum / got.len().max(1) as f64).sqrt()
}
