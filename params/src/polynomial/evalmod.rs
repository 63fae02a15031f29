//! The scaled sine of bootstrapping: reduction modulo one of `u = m + I` for integers `I` and small
//! `m`.
//!
//! `sin(2 pi u)` is a shifted cosine of a fraction of the angle, an even Chebyshev polynomial, and
//! then `r` times `cos 2x = 2 cos^2 x - 1` (Han and Ki, "Better Bootstrapping for Approximate
//! Homomorphic Encryption", CT-RSA 2020, section 4). Doublings are products like others here: one
//! relinearisation merged with the rescale, the factor 2 within the product.

use super::composite;
use super::error::PlanError;
use super::fit::{chebyshev_interpolation, evaluate_clear};
use super::plan::Plan;
use super::types::{Basis, Parity};
use crate::gadget::Gadget;
use crate::scale::Scale;
use crate::work::Counts;
use std::f64::consts::TAU;

/// Parameters of the reduction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvalModParams {
    /// `K`: arguments `u - 1/4` are in `[-K, K]`. With integers `|I| <= B` and `|m| <= e`: at least
    /// `B + e + 1/4`.
    pub range: f64,
    /// Degree of the cosine, even.
    pub degree: usize,
    /// `r`: how often the angle is doubled.
    pub doublings: usize,
}

/// The polynomial of the reduction, with its plan.
#[derive(Clone, Debug)]
pub struct EvalMod {
    params: EvalModParams,
    coefficients: Vec<f64>,
    method: Method,
}

#[derive(Clone, Debug)]
enum Method {
    Plan(Plan),
    Composite,
}

impl EvalMod {
    /// Interpolates `cos(2 pi K t / 2^r)` for `t` in [-1, 1].
    ///
    /// # Errors
    /// [`PlanError::EvalMod`] for parameters out of range, and those of [`Plan::new`].
    pub fn new(params: EvalModParams) -> Result<Self, PlanError> {
        let EvalModParams { range, degree, doublings } = params;
        if !(range.is_finite() && range > 0.0 && doublings <= 16) {
            return Err(PlanError::EvalMod(format!("a range of {range} with {doublings} doublings")));
        }
        let method = Method::Plan(Plan::new(degree, Parity::Even, Basis::Chebyshev)?);
        Ok(Self::with_method(params, method))
    }

    /// As [`Self::new`] for a cosine of degree 16 that is evaluated as a composition: one
    /// relinearisation at each of four levels, where a plan of degree 14 needs five. Its
    /// interpolation error is far smaller, but its noise is two to three bits higher: the leading
    /// coefficient is small and tied to the scales, so that powers are small integers where errors
    /// are amplified most. Inputs must be at [`Self::input_scale`].
    ///
    /// # Errors
    /// As [`Self::new`], and for a largest angle `2 pi K / 2^r` outside 3..9: with a smaller one
    /// the leading coefficient vanishes, with a larger one degree 16 is too low.
    pub fn composite(range: f64, doublings: usize) -> Result<Self, PlanError> {
        let params = EvalModParams { range, degree: composite::DEGREE, doublings };
        Self::new(params)?;
        if !(3.0..9.0).contains(&params.angle()) {
            return Err(PlanError::EvalMod(format!("an angle of {:.2} for a composition", params.angle())));
        }
        Ok(Self::with_method(params, Method::Composite))
    }

    fn with_method(params: EvalModParams, method: Method) -> Self {
        let degree = params.degree;
        let angle = params.angle();
        let mut coefficients = chebyshev_interpolation(degree, |t| (angle * t).cos());
        coefficients.iter_mut().skip(1).step_by(2).for_each(|c| *c = 0.0);
        Self { params, coefficients, method }
    }

    /// The parameters.
    pub fn params(&self) -> EvalModParams {
        self.params
    }

