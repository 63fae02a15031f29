//! The slot transforms as products of few sparse matrices.
//!
//! With the coefficients in bit-reversed order, the transform of `n = N/2` coefficients
//! `c_k = m_k + i m_(k+n)` to slots is `F_n ... F_4 F_2`, where `F_len` maps the pairs `(x, y)`
//! that are `len/2` apart in blocks of `len` values to `(x + w y, x - w y)`,
//! `w_j = e^(2 pi i (5^j mod 4 len) / (4 len))` (Cheon, Han, Kim, Kim and Song, "Bootstrapping for
//! Approximate Homomorphic Encryption", EUROCRYPT 2018, section 4). Neighbouring stages are
//! multiplied out, which gives matrices with few nonzero (generalised) diagonals (Chen, Chillotti
//! and Song 2019, section 3.2). All entries have magnitude one: from every input of a block there
//! is one path to every output. The inverse is taken without its factor `1/2` for each stage.

use chiffre_params::bootstrap::Direction;
use num_complex::Complex64;
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::ops::Range;

/// A matrix by its nonzero diagonals: `out[j] = sum_d diagonal_d[j] in[j + d]`, indices modulo the
/// number of slots and, in a diagonal, modulo its length, the period.
#[derive(Clone, Debug, PartialEq)]
pub struct DiagonalMatrix {
    /// Values by offset, all of the same power-of-two length.
    pub diagonals: BTreeMap<isize, Vec<Complex64>>,
}

/// The product of stages `F_(2^(s+1))` for `s` in `stages`, or of their inverses times 2, for
/// `2^log_slots` slots.
pub fn matrix(direction: Direction, stages: Range<u32>, log_slots: u32) -> DiagonalMatrix {
    let period = 1usize << stages.end;
    let whole = stages.end == log_slots;
    let identity = BTreeMap::from([(0, vec![Complex64::ONE; period])]);
    let stages: Vec<u32> = match direction {
        Direction::SlotsToCoeffs => stages.collect(),
        Direction::CoeffsToSlots => stages.rev().collect(),
    };
    let product = stages.into_iter().fold(identity, |product, s| {
        let mut out: BTreeMap<isize, Vec<Complex64>> = BTreeMap::new();
        for (d, left) in stage(direction, s) {
            for (e, right) in &product {
                // Blocks as long as the slots wrap around.
                let offset = if whole { (d + e).rem_euclid(period as isize) } else { d + e };
                let sum = out.entry(offset).or_insert_with(|| vec![Complex64::ZERO; period]);
                for (j, v) in sum.iter_mut().enumerate() {
                    *v += left[j % left.len()] * right[(j as isize + d).rem_euclid(period as isize) as usize];
                }
            }
        }
        out
    });
    DiagonalMatrix { diagonals: product.into_iter().filter(|(_, v)| v.iter().any(|z| z.norm_sqr() > 0.25)).collect() }
}

/// The diagonals of `F_(2^(s+1))` or of twice its inverse.
fn stage(direction: Direction, s: u32) -> [(isize, Vec<Complex64>); 3] {
    let half = 1usize << s;
    let order = 8 * half;
    let mut power = 1;
    let roots: Vec<Complex64> = (0..half)
        .map(|_| {
            let w = Complex64::cis(TAU * power as f64 / order as f64);
            power = 5 * power % order;
            w
        })
        .collect();
    let (zero, one) = (Complex64::ZERO, Complex64::ONE);
    let halves = |low: &dyn Fn(usize) -> Complex64, high: &dyn Fn(usize) -> Complex64| -> Vec<Complex64> {
        (0..half).map(low).chain((0..half).map(high)).collect()
    };
    let w = |j: usize| roots[j];
    let h = half as isize;
    match direction {
        Direction::SlotsToCoeffs => [(-h, halves(&|_| zero, &|_| one)), (0, halves(&|_| one, &|j| -w(j))), (h, halves(&w, &|_| zero))],
        Direction::CoeffsToSlots => {
            [(-h, halves(&|_| zero, &|j| w(j).conj())), (0, halves(&|_| one, &|j| -w(j).conj())), (h, halves(&|_| one, &|_| zero))]
        }
    }
}

impl DiagonalMatrix {
    /// Length of the diagonals.
    pub fn period(&self) -> usize {
        self.diagonals.values().next().map_or(1, Vec::len)
    }

    /// The product with a vector whose length is a multiple of the period.
    pub fn apply(&self, values: &[Complex64]) -> Vec<Complex64> {
        let n = values.len() as isize;
        let mut out = vec![Complex64::ZERO; values.len()];
        for (&d, diagonal) in &self.diagonals {
            for (j, v) in out.iter_mut().enumerate() {
                *v += diagonal[j % diagonal.len()] * values[(j as isize + d).rem_euclid(n) as usize];
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::SlotTransform;

    fn values(n: usize) -> Vec<Complex64> {
        (0..n).map(|j| Complex64::new(((j * j + 3) % 101) as f64 / 50.0 - 1.0, ((j * 7) % 89) as f64 / 44.0 - 1.0)).collect()
    }

    fn bit_reversed(x: &[Complex64]) -> Vec<Complex64> {
        let bits = x.len().ilog2();
        (0..x.len()).map(|i| x[i.reverse_bits() >> (usize::BITS - bits)]).collect()
    }

    fn worst(a: &[Complex64], b: &[Complex64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
    }

    #[test]
    fn factors_multiply_to_the_slot_transform() {
        for (log_slots, radices) in [(6, vec![3, 3]), (7, vec![2, 4, 1]), (5, vec![5])] {
            let x = values(1 << log_slots);
            let mut want = bit_reversed(&x);
            SlotTransform::new(1 << log_slots).to_slots(&mut want);
            let mut at = 0;
            let mut y = x.clone();
            let mut ranges = Vec::new();
            for r in radices {
                let m = matrix(Direction::SlotsToCoeffs, at..at + r, log_slots);
                let count = if at + r == log_slots { 1 << r } else { (2 << r) - 1 };
                assert_eq!((m.diagonals.len(), m.period()), (count, 1 << (at + r)));
                assert!(m.diagonals.keys().all(|d| d % (1 << at) == 0));
                y = m.apply(&y);
                ranges.push(at..at + r);
                at += r;
            }
            assert!(worst(&y, &want) < 1e-10);
            for range in ranges.into_iter().rev() {
                y = matrix(Direction::CoeffsToSlots, range, log_slots).apply(&y);
            }
            let n = x.len() as f64;
            assert!(worst(&y, &x.iter().map(|z| z * n).collect::<Vec<_>>()) < 1e-9);
        }
    }

    #[test]
    fn entries_have_magnitude_one_or_zero() {
        for direction in [Direction::SlotsToCoeffs, Direction::CoeffsToSlots] {
            for z in matrix(direction, 2..5, 8).diagonals.values().flatten() {
                assert!(z.norm() < 1e-12 || (z.norm() - 1.0).abs() < 1e-12);
            }
        }
    }
}
