//! Blind rotations of several ciphertexts at once, on raw words: the key is read once for all of
//! them.
//!
//! A polynomial p of degree N stands for its values at half of the 2N-th roots of −1: of
//! z_j = p_j + i·p_(j + N/2), times exp(iπj/N), the transform of size N/2 is taken (Klemsa, "Fast
//! and Error-Free Negacyclic Integer Convolution using Extended Fourier Transform", IACR ePrint
//! 2021/480). Words are shares of the torus: 2^64 of them are one.
//!
//! The plan of the transforms is fixed, so that a result has the same bits in every process with
//! the same instructions.

use crate::engine::Switched;
use chiffre_params::tfhe::{Decomposition, TfheParams};
use dyn_stack::{PodBuffer, PodStack, StackReq};
use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};
use rayon::prelude::*;
use tfhe_fft::c64;
use tfhe_fft::ordered::FftAlgo;
use tfhe_fft::unordered::{Method, Plan};

/// The exponent of doubles in [2^52, 2^53), whose last bit is one.
const UNITS: u64 = 0x4330_0000_0000_0000;
/// Added and subtracted, it rounds doubles below 2^51 to integers.
const ROUNDING: f64 = 6_755_399_441_055_744.0;
const TWO_32: f64 = 4_294_967_296.0;

/// A key of blind rotations, transformed.
pub(crate) struct Rotation {
    /// For each bit of the secret that is rotated by, each digit from the lowest, and each
    /// polynomial of what is multiplied: a polynomial of each column of the product.
    key: Vec<c64>,
    plan: Plan,
    /// exp(iπj/N), real parts before imaginary parts.
    twist: [Vec<f64>; 2],
    /// exp(−iπj/N)·2/N.
    untwist: [Vec<f64>; 2],
    decomposition: Decomposition,
    degree: usize,
    columns: usize,
}

/// Memory of a thread for its rotations.
pub(crate) struct Scratch {
    stack: PodBuffer,
    polynomial: Vec<u64>,
    transformed: Vec<c64>,
    sums: Vec<c64>,
}

/// The fastest on Zen 4, or nearly.
fn plan(degree: usize) -> Plan {
    let (base_algo, base_n) = match degree / 2 {
        size @ ..=512 => (FftAlgo::Dif4, size),
        1024 => (FftAlgo::Dif4, 256),
        _ => (FftAlgo::Dif8, 512),
    };
    Plan::new(degree / 2, Method::UserProvided { base_algo, base_n })
}

