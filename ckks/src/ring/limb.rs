//! Elementwise arithmetic on single limbs. Slices of one call have equal lengths; residues are in `[0, q)`.

use super::{GaloisTable, Modulus};

/// `a += b`.
pub fn add_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = m.add(*a, b));
}

/// `a -= b`.
pub fn sub_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = m.sub(*a, b));
}

/// `a = -a`.
pub fn neg_assign(m: &Modulus, a: &mut [u64]) {
    a.iter_mut().for_each(|a| *a = m.neg(*a));
}

/// `a *= b`.
pub fn mul_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = m.mul(*a, b));
}

/// `out = a b`.
pub fn mul_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    assert!(a.len() == b.len() && a.len() == out.len());
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = m.mul(a, b);
    }
}

/// `acc += a b`.
pub fn mul_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    assert!(a.len() == b.len() && a.len() == acc.len());
    for ((o, &a), &b) in acc.iter_mut().zip(a).zip(b) {
        *o = m.add(*o, m.mul(a, b));
    }
}

/// `a *= scalar` for a scalar in `[0, q)`.
pub fn mul_scalar_assign(m: &Modulus, a: &mut [u64], scalar: u64) {
    a.iter_mut().for_each(|a| *a = m.mul(*a, scalar));
}

/// `acc += scalar a` for a scalar in `[0, q)`.
pub fn mul_scalar_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], scalar: u64) {
    assert_eq!(a.len(), acc.len());
    acc.iter_mut().zip(a).for_each(|(o, &a)| *o = m.add(*o, m.mul(a, scalar)));
}

/// The automorphism of `table` on a limb in NTT order.
pub fn automorphism_into(table: &GaloisTable, a: &[u64], out: &mut [u64]) {
    assert!(a.len() == table.n() && out.len() == table.n());
    for (b, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let source = &a[table.source_start(b)..][..8];
        let pattern = &table.patterns()[(table.blocks()[b] & 7) as usize];
        for (o, &i) in out.iter_mut().zip(pattern) {
            *o = source[i as usize & 7];
        }
    }
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
