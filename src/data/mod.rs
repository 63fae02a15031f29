//! Reading DATA: the images (and labels, where the format has them) that a command works on.
//!
//! | source | pixels | labels |
//! |---|---|---|
//! | `.npy` | floating-point or uint8, N×C×H×W or N×H×W×C; axes of extent 1 may be left out: N×K, N×C×L, N×H×W, and H×W for one picture | no |
//! | `.npz` | the same, as `images`, `x`, `inputs`, the only array, or the one with the input's name | `labels` or `y` |
//! | `.csv` | a table: a line of headings, then a row of numbers for each image | column `label` |
//! | `.bin` | CIFAR-10 or CIFAR-100 records | class (CIFAR-100: the fine one) |
//! | `.png`, `.jpg`, `.jpeg`, or a folder of them | 8 bits per channel | no |
//!
//! Floating-point values are taken as normalised already; 8-bit pixels go through a
//! [`Normalisation`]. Nothing is resized or converted silently: what does not fit the model is an
//! error that names the file. Sizes in headers are compared with the size of the file before
//! anything is allocated for them.

mod array;
mod cifar;
mod inputs;
mod npy;
mod npz;
mod pictures;
mod table;

pub use array::Array;
pub use chiffre_frontend::{Normalisation, NormalisationError};
pub use inputs::{join_named, joined, load_inputs};

use crate::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Images ready for the network, in the order of the source.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// Normalised values, N×C×H×W row-major; all finite.
    pub pixels: Vec<f32>,
    /// Number of images, at least 1.
    pub n: usize,
    /// C, H, W.
    pub shape: [usize; 3],
    /// One class per image, where the source has labels.
    pub labels: Option<Vec<u32>>,
    /// One name per image: the file's, with the index for files of several images.
    pub names: Vec<String>,
}

impl Images {
    /// Images in memory: values as the network takes them, N×C×H×W row-major, of images of `shape`
    /// (C, H, W).
    ///
    /// # Errors
    /// No image, a number of values that is no multiple of an image's, or values that are not
    /// finite.
    pub fn new(pixels: Vec<f32>, shape: [usize; 3]) -> Result<Images, Error> {
        let len: usize = shape.iter().product();
        if len == 0 || pixels.is_empty() || !pixels.len().is_multiple_of(len) {
            return Err(Error::input(format!("{} values are no images of {} values each", pixels.len(), by(&shape))));
        }
        for (i, image) in pixels.chunks(len).enumerate() {
            check_finite(i, image).map_err(Error::input)?;
        }
        let n = pixels.len() / len;
        Ok(Images { pixels, n, shape, labels: None, names: (0..n).map(|i| format!("image {i}")).collect() })
    }

    /// Reads images from a file or folder, with the labels where the format has them;
    /// [`crate::Program::data_options`] says how they must look.
    ///
    /// # Errors
    /// What is wrong with the data; names the file.
    pub fn load(path: impl AsRef<Path>, options: &DataOptions) -> Result<Images, Error> {
        Ok(load(path.as_ref(), options)?)
    }

    /// Takes images from arrays in memory, with their labels if there are some: what the same
    /// arrays in a file would give.
    ///
    /// # Errors
    /// What is wrong with the arrays.
    pub fn from_arrays(images: &Array<'_>, labels: Option<&Array<'_>>, options: &DataOptions) -> Result<Images, Error> {
        Ok(array::images(images, labels, options)?)
    }

    /// C×H×W values of image `i < n`.
    pub fn image(&self, i: usize) -> &[f32] {
        let len = self.shape.iter().product::<usize>();
        &self.pixels[i * len..(i + 1) * len]
    }
}

/// What the images must look like.
#[derive(Debug, Clone, PartialEq)]
pub struct DataOptions {
    /// C, H, W of the model's input; all positive.
    pub shape: [usize; 3],
    /// Needed for 8-bit data, unused for float32.
    pub normalisation: Option<Normalisation>,
    /// Read the first `count` images; `None` reads all.
    pub count: Option<usize>,
}

