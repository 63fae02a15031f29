//! Two or three stages of the transform on registers.
//!
//! Butterflies are lazy (Harvey 2014): words exceed `q` by factors that 52-bit products bear. Two
//! regimes are compiled. *Roomy*, for `q < 2^49`: forward words are below `8q`, so three stages
//! pass between corrections. Otherwise forward words are below `4q` and every butterfly corrects.
//! Inverse words are below `2q` between passes in both.

use crate::arithmetic::Modulus;
use crate::simd::lanes::{Lanes, MASK52};

/// A factor `w` in `[0, q)` with `low = w q^-1 mod 2^52`.
#[derive(Clone, Copy)]
pub(super) struct Twiddle<L: Lanes> {
    w: L::V,
    low: L::V,
}

/// The factors of the stages of a block: one, then two, then four.
pub(super) type Node<L> = [Twiddle<L>; 7];

/// Arithmetic modulo one prime with constants in registers.
#[derive(Clone, Copy)]
pub(super) struct Field<L: Lanes> {
    pub lanes: L,
    pub zero: L::V,
    pub q: L::V,
    pub q2: L::V,
    q3: L::V,
    pub q4: L::V,
    minus_q: L::V,
    qinv: L::V,
}

impl<L: Lanes> Field<L> {
    #[inline(always)]
    pub fn new(lanes: L, m: &Modulus) -> Self {
        Self {
            lanes,
            zero: lanes.splat(0),
            q: lanes.splat(m.q),
            q2: lanes.splat(2 * m.q),
            q3: lanes.splat(3 * m.q),
            q4: lanes.splat(4 * m.q),
            minus_q: lanes.splat(m.q.wrapping_neg()),
            qinv: lanes.splat(m.qinv),
        }
    }

    /// A factor `w` from its Montgomery form.
    #[inline(always)]
    pub fn scalar(self, m: &Modulus, w: u64) -> Twiddle<L> {
        Twiddle { w: self.lanes.splat(w), low: self.lanes.splat(w.wrapping_mul(m.qinv) & MASK52) }
    }
    /// As [`Self::scalar`] with one factor in each lane.
    #[inline(always)]
    fn vector(self, w: L::V) -> Twiddle<L> {
        Twiddle { w, low: self.lanes.mul_lo(self.zero, w, self.qinv) }
    }
    /// The product of two factors.
    #[inline(always)]
    fn times(self, a: Twiddle<L>, b: Twiddle<L>) -> Twiddle<L> {
        let p = self.product(self.zero, a.w, b);
        self.vector(self.lanes.min(p, self.lanes.add(p, self.q)))
    }
    /// The first `count` factors of a node in pairs, the rest unspecified.
    ///
    /// # Safety
    /// `p` must be valid for reading `2 count` words.
    #[inline(always)]
    pub unsafe fn pairs(self, p: *const u64, count: usize) -> Node<L> {
        let mut node = [Twiddle { w: self.zero, low: self.zero }; 7];
        for i in 0..count {
            // SAFETY: the caller's promise.
            node[i] = unsafe { Twiddle { w: self.lanes.splat(*p.add(2 * i)), low: self.lanes.splat(*p.add(2 * i + 1)) } };
        }
        node
    }
    /// Eight nodes, one in each lane, from their three kept factors and `psi^(N/2)`, `psi^(N/4)`.
    ///
    /// # Safety
    /// `p` must be valid for reading 24 words.
    #[inline(always)]
    pub unsafe fn vectors(self, p: *const u64, turns: [Twiddle<L>; 2]) -> Node<L> {
        // SAFETY: the caller's promise.
        let (a, b, c) = unsafe { (self.lanes.load(p), self.lanes.load(p.add(8)), self.lanes.load(p.add(16))) };
        let (b, c) = (self.vector(b), self.vector(c));
        let d = self.times(c, turns[1]);
        [self.vector(a), b, self.times(b, turns[0]), c, self.times(c, turns[0]), d, self.times(d, turns[0])]
    }

