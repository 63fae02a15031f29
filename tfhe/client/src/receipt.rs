//! Receipts: what the data owner keeps of a batch, to tell whether a result answers it. Whoever
//! runs the program can write any nonce and any digest: this finds mistakes, and nothing else.

use chiffre_ir::container::{Contents, Reader};
use chiffre_ir::output::Output;
use chiffre_ir::token::{KeyId, Nonce, hex, parse_id};
use chiffre_tfhe::{Batch, Results, Session, TfheError, binding, check_binding};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Kind of receipt files.
pub const RECEIPT_KIND: &str = "tfhe-receipt";

/// Digits of a nonce that errors show.
const SHOWN: usize = 12;

/// What belongs to a batch and stays with the data owner.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// What errors call it: its file, or "the receipt".
    pub name: String,
    id: KeyId,
    nonce: Nonce,
    input: String,
    /// Names of the images, in their order.
    names: Vec<String>,
}

impl Receipt {
    /// Of a batch of images with these names.
    ///
    /// # Errors
    /// Another number of names than of images.
    pub fn of(batch: &Batch, names: Vec<String>) -> Result<Receipt, TfheError> {
        if names.len() != batch.images() {
            return Err(TfheError::Input(format!("{} names for {} images", names.len(), batch.images())));
        }
        Ok(Receipt { name: "the receipt".into(), id: batch.id, nonce: batch.nonce, input: batch.digest.clone(), names })
    }
    /// Names of the images, in the order of the answers.
    pub fn names(&self) -> &[String] {
        &self.names
    }
    /// Refuses a result that does not answer this receipt's batch.
    ///
    /// # Errors
    /// [`TfheError::Mismatch`] that says how they differ.
    pub fn check(&self, result: &Results) -> Result<(), TfheError> {
        let (receipt, images) = (&self.name, self.names.len());
        let shown = |nonce: &Nonce| hex(nonce)[..SHOWN].to_string();
        let problem = if result.id != self.id {
            format!("it is under key {}, and {receipt} is of key {}", hex(&result.id), hex(&self.id))
        } else if result.nonce != self.nonce {
            format!("it answers another batch (nonce {}…) than that of {receipt} ({}…)", shown(&result.nonce), shown(&self.nonce))
        } else if result.images != images {
            format!("it has {} answers, and the batch of {receipt} has {images} images", result.images)
        } else if result.input != self.input {
            format!("it was not computed from the batch of {receipt} but from a changed one (another digest of the input)")
        } else {
            return Ok(());
        };
        Err(TfheError::Mismatch(format!("{}: {problem}", result.name)))
    }
    fn contents(&self, s: &Session) -> Result<Contents, TfheError> {
        let mut meta = binding(s, &self.id);
        let names = serde_json::to_string(&self.names).map_err(|e| TfheError::Input(e.to_string()))?;
        meta.extend([("nonce".into(), hex(&self.nonce)), ("input".into(), self.input.clone()), ("names".into(), names)]);
        Ok(Contents::new(RECEIPT_KIND, meta, &[]))
    }
    /// Writes the receipt to a file that only its owner can read, but leaves the file without its
    /// name, for [`Output::finish_together`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self, s: &Session, path: &Path) -> Result<Output, TfheError> {
        self.contents(s)?.stage(path, |_| Ok(()))
    }
    /// Writes the receipt to any sink, which errors call `name`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, s: &Session, sink: impl Write, name: &str) -> Result<(), TfheError> {
        self.contents(s)?.write(sink, name, |_| Ok(())).map(|_| ())
    }
    /// Reads a receipt of a batch for the session's program from a file.
    ///
    /// # Errors
    /// I/O errors, damaged files, receipts of another program.
    pub fn load(s: &Session, path: &Path) -> Result<Receipt, TfheError> {
        Receipt::from_container(s, &Reader::open(path, RECEIPT_KIND)?)
    }
    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<Receipt, TfheError> {
        Receipt::from_container(s, &Reader::new(source, name, RECEIPT_KIND)?)
    }
    fn from_container<R: Read + Seek>(s: &Session, r: &Reader<R>) -> Result<Receipt, TfheError> {
        let id = check_binding(r, s)?;
        let nonce = parse_id(r.meta("nonce")?).ok_or_else(|| r.error("bad nonce"))?;
        let names = serde_json::from_str(r.meta("names")?).map_err(|e| r.error(format!("bad names of images: {e}")))?;
        Ok(Receipt { name: r.path().display().to_string(), id, nonce, input: r.meta("input")?.to_string(), names })
    }
}
