//! Probes: what a step of a run left, decrypted by the data owner, to see where precision is lost.

use super::{ClientKey, Spread};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::ring::RnsPoly;
use chiffre_ckks_client::Decryptor;
use chiffre_runtime::{RuntimeError, Session};
use num_complex::Complex64;

/// A unit of a value, decrypted.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Slots of each ciphertext.
    pub slots: Vec<Vec<Complex64>>,
    /// Bits between the largest coefficient of any plaintext and the modulus: below 1, values leave
    /// the range.
    pub headroom: f64,
}

impl ClientKey {
    /// Decrypts a unit that instruction `instruction` has computed.
    ///
    /// # Errors
    /// Ciphertexts that do not fit the session's ring.
    pub fn open(&self, s: &Session, instruction: usize, cts: &[[RnsPoly; 2]]) -> Result<Opened, RuntimeError> {
        let (encoder, ring) = (s.context.encoder(), s.context.ring());
        let decryptor = Decryptor::new(&s.context, &self.secret);
        let ty = &s.program().nodes[instruction].ty;
        // Decoding looks at three limbs at most, which is also how far values are told from noise.
        let q: f64 = ring.moduli().iter().take(ty.limbs.min(3)).map(|m| m.q() as f64).product();
        let above: f64 = ring.moduli().iter().take(ty.limbs).skip(3).map(|m| (m.q() as f64).log2()).sum();
        let scale = s.scale(&ty.scale);
        let mut out = Opened { slots: vec![], headroom: f64::INFINITY };
        for polys in cts {
            let decrypt = || {
                let c = Ciphertext::new(polys.clone(), scale.clone());
                let plaintext = decryptor.decrypt(&c).map_err(|e| RuntimeError::Mismatch(e.to_string()))?;
                Ok::<_, RuntimeError>((encoder.coefficients(ring, &plaintext), plaintext))
            };
            let (coefficients, plaintext) = s.engine().install(decrypt)?;
            let peak = Spread::of(&coefficients, q).peak;
            out.headroom = out.headroom.min(above - (2.0 * peak).max(f64::MIN_POSITIVE).log2());
            out.slots.push(encoder.slots_of(&coefficients, &plaintext.scale));
        }
        Ok(out)
    }
}
