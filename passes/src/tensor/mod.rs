//! Passes on the tensor IR.

pub mod approximate_activations;
pub mod calibrate_activations;
pub mod compose_linear;
pub mod fold_affine;
pub mod fold_scales;
pub mod linear_form;
pub mod lower_max_pool;
pub mod minimise_products;
pub mod recognise_activation;
pub mod remove_dead_channels;

use crate::levels::{LimbEffect, limbs, needed};
use crate::options::{CompileOptions, PrimeSizes, REFRESH_BASE};
use chiffre_ir::graph::{Node, ValueId};
use chiffre_ir::tensor::{Tensor, TensorGraph, TensorOp};
use chiffre_params::polynomial::coefficients_depth;

/// True if products of a composed network are rescaled at once, by a map of its own behind each:
/// with the large scales and small primes of bootstraps the map that reads a product could not
/// bring it back to the scale of values.
pub fn products_rescale(g: &TensorGraph) -> bool {
    g.nodes.iter().any(|n| matches!(n.op, TensorOp::Chebyshev { sine: true, .. }))
}

/// What each op of a composed network does to limbs, if activations that are still open become
/// series of so many coefficients.
pub fn limb_effects(g: &TensorGraph, open: usize) -> Vec<LimbEffect> {
    let depth = |c| coefficients_depth(g.consts.get(c).shape().get(1).copied().unwrap_or(1));
    let products = products_rescale(g);
    let refreshed = |v: ValueId| g.nodes.iter().any(|n| matches!(n.op, TensorOp::Chebyshev { sine: true, .. }) && n.args.contains(&v));
    let step = |(v, n): (ValueId, &Node<Tensor>)| match n.op {
        TensorOp::LinearMap { .. } if refreshed(v) && !g.outputs.contains(&v) => LimbEffect::Unscaled,
        TensorOp::LinearMap { .. } => LimbEffect::Linear,
        TensorOp::Chebyshev { coeffs, sine: true, .. } => LimbEffect::Refresh(depth(coeffs)),
        TensorOp::Chebyshev { coeffs, .. } => LimbEffect::Series(depth(coeffs)),
        TensorOp::Poly { coeffs } if g.consts.get(coeffs).shape().get(1).is_some_and(|terms| *terms > 3) => {
            LimbEffect::Series(depth(coeffs))
        }
        TensorOp::Activation { .. } | TensorOp::Function { .. } => LimbEffect::Series(coefficients_depth(open)),
        TensorOp::Input {} => LimbEffect::Input,
        TensorOp::Mul {} | TensorOp::Square {} if products => LimbEffect::Series(1),
        _ => LimbEffect::Product,
    };
    g.iter().map(step).collect()
}

/// Limbs of every value of a composed network, and the sizes of its primes; see [`limb_effects`].
pub fn levels(g: &TensorGraph, open: usize, opts: &CompileOptions) -> (Vec<usize>, PrimeSizes) {
    let effects = limb_effects(g, open);
    let any = |f: fn(&LimbEffect) -> bool| effects.iter().any(f);
    let sizes = PrimeSizes::of(opts, any(|s| matches!(s, LimbEffect::Series(_))), any(|s| matches!(s, LimbEffect::Refresh(_))));
    let args: Vec<Vec<usize>> = g.nodes.iter().map(|n| n.args.iter().map(|a| a.index()).collect()).collect();
    let outputs: Vec<usize> = g.outputs.iter().map(|o| o.index()).collect();
    let need = needed(&effects, &args, &outputs, sizes.output, REFRESH_BASE);
    (limbs(&effects, &args, &need), sizes)
}
