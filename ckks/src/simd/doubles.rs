//! Lanes for machines without a wide integer multiply: exact integers in double precision.
//!
//! A product of integers `x y < 2^103` is split by two fused multiply-adds (Dekker's product, with
//! the rounding steered by a large summand): `p = x y + 2^103` rounds to a multiple of 2^51, whose
//! mantissa is `high = round(x y / 2^51)`, and `x y - 2^51 high` is exact. Both halves are read
//! from the bits of the doubles and added as integers, so that sums are as exact as those of other
//! instruction sets, and a reduction by the same `R = 2^52` gives the same residues: keys, tables
//! and files do not depend on the instruction set.

use super::lanes::{Lanes, MASK52, ModulusLanes};
use super::quad::Quad;

/// 2^52, whose mantissa takes an integer below 2^52 as it is.
pub(super) const TWO52: f64 = (1u64 << 52) as f64;
/// 1.5 · 2^52: the same for integers between -2^51 and 2^51, and rounding to one of them.
pub(super) const MAGIC: f64 = 1.5 * TWO52;
/// 2^103, of which one unit in the last place is 2^51.
const SPLIT: f64 = (1u128 << 103) as f64;
/// 2^104, of which one unit in the last place is 2^52.
const SPLIT52: f64 = (1u128 << 104) as f64;
/// 1.5 · 2^104: the same for products of either sign.
const CENTRE52: f64 = 1.5 * SPLIT52;
/// Multiple of 2^52 above all sums of lower halves: 2^12 of them are below 2^62.
const LIFT: u64 = 1 << 62;

/// Eight lanes in two quads.
#[derive(Clone, Copy)]
pub(super) struct Doubles<Q>(pub Q);

/// Sums of the halves of products, and of the constants in whose mantissas they come.
#[derive(Clone, Copy)]
pub(super) struct Sums<V> {
    high: [V; 2],
    low: [V; 2],
    /// Products so far.
    count: u64,
}

/// A sum of few products as two doubles: 2^104 and a multiple of 2^52, and the rest, to which each
/// product adds at most 2^51.
#[derive(Clone, Copy)]
pub(super) struct Few<V> {
    high: [V; 2],
    low: [V; 2],
}

/// Evaluation for both quads; a macro because closures would lose the caller's target features.
macro_rules! both {
    ($i:ident => $e:expr) => {{
        let first = {
            let $i = 0;
            $e
        };
        let second = {
            let $i = 1;
            $e
        };
        [first, second]
    }};
}

impl<Q: Quad> Doubles<Q> {
    /// Integers below 2^52 as doubles.
    #[inline(always)]
    fn double(self, v: Q::V) -> Q::V {
        double(self.0, v)
    }

    /// `floor(sum / 2^52)`, which may be negative by what [`Self::reduced`] adds, and
    /// `sum mod 2^52`.
    #[inline(always)]
    fn halves(self, acc: &Sums<Q::V>, i: usize) -> (Q::V, Q::V) {
        let quad = self.0;
        let high = quad.sub(acc.high[i], quad.splat(SPLIT.to_bits().wrapping_mul(acc.count)));
        let low = quad.sub(acc.low[i], quad.splat(MAGIC.to_bits().wrapping_mul(acc.count).wrapping_sub(LIFT)));
        // The lowest bit of `high` stands for 2^51.
        let low = quad.add(low, quad.shr::<12>(quad.shl::<63>(high)));
        let carry = quad.sub(quad.shr::<52>(low), quad.splat(LIFT >> 52));
        (quad.add(quad.shr::<1>(high), carry), quad.and(low, quad.splat(MASK52)))
    }

