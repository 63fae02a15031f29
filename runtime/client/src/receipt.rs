//! Receipts: what the data owner keeps of a batch, to tell whether a result answers it.
//!
//! A batch carries a random nonce. Its result repeats the nonce and names the digest of the batch
//! that was run. With the receipt, decryption refuses the result of another batch, an old result,
//! one of a changed batch, and one with fewer answers than there were images. Whoever runs the
//! program can write any nonce and any digest: this finds mistakes, and `docs/security.md` says
//! what it does not find. [`Canaries`] are for that.

use crate::canary::Canaries;
use crate::check::Decrypted;
use chiffre_ir::container::{Contents, Dtype, Reader, Writer};
use chiffre_ir::output::Output;
use chiffre_runtime::{Batch, KeyId, Nonce, ResultBatch, RuntimeError, Session, binding, check_binding, hex, parse_id};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Kind of receipt files.
pub const KIND: &str = "receipt";

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
    /// Of all images, those that were left out among them.
    names: Vec<String>,
    /// Images that were not encrypted, in ascending order.
    left_out: Vec<usize>,
    canaries: Option<Canaries>,
}

impl Receipt {
    /// Of a batch of `n` images, and of canaries if there are some.
    pub(crate) fn of(batch: &Batch, n: usize, canaries: Option<Canaries>) -> Receipt {
        Receipt {
            name: "the receipt".into(),
            id: batch.id,
            nonce: batch.nonce.unwrap_or_default(),
            input: batch.digest.clone(),
            names: (0..n).map(|i| format!("image {i}")).collect(),
            left_out: vec![],
            canaries,
        }
    }

    /// The same, with these names of the images.
    ///
    /// # Errors
    /// Another number of names than of images.
    pub fn with_names(self, names: Vec<String>) -> Result<Receipt, RuntimeError> {
        self.with_left_out(names, vec![])
    }

    /// The same, with the names of all images that there were, of which some, by number in
    /// ascending order, were not encrypted: they have no answer, and the others keep their numbers.
    ///
    /// # Errors
    /// Numbers that are not in order, or names for another number of images.
    pub fn with_left_out(self, names: Vec<String>, left_out: Vec<usize>) -> Result<Receipt, RuntimeError> {
        let sent = self.sent();
        if names.len() != sent + left_out.len() || !are_some_of(&left_out, names.len()) {
            return Err(RuntimeError::Input(format!("{} names, {left_out:?} left out, for {sent} images", names.len())));
        }
        Ok(Receipt { names, left_out, ..self })
    }

    /// Numbers of the images that were not encrypted.
    pub fn left_out(&self) -> &[usize] {
        &self.left_out
    }

    /// Images in the batch, without canaries.
    fn sent(&self) -> usize {
        self.names.len() - self.left_out.len()
    }

    /// The names of the images, canaries left out, in the order of the answers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of canaries in the batch.
    pub fn canaries(&self) -> usize {
        self.canaries.as_ref().map_or(0, Canaries::count)
    }

    /// The bound on the error of a decrypted logit that canaries are judged by, if there are
    /// canaries: a prediction with a factor for safety, not a proof (`docs/security.md`).
    pub fn bound(&self) -> Option<f64> {
        self.canaries.as_ref().map(Canaries::bound)
    }

    /// Refuses a result that does not answer this receipt's batch.
    ///
    /// # Errors
    /// [`RuntimeError::Mismatch`] that says how they differ.
    pub fn check(&self, result: &ResultBatch) -> Result<(), RuntimeError> {
        let (receipt, sent) = (&self.name, self.sent() + self.canaries());
        let shown = |nonce: Nonce| hex(&nonce)[..SHOWN].to_string();
        let problem = match result.nonce {
            _ if result.id != self.id => format!("it is under key {}, and {receipt} is of key {}", hex(&result.id), hex(&self.id)),
            None => format!(
                "it does not say which batch it answers, so it cannot be compared with {receipt}: an older version has encrypted or run the \
                 batch, or the result was altered"
            ),
            Some(nonce) if nonce != self.nonce => format!(
                "it answers another batch (nonce {}…) than that of {receipt} ({}…): an old result, or that of other images under the same key",
                shown(nonce),
                shown(self.nonce)
            ),
            Some(_) if result.images < sent => {
                format!("it is truncated: {} answers, and the batch of {receipt} has {sent} images", result.images)
            }
            Some(_) if result.images > sent => format!("it has {} answers, and the batch of {receipt} has {sent} images", result.images),
            Some(_) if result.input.as_ref() != Some(&self.input) => {
                format!("it was not computed from the batch of {receipt} but from a changed one (another digest of the input)")
            }
            Some(_) => return Ok(()),
        };
        Err(RuntimeError::Mismatch(format!("{}: {problem}", result.name)))
    }

