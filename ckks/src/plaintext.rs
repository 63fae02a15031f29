//! Plaintexts: encoded slot vectors.

use crate::ring::{Ring, RnsPoly};
use crate::scale::Scale;

/// An encoded message: `poly` has one row per Q limb, in NTT order.
#[derive(Clone, Debug)]
pub struct Plaintext {
    /// The polynomial.
    pub poly: RnsPoly,
    /// The factor between slots and the polynomial's values.
    pub scale: Scale,
}

impl Plaintext {
    /// Number of Q limbs.
    pub fn limbs(&self) -> usize {
        self.poly.rows()
    }

    /// The plaintext of the polynomial Σ `coefficients[k]` X^(k·N/len), `len = coefficients.len()`
    /// a power of two.
    ///
    /// With `len = N` these are all coefficients; with `len = 2g` the slots have period g, and with
    /// `len = 1` they are constant. Coefficients are integers in double precision, below `2^100` in
    /// magnitude.
    ///
    /// # Panics
    /// If `len` is not a power of two, is larger than N, or `limbs` is not in `1..=ring.q_count`.
    pub fn from_integers(ring: &Ring, coefficients: &[f64], scale: Scale, limbs: usize) -> Self {
        use rayon::prelude::*;
        let len = coefficients.len();
        assert!(len.is_power_of_two() && len <= ring.n, "{len} coefficients in a ring of degree {}", ring.n);
        assert!((1..=ring.q_count).contains(&limbs), "{limbs} limbs");
        let gap = ring.n / len;
        let mut poly = RnsPoly::new_zero(ring.n, limbs);
        poly.par_iter_mut().enumerate().for_each(|(i, row)| {
            for (d, &c) in row.iter_mut().step_by(gap).zip(coefficients) {
                *d = ring.moduli[i].from_f64(c);
            }
            ring.ntt[i].forward(row);
        });
        Self { poly, scale }
    }
}
