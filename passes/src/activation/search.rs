//! The slope and the phase of an activation behind a bootstrap, and its series.
//!
//! The polynomial reads `sin θ`, `θ = slope·x + phase + noise`. For every slope and phase the best
//! coefficients and their error have a closed form, because
//! `T_k(sin θ) = cos k(π/2 − θ)` turns products of Chebyshev polynomials into sums, and all sums
//! into moments `Σ w·e^{ikx·slope}` of the density, which one pass over the points gives for all
//! phases. The mean over Gaussian noise of deviation σ multiplies the moment k by `e^{−k²σ²/2}`.
//! Values beyond the sine's turn stay in the sums, so that the error says what folding them costs:
//! where the function is flat, nothing.

use std::f64::consts::FRAC_PI_2;

/// Points that go through a pass side by side.
const LANES: usize = 8;
/// Slopes that are tried: the half range takes `FIRST·STEP^i` radians, i below `SLOPES`.
const SLOPES: i32 = 15;
const FIRST: f64 = 0.9;
const STEP: f64 = 1.12;
/// Phases that are tried: multiples of `PHASE` up to so many on both sides.
const PHASES: i32 = 12;
const PHASE: f64 = 0.1;
/// Rounds around the best, with half of the steps of the round before.
const ROUNDS: i32 = 2;
/// What is added to the diagonal of the normal equations, whose largest entry is the total weight.
const RIDGE: f64 = 1e-9;

/// A value `f` wanted at `x`, with the weight `w ≥ 0`.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Operand of the function.
    pub x: f64,
    /// Value.
    pub f: f64,
    /// Weight; all weights add up to about 1.
    pub w: f64,
}

/// A slope, a phase, and the series behind the sine of that angle.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Radians for one unit of the operand.
    pub slope: f64,
    /// Angle at `x = 0`, radians.
    pub phase: f64,
    /// Chebyshev coefficients, degree + 1 of them.
    pub coeffs: Vec<f64>,
    /// Weighted mean square error, with the noise.
    pub error: f64,
}

/// The slope, phase and series of a degree with the least error among those that are tried, for a
/// range of the operand whose half is `half`; `sigma` is the noise of the angle, radians.
pub fn search(samples: &[Sample], half: f64, degree: usize, sigma: f64) -> Turn {
    let mut best = Turn { slope: FIRST / half, phase: 0.0, coeffs: vec![0.0; degree + 1], error: f64::INFINITY };
    let mut round = |slopes: &[f64], phases: &[f64]| {
        for &slope in slopes {
            let m = Moments::of(samples, slope, degree);
            for &phase in phases {
                if let Some((coeffs, error)) = m.fit(phase, sigma).filter(|f| f.1 < best.error) {
                    best = Turn { slope, phase, coeffs, error };
                }
            }
        }
        (best.slope, best.phase)
    };
    let slopes: Vec<f64> = (0..SLOPES).map(|i| FIRST * STEP.powi(i) / half).collect();
    let phases: Vec<f64> = (-PHASES..=PHASES).map(|i| PHASE * f64::from(i)).collect();
    let (mut slope, mut phase) = round(&slopes, &phases);
    for k in 1..=ROUNDS {
        let e = 0.5f64.powi(k);
        let around = [0.0, e, -e];
        (slope, phase) = round(&around.map(|e| slope * STEP.powf(e)), &around.map(|e| phase + PHASE * e));
    }
    best
}

/// Sums over the samples for one slope.
struct Moments {
    /// `Σ w·e^{ik·slope·x}` as real and imaginary part, k up to twice the degree.
    density: Vec<[f64; 2]>,
    /// The same of `w·f`, k up to the degree.
    values: Vec<[f64; 2]>,
    /// `Σ w·f²`.
    square: f64,
}

impl Moments {
    fn of(samples: &[Sample], slope: f64, degree: usize) -> Moments {
        let mut density = vec![[[0.0; LANES]; 2]; 2 * degree + 1];
        let mut values = vec![[[0.0; LANES]; 2]; degree + 1];
        for chunk in samples.chunks(LANES) {
            let mut z = [[0.0; LANES]; 2];
            let (mut w, mut wf) = ([0.0; LANES], [0.0; LANES]);
            for (l, s) in chunk.iter().enumerate() {
                let (sin, cos) = (slope * s.x).sin_cos();
                (z[0][l], z[1][l], w[l], wf[l]) = (cos, sin, s.w, s.w * s.f);
            }
            let mut power = [[1.0; LANES], [0.0; LANES]];
            for (k, sum) in density.iter_mut().enumerate() {
                for l in 0..LANES {
                    sum[0][l] += w[l] * power[0][l];
                    sum[1][l] += w[l] * power[1][l];
                }
                if let Some(sum) = values.get_mut(k) {
                    for l in 0..LANES {
                        sum[0][l] += wf[l] * power[0][l];
                        sum[1][l] += wf[l] * power[1][l];
                    }
                }
                for l in 0..LANES {
                    let (a, b) = (power[0][l], power[1][l]);
                    power[0][l] = a * z[0][l] - b * z[1][l];
                    power[1][l] = a * z[1][l] + b * z[0][l];
                }
            }
        }
        let sum = |all: Vec<[[f64; LANES]; 2]>| all.into_iter().map(|k| k.map(|lanes| lanes.iter().sum())).collect();
        let square = samples.iter().map(|s| s.w * s.f * s.f).sum();
        Moments { density: sum(density), values: sum(values), square }
    }

