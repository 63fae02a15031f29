//! The whole refresh.

use super::error::BootstrapError;
use super::stages::Transforms;
use super::transform::StoredDiagonals;
use crate::bundle::{CtRef, Input, KeyProvider, check_inputs};
use crate::encode::Encoder;
use crate::polynomial::{
    Basis, Coefficients, EvalMod, EvalModOp, Parity, Plan, PolynomialError, PolynomialOp, chebyshev_interpolation, combine, eval_mod,
    evaluate, evaluate_halves, split,
};
use crate::ring::{Ring, RnsPoly};
use crate::scale::Scale;
use crate::simd::Isa;
use chiffre_params::bootstrap::{BootstrapSpec, Scales};
use rayon::prelude::*;
use std::f64::consts::TAU;
use std::ops::Range;

/// Ciphertexts in work at a time, unless [`Bootstrapper::with_group`] says otherwise.
pub const DEFAULT_GROUP: usize = 4;
/// Fewest ciphertexts that a thread of its own refreshes: those that are alone read all keys for
/// themselves.
const LEAST_PART: usize = 2;

/// Cuts a group into parts of about equal size, one for each thread if they are large enough. A
/// thread that works on ciphertexts of its own need not wait for others at each limb.
fn parts(group: usize, threads: usize) -> Vec<Range<usize>> {
    let count = (group / LEAST_PART).clamp(1, threads.max(1));
    (0..count).map(|i| i * group / count..(i + 1) * group / count).collect()
}

/// A polynomial that follows the sine.
#[derive(Clone, Copy, Debug)]
pub struct Activation<'a> {
    /// How it is evaluated.
    pub plan: &'a Plan,
    /// For each ciphertext, for both of its halves.
    pub coefficients: &'a [Coefficients<'a>],
}

/// What a refresh computes: for slots `z = a + ib` and `v = radians z` the slots
/// `p(sin Re v) + i p(sin Im v)`.
#[derive(Clone, Copy, Debug)]
pub struct RefreshOp<'a> {
    /// Scale of the inputs.
    pub input_scale: &'a Scale,
    /// Radians of the sine for a slot of 1. Beyond pi/2 the sine folds back; integers are lost
    /// beyond pi.
    pub radians: f64,
    /// The polynomial; without one results are the sines themselves.
    pub activation: Option<Activation<'a>>,
    /// Scale of the results behind a polynomial. Without one see [`Bootstrapper::sine_scale`].
    pub output_scale: &'a Scale,
}

/// A bootstrap that returns the slots it was given.
#[derive(Clone, Copy, Debug)]
pub struct BootstrapOp<'a> {
    /// Scale of the inputs.
    pub input_scale: &'a Scale,
    /// The message ratio, `q0` over the scale before the raise, above 4: noise grows with it, and
    /// without correction the error of the sine, `(2 pi / ratio)^2 / 6` of a slot at the end of its
    /// range, falls with its square.
    pub ratio: f64,
    /// From the sine to the angle.
    pub correction: &'a Arcsine,
    /// Scale of the results.
    pub output_scale: &'a Scale,
}

/// A spec prepared for a ring: encoded diagonals and the polynomial of the modular reduction.
#[derive(Debug)]
pub struct Bootstrapper {
    transforms: Transforms,
    scales: Scales,
    group: usize,
}

impl Bootstrapper {
    /// Prepares a spec.
    ///
    /// # Errors
    /// [`BootstrapError::Spec`] if the spec contradicts itself or does not fit the ring.
    pub fn new(ring: &Ring, isa: Isa, encoder: &Encoder, spec: &BootstrapSpec) -> Result<Self, BootstrapError> {
        Self::with_stored(ring, isa, encoder, spec, None)
    }

