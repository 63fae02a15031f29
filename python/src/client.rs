//! The data owner's side: secret keys, encryption, decryption.

use crate::batch::{Batch, Result as ResultClass};
use crate::error::{self, Failure};
use crate::keys::EvaluationKeys;
use crate::program::{Program, images_for};
use crate::{arrays, guard};
use chiffre::memory::{Task, admit_task};
use chiffre::{EncryptOptions, Encrypted, OnAbsurd, Stop, logits, report};
use chiffre_runtime::hex;
use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

/// A secret key with the program that it is for: makes keys, encrypts, decrypts. It stays with the
/// owner of the data.
#[pyclass(frozen, module = "chiffre")]
pub(crate) struct Client {
    inner: chiffre::Client,
}

/// What the owner of the data keeps of a batch: by it decryption tells whether a result answers it.
#[pyclass(frozen, module = "chiffre")]
pub(crate) struct Receipt {
    program: chiffre::Program,
    inner: chiffre::Receipt,
}

/// Decrypted answers.
#[pyclass(frozen, module = "chiffre")]
pub(crate) struct Answers {
    program: chiffre::Program,
    inner: chiffre::Answers,
    /// What `labels` takes where nothing else is said.
    bound: Option<f64>,
}

impl Client {
    fn admit(&self, task: Task) -> std::result::Result<(), chiffre::Error> {
        let s = self.inner.program().session();
        admit_task(s.program(), task, s.engine().threads(), None)
    }
}

#[pymethods]
impl Client {
    /// Makes a secret key from the operating system's randomness.
    #[new]
    fn new(py: Python<'_>, program: &Program) -> PyResult<Client> {
        Ok(Client { inner: guard::compute(py, || chiffre::Client::new(&program.inner))? })
    }

    /// Reads a secret key.
    #[staticmethod]
    fn load(py: Python<'_>, program: &Program, path: PathBuf) -> PyResult<Client> {
        Ok(Client { inner: guard::compute(py, || chiffre::Client::load(&program.inner, &path))? })
    }