    /// The answers without those of canaries, and without those of units whose canary has a wrong
    /// one; with a place for each image that was left out.
    pub(crate) fn settle(&self, decrypted: Decrypted) -> Decrypted {
        let settled = match &self.canaries {
            Some(c) => c.settle(decrypted),
            None => decrypted,
        };
        settled.among(&self.left_out)
    }

    fn contents(&self, s: &Session) -> Result<Contents, RuntimeError> {
        let mut meta = binding(s, &self.id);
        let names = serde_json::to_string(&self.names).map_err(|e| RuntimeError::Input(e.to_string()))?;
        meta.extend([("nonce".into(), hex(&self.nonce)), ("input".into(), self.input.clone()), ("names".into(), names)]);
        if !self.left_out.is_empty() {
            meta.insert("left-out".into(), serde_json::to_string(&self.left_out).map_err(|e| RuntimeError::Input(e.to_string()))?);
        }
        let mut list = vec![];
        if let Some(c) = &self.canaries {
            meta.insert("canary.bound".into(), format!("{:?}", c.bound()));
            let [logits, places] = c.bytes();
            list.push(("canary.logits".to_string(), Dtype::F32, vec![c.count(), logits.len() / 4 / c.count().max(1)]));
            list.push(("canary.places".to_string(), Dtype::U64, vec![places.len() / 8]));
        }
        Ok(Contents::new(KIND, meta, &list))
    }

    fn fill(&self, w: &mut Writer<'_>) -> Result<(), RuntimeError> {
        if let Some([logits, places]) = self.canaries.as_ref().map(Canaries::bytes) {
            w.tensor("canary.logits", &logits)?;
            w.tensor("canary.places", &places)?;
        }
        Ok(())
    }

    /// Writes the receipt to a file that only its owner can read: it says where the canaries are.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        self.contents(s)?.save(path, |w| self.fill(w)).map(|_| ())
    }

    /// As [`Self::save`], but leaves the file without its name, for [`Output::finish_together`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self, s: &Session, path: &Path) -> Result<Output, RuntimeError> {
        self.contents(s)?.stage(path, |w| self.fill(w))
    }

    /// As [`Self::save`], to any sink, which errors call `name`. Who can read it is the caller's
    /// care.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, s: &Session, sink: impl Write, name: &str) -> Result<(), RuntimeError> {
        self.contents(s)?.write(sink, name, |w| self.fill(w)).map(|_| ())
    }

    /// Reads a receipt of a batch for the session's program from a file.
    ///
    /// # Errors
    /// I/O errors, damaged files, receipts of another program.
    pub fn load(s: &Session, path: &Path) -> Result<Receipt, RuntimeError> {
        Receipt::from_container(s, Reader::open(path, KIND)?)
    }

    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<Receipt, RuntimeError> {
        Receipt::from_container(s, Reader::new(source, name, KIND)?)
    }

    fn from_container<R: Read + Seek>(s: &Session, mut r: Reader<R>) -> Result<Receipt, RuntimeError> {
        let id = check_binding(&r, s)?;
        let nonce = parse_id(r.meta("nonce")?).ok_or_else(|| r.error("bad nonce"))?;
        let input = r.meta("input")?.to_string();
        let names: Vec<String> = serde_json::from_str(r.meta("names")?).map_err(|e| r.error(format!("bad names of images: {e}")))?;
        let left_out: Vec<usize> = match r.meta("left-out") {
            Ok(list) => serde_json::from_str(list).map_err(|e| r.error(format!("bad numbers of images: {e}")))?,
            Err(_) => vec![],
        };
        if !are_some_of(&left_out, names.len()) || !(1..=s.program().header.batch).contains(&(names.len() - left_out.len())) {
            return Err(r.error(format!("bad number of images, {} with {} left out", names.len(), left_out.len())).into());
        }
        let sent = names.len() - left_out.len();
        let mut canaries = None;
        if let Ok(bound) = r.meta("canary.bound") {
            let bound = bound.parse().map_err(|_| r.error("bad bound of the canaries"))?;
            let [places, logits] = Canaries::shape(s, sent)?;
            let places = r.read("canary.places", Dtype::U64, &[places])?;
            let logits = r.read("canary.logits", Dtype::F32, &[places.len() / 8, logits])?;
            canaries = Some(Canaries::from_bytes(s, sent, &places, &logits, bound).ok_or_else(|| r.error("bad canaries"))?);
        }
        Ok(Receipt { name: r.path().display().to_string(), id, nonce, input, names, left_out, canaries })
    }
}

/// True for numbers below `n` in ascending order.
fn are_some_of(numbers: &[usize], n: usize) -> bool {
    numbers.is_sorted_by(|a, b| a < b) && numbers.last().is_none_or(|last| *last < n)
}
