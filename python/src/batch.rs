//! Encrypted images and encrypted answers: what travels between the sides.

use crate::error::Failure;
use crate::guard;
use crate::program::Program;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

macro_rules! travels {
    ($class:ident, $inner:ty, $what:literal, $doc:literal) => {
        #[doc = $doc]
        #[pyclass(frozen, module = "chiffre")]
        pub(crate) struct $class {
            pub(crate) program: chiffre::Program,
            pub(crate) inner: Arc<$inner>,
        }

        impl $class {
            pub(crate) fn of(program: &chiffre::Program, inner: $inner) -> $class {
                $class { program: program.clone(), inner: Arc::new(inner) }
            }

            /// From the bytes of a file.
            pub(crate) fn read(py: Python<'_>, program: &chiffre::Program, data: &[u8]) -> PyResult<$class> {
                let read = || <$inner>::read(program.session(), Cursor::new(data), $what);
                Ok($class::of(program, guard::compute(py, read)?))
            }

            /// From a file.
            pub(crate) fn open(py: Python<'_>, program: &chiffre::Program, path: PathBuf) -> PyResult<$class> {
                Ok($class::of(program, guard::compute(py, || <$inner>::load(program.session(), &path))?))
            }
        }

        #[pymethods]
        impl $class {
            /// Reads a file that was made for the program.
            #[staticmethod]
            fn load(py: Python<'_>, program: &Program, path: PathBuf) -> PyResult<$class> {
                $class::open(py, &program.inner, path)
            }

            /// Reads the bytes of such a file.
            #[staticmethod]
            fn from_bytes(py: Python<'_>, program: &Program, data: &[u8]) -> PyResult<$class> {
                $class::read(py, &program.inner, data)
            }

            /// Writes the file that the command line reads, too.
            fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
                guard::compute(py, || self.inner.save(self.program.session(), &path))
            }

            /// The bytes of that file.
            fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
                let made = guard::compute(py, || -> std::result::Result<Vec<u8>, Failure> {
                    let mut bytes = vec![];
                    self.inner.write(self.program.session(), &mut bytes, $what)?;
                    Ok(bytes)
                })?;
                Ok(PyBytes::new(py, &made))
            }

            /// Number of images, canaries included.
            #[getter]
            fn images(&self) -> usize {
                self.inner.images
            }

            fn __repr__(&self) -> String {
                let ciphertexts: usize = self.inner.cts.iter().map(Vec::len).sum();
                format!("<chiffre.{} of {} images in {ciphertexts} ciphertexts>", stringify!($class), self.inner.images)
            }
        }
    };
}

travels!(Batch, chiffre::Batch, "the batch", "Encrypted images, for the server.");
travels!(Result, chiffre::ResultBatch, "the result", "Encrypted answers, for the owner of the secret key.");