    /// The best coefficients at a phase, and their mean square error; `None` if rounding errors
    /// leave no solution.
    fn fit(&self, phase: f64, sigma: f64) -> Option<(Vec<f64>, f64)> {
        // The mean of T_k(sin θ) under the weights and the noise.
        let mean = |(k, h): (usize, &[f64; 2])| {
            let (sin, cos) = (k as f64 * (FRAC_PI_2 - phase)).sin_cos();
            (-0.5 * (k as f64 * sigma).powi(2)).exp() * (cos * h[0] + sin * h[1])
        };
        let mu: Vec<f64> = self.density.iter().enumerate().map(mean).collect();
        let v: Vec<f64> = self.values.iter().enumerate().map(mean).collect();
        let gram = |i: usize, j: usize| 0.5 * (mu[i + j] + mu[i.abs_diff(j)]);
        let c = solve(v.len(), |i, j| gram(i, j) + if i == j { RIDGE } else { 0.0 }, &v)?;
        let mut error = self.square;
        for (i, ci) in c.iter().enumerate() {
            let row: f64 = c.iter().enumerate().map(|(j, cj)| gram(i, j) * cj).sum();
            error += ci * (row - 2.0 * v[i]);
        }
        Some((c, error))
    }
}

/// The solution of a symmetric positive definite system, by Cholesky's factorisation; `None` where
/// it is not positive definite.
fn solve(n: usize, entry: impl Fn(usize, usize) -> f64, right: &[f64]) -> Option<Vec<f64>> {
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let rest: f64 = entry(i, j) - (0..j).map(|k| l[i][k] * l[j][k]).sum::<f64>();
            l[i][j] = if i == j { Some(rest).filter(|r| *r > 0.0)?.sqrt() } else { rest / l[j][j] };
        }
    }
    let mut x = right.to_vec();
    for i in 0..n {
        let known: f64 = (0..i).map(|k| l[i][k] * x[k]).sum();
        x[i] = (x[i] - known) / l[i][i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| l[k][i] * x[k]).sum();
        x[i] = (x[i] - known) / l[i][i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::tensor::chebyshev;
    use proptest::prelude::*;

    /// The weighted mean square error point by point, and over the noise by the trapezoidal rule,
    /// which is exact to rounding for a Gaussian times sines.
    fn pointwise(samples: &[Sample], t: &Turn, sigma: f64) -> f64 {
        let nodes: Vec<(f64, f64)> = (-60..=60).map(|i| f64::from(i) * 0.2).map(|z| (z * sigma, (-0.5 * z * z).exp())).collect();
        let total: f64 = nodes.iter().map(|n| n.1).sum();
        let at = |s: &Sample| -> f64 {
            let square = |(z, p): &(f64, f64)| p * (chebyshev(&t.coeffs, (t.slope * s.x + t.phase + z).sin()) - s.f).powi(2);
            s.w * nodes.iter().map(square).sum::<f64>() / total
        };
        samples.iter().map(at).sum()
    }

    fn symmetric() -> Vec<Sample> {
        let n = 1001;
        let at = |i: i32| f64::from(i - 500) / 500.0;
        let w = |x: f64| (-4.5 * x * x).exp() + 1e-4;
        let total: f64 = (0..n).map(|i| w(at(i))).sum();
        (0..n).map(|i| Sample { x: at(i), f: at(i).max(0.0), w: w(at(i)) / total }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_error_is_that_of_all_points(
            points in proptest::collection::vec((-1.5f64..1.5, -2f64..2.0, 0.01f64..1.0), 30..90), slope in 0.5f64..4.5, phase in -1.3f64..1.3,
            degree in 1usize..16, sigma in 0f64..0.2,
        ) {
            let total: f64 = points.iter().map(|p| p.2).sum();
            let samples: Vec<Sample> = points.iter().map(|&(x, f, w)| Sample { x, f, w: w / total }).collect();
            let (coeffs, error) = Moments::of(&samples, slope, degree).fit(phase, sigma).unwrap();
            let t = Turn { slope, phase, coeffs, error };
            let want = pointwise(&samples, &t, sigma);
            prop_assert!((error - want).abs() < 1e-9 * want.max(1.0), "{} {}", error, want);
            // No other coefficients are better.
            for k in 0..=degree {
                for d in [-1e-3, 1e-3] {
                    let mut other = t.clone();
                    other.coeffs[k] += d;
                    prop_assert!(pointwise(&samples, &other, sigma) > want - 1e-9, "{}", k);
                }
            }
        }
    }

    /// ReLU is 0 on the left, where the sine may turn for free.
    #[test]
    fn relu_of_symmetric_values_turns_on_the_left() {
        let (samples, sigma) = (symmetric(), 1.27 / 512.0);
        for degree in [7, 15] {
            let t = search(&samples, 1.0, degree, sigma);
            let middle = Moments::of(&samples, 1.27 / 1.2, degree).fit(0.0, sigma).unwrap().1;
            assert!(t.phase < -0.2 && t.error < 0.5 * middle, "{t:?} {middle}");
            assert!((pointwise(&samples, &t, sigma) - t.error).abs() < 1e-9);
        }
    }

    /// An odd function has nothing to gain on one side.
    #[test]
    fn tanh_of_symmetric_values_stays_in_the_middle() {
        let samples: Vec<Sample> = symmetric().into_iter().map(|s| Sample { f: (3.0 * s.x).tanh(), ..s }).collect();
        let t = search(&samples, 1.0, 7, 0.0);
        assert!(t.phase.abs() < 1e-9 && t.error.sqrt() < 0.01, "{t:?}");
    }
}
