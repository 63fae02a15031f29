//! Evaluation keys: what a server needs for look-ups, with uniform words as seeds.

use crate::session::{Seed, binding, check_binding};
use crate::words::{read_words, write_words};
use crate::{Session, TfheError};
use chiffre_ir::container::{Contents, Dtype, Reader, Writer};
use chiffre_ir::output::Output;
use chiffre_ir::token::KeyId;
use chiffre_params::tfhe::TfheParams;
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Kind of evaluation-key files.
pub const EVAL_KIND: &str = "tfhe-eval";

/// The evaluation keys of one secret key for one program. Only bodies are kept: each seed yields
/// the masks.
#[derive(Clone, PartialEq)]
pub struct EvaluationKeys {
    /// Name of the secret key.
    pub id: KeyId,
    /// For look-ups in tables, and for those that remove bits unless they have keys of their own.
    pub table: LookupKeys,
    /// For look-ups that remove bits.
    pub removal: Option<LookupKeys>,
}

/// The keys of one kind of look-ups; k, N and n are those of the kind.
#[derive(Clone, PartialEq)]
pub struct LookupKeys {
    /// Bodies of the bootstrapping key, `[n, levels, k + 1, N]`.
    pub rotation: Vec<u64>,
    /// Seed of its masks.
    pub rotation_seed: Seed,
    /// Bodies of the keyswitching key, `[dimension of ciphertexts, levels]`.
    pub keyswitch: Vec<u64>,
    /// Seed of its masks.
    pub keyswitch_seed: Seed,
}

/// Shapes of the bodies of a kind's bootstrapping key and of its keyswitching key from dimension
/// `from`.
fn shapes(p: &TfheParams, from: usize) -> ([usize; 4], [usize; 2]) {
    ([p.n, p.rotation.levels as usize, p.k + 1, p.degree()], [from, p.keyswitch.levels as usize])
}

/// What the names of tensors of a kind begin with. Files have tensors in the order of their names.
const TABLE: &str = "table.";
const REMOVAL: &str = "removal.";

/// The kinds of keys that a set has: what their tensors' names begin with, and their numbers.
fn kinds(p: &TfheParams) -> impl Iterator<Item = (&'static str, TfheParams)> {
    [(TABLE, *p)].into_iter().chain(p.removing().map(|r| (REMOVAL, r)))
}

impl LookupKeys {
    fn fits(&self, p: &TfheParams, from: usize) -> bool {
        let (rotation, keyswitch) = shapes(p, from);
        [self.rotation.len(), self.keyswitch.len()] == [rotation.iter().product(), keyswitch.iter().product::<usize>()]
    }
    fn words(&self) -> usize {
        self.rotation.len() + self.keyswitch.len()
    }
    fn fill(&self, w: &mut Writer<'_>, kind: &str) -> Result<(), TfheError> {
        write_words(w, &format!("{kind}keyswitch.bodies"), &self.keyswitch)?;
        w.tensor(&format!("{kind}keyswitch.seed"), &self.keyswitch_seed)?;
        write_words(w, &format!("{kind}rotation.bodies"), &self.rotation)?;
        Ok(w.tensor(&format!("{kind}rotation.seed"), &self.rotation_seed)?)
    }
    fn read<R: Read + Seek>(r: &mut Reader<R>, kind: &str, p: &TfheParams, from: usize) -> Result<LookupKeys, TfheError> {
        let (rotation, keyswitch) = shapes(p, from);
        Ok(LookupKeys {
            rotation: read_words(r, &format!("{kind}rotation.bodies"), &rotation)?,
            rotation_seed: seed(r, &format!("{kind}rotation.seed"))?,
            keyswitch: read_words(r, &format!("{kind}keyswitch.bodies"), &keyswitch)?,
            keyswitch_seed: seed(r, &format!("{kind}keyswitch.seed"))?,
        })
    }
}

