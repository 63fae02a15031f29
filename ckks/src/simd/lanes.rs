//! The vocabulary in which kernels are written: eight words at a time.

use crate::arithmetic::Modulus;

/// The low 52 bits.
pub(super) const MASK52: u64 = (1 << 52) - 1;

/// A piece of work that is generic over the instruction set. `run` must be `#[inline(always)]`, and
/// nothing inside may be a closure that touches lanes: closures are compiled without the caller's
/// target features.
pub(super) trait Kernel {
    type Output;
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Eight 64-bit lanes. A value of the implementing type is proof that the instructions exist.
pub(super) trait Lanes: Copy {
    /// Whether there are registers for many accumulators. Kernels that come in several widths are
    /// compiled in the narrowest only where there are not; [`super::Isa::is_wide`] tells callers
    /// which to ask for.
    const WIDE: bool;
    /// Eight words.
    type V: Copy;
    /// Eight sums of products, each below 2^116.
    type Acc: Copy;
    /// As [`Self::Acc`] for at most four products, each below 2^102.
    type Few: Copy;

    fn splat(self, x: u64) -> Self::V;
    /// # Safety
    /// `p` must be valid for reading eight words.
    unsafe fn load(self, p: *const u64) -> Self::V;
    /// `WORDS` words (1, 2, 4 or 8), over and over: `out[i] = p[i mod WORDS]`.
    ///
    /// # Safety
    /// `p` must be valid for reading `WORDS` words.
    unsafe fn cycle<const WORDS: usize>(self, p: *const u64) -> Self::V;
    /// # Safety
    /// `p` must be valid for writing eight words.
    unsafe fn store(self, p: *mut u64, v: Self::V);
    /// As [`Self::store`], past the caches where the machine can; [`Self::fence`] makes it visible
    /// to other threads.
    ///
    /// # Safety
    /// `p` must be valid for writing eight words and aligned to 64 bytes.
    unsafe fn stream(self, p: *mut u64, v: Self::V);
    /// Orders streamed words before everything that follows.
    fn fence(self);
    /// `out[i][j] = v[j][i]`.
    fn transpose(self, v: [Self::V; 8]) -> [Self::V; 8];
    /// Asks for the cache line at `p` (any address).
    fn prefetch<const NEAR: bool>(self, p: *const u64);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `out[i] = v[pattern[i] & 7]`.
    fn permute(self, pattern: &[u64; 8], v: Self::V) -> Self::V;

    /// `acc` plus the low 52 bits of the product of the low 52 bits of `x` and `y`, modulo 2^64.
    fn mul_lo(self, acc: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// As [`Self::mul_lo`], with bits 52 to 103 of the product.
    fn mul_hi(self, acc: Self::V, x: Self::V, y: Self::V) -> Self::V;

    fn acc(self) -> Self::Acc;
    fn few(self) -> Self::Few;
    /// As [`Self::mac`], at most four times.
    fn mac_few(self, acc: Self::Few, x: Self::V, y: Self::V) -> Self::Few;
    /// As [`Self::redc1`] for `c <= 1`: in `[0, q)`.
    fn redc1_few(self, acc: Self::Few, q: Self::V, qinv: Self::V) -> Self::V;
    /// As [`Self::redc1`] for `c <= 2`, in `[0, 4 q)`.
    fn redc1_few_loose(self, acc: Self::Few, q: Self::V, qinv: Self::V) -> Self::V;
    /// `acc + x y` for `x, y < 2^52` with `x y < 2^103`, for at most 2^12 summands.
    fn mac(self, acc: Self::Acc, x: Self::V, y: Self::V) -> Self::Acc;
    /// `acc / R mod q` for `acc < c q 2^52`: in `[0, max(1, c) q)`.
    fn redc1(self, acc: Self::Acc, q: Self::V, qinv: Self::V) -> Self::V;
    /// `acc / R^2 mod q` for `acc < 2^112`: in `[0, q)`.
    fn redc2(self, acc: Self::Acc, q: Self::V, qinv: Self::V) -> Self::V;
    /// `x w mod q` in `[0, q)` for any `x < 2^52`, with `w2 = floor(w 2^52 / q)`.
    fn shoup(self, x: Self::V, w: Self::V, w2: Self::V, q: Self::V) -> Self::V;

    /// `x y mod q` of residues, where `r2 = R^2 mod q`.
    #[inline(always)]
    fn mul_mod(self, x: Self::V, y: Self::V, m: ModulusLanes<Self>, r2: Self::V) -> Self::V {
        let x = self.redc1(self.mac(self.acc(), x, r2), m.q, m.qinv);
        self.redc1(self.mac(self.acc(), x, y), m.q, m.qinv)
    }

    /// Rounds `sum_j x_j c_j` of words below 2^52 to the nearest integer, ties to even, in double
    /// precision and in index order.
    ///
    /// # Safety
    /// Every pointer must be valid for reading eight words at offset `at`, and `c` as long as `x`.
    unsafe fn weighted_sum(self, x: &[*const u64], c: &[f64], at: usize) -> Self::V;
    /// `round(x_i c)` (ties to even) modulo `q` for `|x_i c| < 2^50` and below `q`.
    ///
    /// # Safety
    /// `x` must be valid for reading eight doubles.
    unsafe fn scaled_residues(self, x: *const f64, c: f64, q: Self::V) -> Self::V;

    /// `v - q` where that is not negative, for `v < 2^63`.
    #[inline(always)]
    fn reduce_once(self, v: Self::V, q: Self::V) -> Self::V {
        self.min(v, self.sub(v, q))
    }
    /// `a + b mod q`.
    #[inline(always)]
    fn add_mod(self, a: Self::V, b: Self::V, q: Self::V) -> Self::V {
        self.reduce_once(self.add(a, b), q)
    }
    /// `a - b mod q`.
    #[inline(always)]
    fn sub_mod(self, a: Self::V, b: Self::V, q: Self::V) -> Self::V {
        let s = self.sub(a, b);
        self.min(s, self.add(s, q))
    }
}

/// The constants of a modulus in lanes.
#[derive(Clone, Copy)]
pub(super) struct ModulusLanes<L: Lanes> {
    pub q: L::V,
    pub qinv: L::V,
}

impl<L: Lanes> ModulusLanes<L> {
    #[inline(always)]
    pub fn new(lanes: L, m: &Modulus) -> Self {
        Self { q: lanes.splat(m.q), qinv: lanes.splat(m.qinv) }
    }
}

/// Eight words in an array; the reference.
#[derive(Clone, Copy)]
pub(super) struct Portable;

/// Lane-wise evaluation; a macro because closures would lose the caller's target features.
macro_rules! lanewise {
    ($i:ident => $e:expr) => {{
        let mut out = [Default::default(); 8];
        for $i in 0..8 {
            out[$i] = $e;
        }
        out
    }};
}

impl Lanes for Portable {
    const WIDE: bool = false;
    type V = [u64; 8];
    type Acc = [u128; 8];
    type Few = Self::Acc;

