//! The transform between slots and coefficients.
//!
//! A real polynomial m of degree below 2n modulo X^2n + 1 takes at slot j the value m(ω_j), ω_j =
//! e^(iπ·5^j/2n). Since 5^j = 1 mod 4, ω_j^n = i: with c_k = m_k + i·m_(k+n), slot j is Σ_(k<n) c_k
//! ω_j^k, and the ω_j are all the roots of Y^n − i. So one complex transform of size n splits Y^n −
//! i into linear factors, exactly as a negacyclic NTT does: Y^(2h) − r² = (Y^h − r)(Y^h + r). The
//! twiddle of node b at depth l is the same for every n, so one table in tree order serves all
//! sizes.

use num_complex::Complex64;
use std::f64::consts::TAU;

/// Twiddles for all transforms of up to a fixed number of slots.
#[derive(Debug, Clone)]
pub struct SlotTransform {
    /// `r` of node b at depth l, at index `2^l + b`.
    twiddles: Vec<Complex64>,
}

impl SlotTransform {
    /// Tables for up to `max_slots` slots, a power of two.
    pub fn new(max_slots: usize) -> Self {
        debug_assert!(max_slots.is_power_of_two());
        let mut twiddles = vec![Complex64::ONE; max_slots];
        for (index, w) in twiddles.iter_mut().enumerate().skip(1) {
            let depth = index.ilog2();
            let b = index - (1 << depth);
            // Y^(n/2^l) = e^(2πi t) at node b, t = (1/4 + rev(b)) / 2^l; r halves the angle.
            let t = (0.25 + reverse(b, depth) as f64) / (2 << depth) as f64;
            *w = root_of_unity(t);
        }
        Self { twiddles }
    }

    /// The largest number of slots.
    pub fn max_slots(&self) -> usize {
        self.twiddles.len()
    }

    /// Coefficients to slots, in place: on entry `values[k] = m_k + i·m_(k+n)`, on return slot j is
    /// `values[j]`.
    ///
    /// `values.len()` is a power of two, at most [`max_slots`](Self::max_slots).
    pub fn to_slots(&self, values: &mut [Complex64]) {
        let n = values.len();
        debug_assert!(n.is_power_of_two() && n <= self.max_slots());
        let mut half = n / 2;
        let mut nodes = 1;
        while half > 0 {
            for (node, block) in values.chunks_exact_mut(2 * half).enumerate() {
                let r = self.twiddles[nodes + node];
                let (low, high) = block.split_at_mut(half);
                for (x, y) in low.iter_mut().zip(high) {
                    let t = *y * r;
                    *y = *x - t;
                    *x += t;
                }
            }
            half /= 2;
            nodes *= 2;
        }
        let leaves = values.to_vec();
        for (value, leaf) in values.iter_mut().zip(slot_leaves(n)) {
            *value = leaves[leaf];
        }
    }

    /// Slots to coefficients, in place: the inverse of [`to_slots`](Self::to_slots).
    pub fn to_coefficients(&self, values: &mut [Complex64]) {
        let slots = values.to_vec();
        for (slot, leaf) in slots.iter().zip(slot_leaves(values.len())) {
            values[leaf] = *slot;
        }
        self.leaves_to_coefficients(values);
    }

    /// As [`to_coefficients`](Self::to_coefficients), for slots in the order of [`slot_leaves`].
    pub fn leaves_to_coefficients(&self, values: &mut [Complex64]) {
        let n = values.len();
        debug_assert!(n.is_power_of_two() && n <= self.max_slots());
        let mut half = 1;
        let mut nodes = n / 2;
        while half < n {
            for (node, block) in values.chunks_exact_mut(2 * half).enumerate() {
                let r = self.twiddles[nodes + node].conj();
                let (low, high) = block.split_at_mut(half);
                for (x, y) in low.iter_mut().zip(high) {
                    let difference = *x - *y;
                    *x += *y;
                    *y = difference * r;
                }
            }
            half *= 2;
            nodes /= 2;
        }
        let inverse = 1.0 / n as f64;
        for value in values {
            *value *= inverse;
        }
    }
}

/// The leaf of each of `n` slots: leaf b holds the root e^(2πi (1 + 4 rev(b)) / 4n), slot j the
/// root e^(2πi 5^j / 4n).
pub fn slot_leaves(n: usize) -> impl Iterator<Item = usize> {
    let bits = n.ilog2();
    std::iter::successors(Some(1usize), move |g| Some(5 * g % (4 * n))).take(n).map(move |g| reverse((g - 1) / 4, bits))
}

/// `x` with its lowest `bits` bits reversed; `x < 2^bits`.
fn reverse(x: usize, bits: u32) -> usize {
    if bits == 0 { 0 } else { x.reverse_bits() >> (usize::BITS - bits) }
}

/// e^(2πi t) for t in [0, 1), with the argument reduced to an octant first so that it is correct to
/// the last bits.
fn root_of_unity(t: f64) -> Complex64 {
    let octant = (t * 8.0).floor();
    let rest = t - octant / 8.0;
    let (sin, cos) = if (octant as u32).is_multiple_of(2) {
        (rest * TAU).sin_cos()
    } else {
        let (s, c) = ((0.125 - rest) * TAU).sin_cos();
        (c, s)
    };
    match octant as u32 / 2 {
        0 => Complex64::new(cos, sin),
        1 => Complex64::new(-sin, cos),
        2 => Complex64::new(-cos, -sin),
        _ => Complex64::new(sin, -cos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_the_values_at_the_roots() {
        for n in [1usize, 2, 4, 16, 64] {
            let coefficients: Vec<f64> = (0..2 * n).map(|k| ((k * k + 3) % 17) as f64 - 8.0).collect();
            let mut values: Vec<Complex64> = (0..n).map(|k| Complex64::new(coefficients[k], coefficients[k + n])).collect();
            SlotTransform::new(256).to_slots(&mut values);
            let mut g = 1usize;
            for value in values {
                let want: Complex64 = (0..2 * n).map(|k| coefficients[k] * root_of_unity((g * k % (4 * n)) as f64 / (4 * n) as f64)).sum();
                assert!((value - want).norm() < 1e-10, "n = {n}");
                g = 5 * g % (4 * n);
            }
        }
    }

    #[test]
    fn the_transforms_are_inverse() {
        let transform = SlotTransform::new(1 << 15);
        let slots: Vec<Complex64> = (0..1 << 15).map(|j| root_of_unity((j * 31 % 1000) as f64 / 1000.0)).collect();
        let mut values = slots.clone();
        transform.to_coefficients(&mut values);
        transform.to_slots(&mut values);
        let worst = values.iter().zip(&slots).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
        assert!(worst < 1e-14, "{worst:e}");
    }
}
