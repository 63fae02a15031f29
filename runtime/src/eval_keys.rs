//! Evaluation keys: in memory in seeded form, on disk, and prepared for execution.

use crate::words::{poly_bytes, polys_from_bytes};
use crate::{RuntimeError, Session};
use chiffre_ckks::bundle::{PreparedKey, PreparedKeys};
use chiffre_ckks::ciphertext::ShapeError;
use chiffre_ckks::keys::{KeyTarget, SeededSwitchingKey};
use chiffre_ckks::ring::{Gadget, RnsPoly};
use chiffre_ir::container::{Contents, Dtype, Reader, Writer};
use chiffre_ir::output::Output;
use chiffre_ir::token::{KeyId, hex, parse_id};
use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Kind of evaluation-key files.
pub const KIND: &str = "evaluation-keys";

/// The seeded evaluation keys of one secret key for one program.
#[derive(Debug)]
pub struct EvalKeySet {
    /// Name of the secret key.
    pub id: KeyId,
    /// The keys.
    pub keys: Vec<SeededSwitchingKey>,
}

/// Checks that a file belongs to the session's program and reads the key id it carries.
///
/// # Errors
/// A file of another program, or one that names none.
pub fn check_binding<R: Read + Seek>(r: &Reader<R>, s: &Session) -> Result<KeyId, RuntimeError> {
    if r.meta("program")? != s.file.digest {
        return Err(RuntimeError::Mismatch(format!(
            "{} was made for another program (digest {}…, this one is {}…)",
            r.path().display(),
            &r.meta("program")?.get(..12).unwrap_or(""),
            &s.file.digest[..12]
        )));
    }
    parse_id(r.meta("key-id")?).ok_or_else(|| r.error("bad key id").into())
}

/// Metadata of a file that belongs to the session's program and to a secret key.
pub fn binding(s: &Session, id: &KeyId) -> BTreeMap<String, String> {
    BTreeMap::from([("program".to_string(), s.file.digest.clone()), ("key-id".to_string(), hex(id))])
}

pub(crate) fn name(target: KeyTarget, g: Gadget) -> String {
    let t = match target {
        KeyTarget::Relinearization => "relin".to_string(),
        KeyTarget::Galois(g) => format!("g{:06}", g.0),
        KeyTarget::DenseToSparse => "to-sparse".to_string(),
        KeyTarget::SparseToDense(g) => format!("from-sparse-g{:06}", g.0),
    };
    format!("{t}.{:03}.{:03}", g.limbs, g.alpha)
}

impl EvalKeySet {
    /// Bytes of the seeded keys.
    pub fn bytes(&self) -> usize {
        self.keys.iter().flat_map(|k| k.b()).map(|p| p.rows() * p.n() * 8).sum()
    }
    fn by_name(&self) -> BTreeMap<String, &SeededSwitchingKey> {
        self.keys.iter().map(|k| (name(k.target(), k.gadget()), k)).collect()
    }
    fn contents(&self, s: &Session) -> Contents {
        let n = s.context.ring().n();
        let mut list = vec![];
        for (name, k) in self.by_name() {
            let rows = k.b().first().map_or(0, RnsPoly::rows);
            list.push((format!("{name}.b"), Dtype::U64, vec![k.b().len(), rows, n]));
            list.push((format!("{name}.seed"), Dtype::U8, vec![32]));
        }
        Contents::new(KIND, binding(s, &self.id), &list)
    }
    fn fill(&self, w: &mut Writer<'_>) -> Result<(), RuntimeError> {
        for (name, k) in self.by_name() {
            w.tensor_parts(&format!("{name}.b"), k.b().iter().map(|p| poly_bytes([p])))?;
            w.tensor(&format!("{name}.seed"), k.seed())?;
        }
        Ok(())
    }
    /// Writes the keys to a file.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        self.contents(s).save(path, |w| self.fill(w)).map(|_| ())
    }
    /// As [`Self::save`], where nothing may have the name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save_new(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        self.contents(s).save_new(path, |w| self.fill(w)).map(|_| ())
    }
    /// As [`Self::save`], but leaves the file without its name, for [`Output::finish_together`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self, s: &Session, path: &Path) -> Result<Output, RuntimeError> {
        self.contents(s).stage(path, |w| self.fill(w))
    }
    /// As [`Self::save`], to any sink, which errors call `name`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, s: &Session, sink: impl Write, name: &str) -> Result<(), RuntimeError> {
        self.contents(s).write(sink, name, |w| self.fill(w)).map(|_| ())
    }
    /// Expands the keys for execution, giving up the seeded form key by key.
    pub fn prepare(self, s: &Session) -> ServerKeys {
        let ring = s.context.ring();
        let expand = || self.keys.into_iter().map(|k| PreparedKey::new(ring, k.expand(ring))).collect();
        ServerKeys { id: self.id, keys: s.engine().install(expand) }
    }
    /// As [`Self::prepare`], and keeps the seeded form.
    pub fn expanded(&self, s: &Session) -> ServerKeys {
        let ring = s.context.ring();
        let expand = || self.keys.iter().map(|k| PreparedKey::new(ring, k.expand(ring))).collect();
        ServerKeys { id: self.id, keys: s.engine().install(expand) }
    }
}

/// The evaluation keys of one client for one program, expanded: what a server runs with.
#[derive(Debug)]
pub struct ServerKeys {
    id: KeyId,
    keys: PreparedKeys,
}

impl ServerKeys {
    /// Name of the secret key.
    pub fn id(&self) -> KeyId {
        self.id
    }
    /// Bytes of the expanded keys.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
    }
    /// Keys that were expanded before.
    pub(crate) fn from_parts(id: KeyId, keys: PreparedKeys) -> ServerKeys {
        ServerKeys { id, keys }
    }
    /// The keys themselves.
    pub(crate) fn keys(&self) -> &PreparedKeys {
        &self.keys
    }
    /// Reads the keys that the program uses from a file of seeded keys, and expands them one by
    /// one.
    ///
    /// # Errors
    /// I/O errors, damaged files, keys of another program, missing keys, residues out of range.
    pub fn load(s: &Session, path: &Path) -> Result<ServerKeys, RuntimeError> {
        ServerKeys::from_container(s, Reader::open(path, KIND)?)
    }
    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<ServerKeys, RuntimeError> {
        ServerKeys::from_container(s, Reader::new(source, name, KIND)?)
    }
    fn from_container<R: Read + Seek>(s: &Session, mut r: Reader<R>) -> Result<ServerKeys, RuntimeError> {
        let id = check_binding(&r, s)?;
        let ring = s.context.ring();
        let mut keys = PreparedKeys::new();
        for (target, gadget) in s.key_targets() {
            let (name, rows) = (name(target, gadget), gadget.rows());
            let digits = target.digits(gadget);
            let bytes = r.read(&format!("{name}.b"), Dtype::U64, &[digits, rows, ring.n()])?;
            let seed = r.read(&format!("{name}.seed"), Dtype::U8, &[32])?;
            let mut fixed = [0; 32];
            fixed.copy_from_slice(&seed);
            let key = s.engine().install(|| {
                let b = polys_from_bytes(&bytes, ring.n(), rows, digits);
                drop(bytes);
                let key = SeededSwitchingKey::from_parts(ring, gadget, target, fixed, b)?;
                Ok::<_, ShapeError>(PreparedKey::new(ring, key.expand(ring)))
            });
            keys.insert(key.map_err(|e| r.error(format!("key {name}: {e}")))?);
        }
        Ok(ServerKeys { id, keys })
    }
}
