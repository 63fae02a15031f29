//! The number-theoretic transform. This file is the only one that names `tfhe_ntt`.

use super::Modulus;
use tfhe_ntt::prime64::Plan;

/// Negacyclic transform tables of one prime and one degree.
///
/// Forward output `i` is the evaluation at `psi^(2 bitrev(i) + 1)`, where `psi` is the table's primitive `2n`-th root.
/// Tables of different degrees for one prime have matching roots: `psi_n = psi_N^(N/n)`.
#[derive(Debug)]
pub struct NttTable {
    plan: Plan,
    modulus: Modulus,
}

impl NttTable {
    /// Smallest supported degree.
    pub const MIN_N: usize = 16;

    /// Tables for degree `n`, a power of two of at least [`Self::MIN_N`], and a prime that is 1 modulo `2n`.
    /// `None` when there are no such tables.
    pub fn new(n: usize, modulus: Modulus) -> Option<Self> {
        let plan = Plan::try_new(n, modulus.q)?;
        Some(Self { plan, modulus })
    }

    /// The degree.
    pub fn n(&self) -> usize {
        self.plan.ntt_size()
    }

    /// Coefficients to evaluations, in place; residues in `[0, q)` on both sides.
    pub fn forward(&self, limb: &mut [u64]) {
        self.plan.fwd(limb);
    }

    /// Evaluations to coefficients, in place; residues in `[0, q)` on both sides.
    pub fn inverse(&self, limb: &mut [u64]) {
        self.plan.inv(limb);
        self.plan.normalize(limb);
    }

    /// As [`Self::inverse`] but the coefficients come multiplied by `n`.
    pub fn inverse_lazy(&self, limb: &mut [u64]) {
        self.plan.inv(limb);
    }

    /// The primitive `2n`-th root of unity at output 0.
    pub fn root(&self) -> u64 {
        let mut x = vec![0; self.n()];
        x[1] = 1;
        self.forward(&mut x);
        x[0]
    }

    /// The prime.
    pub fn modulus(&self) -> &Modulus {
        &self.modulus
    }
}

#[cfg(test)]
mod tests {
    use super::super::{galois::bit_reverse, primes::ntt_primes_below};
    use super::*;

    #[test]
    fn order_is_pinned() {
        let log_n = 7;
        let n = 1 << log_n;
        let m = Modulus::new(ntt_primes_below(50, log_n, 1, &[]).unwrap()[0]);
        let table = NttTable::new(n, m).unwrap();
        let psi = table.root();
        let mut x = vec![0; n];
        x[1] = 1;
        table.forward(&mut x);
        for (i, &v) in x.iter().enumerate() {
            assert_eq!(v, m.pow(psi, 2 * bit_reverse(i, log_n) as u64 + 1), "output {i}");
        }
        let coefficients: Vec<u64> = (0..n as u64).map(|i| m.pow(7, i)).collect();
        let mut y = coefficients.clone();
        table.forward(&mut y);
        let horner = |at: u64| coefficients.iter().rev().fold(0, |s, &c| m.add(m.mul(s, at), c));
        assert_eq!(y[5], horner(x[5]));
        table.inverse(&mut y);
        assert_eq!(y, coefficients);
    }

    #[test]
    fn periodic_polynomials_transform_blockwise() {
        let (log_n, log_small) = (11, 6);
        let (n, small) = (1usize << log_n, 1usize << log_small);
        let m = Modulus::new(ntt_primes_below(50, log_n, 1, &[]).unwrap()[0]);
        let (big, little) = (NttTable::new(n, m).unwrap(), NttTable::new(small, m).unwrap());
        let mut short: Vec<u64> = (0..small as u64).map(|i| m.pow(3, 5 * i + 1)).collect();
        let mut long = vec![0; n];
        for (i, &c) in short.iter().enumerate() {
            long[i * (n / small)] = c;
        }
        big.forward(&mut long);
        little.forward(&mut short);
        for (i, &v) in long.iter().enumerate() {
            assert_eq!(v, short[i / (n / small)], "output {i}");
        }
    }
}
