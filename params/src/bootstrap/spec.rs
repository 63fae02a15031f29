//! The plan of a refresh.

use super::factor::{Direction, FactorPlan};
use super::failure::{log2_any, log2_tail, smallest_range, sure_range};
use crate::gadget::Gadget;
use crate::galois::Galois;
use crate::keys::KeyTarget;
use crate::polynomial::{COMPOSITE_DEGREE, COMPOSITE_DEPTH, EvalMod, EvalModParams, MAX_DEGREE, PlanError, series_depth};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::f64::consts::TAU;

/// Shape of the key to the sparse secret: one limb, one special prime.
pub const DENSE_TO_SPARSE: Gadget = Gadget { limbs: 1, alpha: 1 };

/// Special primes of the keys back: one against their noise, one for the rescale of the first
/// factor.
pub const RAISE_SPECIALS: usize = 2;

/// Hamming weight of ephemeral secrets unless another one is asked for.
const EPHEMERAL_WEIGHT: usize = 32;
/// Bits of the sine that its cosine's series must have there: fewer than the noise at primes of 36
/// bits leaves.
const SINE_BITS: f64 = 12.0;
/// Most doublings behind a composition. Each of them amplifies its noise, which is four times that
/// of a series and, at primes of 36 bits, 2^-11 of a radian behind four.
const COMPOSITE_DOUBLINGS: usize = 4;
/// More limbs than any chain has room for at the degrees for which there are bounds of ephemeral
/// secrets.
const MOST_LIMBS: usize = 64;
/// Largest range of a reduction.
const MAX_RANGE: usize = 1 << 12;

/// Largest angle for which the noise of a program's refreshes is predicted, radians: that of a
/// calibrated range with its margin of 1.2.
pub const CALIBRATED_RADIANS: f64 = 1.06;
/// Standard deviation of the error of an angle that fits allow for, and that the accuracy in a
/// program's certificate was simulated with, radians. That of a refresh itself is a small part of
/// it.
pub const SIMULATED_RADIANS: f64 = 1.27 / 512.0;

/// One factor of a slot transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorSpec {
    /// Stages of the transform that are multiplied out; `2^log_radix` or `2^(log_radix + 1) - 1`
    /// diagonals.
    pub log_radix: u32,
    /// Hoisted rotations, a power of two: more of them are faster and need more keys. Ignored for
    /// the first factor of CoeffsToSlots, whose rotations are all hoisted.
    pub babies: usize,
}

/// Parameters of a refresh, and everything that follows from them alone.
///
/// A refresh takes a ciphertext with `limbs_in` limbs through SlotsToCoeffs (one level for each
/// factor, to one limb), raises it to `limbs` limbs, and spends a level for each factor of
/// CoeffsToSlots but the first (that one divides by a special prime), then those of the modular
/// reduction and of the activation polynomial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapSpec {
    /// Binary logarithm of the ring degree.
    pub log_n: u32,
    /// Q limbs after raising.
    pub limbs: usize,
    /// Special primes of the keys above: rotations, conjugation, relinearisation.
    pub alpha: usize,
    /// Special primes of the rotation keys of SlotsToCoeffs.
    pub low_alpha: usize,
    /// Factors of SlotsToCoeffs in the order of their application.
    pub slots_to_coeffs: Vec<FactorSpec>,
    /// Factors of CoeffsToSlots in the order of their application.
    pub coeffs_to_slots: Vec<FactorSpec>,
    /// `K`: the reduction is right for raised coefficients up to `K - 1/2` times the bottom prime.
    pub range: usize,
    /// Degree of the cosine, even. Degree 16 is evaluated as a composition
    /// ([`EvalMod::composite`]), which takes a product less than degree 14 and loses about two bits
    /// of precision.
    pub degree: usize,
    /// Doublings of the angle.
    pub doublings: usize,
    /// Hamming weight of the ephemeral secret.
    pub weight: usize,
    /// Only the real parts of the slots are kept: half of the reductions.
    pub real_only: bool,
}

