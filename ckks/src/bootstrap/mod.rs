//! Bootstrapping: values in slots become coefficients, the modulus is raised, and the multiples of
//! the bottom prime that come with that are removed by a sine, behind which an activation
//! polynomial may follow.
//!
//! [`Bootstrapper::refresh`] takes bundles of complex-packed ciphertexts `a + ib` through
//! 1. SlotsToCoeffs, with the factor `q0 / (2 pi)` in its matrices, down to one limb;
//! 2. a key switch to an ephemeral sparse secret, the raise to all limbs, and the first factor of
//!    CoeffsToSlots on the way back to the dense secret (see [`raise()`]);
//! 3. the other factors of CoeffsToSlots, with the scaling of the sine's argument in their
//!    matrices;
//! 4. a conjugation that splits the halves, the sine of each, the polynomial of each, and
//!    `a' + ib'`.
//!
//! The order (SlotsToCoeffs first, so that slots and not coefficients meet the sine) and a
//! polynomial in the sine instead of an arcsine make a small message ratio enough: values may be as
//! large as the sine is monotone. [`BootstrapSpec`] is the plan: levels, keys, failure probability
//! and counted work, without a ring. [`Bootstrapper::bootstrap`] is the classic operation that
//! returns the slots it was given.
//!
//! **Invariants**
//! * Key and diagonal rows are read once for a group of ciphertexts; temporaries exist for one
//!   group.
//! * Scales are exact: matrices absorb what is not a product of primes.
//! * Results do not depend on the number of threads or on the instruction set, bit by bit.

mod error;
mod factor;
mod raise;
mod refresh;
mod stages;
mod transform;

pub use chiffre_params::bootstrap::{
    BootstrapSpec, DENSE_TO_SPARSE, Direction, FactorPlan, FactorSpec, RAISE_SPECIALS, SpecError, StageCounts, choose_reduction, log2_any,
    log2_tail, smallest_range, sure_range,
};
pub use error::BootstrapError;
pub use factor::{DiagonalMatrix, matrix};
pub use raise::raise;
pub use refresh::{Activation, Arcsine, BootstrapOp, Bootstrapper, DEFAULT_GROUP, RefreshOp};
pub use stages::Transforms;
pub use transform::{Diagonals, EncodedFactor, StoredDiagonals, apply};
