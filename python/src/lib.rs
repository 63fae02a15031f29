//! The Python package `chiffre`: the library's types as classes of Python. What only glues Python
//! libraries together is in `chiffre/*.py`.
//!
//! **Invariants**: the interpreter is released around everything that computes; no panic reaches
//! Python but as `chiffre.Bug`; what has a server half only names nothing of the client.

mod arrays;
mod batch;
mod batches;
mod bench;
mod client;
mod compile;
mod error;
mod guard;
mod keys;
mod program;
mod server;

use pyo3::prelude::*;

/// The native half of the package `chiffre`.
#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    guard::watch_panics();
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add_class::<program::Program>()?;
    m.add_class::<program::Security>()?;
    m.add_class::<program::Prediction>()?;
    m.add_class::<client::Client>()?;
    m.add_class::<client::Receipt>()?;
    m.add_class::<client::Answers>()?;
    m.add_class::<keys::EvaluationKeys>()?;
    m.add_class::<batch::Batch>()?;
    m.add_class::<batch::Result>()?;
    m.add_class::<server::Server>()?;
    m.add_class::<server::Progress>()?;
    m.add_class::<bench::Table>()?;
    m.add_class::<compile::Survey>()?;
    m.add_function(wrap_pyfunction!(compile::compile_model, m)?)?;
    m.add_function(wrap_pyfunction!(compile::survey, m)?)?;
    m.add_function(wrap_pyfunction!(bench::bench, m)?)?;
    m.add_function(wrap_pyfunction!(batches::batch_pairs, m)?)?;
    m.add_function(wrap_pyfunction!(batches::batch_check, m)?)?;
    m.add_function(wrap_pyfunction!(batches::batch_state, m)?)?;
    m.add_function(wrap_pyfunction!(batches::batch_store, m)?)?;
    m.add_function(wrap_pyfunction!(batches::batch_set_aside, m)?)?;
    m.add_function(wrap_pyfunction!(guard::_panic, m)?)?;
    Ok(())
}
