//! Ciphertexts, in full and in seeded form.

use crate::ring::{Ring, RnsPoly};
use crate::scale::Scale;
use crate::seed::{Seed, uniform_poly};

/// A polynomial that does not belong to the ring it is said to belong to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Wrong degree.
    #[error("a polynomial of {found} coefficients in a ring of degree {expected}")]
    Degree {
        /// Coefficients per row.
        found: usize,
        /// The ring degree.
        expected: usize,
    },
    /// Wrong number of rows.
    #[error("a polynomial of {found} rows where {expected} are needed")]
    Rows {
        /// Rows there are.
        found: usize,
        /// Rows needed.
        expected: usize,
    },
    /// A number of limbs outside the chain.
    #[error("{limbs} limbs are outside 1..={max}")]
    Limbs {
        /// The number.
        limbs: usize,
        /// The length of the chain.
        max: usize,
    },
    /// A number of polynomials that no ciphertext or key has.
    #[error("{found} polynomials where {expected} are needed")]
    Polynomials {
        /// Polynomials there are.
        found: usize,
        /// What is needed.
        expected: &'static str,
    },
    /// A number that is not a Galois element: even, or not below 2N.
    #[error("{0} is not a Galois element of the ring")]
    Galois(u32),
    /// A residue is not below its modulus.
    #[error("row {row} has a residue that is not below its modulus {modulus}")]
    Range {
        /// The row.
        row: usize,
        /// Its prime.
        modulus: u64,
    },
}

/// Checks degree, row count and the range of every residue of `poly`, which has `limbs` Q rows,
/// then `specials` P rows.
///
/// # Errors
/// The first [`ShapeError`] found.
pub fn check_poly(ring: &Ring, poly: &RnsPoly, limbs: usize, specials: usize) -> Result<(), ShapeError> {
    if !(1..=ring.q_count).contains(&limbs) || specials > ring.p_count() {
        return Err(ShapeError::Limbs { limbs, max: ring.q_count });
    }
    if poly.n() != ring.n {
        return Err(ShapeError::Degree { found: poly.n(), expected: ring.n });
    }
    if poly.rows() != limbs + specials {
        return Err(ShapeError::Rows { found: poly.rows(), expected: limbs + specials });
    }
    for (row, residues) in poly.iter().enumerate() {
        let modulus = ring.moduli[ring.modulus_index(row, limbs)].q;
        if residues.iter().any(|&r| r >= modulus) {
            return Err(ShapeError::Range { row, modulus });
        }
    }
    Ok(())
}

/// A ciphertext `(c0, c1)` or, before relinearisation, `(c0, c1, c2)`; it decrypts as
/// `c0 + c1·s + c2·s²`.
///
/// **Invariant**: every polynomial has `limbs` rows, in NTT order.
#[derive(Clone, Debug, PartialEq)]
pub struct Ciphertext {
    /// The two or three polynomials.
    pub polys: Vec<RnsPoly>,
    /// Number of Q limbs; the level is one less.
    pub limbs: usize,
    /// The factor between slots and the encrypted polynomial's values.
    pub scale: Scale,
}

impl Ciphertext {
    /// A ciphertext of two polynomials.
    pub fn new(polys: [RnsPoly; 2], scale: Scale) -> Self {
        let limbs = polys[0].rows();
        Self { polys: polys.into(), limbs, scale }
    }

    /// 1, or 2 before relinearisation.
    pub fn degree(&self) -> usize {
        self.polys.len() - 1
    }

    /// Checks shapes and ranges, for ciphertexts from outside.
    ///
    /// # Errors
    /// The first [`ShapeError`] found.
    pub fn check(&self, ring: &Ring) -> Result<(), ShapeError> {
        if !(2..=3).contains(&self.polys.len()) {
            return Err(ShapeError::Polynomials { found: self.polys.len(), expected: "two or three" });
        }
        self.polys.iter().try_for_each(|poly| check_poly(ring, poly, self.limbs, 0))
    }
}

/// A fresh ciphertext whose second polynomial is the expansion of a public seed: half the size.
#[derive(Clone, Debug)]
pub struct SeededCiphertext {
    seed: Seed,
    c0: RnsPoly,
    scale: Scale,
}

impl SeededCiphertext {
    /// Puts a seeded ciphertext together from outside parts.
    ///
    /// # Errors
    /// A [`ShapeError`] if `c0` is not a polynomial of `ring` with at least one limb.
    pub fn from_parts(ring: &Ring, seed: Seed, c0: RnsPoly, scale: Scale) -> Result<Self, ShapeError> {
        check_poly(ring, &c0, c0.rows(), 0)?;
        Ok(Self { seed, c0, scale })
    }

    /// The public seed of the second polynomial.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The first polynomial: one row per Q limb, NTT order.
    pub fn c0(&self) -> &RnsPoly {
        &self.c0
    }

    /// The scale.
    pub fn scale(&self) -> &Scale {
        &self.scale
    }

    /// Number of Q limbs.
    pub fn limbs(&self) -> usize {
        self.c0.rows()
    }

    /// The full ciphertext, with its first `limbs` limbs (all if there are fewer).
    pub fn expand(&self, ring: &Ring, limbs: usize) -> Ciphertext {
        let limbs = limbs.min(self.limbs());
        let c1 = uniform_poly(ring, &self.seed, 0, limbs, 0);
        Ciphertext::new([self.c0.truncated(limbs), c1], self.scale.clone())
    }
}
