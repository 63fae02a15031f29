//! Encryption and decryption.

use zeroize::{Zeroize, Zeroizing};

use chiffre_ckks::ciphertext::{Ciphertext, SeededCiphertext, ShapeError};
use chiffre_ckks::context::Context;
use chiffre_ckks::keys::PublicKey;
use chiffre_ckks::plaintext::Plaintext;
use chiffre_ckks::ring::limb;
use chiffre_ckks::seed::uniform_poly;

use crate::keygen::gaussian_poly;
use crate::sample::Csprng;
use crate::secret::{SecretKey, small_poly};

/// Encryption under the secret key: one noise polynomial, and half of the ciphertext is a seed.
pub struct SecretKeyEncryptor<'a> {
    context: &'a Context,
    secret: &'a SecretKey,
    rng: Csprng,
}

impl<'a> SecretKeyEncryptor<'a> {
    /// An encryptor that draws seeds and noise from `rng`.
    pub fn new(context: &'a Context, secret: &'a SecretKey, rng: Csprng) -> Self {
        Self { context, secret, rng }
    }

    /// An encryptor with its own randomness, independent of what this one draws later: one for each
    /// thread or item.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self { context: self.context, secret: self.secret, rng: self.rng.fork() }
    }

    /// `c0 = m + e − a·s`, with a from a fresh public seed. The ciphertext has the plaintext's
    /// limbs and scale.
    pub fn encrypt(&mut self, plaintext: &Plaintext) -> SeededCiphertext {
        let ring = self.context.ring();
        let limbs = plaintext.limbs();
        let seed = self.rng.seed();
        let mut a = uniform_poly(ring, &seed, 0, limbs, 0);
        let mut c0 = gaussian_poly(self.context, &mut self.rng, limbs, 0);
        for (i, (c0, a)) in c0.iter_mut().zip(a.iter_mut()).enumerate() {
            let m = &ring.moduli()[i];
            limb::mul_assign(m, a, self.secret.ntt().row(i));
            limb::sub_assign(m, c0, a);
            limb::add_assign(m, c0, plaintext.poly.row(i));
        }
        a.zeroize();
        SeededCiphertext::from_parts(ring, seed, c0, plaintext.scale.clone()).expect("made for this ring")
    }
}

/// Encryption under the public key.
pub struct PublicKeyEncryptor<'a> {
    context: &'a Context,
    key: &'a PublicKey,
    rng: Csprng,
}

impl<'a> PublicKeyEncryptor<'a> {
    /// An encryptor that draws its randomness from `rng`.
    pub fn new(context: &'a Context, key: &'a PublicKey, rng: Csprng) -> Self {
        Self { context, key, rng }
    }

    /// `(b·v + e0 + m, a·v + e1)` with ternary v. The ciphertext has the plaintext's limbs and
    /// scale.
    pub fn encrypt(&mut self, plaintext: &Plaintext) -> Ciphertext {
        let ring = self.context.ring();
        let limbs = plaintext.limbs();
        let mut coefficients = Zeroizing::new(vec![0i8; ring.n()]);
        self.rng.fill_ternary(&mut coefficients);
        let mut v = small_poly(ring, &coefficients, limbs, 0);
        let mut c0 = gaussian_poly(self.context, &mut self.rng, limbs, 0);
        let mut c1 = gaussian_poly(self.context, &mut self.rng, limbs, 0);
        let a = uniform_poly(ring, self.key.seed(), 0, limbs, 0);
        for i in 0..limbs {
            let m = &ring.moduli()[i];
            limb::add_assign(m, c0.row_mut(i), plaintext.poly.row(i));
            limb::mul_add_assign(m, c0.row_mut(i), self.key.b().row(i), v.row(i));
            limb::mul_add_assign(m, c1.row_mut(i), a.row(i), v.row(i));
        }
        v.zeroize();
        Ciphertext::new([c0, c1], plaintext.scale.clone())
    }
}

/// Decryption.
pub struct Decryptor<'a> {
    context: &'a Context,
    secret: &'a SecretKey,
}

impl<'a> Decryptor<'a> {
    /// A decryptor for ciphertexts under `secret`.
    pub fn new(context: &'a Context, secret: &'a SecretKey) -> Self {
        Self { context, secret }
    }

    /// `c0 + c1·s (+ c2·s²)`: the message with its noise, at the ciphertext's limbs and scale.
    ///
    /// # Errors
    /// A [`ShapeError`] if the ciphertext does not belong to the ring.
    pub fn decrypt(&self, ciphertext: &Ciphertext) -> Result<Plaintext, ShapeError> {
        let ring = self.context.ring();
        ciphertext.check(ring)?;
        let mut polys = ciphertext.polys.iter().rev();
        let Some(mut poly) = polys.next().cloned() else {
            return Err(ShapeError::Polynomials { found: 0, expected: "two or three" });
        };
        for next in polys {
            for (i, row) in poly.iter_mut().enumerate() {
                limb::mul_assign(&ring.moduli()[i], row, self.secret.ntt().row(i));
                limb::add_assign(&ring.moduli()[i], row, next.row(i));
            }
        }
        Ok(Plaintext { poly, scale: ciphertext.scale.clone() })
    }
}
