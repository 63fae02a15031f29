//! Floating-point numbers of all widths become single ones: weights, inputs, outputs and casts.

use super::{bfloat, half, pb};
use pb::tensor_proto::DataType;

const FLOAT: i32 = DataType::Float as i32;

fn is_other_float(ty: i64) -> bool {
    [DataType::Float16, DataType::Bfloat16, DataType::Double].iter().any(|t| *t as i64 == ty)
}

pub(super) fn widen(model: &mut pb::ModelProto) {
    let Some(graph) = &mut model.graph else { return };
    graph.initializer.iter_mut().for_each(tensor);
    for v in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        if let Some(pb::type_proto::Value::TensorType(t)) = v.r#type.as_mut().and_then(|t| t.value.as_mut())
            && is_other_float(t.elem_type.into())
        {
            t.elem_type = FLOAT;
        }
    }
    for n in &mut graph.node {
        let is_cast = n.op_type == "Cast";
        for a in &mut n.attribute {
            a.t.iter_mut().for_each(tensor);
            if is_cast && a.name == "to" && is_other_float(a.i) {
                a.i = FLOAT.into();
            }
        }
    }
}

/// Widens a tensor; one whose data do not fit its shape stays as it is, for the import to refuse.
fn tensor(t: &mut pb::TensorProto) {
    let Ok(ty) = DataType::try_from(t.data_type) else { return };
    let inline = !t.raw_data.is_empty();
    /// The numbers of one type in the bytes, if these are whole numbers of it.
    macro_rules! read {
        ($t:ty) => {
            (t.raw_data.len() % size_of::<$t>() == 0)
                .then(|| t.raw_data.chunks_exact(size_of::<$t>()).filter_map(|b| b.try_into().ok().map(<$t>::from_le_bytes)))
        };
    }
    let listed = |f: fn(u16) -> f32| t.int32_data.iter().map(|&x| f(x as u16)).collect::<Vec<f32>>();
    let values: Option<Vec<f32>> = match ty {
        DataType::Double if inline => read!(f64).map(|v| v.map(|x| x as f32).collect()),
        DataType::Double => Some(t.double_data.iter().map(|&x| x as f32).collect()),
        DataType::Float16 if inline => read!(u16).map(|v| v.map(half).collect()),
        DataType::Float16 => Some(listed(half)),
        DataType::Bfloat16 if inline => read!(u16).map(|v| v.map(bfloat).collect()),
        DataType::Bfloat16 => Some(listed(bfloat)),
        _ => None,
    };
    let Some(values) = values.filter(|_| t.external_data.is_empty()) else { return };
    t.data_type = FLOAT;
    t.raw_data = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    t.double_data.clear();
    t.int32_data.clear();
}
