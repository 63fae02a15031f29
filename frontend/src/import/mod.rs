//! From a decoded file to a verified tensor graph, node by node.

mod activation;
mod context;
mod conv;
mod elementwise;
mod fold;
mod fuse;
mod gemm;
mod input;
mod joint;
mod operators;
mod order;
mod pool;
mod quantise;
mod rearrange;
mod reduce;
mod relation;
mod resize;
mod shape;
mod tail;
mod unary;
mod window;
mod windows;

pub(crate) use input::Ports;

use crate::constant::Const;
use crate::proto::{File, Node};
use crate::survey::{Fate, Survey};
use crate::{FrontendError, ImportOptions, Model, Normalisation, OPSETS, Output};
use chiffre_ir::consts::Hash;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{TensorGraph, TensorOp, TensorType, verify};
use context::Context;
use order::Order;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes that constants may take which are computed from others, and how many more for each byte of
/// the file's own tensors.
const ROOM: usize = 128 << 20;
const ROOM_PER_BYTE: usize = 4;

/// What a name of the file stands for.
#[derive(Clone, Debug)]
enum Bound {
    Value(Var),
    Const(Arc<Const>),
    /// An input that the file declares without a batch; `Unsqueeze` adds it.
    Unbatched(Var),
    /// What `QuantizeLinear` made of a value; `DequantizeLinear` undoes it.
    Quantised(Var),
    /// A result behind the end of the network.
    Tail(tail::Result),
    /// A tensor without a usable value, and why.
    Broken(String),
    /// A value that is not known because something before it is refused.
    Open,
}

impl Bound {
    /// Bytes of a constant that it alone holds.
    fn own_bytes(&self) -> usize {
        match self {
            Bound::Const(c) => c.own_bytes(),
            _ => 0,
        }
    }
}

/// A value of the graph as the file sees it: `dims` (without the batch) over the elements of `id`,
/// row-major or in another order. Flattening, squeezing and transposing only change how it is seen;
/// the value is brought into form when an op needs it otherwise.
#[derive(Clone, Debug, PartialEq)]
struct Var {
    id: ValueId,
    dims: Vec<usize>,
    order: Order,
}

impl Var {
    fn plain(id: ValueId, dims: Vec<usize>) -> Var {
        Var { id, dims, order: Order::default() }
    }
}

/// What is found on the way.
#[derive(Default)]
struct Notes {
    /// Pairs of quantisation and its inverse that were left out.
    quantised: usize,
    /// There is no room for constants any more: nothing is computed from here on.
    exhausted: bool,
}

pub(crate) fn import(name: &str, file: File, digest: Hash, options: &ImportOptions) -> Result<Survey, FrontendError> {
    let error = |reason: String| FrontendError::Model { file: name.into(), reason };
    let opset = file.opset.ok_or_else(|| error("the file names no opset".into()))?;
    if !OPSETS.contains(&opset) {
        return Err(error(format!("opset {opset} is not supported: export the model with opset {} to {}", OPSETS.start(), OPSETS.end())));
    }
    let mut survey = Survey::new();
    let mut graph = TensorGraph::new(&graph_name(name));
    let mut env: HashMap<String, Bound> = HashMap::new();
    for (n, c) in &file.initializers {
        let bound = match c {
            Ok(c) => Bound::Const(Arc::new(c.clone())),
            Err(reason) => Bound::Broken(reason.clone()),
        };
        env.insert(n.clone(), bound);
    }
    let port = input::bind(&file, options, &mut graph, &mut env, &mut survey);
    let notes = nodes(&file, port.as_ref().and_then(|p| p.batch), &mut graph, &mut env, &mut survey);
    if let Some(unknown) = options.outputs.iter().find(|o| !file.outputs.contains(o)) {
        survey.refuse_file(format!("it has no output \"{unknown}\"; its outputs are {}", file.outputs.join(", ")), false);
    }
    if notes.quantised > 0 {
        survey.warnings.push(format!(
            "{} quantisations of values are left out: what runs is the network in floating point, whose answers may differ a little",
            notes.quantised
        ));
    }
    let mut outputs = vec![];
    let mut values = vec![];
    let asked = |o: &&String| options.outputs.is_empty() || options.outputs.contains(o);
    for o in file.outputs.iter().filter(asked) {
        let (v, ops, from, shape) = match env.get(o) {
            Some(Bound::Value(v)) => (v, vec![], o.clone(), v.dims.clone()),
            Some(Bound::Tail(t)) => (&t.value, t.ops.clone(), t.from.clone(), t.dims().to_vec()),
            Some(Bound::Open | Bound::Broken(_)) => continue,
            Some(_) => {
                survey.refuse_file(format!("output \"{o}\" does not depend on the input"), false);
                continue;
            }
            None => {
                survey.refuse_file(format!("no node yields the output \"{o}\""), false);
                continue;
            }
        };
        match output(&mut graph, v, &file.nodes, o) {
            Ok(id) => graph.outputs.push(id),
            Err(reason) => survey.refuse_file(format!("output \"{o}\": {reason}"), false),
        }
        values.push(from);
        outputs.push(Output { name: o.clone(), tail: ops, shape });
    }
    let (Some(port), false, true) = (port, values.is_empty(), survey.obstacles.is_empty()) else {
        if survey.obstacles.is_empty() {
            survey.refuse_file("the model has no output".into(), false);
        }
        return Ok(survey);
    };
    graph.prune(|op| matches!(op, TensorOp::Input {}));
    fuse::fuse(&mut graph);
    let channels = port.places.iter().map(|p| p.shape[0]).collect::<Vec<_>>();
    let normalisation = file.metadata.iter().find(|(k, _)| k == "normalisation");
    let normalisation = normalisation
        .map(|(_, v)| v.parse().and_then(|n: Normalisation| fits_one(&n, &channels).map(|()| n)))
        .transpose()
        .map_err(|e| error(format!("metadata key normalisation: {e}")))?;
    let graph = verify(graph).map_err(|source| FrontendError::Verify { file: name.into(), source })?;
    tracing::debug!(file = name, opset, nodes = graph.nodes.len(), "imported");
    let input_shape = graph.nodes[0].ty.shape.clone();
    let inputs = port.places.clone();
    let warnings = survey.warnings.clone();
    survey.model = Some(Model { graph, normalisation, inputs, input_shape, outputs, digest, warnings, port, values });
    Ok(survey)
}

