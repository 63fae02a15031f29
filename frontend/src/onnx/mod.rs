//! The only folder that names tract: decoding the protobuf, and running the model in the clear.

mod external;
mod functions;
mod widen;

use crate::constant::{Const, Dim, count, count_stored, extent};
use crate::proto::{Attr, File, Node, Port};
use std::path::Path;
use std::sync::Arc;
use tract_onnx::pb::{self, attribute_proto::AttributeType, tensor_proto::DataType};
use tract_onnx::prelude::{Framework, InferenceModelExt, IntoRunnable, Tensor, TypedRunnableModel};

/// A model whose weights are all in memory and in single precision, and whose functions stand where
/// they are called.
pub(crate) struct Complete {
    model: pb::ModelProto,
    /// Opset of each node.
    opsets: Vec<i64>,
    /// Hash of the file, and of what it takes from others.
    pub digest: blake3::Hash,
}

/// Why a file is not a complete model.
pub(crate) enum Incomplete {
    /// Its bytes are no model.
    Format(String),
    /// It is not usable as it lies there.
    Model(String),
}

/// Decodes a file's bytes; weights that lie in other files are looked for in `folder`.
///
/// # Errors
/// The bytes are not a complete model; other files are missing, short or outside of the folder;
/// functions call themselves.
pub(crate) fn complete(bytes: &[u8], folder: Option<&Path>) -> Result<Complete, Incomplete> {
    let mut model = proto(bytes).map_err(Incomplete::Format)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(bytes);
    if let Some(folder) = folder {
        external::read(&mut model, folder, &mut hasher).map_err(Incomplete::Model)?;
    }
    let opsets = functions::inline(bytes, &mut model).map_err(Incomplete::Model)?;
    widen::widen(&mut model);
    Ok(Complete { model, opsets, digest: hasher.finalize() })
}

/// The plain form of a model.
///
/// # Errors
/// There is no graph.
pub(crate) fn decode(complete: &Complete) -> Result<File, String> {
    let Complete { model, opsets, .. } = complete;
    let opset = default_opset(&model.opset_import);
    let metadata = model.metadata_props.iter().map(|p| (p.key.clone(), p.value.clone())).collect();
    let graph = model.graph.as_ref().ok_or("it holds no graph")?;
    let mut initializers: Vec<_> = graph.initializer.iter().map(|t| (t.name.clone(), tensor(t))).collect();
    for s in &graph.sparse_initializer {
        let name = s.values.as_ref().map(|v| v.name.clone()).unwrap_or_default();
        initializers.push((name, Err("sparse tensors are not supported".into())));
    }
    Ok(File {
        opset,
        metadata,
        inputs: graph.input.iter().map(port).collect(),
        outputs: graph.output.iter().map(|o| o.name.clone()).collect(),
        shapes: graph.value_info.iter().filter_map(|v| Some((v.name.clone(), per_image(&port(v))?))).collect(),
        initializers,
        nodes: graph.node.iter().zip(opsets).map(|(n, &opset)| node(n, opset)).collect(),
    })
}

fn proto(bytes: &[u8]) -> Result<pb::ModelProto, String> {
    let mut reader = bytes;
    let model = tract_onnx::onnx().proto_model_for_read(&mut reader);
    model.map_err(|e| format!("{} (is the file truncated?)", e.root_cause()))
}

fn default_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// The version of the default domain among imported opsets.
fn default_opset(imports: &[pb::OperatorSetIdProto]) -> Option<i64> {
    imports.iter().find(|o| default_domain(&o.domain)).map(|o| o.version)
}

/// Extents behind the first, if they are known.
fn per_image(p: &Port) -> Option<Vec<usize>> {
    let rest = p.dims.as_ref()?.get(1..)?;
    rest.iter().map(|d| d.and_then(|d| usize::try_from(d).ok())).collect()
}

fn port(v: &pb::ValueInfoProto) -> Port {
    let mut out = Port { name: v.name.clone(), float: false, dims: None };
    if let Some(pb::type_proto::Value::TensorType(t)) = v.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        use pb::tensor_shape_proto::dimension::Value;
        out.float = t.elem_type == DataType::Float as i32;
        let known = |d: &pb::tensor_shape_proto::Dimension| match d.value {
            Some(Value::DimValue(k)) if k > 0 => Some(k),
            _ => None,
        };
        out.dims = t.shape.as_ref().map(|s| s.dim.iter().map(known).collect());
    }
    out
}