    /// Writes the secret key to a file that only its owner can read. A file that is there is kept:
    /// what is encrypted under a key that is overwritten is lost.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        guard::compute(py, || self.inner.save(path))
    }

    /// Makes the keys that a server needs. They are new at every call. Ctrl-C ends it behind a key.
    fn evaluation_keys(&self, py: Python<'_>) -> PyResult<EvaluationKeys> {
        let stop = Stop::default();
        let made = || {
            self.admit(Task::Keygen)?;
            self.inner.evaluation_keys_until(&stop)
        };
        let keys = Arc::new(guard::compute_until(py, &stop, made)?);
        Ok(EvaluationKeys { program: self.inner.program().clone(), keys })
    }

    /// Makes these keys and writes them to a file; one that is there is kept, unless it may be
    /// replaced. Ctrl-C ends it behind a key, and leaves no file.
    #[pyo3(signature = (path, *, replace=false))]
    fn save_evaluation_keys(&self, py: Python<'_>, path: PathBuf, replace: bool) -> PyResult<()> {
        let s = self.inner.program().session();
        let stop = Stop::default();
        guard::compute_until(py, &stop, || -> std::result::Result<(), Failure> {
            if !replace && path.symlink_metadata().is_ok() {
                return Err(chiffre::Error::input_in(&path, "is there already: give another name, or replace=True").into());
            }
            self.admit(Task::Keygen)?;
            let keys = self.inner.evaluation_keys_until(&stop)?;
            let saved = if replace { keys.save(s, &path) } else { keys.save_new(s, &path) };
            Ok(saved?)
        })
    }

    /// Encrypts images, as many as a run takes at most: an array as the network takes it (images,
    /// channels, height, width), 8-bit pixels where the program knows their normalisation, or the
    /// path of a file or folder; of several inputs, a dict of these by their names. The batch is
    /// for the server, the receipt stays here.
    ///
    /// Images that would harm others are refused, or left out (`absurd="leave_out"`), or taken all
    /// the same (`"take"`). Canaries are images with known answers, one in every unit, by which
    /// decryption tells answers to something else.
    #[pyo3(signature = (images, *, canaries=false, absurd="refuse", memory=None))]
    fn encrypt(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        canaries: bool,
        absurd: &str,
        memory: Option<u64>,
    ) -> PyResult<(Batch, Receipt)> {
        let absurd = match absurd {
            "refuse" => OnAbsurd::Refuse,
            "leave_out" => OnAbsurd::LeaveOut,
            "take" => OnAbsurd::Take,
            _ => return Err(error::input(py, &format!("absurd=\"{absurd}\": there are \"refuse\", \"leave_out\" and \"take\""))),
        };
        let program = self.inner.program();
        let images = images_for(program, images, None)?;
        if let Some(difference) = self.inner.difference(&images) {
            error::warn(py, &difference.to_string())?;
        }
        let wish = EncryptOptions { canaries, absurd, memory };
        let Encrypted { batch, receipt, .. } = guard::compute(py, || self.inner.encrypt_with(&images, &wish))?;
        Ok((Batch::of(program, batch), Receipt { program: program.clone(), inner: receipt }))
    }

    /// Decrypts the result of the batch that the receipt is of. Images without an answer are no
    /// error: see `Answers.lost`.
    fn decrypt(&self, py: Python<'_>, result: &ResultClass, receipt: &Receipt) -> PyResult<Answers> {
        let decrypted = || {
            self.admit(Task::Decrypt(result.inner.images))?;
            self.inner.decrypt(&result.inner, &receipt.inner)
        };
        let inner = guard::compute(py, decrypted)?;
        Ok(Answers { program: self.inner.program().clone(), inner, bound: receipt.inner.bound() })
    }

    /// Decrypts a result without a receipt. It may be an old one, or that of other images.
    fn decrypt_unbound(&self, py: Python<'_>, result: &ResultClass) -> PyResult<Answers> {
        let decrypted = || {
            self.admit(Task::Decrypt(result.inner.images))?;
            self.inner.decrypt_unbound(&result.inner)
        };
        let inner = guard::compute(py, decrypted)?;
        Ok(Answers { program: self.inner.program().clone(), inner, bound: None })
    }

    /// Name of the key, which keys and ciphertexts carry; not secret.
    #[getter]
    fn key_id(&self) -> String {
        hex(&self.inner.key().id())
    }

    fn __repr__(&self) -> String {
        let name = &self.inner.program().session().program().name;
        format!("<chiffre.Client for \"{name}\", key {}…>", &self.key_id()[..8])
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(error::unpicklable("a Client", "it holds a secret key; Client.save writes it to a file that only its owner can read"))
    }
}

impl Answers {
    /// Refuses what ranks classes where there are several outputs.
    fn only_output(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        let outputs = &self.program.interface().outputs;
        if outputs.len() > 1 {
            let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
            let m = format!("{what} is for one output, and there are {}: rank them as outputs has them, or compile one", names.join(", "));
            return Err(error::input(py, &m));
        }
        Ok(())
    }
}

#[pymethods]
impl Receipt {
    /// Reads a receipt.
    #[staticmethod]
    fn load(py: Python<'_>, program: &Program, path: PathBuf) -> PyResult<Receipt> {
        let inner = guard::compute(py, || chiffre::Receipt::load(program.session(), &path))?;
        Ok(Receipt { program: program.inner.clone(), inner })
    }

