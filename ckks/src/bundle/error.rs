//! What can be wrong with a bundle operation.

use crate::keys::KeyTarget;
use crate::ring::Gadget;
use crate::simd::WINDOW;

/// The smallest ring degree that the kernels take: a window and its mirror image.
pub(super) const LEAST_DEGREE: usize = 2 * WINDOW;

/// Why a bundle operation is refused. Everything is checked before any work starts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A ciphertext does not have exactly two polynomials.
    #[error("a ciphertext with {0} polynomials where a relinearised one is needed")]
    NotRelinearised(usize),
    /// An input is too short or of another degree.
    #[error("input {input} has {rows} rows of degree {n}; {limbs} limbs are needed")]
    InputShape {
        /// Index of the input.
        input: usize,
        /// Rows it has.
        rows: usize,
        /// Its degree.
        n: usize,
        /// Limbs that are needed.
        limbs: usize,
    },
    /// There is no key of a target and shape.
    #[error("no key for {target} with {} limbs and alpha {}", .gadget.limbs, .gadget.alpha)]
    MissingKey {
        /// What the key is for.
        target: KeyTarget,
        /// The shape.
        gadget: Gadget,
    },
    /// The key shape does not serve this operation.
    #[error("a gadget of {} limbs and alpha {} cannot switch {limbs} limbs with {specials} special primes", .gadget.limbs, .gadget.alpha)]
    Gadget {
        /// The shape.
        gadget: Gadget,
        /// Limbs of the ciphertexts.
        limbs: usize,
        /// Special primes of the ring.
        specials: usize,
    },
    /// Not enough limbs for the rescale.
    #[error("cannot use {limbs} limbs and drop {drop} on a chain of {chain}")]
    Limbs {
        /// Limbs in use.
        limbs: usize,
        /// Limbs to drop.
        drop: usize,
        /// Length of the chain.
        chain: usize,
    },
    /// The ring is too small for the kernels.
    #[error("bundle operations need a ring degree of at least {LEAST_DEGREE}, not {0}")]
    Degree(usize),
    /// A linear table or bias contradicts itself.
    #[error("linear table: {0}")]
    Table(String),
    /// Two operand lists of different lengths.
    #[error("{0} left and {1} right factors")]
    Operands(usize, usize),
}
