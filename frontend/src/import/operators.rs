//! The operators, by name: the first opset whose meaning is the one that is converted, and what
//! converts it. What an operator changed later its conversion reads from the opset of the node:
//!
//! * lists that moved from attributes to inputs (`Clip` 11, `Slice` 10, `Pad` 11, `Squeeze` and
//!   `ReduceSum` 13, other reductions and `Split` 18) are taken from where they are;
//! * sums, products, `PRelu` and `Gemm` said how they broadcast before 7, `BatchNormalization` and
//!   `Dropout` that the network is not trained;
//! * `BatchNormalization` lost `spatial` with 9, `Softmax` flattened its operand before 13;
//! * what came with 22 to 28 are element types and operators that are refused.

use super::context::Context;
use super::{
    Bound, activation, conv, elementwise, fold, gemm, joint, pool, quantise, rearrange, reduce, resize, shape, tail, unary, windows,
};
use crate::OPSETS;
use crate::proto::Node;
use std::sync::Arc;

type Result<T> = std::result::Result<T, String>;
type Convert = fn(&mut Context) -> Result<Bound>;

/// Name, first opset and conversion; in the order of names.
const OPERATORS: &[(&str, i64, Convert)] = &[
    ("Abs", 6, unary::unary),
    ("Acos", 7, unary::unary),
    ("Acosh", 9, unary::unary),
    ("Add", 6, elementwise::add),
    ("ArgMax", 1, tail::only),
    ("ArgMin", 1, tail::only),
    ("Asin", 7, unary::unary),
    ("Asinh", 9, unary::unary),
    ("Atan", 7, unary::unary),
    ("Atanh", 9, unary::unary),
    ("AveragePool", 1, pool::window),
    ("BatchNormalization", 6, conv::batch_normalization),
    ("Cast", 6, shape::cast),
    ("CastLike", 15, shape::cast_like),
    ("Celu", 12, unary::unary),
    ("CenterCropPad", 18, rearrange::center_crop_pad),
    ("Clip", 6, activation::clip),
    ("Col2Im", 18, rearrange::col2im),
    ("Concat", 4, joint::concat),
    ("Conv", 1, conv::conv),
    ("ConvTranspose", 1, windows::conv),
    ("Cos", 7, unary::unary),
    ("Cosh", 9, unary::unary),
    ("CumSum", 11, rearrange::cum_sum),
    ("DepthToSpace", 1, rearrange::depth_to_space),
    ("DequantizeLinear", 10, quantise::dequantise),
    ("Div", 6, elementwise::div),
    ("Dropout", 6, shape::identity),
    ("Elu", 6, unary::unary),
    ("Erf", 9, unary::unary),
    ("Exp", 6, unary::unary),
    ("Expand", 8, rearrange::expand),
    ("Flatten", 1, shape::flatten),
    ("Gather", 1, rearrange::gather),
    ("GatherElements", 11, rearrange::gather_elements),
    ("Gelu", 20, activation::named),
    ("Gemm", 6, gemm::gemm),
    ("GlobalAveragePool", 1, pool::global),
    ("GlobalMaxPool", 1, pool::global),
    ("HardSigmoid", 6, activation::named),
    ("HardSwish", 14, activation::named),
    ("Identity", 1, shape::identity),
    ("LeakyRelu", 6, activation::named),
    ("Log", 6, unary::unary),
    ("LogSoftmax", 1, tail::only),
    ("LpPool", 2, windows::pool),
    ("MatMul", 1, gemm::mat_mul),
    ("Max", 6, activation::clip),
    ("MaxPool", 1, pool::window),
    ("MaxUnpool", 9, rearrange::max_unpool),
    ("Mean", 6, elementwise::mean),
    ("Min", 6, activation::clip),
    ("Mish", 18, unary::unary),
    ("Mul", 6, elementwise::mul),
    ("Neg", 6, elementwise::neg),
    ("PRelu", 6, activation::named),
    ("Pad", 2, joint::pad),
    ("Pow", 6, elementwise::pow),
    ("QuantizeLinear", 10, quantise::quantise),
    ("Reciprocal", 6, unary::unary),
    ("ReduceL1", 1, reduce::reduce),
    ("ReduceL2", 1, reduce::reduce),
    ("ReduceLogSum", 1, reduce::reduce),
    ("ReduceLogSumExp", 1, reduce::reduce),
    ("ReduceMax", 1, reduce::reduce),
    ("ReduceMean", 1, reduce::reduce),
    ("ReduceMin", 1, reduce::reduce),
    ("ReduceProd", 1, reduce::reduce),
    ("ReduceSum", 1, reduce::reduce),
    ("ReduceSumSquare", 1, reduce::reduce),
    ("Relu", 6, activation::named),
    ("Reshape", 5, shape::reshape),
    ("Resize", 10, resize::resize),
    ("ReverseSequence", 10, rearrange::reverse_sequence),
    ("Selu", 6, unary::unary),
    ("Sigmoid", 6, activation::named),
    ("Sin", 7, unary::unary),
    ("Sinh", 9, unary::unary),
    ("Slice", 1, joint::slice),
    ("Softmax", 1, tail::only),
    ("Softplus", 1, unary::unary),
    ("Softsign", 1, unary::unary),
    ("SpaceToDepth", 1, rearrange::space_to_depth),
    ("Sqrt", 6, unary::unary),
    ("Squeeze", 1, shape::squeeze),
    ("Sub", 6, elementwise::sub),
    ("Sum", 6, elementwise::add),
    ("Swish", 24, unary::unary),
    ("Tan", 7, unary::unary),
    ("Tanh", 6, activation::named),
    ("ThresholdedRelu", 10, unary::unary),
    ("Tile", 6, rearrange::tile),
    ("Transpose", 1, shape::transpose),
    ("Trilu", 14, rearrange::trilu),
    ("Unsqueeze", 1, shape::unsqueeze),
    ("Upsample", 7, resize::resize),
];

