//! Programs.

use crate::error::{self, Failure};
use crate::{arrays, guard};
use chiffre::data::Images;
use chiffre::memory::human_bytes;
use chiffre::pipeline;
use chiffre_ir::program::file::{self, ProgramFile};
use chiffre_ir::text;
use chiffre_runtime::{Engine, Session};
use numpy::{PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A larger page than this is not shown in a notebook.
const LARGEST_PAGE: usize = 1 << 20;

/// A compiled network with its parameters, which both sides have.
#[pyclass(frozen, module = "chiffre")]
pub(crate) struct Program {
    pub(crate) inner: chiffre::Program,
}

/// How hard it is to break the encryption, and how likely it is that a run goes wrong.
#[pyclass(frozen, get_all, module = "chiffre")]
pub(crate) struct Security {
    /// Bits of security against classical attacks; 0 for parameters below the table, for tests
    /// only.
    bits: u32,
    /// True for parameters below 128-bit security.
    insecure: bool,
    /// log2 of the probability that the bootstrap of a ciphertext fails; None if none can fail.
    log2_failure: Option<f64>,
}

/// What a run is predicted to take on this number of threads.
#[pyclass(frozen, get_all, module = "chiffre")]
pub(crate) struct Prediction {
    /// Images, in as many runs as they need.
    images: usize,
    /// Time of all runs together, seconds.
    seconds: f64,
    /// Peak memory of the process that runs, bytes.
    peak_bytes: usize,
    /// The evaluation keys as a file, bytes.
    key_bytes: usize,
}

#[pymethods]
impl Security {
    fn __repr__(&self) -> String {
        let failure = self.log2_failure.map_or("cannot fail".to_string(), |p| format!("2^{p:.0} that a bootstrap fails"));
        let Security { bits, insecure, .. } = self;
        format!("<chiffre.Security {bits} bits, {}{failure}>", if *insecure { "INSECURE, " } else { "" })
    }
}

#[pymethods]
impl Prediction {
    fn __repr__(&self) -> String {
        let [peak, keys] = [self.peak_bytes, self.key_bytes].map(|b| human_bytes(b as u64));
        format!("<chiffre.Prediction {} images in {:.1} s, peak {peak}, keys {keys}>", self.images, self.seconds)
    }
}

/// What a program takes, from what a caller gives.
pub(crate) fn images_for(p: &chiffre::Program, x: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) -> PyResult<Images> {
    let options = p.data_options().map_err(|e| Failure::from(e).raise(x.py()))?;
    arrays::images(x, labels, &p.interface().inputs, &options)
}

impl Program {
    /// A program file on an engine.
    pub(crate) fn of(engine: Arc<Engine>, file: ProgramFile, name: &Path, allow_insecure: bool) -> Result<Program, Failure> {
        let session = Session::on(engine, file, allow_insecure)?;
        Ok(Program { inner: chiffre::Program::from(Arc::new(session)).called(name) })
    }

    /// What this program takes, from what a caller gives.
    pub(crate) fn images(&self, x: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) -> PyResult<Images> {
        images_for(&self.inner, x, labels)
    }

    /// The session of the program.
    pub(crate) fn session(&self) -> &Arc<Session> {
        self.inner.session()
    }

    /// The same program on so many threads of its own; without a number, on those that it has.
    pub(crate) fn on_threads(&self, py: Python<'_>, threads: Option<usize>) -> PyResult<chiffre::Program> {
        if threads.is_none() {
            return Ok(self.inner.clone());
        }
        let engine = guard::engine(py, threads)?;
        let s = self.session();
        let (p, stages) = (s.program().clone(), s.file.stages.clone());
        // Whoever has the program has permitted it.
        guard::compute(py, || -> Result<chiffre::Program, Failure> {
            let file = ProgramFile::in_memory(p, stages).map_err(chiffre::Error::bug)?;
            Ok(Program::of(engine, file, self.inner.name(), true)?.inner)
        })
    }
}

#[pymethods]
impl Program {
    /// Reads a program file. `threads` are those that whatever is done with it computes on; without
    /// a number, one for each processor, shared by all programs.
    #[staticmethod]
    #[pyo3(signature = (path, *, threads=None, allow_insecure=false))]
    fn load(py: Python<'_>, path: PathBuf, threads: Option<usize>, allow_insecure: bool) -> PyResult<Program> {
        let engine = guard::engine(py, threads)?;
        guard::compute(py, || -> Result<Program, Failure> {
            let file = file::load(&path).map_err(chiffre::Error::from)?;
            Program::of(engine, file, &path, allow_insecure)
        })
    }

    /// Reads the bytes of a program file.
    #[staticmethod]
    #[pyo3(signature = (data, *, threads=None, allow_insecure=false))]
    fn from_bytes(py: Python<'_>, data: &[u8], threads: Option<usize>, allow_insecure: bool) -> PyResult<Program> {
        let engine = guard::engine(py, threads)?;
        guard::compute(py, || -> Result<Program, Failure> {
            let file = file::read(Cursor::new(data), "the program").map_err(chiffre::Error::from)?;
            Program::of(engine, file, Path::new("the program"), allow_insecure)
        })
    }

    /// Writes the program file. The same program gives the same bytes.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        guard::compute(py, || self.inner.save(path))
    }

    /// The bytes of the program file.
    fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let made = guard::compute(py, || -> Result<Vec<u8>, Failure> {
            let (mut bytes, file) = (vec![], &self.session().file);
            file::write(&mut bytes, "the program", &file.program, &file.stages).map_err(chiffre::Error::from)?;
            Ok(bytes)
        })?;
        Ok(PyBytes::new(py, &made))
    }

    /// Name of the network.
    #[getter]
    fn name(&self) -> String {
        self.session().program().name.clone()
    }

    /// Digest of the program file, which keys and ciphertexts name.
    #[getter]
    fn digest(&self) -> String {
        self.session().file.digest.clone()
    }

    /// Images that one run takes at most.
    #[getter]
    fn batch(&self) -> usize {
        self.inner.batch()
    }

    /// Channels, height and width of what is encrypted for an image: of one input, its own; several
    /// lie in it side by side.
    #[getter]
    fn image_shape(&self, py: Python<'_>) -> PyResult<(usize, usize, usize)> {
        let [c, h, w] = self.inner.image_shape().map_err(|e| Failure::from(e).raise(py))?;
        Ok((c, h, w))
    }

    /// Channels, height and width of an image of every input, by its name. Several inputs are
    /// given as a dict by these names.
    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = self.inner.interface();
        let named = PyDict::new(py);
        interface.inputs.iter().try_for_each(|p| named.set_item(&p.name, (p.shape[0], p.shape[1], p.shape[2])))?;
        Ok(named)
    }

    /// How 8-bit pixels become inputs, if that is known.
    #[getter]
    fn normalisation(&self) -> Option<String> {
        self.session().program().header.normalisation.clone()
    }

    /// Security of its parameters, and how likely a failure of a run is.
    #[getter]
    fn security(&self) -> Security {
        let overview = self.inner.overview();
        Security { bits: overview.security_bits, insecure: overview.insecure, log2_failure: overview.log2_failure }
    }

    /// What running so many images is predicted to take; without a number, a full batch.
    #[pyo3(signature = (images=None, *, threads=None))]
    fn predict(&self, py: Python<'_>, images: Option<usize>, threads: Option<usize>) -> PyResult<Prediction> {
        let (s, batch) = (self.session(), self.inner.batch());
        let images = images.unwrap_or(batch);
        if images == 0 || threads == Some(0) {
            return Err(error::input(py, "images and threads must be at least 1"));
        }
        let cost = chiffre::CostModel::default().on_threads(threads.unwrap_or_else(|| s.engine().threads()));
        guard::compute(py, || -> Result<Prediction, Failure> {
            let p = s.program();
            let run = |n: usize| pipeline::predicted_seconds(p, &cost, n);
            let rest = images % batch;
            let seconds = (images / batch) as f64 * run(batch) + if rest > 0 { run(rest) } else { 0.0 };
            let peak_bytes = pipeline::memory_plan(p, images.min(batch)).peak();
            Ok(Prediction { images, seconds, peak_bytes, key_bytes: self.inner.overview().eval_key_bytes })
        })
    }

    /// What the program computes of images in the clear: images × classes, as decryption yields
    /// them. With a seed, with the noise that encryption would add.
    #[pyo3(signature = (images, *, seed=None))]
    fn simulate<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>, seed: Option<u64>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let images = self.images(images, None)?;
        let values = guard::compute(py, || self.inner.simulate(&images, seed))?.0;
        let classes = values.len() / images.n.max(1);
        arrays::rows(py, values, classes)
    }

    /// The outputs of the model file by name for decrypted values (images × classes, as
    /// `Answers.logits` has them), with what is left to do behind decryption, a softmax say.
    fn outputs<'py>(&self, py: Python<'py>, logits: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let numpy = py.import("numpy")?;
        let wrong = |_| error::input(py, "logits: an array of images × classes is needed");
        let array = numpy.call_method1("ascontiguousarray", (logits, "f4")).map_err(wrong)?;
        let array = array.cast_into::<PyArray2<f32>>().map_err(|e| wrong(e.into()))?.try_readonly().map_err(error::internal)?;
        let array = array.as_array();
        let classes = array.ncols();
        let values: Vec<f32> = array.iter().copied().collect();
        arrays::outputs(py, guard::compute(py, || self.inner.outputs(&values, classes))?)
    }

    /// The text of a level of the IR: "tensor", "packed", "he" or "program".
    fn stage(&self, py: Python<'_>, level: &str) -> PyResult<String> {
        let file = &self.session().file;
        match level {
            "program" => Ok(text::print(&*file.program)),
            "tensor" | "packed" | "he" => {
                let none = || error::input(py, &format!("{} does not hold its {level} IR", self.inner.name().display()));
                file.stages.get(level).cloned().ok_or_else(none)
            }
            _ => Err(error::input(py, &format!("there is no level `{level}`; there are tensor, packed, he and program"))),
        }
    }

    /// What there is to know of the program, in a few lines.
    fn summary(&self) -> String {
        self.inner.overview().summary()
    }

    /// A page about the program for a browser: one HTML file that loads nothing.
    fn page(&self, py: Python<'_>) -> PyResult<String> {
        guard::compute(py, || Ok::<_, Failure>(self.inner.page()))
    }

    fn __repr__(&self) -> String {
        let security = self.security();
        let strength = if security.insecure { "INSECURE".into() } else { format!("{}-bit security", security.bits) };
        format!("<chiffre.Program \"{}\": batch {}, {strength}>", self.name(), self.batch())
    }

    /// For a notebook: the page in a frame that cannot reach the notebook, or the summary where the
    /// page is too large.
    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let page = self.page(py)?;
        let escaped = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
        let frame = escaped(&page);
        if frame.len() > LARGEST_PAGE {
            return Ok(format!("<pre>{}</pre>", escaped(&self.summary())));
        }
        Ok(format!(
            "<iframe sandbox=\"allow-scripts\" style=\"width:100%;height:640px;border:1px solid #ccc\" srcdoc=\"{frame}\"></iframe>"
        ))
    }
}
