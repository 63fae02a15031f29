//! Placeholder.

use chiffre_ir::tensor::TensorGraph;

/// Not here yet.
pub fn fold_affine(g: &TensorGraph) -> TensorGraph {
    g.clone()
}