/// The operators with several results.
const SPLITTING: &[(&str, i64)] = &[("Split", 2), ("TopK", 1)];

/// The values of a node's outputs; the reason of a failure does not name the node.
pub(super) fn convert(cx: &mut Context) -> Result<Vec<Bound>> {
    if cx.notes.exhausted {
        cx.spend(0)?;
    }
    versions(cx.node)?;
    if let Some(c) = fold::fold(cx)? {
        return Ok(vec![Bound::Const(Arc::new(c))]);
    }
    known(cx.node, cx.is_tail)?;
    if cx.is_tail
        && let Some(results) = tail::convert(cx)?
    {
        return Ok(results);
    }
    let op = cx.node.op.as_str();
    match op {
        "Split" => joint::split(cx),
        "TopK" => tail::only(cx).map(|b| vec![b]),
        // An optional second output of these says what was dropped or where the largest was.
        _ => match OPERATORS.iter().find(|(name, ..)| *name == op) {
            Some((_, _, convert)) => convert(cx).map(|b| vec![b]),
            None => Err(unsupported(op)),
        },
    }
}

/// The opset from which an operator is read.
fn first_opset(op: &str) -> Option<i64> {
    let one = OPERATORS.iter().find(|(name, ..)| *name == op).map(|(_, first, _)| *first);
    one.or_else(|| SPLITTING.iter().find(|(name, _)| *name == op).map(|(_, first)| *first))
}

/// # Errors
/// The node follows an opset in which its operator has another meaning, or one that is not known.
fn versions(node: &Node) -> Result<()> {
    if !OPSETS.contains(&node.opset) {
        return Err(format!(
            "its function follows opset {}, which is not supported: {} to {} are",
            node.opset,
            OPSETS.start(),
            OPSETS.end()
        ));
    }
    match first_opset(&node.op) {
        Some(first) if node.opset < first => {
            Err(format!("it is read from opset {first} on, and the file follows opset {}: export it with a later one", node.opset))
        }
        _ => Ok(()),
    }
}

/// # Errors
/// There is no such operator, or not in the node's opset, or only at the end of a network.
pub(super) fn known(node: &Node, is_tail: bool) -> Result<()> {
    let op = node.op.as_str();
    versions(node)?;
    let there = first_opset(op).is_some() || fold::FOLDED.contains(&op);
    if !there || (tail::only_ends(op) && !is_tail) { Err(unsupported(op)) } else { Ok(()) }
}

/// True for operators whose result has the shape of the first operand, whatever they compute.
pub(super) fn keeps_shape(op: &str) -> bool {
    let refused =
        ["LayerNormalization", "InstanceNormalization", "GroupNormalization", "LRN", "MeanVarianceNormalization", "LpNormalization"];
    let computed = ["Softmax", "LogSoftmax", "Hardmax", "Sign", "Round", "Floor", "Ceil", "RMSNormalization", "CumSum", "Relu", "PRelu"];
    refused.contains(&op) || computed.contains(&op) || unary::is_unary(op)
}

/// Why an operator is not there, and what to do instead.
pub(super) fn unsupported(op: &str) -> String {
    let hint = match op {
        "Softmax" | "LogSoftmax" | "Hardmax" => {
            "in the middle of a network it divides by a sum over encrypted values; at an output it is computed after decryption"
        }
        "ArgMax" | "ArgMin" | "TopK" => {
            "in the middle of a network it compares encrypted values; at an output it is computed after decryption"
        }
        "If" | "Loop" | "Scan" => "control flow cannot depend on encrypted data; export a model without it",
        "LSTM" | "GRU" | "RNN" => "recurrent networks are not supported; use convolutions over time",
        "Attention" | "MultiHeadAttention" => "attention divides by sums over encrypted values; use convolutions or fixed matrices",
        "LayerNormalization"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "LRN"
        | "RMSNormalization"
        | "LpNormalization"
        | "MeanVarianceNormalization" => {
            "it divides by statistics of the encrypted data; retrain with BatchNormalization, or, at the end of a network, return what it \
             reads and normalise after decryption"
        }
        "NonMaxSuppression" | "Unique" | "NonZero" => {
            "the shape of its result depends on encrypted data; return what it reads, and do it after decryption"
        }
        "Sign" | "Floor" | "Ceil" | "Round" | "Greater" | "Less" | "Equal" | "GreaterOrEqual" | "LessOrEqual" | "Not" | "Where" => {
            "it jumps, and no polynomial follows a jump; use a smooth function"
        }
        "QLinearConv" | "QLinearMatMul" | "ConvInteger" | "MatMulInteger" | "DynamicQuantizeLinear" => {
            "integer arithmetic is not supported; export the floating-point model, or one with QuantizeLinear and DequantizeLinear"
        }
        _ => {
            "replace it in the model by supported operators (convolution, batch normalisation, linear layers, sums, products, pooling, activations)"
        }
    };
    format!("this operator is not supported: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_listed_once_in_order() {
        assert!(OPERATORS.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(OPERATORS.iter().all(|(_, first, _)| crate::OPSETS.contains(first)));
    }
}
