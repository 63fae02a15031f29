//! Compilation, and what the compiler makes of a model.

use crate::arrays::{self, Elements};
use crate::error::{self, Failure};
use crate::guard;
use crate::program::Program;
use chiffre::data::{DataOptions, Normalisation};
use chiffre::export::{self, Example};
use chiffre::memory::parse_bytes;
use chiffre::{AccuracyTarget, Options, Stop};
use chiffre_frontend::{Fate, ImportOptions, Model, Reference, survey as of_file, survey_bytes};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use std::path::{Path, PathBuf};

/// A model as a caller gives it.
#[derive(FromPyObject)]
pub(crate) enum Source {
    Bytes(PyBackedBytes),
    File(PathBuf),
}

/// Memory as a caller gives it.
#[derive(FromPyObject)]
pub(crate) enum Memory {
    Number(u64),
    Text(String),
}

impl Source {
    fn model(&self, name: &str, import: &ImportOptions) -> Result<Model, Failure> {
        Ok(match self {
            Source::Bytes(bytes) => chiffre_frontend::load_bytes_with(name, bytes, import)?,
            Source::File(path) => chiffre_frontend::load_with(path, import)?,
        })
    }

    fn reference(&self, name: &str, import: &ImportOptions) -> Result<Reference, Failure> {
        Ok(match self {
            Source::Bytes(bytes) => Reference::load_bytes_with(name, bytes, import)?,
            Source::File(path) => Reference::load_with(path, import)?,
        })
    }
}

/// The model's name in messages.
fn named(source: &Source, name: &str) -> String {
    match source {
        Source::Bytes(_) => name.to_string(),
        Source::File(path) => path.display().to_string(),
    }
}

/// A model that runs in the clear, of these outputs: what `bench` compares with.
pub(crate) fn reference(py: Python<'_>, source: &Source, outputs: Vec<String>) -> PyResult<Reference> {
    let import = ImportOptions { outputs, ..ImportOptions::default() };
    guard::compute(py, || source.reference("the model", &import))
}

/// How images of a model look.
fn data_options(model: &Model, normalisation: Option<Normalisation>) -> DataOptions {
    let d = |i: usize| model.input_shape.get(i).copied().unwrap_or(1);
    let normalisation = normalisation.or_else(|| model.normalisation.clone());
    DataOptions { shape: [d(0), d(1), d(2)], normalisation, count: None }
}

/// Compiles a model file or its bytes. `chiffre.compile` says what the parameters are.
#[pyfunction]
#[pyo3(signature = (model, name, *, batch, memory, calibrate, labels, reference, normalisation, input_range, input_shape, outputs, activation_degree,
                    accuracy_loss, accurate, ephemeral_weight, failure_bits, machine, log_n, passes, allow_insecure, threads))]
