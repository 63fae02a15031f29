//! Execution of plans on bundles.

use super::coefficients::{Integers, NodeFactors};
use super::{Coefficients, PlanError, PolynomialError};
use crate::bundle::{self, BundleError, CtRef, Factor, Input, KeyProvider, Multiple, PreparedKey, Product, Sum};
use crate::keys::KeyTarget;
use crate::ring::{Gadget, Ring, RnsPoly};
use crate::scale::Scale;
use crate::simd::Isa;
use chiffre_params::polynomial::{Basis, MAX_CONSTANT, MAX_MULTIPLE, Parity, Part, Plan, Scales, fit, integers};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Most ciphertexts in work at a time.
pub(super) use chiffre_params::work::SERIES_GROUP as GROUP;

/// A polynomial for each ciphertext of a bundle, at a level.
#[derive(Clone, Copy, Debug)]
pub struct PolynomialOp<'a> {
    /// How it is evaluated.
    pub plan: &'a Plan,
    /// For each ciphertext (or pair of halves). What has the same memory is prepared once.
    pub coefficients: &'a [Coefficients<'a>],
    /// Q limbs to use; inputs may have more. Results have `limbs - plan.depth()`.
    pub limbs: usize,
    /// Scale of the inputs.
    pub input_scale: &'a Scale,
    /// Scale of the results.
    pub output_scale: &'a Scale,
    /// Shape of the keys.
    pub gadget: Gadget,
}

/// Evaluates a polynomial on each ciphertext: `out_i = sum_k coefficients_i[k] B_k(in_i)` slot by
/// slot, at exactly `op.output_scale`. Slots are in [-1, 1] for the Chebyshev basis (elsewhere it
/// grows fast) and real, or complex if the coefficients may act on complex numbers. Operands that
/// are given away are freed as soon as they have been read.
///
/// Besides the noise of its operations a result has the error of rounding each coefficient to a
/// multiple of the ratio of two scales, about `2^-36` for primes of 36 bits; where coefficients
/// differ from slot to slot, `sqrt(N / 12)` times that.
///
/// # Errors
/// Any [`PolynomialError`]: a missing relinearisation key, too few limbs, rows that do not fit the
/// plan, coefficients that are not finite or too large. Nothing is computed then, and owned
/// operands are lost.
pub fn evaluate(
    ring: &Ring,
    isa: Isa,
    inputs: Vec<Input<'_>>,
    op: &PolynomialOp<'_>,
    keys: &dyn KeyProvider,
) -> Result<Vec<[RnsPoly; 2]>, PolynomialError> {
    let prepared = Prepared::new(ring, op, keys, [&inputs, &[]])?;
    let mut out = Vec::with_capacity(inputs.len());
    prepared.run_all(ring, isa, inputs, |group| out.extend(group));
    Ok(out)
}

/// Evaluates the same polynomial on the real and on the imaginary halves and recombines:
/// `out_i = p_i(re_i) + i p_i(im_i)`. The last relinearisation and rescale are shared by both
/// halves.
///
/// # Errors
/// As [`evaluate`], and when the halves differ in number.
pub fn evaluate_halves(
    ring: &Ring,
    isa: Isa,
    re: Vec<Input<'_>>,
    im: Vec<Input<'_>>,
    op: &PolynomialOp<'_>,
    keys: &dyn KeyProvider,
) -> Result<Vec<[RnsPoly; 2]>, PolynomialError> {
    if re.len() != im.len() {
        return Err(BundleError::Operands(re.len(), im.len()).into());
    }
    let prepared = Prepared::new(ring, op, keys, [&re, &im])?;
    let mut out = Vec::with_capacity(re.len());
    let (mut re, mut im) = (re.into_iter(), im.into_iter());
    for rows in prepared.of_input.chunks(GROUP / 2) {
        let group: Vec<Input<'_>> = re.by_ref().take(GROUP / 2).chain(im.by_ref().take(GROUP / 2)).collect();
        let rows = rows.repeat(2);
        out.extend(prepared.run(ring, isa, group, &rows, true));
    }
    Ok(out)
}

