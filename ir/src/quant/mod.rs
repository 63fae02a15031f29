//! Quant IR: integers modulo powers of two, linear maps with integer weights, and one table look-up
//! for each activation. What TFHE computes on ciphertexts, the interpreter computes in the clear,
//! bit by bit, whatever the values.

pub mod file;
mod header;
mod interp;
mod terms;
mod ty;
mod verify;

pub use header::QuantHeader;
pub use interp::{Prepared, entry, interp, outside, prepare, real, run, run_integers, run_noisy};
pub use terms::{Term, Terms};
pub use ty::{MAX_BITS, QuantType};
pub use verify::{Quantised, verify};

use crate::consts::IntsId;
use crate::define_ops;
use crate::graph::{Dialect, Graph};
use crate::tensor::{Reads, TensorOp};

define_ops! {
    /// Operations of the quant IR. A value of `bits` bits is an integer modulo `2^(bits+1)`.
    #[allow(missing_docs)] // each op's line names its attributes
    pub enum QuantOp {
        /// An input of the network: `x/scale`, rounded to the nearest integer of the range.
        Input = "input" (0) {},
        /// As in the tensor IR, on integers: kernels are `[out, in, kh, kw]`, the bias `[out]` or
        /// of the result's shape. No operand has fewer bits than the result.
        LinearMap = "linear_map" (1 +) { kernels: Vec<IntsId>, strides: Vec<[usize; 2]>, origins: Vec<[i64; 2]>, bias: Option<IntsId>, reads: Reads, groups: Option<Vec<usize>> },
        /// The nearest integer to `x/2^t`, halves upwards, where the operand has t bits more than
        /// the result. An approximate one, which has `slack`, costs nothing, because its bits are
        /// not removed: what looks it up, encrypted, may read an entry that is so many before or
        /// behind that of the interpreter.
        Round = "round" (1) { slack: Option<u32> },
        /// An entry of the table of each channel, `[C, 2^p]` or `[1, 2^p]`, where p is the number
        /// of bits of the operand: with `i = x mod 2^(p+1)`, entry i below 2^p, and beyond
        /// `flip − entry(i − 2^p)`.
        Lookup = "lookup" (1) { table: IntsId, flip: i64 },
    }
}

impl QuantOp {
    /// A `linear_map` with the names of its constants, for the rules that it shares with that of
    /// the tensor IR.
    pub(crate) fn as_tensor(&self) -> Option<TensorOp> {
        let QuantOp::LinearMap { kernels, strides, origins, bias, reads, groups } = self else { return None };
        Some(TensorOp::LinearMap {
            kernels: kernels.iter().map(|k| k.0).collect(),
            strides: strides.clone(),
            origins: origins.clone(),
            bias: bias.map(|b| b.0),
            reads: reads.clone(),
            groups: groups.clone(),
        })
    }
    /// Groups of the kernel of operand `k` of a `linear_map`; one for other ops.
    pub fn groups(&self, k: usize) -> usize {
        match self {
            QuantOp::LinearMap { groups: Some(all), .. } => all.get(k).copied().unwrap_or(1),
            _ => 1,
        }
    }
}

/// The quant level.
#[derive(Clone, Debug, PartialEq)]
pub struct Quant;
impl Dialect for Quant {
    const NAME: &'static str = "quant";
    type Op = QuantOp;
    type Type = QuantType;
    type Header = QuantHeader;
}
/// A graph of integers.
pub type QuantGraph = Graph<Quant>;