#[allow(clippy::too_many_arguments)] // The keyword arguments of the function of Python, once.
pub(crate) fn compile_model(
    py: Python<'_>,
    model: Source,
    name: &str,
    batch: usize,
    memory: Option<Memory>,
    calibrate: Option<Bound<'_, PyAny>>,
    labels: Option<Bound<'_, PyAny>>,
    reference: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    normalisation: Option<(Vec<f32>, Vec<f32>)>,
    input_range: Option<(f64, f64)>,
    input_shape: Option<Vec<usize>>,
    outputs: Vec<String>,
    activation_degree: Option<usize>,
    accuracy_loss: f64,
    accurate: bool,
    ephemeral_weight: usize,
    failure_bits: Option<u32>,
    machine: Option<PathBuf>,
    log_n: Option<u32>,
    passes: Option<String>,
    allow_insecure: bool,
    threads: Option<usize>,
) -> PyResult<Program> {
    let wrong = |message: &str| error::input(py, message);
    let memory = match memory {
        None => None,
        Some(Memory::Number(bytes)) => Some(bytes),
        Some(Memory::Text(text)) => Some(parse_bytes(&text).map_err(|e| wrong(&format!("memory=\"{text}\": {e}")))?),
    };
    if batch == 0 || memory == Some(0) {
        return Err(wrong("batch and memory must be positive"));
    }
    if activation_degree.is_some_and(|d| !(1..=1024).contains(&d)) || log_n.is_some_and(|n| !(3..=17).contains(&n)) {
        return Err(wrong("activation_degree is 1 to 1024, log_n 3 to 17"));
    }
    if ![32, 64, 128].contains(&ephemeral_weight) || failure_bits.is_some_and(|b| !(1..=200).contains(&b)) {
        return Err(wrong("ephemeral_weight is 32, 64 or 128, failure_bits 1 to 200"));
    }
    if !(0.0..=100.0).contains(&accuracy_loss) {
        return Err(wrong("accuracy_loss: percentage points, 0 to 100"));
    }
    let largest = chiffre_ir::program::LARGEST_INPUT;
    if input_range.is_some_and(|(lo, hi)| !(lo < hi && lo >= -largest && hi <= largest)) {
        return Err(wrong(&format!("input_range: the lowest and the highest input, up to {largest:e}")));
    }
    let engine = guard::engine(py, threads)?;
    let import = ImportOptions { input_shape, outputs };
    let file = named(&model, name);
    let imported = guard::compute(py, || model.model(name, &import))?;
    let normalisation = normalisation.map(|(mean, std)| Normalisation::new(mean, std)).transpose();
    let normalisation = normalisation.map_err(|e| Failure::from(chiffre::Error::from(e)).raise(py))?;
    let looks = data_options(&imported, normalisation.clone());
    if let Some((inputs, outputs)) = &reference {
        let (inputs, outputs) = (arrays::images(inputs, None, &imported.inputs, &looks)?, arrays::by_name(outputs, "outputs")?);
        let outputs = outputs.iter().map(Elements::array).collect::<PyResult<Vec<_>>>()?;
        let example = Example::from_arrays(inputs, &outputs, &imported).map_err(|e| Failure::from(e).raise(py))?;
        guard::compute(py, || {
            let clear = model.reference(name, &import)?;
            engine.install(|| export::compare(&imported, &clear, &file, &example)).map_err(Failure::from)
        })?;
    }
    let calibration = calibrate.map(|x| arrays::images(&x, labels.as_ref(), &imported.inputs, &looks)).transpose()?;
    let stop = Stop::default();
    let options = Options {
        batch,
        memory: memory.map(|m| usize::try_from(m).unwrap_or(usize::MAX)),
        calibration,
        activation_degree,
        normalisation,
        input_range: input_range.map(|(lo, hi)| [lo, hi]),
        log_n,
        ephemeral_weight,
        failure_bits,
        passes,
        allow_insecure,
        accuracy: if accurate { AccuracyTarget::ACCURATE } else { AccuracyTarget::Loss(accuracy_loss / 100.0) },
        engine: Some(engine),
        stop: stop.clone(),
        ..Options::default()
    };
    guard::compute_until(py, &stop, || -> Result<Program, Failure> {
        let cost = machine.as_deref().map(chiffre::machine::load).transpose()?;
        let options = Options { machine: cost.unwrap_or(options.machine), ..options };
        Ok(Program { inner: chiffre::compile_model(&imported, &options)?.called(Path::new("the program")) })
    })
}

/// What the compiler makes of a model: of every operator, and what stands in its way.
#[pyclass(frozen, get_all, module = "chiffre")]
pub(crate) struct Survey {
    /// True if nothing stands in the way.
    ok: bool,
    /// What stands in the way: operator, names of nodes, and what is wrong and what to do.
    obstacles: Vec<(String, Vec<String>, String)>,
    /// How many nodes of each operator become what.
    operators: Vec<(String, String, usize)>,
    /// What import has changed or left out.
    warnings: Vec<String>,
    /// All of it for people.
    text: String,
}

#[pymethods]
impl Survey {
    fn __repr__(&self) -> String {
        let obstacles: Vec<String> = self.obstacles.iter().map(|(op, _, reason)| format!("\n  * {op}: {reason}")).collect();
        format!("{}{}", self.text, obstacles.concat())
    }
}

/// What the compiler makes of a model file or its bytes, as `chiffre check` says it. Nothing is
/// compiled.
#[pyfunction]
#[pyo3(signature = (model, *, input_shape=None))]
pub(crate) fn survey(py: Python<'_>, model: Source, input_shape: Option<Vec<usize>>) -> PyResult<Survey> {
    let import = ImportOptions { input_shape, ..ImportOptions::default() };
    let found = guard::compute(py, || -> Result<_, Failure> {
        Ok(match &model {
            Source::Bytes(bytes) => survey_bytes("the model", bytes, &import)?,
            Source::File(path) => of_file(path, &import)?,
        })
    })?;
    let fate = |f: &Fate| match f {
        Fate::Free => "free",
        Fate::Exact => "exact",
        Fate::Approximated => "approximated",
        Fate::Tail => "tail",
        Fate::Open => "open",
        Fate::Refused => "refused",
    };
    Ok(Survey {
        ok: found.model.is_some(),
        text: chiffre::survey::report(&found),
        obstacles: found.obstacles.iter().map(|o| (o.op.clone(), o.nodes.clone(), o.reason.clone())).collect(),
        operators: found.operators.iter().map(|((f, op), n)| (op.clone(), fate(f).to_string(), *n)).collect(),
        warnings: found.warnings,
    })
}
