//! The probability that a raised ciphertext leaves the range of the modular reduction.
//!
//! Under a secret of Hamming weight h a coefficient of the raised phase is `q0 u`, where `u` is the
//! sum of `h + 1` independent uniform numbers in [-1/2, 1/2] (Irwin–Hall; see Bossuat,
//! Troncoso-Pastoriza and Hubaux 2022, section 3.2). With a range of K the reduction is right for
//! `|u|` up to `K - 1/2`, that is for integer parts up to `K - 1`.

/// Share of its largest term below which an alternating sum is lost in rounding.
const LOST: f64 = 1e-6;

/// `log2` of a bound of `P(|u| > bound)` for one coefficient and a secret of Hamming weight
/// `weight`; negative infinity beyond the largest possible value.
///
/// In the tails it is exact: the alternating sum
/// `P(u > x) = 1/n! sum_k (-1)^k C(n, k) (n/2 - x - k)^n`, `n = weight + 1`, in double precision.
/// Where that is lost in rounding, nearer to the middle, it is Hoeffding's bound
/// `2 exp(-6 x^2 / n)`.
pub fn log2_tail(weight: usize, bound: f64) -> f64 {
    let n = weight + 1;
    let top = n as f64 / 2.0 - bound;
    if top <= 0.0 {
        return f64::NEG_INFINITY;
    }
    // Relative to the first term, so that nothing overflows.
    let mut log_binomial = 0.0;
    let (mut sum, mut largest) = (0.0, 0.0f64);
    for k in 0..=top.floor() as usize {
        let rest = top - k as f64;
        if rest > 0.0 {
            let term = (log_binomial + n as f64 * (rest / top).ln()).exp();
            sum += if k % 2 == 0 { term } else { -term };
            largest = largest.max(term);
        }
        log_binomial += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    let log_factorial: f64 = (1..=n).map(|k| (k as f64).ln()).sum();
    let log_first = n as f64 * top.ln() - log_factorial;
    let log_one_tail = if sum > LOST * largest { log_first + sum.ln() } else { -6.0 * bound.max(0.0).powi(2) / n as f64 };
    // Both tails.
    (log_one_tail / std::f64::consts::LN_2 + 1.0).min(0.0)
}

/// `log2` of a bound of the probability that any of `coefficients` coefficients fails: the union
/// bound.
pub fn log2_any(log2_each: f64, coefficients: f64) -> f64 {
    (log2_each + coefficients.log2()).min(0.0)
}

/// The smallest range (an integer) that no coefficient can leave.
pub fn sure_range(weight: usize) -> usize {
    weight.div_ceil(2) + 1
}

/// The smallest range (an integer) with which all `2^log_n` coefficients of `ciphertexts` refreshes
/// stay inside except with probability `2^log2_bound`; at most [`sure_range`].
pub fn smallest_range(weight: usize, log_n: u32, ciphertexts: f64, log2_bound: f64) -> usize {
    let coefficients = ciphertexts * 2f64.powi(log_n as i32);
    let fits = |range: &usize| log2_any(log2_tail(weight, *range as f64 - 0.5), coefficients) <= log2_bound;
    // From above, where tails are exact.
    (1..=sure_range(weight)).rev().take_while(fits).last().unwrap_or(sure_range(weight))
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
    }

    #[test]
    fn tails_fall_from_the_middle_to_the_end_for_every_weight() {
        for weight in [1, 2, 16, 32, 64, 128, 192, 256] {
            let deviation = ((weight + 1) as f64 / 12.0).sqrt();
            let tails: Vec<f64> = (1..=sure_range(weight)).map(|range| log2_tail(weight, range as f64 - 0.5)).collect();
            for (i, t) in tails.iter().enumerate() {
                let x = i as f64 + 0.5;
                assert!(i == 0 || *t <= tails[i - 1] + 1e-9, "weight {weight}, range {}: {t} behind {}", i + 1, tails[i - 1]);
                assert!(x > deviation || *t > -2.5, "weight {weight}, range {}: {t}", i + 1);
                let hoeffding = 1.0 - 6.0 * x * x / (weight + 1) as f64 / std::f64::consts::LN_2;
                assert!(*t <= hoeffding.min(0.0) + 1e-9, "weight {weight}, range {}: {t}", i + 1);
            }
            for bits in [20.0, 40.0, 80.0, 160.0] {
                let range = smallest_range(weight, 15, 4096.0, -bits);
                let any = |range: usize| log2_any(log2_tail(weight, range as f64 - 0.5), 4096.0 * 32768.0);
                assert!(any(range) <= -bits && (range == 1 || any(range - 1) > -bits), "weight {weight}, 2^-{bits}: {range}");
            }
        }
    }

    #[test]
    fn nothing_leaves_the_sure_range() {
        for (weight, range) in [(1, 2), (31, 17), (32, 17), (64, 33), (127, 65), (128, 65)] {
            assert_eq!(sure_range(weight), range);
            let any = |range: usize| log2_any(log2_tail(weight, range as f64 - 0.5), 2f64.powi(60));
            assert!(any(range) == f64::NEG_INFINITY && any(range - 1).is_finite(), "weight {weight}");
            for bits in [1.0, 40.0, 120.0, 200.0, f64::INFINITY] {
                assert!(smallest_range(weight, 16, 1e6, -bits) <= range, "weight {weight}, 2^-{bits}");
            }
            assert_eq!(smallest_range(weight, 16, 1e6, f64::NEG_INFINITY), range);
        }
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
