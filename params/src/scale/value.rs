//! Scales as numbers.

use super::{Scale, exact};
use std::cmp::Ordering;

impl Scale {
    /// The nearest double up to a relative error of about `2^-52` per unit of exponent; 0 or
    /// infinity out of range.
    pub fn to_f64(&self) -> f64 {
        let mut mantissa = 1.0f64;
        let mut exponent = i64::from(self.pow2);
        for (&p, &e) in &self.primes {
            for _ in 0..e.unsigned_abs() {
                if e > 0 {
                    mantissa *= p as f64;
                } else {
                    mantissa /= p as f64;
                }
                let (m, shift) = split(mantissa);
                mantissa = m;
                exponent += shift;
            }
        }
        // Two steps, so that results near the ends of the range neither overflow nor lose the
        // mantissa early.
        let exponent = exponent.clamp(-2200, 2200) as i32;
        mantissa * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
    }

    /// The base-2 logarithm.
    pub fn log2(&self) -> f64 {
        self.primes.iter().map(|(&p, &e)| f64::from(e) * (p as f64).log2()).sum::<f64>() + f64::from(self.pow2)
    }
}

/// `x = m · 2^e` with `m` in `[1, 2)`, for normal positive `x`.
fn split(x: f64) -> (f64, i64) {
    let exponent = ((x.to_bits() >> 52) & 0x7ff) as i64 - 1023;
    let mantissa = f64::from_bits((x.to_bits() & ((1 << 52) - 1)) | (1023 << 52));
    (mantissa, exponent)
}

impl Ord for Scale {
    /// By value, exactly.
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other {
            return Ordering::Equal;
        }
        let ratio = self.div(other);
        let log = ratio.log2();
        let terms: f64 = ratio.primes.values().map(|e| f64::from(*e).abs()).sum::<f64>() + f64::from(ratio.pow2).abs();
        // Each term's logarithm is below 64 and correct to 2^-51 of that.
        if log.abs() > 1e-12 * (terms + 1.0) {
            return log.total_cmp(&0.0);
        }
        exact::compare_to_one(ratio.pow2, ratio.odd_factors())
    }
}

impl PartialOrd for Scale {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
