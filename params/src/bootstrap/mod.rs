//! The plan of a refresh: levels, keys, scales, failure probability, noise and counted work.
//!
//! A refresh takes slots to coefficients, raises the modulus under an ephemeral sparse secret,
//! takes coefficients back to slots, and removes the multiples of the bottom prime by a sine,
//! behind which a polynomial may follow.

mod counts;
mod factor;
mod failure;
mod noise;
mod scales;
mod spec;
mod spill;

pub use counts::StageCounts;
pub use factor::{Direction, FactorPlan};
pub use failure::{log2_any, log2_tail, smallest_range, sure_range};
pub use scales::{Scales, factor_share, slots_to_coeffs_scales};
pub use spec::{
    BootstrapSpec, BootstrapWish, CALIBRATED_RADIANS, DENSE_TO_SPARSE, FactorSpec, RAISE_SPECIALS, SIMULATED_RADIANS, SpecError,
    choose_reduction, reduction_depth,
};
