//! What a switching key is for.

use crate::gadget::Gadget;
use crate::galois::Galois;

/// What a switching key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyTarget {
    /// From `s²` to `s`.
    Relinearization,
    /// From `s(X^g)` to `s`.
    Galois(Galois),
    /// From `s` to the ephemeral sparse secret, under which a ciphertext is raised (Bossuat,
    /// Troncoso-Pastoriza and Hubaux, "Bootstrapping for Approximate Homomorphic Encryption with
    /// Negligible Failure-Probability by Using Sparse-Secret Encapsulation", ACNS 2022, §3). Its
    /// modulus must be small.
    DenseToSparse,
    /// From the ephemeral sparse secret, after an automorphism, back to `s`. What it switches is
    /// smaller than a single prime, so that one digit is enough: the key encrypts `p·s'(X^g)` with
    /// the first special prime p, and further special primes only make room for what follows.
    SparseToDense(Galois),
}

impl KeyTarget {
    /// The automorphism, for keys that have one.
    pub fn galois(self) -> Option<Galois> {
        match self {
            Self::Galois(galois) | Self::SparseToDense(galois) => Some(galois),
            Self::Relinearization | Self::DenseToSparse => None,
        }
    }

    /// The key for a rotation by so many slots.
    pub fn rotation(offset: isize, log_n: u32) -> Self {
        Self::Galois(Galois::rotation(offset, log_n))
    }

    /// The key for the complex conjugation.
    pub fn conjugation(log_n: u32) -> Self {
        Self::Galois(Galois::conjugation(log_n))
    }

    /// The offset in `[1, N/2)` of the rotation that a key is for, if it is for one under the
    /// ordinary secret.
    pub fn rotation_offset(self, log_n: u32) -> Option<usize> {
        match self {
            Self::Galois(galois) => galois.rotation_offset(log_n),
            _ => None,
        }
    }

    /// Number of digits of a key of this target and shape.
    pub fn digits(self, gadget: Gadget) -> usize {
        match self {
            Self::Relinearization | Self::Galois(_) | Self::DenseToSparse => gadget.digits(),
            Self::SparseToDense(_) => 1,
        }
    }

    /// Bytes of a key of this target and shape for degree `n`, in full; a seeded key has half of
    /// them.
    pub fn key_bytes(self, gadget: Gadget, n: usize) -> usize {
        2 * self.digits(gadget) * gadget.rows() * n * 8
    }
}

impl From<Galois> for KeyTarget {
    fn from(galois: Galois) -> Self {
        Self::Galois(galois)
    }
}

impl std::fmt::Display for KeyTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Relinearization => f.write_str("relinearisation"),
            Self::Galois(galois) => write!(f, "Galois element {}", galois.0),
            Self::DenseToSparse => f.write_str("switching to the sparse secret"),
            Self::SparseToDense(galois) => write!(f, "switching back from the sparse secret with Galois element {}", galois.0),
        }
    }
}
