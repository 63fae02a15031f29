//! The data owner's half of the runtime: keys, encryption, decryption.
//!
//! A crate of its own, because only it may name secrets: `chiffre-runtime`, which runs programs on
//! a server, does not depend on it, nor on `chiffre-ckks-client`.
#![forbid(unsafe_code)]

mod canary;
mod check;
mod probe;
mod receipt;
mod screening;
pub mod share;

pub use check::{DamagedCiphertext, Decrypted, Limits, ROOM, Refused, Report, Spread};
pub use probe::Opened;
pub use receipt::{KIND as RECEIPT_KIND, Receipt};
pub use screening::{Absurd, Reason, Screening, chosen, sections};

use canary::Canaries;

use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor};
use chiffre_ir::container::{Contents, Dtype, Reader, Writer};
use chiffre_ir::output::Output;
use chiffre_ir::program::LARGEST_INPUT;
use chiffre_runtime::{Batch, EvalKeySet, KeyId, ResultBatch, RuntimeError, Session, hex, parse_id};
use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// Kind of secret-key files.
pub const KIND: &str = "secret-key";

/// A generator seeded by the operating system.
fn randomness() -> Result<Csprng, RuntimeError> {
    Csprng::from_os().map_err(|e| RuntimeError::Randomness(e.to_string()))
}

/// Refuses what no program takes, or this one does not.
fn check_images(s: &Session, images: &[f32], n: usize) -> Result<(), RuntimeError> {
    let per: usize = s.input_layout()?.shape.iter().product();
    let batch = s.program().header.batch;
    if n == 0 || n > batch || images.len() != n * per {
        return Err(RuntimeError::Input(format!(
            "{n} images with {} values in all; the program takes 1 to {batch} images of {per} values",
            images.len()
        )));
    }
    match images.iter().position(|v| !v.is_finite() || f64::from(v.abs()) > LARGEST_INPUT) {
        Some(i) => Err(RuntimeError::Input(format!("image {} has the value {}: inputs must be finite and below 10^6", i / per, images[i]))),
        None => Ok(()),
    }
}

