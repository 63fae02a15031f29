//! Secret keys and their files.

use chiffre_ir::container::{Contents, Dtype, Reader, Writer};
use chiffre_ir::input;
use chiffre_ir::output::Output;
use chiffre_ir::token::{KeyId, hex};
use chiffre_params::tfhe::TfheParams;
use chiffre_tfhe::{Session, TfheError, key_id};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Seek, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// Kind of secret-key files.
pub const SECRET_KIND: &str = "tfhe-secret";

/// A secret key with its random name: words that are 0 or 1, wiped on drop.
pub struct ClientKey {
    pub(crate) id: KeyId,
    /// Of dimension n.
    pub(crate) small: Zeroizing<Vec<u64>>,
    /// Of dimension k·N: k polynomials, one behind the other.
    pub(crate) big: Zeroizing<Vec<u64>>,
    /// Of the dimension n of the keys that remove bits; empty if these are no others.
    pub(crate) removal: Zeroizing<Vec<u64>>,
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({}, ..)", hex(&self.id))
    }
}

/// What a secret key says of the parameters that it is for.
fn named(p: &TfheParams) -> String {
    let [r, s] = [p.rotation, p.keyswitch].map(|d| format!("{}x{}", d.levels, d.base_log));
    let own = format!("n={} k={} log_n={} rotation={r} keyswitch={s} noise={},{}", p.n, p.k, p.log_n, p.lwe_bound, p.glwe_bound);
    p.removing().iter().fold(own, |all, r| format!("{all} removal: {}", named(r)))
}

/// The parts of a secret in files, with their dimensions.
fn parts(p: &TfheParams) -> Vec<(&'static str, usize)> {
    let removal = p.removing().map(|r| ("removal", r.n));
    [("big", p.big()), ("small", p.n)].into_iter().chain(removal).collect()
}

impl ClientKey {
    /// Name of the key; not secret.
    pub fn id(&self) -> KeyId {
        self.id
    }
    fn contents(&self, s: &Session) -> Contents {
        let meta = BTreeMap::from([("params".to_string(), named(s.params())), ("key-id".to_string(), hex(&self.id))]);
        Contents::new(
            SECRET_KIND,
            meta,
            &parts(s.params()).into_iter().map(|(name, len)| (name.to_string(), Dtype::U8, vec![len])).collect::<Vec<_>>(),
        )
    }
    fn fill(&self, w: &mut Writer<'_>) -> Result<(), TfheError> {
        let bytes = |words: &[u64]| Zeroizing::new(words.iter().map(|&w| w as u8).collect::<Vec<u8>>());
        // Files have tensors in the order of their names.
        w.tensor("big", &bytes(&self.big))?;
        if !self.removal.is_empty() {
            w.tensor("removal", &bytes(&self.removal))?;
        }
        Ok(w.tensor("small", &bytes(&self.small))?)
    }
    /// Writes the secret key to a file that only its owner can read. Nothing may have its name:
    /// what is encrypted under a key that is overwritten is lost.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), TfheError> {
        self.contents(s).save_new(path, |w| self.fill(w)).map(|_| ())
    }
    /// Writes the secret key in place of what has the name, but leaves the file without it, for
    /// [`Output::finish_together`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self, s: &Session, path: &Path) -> Result<Output, TfheError> {
        self.contents(s).stage(path, |w| self.fill(w))
    }
    /// As [`Self::save`], to any sink, which errors call `name`. Who can read it is the caller's
    /// care.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, s: &Session, sink: impl Write, name: &str) -> Result<(), TfheError> {
        self.contents(s).write(sink, name, |w| self.fill(w)).map(|_| ())
    }
    /// Reads a secret key for the session's parameters from a file.
    ///
    /// # Errors
    /// I/O errors, damaged files, keys for other parameters; a file that others than its owner may
    /// read.
    pub fn load(s: &Session, path: &Path) -> Result<ClientKey, TfheError> {
        match input::not_private(path) {
            Some(problem) => Err(TfheError::Input(problem)),
            None => ClientKey::from_container(s, Reader::open(path, SECRET_KIND)?),
        }
    }
    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<ClientKey, TfheError> {
        ClientKey::from_container(s, Reader::new(source, name, SECRET_KIND)?)
    }
    fn from_container<R: Read + Seek>(s: &Session, mut r: Reader<R>) -> Result<ClientKey, TfheError> {
        if r.meta("params")? != named(s.params()) {
            return Err(TfheError::Mismatch(format!("{} is a key for other parameters than this program's", r.path().display())));
        }
        let id = key_id(&r)?;
        let mut part = |(name, len): (&str, usize)| {
            let bytes = Zeroizing::new(r.read(name, Dtype::U8, &[len])?);
            match bytes.iter().any(|b| *b > 1) {
                true => Err(TfheError::from(r.error("a secret key with a word that is neither 0 nor 1"))),
                false => Ok(Zeroizing::new(bytes.iter().map(|&b| u64::from(b)).collect::<Vec<u64>>())),
            }
        };
        let mut all = parts(s.params()).into_iter();
        let mut next = || all.next().map_or(Ok(Zeroizing::new(vec![])), &mut part);
        Ok(ClientKey { id, big: next()?, small: next()?, removal: next()? })
    }
}
