//! The input of a file: its name, its shape and the order of its elements.

use super::order::Order;
use super::{Bound, Var, relation};
use crate::ImportOptions;
use crate::constant::Dim;
use crate::proto::{Attr, File, Node, Port as Declared};
use crate::survey::Survey;
use chiffre_ir::tensor::{MAX_ELEMENTS, MAX_EXTENT, TensorGraph, TensorOp, TensorType};
use std::collections::HashMap;

/// Largest fixed batch that a file may declare.
const MAX_BATCH: i64 = 4096;

/// How a file takes images.
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
    /// The shape of what the file takes at once.
    pub fn batch_shape(&self) -> Vec<usize> {
        self.batched.then(|| self.batch.unwrap_or(1)).into_iter().chain(self.dims.iter().copied()).collect()
    }
    /// An image of the graph in the order of the file.
    pub fn image(&self, x: &[f32]) -> Vec<f32> {
        (0..x.len()).map(|i| x[self.order.at(i)]).collect()
    }
}

/// Gives the inputs their values; `None` if there is not one whose shape is known.
pub(super) fn bind(
    file: &File,
    options: &ImportOptions,
    graph: &mut TensorGraph,
    env: &mut HashMap<String, Bound>,
    survey: &mut Survey,
) -> Option<Port> {
    let declared: Vec<&Declared> = file.inputs.iter().filter(|p| !file.initializers.iter().any(|(n, _)| *n == p.name)).collect();
    if declared.len() != 1 {
        let names: Vec<&str> = declared.iter().map(|p| p.name.as_str()).collect();
        survey.refuse_file(format!("the model must have one input, not {}: {}", names.len(), names.join(", ")), false);
    }
    let mut found = None;
    for d in &declared {
        let options = if declared.len() == 1 { options } else { &ImportOptions::default() };
        let bound = match port(file, d, options) {
            Ok(p) => match type_of(&p.shape) {
                Ok(ty) => {
                    let id = graph.push(TensorOp::Input {}, vec![], ty, &p.name);
                    let v = Var { id, dims: p.dims.clone(), order: p.order.clone() };
                    let batched = p.batched;
                    found = Some(p);
                    if batched { Bound::Value(v) } else { Bound::Unbatched(v) }
                }
                Err(reason) => {
                    survey.refuse_file(reason, false);
                    Bound::Open
                }
            },
            Err(Misfit { reason, open_extents }) => {
                survey.refuse_file(format!("input \"{}\" {reason}", d.name), open_extents);
                Bound::Open
            }
        };
        env.insert(d.name.clone(), bound);
    }
    found
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
