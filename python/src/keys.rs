//! Evaluation keys: what a server works with.

use crate::error::Failure;
use crate::guard;
use chiffre_runtime::EvalKeySet;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use std::sync::Arc;

/// The keys that a server needs to run one program for one client. They reveal no image.
#[pyclass(frozen, module = "chiffre")]
pub(crate) struct EvaluationKeys {
    pub(crate) program: chiffre::Program,
    pub(crate) keys: Arc<EvalKeySet>,
}

#[pymethods]
impl EvaluationKeys {
    /// Writes the keys to a file; one that is there is kept, unless it may be replaced.
    #[pyo3(signature = (path, *, replace=false))]
    fn save(&self, py: Python<'_>, path: PathBuf, replace: bool) -> PyResult<()> {
        guard::compute(py, || match replace {
            true => self.keys.save(self.program.session(), &path),
            false => self.keys.save_new(self.program.session(), &path),
        })
    }

    /// The bytes of that file.
    fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let made = guard::compute(py, || -> Result<Vec<u8>, Failure> {
            let mut bytes = vec![];
            self.keys.write(self.program.session(), &mut bytes, "the evaluation keys")?;
            Ok(bytes)
        })?;
        Ok(PyBytes::new(py, &made))
    }

    fn __len__(&self) -> usize {
        self.keys.keys.len()
    }

    fn __repr__(&self) -> String {
        let bytes = chiffre::memory::human_bytes(self.keys.bytes() as u64);
        format!("<chiffre.EvaluationKeys {} keys, {bytes}>", self.keys.keys.len())
    }
}
