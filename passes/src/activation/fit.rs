//! Polynomials for activations: weighted least squares on the measured density, and minimax.
//!
//! The polynomial is a Chebyshev series in u. For a levelled activation u is the channel's operand,
//! normalised by its range: `u = (x − centre)/radius`. Behind a bootstrap it is
//! `sin(scale·x + shift)`: [`search`] finds scale and shift, or they are such that the range takes
//! the angles up to a fixed one (minimax). Either way the sine is undone by the fit itself.

use super::degree::NOISE;
use super::function::Function;
use super::histogram::Histogram;
use super::search::{Sample, Turn, search};
use crate::options::{ActivationPlan, FitMethod, FitOptions};
use chiffre_ir::tensor::chebyshev;
use std::f64::consts::PI;

/// Points of the uniform part of the weight, and of the grid on which the largest error is looked
/// for.
const GRID: usize = 512;
/// Ranges below this share of the widest channel's are taken as that wide.
const NARROWEST: f64 = 1e-4;
/// Rounds of Lawson's algorithm.
const ROUNDS: usize = 150;
/// Points of the uniform part behind a bootstrap.
const SPREAD: usize = 1024;
/// How far the uniform part reaches behind a bootstrap, as a multiple of the calibrated range.
const REACH: f64 = 1.5;
/// Share of the measured density that is stretched about its mean, and how much: other images go
/// further than those of the calibration.
const STRETCHED: f64 = 0.005;
const STRETCH: f64 = 1.25;
/// A series behind a bootstrap whose coefficients add up to more than so many times half the
/// calibrated range times the steepest slope of the function is fitted again, with a uniform part
/// of ten times the weight: what it does to values that were not seen is bounded by that sum.
const LARGEST: f64 = 6.0;
/// How often.
const RETRIES: usize = 3;

/// Values of a channel from which their extremes stand for those of other images, with the margin.
pub const ENOUGH: u64 = 256;

/// How much wider than its calibrated values a channel's range is taken before the margin, if they
/// are few: the largest of n normal values is near √(2·ln n) deviations from the mean.
pub fn widening(values: u64) -> f64 {
    ((ENOUGH as f64).ln() / (values.clamp(2, ENOUGH) as f64).ln()).sqrt()
}

/// The range of one channel (or of a layer).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Middle of the range.
    pub centre: f64,
    /// Half its width, margin included; positive.
    pub radius: f64,
}

/// A fitted channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The channel's range.
    pub range: Range,
    /// The series' operand is `scale·x + shift`.
    pub scale: f64,
    /// See `scale`.
    pub shift: f64,
    /// Chebyshev coefficients, degree + 1 of them.
    pub coeffs: Vec<f64>,
    /// Root mean square error on the measured values, divided by the radius.
    pub rms: f64,
    /// Largest error within the range, divided by the radius.
    pub max: f64,
    /// Measured values outside of the range.
    pub outside: u64,
}

impl Fitted {
    /// The series' operands at both ends of the range, in ascending order.
    pub fn operands(&self) -> [f64; 2] {
        [-1.0, 1.0].map(|t| self.scale * (self.range.centre + t * self.range.radius) + self.shift)
    }
}

/// How far beyond its calibrated values a channel's range goes: a factor.
pub fn margin(plan: ActivationPlan, o: &FitOptions) -> f64 {
    if plan.refresh { o.margin } else { o.reach }
}

/// True if every channel has its own slope and phase before the sine.
pub fn is_searched(plan: ActivationPlan, o: &FitOptions) -> bool {
    plan.refresh && o.method == FitMethod::LeastSquares
}