impl Rotation {
    /// Without a key yet.
    pub(crate) fn new(p: &TfheParams) -> Rotation {
        let (degree, half) = (p.degree(), p.degree() / 2);
        let angle = |j: usize| std::f64::consts::PI * j as f64 / degree as f64;
        let twist = [f64::cos as fn(f64) -> f64, f64::sin].map(|f| (0..half).map(|j| f(angle(j))).collect::<Vec<f64>>());
        let scale = 1.0 / half as f64;
        let untwist = [scale, -scale].into_iter().zip(&twist).map(|(s, t)| t.iter().map(|x| s * x).collect());
        let untwist = <[Vec<f64>; 2]>::try_from(untwist.collect::<Vec<_>>()).unwrap_or_default();
        let columns = p.k + 1;
        let key = Vec::with_capacity(p.n * p.rotation.levels as usize * columns * columns * half);
        Rotation { key, plan: plan(degree), twist, untwist, decomposition: p.rotation, degree, columns }
    }
    /// Adds words of the key, expanded: the next GGSW ciphertexts of the bits of a secret.
    pub(crate) fn add(&mut self, words: &[u64]) {
        let (degree, half, before) = (self.degree, self.degree / 2, self.key.len());
        self.key.resize(before + words.len() / 2, c64::new(0.0, 0.0));
        let Rotation { key, plan, twist, .. } = self;
        let torus = |w: u64| w.cast_signed() as f64 / TWO_32 / TWO_32;
        let memory = || PodBuffer::new(plan.fft_scratch());
        key[before..].par_chunks_mut(half).zip(words.par_chunks(degree)).for_each_init(memory, |stack, (out, p)| {
            for (j, out) in out.iter_mut().enumerate() {
                *out = c64::new(torus(p[j]), torus(p[j + half])) * c64::new(twist[0][j], twist[1][j]);
            }
            plan.fwd(out, PodStack::new(stack));
        });
    }
    /// Degree N of the polynomials.
    pub(crate) fn degree(&self) -> usize {
        self.degree
    }
    /// Words of an accumulator, a ciphertext of polynomials.
    pub(crate) fn words(&self) -> usize {
        self.columns * self.degree
    }
    /// Memory for one thread.
    pub(crate) fn scratch(&self) -> Scratch {
        let (half, zero) = (self.degree / 2, c64::new(0.0, 0.0));
        let stack: StackReq = self.plan.fft_scratch();
        Scratch {
            stack: PodBuffer::new(stack),
            polynomial: vec![0; self.degree],
            transformed: vec![zero; half],
            sums: vec![zero; half * self.columns],
        }
    }
    /// Multiplies each accumulator by X to minus the phase of its ciphertext, as far as the key
    /// tells it.
    pub(crate) fn rotate(&self, accumulators: &mut [u64], by: &[Switched], scratch: &mut Scratch) {
        let (words, degree) = (self.words(), self.degree);
        for (accumulator, by) in accumulators.chunks_exact_mut(words).zip(by) {
            for p in accumulator.chunks_exact_mut(degree) {
                scratch.polynomial.copy_from_slice(p);
                rotated(&scratch.polynomial, 2 * degree - by.body(), |to, from, negative| {
                    let sign = |x: u64| if negative { x.wrapping_neg() } else { x };
                    p[to].iter_mut().zip(from).for_each(|(p, x)| *p = sign(*x));
                });
            }
        }
        let size = self.key.len() / by.first().map_or(1, |b| b.mask().len().max(1));
        for (i, bit) in self.key.chunks_exact(size).enumerate() {
            for (accumulator, by) in accumulators.chunks_exact_mut(words).zip(by) {
                if by.mask()[i] != 0 {
                    self.add_product(accumulator, bit, by.mask()[i], scratch);
                }
            }
        }
    }
    /// Adds the product of (X^`by` − 1) times the accumulator with an encrypted bit.
    fn add_product(&self, accumulator: &mut [u64], bit: &[c64], by: usize, scratch: &mut Scratch) {
        let Decomposition { base_log, levels } = self.decomposition;
        let (half, columns, arch) = (self.degree / 2, self.columns, Arch::new());
        let Scratch { stack, transformed, sums, .. } = scratch;
        // Half a unit of the last digit, and half the base for every digit, which makes all digits
        // positive.
        let offset = (1..=levels).fold(1u64 << (63 - base_log * levels), |sum, level| sum.wrapping_add(1 << (63 - base_log * (level - 1))));
        for (row, p) in accumulator.chunks_exact(self.degree).enumerate() {
            for (level, rows) in bit.chunks_exact(columns * columns * half).enumerate() {
                let shift = 64 - base_log * (levels - level as u32);
                arch.dispatch(Digits { p, by, offset, shift, base_log, twist: &self.twist, out: transformed });
                self.plan.fwd(transformed, PodStack::new(stack));
                let row_of_key = &rows[row * columns * half..][..columns * half];
                arch.dispatch(MultiplyAdd { sums, key: row_of_key, x: transformed, first: row == 0 && level == 0 });
            }
        }
        for (p, sum) in accumulator.chunks_exact_mut(self.degree).zip(sums.chunks_exact_mut(half)) {
            self.plan.inv(sum, PodStack::new(stack));
            arch.dispatch(AddBack { sum, untwist: &self.untwist, p });
        }
    }
}

