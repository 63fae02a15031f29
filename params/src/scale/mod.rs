//! Exact scales.
//!
//! The scale of a plaintext or ciphertext is the factor between slot values and the integers that carry them. It
//! starts as a power of two and is multiplied by other scales and divided by primes of the modulus chain, so it is
//! always `2^e · Π p^k` with odd primes `p`. [`Scale`] keeps that factorisation: equality is exact, products never
//! drift, and two branches of a graph either meet at one scale or visibly do not.

mod exact;
mod text;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

pub use text::ParseScaleError;

/// A positive rational number `2^e · Π p^k`, kept factored over distinct odd primes.
///
/// The text form, used by [`Display`](fmt::Display), [`FromStr`](std::str::FromStr) and serde, is the factors joined
/// by `*` in ascending order of the base, for example `2^60*1125899904679937^-1`; the scale one is `1`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Scale {
    pow2: i32,
    /// Odd primes with nonzero exponents.
    primes: BTreeMap<u64, i32>,
}

impl Scale {
    /// The scale 1.
    pub fn one() -> Self {
        Self::default()
    }

    /// The scale `2^e`.
    pub fn pow2(e: i32) -> Self {
        Self { pow2: e, primes: BTreeMap::new() }
    }

    /// The scale `p`, for a prime `p` (2 included).
    ///
    /// The caller promises that `p` is prime: equality of scales compares factorisations.
    pub fn prime(p: u64) -> Self {
        Self::one().mul_prime(p)
    }

    /// `self · other`.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        self.combine(other, 1)
    }

    /// `self / other`.
    #[must_use]
    pub fn div(&self, other: &Self) -> Self {
        self.combine(other, -1)
    }

    /// `self · p` for a prime `p`.
    #[must_use]
    pub fn mul_prime(&self, p: u64) -> Self {
        let mut out = self.clone();
        out.multiply_power(p, 1);
        out
    }

    /// `self / p` for a prime `p`: the scale after a rescale by `p`.
    #[must_use]
    pub fn div_prime(&self, p: u64) -> Self {
        let mut out = self.clone();
        out.multiply_power(p, -1);
        out
    }

    /// `self^k`.
    #[must_use]
    pub fn pow(&self, k: i32) -> Self {
        if k == 0 {
            return Self::one();
        }
        Self { pow2: self.pow2.saturating_mul(k), primes: self.primes.iter().map(|(&p, &e)| (p, e.saturating_mul(k))).collect() }
    }

    /// `1 / self`.
    #[must_use]
    pub fn recip(&self) -> Self {
        self.pow(-1)
    }

    /// The exact square root, if it is again a scale.
    pub fn sqrt(&self) -> Option<Self> {
        if self.pow2 % 2 != 0 || self.primes.values().any(|e| e % 2 != 0) {
            return None;
        }
        Some(Self { pow2: self.pow2 / 2, primes: self.primes.iter().map(|(&p, &e)| (p, e / 2)).collect() })
    }

    /// The nearest double up to a relative error of about `2^-52` per unit of exponent; 0 or infinity out of range.
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
        // Two steps, so that results near the ends of the range neither overflow nor lose the mantissa early.
        let exponent = exponent.clamp(-2200, 2200) as i32;
        mantissa * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
    }

    /// The base-2 logarithm.
    pub fn log2(&self) -> f64 {
        self.primes.iter().map(|(&p, &e)| f64::from(e) * (p as f64).log2()).sum::<f64>() + f64::from(self.pow2)
    }

    /// The exponents of the odd primes, in ascending order of the prime.
    pub fn odd_factors(&self) -> impl Iterator<Item = (u64, i32)> + '_ {
        self.primes.iter().map(|(&p, &e)| (p, e))
    }

    /// The exponent of two.
    pub fn pow2_exponent(&self) -> i32 {
        self.pow2
    }

    fn combine(&self, other: &Self, sign: i32) -> Self {
        let mut out = self.clone();
        out.multiply_power(2, other.pow2.saturating_mul(sign));
        for (&p, &e) in &other.primes {
            out.multiply_power(p, e.saturating_mul(sign));
        }
        out
    }

    fn multiply_power(&mut self, p: u64, e: i32) {
        debug_assert!(p >= 2, "a scale is a product of primes");
        if p == 2 {
            self.pow2 = self.pow2.saturating_add(e);
            return;
        }
        let exponent = self.primes.entry(p).or_insert(0);
        *exponent = exponent.saturating_add(e);
        if *exponent == 0 {
            self.primes.remove(&p);
        }
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

impl std::ops::Mul for &Scale {
    type Output = Scale;
    fn mul(self, other: &Scale) -> Scale {
        Scale::mul(self, other)
    }
}

impl std::ops::Div for &Scale {
    type Output = Scale;
    fn div(self, other: &Scale) -> Scale {
        Scale::div(self, other)
    }
}

impl fmt::Debug for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scale({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PRIMES: [u64; 4] = [3, 65537, 1_125_899_904_679_937, 1_125_899_906_826_241];

    fn scales() -> impl Strategy<Value = Scale> {
        (-80i32..80, prop::collection::vec((0usize..4, -5i32..5), 0..5))
            .prop_map(|(e, factors)| factors.iter().fold(Scale::pow2(e), |s, &(i, k)| s.mul(&Scale::prime(PRIMES[i]).pow(k))))
    }

    proptest! {
        #[test]
        fn multiplication_is_an_abelian_group(a in scales(), b in scales(), c in scales()) {
            prop_assert_eq!(&a * &b, &b * &a);
            prop_assert_eq!(&(&a * &b) * &c, &a * &(&b * &c));
            prop_assert_eq!(&(&a * &b) / &b, a.clone());
            prop_assert_eq!(&a * &a.recip(), Scale::one());
            prop_assert_eq!(a.pow(2).sqrt(), Some(a));
        }

        #[test]
        fn order_respects_products_and_logs(a in scales(), b in scales(), c in scales()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b), (&a * &c).cmp(&(&b * &c)));
            if (a.log2() - b.log2()).abs() > 1e-6 {
                prop_assert_eq!(a > b, a.log2() > b.log2());
            }
        }

        #[test]
        fn the_double_agrees_with_the_logarithm(a in scales()) {
            let log = a.log2();
            if log.abs() < 1000.0 {
                prop_assert!((a.to_f64().log2() - log).abs() < 1e-9);
            }
        }

        #[test]
        fn text_round_trips(a in scales()) {
            prop_assert_eq!(a.to_string().parse::<Scale>().ok(), Some(a));
        }
    }

    #[test]
    fn neighbours_that_doubles_cannot_tell_apart_are_ordered() {
        // p / 2^50 and (p / 2^50)^-1 differ from 1 by 2^-40; their 5th powers of neighbours by far less.
        let p = Scale::prime(1_125_899_906_826_241).div(&Scale::pow2(50));
        let close = p.mul(&Scale::prime(1_125_899_904_679_937)).div(&Scale::pow2(50));
        assert_ne!(close, Scale::one());
        assert_eq!(close.cmp(&Scale::one()), close.log2().total_cmp(&0.0));
        // 3^306 = 2^484.9985…: exact comparison works at any size.
        assert!(exact::compare_to_one(-484, [(3, 306)].into_iter()) == Ordering::Greater);
        assert!(exact::compare_to_one(-485, [(3, 306)].into_iter()) == Ordering::Less);
    }
}
