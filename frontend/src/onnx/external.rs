//! Weights that lie in files beside the model.

use super::pb;
use pb::tensor_proto::DataType;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// How many times as large as their files the weights may be that are read from them: tensors may
/// share their bytes, and a few of these may not become many.
const MOST_SHARED: u64 = 4;

/// The files that weights were read from, with their lengths, and the bytes that were read.
#[derive(Default)]
struct Taken {
    files: BTreeMap<PathBuf, u64>,
    bytes: u64,
}

/// Takes the data of all tensors that lie in other files of `folder` into the model, and into the
/// hash.
///
/// # Errors
/// Names every file that is missing, too short, not a plain file, outside of the folder, or read
/// many times over.
pub(super) fn read(model: &mut pb::ModelProto, folder: &Path, hasher: &mut blake3::Hasher) -> Result<(), String> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let of_nodes = graph.node.iter_mut().flat_map(|n| &mut n.attribute).filter_map(|a| a.t.as_mut());
    let (mut problems, mut taken) = (BTreeSet::new(), Taken::default());
    for t in graph.initializer.iter_mut().chain(of_nodes) {
        if t.data_location != Some(pb::tensor_proto::DataLocation::External as i32) {
            continue;
        }
        match data(t, folder, &mut taken) {
            Ok(bytes) => {
                hasher.update(&bytes);
                t.raw_data = bytes;
                t.external_data.clear();
                t.data_location = None;
            }
            Err(problem) => {
                problems.insert(problem);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into_iter().collect::<Vec<_>>().join("\n")) }
}

/// The bytes of one tensor.
fn data(t: &pb::TensorProto, folder: &Path, taken: &mut Taken) -> Result<Vec<u8>, String> {
    let entry = |key: &str| t.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| {
        entry(key).map(|v| v.trim().parse::<u64>().map_err(|_| format!("tensor \"{}\": {key} \"{v}\" is no number of bytes", t.name)))
    };
    let location = entry("location").ok_or_else(|| format!("tensor \"{}\": its file is not named", t.name))?;
    let path = place(location, folder)?;
    let offset = number("offset").transpose()?.unwrap_or(0);
    let want = size(t)?;
    let length = number("length").transpose()?.unwrap_or(want);
    if length != want {
        return Err(format!("tensor \"{}\": {length} bytes of {location} are named, its shape takes {want}", t.name));
    }
    let unreadable = |e: std::io::Error| format!("{}, which holds weights of the model, cannot be read: {e}", path.display());
    let mut file = chiffre_ir::input::open(&path).map_err(unreadable)?;
    let available = file.metadata().map_err(unreadable)?.len();
    if offset.checked_add(want).is_none_or(|end| end > available) {
        return Err(format!("{} is too short: it has {available} bytes, and weights of the model lie behind", path.display()));
    }
    taken.bytes = taken.bytes.saturating_add(want);
    // One file may have many names.
    taken.files.insert(path.canonicalize().map_err(unreadable)?, available);
    let there: u64 = taken.files.values().sum();
    if taken.bytes > there.saturating_mul(MOST_SHARED) {
        return Err(format!("tensors of the model name the bytes of {} more than {MOST_SHARED} times", path.display()));
    }
    file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
    let mut bytes = vec![];
    file.take(want).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 == want { Ok(bytes) } else { Err(format!("{} became shorter while it was read", path.display())) }
}

/// The file that a location names: inside the folder, whatever links there are.
fn place(location: &str, folder: &Path) -> Result<PathBuf, String> {
    let outside = || format!("\"{location}\" lies outside of the model's folder: weights are read from there only");
    let relative = Path::new(location);
    if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let path = folder.join(relative);
    let missing = |e: std::io::Error| format!("{}, which holds weights of the model, is missing or cannot be read: {e}", path.display());
    let real = path.canonicalize().map_err(missing)?;
    if !real.starts_with(folder.canonicalize().map_err(missing)?) {
        return Err(outside());
    }
    if !real.is_file() {
        return Err(format!("{}, which is to hold weights of the model, is no file", path.display()));
    }
    Ok(path)
}

/// Bytes of a tensor's data.
fn size(t: &pb::TensorProto) -> Result<u64, String> {
    let width = match DataType::try_from(t.data_type) {
        Ok(DataType::Double | DataType::Int64 | DataType::Uint64) => 8,
        Ok(DataType::Float | DataType::Int32 | DataType::Uint32) => 4,
        Ok(DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16) => 2,
        Ok(DataType::Int8 | DataType::Uint8 | DataType::Bool) => 1,
        _ => return Err(format!("tensor \"{}\" of another file has elements of type {}, which are not supported", t.name, t.data_type)),
    };
    let bytes = t.dims.iter().try_fold(width, |n: u64, &d| n.checked_mul(u64::try_from(d).ok()?));
    bytes.ok_or_else(|| format!("tensor \"{}\" has the shape {:?}", t.name, t.dims))
}
