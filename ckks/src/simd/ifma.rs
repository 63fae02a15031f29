//! Lanes in AVX-512 registers with 52-bit multiply-add.

use super::lanes::Lanes;
use core::arch::x86_64::*;

/// Proof that the code runs with AVX-512 F, DQ and IFMA enabled.
#[derive(Clone, Copy)]
pub(super) struct Ifma(());

impl Ifma {
    /// # Safety
    /// The caller must be compiled with, and run on a machine with, AVX-512 F, DQ and IFMA.
    #[inline(always)]
    pub unsafe fn assume() -> Self {
        Self(())
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: the token proves the features.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn shr52(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves the features.
        unsafe { _mm512_srli_epi64::<52>(a) }
    }
}

impl Lanes for Ifma {
    const WIDE: bool = true;
    type V = __m512i;
    /// Low and high 52-bit halves; each holds 2^12 summands.
    type Acc = (__m512i, __m512i);
    type Few = Self::Acc;

    #[inline(always)]
    fn splat(self, x: u64) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm512_set1_epi64(x as i64) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const u64) -> Self::V {
        // SAFETY: the caller's promise; the token proves the features.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn cycle<const WORDS: usize>(self, p: *const u64) -> Self::V {
        // SAFETY: the caller's promise, and no more than these words are read; the token proves the
        // features.
        unsafe {
            match WORDS {
                1 => self.splat(*p),
                2 => _mm512_broadcast_i64x2(_mm_loadu_si128(p.cast())),
                4 => _mm512_broadcast_i64x4(_mm256_loadu_si256(p.cast())),
                _ => self.load(p),
            }
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise; the token proves the features.
        unsafe { _mm512_storeu_si512(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise; the token proves the features.
        unsafe { _mm512_stream_si512(p.cast(), v) }
    }
    #[inline(always)]
    fn fence(self) {
        // SAFETY: every x86-64 has this instruction.
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    fn transpose(self, v: [Self::V; 8]) -> [Self::V; 8] {
        // SAFETY: the token proves the features.
        unsafe {
            let mut out = [self.zero(); 8];
            for s in 0..2 {
                // Words s, s + 2, s + 4, s + 6 of the rows in pairs, then 128-bit lanes.
                let mut pairs = [self.zero(); 4];
                for (i, pair) in pairs.iter_mut().enumerate() {
                    let (a, b) = (v[2 * i], v[2 * i + 1]);
                    *pair = if s == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) };
                }
                let [p01, p23, p45, p67] = pairs;
                let (even_low, odd_low) = (_mm512_shuffle_i64x2::<0x88>(p01, p23), _mm512_shuffle_i64x2::<0xdd>(p01, p23));
                let (even_high, odd_high) = (_mm512_shuffle_i64x2::<0x88>(p45, p67), _mm512_shuffle_i64x2::<0xdd>(p45, p67));
                out[s] = _mm512_shuffle_i64x2::<0x88>(even_low, even_high);
                out[4 + s] = _mm512_shuffle_i64x2::<0xdd>(even_low, even_high);
                out[2 + s] = _mm512_shuffle_i64x2::<0x88>(odd_low, odd_high);
                out[6 + s] = _mm512_shuffle_i64x2::<0xdd>(odd_low, odd_high);
            }
            out
        }
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
        unsafe { _mm512_add_epi64(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm512_sub_epi64(a, b) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm512_min_epu64(a, b) }
    }
    #[inline(always)]
    fn permute(self, pattern: &[u64; 8], v: Self::V) -> Self::V {
        // SAFETY: the token proves the features; the pattern is eight words.
        unsafe { _mm512_permutexvar_epi64(_mm512_loadu_si512(pattern.as_ptr().cast()), v) }
    }
    #[inline(always)]
    fn mul_lo(self, acc: Self::V, x: Self::V, y: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm512_madd52lo_epu64(acc, x, y) }
    }
    #[inline(always)]
    fn mul_hi(self, acc: Self::V, x: Self::V, y: Self::V) -> Self::V {
        // SAFETY: the token proves the features.
        unsafe { _mm512_madd52hi_epu64(acc, x, y) }
    }
    #[inline(always)]
    fn acc(self) -> Self::Acc {
        (self.zero(), self.zero())
    }
    #[inline(always)]
    fn mac(self, acc: Self::Acc, x: Self::V, y: Self::V) -> Self::Acc {
        (self.mul_lo(acc.0, x, y), self.mul_hi(acc.1, x, y))
    }
    #[inline(always)]
    fn few(self) -> Self::Few {
        self.acc()
    }
    #[inline(always)]
    fn mac_few(self, acc: Self::Few, x: Self::V, y: Self::V) -> Self::Few {
        self.mac(acc, x, y)
    }
    #[inline(always)]
    fn redc1_few(self, acc: Self::Few, q: Self::V, qinv: Self::V) -> Self::V {
        self.redc1(acc, q, qinv)
    }
    #[inline(always)]
    fn redc1_few_loose(self, acc: Self::Few, q: Self::V, qinv: Self::V) -> Self::V {
        self.redc1(acc, q, qinv)
    }
    #[inline(always)]
    fn redc1(self, acc: Self::Acc, q: Self::V, qinv: Self::V) -> Self::V {
        let h = self.add(acc.1, self.shr52(acc.0));
        let m = self.mul_lo(self.zero(), acc.0, qinv);
        let u = self.sub(h, self.mul_hi(self.zero(), m, q));
        self.min(u, self.add(u, q))
    }
    #[inline(always)]
    fn redc2(self, acc: Self::Acc, q: Self::V, qinv: Self::V) -> Self::V {
        let h = self.add(acc.1, self.shr52(acc.0));
        let m = self.mul_lo(self.zero(), acc.0, qinv);
        let u = self.add(self.sub(h, self.mul_hi(self.zero(), m, q)), q);
        let m = self.mul_lo(self.zero(), u, qinv);
        let v = self.sub(self.shr52(u), self.mul_hi(self.zero(), m, q));
        self.min(v, self.add(v, q))
    }
    #[inline(always)]
    fn shoup(self, x: Self::V, w: Self::V, w2: Self::V, q: Self::V) -> Self::V {
        let t = self.mul_hi(self.zero(), x, w2);
        let d = self.sub(self.mul_lo(self.zero(), x, w), self.mul_lo(self.zero(), t, q));
        // SAFETY: the token proves the features.
        let r = unsafe { _mm512_and_si512(d, _mm512_set1_epi64(super::lanes::MASK52 as i64)) };
        self.reduce_once(r, q)
    }
    #[inline(always)]
    unsafe fn weighted_sum(self, x: &[*const u64], c: &[f64], at: usize) -> Self::V {
        // SAFETY: the caller's promise; the token proves the features.
        unsafe {
            let mut s = _mm512_setzero_pd();
            for j in 0..x.len() {
                let x = _mm512_cvtepu64_pd(_mm512_loadu_si512(x.get_unchecked(j).add(at).cast()));
                s = _mm512_add_pd(s, _mm512_mul_pd(x, _mm512_set1_pd(*c.get_unchecked(j))));
            }
            _mm512_cvtpd_epu64(s)
        }
    }
    #[inline(always)]
    unsafe fn scaled_residues(self, x: *const f64, c: f64, q: Self::V) -> Self::V {
        // SAFETY: the caller's promise; the token proves the features.
        let v = unsafe { _mm512_cvtpd_epi64(_mm512_mul_pd(_mm512_loadu_pd(x), _mm512_set1_pd(c))) };
        self.min(v, self.add(v, q))
    }
}
