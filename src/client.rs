//! The data owner's side: keys, encryption, decryption.

use crate::data::Images;
use crate::{Error, Program, logits};
use chiffre_client::{ClientKey, Report};
use chiffre_runtime::{Batch, EvalKeySet, ResultBatch};
use std::path::Path;

/// A secret key with the program it is for. It never leaves this value, but for [`Client::save`].
pub struct Client {
    program: Program,
    key: ClientKey,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("program", &self.program).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a secret key from the operating system's randomness.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(program: &Program) -> Result<Client, Error> {
        Ok(Client { key: ClientKey::generate(program.session())?, program: program.clone() })
    }

    /// Reads a secret key.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged or of another kind, or a key for other parameters.
    pub fn load(program: &Program, path: impl AsRef<Path>) -> Result<Client, Error> {
        Ok(Client { key: ClientKey::load(program.session(), path.as_ref())?, program: program.clone() })
    }

    /// Writes the secret key to a file that only its owner can read.
    ///
    /// # Errors
    /// A file that cannot be written, or that is there already: what is encrypted under a key that
    /// is overwritten is lost.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.key.save(self.program.session(), path.as_ref())?)
    }

    /// Makes the keys that a server needs to run the program. They are new at every call.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn evaluation_keys(&self) -> Result<EvalKeySet, Error> {
        Ok(self.key.evaluation_keys(self.program.session())?)
    }

    /// Encrypts images, as many as a run takes at most.
    ///
    /// # Errors
    /// Images of another shape, too many of them, or values beyond 10^6.
    pub fn encrypt(&self, images: &Images) -> Result<Batch, Error> {
        let shape = self.program.image_shape()?;
        if images.shape != shape {
            return Err(Error::input(format!("images of shape {:?}, where the program takes {shape:?}", images.shape)));
        }
        Ok(self.key.encrypt(self.program.session(), &images.pixels, images.n)?)
    }

    /// Decrypts the result of a run.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a result under another secret key. Images without an answer are no
    /// error: see [`Answers`].
    pub fn decrypt(&self, result: &ResultBatch) -> Result<Answers, Error> {
        let decrypted = self.key.decrypt(self.program.session(), result)?;
        let classes = decrypted.logits.len() / result.images.max(1);
        Ok(Answers { logits: decrypted.logits, classes, report: decrypted.report })
    }
}

/// Decrypted answers.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Images × classes, row by row; NaN for images without an answer.
    pub logits: Vec<f32>,
    /// Logits of an image.
    pub classes: usize,
    /// Which images have no answer, and why.
    pub report: Report,
}

impl Answers {
    /// The logits of every image; `None` for those without an answer.
    pub fn rows(&self) -> impl Iterator<Item = Option<&[f32]>> {
        let lost = self.report.affected();
        self.logits.chunks(self.classes.max(1)).enumerate().map(move |(i, row)| (!lost.contains(&i)).then_some(row))
    }

    /// The best class of every image; `None` for those without an answer.
    pub fn best(&self) -> Vec<Option<usize>> {
        self.rows().map(|row| row.and_then(logits::argmax)).collect()
    }
}