    /// As [`Self::new`], with the diagonals that are stored ([`Transforms::visit_diagonals`])
    /// instead of encoding them anew.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_stored(
        ring: &Ring,
        isa: Isa,
        encoder: &Encoder,
        spec: &BootstrapSpec,
        stored: Option<&mut dyn StoredDiagonals>,
    ) -> Result<Self, BootstrapError> {
        let scales = Scales::new(&ring.chain, spec)?;
        let range = scales.reduction.params().range;
        let transforms = Transforms::with_stored(ring, isa, encoder, spec, range, scales.transforms.clone(), stored)?;
        Ok(Self { transforms, scales, group: DEFAULT_GROUP })
    }

    /// The same with another number of ciphertexts in work at a time. Temporaries, up to about 60
    /// limbs for each, exist for so many. They are shared out among the threads; keys and diagonals
    /// are read once for the share of a thread.
    ///
    /// # Panics
    /// If `group` is 0.
    #[must_use]
    pub fn with_group(mut self, group: usize) -> Self {
        assert!(group > 0);
        self.group = group;
        self
    }

    /// Takes from `stored`, or encodes, what depends on the operands' scale, which otherwise the
    /// first refresh at that scale does; a few scales are kept.
    pub fn prepare(&self, ring: &Ring, isa: Isa, input_scale: &Scale, radians: f64, stored: Option<&mut dyn StoredDiagonals>) {
        self.transforms.prepare(ring, isa, input_scale.to_f64() / radians, stored);
    }

    /// The plan.
    pub fn spec(&self) -> &BootstrapSpec {
        self.transforms.spec()
    }

    /// The slot transforms.
    pub fn transforms(&self) -> &Transforms {
        &self.transforms
    }

    /// The modular reduction.
    pub fn reduction(&self) -> &EvalMod {
        &self.scales.reduction
    }

    /// Of the spec over this ring's chain: see [`Scales::predicted_noise`].
    pub fn predicted_noise(&self, ring: &Ring, radians: f64) -> f64 {
        self.scales.predicted_noise(&ring.chain, self.spec(), radians)
    }

    /// Scale of the sines: of results without a polynomial, and of its argument.
    pub fn sine_scale(&self) -> &Scale {
        &self.scales.sine
    }

    /// Refreshes ciphertexts of which [`BootstrapSpec::limbs_in`] limbs are used: see
    /// [`RefreshOp`]. Results have [`BootstrapSpec::limbs_activation`] limbs less the depth of the
    /// polynomial.
    ///
    /// A slot whose raised coefficient leaves the range (see [`BootstrapSpec::log2_failure`]) is
    /// wrong.
    ///
    /// # Errors
    /// Any [`BootstrapError`]: a missing key, inputs that are too short, too few limbs for the
    /// polynomial.
    pub fn refresh(
        &self,
        ring: &Ring,
        isa: Isa,
        inputs: Vec<Input<'_>>,
        op: &RefreshOp<'_>,
        keys: &dyn KeyProvider,
    ) -> Result<Vec<[RnsPoly; 2]>, BootstrapError> {
        check_inputs(ring.n, &inputs, self.spec().limbs_in())?;
        if let Some(Activation { coefficients, .. }) = op.activation
            && coefficients.len() != inputs.len()
        {
            return Err(BootstrapError::Rows { rows: coefficients.len(), ciphertexts: inputs.len() });
        }
        // Encoded before threads ask for it together.
        self.prepare(ring, isa, op.input_scale, op.radians, None);
        let mut out = Vec::with_capacity(inputs.len());
        let mut inputs = inputs.into_iter();
        while inputs.len() > 0 {
            let parts: Vec<_> = parts(inputs.len().min(self.group), rayon::current_num_threads())
                .into_iter()
                .map(|part| (out.len() + part.start..out.len() + part.end, inputs.by_ref().take(part.len()).collect()))
                .collect();
            let done: Result<Vec<_>, BootstrapError> =
                parts.into_par_iter().with_max_len(1).map(|(rows, part)| self.refresh_part(ring, isa, part, op, rows, keys)).collect();
            out.extend(done?.into_iter().flatten());
        }
        Ok(out)
    }

    /// Refreshes ciphertexts together; `rows` are their rows of coefficients.
    fn refresh_part(
        &self,
        ring: &Ring,
        isa: Isa,
        inputs: Vec<Input<'_>>,
        op: &RefreshOp<'_>,
        rows: Range<usize>,
        keys: &dyn KeyProvider,
    ) -> Result<Vec<[RnsPoly; 2]>, BootstrapError> {
        let low = self.transforms.slots_to_coeffs(ring, isa, inputs, op.input_scale.to_f64() / op.radians, keys)?;
        let raised = self.transforms.raise(ring, isa, low, keys)?;
        let [re, im] = self.sines(ring, isa, raised, keys)?;
        self.finish(ring, isa, [re, im], op, rows, keys)
    }

    /// The sines of the real and of the imaginary parts (or of the former alone) of raised values,
    /// at [`Self::sine_scale`].
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub fn sines(
        &self,
        ring: &Ring,
        isa: Isa,
        raised: Vec<[RnsPoly; 2]>,
        keys: &dyn KeyProvider,
    ) -> Result<[Vec<Input<'static>>; 2], BootstrapError> {
        let spec = self.spec();
        let (limbs, gadget) = (spec.limbs_reduction(), spec.reduction_gadget());
        let views: Vec<CtRef<'_>> = raised.iter().map(CtRef::from).collect();
        let [re, im] = split(ring, isa, &views, limbs, keys, gadget)?;
        let count = raised.len();
        drop(raised);
        let halves: Vec<Input<'_>> = match spec.real_only {
            true => re.into_iter().map(Input::Owned).collect(),
            false => re.into_iter().chain(im).map(Input::Owned).collect(),
        };
        let op = EvalModOp {
            eval_mod: &self.scales.reduction,
            limbs,
            input_scale: &self.scales.input,
            shift: true,
            cosine_scale: &self.scales.cosine,
            gadget,
        };
        let (sines, _) = eval_mod(ring, isa, halves, &op, keys)?;
        let mut re: Vec<Input<'_>> = sines.into_iter().map(Input::Owned).collect();
        let im = re.split_off(count);
        Ok([re, im])
    }

    /// The polynomial and the way back to complex slots, from what [`Self::sines`] returns; `rows`
    /// are the ciphertexts' rows of coefficients.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub fn finish(
        &self,
        ring: &Ring,
        isa: Isa,
        [re, im]: [Vec<Input<'_>>; 2],
        op: &RefreshOp<'_>,
        rows: Range<usize>,
        keys: &dyn KeyProvider,
    ) -> Result<Vec<[RnsPoly; 2]>, BootstrapError> {
        let spec = self.spec();
        let limbs = spec.limbs_activation();
        let Some(Activation { plan, coefficients }) = op.activation else {
            if spec.real_only {
                let own = |input| match input {
                    Input::Owned(pair) => pair,
                    Input::Borrowed(ct) => [ct.c0.clone(), ct.c1.clone()],
                };
                return Ok(re.into_iter().map(own).collect());
            }
            let halves: Vec<[CtRef<'_>; 2]> = re.iter().zip(&im).map(|(re, im)| [re.view(), im.view()]).collect();
            return Ok(combine(ring, isa, &halves, limbs));
        };
        let polynomial = PolynomialOp {
            plan,
            coefficients: &coefficients[rows],
            limbs,
            input_scale: &self.scales.sine,
            output_scale: op.output_scale,
            gadget: spec.reduction_gadget(),
        };
        let out = match spec.real_only {
            true => evaluate(ring, isa, re, &polynomial, keys),
            false => evaluate_halves(ring, isa, re, im, &polynomial, keys),
        };
        Ok(out?)
    }

    /// Bootstraps ciphertexts whose slots have real and imaginary parts in [-1, 1]: the same slots,
    /// with [`BootstrapSpec::limbs_activation`] limbs less the depth of the correction.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub fn bootstrap(
        &self,
        ring: &Ring,
        isa: Isa,
        inputs: Vec<Input<'_>>,
        op: &BootstrapOp<'_>,
        keys: &dyn KeyProvider,
    ) -> Result<Vec<[RnsPoly; 2]>, BootstrapError> {
        let coefficients = op.correction.coefficients(op.ratio);
        let rows = vec![Coefficients::Row(&coefficients); inputs.len()];
        let refresh = RefreshOp {
            input_scale: op.input_scale,
            radians: TAU / op.ratio,
            activation: Some(Activation { plan: &op.correction.plan, coefficients: &rows }),
            output_scale: op.output_scale,
        };
        self.refresh(ring, isa, inputs, &refresh, keys)
    }
}