    /// Chebyshev coefficients of the cosine; those of odd index are 0.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The plan of the cosine, unless it is a composition.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.method {
            Method::Plan(plan) => Some(plan),
            Method::Composite => None,
        }
    }

    /// Rescales in the cosine.
    pub fn cosine_depth(&self) -> usize {
        match &self.method {
            Method::Plan(plan) => plan.depth(),
            Method::Composite => composite::DEPTH,
        }
    }

    /// The scale at which inputs with `limbs` of the primes `q` should be (for a composition: to
    /// about one percent). Plans take any; the cosine's is a good one.
    pub fn input_scale(&self, q: &[u64], limbs: usize, cosine_scale: &Scale) -> Scale {
        match &self.method {
            Method::Plan(_) => cosine_scale.clone(),
            Method::Composite => composite::input_scale(q, limbs, &self.half_coefficients(), cosine_scale),
        }
    }

    /// Chebyshev coefficients as a polynomial of `T_2`.
    pub fn half_coefficients(&self) -> Vec<f64> {
        self.coefficients.iter().copied().step_by(2).collect()
    }

    /// Rescales from the input to the result: `ceil(log2(degree + 1)) + doublings`.
    pub fn depth(&self) -> usize {
        self.cosine_depth() + self.params.doublings
    }

    /// Relinearisations of one ciphertext.
    pub fn relinearisations(&self) -> usize {
        self.plan().map_or(composite::DEPTH, Plan::relinearisations) + self.params.doublings
    }

    /// Counted work for one ciphertext of which `limbs` limbs are used.
    pub fn counts(&self, limbs: usize, gadget: Gadget) -> Counts {
        counts(self.plan(), self.params.doublings, limbs, gadget)
    }

    /// What the evaluation computes in exact arithmetic: close to `sin(2 pi u)`.
    pub fn evaluate_clear(&self, u: f64) -> f64 {
        let t = (u - 0.25) / self.params.range;
        (0..self.params.doublings).fold(evaluate_clear(Basis::Chebyshev, &self.coefficients, t), |c, _| 2.0 * c * c - 1.0)
    }

    /// A bound of the interpolation's error against the cosine, over all of [-1, 1]: twice the sum
    /// of the magnitudes of the Chebyshev coefficients that it leaves out (Trefethen,
    /// "Approximation Theory and Approximation Practice", theorem 4.2).
    pub fn cosine_error_bound(&self) -> f64 {
        let angle = self.params.angle();
        let many = chebyshev_interpolation(2 * self.params.degree + 64 + angle as usize, |t| (angle * t).cos());
        2.0 * many[self.params.degree + 1..].iter().map(|c| c.abs()).sum::<f64>()
    }

    /// A bound of the error against `sin(2 pi u)` for every `|u - 1/4| <= K`: an error `e` of a
    /// cosine becomes at most `4 e + 2 e^2` by a doubling. Near integers the error is mostly far
    /// smaller, see [`Self::error_near_integers`].
    pub fn error_bound(&self) -> f64 {
        (0..self.params.doublings).fold(self.cosine_error_bound(), |e, _| 4.0 * e + 2.0 * e * e)
    }

    /// The largest error against `sin(2 pi u)` on a grid of the numbers within `radius` of integers
    /// in the range.
    pub fn error_near_integers(&self, radius: f64) -> f64 {
        let top = (self.params.range - radius - 0.25).max(0.0).floor() as i64;
        let points = (-top..=top).flat_map(|i| (-64..=64).map(move |j| i as f64 + radius * f64::from(j) / 64.0));
        points.map(|u| (self.evaluate_clear(u) - (TAU * u).sin()).abs()).fold(0.0, f64::max)
    }

    /// How much an error reaches the result amplified, by the number of doublings before it
    /// happens: first that of the cosine polynomial's result, `2^r sin(2^r x) / sin x` for the
    /// angle `x = 2 pi (u - 1/4) / 2^r`, at last 1.
    pub fn amplification(&self, u: f64) -> Vec<f64> {
        let r = self.params.doublings as i32;
        let angle = TAU * (u - 0.25) / 2f64.powi(r);
        let mut out = vec![1.0];
        for doubling in (0..r).rev() {
            let last = out.last().copied().unwrap_or(1.0);
            out.push(last * 4.0 * (2f64.powi(doubling) * angle).cos());
        }
        out.reverse();
        out
    }

    /// The error of the cosine polynomial at `t` in [-1, 1], as a multiple of the rounding error of
    /// one product.
    pub fn cosine_noise(&self) -> impl Fn(f64) -> f64 + use<> {
        let angle = self.params.angle();
        let composite = self.plan().is_none().then(|| composite::noise_gain(&self.half_coefficients()));
        move |t| match &composite {
            Some(gain) => gain(2.0 * t * t - 1.0),
            None => {
                // The polynomial's slope in T_2 = 2 t^2 - 1; errors of later products matter a
                // quarter as much, and so on.
                let slope = if t == 0.0 { angle * angle / 4.0 } else { angle * (angle * t).sin() / (4.0 * t) };
                (1.0 + slope * slope * 16.0 / 15.0).sqrt()
            }
        }
    }

    /// Root mean square of the result's error over messages within `radius` of 0 and integers with
    /// the given probabilities (of 0, of each of 1 and -1, and so on), when the cosine has the
    /// error `cosine` and each doubling adds `doubling`, both as root mean squares in slot units.
    pub fn predicted_noise(&self, radius: f64, probabilities: &[f64], cosine: f64, doubling: f64) -> f64 {
        let mut sum = 0.0;
        let mut weight = 0.0;
        for (i, &p) in probabilities.iter().enumerate() {
            for u in (-32..=32).flat_map(|j| [i as f64, -(i as f64)].map(|i| i + radius * f64::from(j) / 32.0)) {
                let factors = self.amplification(u);
                let added = factors[1..].iter().map(|f| (f * doubling).powi(2)).sum::<f64>();
                sum += p * ((factors[0] * cosine).powi(2) + added);
                weight += p;
            }
        }
        (sum / weight).sqrt()
    }

    /// Scale of the result for inputs with `limbs` of the primes `q` and a cosine at
    /// `cosine_scale`.
    pub fn output_scale(&self, q: &[u64], limbs: usize, cosine_scale: &Scale) -> Scale {
        let depths = self.cosine_depth()..self.depth();
        depths.fold(cosine_scale.clone(), |s, depth| s.mul(&s).div_prime(q[limbs - depth - 1]))
    }
}

/// Counted work of a cosine by a plan, or by a composition if there is none, and of doublings.
pub fn counts(plan: Option<&Plan>, doublings: usize, limbs: usize, gadget: Gadget) -> Counts {
    let (depth, cosine) = match plan {
        Some(plan) => (plan.depth(), plan.counts(limbs, gadget)),
        None => {
            let sums = [(1, 0), (1, 0), (1, 2), (2, 3)].into_iter().enumerate();
            let products = sums.map(|(depth, (products, terms))| Counts::product(limbs - depth, gadget, 1, products, terms));
            (composite::DEPTH, products.sum::<Counts>() + Counts::rescale(limbs - 2, 2))
        }
    };
    cosine + (depth..depth + doublings).map(|depth| Counts::product(limbs - depth, gadget, 1, 1, 0)).sum()
}

impl EvalModParams {
    /// The largest angle of the cosine.
    fn angle(&self) -> f64 {
        TAU * self.range / 2f64.powi(self.doublings as i32)
    }
}
