//! Four words in two NEON registers, with fused multiply-add.

use super::quad::Quad;
use core::arch::aarch64::*;

/// Proof that the code runs with NEON enabled.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// # Safety
    /// The caller must be compiled with, and run on a machine with, NEON.
    #[inline(always)]
    pub unsafe fn assume() -> Self {
        Self(())
    }
}

/// A function of both registers.
macro_rules! both {
    ($f:ident($($a:ident),*)) => {
        // SAFETY: the token proves the features.
        unsafe { [$f($($a[0]),*), $f($($a[1]),*)] }
    };
}

/// A function of both registers as doubles.
macro_rules! doubles {
    ($f:ident($($a:ident),*)) => {
        // SAFETY: the token proves the features.
        unsafe {
            [
                vreinterpretq_u64_f64($f($(vreinterpretq_f64_u64($a[0])),*)),
                vreinterpretq_u64_f64($f($(vreinterpretq_f64_u64($a[1])),*)),
            ]
        }
    };
}

impl Quad for Neon {
    type V = [uint64x2_t; 2];

    #[inline(always)]
    fn splat(self, x: u64) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { [vdupq_n_u64(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const u64) -> Self::V {
        // SAFETY: the caller's promise; the token proves the features.
        unsafe { [vld1q_u64(p), vld1q_u64(p.add(2))] }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise; the token proves the features.
        unsafe {
            vst1q_u64(p, v[0]);
            vst1q_u64(p.add(2), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { self.store(p, v) }
    }
    #[inline(always)]
    fn fence(self) {}
    #[inline(always)]
    fn prefetch<const NEAR: bool>(self, _p: *const u64) {}
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vaddq_u64(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vsubq_u64(a, b))
    }
    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vandq_u64(a, b))
    }
    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vorrq_u64(a, b))
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { [vshlq_n_u64::<BITS>(a[0]), vshlq_n_u64::<BITS>(a[1])] }
    }
    #[inline(always)]
    fn shr<const BITS: i32>(self, a: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { [vshrq_n_u64::<BITS>(a[0]), vshrq_n_u64::<BITS>(a[1])] }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        let less = both!(vcltq_u64(a, b));
        both!(vbslq_u64(less, a, b))
    }
    #[inline(always)]
    fn where_negative(self, s: Self::V, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        let negative = unsafe { s.map(|s| vcltzq_s64(vreinterpretq_s64_u64(s))) };
        both!(vbslq_u64(negative, a, b))
    }
    #[inline(always)]
    fn fadd(self, a: Self::V, b: Self::V) -> Self::V {
        doubles!(vaddq_f64(a, b))
    }
    #[inline(always)]
    fn fsub(self, a: Self::V, b: Self::V) -> Self::V {
        doubles!(vsubq_f64(a, b))
    }
    #[inline(always)]
    fn fmul(self, a: Self::V, b: Self::V) -> Self::V {
        doubles!(vmulq_f64(a, b))
    }
    #[inline(always)]
    fn fdiv(self, a: Self::V, b: Self::V) -> Self::V {
        doubles!(vdivq_f64(a, b))
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        doubles!(vfmaq_f64(c, a, b))
    }
    #[inline(always)]
    fn fms(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let c = doubles!(vnegq_f64(c));
        self.fma(a, b, c)
    }
    #[inline(always)]
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        doubles!(vfmsq_f64(c, a, b))
    }
    #[inline(always)]
    fn transpose(self, [a, b, c, d]: [Self::V; 4]) -> [Self::V; 4] {
        // SAFETY: the token proves the features.
        unsafe {
            [
                [vtrn1q_u64(a[0], b[0]), vtrn1q_u64(c[0], d[0])],
                [vtrn2q_u64(a[0], b[0]), vtrn2q_u64(c[0], d[0])],
                [vtrn1q_u64(a[1], b[1]), vtrn1q_u64(c[1], d[1])],
                [vtrn2q_u64(a[1], b[1]), vtrn2q_u64(c[1], d[1])],
            ]
        }
    }
    #[inline(always)]
    fn permute(self, pattern: &[u64; 8], v: [Self::V; 2]) -> [Self::V; 2] {
        let (mut from, mut to) = ([0u64; 8], [0u64; 8]);
        // SAFETY: both arrays are eight words.
        unsafe {
            self.store(from.as_mut_ptr(), v[0]);
            self.store(from.as_mut_ptr().add(4), v[1]);
            for i in 0..8 {
                to[i] = from[pattern[i] as usize & 7];
            }
            [self.load(to.as_ptr()), self.load(to.as_ptr().add(4))]
        }
    }
}