/// What is asked of a bootstrap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BootstrapWish {
    /// Hamming weight of the ephemeral secret, at most half of the ring degree. The range of the
    /// reduction follows from it.
    pub weight: usize,
    /// log2 of the probability with which any value of a run may be wrong, where a smaller range
    /// makes the reduction cheaper. Without it, and where it does not, no value can be.
    pub log2_failure: Option<f64>,
}

impl Default for BootstrapWish {
    fn default() -> Self {
        Self { weight: EPHEMERAL_WEIGHT, log2_failure: None }
    }
}

/// What a spec contradicts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bootstrapping parameters: {0}")]
pub struct SpecError(pub String);

impl BootstrapSpec {
    /// The set for ReLU networks at `N = 2^15`: complex slots, degree 7 behind it leaves three
    /// limbs.
    pub fn relu_15() -> Self {
        let factor = |log_radix, babies| FactorSpec { log_radix, babies };
        Self {
            log_n: 15,
            limbs: 17,
            alpha: 7,
            low_alpha: 2,
            slots_to_coeffs: vec![factor(7, 32), factor(7, 32)],
            coeffs_to_slots: vec![factor(5, 32), factor(3, 8), factor(3, 8), factor(3, 8)],
            range: 17,
            degree: COMPOSITE_DEGREE,
            doublings: 4,
            weight: 32,
            real_only: false,
        }
    }

    /// The plan for a ring and a run of `ciphertexts` refreshes of complex slots, from `limbs_in`
    /// limbs on. It has the fewest limbs and special primes that there are: see
    /// [`Self::with_keys`].
    ///
    /// # Errors
    /// [`SpecError`] if the ring is too small or too large, if `limbs_in` is below 2, or if there
    /// is no such reduction.
    pub fn for_wish(log_n: u32, limbs_in: usize, ciphertexts: f64, wish: &BootstrapWish) -> Result<Self, SpecError> {
        if !(9..=17).contains(&log_n) || !(2..=log_n as usize).contains(&limbs_in) {
            return Err(SpecError(format!("a refresh from {limbs_in} limbs at a ring degree of 2^{log_n}")));
        }
        let slots = log_n - 1;
        // SlotsToCoeffs has as many factors as there are primes to drop; CoeffsToSlots has four,
        // the first of which costs no level.
        let split = |stages: u32, parts: u32| (0..parts).map(move |i| stages / parts + u32::from(i < stages % parts));
        let factor = |most: usize| move |log_radix: u32| FactorSpec { log_radix, babies: most.min(2 << log_radix) };
        let first = 5.min(slots - 3);
        let slots_to_coeffs = split(slots, limbs_in as u32 - 1).map(factor(32)).collect();
        let others = split(slots - first, 3).map(factor(8));
        let coeffs_to_slots = std::iter::once(FactorSpec { log_radix: first, babies: 1 << first }).chain(others).collect();
        let spec = Self {
            log_n,
            limbs: MOST_LIMBS,
            alpha: RAISE_SPECIALS,
            low_alpha: 1,
            slots_to_coeffs,
            coeffs_to_slots,
            range: 1,
            degree: COMPOSITE_DEGREE,
            doublings: 4,
            weight: wish.weight,
            real_only: false,
        };
        let spec = spec.with_reduction(ciphertexts, wish.log2_failure, SINE_BITS)?;
        Ok(Self { limbs: spec.least_limbs(), ..spec })
    }

    /// The same with `limbs` limbs after raising, and as many special primes in its keys.
    #[must_use]
    pub fn with_keys(self, limbs: usize, alpha: usize, low_alpha: usize) -> Self {
        Self { limbs, alpha, low_alpha, ..self }
    }