/// Evaluates the polynomial on the real and on the imaginary part of complex-packed slots:
/// `p(a) + i p(b)` for `a + ib`. Needs the conjugation key too. No level is spent on the packing:
/// the halves come at twice the input's scale, and `i = X^(N/2)` is a sign by halves of the NTT
/// order.
///
/// # Errors
/// As [`evaluate`]; a missing conjugation key.
pub fn evaluate_packed(
    ring: &Ring,
    isa: Isa,
    inputs: Vec<Input<'_>>,
    op: &PolynomialOp<'_>,
    keys: &dyn KeyProvider,
) -> Result<Vec<[RnsPoly; 2]>, PolynomialError> {
    let doubled = op.input_scale.mul(&Scale::pow2(1));
    let op = PolynomialOp { input_scale: &doubled, ..*op };
    let prepared = Prepared::new(ring, &op, keys, [&inputs, &[]])?;
    let mut out = Vec::with_capacity(inputs.len());
    let mut inputs = inputs.into_iter();
    for rows in prepared.of_input.chunks(GROUP / 2) {
        let group: Vec<Input<'_>> = inputs.by_ref().take(GROUP / 2).collect();
        let views: Vec<CtRef<'_>> = group.iter().map(Input::view).collect();
        let [re, im] = bundle::split_halves(ring, isa, &views, op.limbs, keys, op.gadget)?;
        drop(group);
        let halves: Vec<Input<'_>> = re.into_iter().chain(im).map(Input::Owned).collect();
        let rows = rows.repeat(2);
        out.extend(prepared.run(ring, isa, halves, &rows, true));
    }
    Ok(out)
}

