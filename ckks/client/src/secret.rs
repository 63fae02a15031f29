//! Secret keys.

use std::fmt;

use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use chiffre_ckks::context::Context;
use chiffre_ckks::ring::{Ring, RnsPoly};

use crate::sample::Csprng;

/// A list of numbers that is not a ternary secret of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretKeyError {
    /// Wrong number of coefficients.
    #[error("a secret key of {found} coefficients for a ring of degree {expected}")]
    Length {
        /// Coefficients there are.
        found: usize,
        /// The ring degree.
        expected: usize,
    },
    /// A coefficient outside {-1, 0, 1}.
    #[error("a secret key with a coefficient outside -1, 0, 1")]
    NotTernary,
}

/// A uniform ternary secret.
///
/// Wiped on drop; its contents appear in no `Debug` output and it has no serialisation: whoever
/// stores it asks for [`expose_coefficients`](Self::expose_coefficients) by name.
pub struct SecretKey {
    coefficients: Zeroizing<Vec<i8>>,
    /// One row per modulus of the ring (Q, then P), NTT order.
    ntt: RnsPoly,
}

impl SecretKey {
    /// A fresh secret.
    pub fn generate(context: &Context, rng: &mut Csprng) -> Self {
        let mut coefficients = Zeroizing::new(vec![0; context.ring().n()]);
        rng.fill_ternary(&mut coefficients);
        Self::build(context.ring(), coefficients)
    }

    /// A fresh secret with `weight` nonzero coefficients: for the encapsulation keys, which live at
    /// small moduli only.
    pub(crate) fn generate_sparse(context: &Context, rng: &mut Csprng, weight: usize) -> Self {
        let mut coefficients = Zeroizing::new(vec![0; context.ring().n()]);
        rng.fill_sparse_ternary(&mut coefficients, weight);
        Self::build(context.ring(), coefficients)
    }

    /// The secret with the given coefficients.
    ///
    /// # Errors
    /// [`SecretKeyError`] if they are not N values of -1, 0, 1.
    pub fn from_coefficients(context: &Context, coefficients: &[i8]) -> Result<Self, SecretKeyError> {
        let ring = context.ring();
        if coefficients.len() != ring.n() {
            return Err(SecretKeyError::Length { found: coefficients.len(), expected: ring.n() });
        }
        if coefficients.iter().any(|c| !(-1..=1).contains(c)) {
            return Err(SecretKeyError::NotTernary);
        }
        Ok(Self::build(ring, Zeroizing::new(coefficients.to_vec())))
    }

    fn build(ring: &Ring, coefficients: Zeroizing<Vec<i8>>) -> Self {
        let ntt = small_poly(ring, &coefficients, ring.q_count(), ring.p_count());
        Self { coefficients, ntt }
    }

    /// The secret itself, N values of -1, 0, 1: for storing it.
    pub fn expose_coefficients(&self) -> &[i8] {
        &self.coefficients
    }

    /// The secret's residues, one row per modulus of the ring, NTT order.
    pub(crate) fn ntt(&self) -> &RnsPoly {
        &self.ntt
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.ntt.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A polynomial with small coefficients in NTT order: `limbs` Q rows, then `specials` P rows.
///
/// Reduction is by masks: coefficients are secrets or noise.
pub(crate) fn small_poly(ring: &Ring, coefficients: &[i8], limbs: usize, specials: usize) -> RnsPoly {
    let mut poly = RnsPoly::new_unspecified(ring.n(), limbs + specials);
    poly.par_iter_mut().enumerate().for_each(|(row, out)| {
        let index = ring.modulus_index(row, limbs);
        let q = ring.moduli()[index].q() as i64;
        for (d, &c) in out.iter_mut().zip(coefficients) {
            let c = i64::from(c);
            *d = (c + (q & (c >> 63))) as u64;
        }
        ring.ntt()[index].forward(out);
    });
    poly
}
