//! The operators, by name: the opset that each came with, and what converts it. What an operator
//! changed later its conversion reads from the opset of the node:
//!
//! * lists that moved from attributes to inputs (`Clip` 11, `Slice` 10, `Pad` 11, `Squeeze` and
//!   `ReduceSum` 13, other reductions and `Split` 18) are taken from where they are;
//! * `BatchNormalization` lost `spatial` with 9, `Softmax` flattened its operand before 13;
//! * what came with 22 to 26 are element types and operators that are refused.

use super::context::Context;
use super::{Bound, activation, conv, elementwise, fold, gemm, joint, pool, quantise, reduce, shape, tail, unary};
use crate::OPSETS;
use crate::proto::Node;
use std::sync::Arc;

type Result<T> = std::result::Result<T, String>;
type Convert = fn(&mut Context) -> Result<Bound>;

/// Name, first opset and conversion. Operators that split a value come below.
const OPERATORS: &[(&str, i64, Convert)] = &[
    ("Abs", 7, unary::unary),
    ("Acos", 7, unary::unary),
    ("Acosh", 9, unary::unary),
    ("Add", 7, elementwise::add),
    ("ArgMax", 7, tail::only),
    ("ArgMin", 7, tail::only),
    ("Asin", 7, unary::unary),
    ("Asinh", 9, unary::unary),
    ("Atan", 7, unary::unary),
    ("Atanh", 9, unary::unary),
    ("AveragePool", 7, pool::window),
    ("BatchNormalization", 7, conv::batch_normalization),
    ("Cast", 7, shape::cast),
    ("CastLike", 15, shape::cast_like),
    ("Celu", 12, unary::unary),
    ("Clip", 7, activation::clip),
    ("Concat", 7, joint::concat),
    ("Conv", 7, conv::conv),
    ("Cos", 7, unary::unary),
    ("Cosh", 9, unary::unary),
    ("DequantizeLinear", 10, quantise::dequantise),
    ("Div", 7, elementwise::div),
    ("Dropout", 7, shape::identity),
    ("Elu", 7, unary::unary),
    ("Erf", 9, unary::unary),
    ("Exp", 7, unary::unary),
    ("Flatten", 7, shape::flatten),
    ("Gelu", 20, activation::named),
    ("Gemm", 7, gemm::gemm),
    ("GlobalAveragePool", 7, pool::global),
    ("GlobalMaxPool", 7, pool::global),
    ("HardSigmoid", 7, activation::named),
    ("HardSwish", 14, activation::named),
    ("Identity", 7, shape::identity),
    ("LeakyRelu", 7, activation::named),
    ("Log", 7, unary::unary),
    ("LogSoftmax", 7, tail::only),
    ("MatMul", 7, gemm::mat_mul),
    ("Max", 7, activation::clip),
    ("MaxPool", 7, pool::window),
    ("Min", 7, activation::clip),
    ("Mish", 18, unary::unary),
    ("Mul", 7, elementwise::mul),
    ("Neg", 7, elementwise::neg),
    ("PRelu", 7, activation::named),
    ("Pad", 7, joint::pad),
    ("Pow", 7, elementwise::pow),
    ("QuantizeLinear", 10, quantise::quantise),
    ("Reciprocal", 7, unary::unary),
    ("ReduceMean", 7, reduce::reduce),
    ("ReduceSum", 7, reduce::reduce),
    ("Relu", 7, activation::named),
    ("Reshape", 7, shape::reshape),
    ("Selu", 7, unary::unary),
    ("Sigmoid", 7, activation::named),
    ("Sin", 7, unary::unary),
    ("Sinh", 9, unary::unary),
    ("Slice", 7, joint::slice),
    ("Softmax", 7, tail::only),
    ("Softplus", 7, unary::unary),
    ("Softsign", 7, unary::unary),
    ("Sqrt", 7, unary::unary),
    ("Squeeze", 7, shape::squeeze),
    ("Sub", 7, elementwise::sub),
    ("Sum", 8, elementwise::add),
    ("Swish", 24, unary::unary),
    ("Tan", 7, unary::unary),
    ("Tanh", 7, activation::named),
    ("ThresholdedRelu", 10, unary::unary),
    ("Transpose", 7, shape::transpose),
    ("Unsqueeze", 7, shape::unsqueeze),
];

/// The operators with several results.
const SPLITTING: &[&str] = &["Split", "TopK"];

/// The values of a node's outputs; the reason of a failure does not name the node.
pub(super) fn convert(cx: &mut Context) -> Result<Vec<Bound>> {
    if cx.notes.exhausted {
        cx.spend(0)?;
    }
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

/// # Errors
/// There is no such operator, or not in the node's opset, or only at the end of a network.
pub(super) fn known(node: &Node, is_tail: bool) -> Result<()> {
    let op = node.op.as_str();
    if !OPSETS.contains(&node.opset) {
        return Err(format!(
            "its function follows opset {}, which is not supported: {} to {} are",
            node.opset,
            OPSETS.start(),
            OPSETS.end()
        ));
    }
    if tail::only_ends(op) && !is_tail {
        return Err(unsupported(op));
    }
    let first = OPERATORS.iter().find(|(name, ..)| *name == op).map(|(_, first, _)| *first);
    match first.or_else(|| SPLITTING.contains(&op).then_some(7)) {
        None if fold::FOLDED.contains(&op) => Ok(()),
        None => Err(unsupported(op)),
        Some(first) if node.opset < first => {
            Err(format!("the operator came with opset {first}, and the file follows opset {}", node.opset))
        }
        Some(_) => Ok(()),
    }
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
        "ConvTranspose" | "Upsample" | "Resize" => "upsampling is not supported",
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
