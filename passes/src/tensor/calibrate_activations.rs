//! `calibrate-activations`: the network runs in the clear on the calibration images, and what
//! activations read is kept channel by channel, weighted by what the logits feel of it.

use crate::activation::function::Function;
use crate::activation::statistics::{Statistics, measure_until};
use crate::error::{PassError, Setting};
use crate::options::ActivationOptions;
use crate::stop::Stop;
use chiffre_ir::tensor::{TensorGraph, TensorOp};

const PASS: &str = "calibrate-activations";

/// Measures all activations and polynomials, if there is calibration data; `None` if there is none
/// and nothing needs it.
///
/// # Errors
/// An activation that needs calibration data that are not there; unusable data; max pooling, which
/// has no approximation; a wish to stop.
pub fn calibrate_activations(g: &TensorGraph, o: &ActivationOptions, stop: &Stop) -> Result<Option<Statistics>, PassError> {
    for n in &g.nodes {
        if matches!(n.op, TensorOp::MaxPool { .. }) {
            return Err(PassError::at(PASS, &n.source, "max pooling is not a polynomial: run lower-max-pool before this pass".into()));
        }
        let f = Function::of(&n.op, &g.consts).map_err(|e| PassError::clear(PASS, &n.source, e))?;
        let refreshed = o.plans.get(&n.source).is_some_and(|p| p.refresh);
        let Some(f) = f.filter(|f| refreshed || f.degree().is_none_or(|d| d > 2)) else { continue };
        if o.calibration.is_none() {
            let m = format!(
                "the polynomial for `{}` needs the range of its operand: give calibration images, a few hundred or more like those to be classified",
                f.name()
            );
            return Err(PassError::setting(PASS, &n.source, Setting::Calibration, m));
        }
    }
    let Some(set) = &o.calibration else { return Ok(None) };
    if !g.nodes.iter().any(|n| crate::activation::statistics::is_measured(&n.op)) {
        return Ok(None);
    }
    let found = measure_until(g, set, o.probes, stop);
    stop.check(PASS)?;
    found.map(Some).map_err(|(node, message)| PassError::at(PASS, &node, message))
}
