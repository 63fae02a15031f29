use super::*;
use crate::ring::primes::ntt_primes_below;
use proptest::prelude::*;

const LOG_N: u32 = 8;

fn ring() -> Ring {
    let q = ntt_primes_below(50, LOG_N, 4, &[]).expect("primes");
    Ring::new(LOG_N, &q, &[]).expect("ring")
}

fn values(len: usize) -> impl Strategy<Value = Vec<Complex64>> {
    prop::collection::vec((-1.0f64..1.0, -1.0f64..1.0), len).prop_map(|v| v.into_iter().map(|(re, im)| Complex64::new(re, im)).collect())
}

fn worst(a: &[Complex64], b: &[Complex64]) -> f64 {
    a.iter().zip(b.iter().cycle()).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn round_trip_is_within_the_rounding_bound(log_g in 0u32..LOG_N, seed in values(1 << (LOG_N - 1)), bits in 20i32..95, limbs in 1usize..5) {
        prop_assume!(f64::from(bits) + 1.0 < 50.0 * limbs as f64 - 2.0);
        let (ring, encoder) = (ring(), Encoder::new(LOG_N));
        let values = &seed[..1 << log_g];
        let encoded = encoder.encode(&ring, values, &Scale::pow2(bits), limbs);
        let encoded = encoded.map_err(|e| TestCaseError::fail(e.to_string()))?;
        let decoded = encoder.decode(&ring, &encoded);
        // 2g coefficients, each off by at most 1/2; and the transforms' own error.
        let bound = values.len() as f64 / 2f64.powi(bits) + 2f64.powi(-45);
        prop_assert!(worst(&decoded, values) <= bound, "{:e} > {bound:e}", worst(&decoded, values));
    }

    #[test]
    fn encoding_is_a_ring_homomorphism(a in values(16), b in values(128)) {
        let (ring, encoder) = (ring(), Encoder::new(LOG_N));
        let scale = Scale::pow2(40);
        let encode = |v: &[Complex64]| encoder.encode(&ring, v, &scale, 3);
        let (Ok(mut x), Ok(y)) = (encode(&a), encode(&b)) else { return Err(TestCaseError::fail("encode")) };
        for (i, (x, y)) in x.poly.iter_mut().zip(y.poly.iter()).enumerate() {
            crate::ring::limb::mul_assign(&ring.moduli[i], x, y);
        }
        x.scale = x.scale.mul(&scale);
        let want: Vec<Complex64> = b.iter().zip(a.iter().cycle()).map(|(b, a)| a * b).collect();
        prop_assert!(worst(&encoder.decode(&ring, &x), &want) < 2f64.powi(-30));
    }

    #[test]
    fn periodic_coefficients_round_trip(v in values(32)) {
        let encoder = Encoder::new(LOG_N);
        let coefficients = encoder.encode_periodic(&v).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(coefficients.len(), 64);
        let back = encoder.decode_periodic(&coefficients).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(worst(&back, &v) < 1e-14);
    }
}

#[test]
fn periodic_vectors_are_polynomials_in_a_power_of_x() {
    let (ring, encoder) = (ring(), Encoder::new(LOG_N));
    let v: Vec<Complex64> = (0..8).map(|j| Complex64::new(f64::from(j), -1.0)).collect();
    let short = encoder.encode(&ring, &v, &Scale::pow2(30), 2).expect("encode");
    let full: Vec<Complex64> = (0..encoder.slots()).map(|j| v[j % 8]).collect();
    let full = encoder.encode(&ring, &full, &Scale::pow2(30), 2).expect("encode");
    assert!(short.poly == full.poly);
    for run in short.poly.row(0).chunks(ring.n / 16) {
        assert!(run.iter().all(|v| *v == run[0]));
    }
}

#[test]
fn scalars_are_constants() {
    let (ring, encoder) = (ring(), Encoder::new(LOG_N));
    let p = encoder.encode_scalar(&ring, -1.5, &Scale::pow2(90), 3).expect("encode");
    assert!(p.poly.iter().all(|row| row.iter().all(|v| *v == row[0])));
    let decoded = encoder.decode(&ring, &p);
    assert!(worst(&decoded, &[Complex64::new(-1.5, 0.0)]) < 1e-14);
}

#[test]
fn refuses_what_does_not_fit() {
    let (ring, encoder) = (ring(), Encoder::new(LOG_N));
    let scale = Scale::pow2(50);
    let try_real = |v: &[f64], limbs| encoder.encode_real(&ring, v, &scale, limbs).map(|_| ());
    assert!(matches!(try_real(&[1.0; 3], 2), Err(EncodeError::Length { .. })));
    assert!(matches!(try_real(&[1.0; 256], 2), Err(EncodeError::Length { .. })));
    assert!(matches!(try_real(&[], 2), Err(EncodeError::Length { .. })));
    assert!(matches!(try_real(&[f64::NAN], 2), Err(EncodeError::NotFinite)));
    assert!(matches!(try_real(&[1.0], 1), Err(EncodeError::TooLarge { .. })));
    assert!(matches!(try_real(&[1.0], 5), Err(EncodeError::Limbs { .. })));
    assert!(try_real(&[1.0], 2).is_ok());
    assert!(matches!(round_coefficients(&[2.0], 2f64.powi(62)), Err(EncodeError::TooLarge { .. })));
    assert_eq!(round_coefficients(&[0.75, -1.25], 2.0), Ok(vec![2, -2]));
}
