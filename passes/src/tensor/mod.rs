//! Passes on the tensor IR.

pub mod approximate_activations;
pub mod calibrate_activations;
pub mod compose_linear;
pub mod fold_affine;
pub mod fold_scales;
pub mod linear_form;
pub mod recognise_activation;
pub mod remove_dead_channels;

use crate::error::PassError;
use chiffre_ir::tensor::{TensorGraph, TensorOp};

/// Largest number of linear maps on a path: the levels that the network needs.
pub fn depth(g: &TensorGraph) -> Result<usize, PassError> {
    let mut d = vec![0usize; g.nodes.len()];
    for (v, n) in g.iter() {
        d[v.index()] = n.args.iter().map(|a| d[a.index()]).max().unwrap_or(0) + usize::from(matches!(n.op, TensorOp::LinearMap { .. }));
    }
    Ok(g.outputs.iter().map(|o| d[o.index()]).max().unwrap_or(0))
}