    /// The same with a range that no value can leave and the cheapest reduction for it, whose own
    /// error is below `2^-bits` for nearly all values. With `log2_failure`, the smallest range that
    /// keeps all values of `ciphertexts` refreshes right except with that probability, if its
    /// reduction is cheaper. A deeper reduction takes its levels from the results: see
    /// [`Self::limbs_activation`].
    ///
    /// # Errors
    /// [`SpecError`] if there is no such reduction, or if it is too deep.
    pub fn with_reduction(mut self, ciphertexts: f64, log2_failure: Option<f64>, bits: f64) -> Result<Self, SpecError> {
        self.check_weight()?;
        // Beyond four standard deviations integer parts are too rare to count.
        let typical = (4.0 * ((self.weight + 1) as f64 / 12.0).sqrt()).ceil() as usize;
        let found = |range| cheapest_reduction(range, typical, bits).map(|r| (r, range));
        let sure = found(sure_range(self.weight));
        let risky = log2_failure.and_then(|bound| found(smallest_range(self.weight, self.log_n, ciphertexts, bound)));
        let cheaper = risky.filter(|(r, _)| sure.is_none_or(|(s, _)| (r.depth, r.relinearisations) < (s.depth, s.relinearisations)));
        let none = || SpecError(format!("no reduction with {bits} bits for an ephemeral secret of weight {}", self.weight));
        let (reduction, range) = cheaper.or(sure).ok_or_else(none)?;
        (self.range, self.degree, self.doublings) = (range, reduction.degree, reduction.doublings);
        self.check()?;
        Ok(self)
    }

    fn check_weight(&self) -> Result<(), SpecError> {
        let most = 1usize << self.log_n.saturating_sub(1).min(31);
        if (1..=most).contains(&self.weight) {
            return Ok(());
        }
        Err(SpecError(format!("an ephemeral secret of weight {}, where 1 to {most} are possible", self.weight)))
    }

    /// Checks the numbers against each other.
    ///
    /// # Errors
    /// [`SpecError`] with the first contradiction.
    pub fn check(&self) -> Result<(), SpecError> {
        let fail = |message: String| Err(SpecError(message));
        if !(5..=17).contains(&self.log_n) {
            return fail(format!("a ring degree of 2^{}", self.log_n));
        }
        let slots = self.log_n - 1;
        for (name, factors) in [("SlotsToCoeffs", &self.slots_to_coeffs), ("CoeffsToSlots", &self.coeffs_to_slots)] {
            let sum: u32 = factors.iter().map(|f| f.log_radix).sum();
            if sum != slots || factors.iter().any(|f| f.log_radix == 0 || f.log_radix > 10) {
                return fail(format!("the factors of {name} have {sum} stages in steps of 1 to 10, not {slots}"));
            }
            if factors.iter().any(|f| !f.babies.is_power_of_two() || f.babies > 1 << self.log_n) {
                return fail(format!("a factor of {name} has a number of hoisted rotations that is not a power of two up to the degree"));
            }
        }
        if self.range == 0
            || self.range > MAX_RANGE
            || self.doublings > 16
            || !(2..=MAX_DEGREE).contains(&self.degree)
            || self.degree % 2 == 1
        {
            return fail(format!("range {}, degree {}, {} doublings", self.range, self.degree, self.doublings));
        }
        self.check_weight()?;
        if self.limbs < self.least_limbs() {
            return fail(format!("{} limbs are too few", self.limbs));
        }
        if self.alpha < RAISE_SPECIALS || self.low_alpha == 0 || self.low_alpha > self.alpha {
            return fail(format!("{} and {} special primes", self.alpha, self.low_alpha));
        }
        self.reduction()?;
        Ok(())
    }

    /// Limbs of the input: one, and one for each factor of SlotsToCoeffs.
    pub fn limbs_in(&self) -> usize {
        1 + self.slots_to_coeffs.len()
    }

    /// The fewest limbs after raising: one is left behind the reduction.
    fn least_limbs(&self) -> usize {
        self.limbs_in().max(self.levels() + 1)
    }

    /// Levels between the raised modulus and the sines: those of CoeffsToSlots, of which the first
    /// factor takes none, and of the reduction.
    pub fn levels(&self) -> usize {
        (self.coeffs_to_slots.len() - 1) + self.reduction_depth()
    }

    /// Limbs of the raised modulus for a polynomial of `depth` levels that is to leave `limbs`
    /// limbs.
    pub fn raised(&self, limbs: usize, depth: usize) -> usize {
        limbs + depth + self.levels()
    }

