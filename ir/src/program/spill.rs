//! Spill: what the values of one image add to those of others in the same ciphertexts.
//!
//! Weights with masks are polynomials with rounded coefficients, so that a slot takes a little of
//! others that it should not read; key switching leaves noise in the other part of complex slots,
//! which a product multiplies by the value. Both grow in proportion to the values. Arithmetic
//! modulo Q is exact: a value that leaves the modulus does no other harm until it is decrypted.
//!
//! A spill is harmless while it is no more than an error that answers are expected to have:
//! [`SIMULATED_RADIANS`] at the operand of a bootstrap, for which the accuracy of approximated
//! activations was simulated, or [`ABOVE_USUAL`] times what usual values add to each other there if
//! that is more, and elsewhere [`ALLOWED`] times the error that operations leave in usual values.
//! Errors are standard deviations, and independent ones add up in the square.

use super::{Program, ProgramOp};
use crate::consts::ConstId;
use crate::error::InterpError;
use crate::giants;
use crate::he::{Noise, PrimeIndex, Scale};
use crate::packed::interp::series_rows;
use crate::table::DiagTable;
use chiffre_params::Gadget;
use chiffre_params::bootstrap::SIMULATED_RADIANS;
use chiffre_params::noise::NoiseModel;
use std::f64::consts::PI;

/// How many times the usual error of an operation others may add to a value: as many as pass
/// where answers are compared with known ones (`docs/robustness.md`).
pub const ALLOWED: f64 = 32.0;
/// How many times as much as usual values any values may add at a bootstrap, where that is more
/// than what was simulated: where masks are long, ordinary images already add as much to each
/// other.
const ABOVE_USUAL: f64 = 4.0;
/// Samples of a series or a turn.
const SAMPLES: usize = 64;

/// How an instruction carries errors on, and which it makes.
enum Reach {
    Input,
    /// For each operand: how much errors grow, and the error of an output's masked weights for
    /// values of magnitude one.
    Linear {
        gains: Vec<f64>,
        shares: Vec<f64>,
        noise: f64,
    },
    /// The noise of the conjugate, in units of the operands.
    Product {
        share: f64,
        noise: f64,
    },
    /// Magnitudes of coefficients, over all channels; the largest slope over ordinary arguments.
    Series {
        coefficients: Vec<f64>,
        slope: f64,
        share: f64,
        noise: f64,
    },
    /// The slope over a turn, a root mean square.
    Refresh {
        share: f64,
        slope: f64,
    },
}

/// What one instruction is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Standard deviation of what others add: at the operand of a `refresh`, radians; of any other
    /// instruction to its result.
    pub spill: f64,
    /// What they may add.
    pub allowed: f64,
}

impl Verdict {
    /// True if others may add what they do.
    pub fn is_harmless(&self) -> bool {
        self.spill.is_finite() && self.spill <= self.allowed
    }
}

/// How a program's instructions spread values, from its tables, scales and keys.
pub struct Spill {
    reaches: Vec<Reach>,
    args: Vec<Vec<usize>>,
}

impl Spill {
    /// Of a verified program.
    ///
    /// # Errors
    /// Constants without data.
    pub fn of(p: &Program) -> Result<Spill, InterpError> {
        let h = &p.header;
        let (model, noise) = (NoiseModel::new(&h.chain()), Noise::of(p, 0));
        let size = |s: &Scale| 2f64.powf(s.log2_with(|PrimeIndex(i)| h.q.get(i as usize).map_or(0.0, |&q| (q as f64).log2())));
        let mut reaches = vec![];
        for n in &p.nodes {
            let scales: Vec<f64> = n.args.iter().map(|a| size(&p.ty(*a).scale)).collect();
            let limbs = n.args.iter().map(|a| p.ty(*a).limbs).min().unwrap_or(1);
            let least = scales.iter().copied().fold(f64::INFINITY, f64::min);
            let switch = |gadget: &Gadget| model.switch_and_round(*gadget, limbs);
            // Half of the conjugate's noise is in the other part.
            let conjugate = |gadget: &Gadget| if n.ty.layout.complex.is_some() { switch(gadget) / least / 2f64.sqrt() } else { 0.0 };
            reaches.push(match &n.op {
                ProgramOp::Input {} => Reach::Input,
                ProgramOp::Linear { table, scales, drop, giants, .. } => {
                    let t = p.consts.table(*table)?;
                    let omega: Vec<f64> = scales.iter().map(size).collect();
                    let (gains, shares) = linear(t, &omega, n.ty.layout.unit_cts(), giants.as_ref().map(Vec::len));
                    Reach::Linear { gains, shares, noise: if *drop > 0 { noise.rescale_std(&n.ty.scale) } else { 0.0 } }
                }
                ProgramOp::Mul { gadget } | ProgramOp::Square { gadget } => {
                    Reach::Product { share: conjugate(gadget), noise: switch(gadget) / size(&n.ty.scale) }
                }
                ProgramOp::Chebyshev { coeffs, gadget } => {
                    let (coefficients, slope) = (magnitudes(p, *coeffs)?, steepest(p, *coeffs)?);
                    Reach::Series { coefficients, slope, share: conjugate(gadget), noise: noise.rescale_std(&n.ty.scale) }
                }
                ProgramOp::Refresh { coeffs } => {
                    let spill = h.bootstrap.as_ref().map_or(Ok(0.0), |b| b.spill(&h.chain(), least));
                    let share = spill.map_err(|e| InterpError::Unsupported(e.to_string()))?;
                    Reach::Refresh { share, slope: turning(p, *coeffs)? }
                }
            });
        }
        Ok(Spill { reaches, args: p.nodes.iter().map(|n| n.args.iter().map(|a| a.index()).collect()).collect() })
    }

