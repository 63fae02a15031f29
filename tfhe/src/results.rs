//! Encrypted results of a run.

use crate::batch::{images, nonce};
use crate::session::{binding, check_binding};
use crate::words::{read_words, write_words};
use crate::{Session, TfheError};
use chiffre_ir::container::{Contents, Dtype, Reader, Writer};
use chiffre_ir::output::Output;
use chiffre_ir::token::{KeyId, Nonce, hex};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Kind of result files.
pub const RESULT_KIND: &str = "tfhe-result";

/// The encrypted outputs of all images of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// What errors call it: its file, or "the result".
    pub name: String,
    /// Name of the secret key.
    pub id: KeyId,
    /// Nonce of the batch.
    pub nonce: Nonce,
    /// Digest of the batch.
    pub input: String,
    /// Number of images.
    pub images: usize,
    /// For each output its ciphertexts, `[images, elements, k·N + 1]`, the body last.
    pub outputs: Vec<Vec<u64>>,
}

fn name(output: usize) -> String {
    format!("out{output:03}")
}

/// Shapes of the tensors of so many images.
fn shapes(s: &Session, images: usize) -> Vec<[usize; 3]> {
    s.outputs().map(|ty| [images, ty.shape.len(), s.words()]).collect()
}

impl Results {
    fn contents(&self, s: &Session) -> Contents {
        let mut meta = binding(s, &self.id);
        meta.insert("images".into(), self.images.to_string());
        meta.insert("nonce".into(), hex(&self.nonce));
        meta.insert("input".into(), self.input.clone());
        let list: Vec<_> = shapes(s, self.images).iter().enumerate().map(|(o, shape)| (name(o), Dtype::U64, shape.to_vec())).collect();
        Contents::new(RESULT_KIND, meta, &list)
    }
    fn fill(&self, w: &mut Writer<'_>) -> Result<(), TfheError> {
        self.outputs.iter().enumerate().try_for_each(|(o, words)| Ok(write_words(w, &name(o), words)?))
    }
    /// Refuses what no run of the program leaves.
    ///
    /// # Errors
    /// [`TfheError::Input`] for too few or too many words.
    pub fn check(&self, s: &Session) -> Result<(), TfheError> {
        let words = shapes(s, self.images).into_iter().map(|shape| shape.iter().product::<usize>());
        match words.eq(self.outputs.iter().map(Vec::len)) {
            true => Ok(()),
            false => Err(TfheError::Input(format!("{} does not have the ciphertexts of {} images", self.name, self.images))),
        }
    }
    /// Writes the result to a file.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), TfheError> {
        self.contents(s).save(path, |w| self.fill(w)).map(|_| ())
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
    /// Reads a result of the session's program from a file.
    ///
    /// # Errors
    /// I/O errors, damaged files, files for another program or of other sizes.
    pub fn load(s: &Session, path: &Path) -> Result<Results, TfheError> {
        Results::from_container(s, Reader::open(path, RESULT_KIND)?)
    }
    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<Results, TfheError> {
        Results::from_container(s, Reader::new(source, name, RESULT_KIND)?)
    }
    fn from_container<R: Read + Seek>(s: &Session, mut r: Reader<R>) -> Result<Results, TfheError> {
        let (id, images, nonce) = (check_binding(&r, s)?, images(&r)?, nonce(&r)?);
        let input = r.meta("input")?.to_string();
        let read = |(o, shape): (usize, &[usize; 3])| read_words(&mut r, &name(o), shape);
        let outputs = shapes(s, images).iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Results { name: r.path().display().to_string(), id, nonce, input, images, outputs })
    }
}