    /// `v - c` where that is not negative.
    #[inline(always)]
    pub fn fold(self, v: L::V, c: L::V) -> L::V {
        self.lanes.reduce_once(v, c)
    }
    /// `bias + p` with `p = y w / R mod q` in `(-q, q)`, for any `y < 2^52` (Montgomery's method
    /// with signed result).
    #[inline(always)]
    pub fn product(self, bias: L::V, y: L::V, t: Twiddle<L>) -> L::V {
        let m = self.lanes.mul_lo(self.zero, y, t.low);
        self.lanes.sub(self.lanes.mul_hi(bias, y, t.w), self.lanes.mul_hi(self.zero, m, self.q))
    }

    /// Butterflies `(x, y) -> (x + w y, x - w y)` on words `i` and `j` of `B` interleaved blocks,
    /// which hide each other's latency. Roomy: `x` must be at least `q`.
    #[inline(always)]
    fn up<const ROOMY: bool, const R: usize, const B: usize>(
        self,
        v: &mut [[L::V; R]; B],
        (i, j): (usize, usize),
        t: &[Node<L>; B],
        k: usize,
    ) {
        let l = self.lanes;
        for b in 0..B {
            let x = if ROOMY { v[b][i] } else { l.add(self.fold(v[b][i], self.q2), self.q) };
            let p = self.product(self.zero, v[b][j], t[b][k]);
            v[b][i] = l.add(x, p);
            v[b][j] = l.sub(x, p);
        }
    }

    /// `log2 R` stages forward on `R` (4 or 8) words of `B` blocks; words below `8q` (roomy) or
    /// `4q` on both sides.
    #[inline(always)]
    pub fn forward<const ROOMY: bool, const R: usize, const B: usize>(self, v: &mut [[L::V; R]; B], t: &[Node<L>; B]) {
        let l = self.lanes;
        if ROOMY {
            // Lift each word by q for every stage in which its descendants are added to before they
            // are multiplied.
            for v in v.iter_mut() {
                let (first, second) = (self.fold(v[0], self.q4), self.fold(v[1], self.q4));
                if R == 8 {
                    v[0] = l.add(self.fold(first, self.q2), self.q3);
                    v[1] = l.add(second, self.q2);
                    v[2] = l.add(self.fold(v[2], self.q4), self.q);
                    v[3] = l.add(self.fold(v[3], self.q4), self.q);
                } else {
                    v[0] = l.add(first, self.q2);
                    v[1] = l.add(second, self.q);
                }
            }
        }
        if R == 8 {
            for i in 0..4 {
                self.up::<ROOMY, R, B>(v, (i, i + 4), t, 0);
            }
            for i in 0..2 {
                self.up::<ROOMY, R, B>(v, (i, i + 2), t, 1);
                self.up::<ROOMY, R, B>(v, (i + 4, i + 6), t, 2);
            }
            for i in 0..4 {
                self.up::<ROOMY, R, B>(v, (2 * i, 2 * i + 1), t, 3 + i);
            }
        } else {
            for i in 0..2 {
                self.up::<ROOMY, R, B>(v, (i, i + 2), t, 0);
            }
            for i in 0..2 {
                self.up::<ROOMY, R, B>(v, (2 * i, 2 * i + 1), t, 1 + i);
            }
        }
    }

    /// From the range of [`Self::forward`] to `[0, 4q)` (roomy) or `[0, 2q)`.
    #[inline(always)]
    pub fn halve<const ROOMY: bool>(self, v: L::V) -> L::V {
        self.fold(v, if ROOMY { self.q4 } else { self.q2 })
    }
    /// From the range of [`Self::halve`] to `[0, q)`.
    #[inline(always)]
    pub fn normalize<const ROOMY: bool>(self, v: L::V) -> L::V {
        let v = if ROOMY { self.fold(v, self.q2) } else { v };
        self.fold(v, self.q)
    }

    /// Butterfly `(x, y) -> (x + y, w (y - x))` with `lift` added to the difference, which must
    /// then be in `[0, 2^52)`, and `bias` to the product.
    #[inline(always)]
    fn split<const R: usize>(self, v: &mut [L::V; R], (i, j): (usize, usize), lift: Option<L::V>, bias: L::V, t: Twiddle<L>) {
        let l = self.lanes;
        let (x, y) = (v[i], v[j]);
        v[i] = l.add(x, y);
        let y = if let Some(c) = lift { l.add(y, c) } else { y };
        v[j] = self.product(bias, l.sub(y, x), t);
    }

