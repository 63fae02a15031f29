//! A ring with its chain of primes and their transform tables.

use super::{Modulus, NttTable, RnsPoly, SymmetricTable};
use chiffre_params::Chain;
use chiffre_params::chain::RingError;
use rayon::prelude::*;
use std::sync::OnceLock;

/// `Z[X]/(X^N + 1)` modulo each prime of a chain: the Q primes, then the special primes P.
#[derive(Debug)]
pub struct Ring {
    pub(crate) chain: Chain,
    pub(crate) log_n: u32,
    pub(crate) n: usize,
    pub(crate) moduli: Vec<Modulus>,
    pub(crate) ntt: Vec<NttTable>,
    pub(crate) q_count: usize,
    pub(crate) imaginary: Vec<u64>,
    /// The primitive `2N`-th root at output 0, for each modulus.
    roots: Vec<u64>,
    /// For each modulus the tables of smaller degrees, by logarithm, made when first asked for.
    subrings: Vec<Vec<OnceLock<NttTable>>>,
    /// For each modulus the tables of symmetric polynomials, by logarithm of half their degree.
    symmetric: Vec<Vec<OnceLock<SymmetricTable>>>,
}

impl Ring {
    /// The ring of degree `2^log_n` with Q primes `q` and special primes `p`.
    ///
    /// # Errors
    /// What [`Chain::check`] refuses, and primes that the transform library does not take.
    pub fn new(log_n: u32, q: &[u64], p: &[u64]) -> Result<Self, RingError> {
        let chain = Chain { log_n, q: q.to_vec(), p: p.to_vec() };
        chain.check()?;
        let n = 1 << log_n;
        let moduli: Vec<Modulus> = chain.primes().map(Modulus::new).collect();
        let ntt =
            moduli.par_iter().map(|&m| NttTable::new(n, m).ok_or(RingError::Prime { q: m.q, log_n })).collect::<Result<Vec<_>, _>>()?;
        let roots: Vec<u64> = ntt.par_iter().map(NttTable::root).collect();
        let imaginary = roots.iter().zip(&moduli).map(|(&psi, m)| m.pow(psi, n as u64 / 2)).collect();
        let subrings = moduli.iter().map(|_| (0..log_n).map(|_| OnceLock::new()).collect()).collect();
        let symmetric = moduli.iter().map(|_| (0..log_n).map(|_| OnceLock::new()).collect()).collect();
        Ok(Self { chain, log_n, n, moduli, ntt, q_count: q.len(), imaginary, roots, subrings, symmetric })
    }

    /// Degree and primes.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Base-2 logarithm of the degree.
    pub fn log_n(&self) -> u32 {
        self.log_n
    }

    /// The degree `N`.
    pub fn n(&self) -> usize {
        self.n
    }

    /// All moduli: Q primes from the bottom up, then P primes.
    pub fn moduli(&self) -> &[Modulus] {
        &self.moduli
    }

    /// Transform tables, one for each modulus.
    pub fn ntt(&self) -> &[NttTable] {
        &self.ntt
    }

    /// `X^(N/2)` at the first half of the NTT order, one for each modulus; the second half holds
    /// its negative.
    pub fn imaginary(&self) -> &[u64] {
        &self.imaginary
    }

    /// Number of Q primes.
    pub fn q_count(&self) -> usize {
        self.q_count
    }

    /// Number of special primes.
    pub fn p_count(&self) -> usize {
        self.moduli.len() - self.q_count
    }

    /// Transform tables of modulus `index` for the subring of degree `degree`, a power of two from
    /// [`NttTable::MIN_N`] to the ring's own.
    pub fn subring_ntt(&self, index: usize, degree: usize) -> &NttTable {
        assert!(degree.is_power_of_two() && (NttTable::MIN_N..=self.n).contains(&degree));
        if degree == self.n {
            return &self.ntt[index];
        }
        self.subrings[index][degree.ilog2() as usize].get_or_init(|| {
            let table = NttTable::with_root(degree, self.moduli[index], self.root(index, degree));
            table.expect("a prime that is friendly to a degree is friendly to its divisors")
        })
    }

    /// Tables of modulus `index` for symmetric polynomials of the subring of degree `2 half`, a
    /// power of two from 2 [`NttTable::MIN_N`] to the ring's own.
    pub(crate) fn symmetric(&self, index: usize, half: usize) -> &SymmetricTable {
        assert!(half.is_power_of_two() && (NttTable::MIN_N..self.n).contains(&half));
        self.symmetric[index][half.ilog2() as usize]
            .get_or_init(|| SymmetricTable::new(half, self.moduli[index], self.root(index, 2 * half)))
    }

    /// Makes the tables that weights of some period need, for all moduli at once.
    pub(crate) fn prepare_symmetric(&self, half: usize) {
        (0..self.moduli.len()).into_par_iter().for_each(|index| _ = (self.symmetric(index, half), self.subring_ntt(index, half)));
    }

    /// The primitive `2 degree`-th root at output 0 of the tables of that degree.
    fn root(&self, index: usize, degree: usize) -> u64 {
        self.moduli[index].pow(self.roots[index], (self.n / degree) as u64)
    }

    /// Index of the modulus of `row` in a polynomial with `limbs` Q rows followed by P rows.
    #[inline]
    pub fn modulus_index(&self, row: usize, limbs: usize) -> usize {
        if row < limbs { row } else { self.q_count + row - limbs }
    }

    /// Transforms all rows of a polynomial with `limbs` Q rows in place, in parallel.
    pub fn forward(&self, poly: &mut RnsPoly, limbs: usize) {
        poly.par_iter_mut().enumerate().for_each(|(row, limb)| self.ntt[self.modulus_index(row, limbs)].forward(limb));
    }

    /// Undoes [`Self::forward`].
    pub fn inverse(&self, poly: &mut RnsPoly, limbs: usize) {
        poly.par_iter_mut().enumerate().for_each(|(row, limb)| self.ntt[self.modulus_index(row, limbs)].inverse(limb));
    }

    /// The polynomial with the given signed coefficients, in NTT order, with `limbs` Q rows and
    /// `specials` P rows.
    pub fn embed(&self, coefficients: &[i64], limbs: usize, specials: usize) -> RnsPoly {
        assert_eq!(coefficients.len(), self.n);
        let mut poly = RnsPoly::new_unspecified(self.n, limbs + specials);
        poly.par_iter_mut().enumerate().for_each(|(row, limb)| {
            let index = self.modulus_index(row, limbs);
            for (d, &c) in limb.iter_mut().zip(coefficients) {
                *d = self.moduli[index].reduce_i64(c);
            }
            self.ntt[index].forward(limb);
        });
        poly
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_params::primes::ntt_primes_below;

    #[test]
    fn imaginary_unit_is_a_sign_by_halves() {
        let p = ntt_primes_below(40, 8, 2, &[]).unwrap();
        let ring = Ring::new(8, &p[..1], &p[1..]).unwrap();
        let mut x = vec![0; ring.n];
        x[ring.n / 2] = 1;
        ring.ntt[1].forward(&mut x);
        let i = ring.imaginary[1];
        assert!(x[..ring.n / 2].iter().all(|&v| v == i));
        assert!(x[ring.n / 2..].iter().all(|&v| v == ring.moduli[1].neg(i)));
    }
}
