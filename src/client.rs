//! The data owner's side: keys, encryption, decryption.

use crate::data::Images;
use crate::memory::{self, Task};
use crate::outputs::{self, Output};
use crate::{Error, Program, Stop, logits, screening};
use chiffre_client::{Absurd, ClientKey, Decrypted, Receipt, Report, Screening};
use chiffre_ir::interface::Interface;
use chiffre_runtime::{Batch, EvalKeySet, ResultBatch};
use std::path::Path;

/// What is done with images that would harm others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAbsurd {
    /// The batch is refused, and the error names them.
    #[default]
    Refuse,
    /// They are left out, and have no answer.
    LeaveOut,
    /// They are taken: one far out of range may take the answers of others with it, unnoticed.
    Take,
}

/// How images are encrypted.
#[derive(Clone, Copy, Debug, Default)]
pub struct EncryptOptions {
    /// One more image in every unit, whose answer is known.
    pub canaries: bool,
    /// What is done with images that would harm others.
    pub absurd: OnAbsurd,
    /// Memory that may be taken, bytes; without it, what the system allows.
    pub memory: Option<u64>,
}

/// Encrypted images.
#[derive(Debug)]
pub struct Encrypted {
    /// For the server.
    pub batch: Batch,
    /// For [`Client::decrypt`]; it stays with the data owner.
    pub receipt: Receipt,
    /// Images that were left out, and why.
    pub left_out: Vec<Absurd>,
}

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

    /// The secret key of a program, as `chiffre-client` has it.
    pub fn with_key(program: &Program, key: ClientKey) -> Client {
        Client { program: program.clone(), key }
    }

    /// The program that the key is for.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The key, as `chiffre-client` has it, for what this type has no function for.
    pub fn key(&self) -> &ClientKey {
        &self.key
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

    /// As [`Client::evaluation_keys`], until another thread asks for the end.
    ///
    /// # Errors
    /// As [`Client::evaluation_keys`]; [`Error::Cancelled`] where it was asked for.
    pub fn evaluation_keys_until(&self, stop: &Stop) -> Result<EvalKeySet, Error> {
        Ok(self.key.evaluation_keys_while(self.program.session(), || !stop.asked())?)
    }

    /// Encrypts images, as many as a run takes at most. The receipt stays here: by it
    /// [`Client::decrypt`] tells whether a result answers these images.
    ///
    /// # Errors
    /// Images of another shape, too many of them, or values beyond 10^6; images outside of the
    /// program's range of inputs, or that would harm others: each is named.
    pub fn encrypt(&self, images: &Images) -> Result<(Batch, Receipt), Error> {
        self.encrypt_with(images, &EncryptOptions::default()).map(|e| (e.batch, e.receipt))
    }

    /// As [`Client::encrypt`], with one more image in every unit, a canary, whose answer is known:
    /// so [`Client::decrypt`] also tells answers to something else, and there is a bound on the
    /// error of logits, which [`Answers::labels`] takes.
    ///
    /// # Errors
    /// As [`Client::encrypt`]; a batch that has no room for canaries; images so far out of range
    /// that no mixture of them has usable logits.
    pub fn encrypt_with_canaries(&self, images: &Images) -> Result<(Batch, Receipt), Error> {
        let wish = EncryptOptions { canaries: true, ..EncryptOptions::default() };
        self.encrypt_with(images, &wish).map(|e| (e.batch, e.receipt))
    }

    /// As [`Client::encrypt`], without the images that would harm others: they have no answer, and
    /// [`Receipt::left_out`] lists them.
    ///
    /// # Errors
    /// As [`Client::encrypt`], but for such images, if there are others.
    pub fn encrypt_without_absurd(&self, images: &Images) -> Result<(Batch, Receipt), Error> {
        let wish = EncryptOptions { absurd: OnAbsurd::LeaveOut, ..EncryptOptions::default() };
        self.encrypt_with(images, &wish).map(|e| (e.batch, e.receipt))
    }

    /// Encrypts images as the options say.
    ///
    /// # Errors
    /// As [`Client::encrypt`] and [`Client::encrypt_with_canaries`]; [`Error::Budget`] for more
    /// images than there is memory to screen or to encrypt.
    pub fn encrypt_with(&self, images: &Images, options: &EncryptOptions) -> Result<Encrypted, Error> {
        self.program.check_shape(images)?;
        let (session, most) = (self.program.session(), self.program.batch());
        let task_of = if options.canaries { Task::Canary } else { Task::Encrypt };
        let admit = |task| memory::admit_task(session.program(), task, session.engine().threads(), options.memory);
        admit(task_of(images.n.min(most)))?;
        // What no program takes at all is an error of its own.
        let absurd = if options.absurd == OnAbsurd::Take || images.n > most {
            vec![]
        } else {
            let screening = Screening::new(session)?;
            admit(Task::Screen { images: images.n, slots: screening.bytes(images.n) })?;
            session.engine().install(|| screening.absurd(&images.pixels, images.n))?
        };
        if !absurd.is_empty() && (options.absurd == OnAbsurd::Refuse || absurd.len() == images.n) {
            return Err(screening::refusal(&absurd, &images.names));
        }
        let left_out: Vec<usize> = absurd.iter().map(|a| a.image).collect();
        let chosen = (!left_out.is_empty()).then(|| screening::without(images, &left_out));
        let kept = chosen.as_ref().unwrap_or(images);
        let (batch, receipt) = self.key.encrypt_unscreened(session, &kept.pixels, kept.n, options.canaries)?;
        let receipt = receipt.with_left_out(images.names.clone(), left_out)?;
        Ok(Encrypted { batch, receipt, left_out: absurd })
    }

    /// The images that [`Client::encrypt`] refuses because they would harm others, or have no
    /// answer themselves.
    ///
    /// # Errors
    /// Images of another shape.
    pub fn absurd(&self, images: &Images) -> Result<Vec<Absurd>, Error> {
        self.program.check_shape(images)?;
        Ok(Screening::new(self.program.session())?.absurd(&images.pixels, images.n)?)
    }

    /// How images differ from those that the program was calibrated on, if they do: a forgotten
    /// normalisation, as a rule.
    pub fn difference(&self, images: &Images) -> Option<screening::Difference> {
        screening::difference(&self.program.session().program().header, images)
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
