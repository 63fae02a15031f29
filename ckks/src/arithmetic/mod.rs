//! Numbers: moduli with their reduction, and the permutations of automorphisms. Below everything
//! else; kernels know nothing but this.

mod galois;
mod modulus;

pub use chiffre_params::{Galois, primes};
pub use galois::GaloisTable;
pub use modulus::Modulus;
