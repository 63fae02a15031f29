//! Linear maps, polynomials and bootstraps of bundles: lists of ciphertexts that share keys and
//! weights.

use super::{EvalError, Evaluator, common_scale};
use crate::bootstrap::{Activation, Arcsine, BootstrapOp, Bootstrapper, RefreshOp};
use crate::bundle::{BiasPoly, GiantSteps, LinearOp, LinearTable, apply_linear};
use crate::ciphertext::Ciphertext;
use crate::keys::KeyTarget;
use crate::polynomial::{Plan, PolynomialOp, evaluate, evaluate_packed};
use crate::ring::{Gadget, Galois, RnsPoly};
use crate::scale::Scale;

/// A linear map with the scale that its results shall have.
#[derive(Clone, Copy, Debug)]
pub struct LinearMap<'a> {
    /// The map.
    pub table: &'a LinearTable,
    /// Scale of the results. Weights of an operand are rounded at the scale that leads there: this
    /// times the dropped primes over the operand's scale.
    pub output_scale: &'a Scale,
    /// Primes that the rescale drops; one, for weights of about the size of a prime.
    pub drop: usize,
    /// Constants to add to the results, at their scale, one for each.
    pub bias: Option<&'a [BiasPoly]>,
    /// How the outputs of the table, if they are partial sums, are rotated and added.
    pub giants: Option<GiantSteps<'a>>,
}

