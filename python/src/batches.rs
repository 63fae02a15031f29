//! Many encrypted batches as files: what `chiffre/ray.py` divides among workers.

use crate::batch;
use crate::error::Failure;
use crate::guard;
use chiffre::batches::{self, Pair};
use chiffre_ir::program::file::KIND as PROGRAM_KIND;
use chiffre_runtime::EVAL_KEYS_KIND;
use pyo3::prelude::*;
use std::path::PathBuf;

/// A batch, and where its answer goes.
type Paths = (PathBuf, PathBuf);

fn pair((input, output): Paths) -> Pair {
    Pair { input, output }
}

/// The encrypted batches of a folder or of a list, and where their answers go in a folder.
#[pyfunction]
pub(crate) fn batch_pairs(py: Python<'_>, inputs: PathBuf, outputs: PathBuf) -> PyResult<Vec<Paths>> {
    let found = guard::compute(py, || Ok::<_, Failure>(batches::pairs(&inputs, &outputs)?))?;
    Ok(found.into_iter().map(|p| (p.input, p.output)).collect())
}

/// Refuses batches of another program or key than these files have, and answers to others. Returns
/// the largest number of images of a batch, and digests that name program and keys.
#[pyfunction]
pub(crate) fn batch_check(py: Python<'_>, program: PathBuf, keys: PathBuf, pairs: Vec<Paths>) -> PyResult<(usize, String, String)> {
    guard::compute(py, || -> Result<_, Failure> {
        let digest = batches::digest(&program, PROGRAM_KIND)?;
        let keys_digest = batches::digest(&keys, EVAL_KEYS_KIND)?;
        let [of, key] = batches::binding(&keys, EVAL_KEYS_KIND)?;
        if of != digest {
            return Err(chiffre::Error::input_in(&keys, "these keys were made for another program").into());
        }
        let all: Vec<Pair> = pairs.into_iter().map(pair).collect();
        Ok((batches::check(&all, &digest, &key)?, digest, keys_digest))
    })
}

/// What has become of a batch, in a word, and the reason, if there is one.
#[pyfunction]
pub(crate) fn batch_state(py: Python<'_>, input: PathBuf, output: PathBuf) -> PyResult<(String, Option<String>)> {
    let state = guard::compute(py, || Ok::<_, Failure>(pair((input, output)).state()?))?;
    Ok((state.word().into(), state.why().map(str::to_string)))
}

/// Gives the answer to a batch its name, unless the same answer has it already.
#[pyfunction]
pub(crate) fn batch_store(py: Python<'_>, result: &batch::Result, input: PathBuf, output: PathBuf) -> PyResult<()> {
    let (program, answer) = (result.program.clone(), result.inner.clone());
    guard::compute(py, || -> Result<(), Failure> {
        let pair = pair((input, output));
        pair.store(program.session(), &answer)?;
        Ok(pair.forget_failure()?)
    })
}

/// Keeps the error of a batch beside the place of its answer.
#[pyfunction]
pub(crate) fn batch_set_aside(py: Python<'_>, input: PathBuf, output: PathBuf, error: &str) -> PyResult<()> {
    guard::compute(py, || Ok::<_, Failure>(pair((input, output)).set_aside(error)?))
}
