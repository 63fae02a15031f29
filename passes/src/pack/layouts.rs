//! A choice of layouts: what the search ends with and lowering starts from.

use crate::options::PrimeSizes;
use chiffre_backend::memory::MemoryPlan;
use chiffre_ir::graph::ValueId;
use chiffre_ir::layout::Layout;
use chiffre_ir::tensor::TensorGraph;

/// The chosen ring and layouts.
#[derive(Clone, Debug, PartialEq)]
pub struct Layouts {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Images that pass an instruction together.
    pub tile: usize,
    /// Layout of each value of the tensor graph.
    pub values: Vec<Layout>,
    /// How each linear map is computed.
    pub ways: Vec<Way>,
    /// Sizes of primes and scales.
    pub sizes: PrimeSizes,
    /// Predicted bits of precision of the answers, where primes are shorter than they could be.
    pub precision: Option<f64>,
    /// log2 of the scale of answers, and of whatever else only linear maps read, where there is no
    /// bootstrap and primes have their full size: as large as the answers leave room for.
    pub answer_log_scale: Option<i32>,
    /// Predicted time of a run on the whole batch, seconds; the program predicts the same.
    pub seconds: f64,
    /// Predicted memory of that run; the program predicts the same, but for the constants, which
    /// are estimated.
    pub memory: MemoryPlan,
}

impl Layouts {
    /// The sizes of primes and scales, where primes are shorter than usual. Elsewhere the passes
    /// behind choose them by their own options.
    pub fn short_primes(&self) -> Option<PrimeSizes> {
        self.precision.map(|_| self.sizes)
    }
}

/// How a linear map is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// By the rotations of a window, and sums of copies.
    pub folded: bool,
    /// The power of two at which rotations are cut into baby steps and giant steps, if they are.
    pub modulus: Option<i64>,
    /// The most copies that a stage makes, if one position of a result that repeats is computed and
    /// then copied.
    pub radix: Option<usize>,
    /// Positions of the operand, which all have the same weights, are added first.
    pub summed: bool,
}

/// True for a value that is only an output.
pub(super) fn is_last(g: &TensorGraph, v: ValueId) -> bool {
    g.outputs.contains(&v) && !g.nodes.iter().any(|m| m.args.contains(&v))
}
