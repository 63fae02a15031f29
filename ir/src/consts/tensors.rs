//! Constants as tensors of a container: an array is one tensor, named by its hash; a table is
//! several, `HASH.rows` and so on.

use super::{Array, Consts, Data, Element, Hash, Store};
use crate::container::{ContainerError, Dtype, Reader, Writer};
use crate::element::{from_bytes, to_bytes};
use crate::table::file as table;
use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::Path;

/// The constants of a graph that is written to `path`, all of which have values.
pub(crate) fn store(consts: &Consts, path: &Path) -> Result<Store, ContainerError> {
    match consts.iter().find(|(_, c)| c.data.is_none()) {
        Some((_, c)) => Err(ContainerError::Content { path: path.into(), message: format!("constant @{} has no data", c.name) }),
        None => Ok(consts.store()),
    }
}

/// Reads the values of all constants of a graph, and returns them by hash.
pub(crate) fn resolve<R: Read + Seek>(r: &mut Reader<R>, consts: &mut Consts) -> Result<Store, ContainerError> {
    let mut store = Store::new();
    for (_, c) in consts.iter() {
        if !store.contains_key(&c.hash)
            && let Some(data) = read(r, c.hash)?
        {
            store.insert(c.hash, data);
        }
    }
    consts.resolve(&store);
    match consts.iter().find(|(_, c)| c.data.is_none()) {
        Some((_, c)) => Err(r.error(format!("constant @{} is missing", c.name))),
        None => Ok(store),
    }
}

/// Declarations of the tensors of a store, for [`Writer::create`].
pub(crate) fn declare(store: &Store) -> Vec<(String, Dtype, Vec<usize>)> {
    fn one<T: Element>(name: String, a: &Array<T>) -> Vec<(String, Dtype, Vec<usize>)> {
        vec![(name, T::DTYPE, a.shape.clone())]
    }
    let of = |(hash, data): (&Hash, &Data)| match data {
        Data::F32(a) => one(hash.to_string(), a),
        Data::F64(a) => one(hash.to_string(), a),
        Data::I64(a) => one(hash.to_string(), a),
        Data::Table(t) => table::PARTS.iter().map(|p| (format!("{hash}.{}", p.name), p.dtype(t), (p.shape)(t))).collect(),
    };
    store.iter().flat_map(of).collect()
}

/// Writes all tensors of a store, in the order that the container asks for.
pub(crate) fn write(w: &mut Writer<'_>, store: &Store) -> Result<(), ContainerError> {
    let by_name: BTreeMap<String, &Data> = store.iter().map(|(h, d)| (h.to_string(), d)).collect();
    for (name, data) in &by_name {
        match data {
            Data::F32(a) => w.tensor(name, &to_bytes(a.data.iter().copied()))?,
            Data::F64(a) => w.tensor(name, &to_bytes(a.data.iter().copied()))?,
            Data::I64(a) => w.tensor(name, &to_bytes(a.data.iter().copied()))?,
            Data::Table(t) => table::PARTS.iter().try_for_each(|p| w.tensor(&format!("{name}.{}", p.name), &(p.bytes)(t)))?,
        }
    }
    Ok(())
}

/// Reads the constant of a hash; none if the container does not hold it.
///
/// # Errors
/// I/O errors, tensors that make no constant, a content that does not match the hash.
pub(crate) fn read<R: Read + Seek>(r: &mut Reader<R>, hash: Hash) -> Result<Option<Data>, ContainerError> {
    fn array<T: Element, R: Read + Seek>(r: &mut Reader<R>, name: &str, shape: &[usize]) -> Result<Array<T>, ContainerError> {
        Ok(Array::new(shape.to_vec(), from_bytes(&r.read(name, T::DTYPE, shape)?)))
    }
    let name = hash.to_string();
    let shape_of =
        |r: &Reader<R>, name: &str| r.tensors().get(name).map(|t| (t.dtype, t.shape.iter().map(|&d| d as usize).collect::<Vec<_>>()));
    let data: Data = match shape_of(r, &name) {
        Some((Dtype::F32, shape)) => array::<f32, R>(r, &name, &shape)?.into(),
        Some((Dtype::F64, shape)) => array::<f64, R>(r, &name, &shape)?.into(),
        Some((Dtype::I64, shape)) => array::<i64, R>(r, &name, &shape)?.into(),
        Some((other, _)) => return Err(r.error(format!("constant {name} is of {other:?}, which is no type of a constant"))),
        None if r.tensors().contains_key(&format!("{name}.{}", table::PARTS[0].name)) => {
            let parts = table::PARTS.iter().map(|p| {
                let part = format!("{name}.{}", p.name);
                let (dtype, shape) = shape_of(r, &part).ok_or_else(|| r.error(format!("has no tensor {part}")))?;
                Ok((dtype, r.read(&part, dtype, &shape)?, shape))
            });
            let parts: Vec<table::Tensor> = parts.collect::<Result<_, ContainerError>>()?;
            table::from_tensors(&parts).map_err(|e| r.error(format!("constant {name}: {e}")))?.into()
        }
        None => return Ok(None),
    };
    if data.hash() != hash {
        return Err(r.error(format!("the constant {name} does not match its hash")));
    }
    Ok(Some(data))
}
