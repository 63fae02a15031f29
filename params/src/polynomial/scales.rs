//! Scales and integer coefficients of an evaluation.
//!
//! Scales of basis elements follow from the input's. Those of partial polynomials follow from the
//! result's, from the top down (as in Bossuat et al. 2021, section 5): a sum that becomes `s` when
//! the prime `q` is dropped is taken at scale `s q`; its terms come as `B_k` times the integer
//! nearest to `c_k s q / s_k`, and the factor at `B_g` in a product is asked for at the exact scale
//! `s q / s_g`. So every sum meets exactly, and no level is spent on adjustments.

use super::error::PlanError;
use super::plan::Plan;
use super::types::{Basis, Part, Power};
use crate::scale::Scale;
use std::collections::BTreeMap;

/// Coefficients of multiples stay below this in magnitude.
pub const MAX_MULTIPLE: f64 = (1u64 << 62) as f64;
/// Constants stay below this in magnitude.
pub const MAX_CONSTANT: f64 = (1u128 << 100) as f64;
/// Coefficients that are rounded at a smaller scale than this are refused: scales of powers out of
/// proportion cost precision without a sign.
const MIN_SCALE: f64 = 1024.0;

/// The scales of all values of a plan.
#[derive(Clone, Debug)]
pub struct Scales {
    /// Of `B_k`, by `k`; `B_1` is the input.
    pub powers: BTreeMap<usize, Scale>,
    /// Of the sum of each node before its rescale.
    pub sums: Vec<Scale>,
    /// Of the product of each power before its rescale, in the order of the plan.
    pub products: Vec<Scale>,
}

impl Scales {
    /// The scales for an input at `input` with `limbs` of the primes `q` and a result at `output`.
    pub fn new(plan: &Plan, q: &[u64], limbs: usize, input: &Scale, output: &Scale) -> Self {
        let prime = |depth: usize| Scale::prime(q[limbs - depth]);
        let mut powers = BTreeMap::from([(1, input.clone())]);
        let mut products = Vec::new();
        for power in plan.powers() {
            let product = power.factors.iter().fold(Scale::one(), |s, k| s.mul(&powers[k]));
            powers.insert(power.index, product.div(&prime(power.depth)));
            products.push(product);
        }
        let mut sums = vec![Scale::one(); plan.nodes().len()];
        let last = sums.len() - 1;
        sums[last] = output.mul(&prime(plan.depth()));
        for (i, node) in plan.nodes().iter().enumerate().rev() {
            for part in &node.parts {
                if let Part::Product { node: factor, basis } = part {
                    let factor_depth = plan.nodes()[*factor].depth;
                    sums[*factor] = sums[i].div(&powers[basis]).mul(&prime(factor_depth));
                }
            }
        }
        Self { powers, sums, products }
    }
}

/// The integers of one row of coefficients at one node.
#[derive(Clone, Debug, Default)]
pub struct NodeIntegers {
    /// For each term of the node the factor of `B_k`.
    pub terms: Vec<(usize, f64)>,
    /// What is added.
    pub constant: f64,
}

/// Splits a row over the nodes of a plan and rounds it at the nodes' scales.
///
/// # Errors
/// A coefficient that the plan does not have, that is not finite, or that does not fit.
pub fn integers(plan: &Plan, scales: &Scales, row: usize, coefficients: &[f64]) -> Result<Vec<NodeIntegers>, PlanError> {
    let degree = plan.degree();
    for (index, c) in coefficients.iter().enumerate() {
        if !c.is_finite() {
            return Err(PlanError::NotFinite { row, index });
        }
        if *c != 0.0 && (index > degree || !plan.parity().has(index)) {
            return Err(PlanError::Coefficient { row, index, degree });
        }
    }
    let mut polynomials: Vec<Vec<f64>> = vec![Vec::new(); plan.nodes().len()];
    let last = polynomials.len() - 1;
    polynomials[last] = coefficients.to_vec();
    polynomials[last].resize(degree + 1, 0.0);
    let mut out = vec![NodeIntegers::default(); plan.nodes().len()];
    for (i, node) in plan.nodes().iter().enumerate().rev() {
        let mut rest = std::mem::take(&mut polynomials[i]);
        for part in &node.parts {
            match part {
                Part::Term(k) => {
                    let scale = scales.sums[i].div(&scales.powers[k]).to_f64();
                    if scale < MIN_SCALE {
                        return Err(PlanError::Scale(scale.log2()));
                    }
                    let c = rest.get_mut(*k).map(std::mem::take).unwrap_or_default();
                    out[i].terms.push((*k, fit(row, *k, c * scale, MAX_MULTIPLE)?));
                }
                Part::Product { node, basis } => polynomials[*node] = divide(plan.basis(), &mut rest, *basis),
            }
        }
        debug_assert!(rest[1..].iter().all(|&c| c == 0.0), "a plan takes all terms");
        out[i].constant = fit(row, 0, rest[0] * scales.sums[i].to_f64(), MAX_CONSTANT)?;
    }
    Ok(out)
}