fn node(n: &pb::NodeProto, opset: i64) -> Node {
    let name = if n.name.is_empty() { n.output.first().cloned().unwrap_or_default() } else { n.name.clone() };
    let op = if default_domain(&n.domain) { n.op_type.clone() } else { format!("{}.{}", n.domain, n.op_type) };
    Node {
        name,
        op,
        opset,
        inputs: n.input.clone(),
        outputs: n.output.clone(),
        attrs: n.attribute.iter().map(|a| (a.name.clone(), attr(a))).collect(),
    }
}

fn attr(a: &pb::AttributeProto) -> Attr {
    match AttributeType::try_from(a.r#type) {
        Ok(AttributeType::Int) => Attr::Int(a.i),
        Ok(AttributeType::Float) => Attr::Float(a.f),
        Ok(AttributeType::String) => Attr::Str(String::from_utf8_lossy(&a.s).into_owned()),
        Ok(AttributeType::Ints) => Attr::Ints(a.ints.clone()),
        Ok(AttributeType::Floats) => Attr::Floats(a.floats.clone()),
        Ok(AttributeType::Tensor) => Attr::Tensor(a.t.as_ref().map_or_else(|| Err("it is empty".into()), tensor)),
        _ => Attr::Other,
    }
}

/// The value of a tensor; integers of all widths and booleans become integers, floats of all widths
/// f32.
fn tensor(t: &pb::TensorProto) -> Result<Const, String> {
    if t.data_location == Some(pb::tensor_proto::DataLocation::External as i32) || !t.external_data.is_empty() {
        return Err("its data lies in another file; store the weights inside the model".into());
    }
    let shape = t.dims.iter().map(|&d| extent(d)).collect::<Result<Vec<_>, _>>()?;
    let ty = DataType::try_from(t.data_type).map_err(|_| format!("unknown element type {}", t.data_type))?;
    let is_float = matches!(ty, DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16);
    // An integer takes several times as much memory as it may take in the file.
    let n = if is_float { count_stored(&shape)? } else { count(&shape)? };
    let raw = |width: usize| match t.raw_data.len() == n * width {
        true => Ok(t.raw_data.chunks_exact(width)),
        false => Err(format!("it has {} bytes of data for shape {shape:?}", t.raw_data.len())),
    };
    let listed = |len: usize| match len == n {
        true => Ok(()),
        false => Err(format!("it has {len} values for shape {shape:?}")),
    };
    /// Little-endian numbers of one type.
    macro_rules! read {
        ($t:ty) => {
            raw(size_of::<$t>())?.filter_map(|b| b.try_into().ok().map(<$t>::from_le_bytes))
        };
    }
    let inline = !t.raw_data.is_empty() || n == 0;
    let ints32 = || t.int32_data.iter().map(|&k| i64::from(k));
    let floats = |v: Vec<f32>| Ok(Const::float(&shape, v));
    let ints = |v: Vec<i64>| Ok(Const::int(&shape, v.into_iter().map(Dim::Known).collect()));
    match ty {
        DataType::Float if inline => floats(read!(f32).collect()),
        DataType::Float => listed(t.float_data.len()).and_then(|()| floats(t.float_data.clone())),
        DataType::Double if inline => floats(read!(f64).map(|x| x as f32).collect()),
        DataType::Double => listed(t.double_data.len()).and_then(|()| floats(t.double_data.iter().map(|&x| x as f32).collect())),
        DataType::Float16 if inline => floats(read!(u16).map(half).collect()),
        DataType::Float16 => listed(t.int32_data.len()).and_then(|()| floats(t.int32_data.iter().map(|&x| half(x as u16)).collect())),
        DataType::Bfloat16 if inline => floats(read!(u16).map(bfloat).collect()),
        DataType::Bfloat16 => listed(t.int32_data.len()).and_then(|()| floats(t.int32_data.iter().map(|&x| bfloat(x as u16)).collect())),
        DataType::Int64 if inline => ints(read!(i64).collect()),
        DataType::Int64 => listed(t.int64_data.len()).and_then(|()| ints(t.int64_data.clone())),
        DataType::Int32 if inline => ints(read!(i32).map(i64::from).collect()),
        DataType::Bool | DataType::Uint8 if inline => ints(read!(u8).map(i64::from).collect()),
        DataType::Int8 if inline => ints(read!(i8).map(i64::from).collect()),
        DataType::Int16 if inline => ints(read!(i16).map(i64::from).collect()),
        DataType::Uint16 if inline => ints(read!(u16).map(i64::from).collect()),
        DataType::Uint32 if inline => ints(read!(u32).map(i64::from).collect()),
        DataType::Int32 | DataType::Bool | DataType::Uint8 | DataType::Int8 | DataType::Int16 | DataType::Uint16 => {
            listed(t.int32_data.len()).and_then(|()| ints(ints32().collect()))
        }
        other => Err(format!("elements of type {} are not supported; export the model in float32", other.as_str_name())),
    }
}

