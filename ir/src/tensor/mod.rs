//! Tensor IR: the network as the model file describes it, one image at a time (the batch dimension
//! is implicit).

mod adjoint;
mod certificate;
mod convolve;
mod expr;
mod infer;
mod interp;
mod reads;
mod relation;
mod simulate;
mod ty;
mod verify;

pub use adjoint::{Trace, trace};
pub use certificate::{Certificate, CertifiedNode, certified};
pub(crate) use convolve::Window;
pub use expr::{Binary, Expr, MAX_EXPR, Unary};
pub use infer::{MAX_ELEMENTS, MAX_EXTENT, infer};
pub(crate) use interp::{MapPart, linear_map};
pub use interp::{activate, chebyshev, fold, interp, ranges, slope, visit};
pub use reads::{Lists, Reads};
pub use relation::{Listed, Relation, groups_of, weighted_lists};
pub use simulate::{Excess, OperandRange, RefreshNoise, Simulation, operand_ranges, simulate};
pub use ty::TensorType;
pub(crate) use verify::check_linear_map;
pub use verify::verify;

use crate::consts::ConstId;
use crate::graph::{Dialect, Graph, HeaderText};
use crate::ops::{Attr, take_attr};
use crate::{define_ops, word_attr};
use std::fmt;

define_ops! {
    /// Operations of the tensor IR. Shapes are `[C, H, W]` or `[C]`; weights as in ONNX
    /// (`[out, in, kh, kw]`).
    #[allow(missing_docs)] // each op's line names its attributes
    pub enum TensorOp {
        /// An input of the network.
        Input = "input" (0) {},
        /// 2-D convolution with zero padding `[top, left, bottom, right]`; `weight` is
        /// `[out, in, kh, kw]`, `bias` `[out]`.
        Conv2d = "conv2d" (1) { weight: ConstId, bias: Option<ConstId>, stride: [usize; 2], pad: [usize; 4], dilation: [usize; 2] },
        /// Fully connected layer on a `[C]` value: `weight` is `[out, in]`, `bias` `[out]`.
        Linear = "linear" (1) { weight: ConstId, bias: Option<ConstId> },
        /// Per-channel `scale·x + shift`; each `[C]`, or `[1]` for all channels.
        Affine = "affine" (1) { scale: ConstId, shift: ConstId },
        /// Adds a constant tensor of the operand's shape.
        AddConst = "add_const" (1) { value: ConstId },
        /// Elementwise sum.
        Add = "add" (2) {},
        /// Elementwise difference.
        Sub = "sub" (2) {},
        /// Elementwise product of two values.
        Mul = "mul" (2) {},
        /// Elementwise square.
        Square = "square" (1) {},
        /// Per-channel polynomial: `coeffs` is `[C, degree+1]` or `[1, degree+1]`, lowest power
        /// first.
        Poly = "poly" (1) { coeffs: ConstId },
        /// Per-channel polynomial in the Chebyshev basis, `Σ coeffs[c][k]·T_k(u)`: `coeffs` is
        /// `[C, degree+1]` or `[1, degree+1]`; `u` is the operand (at most 1 in absolute value, as
        /// a rule), or with `sine` its sine: the operand is then an angle and is bootstrapped.
        /// `ranges` is `[C, 2]` or `[1, 2]`: the smallest and the largest operand for which the
        /// series is meant, where those are not the same for all channels.
        Chebyshev = "chebyshev" (1) { coeffs: ConstId, sine: bool, ranges: Option<ConstId>, certificate: Option<Certificate> },
        /// A named activation that is not a polynomial; `alpha` is its parameter where it has one.
        Activation = "activation" (1) { kind: ActivationKind, alpha: Option<f64> },
        /// A function of one value that has no name, such as `mul(x, tanh(softplus(x)))`; `params`
        /// is `[C, k]` or `[1, k]`: the numbers `p0`, `p1`, … of each channel.
        Function = "function" (1) { of: Expr, params: Option<ConstId> },
        /// Average over a window; `count_pad`: padding counts in the divisor.
        AvgPool = "avg_pool" (1) { kernel: [usize; 2], stride: [usize; 2], pad: [usize; 4], count_pad: bool },
        /// Maximum over a window.
        MaxPool = "max_pool" (1) { kernel: [usize; 2], stride: [usize; 2], pad: [usize; 4] },
        /// Elements `start, start+step, …` (`count` of them) of each dimension `[C, H, W]`.
        Slice = "slice" (1) { start: [usize; 3], count: [usize; 3], step: [usize; 3] },
        /// Zeros before and after each dimension `[C, H, W]`.
        Pad = "pad" (1) { before: [usize; 3], after: [usize; 3] },
        /// Joins values along the channel dimension.
        Concat = "concat" (1 +) {},
        /// `[C, H, W]` as `[C·H·W]`, row-major.
        Flatten = "flatten" (1) {},
        /// Sum of strided linear maps, one per operand, plus a bias: the form every linear region
        /// takes. Kernel k is `[out, in, kh, kw]`; output `(o, y, x)` reads operand k at
        /// `(i, stride_y·y + origin_y + ky, stride_x·x + origin_x + kx)`, zero outside. With
        /// `reads`, `[[rows, columns], …]`, an operand whose lists are not empty is read at `(i,
        /// rows[ky][y], columns[kx][x])` instead, where −1 is a zero. With `groups` a kernel is
        /// `[out, in/groups, kh, kw]`: the channels of the result and those of the operand are cut
        /// into so many parts, and each reads its own. `bias` is `[out, H, W]` or `[out]`.
        LinearMap = "linear_map" (1 +) { kernels: Vec<ConstId>, strides: Vec<[usize; 2]>, origins: Vec<[i64; 2]>, bias: Option<ConstId>, reads: Reads, groups: Option<Vec<usize>> },
    }
}