/// The ranges of all channels, in order.
pub fn ranges(channels: &[Histogram], plan: ActivationPlan, o: &FitOptions) -> Vec<Range> {
    let raw = |[lo, hi]: [f64; 2]| if o.centred { [(lo + hi) / 2.0, (hi - lo) / 2.0] } else { [0.0, hi.max(-lo)] };
    let widest = channels.iter().map(|h| raw(h.range())[1]).fold(0.0, f64::max);
    let widest = if widest > 0.0 { widest } else { 1.0 };
    let margin = margin(plan, o);
    let range = |r: [f64; 2], count: u64| {
        let [centre, half] = raw(r);
        let half = if count < ENOUGH { half.max(usual(channels, count)) } else { half };
        Range { centre, radius: margin * widening(count) * half.max(NARROWEST * widest) }
    };
    if o.per_channel {
        return channels.iter().map(|h| range(h.range(), h.count())).collect();
    }
    let all = channels.iter().map(Histogram::range).fold([0f64, 0f64], |[a, b], [lo, hi]| [a.min(lo), b.max(hi)]);
    vec![range(all, channels.iter().map(Histogram::count).sum()); channels.len()]
}

/// Half the width of a usual channel of a layer, of which each has `count` values. Few values of a
/// channel may lie close together by chance, those of all channels do not. Up to three values say
/// little of a width at all; then the distances between channels count as well.
fn usual(channels: &[Histogram], count: u64) -> f64 {
    let mean = |f: &dyn Fn([f64; 2]) -> f64| channels.iter().map(|h| f(h.range())).sum::<f64>() / channels.len().max(1) as f64;
    let half = mean(&|[lo, hi]| ((hi - lo) / 2.0).powi(2)).sqrt();
    if count > 3 {
        return half;
    }
    let middle = if channels.len() > 1 { mean(&|[lo, hi]| (lo + hi) / 2.0) } else { 0.0 };
    half.max(mean(&|[lo, hi]| ((lo + hi) / 2.0 - middle).powi(2)).sqrt())
}

/// Fits channel `c` (any channel that shares the polynomial) to the measured values `h` of all
/// channels that share it.
pub fn fit(f: &Function, c: usize, h: &Histogram, range: Range, plan: ActivationPlan, o: &FitOptions) -> Fitted {
    // The operand at both ends of the range, without a search.
    let limit = if plan.refresh { o.angle } else { 1.0 };
    let (mut scale, mut shift) = (limit / range.radius, -limit * range.centre / range.radius);
    let x_of = |t: f64| range.centre + range.radius * t;
    let t_of = |x: f64| (x - range.centre) / range.radius;
    let grid = || (0..GRID).map(|i| (2 * i + 1) as f64 / GRID as f64 - 1.0);
    let fixed = |t: f64| if plan.refresh { (limit * t).sin() } else { t };
    let point = |t: f64, w: f64| Point { u: fixed(t), f: f.at(c, x_of(t)), w };
    let even = || grid().map(|t| point(t, 1.0)).collect::<Vec<_>>();
    let coeffs = if h.count() >= ENOUGH && h.range()[0] == h.range()[1] && h.range()[0] == range.centre {
        // One value only: nothing to fit.
        let mut k = vec![0.0; plan.degree + 1];
        k[0] = f.at(c, range.centre);
        k
    } else if f.degree().is_some_and(|d| d <= plan.degree) && !plan.refresh {
        // A polynomial is its own best approximation.
        least_squares(&even(), plan.degree)
    } else {
        match o.method {
            FitMethod::LeastSquares if plan.refresh => {
                let turn = turned(f, c, h, range, plan, o);
                (scale, shift) = (turn.slope, turn.phase);
                turn.coeffs
            }
            FitMethod::LeastSquares => {
                let measured = h.density().into_iter().map(|(x, w)| (t_of(x), w)).filter(|(t, _)| t.abs() <= 1.0);
                let measured = measured.map(|(t, w)| point(t, w));
                let points: Vec<Point> = measured.chain(grid().map(|t| point(t, o.uniform / GRID as f64))).collect();
                least_squares(&points, plan.degree)
            }
            FitMethod::Minimax => minimax(&even(), plan.degree),
        }
    };
    let argument = |x: f64| if plan.refresh { (scale * x + shift).sin() } else { scale * x + shift };
    let error = |x: f64| (chebyshev(&coeffs, argument(x)) - f.at(c, x)) / range.radius;
    let (mut square, mut outside) = (0.0, 0);
    for (x, n) in h.bins() {
        square += n as f64 * error(x).powi(2);
        outside += if t_of(x).abs() > 1.0 { n } else { 0 };
    }
    let max = grid().chain([-1.0, 0.0, 1.0]).map(|t| error(x_of(t)).abs()).fold(0.0, f64::max);
    Fitted { range, scale, shift, rms: (square / h.count().max(1) as f64).sqrt(), max, outside, coeffs }
}