/// Checks that a normalisation fits the channels of an input.
fn fits_one(n: &Normalisation, channels: &[usize]) -> Result<(), crate::NormalisationError> {
    let mut found: Vec<_> = channels.iter().map(|c| n.check(*c)).collect();
    if found.iter().any(Result::is_ok) { Ok(()) } else { found.swap_remove(0) }
}

/// Converts all nodes; what cannot be is noted, and others go on with what is known of its results.
fn nodes(file: &File, batch: Option<usize>, graph: &mut TensorGraph, env: &mut HashMap<String, Bound>, survey: &mut Survey) -> Notes {
    let stored: usize = file.initializers.iter().filter_map(|(_, c)| c.as_ref().ok()).map(Const::own_bytes).sum();
    let mut room = ROOM.saturating_add(ROOM_PER_BYTE.saturating_mul(stored));
    let mut flattened = HashMap::new();
    let mut notes = Notes::default();
    let tails = tail::nodes(file);
    for (node, is_tail) in file.nodes.iter().zip(tails) {
        let open = node.inputs.iter().any(|i| matches!(env.get(i), Some(Bound::Open)));
        let before = graph.nodes.len();
        let mut cx = Context { g: graph, env, node, batch, flattened: &mut flattened, room: &mut room, notes: &mut notes, is_tail };
        let results = match open {
            true => operators::known(node, is_tail).map(|()| None),
            false => operators::convert(&mut cx).map(Some),
        };
        let results = results.and_then(|found| {
            let made = found.iter().flatten().map(Bound::own_bytes).sum();
            cx.spend(made).map(|()| found)
        });
        match results {
            Ok(Some(found)) => {
                survey.count(fate(graph, before, &found), &node.op);
                env.extend(node.outputs.iter().cloned().zip(found).filter(|(n, _)| !n.is_empty()));
            }
            Ok(None) => {
                survey.count(Fate::Open, &node.op);
                assume(file, node, graph, env);
            }
            Err(reason) => {
                survey.refuse(&node.op, &node.name, reason);
                assume(file, node, graph, env);
            }
        }
    }
    notes
}

/// What became of a node that made the graph's values from `before` on.
fn fate(graph: &TensorGraph, before: usize, results: &[Bound]) -> Fate {
    let made = &graph.nodes[before..];
    let approximated = |op: &TensorOp| op.is_activation() || matches!(op, TensorOp::MaxPool { .. });
    match () {
        () if results.iter().any(|r| matches!(r, Bound::Tail(_))) => Fate::Tail,
        () if made.iter().any(|n| approximated(&n.op)) => Fate::Approximated,
        () if made.iter().any(|n| !matches!(n.op, TensorOp::Flatten {})) => Fate::Exact,
        () => Fate::Free,
    }
}

/// Lets the nodes behind one that is refused go on: with a value of the shape that the file
/// declares, or of that of an elementwise operator's operand. The graph is never used.
fn assume(file: &File, node: &Node, graph: &mut TensorGraph, env: &mut HashMap<String, Bound>) {
    let operand = node.inputs.iter().find_map(|i| match env.get(i) {
        Some(Bound::Value(v)) if operators::keeps_shape(&node.op) => Some(v.dims.clone()),
        _ => None,
    });
    for (k, o) in node.outputs.iter().enumerate().filter(|(_, o)| !o.is_empty()) {
        let dims = file.shapes.get(o).cloned().or_else(|| operand.clone().filter(|_| k == 0));
        let ty = dims.as_deref().map(input::type_of);
        let bound = match (dims, ty) {
            (Some(dims), Some(Ok(ty))) => Bound::Value(Var::plain(graph.push(TensorOp::Input {}, vec![], ty, &node.name), dims)),
            _ => Bound::Open,
        };
        env.insert(o.clone(), bound);
    }
}

/// The name of the file without folder and extension, with nothing the text form cannot hold.
fn graph_name(file: &str) -> String {
    let stem = std::path::Path::new(file).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let clean: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' }).collect();
    if clean.is_empty() { "model".into() } else { clean }
}

/// The value of an output, its elements in the order of the file; a view that was flattened becomes
/// a `flatten` named after the node that yields it.
fn output(g: &mut TensorGraph, v: &Var, nodes: &[Node], name: &str) -> Result<ValueId, String> {
    let source = nodes.iter().find(|n| n.outputs.iter().any(|o| o == name)).map_or("", |n| n.name.as_str());
    if !v.order.is_plain() {
        return relation::plain(g, source, v).map(|(id, _)| id);
    }
    let ty = g.ty(v.id).clone();
    if v.dims.len() <= 1 && ty.shape.len() != 1 {
        return Ok(g.push(TensorOp::Flatten {}, vec![v.id], TensorType::new([ty.len()]), source));
    }
    Ok(v.id)
}
