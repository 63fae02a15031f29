//! The slot transforms of a refresh with their scales, prepared for a ring.

use super::raise::raise;
use super::transform::{Diagonals, EncodedFactor, StoredDiagonals, apply};
use crate::bundle::{BundleError, Input, KeyProvider};
use crate::encode::Encoder;
use crate::ring::{Ring, RnsPoly};
use crate::scale::Scale;
use crate::simd::Isa;
use chiffre_params::bootstrap::{BootstrapSpec, SpecError, factor_share, slots_to_coeffs_scales};
use std::sync::{Arc, Mutex};

/// Input scales whose first factor is kept.
const KEPT_SCALES: usize = 8;

fn first_name(input_scale: f64) -> String {
    format!("first.{:016x}", input_scale.to_bits())
}

fn high_name(factor: usize) -> String {
    format!("high.{factor:02}")
}

fn low_name(factor: usize) -> String {
    format!("low.{factor:02}")
}

/// SlotsToCoeffs and the raise with CoeffsToSlots, for one spec and ring.
#[derive(Debug)]
pub struct Transforms {
    spec: BootstrapSpec,
    low: Vec<EncodedFactor>,
    /// Of all factors of SlotsToCoeffs but the first, which depends on the input scale.
    low_diagonals: Vec<Diagonals>,
    first: Mutex<Vec<(f64, Arc<Diagonals>)>>,
    high: Vec<(EncodedFactor, Diagonals)>,
    output_scale: Scale,
}

impl Transforms {
    /// Encodes all diagonals. The values that [`Self::raise`] returns are raised coefficients over
    /// `q0` and over `range`, at `output_scale`.
    ///
    /// # Errors
    /// [`SpecError`] if the spec contradicts itself or does not fit the ring.
    pub fn new(ring: &Ring, isa: Isa, encoder: &Encoder, spec: &BootstrapSpec, range: f64, output_scale: Scale) -> Result<Self, SpecError> {
        Self::with_stored(ring, isa, encoder, spec, range, output_scale, None)
    }

