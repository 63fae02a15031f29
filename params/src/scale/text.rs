//! Text form of scales: printer, parser, serde.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Scale;

/// The largest exponent magnitude and number of factors that the parser accepts; far beyond any modulus chain.
const MAX_EXPONENT: i32 = 1 << 16;
const MAX_FACTORS: usize = 1 << 10;

/// Why a text is not a scale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseScaleError {
    /// A factor is not `prime` or `prime^exponent`.
    #[error("`{0}` is not a factor of the form PRIME or PRIME^EXPONENT")]
    Factor(String),
    /// The base of a factor is not a prime.
    #[error("the base {0} of a scale's factor is not prime")]
    NotPrime(u64),
    /// An exponent is out of range.
    #[error("the exponent {0} is out of range")]
    Exponent(i64),
    /// Too many factors.
    #[error("a scale with {0} factors")]
    TooLong(usize),
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let two = (self.pow2 != 0).then_some((2, self.pow2));
        let mut first = true;
        for (base, exponent) in two.into_iter().chain(self.odd_factors()) {
            if !first {
                f.write_str("*")?;
            }
            first = false;
            match exponent {
                1 => write!(f, "{base}")?,
                _ => write!(f, "{base}^{exponent}")?,
            }
        }
        if first {
            f.write_str("1")?;
        }
        Ok(())
    }
}

impl FromStr for Scale {
    type Err = ParseScaleError;

    fn from_str(text: &str) -> Result<Self, ParseScaleError> {
        if text == "1" {
            return Ok(Scale::one());
        }
        let factors = text.split('*').count();
        if factors > MAX_FACTORS {
            return Err(ParseScaleError::TooLong(factors));
        }
        let mut scale = Scale::one();
        for factor in text.split('*') {
            let malformed = || ParseScaleError::Factor(factor.chars().take(40).collect());
            let (base, exponent) = factor.split_once('^').unwrap_or((factor, "1"));
            let base: u64 = base.trim().parse().map_err(|_| malformed())?;
            let exponent: i64 = exponent.trim().parse().map_err(|_| malformed())?;
            if !crate::primes::is_prime(base) {
                return Err(ParseScaleError::NotPrime(base));
            }
            let exponent = i32::try_from(exponent).ok().filter(|e| e.abs() <= MAX_EXPONENT).ok_or(ParseScaleError::Exponent(exponent))?;
            scale.multiply_power(base, exponent);
        }
        Ok(scale)
    }
}

impl Serialize for Scale {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_documented_form() {
        let s = Scale::pow2(60).div_prime(1_125_899_904_679_937);
        assert_eq!(s.to_string(), "2^60*1125899904679937^-1");
        assert_eq!(Scale::one().to_string(), "1");
        assert_eq!("2*3".parse(), Ok(Scale::prime(2).mul_prime(3)));
    }

    #[test]
    fn refuses_what_is_not_a_scale() {
        for text in ["", "0", "2^", "6^2", "2^99999999999", "-3", "2^70000", "1*2"] {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }
}