/// Slope, phase (at x = 0) and series behind a bootstrap.
fn turned(f: &Function, c: usize, h: &Histogram, range: Range, plan: ActivationPlan, o: &FitOptions) -> Turn {
    let half = range.radius / o.margin;
    // Phases are tried at zero, where most functions have their kink, or at the end of the range
    // that is nearest to it.
    let [lo, hi] = [range.centre - half, range.centre + half];
    let origin = 0f64.clamp(lo, hi);
    let sample = |x: f64, w: f64| Sample { x: x - origin, f: f.at(c, x), w };
    let even: Vec<f64> = (0..SPREAD).map(|i| range.centre + REACH * half * ((2 * i + 1) as f64 / SPREAD as f64 - 1.0)).collect();
    let values: Vec<f64> = even.iter().map(|&x| f.at(c, x)).collect();
    let step = 2.0 * REACH * half / SPREAD as f64;
    let steepest = values.windows(2).map(|v| (v[1] - v[0]).abs() / step).fold(0.0, f64::max);
    let (density, mut uniform) = (h.density(), o.uniform_refreshed);
    let mean: f64 = density.iter().map(|(x, w)| x * w).sum();
    let mut retries = 0;
    loop {
        let measured = density.iter().map(|&(x, w)| sample(x, (1.0 - STRETCHED - uniform) * w));
        let tails = density.iter().map(|&(x, w)| sample((mean + STRETCH * (x - mean)).clamp(even[0], even[SPREAD - 1]), STRETCHED * w));
        let samples: Vec<Sample> = measured.chain(tails).chain(even.iter().map(|&x| sample(x, uniform / SPREAD as f64))).collect();
        let turn = search(&samples, half, plan.degree, NOISE.radians);
        let sum: f64 = turn.coeffs.iter().skip(1).map(|c| c.abs()).sum();
        if sum <= LARGEST * half * steepest || retries == RETRIES {
            return Turn { phase: turn.phase - turn.slope * origin, ..turn };
        }
        (uniform, retries) = ((10.0 * uniform).min(0.5), retries + 1);
    }
}

/// A value `f` wanted at the argument `u`, with the weight `w ≥ 0`.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Argument, in [−1, 1].
    pub u: f64,
    /// Value.
    pub f: f64,
    /// Weight.
    pub w: f64,
}

/// The polynomial of a degree with the least weighted square error, as Chebyshev coefficients
/// (degree + 1 of them).
///
/// Stieltjes' procedure: orthonormal polynomials of the discrete weight by their three-term
/// recurrence, evaluated at Chebyshev nodes. With too few distinct points for the degree, higher
/// coefficients are zero.
pub fn least_squares(points: &[Point], degree: usize) -> Vec<f64> {
    let n = degree + 1;
    let nodes: Vec<f64> = (0..n).map(|j| (PI * (j as f64 + 0.5) / n as f64).cos()).collect();
    let dot = |a: &[f64], b: &[f64]| points.iter().zip(a.iter().zip(b)).map(|(p, (a, b))| p.w * a * b).sum::<f64>();
    let norm = points.iter().map(|p| p.w).sum::<f64>().sqrt();
    let mut values = vec![0.0; n];
    if norm > 0.0 {
        let want: Vec<f64> = points.iter().map(|p| p.f).collect();
        // Orthonormal polynomials at the points and at the nodes: the last one and the one before.
        let (mut p, mut q) = (vec![1.0 / norm; points.len()], vec![0.0; points.len()]);
        let (mut pn, mut qn) = (vec![1.0 / norm; n], vec![0.0; n]);
        let mut b = 0.0;
        for k in 0..n {
            let c = dot(&want, &p);
            values.iter_mut().zip(&pn).for_each(|(v, p)| *v += c * p);
            if k == degree {
                break;
            }
            let up: Vec<f64> = points.iter().zip(&p).map(|(x, p)| x.u * p).collect();
            let a = dot(&up, &p);
            let next: Vec<f64> = up.iter().zip(p.iter().zip(&q)).map(|(up, (p, q))| up - a * p - b * q).collect();
            let size = dot(&next, &next).sqrt();
            if size < 1e-12 {
                break;
            }
            let next_n: Vec<f64> = nodes.iter().zip(pn.iter().zip(&qn)).map(|(u, (p, q))| ((u - a) * p - b * q) / size).collect();
            q = std::mem::replace(&mut p, next.into_iter().map(|x| x / size).collect());
            qn = std::mem::replace(&mut pn, next_n);
            b = size;
        }
    }
    let series = |k: usize| {
        let sum: f64 = values.iter().enumerate().map(|(j, v)| v * (PI * k as f64 * (j as f64 + 0.5) / n as f64).cos()).sum();
        sum * if k == 0 { 1.0 } else { 2.0 } / n as f64
    };
    (0..n).map(series).collect()
}

