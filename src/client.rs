//! The data owner's side: keys, encryption, decryption.

use crate::data::Images;
use crate::outputs::{self, Output};
use crate::{Error, Program, logits, screening};
use chiffre_client::{Absurd, ClientKey, Decrypted, Receipt, Report, Screening};
use chiffre_ir::interface::Interface;
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

    /// Encrypts images, as many as a run takes at most. The receipt stays here: by it
    /// [`Client::decrypt`] tells whether a result answers these images.
    ///
    /// # Errors
    /// Images of another shape, too many of them, or values beyond 10^6; images outside of the
    /// program's range of inputs, or that would harm others: each is named.
    pub fn encrypt(&self, images: &Images) -> Result<(Batch, Receipt), Error> {
        self.encrypt_screened(images, false)
    }

    /// As [`Client::encrypt`], with one more image in every unit, a canary, whose answer is known:
    /// so [`Client::decrypt`] also tells answers to something else, and there is a bound on the
    /// error of logits, which [`Answers::labels`] takes.
    ///
    /// # Errors
    /// As [`Client::encrypt`]; a batch that has no room for canaries; images so far out of range
    /// that no mixture of them has usable logits.
    pub fn encrypt_with_canaries(&self, images: &Images) -> Result<(Batch, Receipt), Error> {
        self.encrypt_screened(images, true)
    }

    /// As [`Client::encrypt`], without the images that would harm others: they have no answer, and
    /// [`Receipt::left_out`] lists them.
    ///
    /// # Errors
    /// As [`Client::encrypt`], but for such images, if there are others.
    pub fn encrypt_without_absurd(&self, images: &Images) -> Result<(Batch, Receipt), Error> {
        let absurd = self.absurd(images)?;
        if absurd.len() == images.n {
            return Err(screening::refusal(&absurd, &images.names));
        }
        let left_out: Vec<usize> = absurd.iter().map(|a| a.image).collect();
        let kept = screening::without(images, &left_out);
        let (batch, receipt) = self.key.encrypt_unscreened(self.program.session(), &kept.pixels, kept.n, false)?;
        Ok((batch, receipt.with_left_out(images.names.clone(), left_out)?))
    }

    /// The images that [`Client::encrypt`] refuses because they would harm others, or have no
    /// answer themselves.
    ///
    /// # Errors
    /// Images of another shape.
    pub fn absurd(&self, images: &Images) -> Result<Vec<Absurd>, Error> {
        self.check_shape(images)?;
        Ok(Screening::new(self.program.session())?.absurd(&images.pixels, images.n)?)
    }

    /// How images differ from those that the program was calibrated on, if they do: a forgotten
    /// normalisation, as a rule.
    pub fn difference(&self, images: &Images) -> Option<screening::Difference> {
        screening::difference(&self.program.session().program().header, images)
    }

    fn encrypt_screened(&self, images: &Images, canaries: bool) -> Result<(Batch, Receipt), Error> {
        let absurd = self.absurd(images)?;
        if !absurd.is_empty() {
            return Err(screening::refusal(&absurd, &images.names));
        }
        let (batch, receipt) = self.key.encrypt_unscreened(self.program.session(), &images.pixels, images.n, canaries)?;
        Ok((batch, receipt.with_names(images.names.clone())?))
    }

    fn check_shape(&self, images: &Images) -> Result<(), Error> {
        let shape = self.program.image_shape()?;
        if images.shape != shape {
            return Err(Error::input(format!("images of shape {:?}, where the program takes {shape:?}", images.shape)));
        }
        Ok(())
    }

    /// Decrypts the result of the batch that the receipt is of.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a result under another secret key, or of another batch: an old
    /// one, one of other images, or one with too few answers. Images without an answer are no
    /// error: see [`Answers`].
    pub fn decrypt(&self, result: &ResultBatch, receipt: &Receipt) -> Result<Answers, Error> {
        let decrypted = self.key.decrypt(self.program.session(), result, receipt)?;
        Answers::of(decrypted, receipt.names().to_vec(), &self.program)
    }

    /// Decrypts a result without a receipt. It may be an old one, or that of other images.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a result under another secret key.
    pub fn decrypt_unbound(&self, result: &ResultBatch) -> Result<Answers, Error> {
        let decrypted = self.key.decrypt_unbound(self.program.session(), result)?;
        let names = (0..decrypted.report.images).map(|i| format!("image {i}")).collect();
        Answers::of(decrypted, names, &self.program)
    }
}

/// Decrypted answers.
#[derive(Clone, Debug)]
pub struct Answers {
    /// What was decrypted: images × classes, row by row, of several outputs one behind the other,
    /// before what ends the model; NaN for images without an answer.
    pub logits: Vec<f32>,
    /// Logits of an image.
    pub classes: usize,
    /// The names of the images.
    pub names: Vec<String>,
    /// Which images have no answer, and why.
    pub report: Report,
    /// What the program gives, by name.
    interface: Interface,
}

impl Answers {
    fn of(decrypted: Decrypted, names: Vec<String>, program: &Program) -> Result<Answers, Error> {
        let classes = decrypted.logits.len() / names.len().max(1);
        Ok(Answers { logits: decrypted.logits, classes, names, report: decrypted.report, interface: program.interface().clone() })
    }

    /// The outputs of the model file by name, with what ends it: a softmax, say. NaN for images
    /// without an answer.
    pub fn outputs(&self) -> Vec<Output> {
        outputs::of(&self.interface, &self.logits, self.classes)
    }

    /// Writes the outputs to a file: `.npz` with all of them by name; of one output also `.csv`,
    /// and float32 `.npy` of images × values.
    ///
    /// # Errors
    /// Several outputs in a file for one; a file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        outputs::write(path.as_ref(), &self.outputs(), &self.names)
    }

    /// The best class of every image for which it is certain, if no logit is off by more than
    /// `bound` ([`Receipt::bound`]); `None` for the others.
    pub fn labels(&self, bound: f64) -> Vec<Option<usize>> {
        self.rows().map(|row| row.and_then(|row| logits::decided(row, bound))).collect()
    }

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
