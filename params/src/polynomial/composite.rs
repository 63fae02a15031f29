//! The cosine as a composition: degree 16 with one product at each of four levels.
//!
//! An even polynomial of degree 16 is one of degree 8 in `y = 2 t^2 - 1`. Generic polynomials of
//! degree 8 take three products when their coefficients may be prepared (Rabin and Winograd, "Fast
//! Evaluation of Polynomials by Rational Preparation", 1972; Knuth, "The Art of Computer
//! Programming", volume 2, section 4.6.4): with `z = y + d` such that `z^7` vanishes,
//!
//! `P = lead (A B + a z^4 + w(z))`, `A = z^4 + u(z)`, `B = z^4 + v(z)`, `u, v, w` of degree 2.
//!
//! Here `A B = A^2 + A (v - u)`, so that the square `z^4` is shared. The leading coefficient cannot
//! be chosen: it follows from the exact scales, since nothing multiplies `z^8`. Scales that are
//! only about right change the coefficient of `T_16` alone, by that fraction of `1e-6` or so.

use super::error::PlanError;
use super::scales::{MAX_CONSTANT, MAX_MULTIPLE, fit};
use crate::scale::Scale;

/// Rescales, and relinearisations.
pub const DEPTH: usize = 4;
/// Degree in `t`, and in `y`.
pub const DEGREE: usize = 16;
const HALF: usize = DEGREE / 2;
/// The leading coefficient may be wrong by this factor at most.
const MAX_RATIO: f64 = 1.25;
/// Splits of the quadratic coefficients that are tried, and points at which the factors are
/// compared.
const SPLITS: i32 = 200;
const POINTS: i32 = 64;

/// A polynomial of degree 8 in factors; `[c0, c1, c2]` are quadratic polynomials of `z`.
#[derive(Clone, Debug)]
struct Factored {
    /// `d`.
    offset: f64,
    u: [f64; 3],
    v: [f64; 3],
    /// `a`.
    middle: f64,
    w: [f64; 3],
}

/// Monomial coefficients of a Chebyshev series.
fn monomial(chebyshev: &[f64]) -> Vec<f64> {
    let n = chebyshev.len();
    let mut out = vec![0.0; n];
    let (mut before, mut t) = (vec![0.0; n], vec![0.0; n]);
    t[0] = 1.0;
    for (k, c) in chebyshev.iter().enumerate() {
        out.iter_mut().zip(&t).for_each(|(o, t)| *o += c * t);
        let factor = if k == 0 { 1.0 } else { 2.0 };
        let next = (0..n).map(|i| if i > 0 { factor * t[i - 1] } else { 0.0 } - if k > 0 { before[i] } else { 0.0 }).collect();
        before = std::mem::replace(&mut t, next);
    }
    out
}

/// The coefficients of `p(z - d)` in `z`.
fn shifted(p: &[f64], d: f64) -> Vec<f64> {
    let mut out = vec![0.0; p.len()];
    for c in p.iter().rev() {
        for i in (0..p.len()).rev() {
            out[i] = if i > 0 { out[i - 1] } else { 0.0 } - d * out[i];
        }
        out[0] += c;
    }
    out
}

fn quartic(u: [f64; 3], z: f64) -> f64 {
    (z * z + u[2]) * z * z + u[1] * z + u[0]
}

