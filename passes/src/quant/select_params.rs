//! `select-tfhe-params`: the parameters under which the look-ups of a program on integers are
//! right.

use crate::error::PassError;
use crate::pass::Context;
use chiffre_backend::tfhe::demand;
use chiffre_ir::quant::QuantGraph;

const PASS: &str = "select-tfhe-params";

/// A run on one image is wrong with this probability at most, unless the caller says otherwise: a
/// power of two.
pub const LOG2_FAILURE: f64 = -40.0;

/// The graph with parameters in its header.
///
/// # Errors
/// A target without TFHE parameters; look-ups that no set is good enough for.
pub fn select_params(g: &QuantGraph, cx: &Context) -> Result<QuantGraph, PassError> {
    let failure = cx.options.bootstrap.log2_failure.unwrap_or(LOG2_FAILURE);
    let demand = demand(g, -failure).map_err(|e| PassError::clear(PASS, "", e))?;
    let Some(found) = cx.facts().tfhe(&demand) else {
        return Err(PassError::at(PASS, "", "the target has no TFHE parameters".into()));
    };
    let found = found.map_err(|e| {
        PassError::capacity(
            PASS,
            "",
            format!("{e}; fewer bits of weights, of activations or of tables need less, and so does a larger probability"),
        )
    })?;
    let mut out = g.clone();
    out.header.params = Some(found.params);
    out.header.log2_failure = Some(found.log2_failure);
    Ok(out)
}