    /// What values of magnitude `sizes` (of each instruction's result, in some images) add to those
    /// of other images, whose own magnitude is `ordinary`, and what they may add beside values of
    /// magnitude `usual`.
    pub fn judge(&self, sizes: &[f64], ordinary: &[f64], usual: &[f64]) -> Vec<Verdict> {
        let mut spill: Vec<f64> = vec![];
        // What usual values add to each other.
        let mut mutual: Vec<f64> = vec![];
        let mut allowed: Vec<f64> = vec![];
        let mut out = vec![];
        for (reach, args) in self.reaches.iter().zip(&self.args) {
            let largest = |of: &[f64]| args.iter().map(|&a| of[a]).fold(0.0, f64::max);
            // One error, with the gains, from the operands', and one that the operation makes.
            let (s, m, a) = match reach {
                Reach::Input => (0.0, 0.0, 0.0),
                Reach::Linear { gains, shares, noise } => {
                    let grown = |of: &[f64]| norm(args.iter().zip(gains).map(|(&a, g)| zero_or(*g, of[a])));
                    let masked = |of: &[f64]| norm(args.iter().zip(shares).map(|(&a, s)| zero_or(*s, of[a])));
                    let noise = ALLOWED * noise.hypot(masked(usual));
                    (grown(&spill).hypot(masked(sizes)), grown(&mutual).hypot(masked(usual)), grown(&allowed).hypot(noise))
                }
                Reach::Product { share, noise } => {
                    let (x, y) = (args[0], args[args.len() - 1]);
                    let grown = |of: &[f64]| zero_or(of[x], ordinary[y]) + zero_or(of[y], ordinary[x]);
                    let turned = |of: &[f64]| zero_or(*share, largest(of));
                    let noise = ALLOWED * noise.hypot(turned(usual));
                    (grown(&spill).hypot(turned(sizes)), grown(&mutual).hypot(turned(usual)), grown(&allowed).hypot(noise))
                }
                Reach::Series { coefficients, slope, share, noise } => {
                    let turned = |of: &[f64]| zero_or(*share, steepness(coefficients, largest(of)));
                    let (grown, noise) = (|of: &[f64]| slope * of[args[0]], ALLOWED * noise.hypot(turned(usual)));
                    (grown(&spill).hypot(turned(sizes)), grown(&mutual).hypot(turned(usual)), grown(&allowed).hypot(noise))
                }
                Reach::Refresh { share, slope } => {
                    let here = |spill: &[f64], of: &[f64]| spill[args[0]].hypot(zero_or(*share, of[args[0]]));
                    let most = SIMULATED_RADIANS.max(ABOVE_USUAL * here(&mutual, usual));
                    out.push(Verdict { spill: here(&spill, sizes), allowed: most });
                    // What is allowed here is among the errors of what lies behind.
                    spill.push(0.0);
                    mutual.push(0.0);
                    allowed.push(slope * most);
                    continue;
                }
            };
            out.push(Verdict { spill: s, allowed: a });
            spill.push(s);
            mutual.push(m);
            allowed.push(a);
        }
        out
    }
}