/// Refuses images that would harm others.
fn screen(s: &Session, images: &[f32], n: usize) -> Result<(), RuntimeError> {
    match &Screening::new(s)?.absurd(images, n)?[..] {
        [] => Ok(()),
        [first, others @ ..] => {
            let more = if others.is_empty() { String::new() } else { format!(" (and {} more images)", others.len()) };
            Err(RuntimeError::Input(format!("image {} cannot be encrypted with others: {}{more}", first.image, first.reason)))
        }
    }
}

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
        let mut rng = randomness()?;
        let mut id = [0; 16];
        id.copy_from_slice(&rng.seed()[..16]);
        Ok(ClientKey { id, secret: s.engine().install(|| SecretKey::generate(&s.context, &mut rng)) })
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
        self.evaluation_keys_while(s, || true)
    }
    /// As [`Self::evaluation_keys`], while `go_on` says so: it is asked before every key, on any
    /// thread.
    ///
    /// # Errors
    /// As [`Self::evaluation_keys`]; [`RuntimeError::NoKeys`] where `go_on` has ended it.
    pub fn evaluation_keys_while(&self, s: &Session, go_on: impl Fn() -> bool + Sync) -> Result<EvalKeySet, RuntimeError> {
        let mut generator = KeyGenerator::new(&s.context, &self.secret, randomness()?);
        if let Some(b) = &s.program().header.bootstrap {
            generator = generator.with_sparse_weight(b.weight);
        }
        let keys = s.engine().install(|| generator.switching_keys_while(&s.key_targets(), &go_on))?;
        Ok(EvalKeySet { id: self.id, keys: keys.ok_or(RuntimeError::NoKeys)? })
    }
    /// Encrypts normalised images `[n, C, H, W]`, when they have passed [`Screening`]. The receipt
    /// stays with the data owner: decryption tells by it whether a result answers this batch.
    ///
    /// # Errors
    /// A number of values or images that the program does not take; values that are not finite or
    /// too large; an image that would harm others.
    pub fn encrypt(&self, s: &Session, images: &[f32], n: usize) -> Result<(Batch, Receipt), RuntimeError> {
        check_images(s, images, n)?;
        screen(s, images, n)?;
        self.encrypt_unscreened(s, images, n, false)
    }
    /// As [`Self::encrypt`], with a canary in every unit: an image with known logits at a secret
    /// place, so that decryption finds answers to something else. It takes one place of each unit,
    /// and two runs of the canaries in the clear.
    ///
    /// # Errors
    /// As [`Self::encrypt`]; a batch that has no room for canaries; a program file that does not
    /// hold its HE IR; images so far out of range that no mixture of them has usable logits.
    pub fn encrypt_with_canaries(&self, s: &Session, images: &[f32], n: usize) -> Result<(Batch, Receipt), RuntimeError> {
        check_images(s, images, n)?;
        screen(s, images, n)?;
        self.encrypt_unscreened(s, images, n, true)
    }
    /// As [`Self::encrypt`] or, with `canaries`, [`Self::encrypt_with_canaries`], for images that
    /// the caller has screened, or does not want to: an image far out of range then takes the
    /// answers of others with it, and behind bootstraps nothing but a canary may tell.
    ///
    /// # Errors
    /// As these, but for images that would harm others.
    pub fn encrypt_unscreened(&self, s: &Session, images: &[f32], n: usize, canaries: bool) -> Result<(Batch, Receipt), RuntimeError> {
        check_images(s, images, n)?;
        if !canaries {
            let batch = self.encrypt_all(s, images, n)?;
            let receipt = Receipt::of(&batch, n, None);
            return Ok((batch, receipt));
        }
        let (canaries, all) = s.engine().install(|| Canaries::among(s, images, n))?;
        let batch = self.encrypt_all(s, &all, n + canaries.count())?;
        let receipt = Receipt::of(&batch, n, Some(canaries));
        Ok((batch, receipt))
    }
    fn encrypt_all(&self, s: &Session, images: &[f32], n: usize) -> Result<Batch, RuntimeError> {
        let ty = s.input()?;
        let per: usize = ty.layout.shape.iter().product();
        let mut rng = randomness()?;
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&rng.seed()[..16]);
        let mut encryptor = SecretKeyEncryptor::new(&s.context, &self.secret, rng);
        let scale = s.scale(&ty.scale);
        let unit = ty.layout.unit();
        let encode = |v: &Vec<_>| s.context.encode(v, &scale, ty.limbs).map_err(|e| RuntimeError::Input(e.to_string()));
        let mut encrypt = |chunk: &[f32]| {
            let slots = unit.pack(chunk, chunk.len() / per);
            slots.iter().map(|v| Ok(encryptor.encrypt(&encode(v)?))).collect::<Result<Vec<_>, RuntimeError>>()
        };
        let cts = s.engine().install(|| images.chunks(per * unit.batch).map(&mut encrypt).collect::<Result<Vec<_>, _>>())?;
        Batch::new(s, self.id, nonce, n, cts)
    }
    /// Decrypts the result of the batch that the receipt is of, and says which of its images have
    /// no answer. Canaries are compared and left out.
    ///
    /// # Errors
    /// [`RuntimeError::Mismatch`] for a result under another key, or one that does not answer the
    /// batch ([`Receipt::check`]); [`RuntimeError::Input`] for one that no run leaves
    /// ([`ResultBatch::check`]).
    pub fn decrypt(&self, s: &Session, result: &ResultBatch, receipt: &Receipt) -> Result<Decrypted, RuntimeError> {
        self.check_key(result)?;
        receipt.check(result)?;
        Ok(receipt.settle(self.decrypt_all(s, result)?))
    }
    /// As [`Self::decrypt`], of a result without a receipt: it may be old, or another batch's, and
    /// the answers of canaries are among the others.
    ///
    /// # Errors
    /// As [`Self::decrypt`], but for what the receipt tells.
    pub fn decrypt_unbound(&self, s: &Session, result: &ResultBatch) -> Result<Decrypted, RuntimeError> {
        self.check_key(result)?;
        self.decrypt_all(s, result)
    }
    fn check_key(&self, result: &ResultBatch) -> Result<(), RuntimeError> {
        if result.id == self.id {
            return Ok(());
        }
        let (theirs, ours) = (hex(&result.id), hex(&self.id));
        Err(RuntimeError::Mismatch(format!("{}: the result is under key {theirs}, this is key {ours}", result.name)))
    }
    fn decrypt_all(&self, s: &Session, result: &ResultBatch) -> Result<Decrypted, RuntimeError> {
        result.check(s)?;
        let decryptor = Decryptor::new(&s.context, &self.secret);
        let (encoder, ring, ty) = (s.context.encoder(), s.context.ring(), s.output()?);
        let limits = Limits::of(s)?;
        let q = limits.q;
        let layout = ty.layout.unit();
        let mut out = Decrypted { logits: vec![], report: Report::default() };
        for (m, cts) in result.cts.iter().enumerate() {
            let one = |c| {
                let plaintext = decryptor.decrypt(c).map_err(|e| RuntimeError::Mismatch(e.to_string()))?;
                let coefficients = encoder.coefficients(ring, &plaintext);
                Ok((Spread::of(&coefficients, q), encoder.slots_of(&coefficients, &plaintext.scale)))
            };
            let plain: Result<Vec<_>, RuntimeError> = s.engine().install(|| cts.iter().map(one).collect());
            let images = result.images.saturating_sub(out.report.images).min(layout.batch);
            out.push(&limits, &layout, m, plain?, images);
        }
        Ok(out)
    }
    fn contents(&self, s: &Session) -> Contents {
        let n = s.context.ring().n();
        let meta = BTreeMap::from([("params".to_string(), hex(&s.context.params().digest())), ("key-id".to_string(), hex(&self.id))]);
        Contents::new(KIND, meta, &[("secret".to_string(), Dtype::I8, vec![n])])
    }
    fn fill(&self, w: &mut Writer<'_>) -> Result<(), RuntimeError> {
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(self.secret.expose_coefficients().iter().map(|&c| c as u8).collect());
        Ok(w.tensor("secret", &bytes)?)
    }
    /// Writes the secret key to a file that only its owner can read. Nothing may have its name:
    /// what is encrypted under a key that is overwritten is lost.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        self.contents(s).save_new(path, |w| self.fill(w)).map(|_| ())
    }
    /// As [`Self::save`], in place of what has the name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn replace(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        self.contents(s).save(path, |w| self.fill(w)).map(|_| ())
    }
    /// As [`Self::replace`], but leaves the file without its name, for [`Output::finish_together`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self, s: &Session, path: &Path) -> Result<Output, RuntimeError> {
        self.contents(s).stage(path, |w| self.fill(w))
    }
    /// As [`Self::save`], to any sink, which errors call `name`. Who can read it is the caller's
    /// care.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, s: &Session, sink: impl Write, name: &str) -> Result<(), RuntimeError> {
        self.contents(s).write(sink, name, |w| self.fill(w)).map(|_| ())
    }
    /// Reads a secret key for the session's parameters from a file.
    ///
    /// # Errors
    /// I/O errors, damaged files, keys for other parameters; a file that others than its owner may
    /// read.
    pub fn load(s: &Session, path: &Path) -> Result<ClientKey, RuntimeError> {
        if let Some(problem) = chiffre_ir::input::not_private(path) {
            return Err(RuntimeError::Input(problem));
        }
        ClientKey::from_container(s, Reader::open(path, KIND)?)
    }
    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<ClientKey, RuntimeError> {
        ClientKey::from_container(s, Reader::new(source, name, KIND)?)
    }
    fn from_container<R: Read + Seek>(s: &Session, mut r: Reader<R>) -> Result<ClientKey, RuntimeError> {
        if r.meta("params")? != hex(&s.context.params().digest()) {
            return Err(RuntimeError::Mismatch(format!("{} is a key for other parameters than this program's", r.path().display())));
        }
        let id = parse_id(r.meta("key-id")?).ok_or_else(|| r.error("bad key id"))?;
        let bytes = Zeroizing::new(r.read("secret", Dtype::I8, &[s.context.ring().n()])?);
        let coefficients: Zeroizing<Vec<i8>> = Zeroizing::new(bytes.iter().map(|&b| b as i8).collect());
        let secret = s.engine().install(|| SecretKey::from_coefficients(&s.context, &coefficients)).map_err(|e| r.error(e.to_string()))?;
        Ok(ClientKey { id, secret })
    }
}