    /// As [`Self::split`] from `[0, 2q)` to `[0, 2q)`.
    #[inline(always)]
    fn down<const R: usize>(self, v: &mut [L::V; R], (i, j): (usize, usize), t: Twiddle<L>) {
        self.split(v, (i, j), Some(self.q2), self.q, t);
        v[i] = self.fold(v[i], self.q2);
    }

    /// `log2 R` stages of the inverse on `R` (4 or 8) words in `[0, 2q)`, to `[0, 2q)`. `t` is the
    /// node of the mirrored block. With `scale` the first half of the words is multiplied by it.
    #[inline(always)]
    pub fn inverse<const ROOMY: bool, const R: usize>(self, v: &mut [L::V; R], t: &Node<L>, scale: Option<Twiddle<L>>) {
        match (ROOMY, R) {
            (true, 8) => self.inverse8_roomy(v, t, scale.is_none()),
            (true, _) => self.inverse4_roomy(v, t, scale.is_none()),
            (false, 8) => {
                for i in 0..4 {
                    self.down(v, (2 * i, 2 * i + 1), t[6 - i]);
                }
                for i in 0..2 {
                    self.down(v, (i, i + 2), t[2]);
                    self.down(v, (i + 4, i + 6), t[1]);
                }
                for i in 0..4 {
                    self.down(v, (i, i + 4), t[0]);
                }
            }
            (false, _) => {
                self.down(v, (0, 1), t[2]);
                self.down(v, (2, 3), t[1]);
                self.down(v, (0, 2), t[0]);
                self.down(v, (1, 3), t[0]);
            }
        }
        if let Some(c) = scale {
            for i in 0..R / 2 {
                v[i] = self.product(self.q, v[i], c);
            }
        }
    }

    /// Three stages. The biases of products are such that later differences are positive of
    /// themselves: an upper word of a later butterfly exceeds the lower one's range.
    #[inline(always)]
    fn inverse8_roomy<const R: usize>(self, v: &mut [L::V; R], t: &Node<L>, reduce: bool) {
        let (zero, q, q2, q3, q4) = (self.zero, self.q, self.q2, self.q3, self.q4);
        self.split(v, (0, 1), Some(q2), self.minus_q, t[6]); // sums below 4q, products in (-2q, 0)
        self.split(v, (2, 3), Some(q2), q, t[5]); // (0, 2q)
        self.split(v, (4, 5), Some(q2), q, t[4]); // (0, 2q)
        self.split(v, (6, 7), Some(q2), q3, t[3]); // (2q, 4q)
        self.split(v, (0, 2), Some(q4), zero, t[2]); // sum below 8q, product in (-q, q)
        self.split(v, (1, 3), None, zero, t[2]); // (-2q, 2q), (-q, q)
        self.split(v, (4, 6), Some(q4), q2, t[1]); // below 8q, (q, 3q)
        self.split(v, (5, 7), None, q2, t[1]); // (2q, 6q), (q, 3q)
        v[0] = self.fold(v[0], q4);
        v[4] = self.fold(v[4], q4);
        self.split(v, (0, 4), Some(q4), q, t[0]); // below 8q
        self.split(v, (1, 5), None, q, t[0]); // (0, 8q)
        self.split(v, (2, 6), None, q, t[0]); // (0, 4q)
        self.split(v, (3, 7), None, q, t[0]); // (0, 4q)
        if reduce {
            v[0] = self.fold(self.fold(v[0], q4), q2);
            v[1] = self.fold(self.fold(v[1], q4), q2);
            v[2] = self.fold(v[2], q2);
            v[3] = self.fold(v[3], q2);
        }
    }

    /// Two stages; see [`Self::inverse8_roomy`].
    #[inline(always)]
    fn inverse4_roomy<const R: usize>(self, v: &mut [L::V; R], t: &Node<L>, reduce: bool) {
        let (zero, q, q2, q4) = (self.zero, self.q, self.q2, self.q4);
        self.split(v, (0, 1), Some(q2), zero, t[2]); // sum below 4q, product in (-q, q)
        self.split(v, (2, 3), Some(q2), q2, t[1]); // below 4q, (q, 3q)
        self.split(v, (0, 2), Some(q4), q, t[0]); // below 8q
        self.split(v, (1, 3), None, q, t[0]); // (0, 4q)
        if reduce {
            v[0] = self.fold(self.fold(v[0], q4), q2);
            v[1] = self.fold(v[1], q2);
        }
    }
}
