//! How many levels polynomials take.

/// Levels of a polynomial of degree `degree`, 0 for constants: `ceil(log2(degree + 1))`, the least
/// that there is, since each product doubles the degree at most and every sum of products and
/// multiples is rescaled once.
pub const fn series_depth(degree: usize) -> usize {
    (degree + 1).next_power_of_two().ilog2() as usize
}

/// Levels of a series with so many coefficients; none for one or for none.
pub const fn coefficients_depth(coefficients: usize) -> usize {
    series_depth(coefficients.saturating_sub(1))
}
