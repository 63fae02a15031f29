//! The pure numbers of TFHE with 64-bit words: parameter sets, their security, the noise of their
//! operations, what these cost, and the search for the cheapest set that a program can run with.
//!
//! Ciphertexts are LWE ciphertexts over the torus, whose elements are words divided by 2^64.
//! Between programmable bootstraps they have dimension k·N; a keyswitch takes them to dimension n,
//! the modulus switch to 2N, and the blind rotation looks up.

mod noise;
mod search;
mod set;

pub use noise::{MARGIN_OF_SIGN, Noise, lookup_margin};
pub use search::{Demand, Found, Site, Unreachable, find};
pub use set::{Decomposition, Removal, TfheParams};
