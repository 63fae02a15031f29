//! Text form of scales: printer, parser, serde.

use super::{PrimeIndex, PrimeName, ScaleOver};
use crate::primes::is_prime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// The largest exponent magnitude and number of factors that the parser accepts; far beyond any
/// modulus chain.
const MAX_EXPONENT: i32 = 1 << 16;
const MAX_FACTORS: usize = 1 << 10;

/// Why a text is not a scale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseScaleError {
    /// A factor is not `prime` or `prime^exponent`.
    #[error("bad factor `{0}` of a scale: expected PRIME or PRIME^EXPONENT, as in 2^30*q4^-1")]
    Factor(String),
    /// The base of a factor is not a prime.
    #[error("the base {0} of a scale's factor is not prime")]
    NotPrime(u64),
    /// An exponent is out of range.
    #[error("the exponent {0} of a scale is out of range")]
    Exponent(i64),
    /// Too many factors.
    #[error("a scale with {0} factors")]
    TooLong(usize),
}

impl PrimeName for u64 {
    fn is_two(self) -> bool {
        self == 2
    }

    fn parse(text: &str) -> Result<Self, ParseScaleError> {
        let value = text.parse().map_err(|_| malformed(text))?;
        if is_prime(value) { Ok(value) } else { Err(ParseScaleError::NotPrime(value)) }
    }
}

impl fmt::Display for PrimeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", self.0)
    }
}

impl PrimeName for PrimeIndex {
    fn is_two(self) -> bool {
        false
    }

    fn parse(text: &str) -> Result<Self, ParseScaleError> {
        text.strip_prefix('q').and_then(|i| i.parse().ok()).map(Self).ok_or_else(|| malformed(text))
    }
}

fn malformed(factor: &str) -> ParseScaleError {
    ParseScaleError::Factor(factor.chars().take(40).collect())
}

impl<P: PrimeName> fmt::Display for ScaleOver<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2^{}", self.pow2)?;
        for (base, exponent) in self.odd_factors() {
            match exponent {
                1 => write!(f, "*{base}")?,
                _ => write!(f, "*{base}^{exponent}")?,
            }
        }
        Ok(())
    }
}

impl<P: PrimeName> FromStr for ScaleOver<P> {
    type Err = ParseScaleError;

    fn from_str(text: &str) -> Result<Self, ParseScaleError> {
        let factors = text.split('*').count();
        if factors > MAX_FACTORS {
            return Err(ParseScaleError::TooLong(factors));
        }
        let mut scale = Self::one();
        for factor in text.split('*') {
            let (base, exponent) = factor.split_once('^').unwrap_or((factor, "1"));
            let exponent: i64 = exponent.parse().map_err(|_| malformed(factor))?;
            let too_large = |e: i64| e.unsigned_abs() > MAX_EXPONENT as u64;
            if too_large(exponent) {
                return Err(ParseScaleError::Exponent(exponent));
            }
            match base {
                "2" => scale.pow2 += exponent as i32,
                _ => scale.multiply_power(P::parse(base)?, exponent as i32),
            }
            let sums = scale.primes.values().chain([&scale.pow2]);
            if let Some(sum) = sums.map(|&e| i64::from(e)).find(|&e| too_large(e)) {
                return Err(ParseScaleError::Exponent(sum));
            }
        }
        Ok(scale)
    }
}

impl<P: PrimeName> Serialize for ScaleOver<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, P: PrimeName> Deserialize<'de> for ScaleOver<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IndexedScale, Scale};
    use super::*;

    #[test]
    fn prints_the_documented_form() {
        let s = Scale::pow2(60).div_prime(1_125_899_904_679_937);
        assert_eq!(s.to_string(), "2^60*1125899904679937^-1");
        assert_eq!(Scale::one().to_string(), "2^0");
        assert_eq!("2*3".parse(), Ok(Scale::prime(2).mul_prime(3)));
        let s: IndexedScale = "q4^-1*2^30*q12".parse().expect("a scale");
        assert_eq!(s, IndexedScale::pow2(30).div_prime(PrimeIndex(4)).mul_prime(PrimeIndex(12)));
        assert_eq!(s.to_string(), "2^30*q4^-1*q12");
        assert_eq!("q1*q1^-1*2^3*q2^0".parse(), Ok(IndexedScale::pow2(3)));
    }

    #[test]
    fn refuses_what_is_not_a_scale() {
        for text in ["", "0", "1", "2^", "6^2", "q1", "2^99999999999", "-3", "2^70000", "1*2"] {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
        for text in ["", "3^2", "q", "q-1", "2^60000*2^60000", "q1^99999", &"2^65535*".repeat(40_000)] {
            assert!(text.parse::<IndexedScale>().is_err(), "{}", &text[..text.len().min(40)]);
        }
    }
}