impl Factored {
    /// The factors of a polynomial of `y` with these Chebyshev coefficients, those with the
    /// smallest values on [-1, 1]. There are none for a vanishing leading coefficient.
    fn new(chebyshev: &[f64]) -> Option<Self> {
        let p = monomial(chebyshev);
        let offset = p[HALF - 1] / (HALF as f64 * p[HALF]);
        let m: Vec<f64> = shifted(&p, offset).iter().map(|c| c / p[HALF]).collect();
        let points: Vec<f64> = (-POINTS..=POINTS).map(|i| offset + f64::from(i) / f64::from(POINTS)).collect();
        let mut best: Option<(f64, Self)> = None;
        for i in -SPLITS..=SPLITS {
            // u2 + v2 = m6, u1 + v1 = m5, u2 v1 + u1 v2 = m3: the split of m6 is free.
            let u2 = m[6] * (0.5 + 5.0 * f64::from(i) / f64::from(SPLITS));
            let v2 = m[6] - u2;
            let u1 = (m[3] - u2 * m[5]) / (v2 - u2);
            let v1 = m[5] - u1;
            // Constants that centre the factors; z^4 then takes what is left of m4.
            let centred = |c1: f64, c2: f64| {
                let values = points.iter().map(|&z| quartic([0.0, c1, c2], z));
                let (low, high) = values.fold((f64::MAX, f64::MIN), |(a, b), x| (x.min(a), x.max(b)));
                (-(low + high) / 2.0, (high - low) / 2.0)
            };
            let ((u0, left), (v0, right)) = (centred(u1, u2), centred(v1, v2));
            let size = left * right;
            if !size.is_finite() || best.as_ref().is_some_and(|(least, _)| *least <= size) {
                continue;
            }
            let w = [m[0] - u0 * v0, m[1] - u1 * v0 - u0 * v1, m[2] - u2 * v0 - u1 * v1 - u0 * v2];
            let middle = m[4] - u0 - v0 - u2 * v2;
            best = Some((size, Self { offset, u: [u0, u1, u2], v: [v0, v1, v2], middle, w }));
        }
        best.map(|(_, factored)| factored)
    }
}

/// The error of a cosine with these Chebyshev coefficients (of `y`) at each `y`, as a multiple of
/// the rounding error of one product at its scale; 0 without factors.
///
/// Errors of `z`, `z^2`, `z^4`, `A` and `B - A` reach the result by its derivatives. Their scales
/// are smaller than the cosine's, because that of a product is the square of its operand's over a
/// prime and the last one makes up for the leading coefficient: `z^4` is at its root, and so on.
pub(super) fn noise_gain(coefficients: &[f64]) -> impl Fn(f64) -> f64 + use<> {
    let factored = Factored::new(coefficients);
    let lead = coefficients[HALF] * f64::from(1 << (HALF - 1));
    move |y| {
        let Some(Factored { offset, u, v, middle, w }) = &factored else { return 0.0 };
        let z = y + offset;
        let (z2, a, b) = (z * z, quartic(*u, z), quartic(*v, z));
        let by_a = a + b + middle;
        let by_z2 = by_a * (2.0 * z2 + u[2]) + a * (v[2] - u[2]) + w[2] - middle * u[2];
        let by_z = 2.0 * z * by_z2 + by_a * u[1] + a * (v[1] - u[1]) + w[1] - middle * u[1];
        let fourth = lead.abs().sqrt();
        let errors = [by_z / fourth.powf(0.25), by_z2 / fourth.sqrt(), by_a / fourth, a / fourth];
        errors.iter().map(|e| (lead * e).powi(2)).sum::<f64>().sqrt().hypot(1.0)
    }
}

/// The scale at which inputs should be for a cosine with these Chebyshev coefficients (of `y`) at
/// scale `cosine`: products of powers of 2, 3 and 5 that are right to about one in a thousand.
pub(super) fn input_scale(q: &[u64], limbs: usize, coefficients: &[f64], cosine: &Scale) -> Scale {
    let lead = coefficients[HALF].abs().log2() + (HALF - 1) as f64;
    let prime = |depth: usize| (q[limbs - depth] as f64).log2();
    // The scale before each rescale is the square of the one before.
    let mut log = (lead + cosine.log2() + prime(DEPTH)) / 2.0;
    for depth in (1..DEPTH).rev() {
        log = (log + prime(depth)) / 2.0;
    }
    let (three, five) = (3f64.log2(), 5f64.log2());
    let candidates = (-12i32..=12).flat_map(|b| (-8i32..=8).map(move |c| (b, c)));
    let rest = |&(b, c): &(i32, i32)| log - f64::from(b) * three - f64::from(c) * five;
    let off = |p: &(i32, i32)| (rest(p) - rest(p).round()).abs();
    let best = candidates.min_by(|p, q| off(p).total_cmp(&off(q))).unwrap_or((0, 0));
    Scale::pow2(rest(&best).round() as i32).mul(&Scale::prime(3).pow(best.0)).mul(&Scale::prime(5).pow(best.1))
}

