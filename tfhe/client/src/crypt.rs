//! Key generation, encryption and decryption.

use crate::engine;
use crate::random::Seeds;
use crate::secret::ClientKey;
use chiffre_ir::quant::{entry, real};
use chiffre_ir::token::hex;
use chiffre_params::tfhe::TfheParams;
use chiffre_tfhe::{Batch, EvaluationKeys, LookupKeys, Results, Session, TfheError};
use rayon::prelude::*;
use zeroize::Zeroizing;

impl ClientKey {
    /// A fresh key for the session's parameters, from the operating system's randomness.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate(s: &Session) -> Result<ClientKey, TfheError> {
        let mut seeds = Seeds::from_os()?;
        let mut secret = |len: usize| {
            let mut words = Zeroizing::new(vec![0; len]);
            if len > 0 {
                engine::fill_secret(&mut words, &mut seeds);
            }
            words
        };
        let (small, big) = (secret(s.params().n), secret(s.params().big()));
        let removal = secret(s.params().removing().map_or(0, |r| r.n));
        Ok(ClientKey { id: seeds.draw(), small, big, removal })
    }
    /// The evaluation keys that the session's program uses.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn evaluation_keys(&self, s: &Session) -> Result<EvaluationKeys, TfheError> {
        let mut seeds = Seeds::from_os()?;
        let mut keys = |p: &TfheParams, small: &[u64]| {
            // The rotation's result is under the first bits of the secret key, or all of them.
            let (rotation, rotation_seed) = engine::rotation_key(p, small, &self.big[..p.big()], &mut seeds);
            let (keyswitch, keyswitch_seed) = engine::keyswitch_key(p, &self.big, small, &mut seeds);
            LookupKeys { rotation, rotation_seed, keyswitch, keyswitch_seed }
        };
        let table = keys(s.params(), &self.small);
        let removal = s.params().removing().map(|p| keys(&p, &self.removal));
        Ok(EvaluationKeys { id: self.id, table, removal })
    }
    /// Encrypts normalised images `[n, C, H, W]`, as the integers that the program makes of them.
    ///
    /// # Errors
    /// A number of values that is not that of `n` images, or none; values that are not finite.
    pub fn encrypt(&self, s: &Session, images: &[f32], n: usize) -> Result<Batch, TfheError> {
        let (ty, per) = (s.input(), s.input().shape.len());
        if n == 0 || Some(images.len()) != per.checked_mul(n) {
            return Err(TfheError::Input(format!("{n} images with {} values in all; an image has {per} values", images.len())));
        }
        if let Some(i) = images.iter().position(|v| !v.is_finite()) {
            return Err(TfheError::Input(format!("image {} has the value {}: inputs must be finite", i / per, images[i])));
        }
        let mut random = Seeds::from_os()?;
        let (mut bodies, mut seeds) = (Vec::with_capacity(images.len()), Vec::with_capacity(n));
        for image in images.chunks_exact(per) {
            let words = entry(ty, image).into_iter().map(|x| (x as u64) << (63 - ty.bits)).collect();
            let (of_image, seed) = engine::encrypt(s.params(), &self.big, words, &mut random);
            bodies.extend(of_image);
            seeds.push(seed);
        }
        Batch::new(s, self.id, random.draw(), bodies, seeds)
    }
    /// Decrypts a result: for each output the integers of all images, image-major. They are those
    /// of the clear run ([`run_integers`](chiffre_ir::quant::run_integers)).
    ///
    /// # Errors
    /// [`TfheError::Mismatch`] for a result under another key; [`TfheError::Input`] for one that no
    /// run leaves.
    pub fn decrypt_integers(&self, s: &Session, result: &Results) -> Result<Vec<Vec<i64>>, TfheError> {
        if result.id != self.id {
            let (theirs, ours) = (hex(&result.id), hex(&self.id));
            return Err(TfheError::Mismatch(format!("{}: the result is under key {theirs}, this is key {ours}", result.name)));
        }
        result.check(s)?;
        let one = |(ty, words): (&chiffre_ir::quant::QuantType, &Vec<u64>)| {
            // The nearest integer, of those modulo 2^(bits+1) the one that the type says.
            let shift = 63 - ty.bits;
            let nearest = |c: &[u64]| ty.wrap((engine::phase(&self.big, c).wrapping_add(1 << (shift - 1)) >> shift) as i64);
            words.par_chunks_exact(s.words()).map(nearest).collect()
        };
        Ok(s.outputs().zip(&result.outputs).map(one).collect())
    }
    /// As [`Self::decrypt_integers`], as the numbers that the integers stand for.
    ///
    /// # Errors
    /// As [`Self::decrypt_integers`].
    pub fn decrypt(&self, s: &Session, result: &Results) -> Result<Vec<Vec<f32>>, TfheError> {
        Ok(s.outputs().zip(self.decrypt_integers(s, result)?).map(|(ty, x)| real(ty, &x)).collect())
    }
}