    #[inline(always)]
    fn splat(self, x: u64) -> Self::V {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const u64) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u64; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn cycle<const WORDS: usize>(self, p: *const u64) -> Self::V {
        // SAFETY: the caller's promise: the index is below `WORDS`.
        lanewise!(i => unsafe { *p.add(i % WORDS) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u64; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { self.store(p, v) }
    }
    #[inline(always)]
    fn fence(self) {}
    #[inline(always)]
    fn transpose(self, v: [Self::V; 8]) -> [Self::V; 8] {
        lanewise!(i => [v[0][i], v[1][i], v[2][i], v[3][i], v[4][i], v[5][i], v[6][i], v[7][i]])
    }
    #[inline(always)]
    fn prefetch<const NEAR: bool>(self, _p: *const u64) {}
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        lanewise!(i => a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        lanewise!(i => a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        lanewise!(i => if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn permute(self, pattern: &[u64; 8], v: Self::V) -> Self::V {
        lanewise!(i => v[pattern[i] as usize & 7])
    }
    #[inline(always)]
    fn mul_lo(self, acc: Self::V, x: Self::V, y: Self::V) -> Self::V {
        lanewise!(i => acc[i].wrapping_add(x[i].wrapping_mul(y[i]) & MASK52))
    }
    #[inline(always)]
    fn mul_hi(self, acc: Self::V, x: Self::V, y: Self::V) -> Self::V {
        lanewise!(i => acc[i].wrapping_add((((x[i] & MASK52) as u128 * (y[i] & MASK52) as u128) >> 52) as u64))
    }
    #[inline(always)]
    fn acc(self) -> Self::Acc {
        [0; 8]
    }
    #[inline(always)]
    fn mac(self, acc: Self::Acc, x: Self::V, y: Self::V) -> Self::Acc {
        lanewise!(i => acc[i] + x[i] as u128 * y[i] as u128)
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
        lanewise!(i => {
            let m = (acc[i] as u64).wrapping_mul(qinv[i]) & MASK52;
            let u = ((acc[i] >> 52) as u64).wrapping_sub(((m as u128 * q[i] as u128) >> 52) as u64);
            u.min(u.wrapping_add(q[i]))
        })
    }
    #[inline(always)]
    fn redc2(self, acc: Self::Acc, q: Self::V, qinv: Self::V) -> Self::V {
        lanewise!(i => {
            let m = (acc[i] as u64).wrapping_mul(qinv[i]) & MASK52;
            let u = ((acc[i] >> 52) as u64 + q[i]).wrapping_sub(((m as u128 * q[i] as u128) >> 52) as u64);
            let m = u.wrapping_mul(qinv[i]) & MASK52;
            let v = (u >> 52).wrapping_sub(((m as u128 * q[i] as u128) >> 52) as u64);
            v.min(v.wrapping_add(q[i]))
        })
    }
    #[inline(always)]
    fn shoup(self, x: Self::V, w: Self::V, w2: Self::V, q: Self::V) -> Self::V {
        lanewise!(i => {
            let t = ((x[i] as u128 * w2[i] as u128) >> 52) as u64;
            let r = x[i].wrapping_mul(w[i]).wrapping_sub(t.wrapping_mul(q[i])) & MASK52;
            r.min(r.wrapping_sub(q[i]))
        })
    }
    #[inline(always)]
    unsafe fn weighted_sum(self, x: &[*const u64], c: &[f64], at: usize) -> Self::V {
        let mut s = [0f64; 8];
        for (p, &c) in x.iter().zip(c) {
            for (i, s) in s.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                *s += unsafe { *p.add(at + i) } as f64 * c;
            }
        }
        lanewise!(i => s[i].round_ties_even() as u64)
    }
    #[inline(always)]
    unsafe fn scaled_residues(self, x: *const f64, c: f64, q: Self::V) -> Self::V {
        // SAFETY: the caller's promise.
        let x = unsafe { x.cast::<[f64; 8]>().read_unaligned() };
        lanewise!(i => {
            let v = (x[i] * c).round_ties_even() as i64 as u64;
            v.min(v.wrapping_add(q[i]))
        })
    }
}
