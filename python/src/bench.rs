//! Everything at once, with figures.

use crate::compile::{self, Source};
use crate::error::{self, Failure};
use crate::program::Program;
use crate::server::Watch;
use crate::{arrays, guard};
use chiffre::bench::{Bench, Outcome};
use chiffre::memory::admit_all;
use chiffre::pipeline::Work;
use numpy::PyArray2;
use pyo3::prelude::*;

/// What an encrypted run on many images has measured.
#[pyclass(frozen, module = "chiffre")]
pub(crate) struct Table {
    inner: Outcome,
}

#[pymethods]
impl Table {
    /// The figures by name; `docs/guide.md` says what they are.
    #[getter]
    fn figures<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json = self.inner.report.to_json().map_err(|e| Failure::from(e).raise(py))?;
        py.import("json")?.call_method1("loads", (json,))
    }

    /// Decrypted logits, images × classes; NaN for images without an answer.
    #[getter]
    fn logits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        arrays::rows(py, self.inner.answers.clone(), self.inner.classes)
    }

    /// Numbers of the images without an answer.
    #[getter]
    fn lost(&self) -> Vec<usize> {
        self.inner.affected.iter().copied().collect()
    }

    fn __repr__(&self) -> String {
        self.inner.table()
    }

    fn _repr_html_(&self) -> String {
        let rows = self.inner.table();
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let cells = rows.lines().map(|line| {
            let (name, value) = line.split_at_checked(12).unwrap_or((line, ""));
            format!("<tr><th style=\"text-align:left\">{}</th><td style=\"text-align:left\">{}</td></tr>", escaped(name), escaped(value))
        });
        format!("<table>{}</table>", cells.collect::<String>())
    }
}

/// Makes keys, encrypts, runs and decrypts all images in this process, which then knows everything,
/// and compares the answers with what the model computes in the clear or, without a model, with
/// what the program does: what the command `bench` does.
#[pyfunction]
#[pyo3(signature = (program, images, labels=None, *, model=None, progress=None))]
pub(crate) fn bench(
    py: Python<'_>,
    program: &Program,
    images: &Bound<'_, PyAny>,
    labels: Option<&Bound<'_, PyAny>>,
    model: Option<Source>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Table> {
    let images = program.images(images, labels)?;
    if progress.as_ref().is_some_and(|p| !p.bind(py).is_callable()) {
        return Err(error::input(py, "progress: something that can be called is needed"));
    }
    let interface = program.inner.interface();
    let outputs: Vec<String> = interface.outputs.iter().map(|o| o.name.clone()).collect();
    let reference = model.map(|m| compile::reference(py, &m, outputs)).transpose()?;
    let session = program.session();
    let measured = || -> Result<Outcome, Failure> {
        admit_all(session.program(), session.engine().threads(), images.n.min(program.inner.batch()), None)?;
        let clear = match &reference {
            Some(reference) => session.engine().install(|| reference.run(&images.pixels, images.n))?,
            None => program.inner.simulate(&images, None)?.0,
        };
        let name = &session.program().name;
        let cost = chiffre::CostModel::default();
        let bench = Bench { model: name, session, images: &images, clear: &clear, simulation: None, cost, compile_s: 0.0 };
        let mut watch = Watch::new(progress.as_ref(), Work::new(session.program(), &bench.sizes()));
        let ended = bench.run(|event| watch.step(event));
        watch.raised()?;
        Ok(ended?)
    };
    Ok(Table { inner: guard::compute(py, measured)? })
}
