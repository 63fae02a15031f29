//! PNG and JPEG pictures, alone or as a folder.

use super::{Batch, DataError, DataOptions, Images, Problem, push_bytes, reserve};
use chiffre_ir::input;
use image::{ColorType, DynamicImage, ImageReader};
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Whether the file's name ends like a picture's.
pub(super) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

/// Reads one picture.
pub(super) fn load(path: &Path, options: &DataOptions) -> Result<Batch, Problem> {
    options.take(1)?;
    let mut pixels = reserve(options.len()?)?;
    push_bytes(&mut pixels, &decode(path, options.shape)?, &options.tables()?);
    Ok(Batch { pixels, labels: None })
}

/// Reads the pictures of a folder in the order of their names. Other files and folders inside are
/// left alone.
pub(super) fn load_folder(folder: &Path, options: &DataOptions) -> Result<Images, DataError> {
    let fail = |path: &Path, problem| DataError { path: path.to_owned(), problem };
    let entries = std::fs::read_dir(folder).map_err(|e| fail(folder, e.into()))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| fail(folder, e.into()))?.path();
        if is_picture(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let n = options.take(files.len() as u64).map_err(|p| fail(folder, p))?;
    let tables = options.tables().map_err(|p| fail(folder, p))?;
    let len = options.len().map_err(|p| fail(folder, p))?;
    let mut pixels = reserve(n.saturating_mul(len)).map_err(|p| fail(folder, p))?;
    for file in &files[..n] {
        push_bytes(&mut pixels, &decode(file, options.shape).map_err(|p| fail(file, p))?, &tables);
    }
    let names = files[..n].iter().map(|f| f.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
    Ok(Images { pixels, n, shape: options.shape, labels: None, names })
}

/// C×H×W pixels. The size must be the model's; colours may only be converted where that loses
/// nothing.
fn decode(path: &Path, shape: [usize; 3]) -> Result<Vec<u8>, Problem> {
    let [c, h, w] = shape;
    let invalid = |error: image::ImageError| Problem::Format { format: "picture", why: error.to_string() };
    let open = || Ok::<_, Problem>(ImageReader::new(BufReader::new(input::open(path)?)).with_guessed_format()?);
    let broken = |why: &str| Problem::Format { format: "picture", why: why.into() };
    let (width, height) = open()?.into_dimensions().map_err(invalid)?;
    if [height as usize, width as usize] != [h, w] {
        return Err(Problem::Shape { found: format!("{height}x{width} (height x width)"), model: shape });
    }
    if broken_palette(&input::read(path)?) {
        return Err(broken("its palette does not hold whole colours"));
    }
    let reader = open()?;
    // The decoder is not ours: what it does not expect must not end the process.
    let decoded = catch_unwind(AssertUnwindSafe(|| reader.decode()));
    let picture = decoded.map_err(|_| broken("the decoder panicked on it; see the message above"))?.map_err(invalid)?;
    match picture.color() {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => {}
        other => return Err(Problem::Picture(format!("has pixels of type {other:?}; 8 bits per channel are needed"))),
    }
    interleaved_to_planes(&picture, c, h * w)
}

/// True for a PNG picture with a palette whose length is no multiple of a colour's. The decoder
/// relies on it.
fn broken_palette(file: &[u8]) -> bool {
    let Some(mut rest) = file.strip_prefix(b"\x89PNG\r\n\x1a\n") else { return false };
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if behind.starts_with(b"PLTE") && (length == 0 || !length.is_multiple_of(3)) {
            return true;
        }
        // The name before the content, and the checksum behind it.
        rest = behind.get(length.saturating_add(8)..).unwrap_or_default();
    }
    false
}

fn interleaved_to_planes(picture: &DynamicImage, channels: usize, plane: usize) -> Result<Vec<u8>, Problem> {
    let rgba = picture.to_rgba8();
    if rgba.pixels().any(|p| p.0[3] != 255) {
        return Err(Problem::Picture("is transparent; give it a background first".into()));
    }
    match channels {
        1 if rgba.pixels().any(|p| p.0[0] != p.0[1] || p.0[1] != p.0[2]) => {
            return Err(Problem::Picture("is in colour, but the model takes one channel; convert it to gray first".into()));
        }
        1 | 3 => {}
        _ => return Err(Problem::Picture(format!("is a picture, but the model takes {channels} channels"))),
    }
    let mut planes = reserve(channels * plane)?;
    for channel in 0..channels {
        planes.extend(rgba.pixels().map(|p| p.0[channel]));
    }
    Ok(planes)
}
