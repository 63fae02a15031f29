//! The shape of a hybrid key-switching key.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Shape of a key-switching key (hybrid RNS decomposition, Han and Ki 2020).
///
/// The first `limbs` Q primes are cut into runs of `alpha` consecutive primes, the digits; the
/// special modulus is the product of the first `alpha` P primes. A key of this shape switches any
/// polynomial that has at most `limbs` Q limbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gadget {
    /// Largest number of Q limbs that the key serves, at least 1.
    pub limbs: usize,
    /// Primes per digit, and special primes, at least 1.
    pub alpha: usize,
}

impl std::fmt::Display for Gadget {
    /// `[limbs, special primes]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}]", self.limbs, self.alpha)
    }
}

impl Gadget {
    /// Whether a chain of so many Q primes and special primes has room for keys of this shape.
    pub fn fits(&self, q_count: usize, p_count: usize) -> bool {
        (1..=q_count).contains(&self.limbs) && (1..=p_count).contains(&self.alpha)
    }

    /// Number of digits of a polynomial with `limbs` Q limbs.
    pub fn digits_at(&self, limbs: usize) -> usize {
        limbs.div_ceil(self.alpha)
    }

    /// Number of digits of the key itself.
    pub fn digits(&self) -> usize {
        self.digits_at(self.limbs)
    }

    /// The Q primes of digit `digit` for a polynomial with `limbs` Q limbs.
    pub fn digit(&self, digit: usize, limbs: usize) -> Range<usize> {
        digit * self.alpha..((digit + 1) * self.alpha).min(limbs)
    }

    /// Rows of one key polynomial: `limbs` Q rows, then `alpha` P rows.
    pub fn rows(&self) -> usize {
        self.limbs + self.alpha
    }
}
