//! Encrypted batches of images: a word for each pixel, and a seed for each image.

use crate::session::{Seed, binding, check_binding};
use crate::words::{read_words, write_words};
use crate::{Session, TfheError};
use chiffre_ir::container::{Contents, Dtype, Reader, Writer};
use chiffre_ir::output::Output;
use chiffre_ir::token::{KeyId, Nonce, hex, parse_id};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Kind of files of encrypted images.
pub const BATCH_KIND: &str = "tfhe-batch";

/// Encrypted images. No ciphertext is of two images.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Name of the secret key.
    pub id: KeyId,
    /// Name of the batch.
    pub nonce: Nonce,
    /// Digest of the batch as a file.
    pub digest: String,
    /// Bodies of the ciphertexts, `[images, elements of the input]`.
    pub bodies: Vec<u64>,
    /// Seeds of their masks, one for each image.
    pub seeds: Vec<Seed>,
}

impl Batch {
    /// Of ciphertexts that have been encrypted.
    ///
    /// # Errors
    /// Another number of words than so many images have.
    pub fn new(s: &Session, id: KeyId, nonce: Nonce, bodies: Vec<u64>, seeds: Vec<Seed>) -> Result<Batch, TfheError> {
        let mut batch = Batch { id, nonce, digest: String::new(), bodies, seeds };
        batch.digest = batch.contents(s).digest(|w| batch.fill(w))?;
        Ok(batch)
    }
    /// Number of images.
    pub fn images(&self) -> usize {
        self.seeds.len()
    }
    fn contents(&self, s: &Session) -> Contents {
        let mut meta = binding(s, &self.id);
        meta.insert("images".into(), self.images().to_string());
        meta.insert("nonce".into(), hex(&self.nonce));
        let list = [
            ("bodies".to_string(), Dtype::U64, vec![self.images(), s.input().shape.len()]),
            ("seeds".to_string(), Dtype::U8, vec![self.images(), size_of::<Seed>()]),
        ];
        Contents::new(BATCH_KIND, meta, &list)
    }
    fn fill(&self, w: &mut Writer<'_>) -> Result<(), TfheError> {
        write_words(w, "bodies", &self.bodies)?;
        Ok(w.tensor_parts("seeds", &self.seeds)?)
    }
    /// Writes the batch to a file.
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
    /// Reads a batch for the session's program from a file.
    ///
    /// # Errors
    /// I/O errors, damaged files, files for another program or of other sizes.
    pub fn load(s: &Session, path: &Path) -> Result<Batch, TfheError> {
        Batch::from_container(s, Reader::open(path, BATCH_KIND)?)
    }
    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<Batch, TfheError> {
        Batch::from_container(s, Reader::new(source, name, BATCH_KIND)?)
    }
    fn from_container<R: Read + Seek>(s: &Session, mut r: Reader<R>) -> Result<Batch, TfheError> {
        let (id, images, nonce) = (check_binding(&r, s)?, images(&r)?, nonce(&r)?);
        let bytes = r.read("seeds", Dtype::U8, &[images, size_of::<Seed>()])?;
        let seeds = bytes.as_chunks().0.to_vec();
        let bodies = read_words(&mut r, "bodies", &[images, s.input().shape.len()])?;
        Ok(Batch { id, nonce, digest: r.digest().to_string(), bodies, seeds })
    }
}

/// The number of images that a file says it holds; its tensors have to agree.
pub(crate) fn images<R: Read + Seek>(r: &Reader<R>) -> Result<usize, TfheError> {
    let n = r.meta("images")?.parse().ok().filter(|n| *n > 0);
    n.ok_or_else(|| r.error("bad number of images").into())
}

/// The name of the batch that a file is, or answers.
pub(crate) fn nonce<R: Read + Seek>(r: &Reader<R>) -> Result<Nonce, TfheError> {
    parse_id(r.meta("nonce")?).ok_or_else(|| r.error("bad nonce").into())
}
