//! Exact scales.
//!
//! The scale of a plaintext or ciphertext is the factor between slot values and the integers that
//! carry them. It starts as a power of two and is multiplied by other scales and divided by primes
//! of the modulus chain, so it is always `2^e · Π p^k` with odd primes `p`. [`ScaleOver`] keeps
//! that factorisation: equality is exact, products never drift, and two branches of a graph either
//! meet at one scale or visibly do not.
//!
//! Primes go by a name: by their value in [`Scale`], by their place in the chain in
//! [`IndexedScale`], for scales that are decided before the primes are.

mod exact;
mod text;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;

pub use text::ParseScaleError;

/// What primes are called. Different names stand for different primes.
pub trait PrimeName: Copy + Ord + Hash + fmt::Display {
    /// Whether it is 2, whose exponent is kept apart.
    fn is_two(self) -> bool;

    /// Reads what [`Display`](fmt::Display) has printed.
    ///
    /// # Errors
    /// [`ParseScaleError`] for a text that names no prime.
    fn parse(text: &str) -> Result<Self, ParseScaleError>;
}

/// A prime by its place in the modulus chain, 0 for the bottom one; printed as `q0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrimeIndex(pub u32);

/// A scale over primes that are known by value.
pub type Scale = ScaleOver<u64>;

/// A scale over primes that are known by their place in the chain.
pub type IndexedScale = ScaleOver<PrimeIndex>;

/// A positive rational number `2^e · Π p^k`, kept factored over distinct odd primes that `P` names.
///
/// The text form, used by [`Display`](fmt::Display), [`FromStr`](std::str::FromStr) and serde, is
/// the power of two and then the other factors in ascending order of their names, joined by `*`,
/// for example `2^60*1125899904679937^-1` or `2^30*q4*q3^-1`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ScaleOver<P> {
    pow2: i32,
    /// Odd primes with nonzero exponents.
    primes: BTreeMap<P, i32>,
}

impl<P> Default for ScaleOver<P> {
    /// The scale 1.
    fn default() -> Self {
        Self { pow2: 0, primes: BTreeMap::new() }
    }
}

impl<P: PrimeName> ScaleOver<P> {
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
    pub fn prime(p: P) -> Self {
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
    pub fn mul_prime(&self, p: P) -> Self {
        let mut out = self.clone();
        out.multiply_power(p, 1);
        out
    }

    /// `self / p` for a prime `p`: the scale after a rescale by `p`.
    #[must_use]
    pub fn div_prime(&self, p: P) -> Self {
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

    /// The base-2 logarithm for primes with these logarithms.
    pub fn log2_with(&self, log2_prime: impl Fn(P) -> f64) -> f64 {
        f64::from(self.pow2) + self.primes.iter().map(|(&p, &e)| f64::from(e) * log2_prime(p)).sum::<f64>()
    }

    /// The exponents of the odd primes, in ascending order of the prime's name.
    pub fn odd_factors(&self) -> impl Iterator<Item = (P, i32)> + '_ {
        self.primes.iter().map(|(&p, &e)| (p, e))
    }

    /// The exponent of two.
    pub fn pow2_exponent(&self) -> i32 {
        self.pow2
    }

    fn combine(&self, other: &Self, sign: i32) -> Self {
        let mut out = self.clone();
        out.pow2 = out.pow2.saturating_add(other.pow2.saturating_mul(sign));
        for (&p, &e) in &other.primes {
            out.multiply_power(p, e.saturating_mul(sign));
        }
        out
    }

    fn multiply_power(&mut self, p: P, e: i32) {
        if p.is_two() {
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

impl IndexedScale {
    /// The scale over the primes `q` of a chain, bottom prime first; `None` if it names a prime
    /// beyond them.
    pub fn over(&self, q: &[u64]) -> Option<Scale> {
        self.primes.iter().try_fold(Scale::pow2(self.pow2), |mut scale, (&PrimeIndex(i), &e)| {
            scale.multiply_power(*q.get(i as usize)?, e);
            Some(scale)
        })
    }
}

impl<P: PrimeName> std::ops::Mul for &ScaleOver<P> {
    type Output = ScaleOver<P>;
    fn mul(self, other: Self) -> ScaleOver<P> {
        ScaleOver::mul(self, other)
    }
}

impl<P: PrimeName> std::ops::Div for &ScaleOver<P> {
    type Output = ScaleOver<P>;
    fn div(self, other: Self) -> ScaleOver<P> {
        ScaleOver::div(self, other)
    }
}

impl<P: PrimeName> fmt::Debug for ScaleOver<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scale({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

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
        // p / 2^50 and (p / 2^50)^-1 differ from 1 by 2^-40; their 5th powers of neighbours by far
        // less.
        let p = Scale::prime(1_125_899_906_826_241).div(&Scale::pow2(50));
        let close = p.mul(&Scale::prime(1_125_899_904_679_937)).div(&Scale::pow2(50));
        assert_ne!(close, Scale::one());
        assert_eq!(close.cmp(&Scale::one()), close.log2().total_cmp(&0.0));
        // 3^306 = 2^484.9985…: exact comparison works at any size.
        assert!(exact::compare_to_one(-484, [(3, 306)].into_iter()) == Ordering::Greater);
        assert!(exact::compare_to_one(-485, [(3, 306)].into_iter()) == Ordering::Less);
    }

    #[test]
    fn indices_stand_for_the_primes_of_a_chain() {
        let s = IndexedScale::pow2(30).div_prime(PrimeIndex(2)).mul_prime(PrimeIndex(0));
        assert_eq!(s.over(&[3, 5, 7]), Some(Scale::pow2(30).mul_prime(3).div_prime(7)));
        assert_eq!(s.over(&[3, 5]), None, "there is no third prime");
        assert_eq!(&(&s * &IndexedScale::prime(PrimeIndex(2))) / &IndexedScale::prime(PrimeIndex(0)), IndexedScale::pow2(30));
        assert_eq!(s.log2_with(|PrimeIndex(i)| f64::from(i)), 28.0);
    }
}