impl EvaluationKeys {
    /// Refuses keys of other sizes than the parameters ask for.
    ///
    /// # Errors
    /// [`TfheError::Mismatch`].
    pub fn check(&self, p: &TfheParams) -> Result<(), TfheError> {
        let removal = match (&self.removal, p.removing()) {
            (None, None) => true,
            (Some(keys), Some(r)) => keys.fits(&r, p.big()),
            _ => false,
        };
        match removal && self.table.fits(p, p.big()) {
            true => Ok(()),
            false => Err(TfheError::Mismatch("the evaluation keys are for other parameters than this program's".into())),
        }
    }
    /// Bytes of the keys.
    pub fn bytes(&self) -> usize {
        8 * (self.table.words() + self.removal.as_ref().map_or(0, LookupKeys::words))
    }
    fn contents(&self, s: &Session) -> Contents {
        let from = s.params().big();
        let of = |(kind, p): (&str, TfheParams)| {
            let (rotation, keyswitch) = shapes(&p, from);
            [
                (format!("{kind}keyswitch.bodies"), Dtype::U64, keyswitch.to_vec()),
                (format!("{kind}keyswitch.seed"), Dtype::U8, vec![size_of::<Seed>()]),
                (format!("{kind}rotation.bodies"), Dtype::U64, rotation.to_vec()),
                (format!("{kind}rotation.seed"), Dtype::U8, vec![size_of::<Seed>()]),
            ]
        };
        Contents::new(EVAL_KIND, binding(s, &self.id), &kinds(s.params()).flat_map(of).collect::<Vec<_>>())
    }
    fn fill(&self, w: &mut Writer<'_>) -> Result<(), TfheError> {
        self.removal.as_ref().map_or(Ok(()), |keys| keys.fill(w, REMOVAL))?;
        self.table.fill(w, TABLE)
    }
    /// Writes the keys to a file.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), TfheError> {
        self.contents(s).save(path, |w| self.fill(w)).map(|_| ())
    }
    /// As [`Self::save`], where nothing may have the name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save_new(&self, s: &Session, path: &Path) -> Result<(), TfheError> {
        self.contents(s).save_new(path, |w| self.fill(w)).map(|_| ())
    }
    /// As [`Self::save`], but leaves the file without its name, for [`Output::finish_together`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self, s: &Session, path: &Path) -> Result<Output, TfheError> {
        self.contents(s).stage(path, |w| self.fill(w))
    }
    /// As [`Self::save`], to any sink, which errors call `name`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, s: &Session, sink: impl Write, name: &str) -> Result<(), TfheError> {
        self.contents(s).write(sink, name, |w| self.fill(w)).map(|_| ())
    }
    /// Reads keys for the session's program from a file.
    ///
    /// # Errors
    /// I/O errors, damaged files, keys of another program or of other sizes.
    pub fn load(s: &Session, path: &Path) -> Result<EvaluationKeys, TfheError> {
        EvaluationKeys::from_container(s, Reader::open(path, EVAL_KIND)?)
    }
    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<EvaluationKeys, TfheError> {
        EvaluationKeys::from_container(s, Reader::new(source, name, EVAL_KIND)?)
    }
    fn from_container<R: Read + Seek>(s: &Session, mut r: Reader<R>) -> Result<EvaluationKeys, TfheError> {
        let (id, from) = (check_binding(&r, s)?, s.params().big());
        let mut all =
            kinds(s.params()).map(|(kind, p)| LookupKeys::read(&mut r, kind, &p, from)).collect::<Result<Vec<_>, _>>()?.into_iter();
        match (all.next(), all.next()) {
            (Some(table), removal) => Ok(EvaluationKeys { id, table, removal }),
            _ => Err(r.error("no keys").into()),
        }
    }
}

fn seed<R: Read + Seek>(r: &mut Reader<R>, name: &str) -> Result<Seed, TfheError> {
    let bytes = r.read(name, Dtype::U8, &[size_of::<Seed>()])?;
    Seed::try_from(&bytes[..]).map_err(|_| r.error("bad seed").into())
}