    /// Limbs when the values are back in the slots.
    pub fn limbs_reduction(&self) -> usize {
        self.limbs + 1 - self.coeffs_to_slots.len()
    }

    /// The modular reduction: arguments `u - 1/4` for integer parts up to `K - 1` and messages up
    /// to half an integer.
    ///
    /// # Errors
    /// [`SpecError`] for parameters that it refuses.
    pub fn reduction(&self) -> Result<EvalMod, SpecError> {
        reduction(self.range, self.degree, self.doublings).map_err(|e| SpecError(e.to_string()))
    }

    /// Levels of the modular reduction.
    pub fn reduction_depth(&self) -> usize {
        reduction_depth(self.degree, self.doublings)
    }

    /// Limbs before the activation polynomial, which are those of a bootstrap without one.
    pub fn limbs_activation(&self) -> usize {
        self.limbs_reduction() - self.reduction_depth()
    }

    /// Limbs of a result behind an activation polynomial of some degree (0 or 1: none); `None` if
    /// there are too few.
    pub fn limbs_out(&self, degree: usize) -> Option<usize> {
        let depth = if degree < 2 { 0 } else { series_depth(degree) };
        self.limbs_activation().checked_sub(depth).filter(|&limbs| limbs > 0)
    }

    /// Shape of the rotation keys of SlotsToCoeffs.
    pub fn low_gadget(&self) -> Gadget {
        Gadget { limbs: self.limbs_in(), alpha: self.low_alpha }
    }

    /// Shape of the keys from the sparse secret.
    pub fn raise_gadget(&self) -> Gadget {
        Gadget { limbs: self.limbs, alpha: RAISE_SPECIALS }
    }

    /// Shape of the conjugation and relinearisation keys.
    pub fn reduction_gadget(&self) -> Gadget {
        Gadget { limbs: self.limbs_reduction(), alpha: self.alpha }
    }

    /// Plans of the factors of SlotsToCoeffs.
    pub fn slots_to_coeffs_plans(&self) -> Vec<FactorPlan> {
        let mut at = 0;
        let factors = self.slots_to_coeffs.iter().enumerate().map(|(i, f)| {
            let stages = at..at + f.log_radix;
            at = stages.end;
            let limbs = self.limbs_in() - i;
            FactorPlan::new(Direction::SlotsToCoeffs, stages, self.log_n - 1, f.babies, limbs, self.low_gadget())
        });
        factors.collect()
    }

    /// Plans of the factors of CoeffsToSlots. The first, which goes with the raise, has all
    /// rotations hoisted.
    pub fn coeffs_to_slots_plans(&self) -> Vec<FactorPlan> {
        let mut at = self.log_n - 1;
        let factors = self.coeffs_to_slots.iter().enumerate().map(|(i, f)| {
            let stages = at - f.log_radix..at;
            at = stages.start;
            let limbs = self.limbs - i.saturating_sub(1);
            let (babies, gadget) = match i {
                0 => (1 << f.log_radix, self.raise_gadget()),
                _ => (f.babies, Gadget { limbs, alpha: self.alpha }),
            };
            FactorPlan::new(Direction::CoeffsToSlots, stages, self.log_n - 1, babies, limbs, gadget)
        });
        factors.collect()
    }

    /// All keys of a refresh, in order and each once.
    pub fn keys(&self) -> Vec<(KeyTarget, Gadget)> {
        let mut keys = BTreeSet::from([
            (KeyTarget::DenseToSparse, DENSE_TO_SPARSE),
            (KeyTarget::Relinearization, self.reduction_gadget()),
            (Galois::conjugation(self.log_n).into(), self.reduction_gadget()),
        ]);
        let rotation = |r| Galois::rotation(r, self.log_n);
        for plan in self.slots_to_coeffs_plans() {
            keys.extend(plan.rotations().map(|r| (rotation(r).into(), plan.gadget)));
        }
        for (i, plan) in self.coeffs_to_slots_plans().into_iter().enumerate() {
            match i {
                0 => keys.extend(plan.babies.iter().map(|&r| (KeyTarget::SparseToDense(rotation(r)), plan.gadget))),
                _ => keys.extend(plan.rotations().map(|r| (rotation(r).into(), plan.gadget))),
            }
        }
        keys.into_iter().collect()
    }

