//! Four words in an AVX2 register, with fused multiply-add.

use super::quad::Quad;
use core::arch::x86_64::*;

/// Proof that the code runs with AVX2 and FMA enabled.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The caller must be compiled with, and run on a machine with, AVX2 and FMA.
    #[inline(always)]
    pub unsafe fn assume() -> Self {
        Self(())
    }
}

/// A function of registers as one of doubles.
macro_rules! doubles {
    ($f:ident($($a:ident),*)) => {
        // SAFETY: the token proves the features.
        unsafe { _mm256_castpd_si256($f($(_mm256_castsi256_pd($a)),*)) }
    };
}

impl Quad for Avx2 {
    type V = __m256i;

    #[inline(always)]
    fn splat(self, x: u64) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm256_set1_epi64x(x as i64) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const u64) -> Self::V {
        // SAFETY: the caller's promise; the token proves the features.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise; the token proves the features.
        unsafe { _mm256_storeu_si256(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise; the token proves the features.
        unsafe { _mm256_stream_si256(p.cast(), v) }
    }
    #[inline(always)]
    fn fence(self) {
        // SAFETY: every x86-64 has this instruction.
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    fn prefetch<const NEAR: bool>(self, p: *const u64) {
        // SAFETY: prefetching has no architectural effect at any address.
        unsafe {
            if NEAR {
                _mm_prefetch::<_MM_HINT_T0>(p.cast());
            } else {
                _mm_prefetch::<_MM_HINT_T1>(p.cast());
            }
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm256_add_epi64(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm256_sub_epi64(a, b) }
    }
    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm256_and_si256(a, b) }
    }
    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm256_or_si256(a, b) }
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm256_slli_epi64::<BITS>(a) }
    }
    #[inline(always)]
    fn shr<const BITS: i32>(self, a: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm256_srli_epi64::<BITS>(a) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe {
            // There are signed comparisons only: both are moved by 2^63.
            let top = self.splat(1 << 63);
            let greater = _mm256_cmpgt_epi64(_mm256_xor_si256(a, top), _mm256_xor_si256(b, top));
            _mm256_blendv_epi8(a, b, greater)
        }
    }
    #[inline(always)]
    fn where_negative(self, s: Self::V, a: Self::V, b: Self::V) -> Self::V {
        doubles!(_mm256_blendv_pd(b, a, s))
    }
    #[inline(always)]
    fn fadd(self, a: Self::V, b: Self::V) -> Self::V {
        doubles!(_mm256_add_pd(a, b))
    }
    #[inline(always)]
    fn fsub(self, a: Self::V, b: Self::V) -> Self::V {
        doubles!(_mm256_sub_pd(a, b))
    }
    #[inline(always)]
    fn fmul(self, a: Self::V, b: Self::V) -> Self::V {
        doubles!(_mm256_mul_pd(a, b))
    }
    #[inline(always)]
    fn fdiv(self, a: Self::V, b: Self::V) -> Self::V {
        doubles!(_mm256_div_pd(a, b))
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        doubles!(_mm256_fmadd_pd(a, b, c))
    }
    #[inline(always)]
    fn fms(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        doubles!(_mm256_fmsub_pd(a, b, c))
    }
    #[inline(always)]
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        doubles!(_mm256_fnmadd_pd(a, b, c))
    }
    #[inline(always)]
    fn transpose(self, [a, b, c, d]: [Self::V; 4]) -> [Self::V; 4] {
        // SAFETY: the token proves the features.
        unsafe {
            let (ab0, ab1) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
            let (cd0, cd1) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
            [
                _mm256_permute2x128_si256::<0x20>(ab0, cd0),
                _mm256_permute2x128_si256::<0x20>(ab1, cd1),
                _mm256_permute2x128_si256::<0x31>(ab0, cd0),
                _mm256_permute2x128_si256::<0x31>(ab1, cd1),
            ]
        }
    }
    #[inline(always)]
    fn permute(self, pattern: &[u64; 8], v: [Self::V; 2]) -> [Self::V; 2] {
        let mut out = v;
        for (half, out) in out.iter_mut().enumerate() {
            // SAFETY: the token proves the features; the pattern is eight words.
            unsafe {
                let words = self.load(pattern.as_ptr().add(4 * half));
                // Word `p` of a half is its 32-bit words `2 p` and `2 p + 1`, modulo 8.
                let low = self.add(words, words);
                let pairs = self.or(self.shl::<32>(self.add(low, self.splat(1))), low);
                let from = [_mm256_permutevar8x32_epi32(v[0], pairs), _mm256_permutevar8x32_epi32(v[1], pairs)];
                // The third bit of `p` says which half the word is from.
                *out = self.where_negative(self.shl::<61>(words), from[1], from[0]);
            }
        }
        out
    }
}
