//! Laws of the ring, of its automorphisms and of division, over random polynomials.

use crate::reference::keyswitch::mod_down;
use chiffre_ckks::ring::primes::ntt_primes_below;
use chiffre_ckks::ring::{Galois, GaloisTable, Modulus, Ring, RnsPoly, limb};
use proptest::prelude::*;

const LOG_N: u32 = 5;
const LIMBS: usize = 3;

fn ring() -> Ring {
    let q = ntt_primes_below(50, LOG_N, LIMBS, &[]).expect("primes");
    let p = ntt_primes_below(45, LOG_N, 2, &[]).expect("primes");
    Ring::new(LOG_N, &q, &p).expect("ring")
}

fn poly() -> impl Strategy<Value = RnsPoly> {
    prop::collection::vec(any::<i64>(), 1 << LOG_N).prop_map(|c| ring().embed(&c, LIMBS, 0))
}

fn combine(ring: &Ring, a: &RnsPoly, b: &RnsPoly, op: impl Fn(&Modulus, &mut [u64], &[u64])) -> RnsPoly {
    let mut out = a.clone();
    for (i, row) in out.iter_mut().enumerate() {
        op(&ring.moduli()[i], row, b.row(i));
    }
    out
}

fn apply(ring: &Ring, galois: Galois, a: &RnsPoly) -> RnsPoly {
    let table = GaloisTable::new(galois, ring.log_n());
    let mut out = RnsPoly::new_zero(a.n(), a.rows());
    for (i, row) in out.iter_mut().enumerate() {
        limb::automorphism_into(&table, a.row(i), row);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn polynomials_are_a_commutative_ring(a in poly(), b in poly(), c in poly()) {
        let ring = ring();
        let add = |a: &RnsPoly, b: &RnsPoly| combine(&ring, a, b, limb::add_assign);
        let sub = |a: &RnsPoly, b: &RnsPoly| combine(&ring, a, b, limb::sub_assign);
        let mul = |a: &RnsPoly, b: &RnsPoly| combine(&ring, a, b, limb::mul_assign);
        prop_assert_eq!(add(&a, &b), add(&b, &a));
        prop_assert_eq!(mul(&a, &b), mul(&b, &a));
        prop_assert_eq!(mul(&a, &mul(&b, &c)), mul(&mul(&a, &b), &c));
        prop_assert_eq!(mul(&a, &add(&b, &c)), add(&mul(&a, &b), &mul(&a, &c)));
        prop_assert_eq!(sub(&add(&a, &b), &b), a);
    }

    #[test]
    fn automorphisms_are_ring_homomorphisms_and_a_group(a in poly(), b in poly(), r in -40isize..40, s in 0isize..40, conjugate: bool) {
        let ring = ring();
        let mut g = Galois::rotation(r, LOG_N);
        if conjugate {
            g = g.then(Galois::conjugation(LOG_N), LOG_N);
        }
        let h = Galois::rotation(s, LOG_N);
        let mul = |a: &RnsPoly, b: &RnsPoly| combine(&ring, a, b, limb::mul_assign);
        let add = |a: &RnsPoly, b: &RnsPoly| combine(&ring, a, b, limb::add_assign);
        prop_assert_eq!(apply(&ring, g, &mul(&a, &b)), mul(&apply(&ring, g, &a), &apply(&ring, g, &b)));
        prop_assert_eq!(apply(&ring, g, &add(&a, &b)), add(&apply(&ring, g, &a), &apply(&ring, g, &b)));
        prop_assert_eq!(apply(&ring, h, &apply(&ring, g, &a)), apply(&ring, g.then(h, LOG_N), &a));
        prop_assert_eq!(apply(&ring, g.inverse(LOG_N), &apply(&ring, g, &a)), a);
    }

    #[test]
    fn division_rounds_to_nearest(c in prop::collection::vec(-(1i64 << 62)..1 << 62, 1 << LOG_N)) {
        let ring = ring();
        let q = ring.moduli()[LIMBS - 1].q() as i64;
        let want: Vec<i64> = c
            .iter()
            .map(|&c| c.div_euclid(q) + i64::from(c.rem_euclid(q) > q / 2))
            .collect();
        let got = mod_down(&ring, &ring.embed(&c, LIMBS, 0), LIMBS, LIMBS - 1);
        prop_assert_eq!(got, ring.embed(&want, LIMBS - 1, 0));
    }
}