/// An IEEE 754 half as f32.
fn half(h: u16) -> f32 {
    let (sign, exponent, fraction) = (f32::from(1 - 2 * i8::from(h >> 15 == 1)), i32::from(h >> 10 & 31), f32::from(h & 1023));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        e => sign * (1.0 + fraction / 1024.0) * 2f32.powi(e - 15),
    }
}

/// A bfloat16 as f32.
fn bfloat(h: u16) -> f32 {
    f32::from_bits(u32::from(h) << 16)
}

/// A model, ready to run on a fixed batch.
pub(crate) struct Runner(Arc<TypedRunnableModel>);

impl Runner {
    /// Prepares the model for inputs of `shapes`, batch included, up to the values `outputs`.
    pub fn new(complete: &Complete, shapes: &[Vec<usize>], outputs: &[&str]) -> Result<Runner, String> {
        let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
        let mut model = complete.model.clone();
        if let Some(graph) = &mut model.graph {
            let value = |name: &&str| pb::ValueInfoProto { name: (*name).into(), ..Default::default() };
            graph.output = outputs.iter().map(value).collect();
        }
        guarded(|| {
            let mut model = onnx.model_for_proto_model(&model)?;
            for (k, shape) in shapes.iter().enumerate() {
                model = model.with_input_fact(k, f32_fact(shape))?;
            }
            Ok(Runner(model.into_optimized()?.into_runnable()?))
        })
    }
    /// The outputs on one batch of each input, given by its shape and its values.
    pub fn run(&self, inputs: &[(&[usize], Vec<f32>)]) -> Result<Vec<Vec<f32>>, String> {
        guarded(|| {
            let inputs = inputs.iter().map(|(shape, batch)| Ok(Tensor::from_shape(shape, batch)?.into()));
            let out = self.0.run(inputs.collect::<tract_onnx::prelude::TractResult<_>>()?)?;
            out.iter().map(|o| Ok(o.to_plain_array_view::<f32>()?.iter().copied().collect())).collect()
        })
    }
}

/// Runs tract; it asserts where it meets what it does not expect (a negative pad, say), and that
/// must not end the process.
fn guarded<T>(f: impl FnOnce() -> tract_onnx::prelude::TractResult<T>) -> Result<T, String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(|e| format!("{e:#}")),
        Err(_) => Err("the runtime panicked on this model; see the message above".into()),
    }
}

fn f32_fact(shape: &[usize]) -> tract_onnx::prelude::InferenceFact {
    use tract_onnx::prelude::{Datum, InferenceFact};
    InferenceFact::dt_shape(f32::datum_type(), shape)
}

#[cfg(test)]
mod tests {
    use super::{bfloat, half};

    #[test]
    fn halves_widen_exactly() {
        for (h, x) in [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f32.powi(-24)), (0x7c00, f32::INFINITY), (0, 0.0)] {
            assert_eq!(half(h), x);
        }
        assert!(half(0x7e00).is_nan());
        assert_eq!((bfloat(0x3f80), bfloat(0xc040)), (1.0, -3.0));
    }
}
