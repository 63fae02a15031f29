//! Bootstrapping: SlotsToCoeffs, raising under an ephemeral sparse secret, CoeffsToSlots, modular reduction.
//!
//! **Invariants**
//! * Key and diagonal rows are read once for a group of ciphertexts; temporaries exist for one group.
//! * Results do not depend on the number of threads or on the instruction set, bit by bit.

mod counts;
mod digits;
mod error;
mod factor;
mod failure;
mod noise;
mod raise;
mod refresh;
mod spec;
mod stages;
#[cfg(test)]
mod tests;
mod transform;

pub use counts::{Counts, StageCounts};
pub use error::BootstrapError;
pub use factor::{DiagonalMatrix, Direction, matrix};
pub use failure::{log2_any, log2_tail, smallest_range};
pub use raise::{DENSE_TO_SPARSE, RAISE_SPECIALS, raise};
pub use refresh::{Activation, Arcsine, Bootstrapper, DEFAULT_GROUP, RefreshOp};
pub use spec::{BootstrapSpec, FactorSpec, SpecError, choose_reduction};
pub use stages::Transforms;
pub use transform::{Diagonals, EncodedFactor, FactorPlan, apply};