/// Calls `part(to, from, negative)` for both parts of a polynomial times X^`by`: coefficients `to`
/// are `from`, or their negatives.
fn rotated(p: &[u64], by: usize, mut part: impl FnMut(std::ops::Range<usize>, &[u64], bool)) {
    let n = p.len();
    let (by, turned) = (by % n, by % (2 * n) >= n);
    part(0..by, &p[n - by..], !turned);
    part(by..n, &p[..n - by], turned);
}

/// A digit of every word of X^`by`·p − p + `offset`, folded and twisted.
struct Digits<'a> {
    p: &'a [u64],
    by: usize,
    offset: u64,
    shift: u32,
    base_log: u32,
    twist: &'a [Vec<f64>; 2],
    out: &'a mut [c64],
}

impl NullaryFnOnce for Digits<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Digits { p, by, offset, shift, base_log, twist: [cosines, sines], out } = self;
        let (half, n) = (out.len(), p.len());
        let (mask, middle) = ((1u64 << base_log) - 1, (1u64 << 52) as f64 + (1u64 << (base_log - 1)) as f64);
        let digit = |w: u64| f64::from_bits((w >> shift) & mask | UNITS) - middle;
        // Coefficients of X^by·p from a place on, and all bits where they are negated.
        let moved = |at: usize, len: usize| {
            let from = (at + 2 * n - by % (2 * n)) % (2 * n);
            if from < n { (&p[from..from + len], 0) } else { (&p[from - n..from - n + len], u64::MAX) }
        };
        // Both halves begin anew at the same place.
        for part in [0..by % half, by % half..half] {
            let len = part.len();
            let ((low, low_sign), (high, high_sign)) = (moved(part.start, len), moved(part.start + half, len));
            let (low_p, high_p) = (&p[part.clone()][..len], &p[part.start + half..][..len]);
            let (cosines, sines) = (&cosines[part.clone()][..len], &sines[part.clone()][..len]);
            let out = &mut out[part][..len];
            for j in 0..len {
                let difference = |x: u64, sign: u64, p: u64| offset.wrapping_add((x ^ sign).wrapping_sub(sign)).wrapping_sub(p);
                let re = digit(difference(low[j], low_sign, low_p[j]));
                let im = digit(difference(high[j], high_sign, high_p[j]));
                out[j] = c64::new(re * cosines[j] - im * sines[j], re * sines[j] + im * cosines[j]);
            }
        }
    }
}

/// Adds the product of a transformed polynomial with a row of the key to all columns.
struct MultiplyAdd<'a> {
    sums: &'a mut [c64],
    key: &'a [c64],
    x: &'a [c64],
    first: bool,
}

impl WithSimd for MultiplyAdd<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let MultiplyAdd { sums, key, x, first } = self;
        let (vectors, rest) = S::as_simd_c64s(x);
        for (sum, key) in sums.chunks_exact_mut(x.len()).zip(key.chunks_exact(x.len())) {
            let (sums, sum_rest) = S::as_mut_simd_c64s(sum);
            let (keys, key_rest) = S::as_simd_c64s(key);
            if first {
                sums.iter_mut().zip(keys).zip(vectors).for_each(|((s, k), x)| *s = simd.mul_c64s(*k, *x));
                sum_rest.iter_mut().zip(key_rest).zip(rest).for_each(|((s, k), x)| *s = k * x);
            } else {
                sums.iter_mut().zip(keys).zip(vectors).for_each(|((s, k), x)| *s = simd.mul_add_c64s(*k, *x, *s));
                sum_rest.iter_mut().zip(key_rest).zip(rest).for_each(|((s, k), x)| *s += k * x);
            }
        }
    }
}

/// Adds what a transform stands for to a polynomial of words.
struct AddBack<'a> {
    sum: &'a [c64],
    untwist: &'a [Vec<f64>; 2],
    p: &'a mut [u64],
}

/// A share of the torus as a word: the fraction in two halves, each of which a double holds
/// exactly.
#[inline(always)]
fn word(x: f64) -> u64 {
    let fraction = x - ((x + ROUNDING) - ROUNDING);
    let upper = fraction * TWO_32;
    let rounded = upper + ROUNDING;
    let lower = (upper - (rounded - ROUNDING)) * TWO_32 + ROUNDING;
    (rounded.to_bits() << 32).wrapping_add(lower.to_bits().wrapping_sub(ROUNDING.to_bits()))
}