/// The polynomial of a degree with nearly the least largest error: Lawson's algorithm, least
/// squares with weights that grow with the error. The weights given are ignored; the best round
/// counts.
pub fn minimax(points: &[Point], degree: usize) -> Vec<f64> {
    let mut points: Vec<Point> = points.iter().map(|p| Point { w: 1.0 / points.len() as f64, ..*p }).collect();
    let mut best = (f64::INFINITY, vec![0.0; degree + 1]);
    for _ in 0..ROUNDS {
        let coeffs = least_squares(&points, degree);
        let errors: Vec<f64> = points.iter().map(|p| (chebyshev(&coeffs, p.u) - p.f).abs()).collect();
        let worst = errors.iter().copied().fold(0.0, f64::max);
        if worst < best.0 {
            best = (worst, coeffs);
        }
        let sum: f64 = points.iter().zip(&errors).map(|(p, e)| p.w * e).sum();
        if sum <= 0.0 {
            break;
        }
        points.iter_mut().zip(&errors).for_each(|(p, e)| p.w *= e / sum);
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::tensor::ActivationKind;
    use proptest::prelude::*;

    fn uniform(n: usize, f: impl Fn(f64) -> f64) -> Vec<Point> {
        let at = |i: usize| 2.0 * i as f64 / (n - 1) as f64 - 1.0;
        (0..n).map(|i| Point { u: at(i), f: f(at(i)), w: 1.0 / n as f64 }).collect()
    }
    fn worst(points: &[Point], c: &[f64]) -> f64 {
        points.iter().map(|p| (chebyshev(c, p.u) - p.f).abs()).fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn polynomials_are_found_again(c in proptest::collection::vec(-3f64..3.0, 1..24), weights in 1f64..1e6) {
            let mut points = uniform(400, |u| chebyshev(&c, u));
            points.iter_mut().filter(|p| p.u.abs() < 0.3).for_each(|p| p.w *= weights);
            let found = least_squares(&points, c.len() - 1);
            prop_assert!(found.iter().zip(&c).all(|(a, b)| (a - b).abs() < 1e-7), "{:?}\n{:?}", found, c);
        }
    }

    #[test]
    fn residuals_are_orthogonal_to_all_polynomials() {
        let points = uniform(300, |u| u.max(0.0));
        let c = least_squares(&points, 9);
        for k in 0..=9 {
            let mut t = vec![0.0; k + 1];
            t[k] = 1.0;
            let r: f64 = points.iter().map(|p| p.w * (chebyshev(&c, p.u) - p.f) * chebyshev(&t, p.u)).sum();
            assert!(r.abs() < 1e-12, "{k}: {r}");
        }
    }

    /// Least errors for |u| on [−1, 1]: 1/8 of degree 2, 0.0346891 of degree 8 (Varga and Carpenter
    /// 1985); relu = (u + |u|)/2.
    #[test]
    fn minimax_errors_are_the_known_ones() {
        let points = uniform(2001, |u| u.max(0.0));
        for (degree, error) in [(2, 0.125 / 2.0), (8, 0.0346891 / 2.0)] {
            let found = worst(&points, &minimax(&points, degree));
            assert!((found / error - 1.0).abs() < 0.01, "{degree}: {found}");
        }
        assert!(worst(&points, &least_squares(&points, 8)) > 1.3 * 0.0346891 / 2.0);
    }

    #[test]
    fn too_few_points_give_what_they_determine() {
        let points = [Point { u: 0.5, f: 3.0, w: 1.0 }, Point { u: -0.5, f: 1.0, w: 2.0 }];
        assert!(worst(&points, &least_squares(&points, 7)) < 1e-12);
        assert_eq!(least_squares(&[], 2), [0.0; 3]);
    }

    /// Values spread evenly over a range, of equal weight.
    fn spread(lo: f64, hi: f64) -> Histogram {
        let mut h = Histogram::default();
        (0..=2000).for_each(|i| h.add(lo + (hi - lo) * f64::from(i) / 2000.0, 0));
        h
    }

    const REFRESHED: ActivationPlan = ActivationPlan { refresh: true, degree: 15 };

    /// Every named activation, and polynomials, on ranges with and without zero.
    #[test]
    fn every_function_is_approximated_behind_a_sine() {
        use ActivationKind::*;
        let named = [
            (Relu, None),
            (LeakyRelu, Some(0.1)),
            (Sigmoid, None),
            (Silu, None),
            (Gelu, None),
            (Tanh, None),
            (HardSwish, None),
            (Clip, Some(6.0)),
        ];
        let mut functions: Vec<Function> = named.map(|(k, alpha)| Function::Named(k, alpha)).to_vec();
        functions.push(Function::Poly(vec![vec![1.0, -0.5, 0.25, 0.02]]));
        let o = FitOptions::default();
        for f in &functions {
            for (lo, hi) in [(-6.0, 6.0), (-2.0, 9.0), (-8.0, 0.5), (1.0, 5.0), (-4.0, -3.0), (10.0, 11.0)] {
                let h = spread(lo, hi);
                let r = ranges(std::slice::from_ref(&h), REFRESHED, &o)[0];
                let a = fit(f, 0, &h, r, REFRESHED, &o);
                let size = (0..=100)
                    .map(|i| f.at(0, lo + (hi - lo) * f64::from(i) / 100.0))
                    .fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], y| [a.min(y), b.max(y)]);
                let size = (size[1] - size[0]).max(0.1 * (hi - lo));
                let worst = (0..=500).map(|i| lo + (hi - lo) * f64::from(i) / 500.0);
                let worst = worst.map(|x| (chebyshev(&a.coeffs, (a.scale * x + a.shift).sin()) - f.at(0, x)).abs()).fold(0.0, f64::max);
                assert!(worst < 0.05 * size, "{} on {lo} to {hi}: {worst} {a:?}", f.name());
                assert!(a.outside == 0 && a.rms * a.range.radius <= worst);
                // What no image has shown is bounded by the coefficients.
                let sum: f64 = a.coeffs.iter().skip(1).map(|c| c.abs()).sum();
                assert!(sum <= LARGEST * (hi - lo) / 2.0 * f64::max(1.2, f.at(0, hi + 4.0).abs()), "{} on {lo} to {hi}: {sum}", f.name());
            }
        }
    }

    /// Of two places that ask for different values, the one with the larger gradients wins.
    #[test]
    fn weights_decide_where_a_fit_is_good() {
        let error = |heavy: fn(f64) -> bool| {
            let mut h = Histogram::default();
            (0..=2000).for_each(|i| {
                let x = f64::from(i) / 100.0 - 10.0;
                h.add(x, if heavy(x) { 1 << 60 } else { 1 << 50 });
            });
            let (o, plan) = (FitOptions::default(), ActivationPlan { refresh: true, degree: 3 });
            let r = ranges(std::slice::from_ref(&h), plan, &o)[0];
            let f = Function::Named(ActivationKind::Gelu, None);
            let a = fit(&f, 0, &h, r, plan, &o);
            move |x: f64| (chebyshev(&a.coeffs, (a.scale * x + a.shift).sin()) - f.at(0, x)).abs()
        };
        let (left, right) = (error(|x| x < -2.0), error(|x| x > 2.0));
        let sum = |e: &dyn Fn(f64) -> f64, sign: f64| (4..=10).map(|x| e(sign * f64::from(x))).sum::<f64>();
        assert!(sum(&left, -1.0) < sum(&right, -1.0) && sum(&right, 1.0) < sum(&left, 1.0));
    }

    #[test]
    fn a_channel_of_one_value_is_constant() {
        let mut h = Histogram::default();
        (0..ENOUGH).for_each(|_| h.add(-3.0, 5));
        let o = FitOptions::default();
        let r = ranges(&[h.clone(), spread(-1.0, 1.0)], REFRESHED, &o)[0];
        let a = fit(&Function::Named(ActivationKind::LeakyRelu, Some(0.5)), 0, &h, r, REFRESHED, &o);
        assert_eq!((a.coeffs[0], a.coeffs[1..].iter().all(|c| *c == 0.0), a.rms), (-1.5, true, 0.0));
        assert!(a.scale.is_finite() && a.operands().iter().all(|x| x.abs() <= o.angle + 1e-9));
    }

    /// Two images: a channel whose two values are nearly the same is as wide as the others.
    #[test]
    fn few_values_are_widened() {
        let of = |values: &[f64]| {
            let mut h = Histogram::default();
            values.iter().for_each(|x| h.add(*x, 1));
            h
        };
        let (o, plan) = (FitOptions::default(), ActivationPlan { refresh: false, degree: 7 });
        let r = ranges(&[of(&[1.0, 1.001]), of(&[-1.0, 1.0]), of(&[0.5, 2.5])], plan, &o);
        assert!(r.iter().all(|r| r.radius >= 0.8 * widening(2) * o.reach), "{r:?}");
        // One value of each channel, and one channel.
        assert!(ranges(&[of(&[1.0]), of(&[-1.0])], plan, &o).iter().all(|r| r.radius >= widening(1) * o.reach));
        assert!(ranges(&[of(&[-3.0])], plan, &o)[0].radius >= 3.0 * o.reach);
        // A series of such a range follows the function.
        let relu = Function::Named(ActivationKind::Relu, None);
        let f = fit(&relu, 0, &of(&[1.0, 1.001]), r[0], plan, &o);
        let error = |x: f64| (chebyshev(&f.coeffs, f.scale * x + f.shift) - x.max(0.0)).abs();
        assert!([-0.5, 0.0, 1.0, 2.0, 3.0].into_iter().all(|x| error(x) < 0.3), "{f:?}");
        assert!(widening(ENOUGH) == 1.0 && widening(1 << 40) == 1.0 && widening(16) == 2f64.sqrt());
    }

    #[test]
    fn the_sine_is_undone() {
        let h = spread(-10.0, 10.0);
        let o = FitOptions { method: FitMethod::Minimax, ..FitOptions::default() };
        let r = ranges(std::slice::from_ref(&h), REFRESHED, &o)[0];
        assert_eq!(r, Range { centre: 0.0, radius: 10.0 * o.margin });
        let f = fit(&Function::Named(ActivationKind::Tanh, None), 0, &h, r, REFRESHED, &o);
        for x in [-9.9, -5.0, 0.0, 0.3, 7.0] {
            let y = chebyshev(&f.coeffs, (f.scale * x).sin());
            assert!((y - f64::tanh(x)).abs() < 0.15, "{x}: {y}");
        }
        assert!(f.rms < 0.02 && f.max < 0.02 && f.rms < f.max && f.outside == 0 && f.shift == 0.0, "{f:?}");
        assert!(f.operands().iter().zip([-o.angle, o.angle]).all(|(a, b)| (a - b).abs() < 1e-12));
        // A quadratic without a bootstrap is exact.
        let square = Function::Poly(vec![vec![1.0, -2.0, 0.5]]);
        let f = fit(&square, 0, &h, r, ActivationPlan { refresh: false, degree: 2 }, &o);
        assert!(f.max < 1e-12, "{f:?}");
    }
}
