//! Tables of diagonals in graphs: their hash, their form in files, and what they compute in the
//! clear. The table itself is [`chiffre_params::table`].

mod apply;
pub(crate) mod file;

pub use apply::apply;
pub use chiffre_params::table::*;
pub use file::{Tensor, from_tensors};

use crate::hash::Hash;

/// Hash of sizes and content.
pub fn hash(t: &DiagTable) -> Hash {
    // Apart from all hashes of arrays.
    let mut h = blake3::Hasher::new_derive_key("chiffre-ir 2026 table of diagonals");
    h.update(t.ty().to_string().as_bytes());
    for part in &file::PARTS {
        h.update(&(part.bytes)(t));
    }
    Hash(*h.finalize().as_bytes())
}