impl NullaryFnOnce for AddBack<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let AddBack { sum, untwist: [cosines, sines], p } = self;
        let (low, high) = p.split_at_mut(sum.len());
        let twists = cosines.iter().zip(sines);
        for (((z, low), high), (c, s)) in sum.iter().zip(low).zip(high).zip(twists) {
            *low = low.wrapping_add(word(z.re * c - z.im * s));
            *high = high.wrapping_add(word(z.re * s + z.im * c));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_shares() {
        for (x, w) in [(0.0, 0), (0.25, 1 << 62), (-0.25, 3 << 62), (7.0 + 0.125, 1 << 61), (-1e9 - 0.125, (1 << 61) * 7)] {
            assert_eq!(word(x), w, "{x}");
        }
        let tiny = 3.0 / TWO_32 / TWO_32;
        assert_eq!((word(tiny), word(-tiny), word(0.25 + tiny * 1024.0)), (3, 3u64.wrapping_neg(), (1 << 62) + 3 * 1024));
    }

    #[test]
    fn digits_of_moved_polynomials() {
        let p: Vec<u64> = (1..=8).map(|i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let twist = [vec![1.0; 4], vec![0.0; 4]];
        for by in 0..16 {
            let mut out = vec![c64::new(0.0, 0.0); 4];
            Arch::new().dispatch(Digits { p: &p, by, offset: 1 << 63, shift: 44, base_log: 20, twist: &twist, out: &mut out });
            for j in 0..8usize {
                let (at, turns) = ((j + 16 - by) % 8, (j + 16 - by) / 8 % 2);
                let moved = if turns == 0 { p[at] } else { p[at].wrapping_neg() };
                let digit = (moved.wrapping_sub(p[j]).cast_signed() >> 44) as f64;
                let found = if j < 4 { out[j].re } else { out[j - 4].im };
                assert_eq!(found, digit, "X^{by}, {j}");
            }
        }
    }

    /// An unencrypted key of one bit: the accumulator is rotated, or stays, up to what
    /// decomposition leaves.
    #[test]
    fn one_bit_rotates() {
        let (degree, columns) = (256, 2);
        for (levels, base_log) in [(1, 23), (2, 15), (3, 11)] {
            let rotation = Decomposition { base_log, levels };
            let p = TfheParams { n: 1, k: 1, log_n: 8, rotation, ..TfheParams::toy() };
            for bit in [0u64, 1] {
                let mut key = vec![0u64; levels as usize * columns * columns * degree];
                for level in 0..levels {
                    for row in 0..columns {
                        let at = ((level as usize * columns + row) * columns + row) * degree;
                        key[at] = bit << (64 - base_log * (levels - level));
                    }
                }
                let mut rotation = Rotation::new(&p);
                rotation.add(&key);
                let start: Vec<u64> = (0..2 * degree as u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
                let (mut accumulator, by) = (start.clone(), [Switched::new(vec![77, 10])]);
                rotation.rotate(&mut accumulator, &by, &mut rotation.scratch());
                for (found, start) in accumulator.chunks(degree).zip(start.chunks(degree)) {
                    let mut expected = vec![0; degree];
                    rotated(start, 2 * degree - 10 + 77 * bit as usize, |to, from, negative| {
                        let sign = |x: u64| if negative { x.wrapping_neg() } else { x };
                        expected[to].iter_mut().zip(from).for_each(|(e, x)| *e = sign(*x));
                    });
                    let off = |(a, b): (&u64, &u64)| a.wrapping_sub(*b).cast_signed().unsigned_abs();
                    let worst = found.iter().zip(&expected).map(off).max().unwrap_or(0);
                    assert!(worst <= 1 << (64 - base_log * levels), "{levels} digits of {base_log}: {worst}");
                }
            }
        }
    }
}
