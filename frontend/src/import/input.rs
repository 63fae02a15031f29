//! The inputs of a file: their names, shapes and the order of their elements, and where they lie in
//! the one input of the graph.

use super::order::Order;
use super::{Bound, Var, relation};
use crate::ImportOptions;
use crate::constant::Dim;
use crate::proto::{Attr, File, Node, Port as Declared};
use crate::survey::Survey;
use chiffre_ir::interface::{self, InputPort};
use chiffre_ir::tensor::{MAX_ELEMENTS, MAX_EXTENT, TensorGraph, TensorOp, TensorType};
use std::collections::HashMap;

/// Largest fixed batch that a file may declare.
const MAX_BATCH: i64 = 4096;

/// How a file takes one of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub name: String,
    /// Extents of one image, as the graph takes it.
    pub shape: Vec<usize>,
    /// Extents of one image, as the file takes it.
    pub dims: Vec<usize>,
    /// For every element of the file's image, the element of the graph's.
    order: Order,
    /// The file's own batch, if it is fixed.
    pub batch: Option<usize>,
    /// False if the file's input has no axis for a batch.
    batched: bool,
}

impl Port {
    /// The shape of what the file takes at once, in batches of the given size.
    pub fn batch_shape(&self, batch: usize) -> Vec<usize> {
        self.batched.then_some(batch).into_iter().chain(self.dims.iter().copied()).collect()
    }
    /// Channels, rows and columns of an image.
    fn chw(&self) -> [usize; 3] {
        let at = |i: usize| self.shape.get(i).copied().unwrap_or(1);
        [at(0), at(1), at(2)]
    }
    /// The file's image in an image of the graph.
    pub fn image(&self, x: &[f32], frame: [usize; 3], input: &InputPort) -> Vec<f32> {
        (0..input.len()).map(|i| x[input.place(self.order.at(i), frame)]).collect()
    }
}

/// What a file takes: all of its inputs, where each lies in the graph's, and the extents of that.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub ports: Vec<Port>,
    pub places: Vec<InputPort>,
    pub frame: [usize; 3],
    /// The batch that all of them fix, if one does.
    pub batch: Option<usize>,
}

/// Gives the inputs their values; `None` if the shape of one is not known, or there is none.
pub(super) fn bind(
    file: &File,
    options: &ImportOptions,
    graph: &mut TensorGraph,
    env: &mut HashMap<String, Bound>,
    survey: &mut Survey,
) -> Option<Ports> {
    let declared: Vec<&Declared> = file.inputs.iter().filter(|p| !file.initializers.iter().any(|(n, _)| *n == p.name)).collect();
    if declared.is_empty() {
        survey.refuse_file("the model has no input".into(), false);
        return None;
    }
    let several = declared.len() > 1;
    if several && options.input_shape.is_some() {
        let reason = "the shape of an image is given, but the model has several inputs: export it with fixed extents";
        survey.refuse_file(reason.into(), false);
    }
    let mut ports = vec![];
    for d in &declared {
        let options = if several { &ImportOptions::default() } else { options };
        match port(file, d, options) {
            Ok(p) => match type_of(&p.shape) {
                Ok(_) => ports.push(p),
                Err(reason) => {
                    survey.refuse_file(reason, false);
                    env.insert(d.name.clone(), Bound::Open);
                }
            },
            Err(Misfit { reason, open_extents }) => {
                survey.refuse_file(format!("input \"{}\" {reason}", d.name), open_extents && !several);
                env.insert(d.name.clone(), Bound::Open);
            }
        }
    }
    let (frame, channels) = interface::frame(&ports.iter().map(Port::chw).collect::<Vec<_>>());
    let fixed: Vec<usize> = ports.iter().filter_map(|p| p.batch).collect();
    if fixed.iter().any(|b| *b != fixed[0]) {
        survey.refuse_file("its inputs fix different batches: export it with one, or with an open batch".into(), false);
    }
    let input = |(p, channel): (&Port, usize)| InputPort { name: p.name.clone(), shape: p.chw(), channel };
    let places: Vec<InputPort> = ports.iter().zip(channels).map(input).collect();
    let batch = fixed.first().copied();
    if let Err(reason) = values(graph, &ports, &places, frame, env) {
        survey.refuse_file(reason, false);
        return None;
    }
    (ports.len() == declared.len()).then_some(Ports { ports, places, frame, batch })
}