    /// Bytes of all keys in full; seeded keys have half of them.
    pub fn key_bytes(&self) -> usize {
        self.keys().into_iter().map(|(target, gadget)| target.key_bytes(gadget, 1 << self.log_n)).sum()
    }

    /// Bytes of the encoded diagonals.
    pub fn diagonal_bytes(&self) -> usize {
        let plans = self.slots_to_coeffs_plans().into_iter().chain(self.coeffs_to_slots_plans());
        plans.map(|p| p.diagonal_bytes(p.limbs + p.gadget.alpha)).sum()
    }

    /// `log2` of the probability that a coefficient leaves the range, negative infinity where none
    /// can. The value of its slot is wrong then, by no more than the range of the sine.
    pub fn log2_failure(&self) -> f64 {
        log2_tail(self.weight, self.range as f64 - 0.5)
    }

    /// `log2` of the probability that any value of so many refreshed ciphertexts is wrong, negative
    /// infinity where none can be.
    pub fn log2_failure_of_run(&self, ciphertexts: f64) -> f64 {
        log2_any(self.log2_failure(), ciphertexts * 2f64.powi(self.log_n as i32))
    }
}

/// Levels of a modular reduction by a cosine of degree `degree`, even, and doublings: those of
/// [`BootstrapSpec::reduction`], for any range.
pub fn reduction_depth(degree: usize, doublings: usize) -> usize {
    let cosine = if degree == COMPOSITE_DEGREE { COMPOSITE_DEPTH } else { series_depth(degree) };
    cosine + doublings
}

fn reduction(range: usize, degree: usize, doublings: usize) -> Result<EvalMod, PlanError> {
    let range = range as f64 - 0.25;
    match degree {
        COMPOSITE_DEGREE => EvalMod::composite(range, doublings),
        _ => EvalMod::new(EvalModParams { range, degree, doublings }),
    }
}

/// A modular reduction by the cosine of a degree, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reduction {
    depth: usize,
    relinearisations: usize,
    degree: usize,
    doublings: usize,
}

/// The reduction for a range: of least depth, then with the fewest relinearisations, such that the
/// interpolated sine is within `2^-bits` of the true one wherever integer parts are at most
/// `typical` and messages within a sixth of an integer, and within eight times that at messages of
/// up to half an integer, where few of the searched angles are. Rare integer parts beyond `typical`
/// have larger errors, up to an eighth. `None` if no degree up to 62 with 2 to 6 doublings will do.
fn cheapest_reduction(range: usize, typical: usize, bits: f64) -> Option<Reduction> {
    let good = |r: &EvalMod| {
        let error = |u: f64| (r.evaluate_clear(u) - (TAU * u).sin()).abs();
        let worst = |i: isize, most: i32| (-most..=most).map(|j| error(i as f64 + f64::from(j) / 24.0)).fold(0.0, f64::max);
        let (top, all) = (typical.min(range - 1) as isize, range as isize - 1);
        // The ends are the worst as a rule.
        let bounded = || (0..=all).rev().all(|i| worst(-i, 12).max(worst(i, 12)) < 0.125);
        let exact = |i: isize| worst(i, 4) < 2f64.powf(-bits) && worst(i, 12) < 2f64.powf(3.0 - bits);
        (-top..=top).all(exact) && bounded()
    };
    let with = |degree: usize, doublings: usize| {
        let r = reduction(range, degree, doublings).ok().filter(|r| good(r))?;
        Some(Reduction { depth: r.depth(), relinearisations: r.relinearisations(), degree, doublings })
    };
    // The least degree, and the composition, which may have a larger one and fewer products.
    let least = |doublings| (6..=62).step_by(2).filter(|d| *d != COMPOSITE_DEGREE).find_map(|degree| with(degree, doublings));
    let composite = |doublings| with(COMPOSITE_DEGREE, doublings).filter(|_| doublings <= COMPOSITE_DOUBLINGS);
    (2..=6).flat_map(|doublings| [least(doublings), composite(doublings)]).flatten().min()
}

