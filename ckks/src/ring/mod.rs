//! Arithmetic in `Z_Q[X]/(X^N + 1)` for a product `Q` of NTT-friendly primes below 2^50.
//!
//! **Invariants**
//! * Every prime is below 2^50 and congruent to 1 modulo `2N`; residues handed between functions
//!   are in `[0, q)`.
//! * In NTT order, output `i` holds the evaluation at `psi^(2 bitrev(i) + 1)`; a test pins this.
//! * `limbs` always counts the Q primes in use. Rows of an extended polynomial are `limbs` Q rows,
//!   then P rows.

mod conversion;
pub mod limb;
mod ntt;
mod poly;
#[allow(clippy::module_inception)]
mod ring;
mod symmetric;

pub use crate::arithmetic::{Galois, GaloisTable, Modulus, primes};
pub use chiffre_params::Gadget;
pub use chiffre_params::chain::RingError;
pub(crate) use conversion::{BaseConversion, Carried, ModDown, ModUp};
pub use ntt::NttTable;
pub use poly::RnsPoly;
pub use ring::Ring;
pub(crate) use symmetric::SymmetricTable;