/// The graph's input, and of several inputs what it holds of each.
fn values(
    graph: &mut TensorGraph,
    ports: &[Port],
    places: &[InputPort],
    frame: [usize; 3],
    env: &mut HashMap<String, Bound>,
) -> Result<(), String> {
    let mut bind = |p: &Port, id| {
        let v = Var { id, dims: p.dims.clone(), order: p.order.clone() };
        env.insert(p.name.clone(), if p.batched { Bound::Value(v) } else { Bound::Unbatched(v) });
    };
    if let [p] = ports {
        bind(p, graph.push(TensorOp::Input {}, vec![], type_of(&p.shape)?, &p.name));
        return Ok(());
    }
    if ports.is_empty() {
        return Ok(());
    }
    let vector = ports.iter().all(|p| p.shape.len() == 1);
    let extents = if vector { vec![frame[0]] } else { frame.to_vec() };
    let names: Vec<&str> = ports.iter().map(|p| p.name.as_str()).collect();
    let all = graph.push(TensorOp::Input {}, vec![], type_of(&extents)?, &names.join(", "));
    for (p, place) in ports.iter().zip(places) {
        let ty = type_of(&p.shape)?;
        let id = if place.shape[1..] == frame[1..] && vector == (p.shape.len() == 1) {
            let op = TensorOp::Slice { start: [place.channel, 0, 0], count: place.shape, step: [1; 3] };
            graph.push(op, vec![all], ty, &p.name)
        } else {
            let whole = Var::plain(all, frame.to_vec());
            relation::mapped(graph, &p.name, &whole, &p.shape, &|o, list| list.push((place.place(o, frame), 1.0)))?.0
        };
        bind(p, id);
    }
    Ok(())
}

/// Why an input cannot be taken.
struct Misfit {
    reason: String,
    open_extents: bool,
}

impl From<String> for Misfit {
    fn from(reason: String) -> Misfit {
        Misfit { reason, open_extents: false }
    }
}

fn port(file: &File, d: &Declared, options: &ImportOptions) -> Result<Port, Misfit> {
    if !d.float {
        return Err("does not take floating-point numbers".to_string().into());
    }
    let given = options.input_shape.as_deref();
    let open = |reason: &str| Misfit { reason: reason.into(), open_extents: true };
    let declared = match (&d.dims, given) {
        (Some(dims), _) => dims.clone(),
        (None, Some(given)) => std::iter::once(None).chain(given.iter().map(|_| None)).collect(),
        (None, None) => return Err(open("declares no shape; give the shape of one image, or export the model with one")),
    };
    let batched = !adds_batch(file, d);
    let (first, rest) = match declared.split_first() {
        Some((first, rest)) if batched => (*first, rest),
        _ => (Some(1), &declared[..]),
    };
    if declared.is_empty() {
        return Err("has rank 0; expected N×C×H×W, N×C×L, N×C or N".to_string().into());
    }
    if first.is_some_and(|b| b > MAX_BATCH) {
        return Err(format!("fixes a batch over {MAX_BATCH}").into());
    }
    if let Some(given) = given {
        let fits = given.len() == rest.len() && rest.iter().zip(given).all(|(d, &g)| d.is_none_or(|d| usize::try_from(d) == Ok(g)));
        if !fits {
            let show = |d: &Option<i64>| d.map_or("?".into(), |d| d.to_string());
            let own: Vec<String> = rest.iter().map(show).collect();
            return Err(format!("takes images of shape {}, not {given:?}", own.join("×")).into());
        }
    }
    let extent = |(i, d): (usize, &Option<i64>)| {
        let d = given.map_or(d.and_then(|d| usize::try_from(d).ok()), |g| Some(g[i]));
        d.filter(|d| (1..=MAX_EXTENT).contains(d))
    };
    let dims: Option<Vec<usize>> = rest.iter().enumerate().map(extent).collect();
    let dims = dims.ok_or_else(|| {
        open("must have fixed extents beside the batch; give the shape of one image, or export the model with a fixed image size")
    })?;
    let (shape, order) = match channels_last(file, d, dims.len()) {
        // The graph takes C×H×W, of which the file's element (y, x, c) is one.
        true => {
            let shape = vec![dims[2], dims[0], dims[1]];
            type_of(&shape)?;
            let order = Order::default().transposed(&shape, &[1, 2, 0]);
            (shape, order)
        }
        false if dims.len() > 3 => (relation::storage(&dims).to_vec(), Order::default()),
        false => (dims.clone(), Order::default()),
    };
    let batch = first.and_then(|d| usize::try_from(d).ok());
    Ok(Port { name: d.name.clone(), shape, dims, order, batch, batched })
}

