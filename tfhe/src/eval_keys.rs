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
    /// Bodies of the bootstrapping key, `[n, levels, k + 1, N]`.
    pub rotation: Vec<u64>,
    /// Seed of its masks.
    pub rotation_seed: Seed,
    /// Bodies of the keyswitching key, `[k·N, levels]`.
    pub keyswitch: Vec<u64>,
    /// Seed of its masks.
    pub keyswitch_seed: Seed,
}

/// Shape of the bodies of the bootstrapping key.
fn rotation_shape(p: &TfheParams) -> [usize; 4] {
    [p.n, p.rotation.levels as usize, p.k + 1, p.degree()]
}

/// Shape of the bodies of the keyswitching key.
fn keyswitch_shape(p: &TfheParams) -> [usize; 2] {
    [p.big(), p.keyswitch.levels as usize]
}

impl EvaluationKeys {
    /// Refuses keys of other sizes than the parameters ask for.
    ///
    /// # Errors
    /// [`TfheError::Mismatch`].
    pub fn check(&self, p: &TfheParams) -> Result<(), TfheError> {
        let words = [rotation_shape(p).iter().product(), keyswitch_shape(p).iter().product::<usize>()];
        match [self.rotation.len(), self.keyswitch.len()] == words {
            true => Ok(()),
            false => Err(TfheError::Mismatch("the evaluation keys are for other parameters than this program's".into())),
        }
    }
    /// Bytes of the keys.
    pub fn bytes(&self) -> usize {
        8 * (self.rotation.len() + self.keyswitch.len())
    }
    fn contents(&self, s: &Session) -> Contents {
        let p = s.params();
        let list = [
            ("keyswitch.bodies".to_string(), Dtype::U64, keyswitch_shape(p).to_vec()),
            ("keyswitch.seed".to_string(), Dtype::U8, vec![size_of::<Seed>()]),
            ("rotation.bodies".to_string(), Dtype::U64, rotation_shape(p).to_vec()),
            ("rotation.seed".to_string(), Dtype::U8, vec![size_of::<Seed>()]),
        ];
        Contents::new(EVAL_KIND, binding(s, &self.id), &list)
    }
    fn fill(&self, w: &mut Writer<'_>) -> Result<(), TfheError> {
        write_words(w, "keyswitch.bodies", &self.keyswitch)?;
        w.tensor("keyswitch.seed", &self.keyswitch_seed)?;
        write_words(w, "rotation.bodies", &self.rotation)?;
        Ok(w.tensor("rotation.seed", &self.rotation_seed)?)
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
        let (id, p) = (check_binding(&r, s)?, s.params());
        Ok(EvaluationKeys {
            id,
            rotation: read_words(&mut r, "rotation.bodies", &rotation_shape(p))?,
            rotation_seed: seed(&mut r, "rotation.seed")?,
            keyswitch: read_words(&mut r, "keyswitch.bodies", &keyswitch_shape(p))?,
            keyswitch_seed: seed(&mut r, "keyswitch.seed")?,
        })
    }
}

fn seed<R: Read + Seek>(r: &mut Reader<R>, name: &str) -> Result<Seed, TfheError> {
    let bytes = r.read(name, Dtype::U8, &[size_of::<Seed>()])?;
    Seed::try_from(&bytes[..]).map_err(|_| r.error("bad seed").into())
}
