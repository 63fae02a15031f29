//! Elementwise arithmetic on single limbs with the kernels of the thread's instruction set. Slices
//! of one call have equal lengths, multiples of eight; residues are in `[0, q)`.

use super::{GaloisTable, Modulus};
use crate::simd::{self, Isa};

/// `a += b`.
pub fn add_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    simd::add_assign(Isa::current(), m, a, b);
}

/// `a -= b`.
pub fn sub_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    simd::sub_assign(Isa::current(), m, a, b);
}

/// `a = -a`.
pub fn neg_assign(m: &Modulus, a: &mut [u64]) {
    simd::neg_assign(Isa::current(), m, a);
}

/// `a *= b`.
pub fn mul_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    simd::mul_assign(Isa::current(), m, a, b);
}

/// `out = a b`.
pub fn mul_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    simd::mul_into(Isa::current(), m, out, a, b);
}

/// `acc += a b`.
pub fn mul_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    simd::mul_add_assign(Isa::current(), m, acc, a, b);
}

/// `a *= scalar` for a scalar in `[0, q)`.
pub fn mul_scalar_assign(m: &Modulus, a: &mut [u64], scalar: u64) {
    simd::mul_constant_assign(Isa::current(), m, a, scalar);
}

/// `acc += scalar a` for a scalar in `[0, q)`.
pub fn mul_scalar_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], scalar: u64) {
    simd::mul_constant_add_assign(Isa::current(), m, acc, a, scalar);
}

/// The automorphism of `table` on a limb in NTT order.
pub fn automorphism_into(table: &GaloisTable, a: &[u64], out: &mut [u64]) {
    simd::automorphism_into(Isa::current(), table, a, out);
}

/// The automorphism `X -> X^g` on a limb of coefficients.
pub fn automorphism_coefficients(m: &Modulus, g: super::Galois, a: &[u64]) -> Vec<u64> {
    let n = a.len();
    let mut out = vec![0; n];
    for (i, &c) in a.iter().enumerate() {
        let e = i * g.0 as usize % (2 * n);
        out[e % n] = if e < n { c } else { m.neg(c) };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Galois, NttTable, primes::ntt_primes_below};
    use super::*;

    #[test]
    fn automorphism_commutes_with_the_transform() {
        let log_n = 9;
        let n = 1 << log_n;
        let m = Modulus::new(ntt_primes_below(50, log_n, 1, &[]).unwrap()[0]);
        let table = NttTable::new(n, m).unwrap();
        let f: Vec<u64> = (0..n as u64).map(|i| m.pow(11, 3 * i + 2)).collect();
        for g in [Galois::rotation(1, log_n), Galois::rotation(-33, log_n), Galois::conjugation(log_n)] {
            let mut want = automorphism_coefficients(&m, g, &f);
            table.forward(&mut want);
            let mut x = f.clone();
            table.forward(&mut x);
            let mut got = vec![0; n];
            automorphism_into(&GaloisTable::new(g, log_n), &x, &mut got);
            assert_eq!(got, want, "{g:?}");
        }
    }

    #[test]
    fn products_add_up() {
        let m = Modulus::new((1 << 50) - 27);
        let (a, b) = (vec![m.q - 1; 8], vec![m.q - 2; 8]);
        let mut acc = vec![5; 8];
        mul_add_assign(&m, &mut acc, &a, &b);
        mul_scalar_add_assign(&m, &mut acc, &a, 3);
        sub_assign(&m, &mut acc, &b);
        add_assign(&m, &mut acc, &a);
        neg_assign(&m, &mut acc);
        mul_scalar_assign(&m, &mut acc, 2);
        mul_assign(&m, &mut acc, &a);
        assert_eq!(acc, vec![2 * (5 + 2 - 3 + 2 - 1); 8]);
    }
}
