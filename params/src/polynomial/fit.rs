//! Polynomials in the clear.

use super::types::Basis;
use std::f64::consts::PI;

/// The Chebyshev coefficients of the polynomial of degree `degree` that agrees with `f` at the
/// `degree + 1` Chebyshev nodes of [-1, 1].
pub fn chebyshev_interpolation(degree: usize, f: impl Fn(f64) -> f64) -> Vec<f64> {
    let count = degree + 1;
    let angle = |j: usize| PI * (j as f64 + 0.5) / count as f64;
    let values: Vec<f64> = (0..count).map(|j| f(angle(j).cos())).collect();
    let coefficient = |k: usize| {
        let sum: f64 = values.iter().enumerate().map(|(j, v)| v * (k as f64 * angle(j)).cos()).sum();
        sum * if k == 0 { 1.0 } else { 2.0 } / count as f64
    };
    (0..count).map(coefficient).collect()
}

/// `sum_k coefficients[k] B_k(x)`.
pub fn evaluate_clear(basis: Basis, coefficients: &[f64], x: f64) -> f64 {
    match basis {
        Basis::Monomial => coefficients.iter().rev().fold(0.0, |s, c| s * x + c),
        Basis::Chebyshev => {
            // Clenshaw: b_k = c_k + 2 x b_(k+1) - b_(k+2)
            let (first, rest) = coefficients.split_first().unwrap_or((&0.0, &[]));
            let (b1, b2) = rest.iter().rev().fold((0.0, 0.0), |(b1, b2), c| (c + 2.0 * x * b1 - b2, b1));
            first + x * b1 - b2
        }
    }
}
