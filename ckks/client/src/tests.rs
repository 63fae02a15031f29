use num_complex::Complex64;

use super::*;
use chiffre_ckks::Isa;
use chiffre_ckks::bundle::{PreparedKey, key_switch};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral, ParamsError};
use chiffre_ckks::ring::{Gadget, Galois, GaloisTable, RnsPoly, limb};
use chiffre_ckks::scale::Scale;

fn context() -> Context {
    let literal = CkksParamsLiteral::generate(10, &[50, 45, 45, 45, 45], &[50, 50]).expect("primes");
    Context::new(CkksParams::try_from(literal.insecure()).expect("marked")).expect("context")
}

fn rng(seed: u8) -> Csprng {
    Csprng::from_seed([seed; 32])
}

fn values(context: &Context) -> Vec<Complex64> {
    (0..context.slots()).map(|j| Complex64::from_polar(1.0, j as f64)).collect()
}

fn worst(a: &[Complex64], b: &[Complex64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
}

/// Largest centred coefficient of one row in NTT order.
fn largest(context: &Context, row: &[u64], index: usize) -> u64 {
    let mut row = row.to_vec();
    context.ring().ntt()[index].inverse(&mut row);
    let m = &context.ring().moduli()[index];
    row.iter().map(|&c| m.centre(c).unsigned_abs()).max().unwrap_or(0)
}

#[test]
fn both_encryptions_decrypt_at_any_number_of_limbs() {
    let context = context();
    let secret = SecretKey::generate(&context, &mut rng(1));
    let public = KeyGenerator::new(&context, &secret, rng(2)).public_key();
    let decryptor = Decryptor::new(&context, &secret);
    let want = values(&context);
    for limbs in 1..=context.max_limbs() {
        let plaintext = context.encode(&want, &Scale::pow2(40), limbs).expect("encode");
        let seeded = SecretKeyEncryptor::new(&context, &secret, rng(3)).encrypt(&plaintext);
        let full = PublicKeyEncryptor::new(&context, &public, rng(4)).encrypt(&plaintext);
        for (ciphertext, bound) in [
            (seeded.expand(context.ring(), limbs), 2f64.powi(-30)),
            (seeded.expand(context.ring(), 1), 2f64.powi(-30)),
            (full, 2f64.powi(-24)),
        ] {
            let got = context.decode(&decryptor.decrypt(&ciphertext).expect("decrypt"));
            assert!(worst(&got, &want) < bound, "{limbs} limbs: {:e}", worst(&got, &want));
        }
    }
}

#[test]
fn switching_keys_encrypt_the_gadget_times_the_other_secret() {
    let context = context();
    let ring = context.ring();
    let secret = SecretKey::generate(&context, &mut rng(5));
    let s = secret.ntt();
    let galois = Galois::rotation(3, ring.log_n());
    for gadget in [Gadget { limbs: 5, alpha: 2 }, Gadget { limbs: 3, alpha: 2 }, Gadget { limbs: 2, alpha: 1 }] {
        for target in [galois.into(), KeyTarget::Relinearization] {
            let mut generator = KeyGenerator::new(&context, &secret, rng(6));
            let key = generator.switching_key(target, gadget).expect("key").expand(ring);
            assert_eq!(key.digits.len(), gadget.digits());
            for (d, [b, a]) in key.digits.iter().enumerate() {
                for row in 0..gadget.rows() {
                    let index = ring.modulus_index(row, gadget.limbs);
                    let m = &ring.moduli()[index];
                    // b + a s - [row in digit] P s'
                    let mut phase = b.row(row).to_vec();
                    limb::mul_add_assign(m, &mut phase, a.row(row), s.row(index));
                    if gadget.digit(d, gadget.limbs).contains(&row) {
                        let mut other = vec![0; ring.n()];
                        match target.galois() {
                            Some(g) => limb::automorphism_into(&GaloisTable::new(g, ring.log_n()), s.row(index), &mut other),
                            None => limb::mul_into(m, s.row(index), s.row(index), &mut other),
                        }
                        for special in &ring.moduli()[ring.q_count()..][..gadget.alpha] {
                            limb::mul_scalar_assign(m, &mut other, m.reduce(special.q()));
                        }
                        limb::sub_assign(m, &mut phase, &other);
                    }
                    assert!(largest(&context, &phase, index) <= NOISE_BOUND as u64);
                }
            }
        }
    }
}

#[test]
fn keys_made_together_are_the_keys_made_one_by_one() {
    let context = context();
    let secret = SecretKey::generate(&context, &mut rng(7));
    let gadget = Gadget { limbs: 4, alpha: 2 };
    let targets: Vec<_> = [KeyTarget::Relinearization, Galois(5).into(), Galois(25).into()].map(|g| (g, gadget)).into();
    let together = KeyGenerator::new(&context, &secret, rng(8)).switching_keys(&targets).expect("keys");
    let mut one_by_one = KeyGenerator::new(&context, &secret, rng(8));
    for (key, (target, gadget)) in together.iter().zip(targets) {
        let other = one_by_one.switching_key(target, gadget).expect("key");
        assert_eq!(key.seed(), other.seed());
        assert!(key.b() == other.b());
    }
    assert!(one_by_one.switching_key(KeyTarget::Relinearization, Gadget { limbs: 6, alpha: 1 }).is_err());
}

#[test]
fn the_encapsulation_leads_to_a_sparse_secret_and_back() {
    let context = context();
    let ring = context.ring();
    let secret = SecretKey::generate(&context, &mut rng(11));
    let (low, high) = (Gadget { limbs: 1, alpha: 1 }, Gadget { limbs: 5, alpha: 2 });
    let targets = [(KeyTarget::DenseToSparse, low), (KeyTarget::SparseToDense(Galois::IDENTITY), high)];
    let mut generator = KeyGenerator::new(&context, &secret, rng(12));
    let keys = generator.switching_keys(&targets).expect("keys");
    let [to, back] = [0, 1].map(|i| PreparedKey::new(ring, keys[i].expand(ring)));
    for alone in targets {
        assert!(matches!(generator.switching_keys(&[alone]), Err(ParamsError::Encapsulation)));
    }

    let to_sparse = |limbs, alpha| (KeyTarget::DenseToSparse, Gadget { limbs, alpha });
    for (limbs, alpha) in [(5, 2), (2, 1), (1, 2)] {
        let refused = generator.switching_keys(&[to_sparse(limbs, alpha), targets[1]]);
        assert!(matches!(refused, Err(ParamsError::SparseGadget { gadget: Gadget { limbs: l, alpha: a } }) if (l, a) == (limbs, alpha)));
    }
    assert!(matches!(generator.switching_keys(&[targets[0], targets[0], targets[1]]), Err(ParamsError::SparseKeys { count: 2 })));

    let scale = Scale::pow2(30);
    let plaintext = context.encode_real(&[0.75], &scale, 1).expect("encode");
    let ct = SecretKeyEncryptor::new(&context, &secret, rng(13)).encrypt(&plaintext).expand(ring, 1);
    let decrypt = |polys: [RnsPoly; 2]| {
        let ct = Ciphertext::new(polys, scale.clone());
        let got = context.decode(&Decryptor::new(&context, &secret).decrypt(&ct).expect("decrypt"));
        got.iter().map(|z| (z - 0.75).norm()).fold(0.0, f64::max)
    };
    let switch = |[c0, c1]: [RnsPoly; 2], key: &PreparedKey| {
        let [mut d0, d1] = key_switch(ring, Isa::detect(), &c1, 1, key).expect("switch");
        limb::add_assign(&ring.moduli()[0], d0.row_mut(0), c0.row(0));
        [d0, d1]
    };
    let sparse = switch([ct.polys[0].clone(), ct.polys[1].clone()], &to);
    assert!(decrypt(sparse.clone()) > 1.0, "not under the dense secret");
    assert_eq!((back.target(), keys[1].b().len()), (KeyTarget::SparseToDense(Galois::IDENTITY), 1));
}

#[test]
fn secrets_are_hidden_from_debug_and_checked_on_import() {
    let context = context();
    let secret = SecretKey::generate(&context, &mut rng(9));
    assert_eq!(format!("{secret:?}"), "SecretKey(..)");
    let again = SecretKey::from_coefficients(&context, secret.expose_coefficients()).expect("valid");
    assert!(again.ntt() == secret.ntt());
    let n = context.ring().n();
    assert!(SecretKey::from_coefficients(&context, &vec![2; n]).is_err());
    assert!(SecretKey::from_coefficients(&context, &vec![0; n - 1]).is_err());
}

#[test]
fn foreign_ciphertexts_are_refused() {
    let context = context();
    let secret = SecretKey::generate(&context, &mut rng(10));
    let decryptor = Decryptor::new(&context, &secret);
    let n = context.ring().n();
    let poly = |n, rows| RnsPoly::new_zero(n, rows);
    let good = Ciphertext::new([poly(n, 2), poly(n, 2)], Scale::one());
    assert!(decryptor.decrypt(&good).is_ok());
    let mut bad = vec![good.clone(), good.clone(), good.clone(), good.clone()];
    bad[0].polys.pop();
    bad[1].polys[1] = poly(n, 3);
    bad[2].polys[0] = poly(2 * n, 2);
    bad[3].polys[0].row_mut(1)[7] = u64::MAX;
    for bad in bad {
        assert!(decryptor.decrypt(&bad).is_err());
    }
}
