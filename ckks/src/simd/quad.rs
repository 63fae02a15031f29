//! Four 64-bit words, seen as integers or as doubles: what a machine must have for
//! [`Doubles`](super::doubles::Doubles).

/// A piece of work that is generic over four words; see [`Kernel`](super::lanes::Kernel).
pub(super) trait QuadKernel {
    fn run<Q: Quad>(self, quad: Q);
}

/// Four 64-bit words. A value of the implementing type is proof that the instructions exist.
///
/// Integers are taken modulo 2^64. Operations on doubles begin with `f`; they round to nearest,
/// ties to even.
pub(super) trait Quad: Copy {
    /// Four words.
    type V: Copy;

    fn splat(self, x: u64) -> Self::V;
    /// # Safety
    /// `p` must be valid for reading four words.
    unsafe fn load(self, p: *const u64) -> Self::V;
    /// # Safety
    /// `p` must be valid for writing four words.
    unsafe fn store(self, p: *mut u64, v: Self::V);
    /// As [`Self::store`], past the caches where the machine can.
    ///
    /// # Safety
    /// `p` must be valid for writing four words and aligned to 32 bytes.
    unsafe fn stream(self, p: *mut u64, v: Self::V);
    /// Orders streamed words before everything that follows.
    fn fence(self);
    /// Asks for the cache line at `p` (any address).
    fn prefetch<const NEAR: bool>(self, p: *const u64);

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    fn or(self, a: Self::V, b: Self::V) -> Self::V;
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V;
    fn shr<const BITS: i32>(self, a: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where the highest bit of `s` is set, `b` elsewhere.
    fn where_negative(self, s: Self::V, a: Self::V, b: Self::V) -> Self::V;

    fn fadd(self, a: Self::V, b: Self::V) -> Self::V;
    fn fsub(self, a: Self::V, b: Self::V) -> Self::V;
    fn fmul(self, a: Self::V, b: Self::V) -> Self::V;
    fn fdiv(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a b - c`, rounded once.
    fn fms(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a b`, rounded once.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// `out[i][j] = v[j][i]`.
    fn transpose(self, v: [Self::V; 4]) -> [Self::V; 4];
    /// `out[i] = v[pattern[i] & 7]`, where `v` and `out` are eight words each.
    fn permute(self, pattern: &[u64; 8], v: [Self::V; 2]) -> [Self::V; 2];

    /// A double in all words.
    #[inline(always)]
    fn fsplat(self, x: f64) -> Self::V {
        self.splat(x.to_bits())
    }
}

/// Four words in an array; the reference.
#[derive(Clone, Copy)]
pub(super) struct PortableQuad;

/// Word-wise evaluation; a macro because closures would lose the caller's target features.
macro_rules! wordwise {
    ($i:ident => $e:expr) => {{
        let mut out = [0u64; 4];
        for $i in 0..4 {
            out[$i] = $e;
        }
        out
    }};
}

/// As `wordwise` for doubles.
macro_rules! doublewise {
    ($i:ident, [$($a:ident),*] => $e:expr) => {{
        let mut out = [0u64; 4];
        for $i in 0..4 {
            $(let $a = f64::from_bits($a[$i]);)*
            out[$i] = f64::to_bits($e);
        }
        out
    }};
}

impl Quad for PortableQuad {
    type V = [u64; 4];

    #[inline(always)]
    fn splat(self, x: u64) -> Self::V {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const u64) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u64; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u64, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u64; 4]>().write_unaligned(v) }
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
        wordwise!(i => a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        wordwise!(i => a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        wordwise!(i => a[i] & b[i])
    }
    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        wordwise!(i => a[i] | b[i])
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V {
        wordwise!(i => a[i] << BITS)
    }
    #[inline(always)]
    fn shr<const BITS: i32>(self, a: Self::V) -> Self::V {
        wordwise!(i => a[i] >> BITS)
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        wordwise!(i => if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn where_negative(self, s: Self::V, a: Self::V, b: Self::V) -> Self::V {
        wordwise!(i => if s[i] >> 63 == 1 { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn fadd(self, a: Self::V, b: Self::V) -> Self::V {
        doublewise!(i, [a, b] => a + b)
    }
    #[inline(always)]
    fn fsub(self, a: Self::V, b: Self::V) -> Self::V {
        doublewise!(i, [a, b] => a - b)
    }
    #[inline(always)]
    fn fmul(self, a: Self::V, b: Self::V) -> Self::V {
        doublewise!(i, [a, b] => a * b)
    }
    #[inline(always)]
    fn fdiv(self, a: Self::V, b: Self::V) -> Self::V {
        doublewise!(i, [a, b] => a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        doublewise!(i, [a, b, c] => a.mul_add(b, c))
    }
    #[inline(always)]
    fn fms(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        doublewise!(i, [a, b, c] => a.mul_add(b, -c))
    }
    #[inline(always)]
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        doublewise!(i, [a, b, c] => (-a).mul_add(b, c))
    }
    #[inline(always)]
    fn transpose(self, v: [Self::V; 4]) -> [Self::V; 4] {
        [0, 1, 2, 3].map(|i| [v[0][i], v[1][i], v[2][i], v[3][i]])
    }
    #[inline(always)]
    fn permute(self, pattern: &[u64; 8], v: [Self::V; 2]) -> [Self::V; 2] {
        let word = |i: usize| v[pattern[i] as usize >> 2 & 1][pattern[i] as usize & 3];
        [[word(0), word(1), word(2), word(3)], [word(4), word(5), word(6), word(7)]]
    }
}