/// Degree and doublings of the cheapest reduction for a range whose error is below `2^-bits` at
/// integer parts up to `typical`, and below an eighth beyond. `None` if there is none.
pub fn choose_reduction(range: usize, typical: usize, bits: f64) -> Option<(usize, usize)> {
    cheapest_reduction(range, typical, bits).map(|r| (r.degree, r.doublings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_the_relu_set() {
        let spec = BootstrapSpec::relu_15();
        assert!(spec.check().is_ok());
        assert_eq!((spec.limbs_in(), spec.limbs_reduction(), spec.limbs_activation()), (3, 14, 6));
        assert_eq!((spec.limbs_out(7), spec.limbs_out(15), spec.limbs_out(0), spec.limbs_out(63)), (Some(3), Some(2), Some(6), None));
        assert_eq!(spec.log2_failure_of_run(3.3 * 512.0), f64::NEG_INFINITY);
        // 2^-69.4 for each of 2^15 coefficients
        assert!((BootstrapSpec { range: 14, ..spec }.log2_failure_of_run(1.0) + 54.4).abs() < 0.05);
    }

    #[test]
    fn keys_of_the_relu_set() {
        let spec = BootstrapSpec::relu_15();
        let keys = spec.keys();
        let count = |f: &dyn Fn(&KeyTarget) -> bool| keys.iter().filter(|(t, _)| f(t)).count();
        assert_eq!(count(&|t| matches!(t, KeyTarget::SparseToDense(_))), 32);
        // SlotsToCoeffs: 31 + 7 and 31 + 3; CoeffsToSlots: 7 + 1 three times; conjugation.
        assert_eq!(count(&|t| matches!(t, KeyTarget::Galois(_))), 38 + 34 + 24 + 1);
        assert_eq!(spec.key_bytes() >> 20, spec.keys().iter().map(|(t, g)| t.key_bytes(*g, 1 << 15)).sum::<usize>() >> 20);
    }

    #[test]
    fn reductions_for_bounds() {
        // A run of 512 images of ResNet-20.
        for log2_failure in [None, Some(-40.0), Some(-120.0), Some(-200.0)] {
            let spec = BootstrapSpec::relu_15().with_reduction(3.3 * 512.0, log2_failure, 12.0).expect("a reduction");
            println!("{log2_failure:?}: range {}, degree {}, {} doublings", spec.range, spec.degree, spec.doublings);
            assert_eq!(spec.reduction_depth(), 8);
            assert!(spec.log2_failure_of_run(3.3 * 512.0) <= log2_failure.unwrap_or(f64::NEG_INFINITY));
        }
        assert!(BootstrapSpec { limbs: 11, ..BootstrapSpec::relu_15() }.with_reduction(1.0, None, 13.0).is_err());
        assert!(choose_reduction(14, 7, 60.0).is_none());
    }

    #[test]
    fn depths_are_those_of_the_reductions() {
        for degree in (2..=62).step_by(2) {
            for doublings in 2..=6 {
                // A range for which a composition has an angle that it takes.
                let spec = BootstrapSpec { degree, doublings, range: 1 << doublings, ..BootstrapSpec::relu_15() };
                let reduction = spec.reduction().expect("a reduction");
                assert_eq!(spec.reduction_depth(), reduction.depth(), "degree {degree}");
                assert_eq!(reduction.plan().is_none(), degree == 16);
            }
        }
        let composite = BootstrapSpec { degree: 16, ..BootstrapSpec::relu_15() };
        assert_eq!((composite.reduction_depth(), composite.limbs_activation()), (8, 6), "a composition has four levels");
    }

    #[test]
    fn contradictions_are_found() {
        let change = |f: fn(&mut BootstrapSpec)| {
            let mut spec = BootstrapSpec::relu_15();
            f(&mut spec);
            spec.check().is_err()
        };
        assert!(change(|s| s.slots_to_coeffs[0].log_radix = 6));
        assert!(change(|s| s.coeffs_to_slots[1].babies = 3));
        assert!(change(|s| s.limbs = 11));
        assert!(change(|s| s.alpha = 1));
        assert!(change(|s| s.degree = 13));
        assert!(change(|s| s.log_n = 16));
        assert!(change(|s| s.log_n = 0));
        assert!(change(|s| s.weight = 0) && change(|s| s.weight = (1 << 14) + 1));
        assert!(change(|s| s.range = 1 << 40), "nothing loops over a range that a file names");
        assert!(change(|s| s.coeffs_to_slots[1].babies = 1 << 40));
    }

    /// Searched angles reach half a turn. Integer parts go to four standard deviations.
    #[test]
    fn sines_are_right_over_half_a_turn() {
        for weight in [32, 64, 128] {
            for log2_failure in [None, Some(-40.0)] {
                let spec = BootstrapSpec::for_wish(15, 3, 4096.0, &BootstrapWish { weight, log2_failure }).expect("a plan");
                let reduction = spec.reduction().expect("a reduction");
                let typical = (4.0 * ((weight + 1) as f64 / 12.0).sqrt()) as i32;
                let worst = |most: f64| {
                    let at = |i: i32| (-20..=20).map(move |j| f64::from(i) + most * f64::from(j) / 20.0);
                    (-typical..=typical).flat_map(at).map(|u| (reduction.evaluate_clear(u) - (TAU * u).sin()).abs()).fold(0.0, f64::max)
                };
                println!("{weight} {log2_failure:?}: 2^{:.1}, 2^{:.1}", worst(1.0 / 6.0).log2(), worst(0.5).log2());
                assert!(worst(1.0 / 6.0) < 2f64.powf(-SINE_BITS) && worst(0.5) < 2f64.powf(3.0 - SINE_BITS));
            }
        }
    }

    #[test]
    fn plans_for_a_wish() {
        let plan = |weight, log2_failure| BootstrapSpec::for_wish(15, 3, 4096.0, &BootstrapWish { weight, log2_failure }).expect("a plan");
        let spec = plan(32, None);
        println!("{spec:?}");
        let relu = BootstrapSpec::relu_15();
        assert_eq!(spec, BootstrapSpec { limbs: 12, alpha: RAISE_SPECIALS, low_alpha: 1, ..relu.clone() });
        assert!(spec.check().is_ok() && BootstrapSpec { limbs: 11, ..spec.clone() }.check().is_err());
        assert_eq!((spec.levels(), spec.raised(3, 3)), (11, 17));
        assert_eq!(spec.with_keys(17, 7, 2), relu);
        // The range follows from the weight; a probability counts only where it saves something.
        for (weight, range, levels) in [(32, 17, 11), (64, 33, 12), (128, 65, 13)] {
            let sure = plan(weight, None);
            assert_eq!((sure.range, sure.levels(), sure.log2_failure()), (range, levels, f64::NEG_INFINITY));
            let risky = plan(weight, Some(-40.0));
            println!("{sure:?}\n{risky:?}");
            let price = |s: &BootstrapSpec| (s.reduction_depth(), s.reduction().expect("a reduction").relinearisations());
            assert!(risky.log2_failure_of_run(4096.0) <= -40.0);
            assert!(if risky == sure { true } else { price(&risky) < price(&sure) && risky.range < sure.range });
            for bits in [120.0, 200.0] {
                assert!(plan(weight, Some(-bits)).log2_failure_of_run(4096.0) <= -bits);
            }
        }
        for (log_n, limbs_in, weight) in [(8, 3, 32), (18, 3, 32), (15, 1, 32), (15, 16, 32), (15, 3, 0), (15, 3, 1 << 15)] {
            assert!(BootstrapSpec::for_wish(log_n, limbs_in, 1.0, &BootstrapWish { weight, log2_failure: None }).is_err());
        }
    }
}
