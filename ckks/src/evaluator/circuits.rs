//! Linear maps, polynomials and bootstraps of bundles: lists of ciphertexts that share keys and
//! weights.

use super::{EvalError, Evaluator, common_scale};
use crate::bootstrap::{Activation, Arcsine, BootstrapOp, Bootstrapper, RefreshOp};
use crate::bundle::{BiasPoly, BundleError, EncodedTable, GiantSteps, Input, KeyProvider, LinearOp, LinearPlan, apply_linear};
use crate::ciphertext::Ciphertext;
use crate::keys::KeyTarget;
use crate::polynomial::{Coefficients, Plan, PolynomialError, PolynomialOp, evaluate, evaluate_packed};
use crate::ring::{Gadget, Galois, Ring, RnsPoly};
use crate::scale::Scale;
use crate::simd::Isa;

/// A linear map with the scale that its results shall have.
#[derive(Clone, Copy, Debug)]
pub struct LinearMap<'a> {
    /// The map.
    pub table: &'a EncodedTable,
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

/// A linear map that has been planned, for bundles of a length.
#[derive(Debug)]
pub struct PreparedLinearMap<'a> {
    map: LinearMap<'a>,
    plan: LinearPlan,
    inputs: usize,
    /// A rotation in use, whose key tells the shape of all.
    rotation: Option<Galois>,
}

impl Evaluator<'_> {
    /// Plans a linear map for bundles of so many ciphertexts, at any limbs and scales.
    ///
    /// # Errors
    /// A table that reads other ciphertexts or has a longer period than there are slots.
    pub fn prepare_linear_map<'m>(&self, map: &LinearMap<'m>, inputs: usize) -> Result<PreparedLinearMap<'m>, EvalError> {
        let (log_n, table) = (self.ring().log_n, map.table.table());
        let plan = LinearPlan::new(table, map.table.first(), log_n, inputs)?;
        let used = table.entries.iter().map(|e| table.taps[table.rows[e.row as usize].tap as usize]);
        let rotation = used.map(|tap| Galois::rotation(tap as isize, log_n)).find(|g| *g != Galois::IDENTITY);
        Ok(PreparedLinearMap { map: *map, plan, inputs, rotation })
    }

    /// Applies a linear map to a bundle: one decomposition for each input, one division for each
    /// output. Operands have equal limbs; their scales may differ.
    ///
    /// Needs keys of one shape for all rotations of the table.
    ///
    /// # Errors
    /// A bundle of another length than the map is prepared for; limbs differ or are too few, a key
    /// is missing, or a scale that leaves nothing to weights.
    pub fn apply_linear_map(&self, inputs: &[Ciphertext], prepared: &PreparedLinearMap<'_>) -> Result<Vec<Ciphertext>, EvalError> {
        let (ring, map) = (self.ring(), &prepared.map);
        if inputs.len() != prepared.inputs {
            return Err(BundleError::Table(format!("{} inputs of a map for {}", inputs.len(), prepared.inputs)).into());
        }
        let (views, limbs) = self.views(inputs)?;
        let Some(keep) = limbs.checked_sub(map.drop).filter(|keep| *keep > 0) else {
            return Err(EvalError::NoLimbsLeft { have: limbs, want: limbs.saturating_sub(map.drop) });
        };
        let before = ring.moduli[keep..limbs].iter().fold(map.output_scale.clone(), |s, m| s.mul_prime(m.q));
        let input_scales: Vec<f64> = inputs.iter().map(|c| before.div(&c.scale).to_f64()).collect();
        if let Some((input, scale)) = input_scales.iter().enumerate().find(|(_, s)| **s < 1.0) {
            return Err(EvalError::WeightScale { input, log2: scale.log2() });
        }
        let gadget = match prepared.rotation {
            Some(galois) => self.key(galois.into(), limbs)?.gadget(),
            None => Gadget { limbs, alpha: 1 },
        };
        let op = LinearOp {
            table: map.table.table(),
            first: map.table.first(),
            patterns: map.table.patterns(),
            plan: Some(&prepared.plan),
            input_scales: &input_scales,
            limbs_in: limbs,
            bias: map.bias,
            gadget,
            drop_limbs: map.drop,
            giants: map.giants,
        };
        let out = apply_linear(ring, self.isa, vec![views], &op, self.keys)?;
        Ok(with_scale(out.into_iter().flatten().collect(), map.output_scale))
    }

    /// [`prepare_linear_map`](Self::prepare_linear_map) and
    /// [`apply_linear_map`](Self::apply_linear_map), for a map that is applied once.
    ///
    /// # Errors
    /// Those of both.
    pub fn linear_map(&self, inputs: &[Ciphertext], map: &LinearMap<'_>) -> Result<Vec<Ciphertext>, EvalError> {
        self.apply_linear_map(inputs, &self.prepare_linear_map(map, inputs.len())?)
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
        let target = (plan.relinearisations() > 0).then_some(KeyTarget::Relinearization);
        self.polynomial_by(evaluate, target, inputs, plan, rows, output_scale)
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
        let target = Galois::conjugation(self.ring().log_n).into();
        self.polynomial_by(evaluate_packed, Some(target), inputs, plan, rows, output_scale)
    }

    /// A polynomial by one of the two ways, with keys of the shape of the one for `target`, or
    /// without keys.
    fn polynomial_by(
        &self,
        evaluate: Evaluate,
        target: Option<KeyTarget>,
        inputs: &[Ciphertext],
        plan: &Plan,
        rows: &[&[f64]],
        output_scale: &Scale,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let (views, limbs) = self.views(inputs)?;
        let input_scale = common_scale(inputs)?;
        let gadget = match target {
            Some(target) => self.key(target, limbs)?.gadget(),
            None => Gadget { limbs, alpha: 1 },
        };
        let rows: Vec<Coefficients<'_>> = rows.iter().map(|row| Coefficients::Row(row)).collect();
        let op = PolynomialOp { plan, coefficients: &rows, limbs, input_scale: &input_scale, output_scale, gadget };
        Ok(with_scale(evaluate(self.ring(), self.isa, views, &op, self.keys)?, output_scale))
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
}

/// A way to evaluate polynomials of bundles.
type Evaluate = fn(&Ring, Isa, Vec<Input<'_>>, &PolynomialOp<'_>, &dyn KeyProvider) -> Result<Vec<[RnsPoly; 2]>, PolynomialError>;

fn with_scale(bundle: Vec<[RnsPoly; 2]>, scale: &Scale) -> Vec<Ciphertext> {
    bundle.into_iter().map(|polys| Ciphertext::new(polys, scale.clone())).collect()
}