    /// `high - floor(m q / 2^52)` for `m = low / q mod 2^52`: Montgomery's step, in `(-q, high]`.
    #[inline(always)]
    fn reduced(self, high: Q::V, low: Q::V, q: Q::V, qinv: Q::V) -> Q::V {
        let quad = self.0;
        let (low, q, qinv) = (self.double(low), self.double(q), self.double(qinv));
        let p = quad.fma(low, qinv, quad.fsplat(SPLIT52));
        let m = quad.fma(low, qinv, quad.fsub(quad.fsplat(SPLIT52), p)); // in [-2^51, 2^51]
        let m = quad.where_negative(m, quad.fadd(m, quad.fsplat(TWO52)), m);
        // A multiple of 2^52 below 2^102: exact.
        let d = quad.fms(m, q, low);
        let d = quad.fma(d, quad.fsplat(1.0 / TWO52), quad.fsplat(TWO52));
        quad.add(quad.sub(high, d), quad.splat(TWO52.to_bits()))
    }

    /// `v`, or `v + q` where `v` is negative.
    #[inline(always)]
    fn lifted(self, v: Q::V, q: Q::V) -> Q::V {
        self.0.where_negative(v, self.0.add(v, q), v)
    }

    /// The exact product of the low 52 bits: multiple of 2^52, and rest below 2^52.
    #[inline(always)]
    fn split(self, x: Q::V, y: Q::V) -> (Q::V, Q::V) {
        let quad = self.0;
        let mask = quad.splat(MASK52);
        let (x, y) = (self.double(quad.and(x, mask)), self.double(quad.and(y, mask)));
        let split = quad.fsplat(SPLIT52);
        let p = quad.fma(x, y, split);
        let low = quad.fma(x, y, quad.fsub(split, p)); // in [-2^51, 2^51]
        let low = quad.sub(quad.fadd(low, quad.fsplat(MAGIC)), quad.splat(MAGIC.to_bits()));
        let high = quad.sub(p, quad.splat(SPLIT52.to_bits()));
        // One less where the rest is negative.
        (quad.sub(high, quad.shr::<63>(low)), quad.and(low, mask))
    }
}

/// Integers below 2^52 as doubles.
#[inline(always)]
pub(super) fn double<Q: Quad>(quad: Q, v: Q::V) -> Q::V {
    quad.fsub(quad.or(v, quad.splat(TWO52.to_bits())), quad.fsplat(TWO52))
}

impl<Q: Quad> Lanes for Doubles<Q> {
    const WIDE: bool = false;
    type V = [Q::V; 2];
    type Acc = Sums<Q::V>;
    type Few = Few<Q::V>;

