//! One prime modulus below 2^50 with its Montgomery constants for `R = 2^52`.

/// The low 52 bits, the word size of the IFMA instructions.
const MASK52: u64 = (1 << 52) - 1;

/// An odd prime below 2^50 and the constants that Montgomery reduction with `R = 2^52` needs.
///
/// All methods take and return residues in `[0, q)` unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modulus {
    /// The prime.
    pub(crate) q: u64,
    /// `q^-1 mod 2^52`.
    pub(crate) qinv: u64,
    /// `R mod q`.
    pub(crate) r: u64,
    /// `R^2 mod q`.
    pub(crate) r2: u64,
    /// `R^3 mod q`.
    pub(crate) r3: u64,
}

impl Modulus {
    /// Largest supported number of bits of a prime.
    pub const MAX_BITS: u32 = chiffre_params::primes::MAX_PRIME_BITS;

    /// Constants of the odd modulus `q` in `[3, 2^50)`.
    pub const fn new(q: u64) -> Self {
        assert!(q > 2 && q % 2 == 1 && q < 1 << Self::MAX_BITS);
        let mut inv = 1u64; // Newton iteration doubles the number of right low bits.
        let mut i = 0;
        while i < 6 {
            inv = inv.wrapping_mul(2u64.wrapping_sub(q.wrapping_mul(inv)));
            i += 1;
        }
        let r = ((1u128 << 52) % q as u128) as u64;
        let r2 = ((r as u128 * r as u128) % q as u128) as u64;
        Self { q, qinv: inv & MASK52, r, r2, r3: ((r2 as u128 * r as u128) % q as u128) as u64 }
    }

    /// The prime.
    pub const fn q(&self) -> u64 {
        self.q
    }

    /// `t / R mod q` for `t < q 2^52`.
    #[inline]
    pub const fn redc(&self, t: u128) -> u64 {
        let m = (t as u64).wrapping_mul(self.qinv) & MASK52;
        let u = (t >> 52) as u64;
        let v = ((m as u128 * self.q as u128) >> 52) as u64;
        if u >= v { u - v } else { u + self.q - v }
    }

    /// `a + b`.
    #[inline]
    pub const fn add(&self, a: u64, b: u64) -> u64 {
        let s = a + b;
        if s >= self.q { s - self.q } else { s }
    }

    /// `a - b`.
    #[inline]
    pub const fn sub(&self, a: u64, b: u64) -> u64 {
        if a >= b { a - b } else { a + self.q - b }
    }

    /// `-a`.
    #[inline]
    pub const fn neg(&self, a: u64) -> u64 {
        if a == 0 { 0 } else { self.q - a }
    }

    /// `a b`; exact for any `a, b` with `a b < q 2^52`.
    #[inline]
    pub const fn mul(&self, a: u64, b: u64) -> u64 {
        let t = self.redc(a as u128 * b as u128);
        self.redc(t as u128 * self.r2 as u128)
    }

    /// `base^exponent`.
    pub const fn pow(&self, base: u64, mut exponent: u64) -> u64 {
        let mut base = base % self.q;
        let mut result = 1;
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = self.mul(result, base);
            }
            base = self.mul(base, base);
            exponent >>= 1;
        }
        result
    }

    /// `a^-1`, or 0 for `a = 0` (the modulus is prime).
    pub const fn inv(&self, a: u64) -> u64 {
        self.pow(a, self.q - 2)
    }

    /// The residue of any unsigned word.
    #[inline]
    pub const fn reduce(&self, x: u64) -> u64 {
        x % self.q
    }

    /// The residue of a signed word.
    #[inline]
    pub const fn reduce_i64(&self, x: i64) -> u64 {
        let m = x.unsigned_abs();
        let m = if m < self.q { m } else { m % self.q };
        if x < 0 { self.neg(m) } else { m }
    }

    /// The residue of a signed double word.
    pub const fn reduce_i128(&self, x: i128) -> u64 {
        let m = (x.unsigned_abs() % self.q as u128) as u64;
        if x < 0 { self.neg(m) } else { m }
    }

    /// The residue of a double rounded to the nearest integer (ties to even), for `|x| < 2^100`.
    pub fn from_f64(&self, x: f64) -> u64 {
        let x = x.round_ties_even();
        if x.abs() < 9.0e18 { self.reduce_i64(x as i64) } else { self.reduce_i128(x as i128) }
    }

    /// The representative in `(-q/2, q/2)`.
    #[inline]
    pub const fn centre(&self, a: u64) -> i64 {
        if a > self.q / 2 { a as i64 - self.q as i64 } else { a as i64 }
    }

    /// Shoup's quotient `floor(w 2^52 / q)` of a constant `w` in `[0, q)`.
    #[inline]
    pub const fn shoup(&self, w: u64) -> u64 {
        (((w as u128) << 52) / self.q as u128) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const Q: u64 = (1 << 50) - 27; // largest prime below 2^50

    proptest! {
        #[test]
        fn agrees_with_wide_arithmetic(a in 0..Q, b in 0..Q, x in any::<i128>(), y in any::<i64>()) {
            let m = Modulus::new(Q);
            let wide = |v: i128| v.rem_euclid(Q as i128) as u64;
            prop_assert_eq!(m.mul(a, b), (a as u128 * b as u128 % Q as u128) as u64);
            prop_assert_eq!(m.add(a, b), wide(a as i128 + b as i128));
            prop_assert_eq!(m.sub(a, b), wide(a as i128 - b as i128));
            prop_assert_eq!(m.add(a, m.neg(a)), 0);
            prop_assert_eq!(m.reduce_i128(x), wide(x));
            prop_assert_eq!(m.reduce_i64(y), wide(y as i128));
            prop_assert_eq!(m.reduce_i64(m.centre(a)), a);
            if a != 0 { prop_assert_eq!(m.mul(a, m.inv(a)), 1); }
        }
    }

    #[test]
    fn rounds_doubles_of_any_size() {
        let m = Modulus::new(Q);
        assert_eq!(m.from_f64(-0.5), 0);
        assert_eq!(m.from_f64(2.5), 2);
        assert_eq!(m.from_f64(-1.5), Q - 2);
        assert_eq!(m.from_f64(2f64.powi(90)), m.pow(2, 90));
        assert_eq!(m.from_f64(-(2f64.powi(62))), m.neg(m.pow(2, 62)));
    }
}
