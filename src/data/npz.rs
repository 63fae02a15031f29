//! NumPy's `.npz` archives, stored or deflated.

use super::npy::{Header, image_count, read_floats, read_header, read_images, read_labels};
use super::{Batch, DataOptions, FloatArray, Problem};
use chiffre_ir::input;
use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use zip::ZipArchive;
use zip::result::ZipError;

const IMAGES: [&str; 3] = ["images", "x", "inputs"];
const LABELS: [&str; 2] = ["labels", "y"];
/// Deflate cannot pack more than this many bytes into one.
const MAX_RATIO: u64 = 1032;

/// Reads `images` (or `x`, `inputs`, or the only array, or that of the input's name among those of
/// all inputs) and, where present, `labels` (or `y`).
pub(super) fn load(path: &Path, options: &DataOptions, input: Option<(&str, &[&str])>) -> Result<Batch, Problem> {
    let file = input::open(path)?;
    let bytes = file.metadata()?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(invalid)?;
    let names: Vec<String> = archive.file_names().map(|name| name.trim_end_matches(".npy").to_owned()).collect();
    let find = |keys: &[&str]| keys.iter().find_map(|key| names.iter().position(|name| name == key));
    let (own, inputs) = input.map_or((None, &[][..]), |(own, all)| (names.iter().position(|name| name == own), all));
    let labels = find(&LABELS).filter(|&i| !inputs.contains(&names[i].as_str()));
    let only = || if inputs.len() > 1 { None } else { find(&IMAGES).or((names.len() == 1 && labels.is_none()).then_some(0)) };
    let wanted = match input {
        Some((own, [_, _, ..])) => format!("`{own}`"),
        _ => "`images`, `x` or `inputs`".into(),
    };
    let images = own.or_else(only).ok_or_else(|| Problem::Format {
        format: "npz",
        why: format!("it has the arrays [{}]; name the images {wanted}", names.join(", ").chars().take(200).collect::<String>()),
    })?;
    let (pixels, available) = member(&mut archive, images, bytes, |reader, header| {
        Ok((read_images(reader, header, options)?, image_count(&header.shape, options.shape)?.0))
    })?;
    let take = options.take(available)?;
    let read = |index| member(&mut archive, index, bytes, |reader, header| read_labels(reader, header, available, take));
    Ok(Batch { pixels, labels: labels.map(read).transpose()? })
}

/// Reads all arrays of float32.
pub(super) fn float_arrays(path: &Path) -> Result<Vec<FloatArray>, Problem> {
    let file = input::open(path)?;
    let bytes = file.metadata()?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(invalid)?;
    let mut all = vec![];
    for index in 0..archive.len() {
        all.extend(member(&mut archive, index, bytes, |reader, header| read_floats(reader, header))?);
    }
    Ok(all)
}

/// Reads all arrays of float32 by their names.
pub(super) fn named_arrays(path: &Path) -> Result<BTreeMap<String, FloatArray>, Problem> {
    let file = input::open(path)?;
    let bytes = file.metadata()?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(invalid)?;
    let mut all = BTreeMap::new();
    for index in 0..archive.len() {
        let name = archive.name_for_index(index).unwrap_or_default().trim_end_matches(".npy").to_owned();
        all.extend(member(&mut archive, index, bytes, |reader, header| read_floats(reader, header))?.map(|a| (name, a)));
    }
    Ok(all)
}

/// Opens member `index`, checks its sizes against those of the archive, and hands it to `read`.
fn member<R: Read + Seek, T>(
    archive: &mut ZipArchive<R>,
    index: usize,
    archive_bytes: u64,
    read: impl FnOnce(&mut dyn Read, &Header) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let mut entry = archive.by_index(index).map_err(invalid)?;
    let most = entry.compressed_size().min(archive_bytes).saturating_mul(MAX_RATIO);
    let size = entry.size();
    if size > most {
        return Err(Problem::Length { expected: size, found: most });
    }
    let header = read_header(&mut entry)?;
    header.check_size(size)?;
    read(&mut entry, &header)
}

fn invalid(error: ZipError) -> Problem {
    match error {
        ZipError::Io(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => error.into(),
        other => Problem::Format { format: "npz", why: other.to_string() },
    }
}