    #[inline(always)]
    fn splat(self, x: u64) -> Self::V {
        [self.0.splat(x); 2]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const u64) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { [self.0.load(p), self.0.load(p.add(4))] }
    }
    #[inline(always)]
    unsafe fn cycle<const WORDS: usize>(self, p: *const u64) -> Self::V {
        // SAFETY: the caller's promise, and no more than these words are read.
        unsafe {
            match WORDS {
                1 => self.splat(*p),
                2 => [self.0.load([*p, *p.add(1), *p, *p.add(1)].as_ptr()); 2],
                4 => [self.0.load(p); 2],
                _ => self.load(p),
            }
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.store(p, v[0]);
            self.0.store(p.add(4), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.stream(p, v[0]);
            self.0.stream(p.add(4), v[1]);
        }
    }
    #[inline(always)]
    fn fence(self) {
        self.0.fence();
    }
    #[inline(always)]
    fn transpose(self, v: [Self::V; 8]) -> [Self::V; 8] {
        let [a, c] = both!(i => self.0.transpose([v[0][i], v[1][i], v[2][i], v[3][i]]));
        let [b, d] = both!(i => self.0.transpose([v[4][i], v[5][i], v[6][i], v[7][i]]));
        [[a[0], b[0]], [a[1], b[1]], [a[2], b[2]], [a[3], b[3]], [c[0], d[0]], [c[1], d[1]], [c[2], d[2]], [c[3], d[3]]]
    }
    #[inline(always)]
    fn prefetch<const NEAR: bool>(self, p: *const u64) {
        self.0.prefetch::<NEAR>(p);
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        both!(i => self.0.add(a[i], b[i]))
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        both!(i => self.0.sub(a[i], b[i]))
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        both!(i => self.0.min(a[i], b[i]))
    }
    #[inline(always)]
    fn permute(self, pattern: &[u64; 8], v: Self::V) -> Self::V {
        self.0.permute(pattern, v)
    }
    #[inline(always)]
    fn mul_lo(self, acc: Self::V, x: Self::V, y: Self::V) -> Self::V {
        both!(i => self.0.add(acc[i], self.split(x[i], y[i]).1))
    }
    #[inline(always)]
    fn mul_hi(self, acc: Self::V, x: Self::V, y: Self::V) -> Self::V {
        both!(i => self.0.add(acc[i], self.split(x[i], y[i]).0))
    }
    #[inline(always)]
    fn acc(self) -> Self::Acc {
        Sums { high: self.splat(0), low: self.splat(0), count: 0 }
    }
    #[inline(always)]
    fn mac(self, mut acc: Self::Acc, x: Self::V, y: Self::V) -> Self::Acc {
        let quad = self.0;
        let (split, rest) = (quad.fsplat(SPLIT), quad.fsplat(SPLIT + MAGIC));
        for i in 0..2 {
            let (x, y) = (self.double(x[i]), self.double(y[i]));
            let p = quad.fma(x, y, split);
            acc.high[i] = quad.add(acc.high[i], p);
            acc.low[i] = quad.add(acc.low[i], quad.fma(x, y, quad.fsub(rest, p)));
        }
        acc.count += 1;
        acc
    }
    #[inline(always)]
    fn redc1(self, acc: Self::Acc, q: Self::V, qinv: Self::V) -> Self::V {
        both!(i => {
            let (high, low) = self.halves(&acc, i);
            self.lifted(self.reduced(high, low, q[i], qinv[i]), q[i])
        })
    }
    #[inline(always)]
    fn few(self) -> Self::Few {
        Few { high: [self.0.fsplat(SPLIT52); 2], low: self.splat(0) }
    }
    #[inline(always)]
    fn mac_few(self, mut acc: Self::Few, x: Self::V, y: Self::V) -> Self::Few {
        let quad = self.0;
        for i in 0..2 {
            let (x, y) = (self.double(x[i]), self.double(y[i]));
            let high = quad.fma(x, y, acc.high[i]);
            acc.low[i] = quad.fadd(acc.low[i], quad.fma(x, y, quad.fsub(acc.high[i], high)));
            acc.high[i] = high;
        }
        acc
    }
    #[inline(always)]
    fn redc1_few(self, acc: Self::Few, q: Self::V, qinv: Self::V) -> Self::V {
        let v = self.redc1_few_loose(acc, q, qinv); // in (q / 2, 5 q / 2)
        self.reduce_once(self.reduce_once(v, q), q)
    }
    #[inline(always)]
    fn redc1_few_loose(self, acc: Self::Few, q: Self::V, qinv: Self::V) -> Self::V {
        let quad = self.0;
        both!(i => {
            // The sum as a multiple of 2^52, above 2^104, and a rest of magnitude up to 2^51.
            let high = quad.fadd(acc.high[i], acc.low[i]);
            let low = quad.fsub(acc.low[i], quad.fsub(high, acc.high[i]));
            let (q, qinv) = (self.double(q[i]), self.double(qinv[i]));
            // Montgomery's quotient in [-2^51, 2^51], less 2^52, which adds q to the result.
            let p = quad.fma(low, qinv, quad.fsplat(CENTRE52));
            let m = quad.fma(low, qinv, quad.fsub(quad.fsplat(CENTRE52 - TWO52), p));
            // All multiples of 2^52: exact. The result is what is above 2^104.
            quad.and(quad.fsub(high, quad.fms(m, q, low)), quad.splat(MASK52))
        })
    }
    #[inline(always)]
    fn redc2(self, acc: Self::Acc, q: Self::V, qinv: Self::V) -> Self::V {
        let quad = self.0;
        both!(i => {
            let (high, low) = self.halves(&acc, i);
            let u = quad.add(self.reduced(high, low, q[i], qinv[i]), q[i]);
            let v = self.reduced(quad.shr::<52>(u), quad.and(u, quad.splat(MASK52)), q[i], qinv[i]);
            self.lifted(v, q[i])
        })
    }
    #[inline(always)]
    fn shoup(self, x: Self::V, w: Self::V, _w2: Self::V, q: Self::V) -> Self::V {
        let quad = self.0;
        let two52 = quad.fsplat(TWO52);
        both!(i => {
            let (x, w, p) = (self.double(x[i]), self.double(w[i]), self.double(q[i]));
            let h = quad.fmul(x, w);
            // Within 3/2 of x w / q: the products of two roundings by at most 2^52 add less than 1.
            let k = quad.fsub(quad.fma(h, quad.fdiv(quad.fsplat(1.0), p), two52), two52);
            let r = quad.fadd(quad.fnma(k, p, h), quad.fms(x, w, h)); // in (-3/2 q, 3/2 q)
            let r = quad.where_negative(r, quad.fadd(r, p), r);
            let r = quad.where_negative(r, quad.fadd(r, p), r);
            let r = quad.and(quad.fadd(r, two52), quad.splat(MASK52));
            let s = quad.sub(r, q[i]);
            quad.where_negative(s, r, s)
        })
    }
    #[inline(always)]
    fn mul_mod(self, x: Self::V, y: Self::V, m: ModulusLanes<Self>, _r2: Self::V) -> Self::V {
        let quad = self.0;
        let magic = quad.fsplat(MAGIC);
        both!(i => {
            let (x, y, q) = (self.double(x[i]), self.double(y[i]), self.double(m.q[i]));
            let h = quad.fmul(x, y);
            // Within 3/4 of x y / q < 2^50: two roundings add less than 1/4 to the half.
            let k = quad.fsub(quad.fma(h, quad.fdiv(quad.fsplat(1.0), q), magic), magic);
            let r = quad.fadd(quad.fnma(k, q, h), quad.fms(x, y, h));
            let r = quad.where_negative(r, quad.fadd(r, q), r);
            quad.and(quad.fadd(r, quad.fsplat(TWO52)), quad.splat(MASK52))
        })
    }
    #[inline(always)]
    unsafe fn weighted_sum(self, x: &[*const u64], c: &[f64], at: usize) -> Self::V {
        let quad = self.0;
        let mut sum = self.splat(0);
        for j in 0..x.len() {
            // SAFETY: the caller's promise.
            let (x, c) = unsafe { (self.load(x.get_unchecked(j).add(at)), quad.fsplat(*c.get_unchecked(j))) };
            sum = both!(i => quad.fadd(sum[i], quad.fmul(self.double(x[i]), c)));
        }
        both!(i => quad.and(quad.fadd(sum[i], quad.fsplat(TWO52)), quad.splat(MASK52)))
    }
    #[inline(always)]
    unsafe fn scaled_residues(self, x: *const f64, c: f64, q: Self::V) -> Self::V {
        let quad = self.0;
        // SAFETY: the caller's promise.
        let x = unsafe { self.load(x.cast()) };
        both!(i => {
            let v = quad.fadd(quad.fmul(x[i], quad.fsplat(c)), quad.fsplat(MAGIC));
            self.lifted(quad.sub(v, quad.splat(MAGIC.to_bits())), q[i])
        })
    }

    #[inline(always)]
    fn reduce_once(self, v: Self::V, q: Self::V) -> Self::V {
        both!(i => {
            let s = self.0.sub(v[i], q[i]);
            self.0.where_negative(s, v[i], s)
        })
    }
    #[inline(always)]
    fn sub_mod(self, a: Self::V, b: Self::V, q: Self::V) -> Self::V {
        both!(i => self.lifted(self.0.sub(a[i], b[i]), q[i]))
    }
}