/// `a · b`, and 0 if either is.
fn zero_or(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

/// For each operand, over the outputs, the largest root of the sum of squared weights, and the
/// largest error of all its masked rows together: a rounded polynomial of 2g coefficients in each.
fn linear(t: &DiagTable, omega: &[f64], outputs: usize, steps: Option<usize>) -> (Vec<f64>, Vec<f64>) {
    let stride = giants::stride(outputs);
    let mut sums = vec![vec![[0.0, 0.0]; outputs]; omega.len()];
    for cell in t.cells() {
        let (row, output) = (t.rows[cell[0].row as usize], cell[0].output as usize);
        // Partial sums of all giant steps end in one output.
        let output = if steps.is_some() { output % stride } else { output };
        let [squares, masked] = &mut sums[row.operand as usize][output];
        // Masks of a cell are apart, as a rule.
        *squares += cell.iter().fold(0.0, |m: f64, e| m.max(e.weight.abs())).powi(2);
        *masked += if cell.iter().any(|e| e.mask.is_some()) { 1.0 } else { 0.0 };
    }
    let most = |of: &[[f64; 2]], i: usize| of.iter().fold(0.0, |m: f64, s| m.max(s[i])).sqrt();
    let rounding = (2.0 * t.period() as f64 / 12.0).sqrt();
    let shares = sums.iter().zip(omega).map(|(s, w)| most(s, 1) * rounding / w).collect();
    (sums.iter().map(|s| most(s, 0)).collect(), shares)
}

fn rows(p: &Program, coeffs: ConstId) -> Result<Vec<Vec<f64>>, InterpError> {
    Ok(series_rows(p.consts.array(coeffs)?).collect())
}

/// The largest magnitude of each coefficient over all channels.
fn magnitudes(p: &Program, coeffs: ConstId) -> Result<Vec<f64>, InterpError> {
    let rows = rows(p, coeffs)?;
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    Ok((0..count).map(|k| rows.iter().fold(0.0, |m: f64, r| m.max(r.get(k).map_or(0.0, |c| c.abs())))).collect())
}

/// The derivative of a Chebyshev series, by `T_k' = k·U_{k-1}`.
fn derivative(row: &[f64], u: f64) -> f64 {
    let (mut before, mut second) = (0.0, 1.0);
    let mut sum = 0.0;
    for (k, c) in row.iter().enumerate().skip(1) {
        sum += c * k as f64 * second;
        (before, second) = (second, 2.0 * u * second - before);
    }
    sum
}

/// The largest slope of any channel's series for arguments within one.
fn steepest(p: &Program, coeffs: ConstId) -> Result<f64, InterpError> {
    let at = |j: usize| (PI * j as f64 / SAMPLES as f64).cos();
    let one = |row: &Vec<f64>| (0..=SAMPLES).fold(0.0, |m: f64, j| m.max(derivative(row, at(j)).abs()));
    Ok(rows(p, coeffs)?.iter().map(one).fold(0.0, f64::max))
}

/// The root mean square slope of `series(sin x)` over a turn and all channels.
fn turning(p: &Program, coeffs: ConstId) -> Result<f64, InterpError> {
    let rows = rows(p, coeffs)?;
    let angle = |j: usize| 2.0 * PI * j as f64 / SAMPLES as f64;
    let slopes = rows.iter().flat_map(|row| (0..SAMPLES).map(move |j| derivative(row, angle(j).sin()) * angle(j).cos()));
    Ok(norm(slopes) / ((rows.len() * SAMPLES).max(1) as f64).sqrt())
}

/// The largest slope that a series with coefficients of such magnitudes can have for arguments up
/// to `size`.
fn steepness(coefficients: &[f64], size: f64) -> f64 {
    let beyond = size.max(1.0).acosh();
    let slope = |k: f64| if beyond < 1e-9 { k * k } else { k * (k * beyond).sinh() / beyond.sinh() };
    coefficients.iter().enumerate().skip(1).map(|(k, c)| zero_or(*c, slope(k as f64))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_of_series_are_those_of_differences() {
        let row = [0.3, -0.2, 0.7, 0.1, -0.4];
        for u in [-1.0, -0.4, 0.0, 0.9, 1.7] {
            let step = 1e-6;
            let difference = (crate::tensor::chebyshev(&row, u + step) - crate::tensor::chebyshev(&row, u - step)) / (2.0 * step);
            assert!((derivative(&row, u) - difference).abs() < 1e-6, "{u}");
            let most = steepness(&row.map(f64::abs), u.abs());
            assert!(derivative(&row, u).abs() <= most + 1e-9, "{u}");
        }
        // T_2' = 4u, T_3' = 12u² − 3.
        assert!((steepness(&[0.0, 0.0, 1.0, 1.0], 2.0) - (8.0 + 45.0)).abs() < 1e-9);
        assert_eq!(steepness(&[5.0], f64::INFINITY), 0.0);
    }
}