/// Real and imaginary parts of complex-packed ciphertexts of which the first `limbs` limbs are
/// used: for slots `a + ib` at scale `s` the slots `a` and `b` at scale `2 s`, by one conjugation
/// each. Returns `[re, im]`.
///
/// # Errors
/// A missing conjugation key, a gadget that does not fit, or an input that is too short.
pub fn split(
    ring: &Ring,
    isa: Isa,
    inputs: &[CtRef<'_>],
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<[Vec<[RnsPoly; 2]>; 2], BundleError> {
    bundle::split_halves(ring, isa, inputs, limbs, keys, gadget)
}

/// `re + i im` of pairs of ciphertexts at one scale with at least `limbs` limbs.
pub fn combine(ring: &Ring, isa: Isa, halves: &[[CtRef<'_>; 2]], limbs: usize) -> Vec<[RnsPoly; 2]> {
    bundle::combine_halves(ring, isa, halves, limbs)
}

/// A checked operation.
pub(super) struct Prepared<'a> {
    plan: &'a Plan,
    limbs: usize,
    key: Option<&'a PreparedKey>,
    /// Different coefficients, and which of them each input has.
    integers: Vec<Integers<'a>>,
    of_input: Vec<usize>,
    /// For each power the factor of `T_(a-b)`, or the constant when the factors are equal.
    corrections: Vec<f64>,
    /// The factor of `T_1` in `T_2` and what is added to its constant, for a shifted input.
    shift: [f64; 2],
    steps: Vec<Computation>,
}

/// One value of a plan, with the other values that it reads.
struct Computation {
    value: Value,
    depth: usize,
    reads: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// `B_k`.
    Power(usize),
    /// A node by number.
    Node(usize),
}

impl<'a> Prepared<'a> {
    /// Checks everything.
    pub fn new(ring: &Ring, op: &PolynomialOp<'a>, keys: &'a dyn KeyProvider, inputs: [&[Input<'_>]; 2]) -> Result<Self, PolynomialError> {
        let (plan, limbs, depth) = (op.plan, op.limbs, op.plan.depth());
        if limbs <= depth || limbs > ring.q_count {
            return Err(PolynomialError::Limbs { limbs, depth });
        }
        if op.coefficients.len() != inputs[0].len() {
            return Err(PolynomialError::Rows { rows: op.coefficients.len(), ciphertexts: inputs[0].len() });
        }
        for inputs in inputs {
            bundle::check_inputs(ring.n, inputs, limbs)?;
        }
        let key = if plan.relinearisations() > 0 {
            bundle::check_gadget(ring, op.gadget, limbs)?;
            Some(keys.require(KeyTarget::Relinearization, op.gadget)?)
        } else {
            None
        };
        let scales = Scales::new(plan, &ring.chain.q, limbs, op.input_scale, op.output_scale);
        let left: f64 = ring.moduli[..limbs - depth].iter().map(|m| (m.q as f64).log2()).sum::<f64>() - 1.0;
        let mut distinct: Vec<Integers<'_>> = Vec::new();
        let mut first: Vec<usize> = Vec::new();
        let mut of_input = Vec::with_capacity(op.coefficients.len());
        for (row, coefficients) in op.coefficients.iter().enumerate() {
            if let Some(known) = first.iter().position(|&i| op.coefficients[i].is(coefficients)) {
                of_input.push(known);
                continue;
            }
            let round = |coefficients: &[f64]| {
                let integers = integers(plan, &scales, row, coefficients)?;
                let bits = coefficients.iter().map(|c| c.abs()).sum::<f64>().log2() + op.output_scale.log2();
                if bits < left { Ok(integers) } else { Err(PlanError::TooLarge { row, index: 0, bits, limit: left }) }
            };
            distinct.push(Integers::new(ring, coefficients, round)?);
            first.push(row);
            of_input.push(distinct.len() - 1);
        }
        let corrections = scales.corrections(plan)?;
        Ok(Self { plan, limbs, key, integers: distinct, of_input, corrections, shift: [0.0; 2], steps: steps(plan) })
    }

    /// Makes the plan's argument `input + shift`: `T_2 = 2 x^2 + 4 shift x + 2 shift^2 - 1`.
    ///
    /// # Errors
    /// [`PlanError::TooLarge`].
    pub fn shift(&mut self, shift: f64, input_scale: &Scale) -> Result<(), PlanError> {
        assert!(self.plan.basis() == Basis::Chebyshev && self.plan.parity() == Parity::Even, "only T_2 reads the input");
        let scale = input_scale.to_f64();
        self.shift = [fit(0, 1, 4.0 * shift * scale, MAX_MULTIPLE)?, fit(0, 0, 2.0 * shift * shift * scale * scale, MAX_CONSTANT)?];
        Ok(())
    }

    /// Runs the plan on all inputs, group by group.
    pub fn run_all<'b>(&self, ring: &Ring, isa: Isa, inputs: Vec<Input<'b>>, mut take: impl FnMut(Vec<[RnsPoly; 2]>)) {
        let mut inputs = inputs.into_iter();
        for rows in self.of_input.chunks(GROUP) {
            let group: Vec<Input<'b>> = inputs.by_ref().take(GROUP).collect();
            take(self.run(ring, isa, group, rows, false));
        }
    }

    /// Runs the plan on a group, of which `rows` are the numbers of the integers. With `pairs` the
    /// second half of the group is multiplied by `i` and added to the first.
    fn run<'b>(&self, ring: &Ring, isa: Isa, mut group: Vec<Input<'b>>, rows: &[usize], pairs: bool) -> Vec<[RnsPoly; 2]> {
        for input in &mut group {
            input.truncate(self.limbs);
        }
        let mut values: BTreeMap<Value, Vec<Input<'b>>> = BTreeMap::from([(Value::Power(1), group)]);
        for (at, step) in self.steps.iter().enumerate() {
            let last = at + 1 == self.steps.len();
            let limbs = self.limbs - step.depth + 1;
            // Vectors exist while the node that they belong to is computed.
            let factors: BTreeMap<usize, NodeFactors> = match step.value {
                Value::Power(_) => BTreeMap::new(),
                Value::Node(node) => {
                    let used: BTreeSet<usize> = rows.iter().copied().collect();
                    used.into_par_iter().map(|i| (i, self.integers[i].at(ring, node, limbs))).collect()
                }
            };
            let sums: Vec<Sum<'_>> = match step.value {
                Value::Power(index) => (0..rows.len()).map(|i| self.power(index, &values, i)).collect(),
                Value::Node(node) if last && pairs => {
                    let half = rows.len() / 2;
                    let sum = |i: usize| self.node(node, &values, i, &factors[&rows[i]]);
                    (0..half).map(|i| with_imaginary(sum(i), sum(i + half))).collect()
                }
                Value::Node(node) => (0..rows.len()).map(|i| self.node(node, &values, i, &factors[&rows[i]])).collect(),
            };
            let out = match self.key {
                Some(key) if sums.iter().any(|s| !s.products.is_empty()) => bundle::relinearised_sums(ring, isa, &sums, limbs, key),
                _ => bundle::rescaled_sums(ring, isa, &sums, limbs),
            };
            drop(sums);
            if last {
                return out;
            }
            values.retain(|value, _| self.steps[at + 1..].iter().any(|later| later.reads.contains(value)));
            let needed = self.limbs - self.steps[at + 1].depth + 1;
            values.values_mut().flatten().for_each(|ct| ct.truncate(needed));
            values.insert(step.value, out.into_iter().map(Input::Owned).collect());
        }
        Vec::new()
    }

    /// `B_index` of ciphertext `i`.
    fn power<'c>(&self, index: usize, values: &'c BTreeMap<Value, Vec<Input<'_>>>, i: usize) -> Sum<'c> {
        let at = self.plan.powers().iter().position(|p| p.index == index).expect("a power of the plan");
        let [a, b] = self.plan.powers()[at].factors;
        let view = |k: usize| values[&Value::Power(k)][i].view();
        let product = |factor: f64| Product { left: view(a), right: view(b), factor, imaginary: false };
        let correction = self.corrections[at];
        match self.plan.basis() {
            Basis::Monomial => Sum { products: vec![product(1.0)], ..Sum::default() },
            Basis::Chebyshev if a == b => {
                let [factor, constant] = if index == 2 { self.shift } else { [0.0; 2] };
                let shifted = (factor != 0.0).then(|| Multiple { ct: view(1), factor: Factor::Number(factor), imaginary: false });
                let multiples = shifted.into_iter().collect();
                Sum { products: vec![product(2.0)], multiples, constant: [Factor::Number(correction + constant), Factor::default()] }
            }
            Basis::Chebyshev => {
                let multiple = Multiple { ct: view(a - b), factor: Factor::Number(correction), imaginary: false };
                Sum { products: vec![product(2.0)], multiples: vec![multiple], ..Sum::default() }
            }
        }
    }

    /// Node `node` of ciphertext `i`.
    fn node<'c>(&self, node: usize, values: &'c BTreeMap<Value, Vec<Input<'_>>>, i: usize, factors: &'c NodeFactors) -> Sum<'c> {
        let products = self.plan.nodes()[node].parts.iter().filter_map(|part| match part {
            Part::Product { node, basis } => Some(Product {
                left: values[&Value::Node(*node)][i].view(),
                right: values[&Value::Power(*basis)][i].view(),
                factor: 1.0,
                imaginary: false,
            }),
            Part::Term(_) => None,
        });
        let multiples = factors.terms.iter().map(|(k, factor)| Multiple {
            ct: values[&Value::Power(*k)][i].view(),
            factor: factor.view(),
            imaginary: false,
        });
        Sum { products: products.collect(), multiples: multiples.collect(), constant: [factors.constant.view(), Factor::default()] }
    }
}