/// Data that cannot be used: which file, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct DataError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a data file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say it
pub enum Problem {
    #[error("cannot be read: {0}")]
    Io(std::io::Error),
    #[error("is not a kind of data that can be read; give .npy, .npz, .csv, a CIFAR .bin file, .png, .jpg, or a folder of pictures")]
    UnknownKind,
    #[error("holds no images")]
    Empty,
    #[error("is truncated or has a wrong header: {expected} bytes expected, {found} found")]
    Length { expected: u64, found: u64 },
    #[error("is not a valid {format} file: {why}")]
    Format { format: &'static str, why: String },
    #[error("has elements of type {found}; {expected}")]
    Element { found: String, expected: &'static str },
    #[error("has shape {found}, but the model takes {} (channels x height x width); resize or convert the data first", by(model))]
    Shape { found: String, model: [usize; 3] },
    #[error("has shape {found}, but rows of {classes} logits are needed")]
    Logits { found: String, classes: usize },
    #[error("has {available} images, and {asked} are asked for")]
    Count { asked: usize, available: u64 },
    #[error("image {image} has the value {value} at position {position}")]
    NotFinite { image: usize, position: usize, value: f32 },
    #[error("has 8-bit pixels, and the model says nothing about their normalisation; give means and standard deviations")]
    NoNormalisation,
    #[error("normalisation: {0}")]
    Normalisation(#[from] NormalisationError),
    #[error("{0}")]
    Labels(String),
    #[error("needs {bytes} bytes of memory, which are not available; read fewer images")]
    Memory { bytes: u64 },
    #[error("{0}")]
    Picture(String),
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Problem::Io(error)
    }
}

/// Reads the images at `path`, with the labels where the format has them.
///
/// Errors name the file; all of them are the user's to solve.
pub fn load(path: &Path, options: &DataOptions) -> Result<Images, DataError> {
    load_array(path, options, None)
}

/// As [`load`], for an input of a name beside others: an archive's array of that name is it.
fn load_array(path: &Path, options: &DataOptions, input: Option<(&str, &[&str])>) -> Result<Images, DataError> {
    let fail = |problem| DataError { path: path.to_owned(), problem };
    let kind = std::fs::metadata(path).map_err(|e| fail(e.into()))?;
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let batch = match extension.as_str() {
        _ if kind.is_dir() => return pictures::load_folder(path, options),
        "npy" => npy::load(path, options),
        "npz" => npz::load(path, options, input),
        "csv" => table::load(path, options),
        "bin" => cifar::load(path, options),
        _ if pictures::is_picture(path) => pictures::load(path, options),
        _ => Err(Problem::UnknownKind),
    };
    let batch = batch.map_err(fail)?;
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let n = batch.pixels.len() / options.shape.iter().product::<usize>().max(1);
    let names = if n == 1 { vec![stem.into_owned()] } else { (0..n).map(|i| format!("{stem}[{i}]")).collect() };
    Ok(Images { pixels: batch.pixels, n, shape: options.shape, labels: batch.labels, names })
}

/// Reads the logits that `decrypt` wrote, `rows × classes`; those of images without an answer are
/// NaN.
///
/// Errors name the file; all of them are the user's to solve.
pub fn load_logits(path: &Path, classes: usize) -> Result<Vec<f32>, DataError> {
    npy::load_logits(path, classes).map_err(|problem| DataError { path: path.to_owned(), problem })
}

/// The float32 arrays of a `.npz` archive by name, with their shapes; row-major, whatever their
/// order in the file. Other arrays are left out.
///
/// # Errors
/// A file that cannot be read or is no such archive; it is named.
pub(crate) fn float_arrays(path: &Path) -> Result<Vec<FloatArray>, DataError> {
    npz::float_arrays(path).map_err(|problem| DataError { path: path.to_owned(), problem })
}

/// As [`float_arrays`], by their names.
pub(crate) fn named_arrays(path: &Path) -> Result<BTreeMap<String, FloatArray>, DataError> {
    npz::named_arrays(path).map_err(|problem| DataError { path: path.to_owned(), problem })
}

/// An array of an archive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FloatArray {
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f32>,
}

/// What one file gives: whole images, checked, and their labels.
struct Batch {
    pixels: Vec<f32>,
    labels: Option<Vec<u32>>,
}

impl DataOptions {
    /// The same, for the first `count` images only.
    pub fn first(self, count: usize) -> DataOptions {
        DataOptions { count: Some(count), ..self }
    }

    /// Values per image.
    fn len(&self) -> Result<usize, Problem> {
        let [c, h, w] = self.shape;
        let len = c.checked_mul(h).and_then(|ch| ch.checked_mul(w)).filter(|&len| len > 0);
        len.ok_or_else(|| Problem::Shape { found: "any".into(), model: self.shape })
    }

    /// How many of `available` images to read.
    fn take(&self, available: u64) -> Result<usize, Problem> {
        match self.count {
            _ if available == 0 => Err(Problem::Empty),
            Some(asked) if asked as u64 > available || asked == 0 => Err(Problem::Count { asked, available }),
            Some(asked) => Ok(asked),
            None => usize::try_from(available).map_err(|_| Problem::Memory { bytes: u64::MAX }),
        }
    }

    /// Normalised value of every pixel value, per channel.
    fn tables(&self) -> Result<Vec<[f32; 256]>, Problem> {
        Ok(self.normalisation.as_ref().ok_or(Problem::NoNormalisation)?.tables(self.shape[0])?)
    }
}

/// Room for `len` values, or an error instead of an abort.
fn reserve<T>(len: usize) -> Result<Vec<T>, Problem> {
    let mut values = Vec::new();
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    values.try_reserve_exact(len).map_err(|_| Problem::Memory { bytes })?;
    Ok(values)
}

/// Appends one C×H×W image of 8-bit pixels.
fn push_bytes(pixels: &mut Vec<f32>, image: &[u8], tables: &[[f32; 256]]) {
    let plane = image.len() / tables.len();
    for (channel, table) in image.chunks_exact(plane).zip(tables) {
        pixels.extend(channel.iter().map(|&px| table[px as usize]));
    }
}

/// Refuses NaN and infinities, which no encryption can carry.
fn check_finite(image: usize, values: &[f32]) -> Result<(), Problem> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(position) => Err(Problem::NotFinite { image, position, value: values[position] }),
        None => Ok(()),
    }
}

/// `3x32x32`.
fn by<T: ToString>(shape: &[T]) -> String {
    shape.iter().map(T::to_string).collect::<Vec<_>>().join("x")
}