impl TensorOp {
    /// Groups of the kernel of operand `k` of a `linear_map`; one for other ops.
    pub fn groups(&self, k: usize) -> usize {
        match self {
            TensorOp::LinearMap { groups: Some(all), .. } => all.get(k).copied().unwrap_or(1),
            _ => 1,
        }
    }
    /// True for functions of one value that are no polynomials: something has to stand in for them
    /// where only sums and products can be computed.
    pub fn is_activation(&self) -> bool {
        matches!(self, TensorOp::Activation { .. } | TensorOp::Function { .. })
    }
}

/// Activations that import by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActivationKind {
    /// max(x, 0)
    Relu,
    /// x for x > 0, alpha·x otherwise
    LeakyRelu,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// x · sigmoid(x)
    Silu,
    /// x · Φ(x)
    Gelu,
    /// tanh(x)
    Tanh,
    /// x · min(max(x + 3, 0), 6) / 6
    HardSwish,
    /// min(max(x, 0), alpha)
    Clip,
}

impl ActivationKind {
    const NAMES: [(ActivationKind, &'static str); 8] = [
        (ActivationKind::Relu, "relu"),
        (ActivationKind::LeakyRelu, "leaky_relu"),
        (ActivationKind::Sigmoid, "sigmoid"),
        (ActivationKind::Silu, "silu"),
        (ActivationKind::Gelu, "gelu"),
        (ActivationKind::Tanh, "tanh"),
        (ActivationKind::HardSwish, "hard_swish"),
        (ActivationKind::Clip, "clip"),
    ];
}
impl fmt::Display for ActivationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(k, _)| k == self).map_or("", |(_, n)| n))
    }
}
impl std::str::FromStr for ActivationKind {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::NAMES.iter().find(|(_, n)| *n == s).map(|(k, _)| *k).ok_or_else(|| format!("unknown activation `{s}`"))
    }
}
word_attr!(ActivationKind);

/// The tensor level.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor;
impl Dialect for Tensor {
    const NAME: &'static str = "tensor";
    type Op = TensorOp;
    type Type = TensorType;
    type Header = TensorHeader;
}

/// What a graph of tensors says beside its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorHeader {
    /// Normalisation of pixel data, as in the model's metadata.
    pub normalisation: Option<String>,
}

impl HeaderText for TensorHeader {
    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        self.normalisation.iter().map(|n| ("normalisation", Attr::Str(n.clone()))).collect()
    }
    fn build(attrs: &mut Vec<(String, Attr)>) -> Result<Self, String> {
        let normalisation = take_attr(attrs, "normalisation").map_err(|e| format!("header attribute {e}"))?;
        Ok(TensorHeader { normalisation })
    }
}
/// A graph of tensors.
pub type TensorGraph = Graph<Tensor>;
