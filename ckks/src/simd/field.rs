//! Arithmetic modulo a prime in double precision, on words that are integers of either sign.

use super::doubles::{MAGIC, TWO52};
use super::lanes::MASK52;
use super::quad::Quad;

/// A factor `w` in `(-q/2, q/2)` with `w / q`, rounded.
#[derive(Clone, Copy)]
pub(super) struct Twiddle<Q: Quad> {
    pub w: Q::V,
    pub quotient: Q::V,
}

/// Arithmetic modulo one prime with constants in registers.
#[derive(Clone, Copy)]
pub(super) struct Field<Q: Quad> {
    pub quad: Q,
    pub q: Q::V,
    /// `1 / q`.
    inverse: Q::V,
    magic: Q::V,
}

impl<Q: Quad> Field<Q> {
    #[inline(always)]
    pub fn new(quad: Q, q: u64) -> Self {
        Self { quad, q: quad.fsplat(q as f64), inverse: quad.fsplat(1.0 / q as f64), magic: quad.fsplat(MAGIC) }
    }

    /// Factor `i` of a node in all words.
    ///
    /// # Safety
    /// `p` must be valid for reading `i + 1` pairs.
    #[inline(always)]
    pub unsafe fn scalar(self, p: *const u64, i: usize) -> Twiddle<Q> {
        // SAFETY: the caller's promise.
        unsafe { Twiddle { w: self.quad.splat(*p.add(2 * i)), quotient: self.quad.splat(*p.add(2 * i + 1)) } }
    }

    /// One factor in each word.
    ///
    /// # Safety
    /// `p` must be valid for reading four words.
    #[inline(always)]
    pub unsafe fn vector(self, p: *const u64) -> Twiddle<Q> {
        // SAFETY: the caller's promise.
        self.twiddle(unsafe { self.quad.load(p) })
    }

    #[inline(always)]
    pub fn twiddle(self, w: Q::V) -> Twiddle<Q> {
        Twiddle { w, quotient: self.quad.fmul(w, self.inverse) }
    }

    /// `x - q round(x / q)`.
    #[inline(always)]
    pub fn reduce(self, x: Q::V) -> Q::V {
        let k = self.quad.fsub(self.quad.fma(x, self.inverse, self.magic), self.magic);
        self.quad.fnma(k, self.q, x)
    }

    /// `y w mod q` as a sum of two terms, the second small; its
    /// magnitude is that of [`Self::product`].
    #[inline(always)]
    pub fn terms(self, y: Q::V, t: Twiddle<Q>) -> (Q::V, Q::V) {
        let quad = self.quad;
        let h = quad.fmul(y, t.w);
        let k = quad.fsub(quad.fma(y, t.quotient, self.magic), self.magic);
        (quad.fnma(k, self.q, h), quad.fms(y, t.w, h))
    }

    /// `y w mod q`, of magnitude up to `q / 2 + |y| q 2^-53` for `|y w / q| <= 2^51`: the quotient
    /// is off by what the two roundings of `w / q` make of it, beside one half.
    #[inline(always)]
    pub fn product(self, y: Q::V, t: Twiddle<Q>) -> Q::V {
        let (high, low) = self.terms(y, t);
        self.quad.fadd(high, low)
    }

    /// From words in `(-q, q)` to residues, as integers.
    #[inline(always)]
    pub fn integer(self, x: Q::V) -> Q::V {
        let quad = self.quad;
        let x = quad.where_negative(x, quad.fadd(x, self.q), x);
        quad.and(quad.fadd(x, quad.fsplat(TWO52)), quad.splat(MASK52))
    }
}