/// From the sine back to the angle: an odd polynomial, of degree 1 without correction.
#[derive(Clone, Debug)]
pub struct Arcsine {
    plan: Plan,
}

impl Arcsine {
    /// A polynomial of odd degree.
    ///
    /// # Errors
    /// [`BootstrapError::Polynomial`] for an even degree.
    pub fn new(degree: usize) -> Result<Self, BootstrapError> {
        Ok(Self { plan: Plan::new(degree, Parity::Odd, Basis::Monomial).map_err(PolynomialError::from)? })
    }

    /// Levels that it takes.
    pub fn depth(&self) -> usize {
        self.plan.depth()
    }

    /// Monomial coefficients of `ratio / (2 pi) arcsin y` for `|y| <= sin(2 pi / ratio)`: its
    /// interpolation on that interval.
    pub fn coefficients(&self, ratio: f64) -> Vec<f64> {
        let (degree, gain) = (self.plan.degree(), ratio / TAU);
        if degree == 1 {
            return vec![0.0, gain];
        }
        let top = (1.0 / gain).min(TAU / 4.0).sin();
        let chebyshev = chebyshev_interpolation(degree, |t| gain * (top * t).asin());
        // T_k by its monomials, T_(k+1) = 2 t T_k - T_(k-1).
        let mut out = vec![0.0; degree + 1];
        let (mut last, mut this) = (vec![0.0; degree + 2], vec![0.0; degree + 2]);
        (last[0], this[1]) = (1.0, 1.0);
        for &c in chebyshev.iter().skip(1) {
            out.iter_mut().zip(&this).for_each(|(out, t)| *out += c * t);
            let next = (0..degree + 2).map(|k| if k > 0 { 2.0 * this[k - 1] } else { 0.0 } - last[k]).collect();
            last = std::mem::replace(&mut this, next);
        }
        out.iter().enumerate().map(|(k, c)| if k % 2 == 1 { c / top.powi(k as i32) } else { 0.0 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_group_and_are_not_too_small() {
        let ends = |group, threads| parts(group, threads).iter().map(|p| [p.start, p.end]).collect::<Vec<_>>();
        assert_eq!((ends(8, 1), ends(8, 2)), (vec![[0, 8]], vec![[0, 4], [4, 8]]));
        assert_eq!((ends(7, 2), ends(3, 2), ends(1, 4)), (vec![[0, 3], [3, 7]], vec![[0, 3]], vec![[0, 1]]));
        assert_eq!(parts(8, 16).len(), 4);
    }
}
