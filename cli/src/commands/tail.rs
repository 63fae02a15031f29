//! The tail of a program: what its owner does with decrypted values to have the outputs of the
//! model file.

use chiffre::Error;
use chiffre_ir::tail::{TailOp, apply, check};
use chiffre_runtime::Session;
use std::path::Path;

/// The tail of the first output; empty if there is none.
fn of(session: &Session, program: &Path) -> Result<Vec<TailOp>, Error> {
    let Some(text) = session.file.stages.get("tail") else { return Ok(vec![]) };
    let tails: Vec<Vec<TailOp>> =
        serde_json::from_str(text).map_err(|e| Error::input_in(program, format!("its tail is malformed: {e}")))?;
    Ok(tails.into_iter().next().unwrap_or_default())
}

/// The outputs of the model file for rows of `classes` decrypted values, and how many each image
/// has. An image without an answer has none after the tail.
///
/// # Errors
/// A program whose tail does not fit its output, which no compiler writes.
pub(super) fn applied(session: &Session, program: &Path, values: &[f32], classes: usize) -> Result<(Vec<f32>, usize), Error> {
    let tail = of(session, program)?;
    if tail.is_empty() {
        return Ok((values.to_vec(), classes));
    }
    let per = check(&tail, classes).map_err(|e| Error::input_in(program, format!("its tail does not fit its output: {e}")))?;
    Ok((values.chunks(classes).flat_map(|image| apply(&tail, image)).collect(), per))
}
