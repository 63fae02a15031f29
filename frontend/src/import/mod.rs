//! From a decoded file to a verified tensor graph, node by node.

mod activation;
mod context;
mod conv;
mod elementwise;
mod fold;
mod gemm;
mod joint;
mod pool;
mod shape;
mod window;

use crate::constant::Const;
use crate::proto::{File, Node, Port};
use crate::{FrontendError, Model, Normalisation, OPSETS};
use chiffre_ir::consts::Hash;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{MAX_ELEMENTS, MAX_EXTENT, TensorGraph, TensorOp, TensorType, verify};
use context::Context;
use std::collections::HashMap;
use std::sync::Arc;

/// Largest fixed batch that a file may declare.
const MAX_BATCH: i64 = 4096;

/// Bytes that constants may take which are computed from others, and how many more for each byte of
/// the file's own tensors.
const ROOM: usize = 128 << 20;
const ROOM_PER_BYTE: usize = 4;

/// What a name of the file stands for.
#[derive(Clone, Debug)]
enum Bound {
    Value(Var),
    Const(Arc<Const>),
    /// Part of an `x·(1 + erf(x/√2))/2` that is not complete yet.
    Gelu(activation::PartialGelu),
    /// A tensor without a usable value, and why.
    Broken(String),
}

impl Bound {
    /// Bytes of a constant that it alone holds.
    fn own_bytes(&self) -> usize {
        match self {
            Bound::Const(c) => c.own_bytes(),
            Bound::Value(_) | Bound::Gelu(_) | Bound::Broken(_) => 0,
        }
    }
}

/// A value of the graph as the file sees it: `dims` (without the batch) over the row-major elements
/// of `id`. Flattening and squeezing only change `dims`; the value is flattened when an op needs
/// it.
#[derive(Clone, Debug, PartialEq)]
struct Var {
    id: ValueId,
    dims: Vec<usize>,
}

/// The batch size that the file fixes, if it does.
pub(crate) fn fixed_batch(file: &File) -> Option<usize> {
    let port = image_inputs(file).next()?;
    port.dims.as_ref()?.first()?.and_then(|d| usize::try_from(d).ok())
}

/// Declared inputs that are not initializers.
fn image_inputs(file: &File) -> impl Iterator<Item = &Port> {
    file.inputs.iter().filter(|p| !file.initializers.iter().any(|(n, _)| *n == p.name))
}

pub(crate) fn import(name: &str, file: File, digest: Hash) -> Result<Model, FrontendError> {
    let error = |reason: String| FrontendError::Model { file: name.into(), reason };
    let opset = file.opset.ok_or_else(|| error("the file names no opset".into()))?;
    if !OPSETS.contains(&opset) {
        return Err(error(format!("opset {opset} is not supported: export the model with opset {} to {}", OPSETS.start(), OPSETS.end())));
    }
    let (input_name, input_shape) = input(&file).map_err(error)?;
    let mut graph = TensorGraph::new(&graph_name(name));
    let id = graph.push(TensorOp::Input {}, vec![], input_type(&input_shape).map_err(error)?, &input_name);

    let mut env: HashMap<String, Bound> = HashMap::new();
    for (n, c) in &file.initializers {
        let bound = match c {
            Ok(c) => Bound::Const(Arc::new(c.clone())),
            Err(reason) => Bound::Broken(reason.clone()),
        };
        env.insert(n.clone(), bound);
    }
    env.insert(input_name.clone(), Bound::Value(Var { id, dims: input_shape.clone() }));

    let batch = fixed_batch(&file);
    let stored: usize = file.initializers.iter().filter_map(|(_, c)| c.as_ref().ok()).map(Const::own_bytes).sum();
    let mut room = ROOM.saturating_add(ROOM_PER_BYTE.saturating_mul(stored));
    let mut flattened = HashMap::new();
    for node in &file.nodes {
        let mut cx = Context { g: &mut graph, env: &env, node, opset, batch, flattened: &mut flattened };
        let fail = |reason| FrontendError::Node { file: name.into(), node: node.name.clone(), op: node.op.clone(), reason };
        let results = convert(&mut cx).map_err(&fail)?;
        let made: usize = results.iter().map(Bound::own_bytes).sum();
        room = room
            .checked_sub(made)
            .ok_or_else(|| fail("constants that are computed from others take too much memory; simplify the model before export".into()))?;
        env.extend(node.outputs.iter().cloned().zip(results).filter(|(n, _)| !n.is_empty()));
    }
    for o in &file.outputs {
        match env.get(o) {
            Some(Bound::Value(v)) => {
                let id = output(&mut graph, v, &file.nodes, o);
                graph.outputs.push(id);
            }
            Some(_) => return Err(error(format!("output \"{o}\" does not depend on the input"))),
            None => return Err(error(format!("no node yields the output \"{o}\""))),
        }
    }
    graph.prune(|op| matches!(op, TensorOp::Input {}));
    let channels = graph.nodes[0].ty.chw()[0];
    let normalisation = file.metadata.iter().find(|(k, _)| k == "normalisation");
    let normalisation = normalisation
        .map(|(_, v)| v.parse().and_then(|n: Normalisation| n.check(channels).map(|()| n)))
        .transpose()
        .map_err(|e| error(format!("metadata key normalisation: {e}")))?;
    let graph = verify(graph).map_err(|source| FrontendError::Verify { file: name.into(), source })?;
    tracing::debug!(file = name, opset, nodes = graph.nodes.len(), "imported");
    Ok(Model { graph, normalisation, input_name, input_shape, output_names: file.outputs, digest })
}