/// `re + i im`.
fn with_imaginary<'a>(mut re: Sum<'a>, im: Sum<'a>) -> Sum<'a> {
    re.products.extend(im.products.into_iter().map(|p| Product { imaginary: true, ..p }));
    re.multiples.extend(im.multiples.into_iter().map(|t| Multiple { imaginary: true, ..t }));
    re.constant[1] = im.constant[0];
    re
}

/// The values of a plan in an order in which operands come first: by depth.
fn steps(plan: &Plan) -> Vec<Computation> {
    let powers = plan.powers().iter().map(|power| {
        let [a, b] = power.factors;
        let difference = if plan.basis() == Basis::Chebyshev { a - b } else { 0 };
        let reads = [a, b, difference].into_iter().filter(|&k| k > 0).map(Value::Power).collect();
        Computation { value: Value::Power(power.index), depth: power.depth, reads }
    });
    let nodes = plan.nodes().iter().enumerate().map(|(i, node)| {
        let mut reads = Vec::new();
        for part in &node.parts {
            match part {
                Part::Term(k) => reads.push(Value::Power(*k)),
                Part::Product { node, basis } => reads.extend([Value::Node(*node), Value::Power(*basis)]),
            }
        }
        Computation { value: Value::Node(i), depth: node.depth, reads }
    });
    let mut steps: Vec<Computation> = powers.chain(nodes).collect();
    steps.sort_by_key(|s| s.depth);
    steps
}

