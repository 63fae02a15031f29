//! Whether a model file computes what the network that it was exported from computes. Nothing is
//! encrypted here: where they differ, the export is wrong.

use crate::data::{self, Array, DataOptions, Images};
use crate::outputs::{self, Output};
use crate::{Error, logits};
use chiffre_frontend::{Model, Reference};
use std::collections::BTreeSet;
use std::path::Path;

/// The largest difference that passes, over the largest magnitude of the outputs. Two runtimes
/// round single precision differently: some 1e-6 of it, a thousand times less.
pub const TOLERANCE: f64 = 1e-3;

/// Inputs of a network with the outputs that it has for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The inputs.
    pub images: Images,
    /// Outputs of the network in the order of the model, images × values each.
    pub outputs: Vec<Vec<f32>>,
    /// What errors call it: their file, or "the outputs".
    pub name: String,
}

impl Example {
    /// From a `.npz` archive: inputs as everywhere (`images`, `x` or `inputs`, or by their names),
    /// and the outputs of the network for them as float32 by their names or, if there is one,
    /// `outputs`.
    ///
    /// # Errors
    /// What is wrong with the file, which is named.
    pub fn load(path: &Path, model: &Model, options: &DataOptions) -> Result<Example, Error> {
        let images = data::load_inputs(&[path.to_path_buf()], &model.inputs, options)?;
        let arrays = data::named_arrays(path)?;
        let named: Vec<(&str, Vec<f32>)> = arrays.iter().map(|(name, a)| (name.as_str(), a.data.clone())).collect();
        Example::of(images, &named, model, path.display().to_string())
    }

    /// From arrays in memory: outputs by their names or, if there is one, `outputs`.
    ///
    /// # Errors
    /// What is wrong with the arrays.
    pub fn from_arrays(images: Images, outputs: &[Array<'_>], model: &Model) -> Result<Example, Error> {
        let named: Vec<(&str, Vec<f32>)> = outputs.iter().map(|a| Ok((a.name, a.floats()?.data))).collect::<Result<_, Error>>()?;
        Example::of(images, &named, model, "the reference".into())
    }

    fn of(images: Images, named: &[(&str, Vec<f32>)], model: &Model, name: String) -> Result<Example, Error> {
        let mut outputs = vec![];
        for o in &model.outputs {
            let own = named.iter().find(|(n, _)| *n == o.name);
            let only = || named.iter().find(|(n, _)| *n == "outputs" && model.outputs.len() == 1);
            let Some((_, values)) = own.or_else(only) else {
                let missing = format!("{name}: there are no outputs \"{}\" as float32, as the network has them", o.name);
                return Err(Error::input(missing));
            };
            if values.is_empty() || !values.len().is_multiple_of(images.n) {
                return Err(Error::input(format!("{name}: {} outputs are not those of {} images", values.len(), images.n)));
            }
            outputs.push(values.clone());
        }
        Ok(Example { images, outputs, name })
    }
}

/// Compares the outputs of a model file, in the clear, with those that its network is said to have.
/// Returns the largest difference.
///
/// # Errors
/// Outputs of another shape, or that differ by more than [`TOLERANCE`]: the error says where, and
/// that the export is at fault. A file that cannot be run.
pub fn compare(model: &Model, reference: &Reference, file: &str, example: &Example) -> Result<f64, Error> {
    let Example { images, outputs, name } = example;
    let clear = reference.run(&images.pixels, images.n)?;
    let found = outputs::of(&model.interface(), &clear, clear.len() / images.n);
    let mut worst = 0.0f64;
    for (found, wanted) in found.iter().zip(outputs) {
        let name = if outputs.len() > 1 { format!("{name}, \"{}\",", found.name) } else { name.clone() };
        worst = worst.max(difference(found, wanted, images, file, &name)?);
    }
    Ok(worst)
}

/// The largest difference of one output from what is wanted.
fn difference(found: &Output, wanted: &[f32], images: &Images, file: &str, name: &str) -> Result<f64, Error> {
    let (clear, classes) = (&found.values, found.per_image());
    if clear.len() != wanted.len() {
        let theirs = wanted.len() / images.n;
        return Err(Error::input(format!("{name}: {theirs} outputs for each image, where {file} computes {classes}")));
    }
    let found = logits::compare(clear, wanted, classes, &BTreeSet::new())?;
    let largest = wanted.iter().fold(0.0f64, |m, x| m.max(f64::from(x.abs())));
    // Written so that an error that is not a number does not pass.
    if found.max_abs_error <= TOLERANCE * largest.max(f64::from(f32::MIN_POSITIVE)) {
        return Ok(found.max_abs_error);
    }
    let off = |i: usize| f64::from(clear[i] - wanted[i]).abs();
    let worst = (0..clear.len()).max_by(|&a, &b| off(a).total_cmp(&off(b))).unwrap_or(0);
    let (image, class) = (&images.names[worst / classes], worst % classes);
    Err(Error::input(format!(
        "{file} does not compute what {name} says: output {class} of {image} is {} in the clear and should be {}, and the largest magnitude of \
         an output is {largest:.3e}. The export is wrong, not the encryption: nothing has been encrypted",
        clear[worst], wanted[worst]
    ))
    .advise("export the network again in evaluation mode, with the preprocessing that its inputs have had, and compare with another runtime"))
}
