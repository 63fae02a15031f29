//! The measured noise of a result: what a data owner, who can decrypt, compares with predictions.

use num_complex::Complex64;

/// Root mean square over slots of `got − want`: the measured counterpart of
/// [`Estimate::error`](chiffre_ckks::noise::Estimate::error).
pub fn measured_error(got: &[Complex64], want: &[Complex64]) -> f64 {
    let sum: f64 = got.iter().zip(want).map(|(g, w)| (g - w).norm_sqr()).sum();
    (sum / got.len().max(1) as f64).sqrt()
}
