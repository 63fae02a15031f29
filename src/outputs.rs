//! The outputs of the model file, made of decrypted values.

use crate::{Error, data, logits};
use chiffre_ir::interface::Interface;
use chiffre_ir::output;
use ndarray::ArrayViewD;
use ndarray_npy::NpzWriter;
use std::io::{Cursor, Write};
use std::path::Path;

/// An output of the model file for some images.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its values, image by image; NaN for images without an answer.
    pub values: Vec<f32>,
    /// Extents for one image.
    pub shape: Vec<usize>,
}

impl Output {
    /// Values of one image.
    pub fn per_image(&self) -> usize {
        self.shape.iter().product()
    }
}

/// All outputs for rows of `per` decrypted values.
pub fn of(interface: &Interface, values: &[f32], per: usize) -> Vec<Output> {
    let one = |p: &chiffre_ir::interface::OutputPort| Output { name: p.name.clone(), values: p.of(values, per).0, shape: p.shape.clone() };
    interface.outputs.iter().map(one).collect()
}

/// Writes outputs: as arrays by their names if the file's name ends in `.npz`; else the only
/// output, as a table with the `names` of the images for `.csv`, and as float32, images × values,
/// otherwise.
///
/// # Errors
/// Several outputs in a file for one; a file that cannot be written.
pub fn write(path: &Path, outputs: &[Output], names: &[String]) -> Result<(), Error> {
    let is = |extension: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension));
    match outputs {
        _ if is("npz") => write_archive(path, outputs),
        [one] if is("csv") => logits::write_table(path, names, &one.values, one.per_image()),
        [one] => logits::write_logits(path, &one.values, one.per_image()),
        _ => {
            let list: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
            let m = format!("the outputs {} need a file whose name ends in .npz, or choose one when compiling", list.join(", "));
            Err(Error::input_in(path, m))
        }
    }
}

/// An array for each output, of its own extents behind the number of images, in a file that only
/// its owner can read.
fn write_archive(path: &Path, outputs: &[Output]) -> Result<(), Error> {
    let mut bytes = Cursor::new(vec![]);
    let mut archive = NpzWriter::new(&mut bytes);
    for o in outputs {
        let images = o.values.len() / o.per_image().max(1);
        let extents: Vec<usize> = std::iter::once(images).chain(o.shape.iter().copied()).collect();
        let array = ArrayViewD::from_shape(extents, &o.values).map_err(Error::failed)?;
        archive.add_array(o.name.as_str(), &array).map_err(Error::failed)?;
    }
    archive.finish().map_err(Error::failed)?;
    let written = output::Output::create(path).and_then(|mut file| {
        file.write_all(&bytes.into_inner())?;
        file.finish()
    });
    written.map_err(|e| Error::write(path, e))
}

/// Reads outputs that [`write()`] wrote, for as many images as there are; `like` are outputs of the
/// same program.
///
/// # Errors
/// A file that cannot be read, lacks an output, or has others than the program.
pub fn load(path: &Path, like: &[Output]) -> Result<Vec<Output>, Error> {
    let archive = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
    if let ([one], false) = (like, archive) {
        return Ok(vec![Output { values: data::load_logits(path, one.per_image())?, ..one.clone() }]);
    }
    let mut arrays = data::named_arrays(path)?;
    let mut take = |o: &Output| -> Result<Output, Error> {
        let values = arrays.remove(&o.name).filter(|a| a.shape.get(1..) == Some(&o.shape[..])).map(|a| a.data);
        let missing = || Error::input_in(path, format!("it has no float32 array \"{}\" of shape N×{:?}", o.name, o.shape));
        Ok(Output { values: values.ok_or_else(missing)?, ..o.clone() })
    };
    like.iter().map(&mut take).collect()
}