    /// As [`Self::new`], with the diagonals that are stored instead of encoding them anew.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_stored(
        ring: &Ring,
        isa: Isa,
        encoder: &Encoder,
        spec: &BootstrapSpec,
        range: f64,
        output_scale: Scale,
        mut stored: Option<&mut dyn StoredDiagonals>,
    ) -> Result<Self, SpecError> {
        spec.check()?;
        if spec.log_n != ring.log_n || spec.limbs > ring.q_count || spec.alpha > ring.p_count() {
            return Err(SpecError(format!(
                "a ring of degree 2^{} with {} Q and {} P primes for a plan of degree 2^{} with {} and {}",
                ring.log_n,
                ring.q_count,
                ring.p_count(),
                spec.log_n,
                spec.limbs,
                spec.alpha
            )));
        }
        // Diagonals that are not stored are encoded, each factor once.
        let factor = |plan| if stored.is_some() { EncodedFactor::later(plan) } else { EncodedFactor::new(encoder, plan) };
        let low: Vec<EncodedFactor> = spec.slots_to_coeffs_plans().into_iter().map(factor).collect();
        let high: Vec<EncodedFactor> = spec.coeffs_to_slots_plans().into_iter().map(factor).collect();
        let each = factor_share(&ring.chain, spec, range, &output_scale);
        let mut out = Self { spec: spec.clone(), low, low_diagonals: Vec::new(), first: Mutex::default(), high: Vec::new(), output_scale };
        let mut diagonals = |factor: &EncodedFactor, name: String, scale: f64| {
            let rows = factor.plan().limbs + factor.plan().gadget.alpha;
            let known = stored.as_mut().and_then(|s| factor.stored(ring, rows, &name, &mut **s));
            known.unwrap_or_else(|| factor.residues(ring, isa, scale, rows))
        };
        // All but the first, which depends on the operand.
        let scales = slots_to_coeffs_scales(&ring.chain, spec, 1.0);
        out.low_diagonals = (1..out.low.len()).map(|i| diagonals(&out.low[i], low_name(i), scales[i])).collect();
        for (i, factor) in high.into_iter().enumerate() {
            // The first factor is divided by the second special prime, each other one by the top
            // prime in use.
            let divisor = if i == 0 { ring.moduli[ring.q_count + 1] } else { ring.moduli[factor.plan().limbs - 1] };
            let residues = diagonals(&factor, high_name(i), each * divisor.q as f64);
            out.high.push((factor, residues));
        }
        Ok(out)
    }

    /// Shows all diagonals with their names, in the order of the names: rows of words of one
    /// length, as [`StoredDiagonals`] gives them back.
    pub fn visit_diagonals<E>(&self, mut visit: impl FnMut(&str, &[&[u64]]) -> Result<(), E>) -> Result<(), E> {
        let mut kept = self.first.lock().unwrap_or_else(|e| e.into_inner()).clone();
        kept.sort_by_key(|(scale, _)| scale.to_bits());
        let mut show = |name: String, d: &Diagonals| visit(&name, &d.rows().collect::<Vec<_>>());
        kept.iter().try_for_each(|(scale, d)| show(first_name(*scale), d))?;
        self.high.iter().enumerate().try_for_each(|(i, (_, d))| show(high_name(i), d))?;
        self.low_diagonals.iter().enumerate().try_for_each(|(i, d)| show(low_name(i + 1), d))
    }

    /// The plan.
    pub fn spec(&self) -> &BootstrapSpec {
        &self.spec
    }

    /// Scale of the values that [`Self::raise`] returns.
    pub fn output_scale(&self) -> &Scale {
        &self.output_scale
    }

    /// Bytes of all diagonals.
    pub fn bytes(&self) -> usize {
        self.low_diagonals.iter().chain(self.high.iter().map(|(_, d)| d)).map(Diagonals::bytes).sum()
    }

    /// Encodes the first factor of SlotsToCoeffs for an input scale, as [`Self::slots_to_coeffs`]
    /// takes it.
    pub fn prepare(&self, ring: &Ring, isa: Isa, input_scale: f64, stored: Option<&mut dyn StoredDiagonals>) {
        if let Some(stored) = stored {
            let plan = self.low[0].plan();
            let found = self.low[0].stored(ring, plan.limbs + plan.gadget.alpha, &first_name(input_scale), stored);
            let mut kept = self.first.lock().unwrap_or_else(|e| e.into_inner());
            if let Some(d) = found.filter(|_| kept.len() < KEPT_SCALES && kept.iter().all(|(scale, _)| *scale != input_scale)) {
                kept.push((input_scale, Arc::new(d)));
            }
        }
        let _ = self.first(ring, isa, input_scale);
    }

    /// The first factor for an input scale. It is encoded without the lock, for threads that work
    /// on it may turn to tasks that ask for it.
    fn first(&self, ring: &Ring, isa: Isa, input_scale: f64) -> Arc<Diagonals> {
        let kept = || self.first.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((_, diagonals)) = kept().iter().find(|(scale, _)| *scale == input_scale) {
            return diagonals.clone();
        }
        let plan = self.low[0].plan();
        let scale = slots_to_coeffs_scales(&ring.chain, &self.spec, input_scale)[0];
        let diagonals = Arc::new(self.low[0].residues(ring, isa, scale, plan.limbs + plan.gadget.alpha));
        let mut kept = kept();
        if let Some((_, found)) = kept.iter().find(|(scale, _)| *scale == input_scale) {
            return found.clone();
        }
        if kept.len() == KEPT_SCALES {
            kept.remove(0);
        }
        kept.push((input_scale, diagonals.clone()));
        diagonals
    }

    /// SlotsToCoeffs: slots `z`, of which the integers `input_scale z` are encrypted, become
    /// coefficients `q0 z / (2 pi)` modulo `q0`, real parts in the first half and imaginary parts
    /// in the second, each in bit-reversed order.
    ///
    /// # Errors
    /// A missing key, or inputs that are too short.
    pub fn slots_to_coeffs(
        &self,
        ring: &Ring,
        isa: Isa,
        inputs: Vec<Input<'_>>,
        input_scale: f64,
        keys: &dyn KeyProvider,
    ) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
        let first = self.first(ring, isa, input_scale);
        let mut group = apply(ring, isa, inputs, self.low[0].plan(), &first, keys)?;
        for (factor, diagonals) in self.low[1..].iter().zip(&self.low_diagonals) {
            group = apply(ring, isa, group.into_iter().map(Input::Owned).collect(), factor.plan(), diagonals, keys)?;
        }
        Ok(group)
    }

    /// Raises one-limb ciphertexts and undoes the order of [`Self::slots_to_coeffs`]: slots
    /// `(u_k + i u_(k+N/2)) / range` for raised coefficients `q0 u_k`, at [`Self::output_scale`].
    ///
    /// # Errors
    /// A missing key, or inputs that are too short.
    pub fn raise(
        &self,
        ring: &Ring,
        isa: Isa,
        inputs: Vec<[RnsPoly; 2]>,
        keys: &dyn KeyProvider,
    ) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
        let (factor, diagonals) = &self.high[0];
        let mut group = raise(ring, isa, inputs, factor.plan(), diagonals, keys)?;
        for (factor, diagonals) in &self.high[1..] {
            group = apply(ring, isa, group.into_iter().map(Input::Owned).collect(), factor.plan(), diagonals, keys)?;
        }
        Ok(group)
    }
}
