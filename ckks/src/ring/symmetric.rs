//! Transforms of symmetric polynomials.
//!
//! A vector of real slots is a polynomial with `a(X) = a(1/X)`: in degree `2g`, `a_(2g - j) = -a_j`
//! and `a_g = 0`, so that `g` coefficients are all of it, and it takes the same value at a root and
//! at its inverse. In NTT order the inverse of the root of output `i` is that of output
//! `2g - 1 - i`: the first half of the outputs is all of them.
//!
//! Outputs `0..g` are the values at the roots of `X^g = I`, `I = psi^g`, which are the roots of
//! `Y^g = -1` over `psi`. So they are the transform in degree `g` of `c_j = psi^-j (a_j + I a_(g +
//! j)) = -psi^(g - j) (I a_j + a_(g - j))`, whose root is `psi^2`.

use super::{Modulus, NttTable};
use crate::simd::{Isa, fold_symmetric};

/// Tables of symmetric polynomials of degree `2g` for one prime.
#[derive(Debug)]
pub struct SymmetricTable {
    modulus: Modulus,
    /// `-psi^(g - j) I R`, the factor of `a_j`.
    near: Vec<u64>,
    /// `-psi^(g - j) R`, the factor of `a_(g - j)`.
    far: Vec<u64>,
}

impl SymmetricTable {
    /// For `psi`, a primitive `4g`-th root of unity.
    pub fn new(g: usize, modulus: Modulus, psi: u64) -> Self {
        let m = &modulus;
        let mut power = m.mul(m.q - 1, m.r);
        let mut far = vec![0; g];
        for t in far.iter_mut().rev() {
            power = m.mul(power, psi);
            *t = power;
        }
        let imaginary = m.pow(psi, g as u64);
        Self { near: far.iter().map(|t| m.mul(*t, imaginary)).collect(), far, modulus }
    }

    /// Outputs `0..g` of the transform of the polynomial whose coefficients `0..g` are
    /// `from[0..g]`. `from` has a zero behind them; `ntt` is the transform of degree `g`.
    pub fn forward(&self, isa: Isa, ntt: &NttTable, from: &[u64], to: &mut [u64]) {
        fold_symmetric(isa, &self.modulus, [&self.near, &self.far], from, to);
        ntt.forward(to);
    }
}

#[cfg(test)]
mod tests {
    use super::super::primes::ntt_primes_below;
    use super::*;

    #[test]
    fn half_of_the_outputs_are_all() {
        for (log_g, bits) in [(4, 50), (6, 49), (9, 50), (12, 40)] {
            let g = 1usize << log_g;
            let m = Modulus::new(ntt_primes_below(bits, log_g + 1, 1, &[]).unwrap()[0]);
            let (full, half) = (NttTable::new(2 * g, m).unwrap(), NttTable::new(g, m).unwrap());
            let mut from: Vec<u64> = (0..g as u64).map(|j| m.pow(5, j + 1)).collect();
            from.push(0);
            let mut all = vec![0; 2 * g];
            all[..g].copy_from_slice(&from[..g]);
            (1..g).for_each(|j| all[2 * g - j] = m.sub(0, from[j]));
            full.forward(&mut all);
            let table = SymmetricTable::new(g, m, full.root());
            for isa in Isa::available() {
                let mut got = vec![0; g];
                table.forward(isa, &half, &from, &mut got);
                assert_eq!(got, all[..g]);
                assert!(all.iter().rev().zip(&got).all(|(a, b)| a == b));
            }
        }
    }
}