/// Rounds a coefficient of `B_index`.
pub fn fit(row: usize, index: usize, value: f64, most: f64) -> Result<f64, PlanError> {
    let value = value.round_ties_even();
    if value.abs() < most { Ok(value) } else { Err(PlanError::TooLarge { row, index, bits: value.abs().log2(), limit: most.log2() }) }
}

/// Divides by `B_g`: returns the quotient and leaves the remainder, of degree below `g`.
pub fn divide(basis: Basis, p: &mut [f64], g: usize) -> Vec<f64> {
    let mut quotient = vec![0.0; p.len().saturating_sub(g).max(1)];
    for i in (g..p.len()).rev() {
        let c = std::mem::take(&mut p[i]);
        let j = i - g;
        match basis {
            _ if j == 0 => quotient[0] += c,
            Basis::Monomial => quotient[j] += c,
            Basis::Chebyshev => {
                // T_i = 2 T_g T_j - T_|g - j|
                quotient[j] += 2.0 * c;
                p[g.abs_diff(j)] -= c;
            }
        }
    }
    quotient
}

impl Scales {
    /// For each power the integer by which `T_(a-b)` is multiplied, or the constant for `T_0`; 0
    /// for monomials.
    ///
    /// # Errors
    /// [`PlanError::TooLarge`] or [`PlanError::Scale`] when the scales are out of proportion.
    pub fn corrections(&self, plan: &Plan) -> Result<Vec<f64>, PlanError> {
        let correction = |(power, product): (&Power, &Scale)| {
            let difference = power.factors[0] - power.factors[1];
            match (plan.basis(), difference) {
                (Basis::Monomial, _) => Ok(0.0),
                (Basis::Chebyshev, 0) => fit(0, 0, -product.to_f64(), MAX_CONSTANT),
                (Basis::Chebyshev, k) => {
                    let scale = product.div(&self.powers[&k]).to_f64();
                    if scale < MIN_SCALE {
                        return Err(PlanError::Scale(scale.log2()));
                    }
                    fit(0, k, -scale, MAX_MULTIPLE)
                }
            }
        };
        plan.powers().iter().zip(&self.products).map(correction).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::polynomial::evaluate_clear;

    #[test]
    fn division_in_the_clear() {
        for basis in [Basis::Monomial, Basis::Chebyshev] {
            for (degree, g) in [(7, 4), (9, 2), (14, 8), (5, 5), (11, 3)] {
                let p = (0..=degree).map(|k| ((k * k + degree) as f64).sin()).collect::<Vec<_>>();
                let mut rest = p.clone();
                let quotient = divide(basis, &mut rest, g);
                assert!(rest[g..].iter().all(|&c| c == 0.0));
                let mut unit = vec![0.0; g + 1];
                unit[g] = 1.0;
                for x in [-1.0, -0.3, 0.0, 0.7, 1.0] {
                    let value = |c: &[f64]| evaluate_clear(basis, c, x);
                    assert!((value(&p) - value(&quotient) * value(&unit) - value(&rest)).abs() < 1e-12);
                }
            }
        }
    }
}