impl Evaluator<'_> {
    /// Applies a linear map to a bundle: one decomposition for each input, one division for each
    /// output. Operands have equal limbs; their scales may differ.
    ///
    /// Needs keys of one shape for all rotations of the table.
    ///
    /// # Errors
    /// Limbs differ or are too few, a key is missing, a table that contradicts itself, or a scale
    /// that leaves nothing to weights.
    pub fn linear_map(&self, inputs: &[Ciphertext], map: &LinearMap<'_>) -> Result<Vec<Ciphertext>, EvalError> {
        let ring = self.ring();
        let (views, limbs) = self.views(inputs)?;
        let Some(keep) = limbs.checked_sub(map.drop).filter(|keep| *keep > 0) else {
            return Err(EvalError::NoLimbsLeft { have: limbs, want: limbs.saturating_sub(map.drop) });
        };
        map.table.check(ring.n, inputs.len())?;
        let before = ring.moduli[keep..limbs].iter().fold(map.output_scale.clone(), |s, m| s.mul_prime(m.q));
        let input_scales: Vec<f64> = inputs.iter().map(|c| before.div(&c.scale).to_f64()).collect();
        if let Some((input, scale)) = input_scales.iter().enumerate().find(|(_, s)| **s < 1.0) {
            return Err(EvalError::WeightScale { input, log2: scale.log2() });
        }
        let used = map.table.entries.iter().map(|e| map.table.taps[map.table.rows[e.row as usize].1 as usize]);
        let rotated = used.map(|tap| Galois::rotation(tap, ring.log_n)).find(|g| *g != Galois::IDENTITY);
        let gadget = match rotated {
            Some(galois) => self.key(galois.into(), limbs)?.gadget(),
            None => Gadget { limbs, alpha: 1 },
        };
        let op = LinearOp {
            table: map.table,
            plan: None,
            input_scales: &input_scales,
            limbs_in: limbs,
            bias: map.bias,
            gadget,
            drop_limbs: map.drop,
            giants: map.giants,
        };
        let out = apply_linear(ring, self.isa, vec![views], &op, self.keys)?;
        Ok(out.into_iter().flatten().map(|polys| Ciphertext::new(polys, map.output_scale.clone())).collect())
    }

    /// Evaluates a polynomial of each ciphertext: `rows[i]` are the coefficients of ciphertext i in
    /// the plan's basis. Results have `plan.depth()` limbs less and the scale that is asked for.
    /// Slots must be real, or the polynomial is one of complex numbers.
    ///
    /// # Errors
    /// Limbs or scales differ; a missing relinearisation key; too few limbs; coefficients that do
    /// not fit.
    pub fn polynomial(
        &self,
        inputs: &[Ciphertext],
        plan: &Plan,
        rows: &[&[f64]],
        output_scale: &Scale,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let (views, limbs) = self.views(inputs)?;
        let input_scale = common_scale(inputs)?;
        let gadget = self.polynomial_gadget(plan, limbs)?;
        let op = PolynomialOp { plan, coefficients: rows, limbs, input_scale: &input_scale, output_scale, gadget };
        Ok(with_scale(evaluate(self.ring(), self.isa, views, &op, self.keys)?, output_scale))
    }

    /// As [`polynomial`](Self::polynomial) of real and imaginary parts by themselves:
    /// `p(a) + i p(b)` for slots `a + ib`. Needs the conjugation key as well.
    ///
    /// # Errors
    /// As [`polynomial`](Self::polynomial).
    pub fn polynomial_of_parts(
        &self,
        inputs: &[Ciphertext],
        plan: &Plan,
        rows: &[&[f64]],
        output_scale: &Scale,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let (views, limbs) = self.views(inputs)?;
        let input_scale = common_scale(inputs)?;
        let gadget = self.key(Galois::conjugation(self.ring().log_n).into(), limbs)?.gadget();
        let op = PolynomialOp { plan, coefficients: rows, limbs, input_scale: &input_scale, output_scale, gadget };
        Ok(with_scale(evaluate_packed(self.ring(), self.isa, views, &op, self.keys)?, output_scale))
    }

    /// Bootstraps ciphertexts whose slots have real and imaginary parts in [-1, 1]: the same slots
    /// at more limbs, and at the scale that is asked for. `ratio` is the message ratio, see
    /// [`BootstrapOp::ratio`].
    ///
    /// # Errors
    /// Limbs or scales differ; a missing key; too few limbs.
    pub fn bootstrap(
        &self,
        inputs: &[Ciphertext],
        bootstrapper: &Bootstrapper,
        ratio: f64,
        correction: &Arcsine,
        output_scale: &Scale,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let (views, _) = self.views(inputs)?;
        let input_scale = common_scale(inputs)?;
        let op = BootstrapOp { input_scale: &input_scale, ratio, correction, output_scale };
        Ok(with_scale(bootstrapper.bootstrap(self.ring(), self.isa, views, &op, self.keys)?, output_scale))
    }

    /// Bootstraps with a polynomial on the way: `p(sin Re v) + i p(sin Im v)` with `v = radians z`,
    /// at the scale that is asked for.
    ///
    /// # Errors
    /// As [`bootstrap`](Self::bootstrap).
    pub fn refresh(
        &self,
        inputs: &[Ciphertext],
        bootstrapper: &Bootstrapper,
        radians: f64,
        activation: Activation<'_>,
        output_scale: &Scale,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let (views, _) = self.views(inputs)?;
        let input_scale = common_scale(inputs)?;
        let op = RefreshOp { input_scale: &input_scale, radians, activation: Some(activation), output_scale };
        Ok(with_scale(bootstrapper.refresh(self.ring(), self.isa, views, &op, self.keys)?, output_scale))
    }

    /// The shape of the relinearisation key for a plan; any, if the plan has no products.
    fn polynomial_gadget(&self, plan: &Plan, limbs: usize) -> Result<Gadget, EvalError> {
        if plan.relinearisations() == 0 {
            return Ok(Gadget { limbs, alpha: 1 });
        }
        Ok(self.key(KeyTarget::Relinearization, limbs)?.gadget())
    }
}

fn with_scale(bundle: Vec<[RnsPoly; 2]>, scale: &Scale) -> Vec<Ciphertext> {
    bundle.into_iter().map(|polys| Ciphertext::new(polys, scale.clone())).collect()
}
