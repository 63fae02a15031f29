//! The probability that a raised ciphertext leaves the range of the modular reduction.
//!
//! Under a secret of Hamming weight h a coefficient of the raised phase is `q0 u`, where `u` is the
//! sum of `h + 1` independent uniform numbers in [-1/2, 1/2] (Irwin–Hall; see Bossuat,
//! Troncoso-Pastoriza and Hubaux 2022, section 3.2). With a range of K the reduction is right for
//! `|u|` up to `K - 1/2`, that is for integer parts up to `K - 1`.

/// `log2 P(|u| > bound)` for one coefficient and a secret of Hamming weight `weight`.
///
/// The alternating sum `P(u > x) = 1/n! sum_k (-1)^k C(n, k) (n/2 - x - k)^n`, `n = weight + 1`, in
/// double precision: accurate in the tails and for weights up to a few hundred. Negative infinity
/// beyond the largest possible value.
pub fn log2_tail(weight: usize, bound: f64) -> f64 {
    let n = weight + 1;
    let top = n as f64 / 2.0 - bound;
    if top <= 0.0 {
        return f64::NEG_INFINITY;
    }
    // Relative to the first term, so that nothing overflows.
    let mut log_binomial = 0.0;
    let mut sum = 0.0;
    for k in 0..=top.floor() as usize {
        let rest = top - k as f64;
        if rest > 0.0 {
            let term = (log_binomial + n as f64 * (rest / top).ln()).exp();
            sum += if k % 2 == 0 { term } else { -term };
        }
        log_binomial += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    let log_factorial: f64 = (1..=n).map(|k| (k as f64).ln()).sum();
    let log_first = n as f64 * top.ln() - log_factorial;
    // Both tails.
    ((log_first + sum.max(f64::MIN_POSITIVE).ln()) / std::f64::consts::LN_2 + 1.0).min(0.0)
}

/// `log2` of a bound of the probability that any of `coefficients` coefficients fails: the union
/// bound.
pub fn log2_any(log2_each: f64, coefficients: f64) -> f64 {
    (log2_each + coefficients.log2()).min(0.0)
}

/// The smallest range (an integer) with which all `2^log_n` coefficients of `ciphertexts` refreshes
/// stay inside except with probability `2^log2_bound`.
pub fn smallest_range(weight: usize, log_n: u32, ciphertexts: f64, log2_bound: f64) -> usize {
    let coefficients = ciphertexts * 2f64.powi(log_n as i32);
    let fits = |range: &usize| log2_any(log2_tail(weight, *range as f64 - 0.5), coefficients) <= log2_bound;
    (1..=weight / 2 + 1).find(fits).unwrap_or(weight / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_for_weight_32() {
        for (range, want) in [(12.0, -45.1), (13.0, -55.7), (14.0, -69.4), (16.0, -121.7)] {
            let got = log2_tail(32, range - 0.5);
            assert!((got - want).abs() < 0.05, "{range}: {got}");
        }
        assert_eq!(log2_tail(32, 16.5), f64::NEG_INFINITY);
    }

    #[test]
    fn tails_of_few_terms_are_elementary() {
        // one uniform number, and the triangle of two
        assert!((log2_tail(0, 0.25) - (0.5f64).log2()).abs() < 1e-12);
        assert!((log2_tail(1, 0.5) - (0.25f64).log2()).abs() < 1e-12);
        assert!(log2_tail(32, 0.0).abs() < 1e-3);
    }

    #[test]
    fn ranges_for_bounds() {
        assert_eq!(smallest_range(32, 15, 3.3 * 512.0, -40.0), 14);
        assert_eq!(smallest_range(32, 15, 1.0, -30.0), 12);
        assert_eq!(smallest_range(32, 15, 3.3 * 512.0, -100.0), 17);
    }
}
