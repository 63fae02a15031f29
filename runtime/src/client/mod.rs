//! The data owner's half: keys, encryption, decryption. The only module that names secrets.

mod check;
mod probe;

pub use check::{DamagedCiphertext, Decrypted, Limits, ROOM, Report, Spread};
pub use probe::Opened;

use crate::eval_keys::{EvalKeySet, KeyId, hex, parse_id};
use crate::{Batch, ResultBatch, RuntimeError, Session};
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor};
use chiffre_ir::container::{Dtype, Reader, Writer};
use std::collections::BTreeMap;
use std::path::Path;
use zeroize::Zeroizing;

/// Kind of secret-key files.
pub const KIND: &str = "secret-key";

/// A secret key with its random name.
pub struct ClientKey {
    id: KeyId,
    secret: SecretKey,
}

impl ClientKey {
    /// A fresh key for the session's parameters, from the operating system's randomness.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate(s: &Session) -> Result<ClientKey, RuntimeError> {
        let mut rng = Csprng::from_os()?;
        let mut id = [0; 16];
        id.copy_from_slice(&rng.seed()[..16]);
        Ok(ClientKey { id, secret: SecretKey::generate(&s.context, &mut rng) })
    }
    /// Name of the key; not secret.
    pub fn id(&self) -> KeyId {
        self.id
    }
    /// The evaluation keys that the program uses.
    ///
    /// # Errors
    /// Parameters that do not fit, or no randomness.
    pub fn evaluation_keys(&self, s: &Session) -> Result<EvalKeySet, RuntimeError> {
        let mut generator = KeyGenerator::new(&s.context, &self.secret, Csprng::from_os()?);
        if let Some(b) = &s.program().header.bootstrap {
            generator = generator.with_sparse_weight(b.weight);
        }
        Ok(EvalKeySet { id: self.id, keys: generator.switching_keys(&s.key_targets())? })
    }
    /// Encrypts normalised images `[n, C, H, W]`.
    ///
    /// # Errors
    /// A number of values or images that the program does not take; values that are not finite or too large.
    pub fn encrypt(&self, s: &Session, images: &[f32], n: usize) -> Result<Batch, RuntimeError> {
        let ty = s.input()?;
        let per: usize = ty.layout.shape.iter().product();
        let batch = s.program().header.batch;
        if n == 0 || n > batch || images.len() != n * per {
            return Err(RuntimeError::Input(format!(
                "{n} images with {} values in all; the program takes 1 to {batch} images of {per} values",
                images.len()
            )));
        }
        if let Some(i) = images.iter().position(|v| !v.is_finite() || v.abs() > 1e6) {
            return Err(RuntimeError::Input(format!(
                "image {} has the value {}: inputs must be finite and below 10^6",
                i / per,
                images[i]
            )));
        }
        let mut encryptor = SecretKeyEncryptor::new(&s.context, &self.secret, Csprng::from_os()?);
        let scale = s.scale(&ty.scale);
        let mut cts = vec![];
        let unit = ty.layout.unit();
        for chunk in images.chunks(per * unit.batch) {
            let slots = unit.pack(chunk, chunk.len() / per);
            let encode = |v: &Vec<_>| s.context.encode(v, &scale, ty.limbs).map_err(|e| RuntimeError::Input(e.to_string()));
            cts.push(slots.iter().map(|v| Ok(encryptor.encrypt(&encode(v)?))).collect::<Result<Vec<_>, RuntimeError>>()?);
        }
        Ok(Batch { id: self.id, digest: None, images: n, cts })
    }
    /// Decrypts a result, and says which of its images have no answer.
    ///
    /// # Errors
    /// A result under another key, or with another shape.
    pub fn decrypt(&self, s: &Session, result: &ResultBatch) -> Result<Decrypted, RuntimeError> {
        if result.id != self.id {
            return Err(RuntimeError::Mismatch(format!("the result is under key {}, this is key {}", hex(&result.id), hex(&self.id))));
        }
        let decryptor = Decryptor::new(&s.context, &self.secret);
        let (encoder, ring, ty) = (s.context.encoder(), s.context.ring(), s.output()?);
        let q = ring.moduli.iter().take(ty.limbs.min(3)).map(|m| m.q as f64).product();
        let limits = Limits { q, scale: s.value(&ty.scale) };
        let layout = ty.layout.unit();
        let mut out = Decrypted { logits: vec![], report: Report::default() };
        for (m, cts) in result.cts.iter().enumerate() {
            let one = |c| {
                let plaintext = decryptor.decrypt(c).map_err(|e| RuntimeError::Mismatch(e.to_string()))?;
                let coefficients = encoder.coefficients(ring, &plaintext);
                Ok((Spread::of(&coefficients, q), encoder.slots_of(&coefficients, &plaintext.scale)))
            };
            let plain: Result<Vec<_>, RuntimeError> = cts.iter().map(one).collect();
            let images = result.images.saturating_sub(out.report.images).min(layout.batch);
            out.push(&limits, &layout, m, plain?, images);
        }
        Ok(out)
    }
    /// Writes the secret key, readable by its owner only.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        let n = s.context.ring().n;
        let meta = BTreeMap::from([("params".to_string(), hex(&s.context.params().digest())), ("key-id".to_string(), hex(&self.id))]);
        let mut w = Writer::create(path, KIND, meta, &[("secret".to_string(), Dtype::I8, vec![n])])?;
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(self.secret.expose_coefficients().iter().map(|&c| c as u8).collect());
        w.tensor("secret", &bytes)?;
        w.finish()?;
        Ok(())
    }
    /// Reads a secret key for the session's parameters.
    ///
    /// # Errors
    /// I/O errors, damaged files, keys for other parameters.
    pub fn load(s: &Session, path: &Path) -> Result<ClientKey, RuntimeError> {
        let mut r = Reader::open(path, KIND)?;
        if r.meta("params")? != hex(&s.context.params().digest()) {
            return Err(RuntimeError::Mismatch(format!("{} is a key for other parameters than this program's", path.display())));
        }
        let id = parse_id(r.meta("key-id")?).ok_or_else(|| r.error("bad key id"))?;
        let bytes = Zeroizing::new(r.read("secret", Dtype::I8, &[s.context.ring().n])?);
        let coefficients: Zeroizing<Vec<i8>> = Zeroizing::new(bytes.iter().map(|&b| b as i8).collect());
        let secret = SecretKey::from_coefficients(&s.context, &coefficients).map_err(|e| r.error(e.to_string()))?;
        Ok(ClientKey { id, secret })
    }
}
