//! Exact scales: a power of two times powers of the chain's primes, which are known by index only.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Div, Mul};

/// `2^e · Π q_i^k_i`, printed as `2^30*q4*q3^-1`. Equality is equality of numbers, because distinct primes are independent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Scale {
    /// Exponent of two.
    pub log2: i32,
    /// Exponents of the chain's primes by index; never zero.
    pub primes: BTreeMap<u32, i32>,
}

impl Scale {
    /// 2^e.
    pub fn pow2(e: i32) -> Scale {
        Scale { log2: e, primes: BTreeMap::new() }
    }
    /// The prime q_i.
    pub fn prime(i: u32) -> Scale {
        Scale { log2: 0, primes: BTreeMap::from([(i, 1)]) }
    }
    /// One divided by this.
    pub fn inverse(&self) -> Scale {
        Scale { log2: -self.log2, primes: self.primes.iter().map(|(&i, &k)| (i, -k)).collect() }
    }
    /// log2 of the scale for primes of these sizes.
    pub fn log2_with(&self, log2_prime: impl Fn(u32) -> f64) -> f64 {
        self.log2 as f64 + self.primes.iter().map(|(&i, &k)| k as f64 * log2_prime(i)).sum::<f64>()
    }
    /// The value for actual primes, correct to a few units in the last place.
    pub fn value(&self, prime: impl Fn(u32) -> u64) -> f64 {
        let m: f64 = self.primes.iter().map(|(&i, &k)| (prime(i) as f64).powi(k)).product();
        m * 2f64.powi(self.log2)
    }
}
impl Mul for &Scale {
    type Output = Scale;
    fn mul(self, o: &Scale) -> Scale {
        let mut primes = self.primes.clone();
        for (&i, &k) in &o.primes {
            let e = primes.entry(i).or_insert(0);
            *e += k;
            if *e == 0 {
                primes.remove(&i);
            }
        }
        Scale { log2: self.log2 + o.log2, primes }
    }
}
impl Div for &Scale {
    type Output = Scale;
    fn div(self, o: &Scale) -> Scale {
        Mul::mul(self, &o.inverse())
    }
}
impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2^{}", self.log2)?;
        for (i, k) in &self.primes {
            if *k == 1 {
                write!(f, "*q{i}")?;
            } else {
                write!(f, "*q{i}^{k}")?;
            }
        }
        Ok(())
    }
}
impl std::str::FromStr for Scale {
    type Err = String;
    fn from_str(s: &str) -> Result<Scale, String> {
        let bad = || format!("bad scale `{s}`: expected e.g. 2^30*q4^-1");
        let mut out = Scale::default();
        for part in s.split('*') {
            let (base, e) = part.split_once('^').unwrap_or((part, "1"));
            let e: i32 = e.parse().ok().filter(|e: &i32| e.abs() < 1 << 16).ok_or_else(bad)?;
            let f = match base.strip_prefix('q') {
                Some(i) => {
                    Scale { log2: 0, primes: if e == 0 { BTreeMap::new() } else { BTreeMap::from([(i.parse().map_err(|_| bad())?, e)]) } }
                }
                None if base == "2" => Scale::pow2(e),
                None => return Err(bad()),
            };
            out = &out * &f;
            if std::iter::once(&out.log2).chain(out.primes.values()).any(|e| e.abs() >= 1 << 16) {
                return Err(bad());
            }
        }
        Ok(out)
    }
}
crate::word_attr!(Scale);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algebra_and_text() {
        let s: Scale = "2^30*q4^-1*q12".parse().unwrap();
        assert_eq!(s.to_string().parse::<Scale>().unwrap(), s);
        let t = &(&s * &Scale::prime(4)) / &Scale::prime(12);
        assert_eq!(t, Scale::pow2(30));
        assert_eq!(s.value(|i| if i == 4 { 7 } else { 21 }), 3.0 * 2f64.powi(30));
        assert!("3^2".parse::<Scale>().is_err());
        assert!("2^65535*".repeat(40_000).parse::<Scale>().is_err());
    }
}