/// `[C]` for a vector, `[C, H, W]` otherwise: the last two of more axes are positions.
///
/// # Errors
/// A value of such extents is too large.
pub(super) fn type_of(shape: &[usize]) -> Result<TensorType, String> {
    let n = shape.iter().try_fold(1usize, |a, &d| a.checked_mul(d));
    n.filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| format!("an input of shape {shape:?} is too large"))?;
    match shape.contains(&0) {
        true => Err(format!("a value of shape N×{shape:?} is empty")),
        false => Ok(relation::type_of(shape)),
    }
}

fn readers<'a>(file: &'a File, name: &str) -> impl Iterator<Item = &'a Node> {
    file.nodes.iter().filter(move |n| n.inputs.iter().any(|i| i == name))
}

/// True if all that reads the input gives it a batch of one first.
fn adds_batch(file: &File, d: &Declared) -> bool {
    let first = |n: &Node| {
        let axes = n.attrs.iter().find(|(a, _)| a == "axes").map(|(_, a)| a);
        let axes = match (axes, n.inputs.get(1)) {
            (Some(Attr::Ints(axes)), _) => Some(axes.clone()),
            (None, Some(name)) => constant(file, name),
            _ => None,
        };
        n.op == "Unsqueeze" && axes == Some(vec![0])
    };
    readers(file, &d.name).next().is_some() && readers(file, &d.name).all(first)
}

/// The integers of an initializer or of a `Constant`.
fn constant(file: &File, name: &str) -> Option<Vec<i64>> {
    let stored = file.initializers.iter().find(|(n, _)| n == name).and_then(|(_, c)| c.as_ref().ok());
    let made = || {
        let node = file.nodes.iter().find(|n| n.op == "Constant" && n.outputs.iter().any(|o| o == name))?;
        node.attrs.iter().find_map(|(_, a)| if let Attr::Tensor(Ok(c)) = a { Some(c) } else { None })
    };
    let ints = stored.or_else(made)?.ints().ok()?;
    ints.iter().map(|d| if let Dim::Known(k) = d { Some(*k) } else { None }).collect()
}

/// True if all that reads the input brings N×H×W×C to N×C×H×W.
fn channels_last(file: &File, d: &Declared, rank: usize) -> bool {
    let turns =
        |n: &Node| n.op == "Transpose" && n.attrs.iter().any(|(a, v)| a == "perm" && matches!(v, Attr::Ints(p) if p == &[0, 3, 1, 2]));
    rank == 3 && readers(file, &d.name).next().is_some() && readers(file, &d.name).all(turns)
}
