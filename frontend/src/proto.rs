//! A model file in plain structs: what [`crate::onnx`] decodes and [`crate::import`] reads.

use crate::constant::Const;
use std::collections::HashMap;

/// A decoded file. Shapes and names are as written; only sizes of tensors have been checked against
/// their data.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Opset of the default domain.
    pub opset: Option<i64>,
    /// Extents per image that the file declares for values in its middle, where all are known: a
    /// batch of any size in front is left out.
    pub shapes: HashMap<String, Vec<usize>>,
    pub metadata: Vec<(String, String)>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<String>,
    /// Name and value, or the reason why there is none (data of another file, a strange type, a
    /// wrong length).
    pub initializers: Vec<(String, Result<Const, String>)>,
    pub nodes: Vec<Node>,
}

/// A declared input.
#[derive(Debug)]
pub(crate) struct Port {
    pub name: String,
    /// True for float32, to which files of other floating-point types are widened.
    pub float: bool,
    /// Extents; `None` where the file leaves one open.
    pub dims: Option<Vec<Option<i64>>>,
}

#[derive(Debug)]
pub(crate) struct Node {
    /// The file's name, or the first output's if there is none.
    pub name: String,
    /// Operator, prefixed with its domain unless that is the default one.
    pub op: String,
    /// Opset of the default domain that the node is read by: a function of the file may have its
    /// own.
    pub opset: i64,
    /// Empty strings stand for absent optional inputs.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attrs: Vec<(String, Attr)>,
}

#[derive(Debug)]
pub(crate) enum Attr {
    Int(i64),
    Float(f32),
    Str(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Tensor(Result<Const, String>),
    /// Subgraphs and others that no supported operator has.
    Other,
}
