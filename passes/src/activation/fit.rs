//! Polynomials for activations: weighted least squares on the measured density, and minimax.
//!
//! A channel's operand x is normalised as `t = (x − centre)/R`, R = margin · half-width of the
//! calibrated range, and the polynomial's argument is `u = t` for a levelled activation and
//! `u = sin(θ_max·t)` behind a bootstrap, whose sine is thus undone by the fit itself. The
//! polynomial is a Chebyshev series in u.

use super::function::Function;
use super::histogram::Histogram;
use crate::options::{ActivationPlan, FitMethod, FitOptions};
use chiffre_ir::tensor::chebyshev;
use std::f64::consts::{FRAC_PI_2, PI};

/// Points of the uniform part of the weight, and of the grid on which the largest error is looked
/// for.
const GRID: usize = 512;
/// Ranges below this share of the widest channel's are taken as that wide.
const NARROWEST: f64 = 1e-4;
/// Rounds of Lawson's algorithm.
const ROUNDS: usize = 150;

/// The normalisation of one channel (or of a layer): `t = (x − centre)/radius`.
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
    /// Normalisation.
    pub range: Range,
    /// Chebyshev coefficients, degree + 1 of them.
    pub coeffs: Vec<f64>,
    /// Root mean square error on the measured values, divided by the radius.
    pub rms: f64,
    /// Largest error within the range, divided by the radius.
    pub max: f64,
    /// Measured values outside of the range.
    pub outside: u64,
}

/// The largest |operand| of the `chebyshev` within the range, and the margin: `(limit, margin)`.
pub fn limit(plan: ActivationPlan, o: &FitOptions) -> (f64, f64) {
    if plan.refresh { (o.angle, o.margin) } else { (1.0, o.reach) }
}

/// The ranges of all channels, in order.
pub fn ranges(channels: &[Histogram], plan: ActivationPlan, o: &FitOptions) -> Vec<Range> {
    let raw = |[lo, hi]: [f64; 2]| if o.centred { [(lo + hi) / 2.0, (hi - lo) / 2.0] } else { [0.0, hi.max(-lo)] };
    let widest = channels.iter().map(|h| raw(h.range())[1]).fold(0.0, f64::max);
    let widest = if widest > 0.0 { widest } else { 1.0 };
    let margin = limit(plan, o).1;
    let range = |r: [f64; 2]| {
        let [centre, half] = raw(r);
        Range { centre, radius: margin * half.max(NARROWEST * widest) }
    };
    if o.per_channel {
        return channels.iter().map(|h| range(h.range())).collect();
    }
    let all = channels.iter().map(Histogram::range).fold([0f64, 0f64], |[a, b], [lo, hi]| [a.min(lo), b.max(hi)]);
    vec![range(all); channels.len()]
}

/// Fits channel `c` (any channel that shares the polynomial) to the measured values `h` of all
/// channels that share it.
pub fn fit(f: &Function, c: usize, h: &Histogram, range: Range, plan: ActivationPlan, o: &FitOptions) -> Fitted {
    let limit = limit(plan, o).0;
    let argument = |t: f64| if plan.refresh { (limit * t).sin() } else { t };
    let x_of = |t: f64| range.centre + range.radius * t;
    let t_of = |x: f64| (x - range.centre) / range.radius;
    let grid = |reach: f64| (0..GRID).map(move |i| reach * ((2 * i + 1) as f64 / GRID as f64 - 1.0));
    let point = |t: f64, w: f64| Point { u: argument(t), f: f.at(c, x_of(t)), w };
    let coeffs = if h.range()[0] == h.range()[1] && h.range()[0] == range.centre {
        // One value only: nothing to fit.
        let mut k = vec![0.0; plan.degree + 1];
        k[0] = f.at(c, range.centre);
        k
    } else if f.degree().is_some_and(|d| d <= plan.degree) && !plan.refresh {
        // A polynomial is its own best approximation.
        least_squares(&grid(1.0).map(|t| point(t, 1.0)).collect::<Vec<_>>(), plan.degree)
    } else {
        match o.method {
            FitMethod::LeastSquares => {
                // Measured values beyond the sine's monotone part would ask for two values at one
                // argument.
                let reach = if plan.refresh { (FRAC_PI_2 / limit).min(o.extension / o.margin) } else { 1.0 };
                let total = h.count().max(1) as f64;
                let measured = h.bins().filter(|(x, _)| t_of(*x).abs() <= reach).map(|(x, n)| point(t_of(x), n as f64 / total));
                let points: Vec<Point> = measured.chain(grid(reach).map(|t| point(t, o.uniform / GRID as f64))).collect();
                least_squares(&points, plan.degree)
            }
            FitMethod::Minimax => minimax(&grid(1.0).map(|t| point(t, 1.0)).collect::<Vec<_>>(), plan.degree),
        }
    };
    let error = |t: f64| (chebyshev(&coeffs, argument(t)) - f.at(c, x_of(t))) / range.radius;
    let (mut square, mut outside) = (0.0, 0);
    for (x, n) in h.bins() {
        square += n as f64 * error(t_of(x)).powi(2);
        outside += if t_of(x).abs() > 1.0 { n } else { 0 };
    }
    let max = grid(1.0).chain([-1.0, 0.0, 1.0]).map(|t| error(t).abs()).fold(0.0, f64::max);
    Fitted { range, rms: (square / h.count().max(1) as f64).sqrt(), max, outside, coeffs }
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

    #[test]
    fn the_sine_is_undone() {
        let mut h = Histogram::default();
        (-1000..=1000).for_each(|i| h.add(f64::from(i) / 100.0));
        let (o, plan) = (FitOptions::default(), ActivationPlan { refresh: true, degree: 15 });
        let r = ranges(std::slice::from_ref(&h), plan, &o)[0];
        assert_eq!(r, Range { centre: 0.0, radius: 10.0 * o.margin });
        let f = fit(&Function::Named(ActivationKind::Tanh, None), 0, &h, r, plan, &o);
        for x in [-9.9, -5.0, 0.0, 0.3, 7.0] {
            let y = chebyshev(&f.coeffs, (o.angle * x / r.radius).sin());
            assert!((y - f64::tanh(x)).abs() < 0.15, "{x}: {y}");
        }
        assert!(f.rms < 0.01 && f.max < 0.06 && f.rms < f.max && f.outside == 0, "{f:?}");
        // A quadratic without a bootstrap is exact.
        let square = Function::Poly(vec![vec![1.0, -2.0, 0.5]]);
        let f = fit(&square, 0, &h, r, ActivationPlan { refresh: false, degree: 2 }, &o);
        assert!(f.max < 1e-12, "{f:?}");
    }
}
