//! Packed IR: values are bundles of slot vectors under a [`Layout`]; every linear layer is one op.

pub mod interp;
pub mod verify;

pub use interp::{interp, run};
pub use verify::verify;

use crate::consts::{ConstId, TableId};
use crate::define_ops;
use crate::graph::{Dialect, Graph};
use crate::layout::Layout;

define_ops! {
    /// Operations of the packed IR. Products act on real and imaginary parts independently
    /// (elementwise on the tensors).
    pub enum PackedOp {
        /// An input of the network, packed by the client.
        Input = "input" (0) {},
        /// The linear map of a table of diagonals over all operands' ciphertexts, whose rotations
        /// are `taps`, plus `bias` (`[outputs, period]`, the same for every image).
        Linear = "linear" (1 +) { taps: Vec<i64>, table: TableId, bias: Option<ConstId> },
        /// Elementwise product.
        Mul = "mul" (2) {},
        /// Elementwise square.
        Square = "square" (1) {},
        /// Elementwise Chebyshev series `Σ_k coeffs[c][k]·T_k(u)` of channel c, of u = x, or of u =
        /// sin x where `sine`; `coeffs` is `[C, degree+1]` or `[1, degree+1]`.
        Chebyshev = "chebyshev" (1) { coeffs: ConstId, sine: bool },
    }
}

/// The packed level.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed;
impl Dialect for Packed {
    const NAME: &'static str = "packed";
    type Op = PackedOp;
    type Type = Layout;
    type Header = ();
}
/// A graph of bundles.
pub type PackedGraph = Graph<Packed>;
