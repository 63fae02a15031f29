//! The values of a run.

use chiffre_ckks::ring::RnsPoly;
use std::collections::BTreeMap;

/// The ciphertexts of one unit.
pub(super) type Bundle = Vec<[RnsPoly; 2]>;
/// Live units by (value, unit).
pub(super) type Values = BTreeMap<(usize, usize), Bundle>;