#[cfg(test)]
mod tests {
    use super::super::{Basis, EvalMod, EvalModOp, EvalModParams, Parity, eval_mod};
    use super::*;
    use crate::bundle::{PreparedKey, PreparedKeys, RELINEARISED};
    use crate::keys::{KeyTarget, SwitchingKey};
    use crate::ring::primes::ntt_primes_below;
    use crate::ring::{Gadget, Ring, RnsPoly};

    const GADGET: Gadget = Gadget { limbs: 11, alpha: 4 };

    /// A ring and a key of zeros: what is counted does not depend on residues.
    fn lab() -> (Ring, PreparedKeys) {
        let primes = ntt_primes_below(36, 6, GADGET.rows(), &[]).expect("primes");
        let (q, p) = primes.split_at(GADGET.limbs);
        let ring = Ring::new(6, q, p).expect("ring");
        let zero = || RnsPoly::new_zero(ring.n, GADGET.rows());
        let digits = (0..GADGET.digits()).map(|_| [zero(), zero()]).collect();
        let key = PreparedKey::new(&ring, SwitchingKey { gadget: GADGET, target: KeyTarget::Relinearization, digits });
        (ring, PreparedKeys::from_iter([key]))
    }

    /// Sums that `run` relinearises on two ciphertexts of `limbs` limbs.
    fn counted(ring: &Ring, limbs: usize, run: impl FnOnce(Vec<Input<'_>>)) -> usize {
        let ct = || Input::Owned([RnsPoly::new_zero(ring.n, limbs), RnsPoly::new_zero(ring.n, limbs)]);
        let before = RELINEARISED.get();
        run(vec![ct(), ct()]);
        RELINEARISED.get() - before
    }

    #[test]
    fn plans_count_what_evaluation_relinearises() {
        let (ring, keys) = lab();
        let scale = Scale::pow2(36);
        for degree in 1..=31 {
            for (basis, parity) in
                [Basis::Monomial, Basis::Chebyshev].iter().flat_map(|b| [Parity::Full, Parity::Even, Parity::Odd].map(|p| (*b, p)))
            {
                let Ok(plan) = Plan::new(degree, parity, basis) else { continue };
                let row: Vec<f64> = (0..=degree).map(|k| if parity.has(k) { 0.5 } else { 0.0 }).collect();
                let (rows, limbs) = ([Coefficients::Row(&row); 2], plan.depth() + 2);
                let op =
                    PolynomialOp { plan: &plan, coefficients: &rows, limbs, input_scale: &scale, output_scale: &scale, gadget: GADGET };
                let got = counted(&ring, limbs, |cts| _ = evaluate(&ring, Isa::detect(), cts, &op, &keys).expect("evaluated"));
                assert_eq!(got, 2 * plan.relinearisations(), "degree {degree}, {parity:?}, {basis:?}");
            }
        }
    }

    #[test]
    fn reductions_count_what_they_relinearise() {
        let (ring, keys) = lab();
        let cosine = Scale::pow2(36);
        let plain = EvalMod::new(EvalModParams { range: 12.5, degree: 14, doublings: 4 }).expect("parameters");
        for reduction in [plain, EvalMod::composite(12.5, 4).expect("parameters")] {
            let limbs = reduction.depth() + 2;
            let scale = reduction.input_scale(&ring.chain.q, limbs, &cosine);
            let op = EvalModOp { eval_mod: &reduction, limbs, input_scale: &scale, shift: true, cosine_scale: &cosine, gadget: GADGET };
            let got = counted(&ring, limbs, |cts| _ = eval_mod(&ring, Isa::detect(), cts, &op, &keys).expect("reduced"));
            assert_eq!(got, 2 * reduction.relinearisations());
        }
    }
}