    /// Reads the bytes of a receipt's file.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, program: &Program, data: &[u8]) -> PyResult<Receipt> {
        let inner = guard::compute(py, || chiffre::Receipt::read(program.session(), Cursor::new(data), "the receipt"))?;
        Ok(Receipt { program: program.inner.clone(), inner })
    }

    /// Writes the receipt to a file that only its owner can read.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        guard::compute(py, || self.inner.save(self.program.session(), &path))
    }

    /// The bytes of that file. They say where canaries are: keep them to yourself.
    fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let made = guard::compute(py, || -> std::result::Result<Vec<u8>, Failure> {
            let mut bytes = vec![];
            self.inner.write(self.program.session(), &mut bytes, "the receipt")?;
            Ok(bytes)
        })?;
        Ok(PyBytes::new(py, &made))
    }

    /// Names of the images, in the order of the answers.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.inner.names().to_vec()
    }

    /// Numbers of the images that were not encrypted.
    #[getter]
    fn left_out(&self) -> Vec<usize> {
        self.inner.left_out().to_vec()
    }

    /// Number of canaries in the batch.
    #[getter]
    fn canaries(&self) -> usize {
        self.inner.canaries()
    }

    fn __repr__(&self) -> String {
        format!("<chiffre.Receipt of {} images>", self.inner.names().len())
    }
}

#[pymethods]
impl Answers {
    /// Decrypted logits, images × classes; of several outputs, one behind the other; NaN for images
    /// without an answer.
    #[getter]
    fn logits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        arrays::rows(py, self.inner.logits.clone(), self.inner.classes)
    }

    /// Outputs of the model file by name, with what is left to do behind decryption, a softmax say:
    /// images × the output's own extents; NaN for images without an answer.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = guard::compute(py, || Ok::<_, Failure>(self.inner.outputs()))?;
        arrays::outputs(py, all)
    }

    /// Writes the outputs to a file, as the command `decrypt` does: `.npz` with all of them by
    /// name; of one output also `.csv` and `.npy`.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        guard::compute(py, || self.inner.save(path))
    }

    /// Numbers of the images without an answer, in ascending order.
    #[getter]
    fn lost(&self) -> Vec<usize> {
        self.inner.report.affected().into_iter().collect()
    }

    /// Why they have none, a line for each reason; empty if all have one.
    #[getter]
    fn report(&self) -> Vec<String> {
        report::without_answer(&self.inner.report, Some(&self.inner.names))
    }

    /// Names of the images.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.inner.names.clone()
    }

    /// The k best classes of every image, images × k, best first; −1 for images without an answer.
    #[pyo3(signature = (k=1))]
    fn top<'py>(&self, py: Python<'py>, k: usize) -> PyResult<Bound<'py, PyArray2<i64>>> {
        self.only_output(py, "top()")?;
        let classes = self.inner.classes;
        if k == 0 || k > classes {
            return Err(error::input(py, &format!("top({k}): there are {classes} classes")));
        }
        let rows = self.inner.rows().map(|row| match row {
            Some(row) => logits::top_k(row, k).iter().map(|&(c, _)| c as i64).collect(),
            None => vec![-1; k],
        });
        let rows: Vec<Vec<i64>> = rows.collect();
        PyArray2::from_vec2(py, &rows).map_err(error::internal)
    }

    /// The best class of every image for which it is certain, if no logit is off by more than
    /// `bound`; None for the others. Batches with canaries have a bound of their own.
    #[pyo3(signature = (bound=None))]
    fn labels(&self, py: Python<'_>, bound: Option<f64>) -> PyResult<Vec<Option<usize>>> {
        let none =
            || error::input(py, "labels(): nothing is known of the error of these answers: give a bound, or encrypt with canaries=True");
        self.only_output(py, "labels()")?;
        Ok(self.inner.labels(bound.or(self.bound).ok_or_else(none)?))
    }

    fn __len__(&self) -> usize {
        self.inner.names.len()
    }

    fn __repr__(&self) -> String {
        let (n, lost) = (self.inner.names.len(), self.inner.report.affected().len());
        format!("<chiffre.Answers to {n} images, {lost} without an answer>")
    }
}