/// The integers of all sums of a cosine at a level.
#[derive(Clone, Debug)]
pub struct CompositeIntegers {
    /// `z = 2 t^2 + first[1] t + first[0]`, at the scale of the square of `t`.
    pub first: [f64; 2],
    /// `A = z^4 + .. `: constant and factors of `z` and `z^2`.
    pub left: [f64; 3],
    /// `B - A`.
    pub difference: [f64; 3],
    /// Constant and factors of `z`, `z^2` and `A` that are added to `A B`.
    pub rest: [f64; 4],
}

impl CompositeIntegers {
    /// The cosine with the given Chebyshev coefficients (of `y`, degree 8) on inputs `t - shift`
    /// with `limbs` of the primes `q`.
    ///
    /// # Errors
    /// [`PlanError::EvalMod`] if the input's scale is far from `input_scale`.
    pub fn new(q: &[u64], limbs: usize, coefficients: &[f64], [input, cosine]: [&Scale; 2], shift: f64) -> Result<Self, PlanError> {
        let prime = |depth: usize| q[limbs - depth];
        let square = |s: &Scale, depth: usize| s.mul(s).div_prime(prime(depth));
        let z = square(input, 1);
        let z2 = square(&z, 2);
        let z4 = square(&z2, 3);
        let lead = z4.mul(&z4).div(&cosine.mul_prime(prime(DEPTH))).to_f64();
        let mut chebyshev = coefficients.to_vec();
        let wanted = chebyshev[HALF];
        chebyshev[HALF] = lead / f64::from(1 << (HALF - 1));
        let ratio = chebyshev[HALF] / wanted;
        let far = || {
            let right = input_scale(q, limbs, coefficients, cosine);
            PlanError::EvalMod(format!("the scale of the input must be near {right}, not {input}"))
        };
        if !(1.0 / MAX_RATIO..MAX_RATIO).contains(&ratio) {
            return Err(far());
        }
        let Factored { offset, u, v, middle, w } = Factored::new(&chebyshev).ok_or_else(far)?;
        let [t, z, z2, z4] = [input, &z, &z2, &z4].map(Scale::to_f64);
        // Quadratic polynomials at the scale of the square of z^2 (the sums of A and of B - A), and
        // of z^4.
        let quadratic = |c: [f64; 3], sum: f64| -> Result<[f64; 3], PlanError> {
            let [constant, first, second] = c;
            let fit_multiple = |index: usize, value: f64| fit(0, index, value, MAX_MULTIPLE);
            Ok([fit(0, 0, constant * sum, MAX_CONSTANT)?, fit_multiple(2, first * sum / z)?, fit_multiple(4, second * sum / z2)?])
        };
        let (at_four, at_eight) = (z2 * z2, z4 * z4);
        let [w0, w1, w2] = std::array::from_fn(|i| w[i] - middle * u[i]);
        let [r0, r1, r2] = quadratic([w0, w1, w2], at_eight)?;
        Ok(Self {
            first: [fit(0, 0, (offset - 1.0 + 2.0 * shift * shift) * t * t, MAX_CONSTANT)?, fit(0, 1, 4.0 * shift * t, MAX_MULTIPLE)?],
            left: quadratic(u, at_four)?,
            difference: quadratic(std::array::from_fn(|i| v[i] - u[i]), at_four)?,
            rest: [r0, r1, r2, fit(0, 8, middle * z4, MAX_MULTIPLE)?],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Basis, chebyshev_interpolation, evaluate_clear};
    use super::*;

    #[test]
    fn factors_multiply_to_the_polynomial_and_are_small() {
        for range in [10.25, 12.5, 14.5, 16.5] {
            let angle = std::f64::consts::TAU * range / 16.0;
            let c = chebyshev_interpolation(HALF, |y| (angle * ((1.0 + y) / 2.0).max(0.0).sqrt()).cos());
            let f = Factored::new(&c).expect("factors");
            let lead = c[HALF] * 128.0;
            for j in -50..=50 {
                let y = f64::from(j) / 50.0;
                let z = y + f.offset;
                let (a, b) = (quartic(f.u, z), quartic(f.v, z));
                let value = lead * (a * b + f.middle * z.powi(4) + (f.w[2] * z + f.w[1]) * z + f.w[0]);
                assert!((value - evaluate_clear(Basis::Chebyshev, &c, y)).abs() < 1e-12, "range {range}");
                assert!((lead * a * b).abs() < 2.0 && lead.abs().sqrt() * a.abs().max(b.abs()) < 8.0, "range {range}");
            }
        }
    }
}