/// The name of the file without folder and extension, with nothing the text form cannot hold.
fn graph_name(file: &str) -> String {
    let stem = std::path::Path::new(file).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let clean: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' }).collect();
    if clean.is_empty() { "model".into() } else { clean }
}

/// Name and shape, without the batch, of the only input.
fn input(file: &File) -> Result<(String, Vec<usize>), String> {
    let ports: Vec<&Port> = image_inputs(file).collect();
    let [port] = ports[..] else {
        let names: Vec<&str> = ports.iter().map(|p| p.name.as_str()).collect();
        return Err(format!("the model must have one input, not {}: {}", names.len(), names.join(", ")));
    };
    let bad = |what: &str| format!("input \"{}\" {what}", port.name);
    if !port.float {
        return Err(bad("is not float32"));
    }
    let dims = port.dims.as_ref().ok_or_else(|| bad("declares no shape; export the model with one"))?;
    let Some((first, rest)) = dims.split_first().filter(|(_, r)| (1..=3).contains(&r.len())) else {
        return Err(bad(&format!("has rank {}; expected N×C×H×W or N×C", dims.len())));
    };
    if first.is_some_and(|b| b > MAX_BATCH) {
        return Err(bad(&format!("fixes a batch over {MAX_BATCH}")));
    }
    let extent = |d: &Option<i64>| d.and_then(|d| usize::try_from(d).ok()).filter(|&d| d <= MAX_EXTENT);
    let shape: Option<Vec<usize>> = rest.iter().map(extent).collect();
    let shape = shape.ok_or_else(|| bad("must have fixed extents beside the batch; export the model with a fixed image size"))?;
    Ok((port.name.clone(), shape))
}

/// `[C]` for a vector, `[C, H, W]` otherwise.
fn input_type(shape: &[usize]) -> Result<TensorType, String> {
    let n = shape.iter().try_fold(1usize, |a, &d| a.checked_mul(d));
    n.filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| format!("an input of shape {shape:?} is too large"))?;
    let mut full = shape.to_vec();
    if full.len() == 2 {
        full.push(1);
    }
    Ok(TensorType::new(full))
}

/// The value of an output; a view that was flattened becomes a `flatten` named after the node that
/// yields it.
fn output(g: &mut TensorGraph, v: &Var, nodes: &[Node], name: &str) -> ValueId {
    let ty = g.ty(v.id).clone();
    if v.dims.len() == 1 && ty.shape.len() != 1 {
        let source = nodes.iter().find(|n| n.outputs.iter().any(|o| o == name)).map_or("", |n| n.name.as_str());
        return g.push(TensorOp::Flatten {}, vec![v.id], TensorType::new([ty.len()]), source);
    }
    v.id
}

/// The values of a node's outputs; the reason of a failure does not name the node.
fn convert(cx: &mut Context) -> Result<Vec<Bound>, String> {
    if let Some(c) = fold::fold(cx)? {
        return Ok(vec![Bound::Const(Arc::new(c))]);
    }
    let one = match cx.node.op.as_str() {
        "Identity" | "Dropout" => shape::identity(cx)?,
        "Cast" => shape::cast(cx)?,
        "Flatten" => shape::flatten(cx)?,
        "Reshape" => shape::reshape(cx)?,
        "Squeeze" => shape::squeeze(cx)?,
        "Unsqueeze" => shape::unsqueeze(cx)?,
        "Transpose" => shape::transpose(cx)?,
        "Conv" => conv::conv(cx)?,
        "BatchNormalization" => conv::batch_normalization(cx)?,
        "Gemm" => gemm::gemm(cx)?,
        "MatMul" => gemm::mat_mul(cx)?,
        "Add" | "Sum" => elementwise::add(cx)?,
        "Sub" => elementwise::sub(cx)?,
        "Mul" => elementwise::mul(cx)?,
        "Div" => elementwise::div(cx)?,
        "Neg" => elementwise::neg(cx)?,
        "Pow" => elementwise::pow(cx)?,
        "Relu" | "Sigmoid" | "Tanh" | "HardSwish" | "LeakyRelu" | "PRelu" | "Gelu" | "HardSigmoid" => activation::named(cx)?,
        "Clip" | "Max" | "Min" => activation::clip(cx)?,
        "Erf" => activation::erf(cx)?,
        "AveragePool" | "MaxPool" => pool::window(cx)?,
        "GlobalAveragePool" | "GlobalMaxPool" => pool::global(cx)?,
        "ReduceMean" | "ReduceSum" => pool::reduce(cx)?,
        "Slice" => joint::slice(cx)?,
        "Pad" => joint::pad(cx)?,
        "Concat" => joint::concat(cx)?,
        "Split" => return joint::split(cx),
        other => return Err(unsupported(other)),
    };
    Ok(vec![one])
}

/// Why an operator is not there, and what to do instead.
fn unsupported(op: &str) -> String {
    let hint = match op {
        "Softmax" | "LogSoftmax" => "export the model up to its logits: softmax does not change the order of the classes",
        "If" | "Loop" | "Scan" => "control flow cannot depend on encrypted data; export a model without it",
        "LayerNormalization" | "InstanceNormalization" | "GroupNormalization" | "LRN" => {
            "it divides by statistics of the encrypted data; retrain with BatchNormalization"
        }
        "ConvTranspose" | "Upsample" | "Resize" => "upsampling is not supported",
        "QuantizeLinear" | "DequantizeLinear" | "QLinearConv" | "ConvInteger" => "export the float32 model",
        _ => {
            "replace it in the model by supported operators (convolution, batch normalisation, linear layers, sums, products, pooling, activations)"
        }
    };
    format!("this operator is not supported: {hint}")
}
