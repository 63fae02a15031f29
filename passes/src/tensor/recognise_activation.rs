//! Placeholder.

use chiffre_ir::tensor::TensorGraph;

/// Not here yet.
pub fn recognise_activation(g: &TensorGraph) -> TensorGraph {
    g.clone()
}
