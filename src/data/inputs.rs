//! The data of models with several inputs: each is read by itself, and image for image they are put
//! side by side into the one that a program encrypts.

use super::{DataOptions, Images, load_array};
use crate::Error;
use chiffre_ir::interface::{InputPort, frame};
use std::path::{Path, PathBuf};

/// Reads what a model with these inputs takes: of one input a file, of several `NAME=FILE` for each
/// or one `.npz` with an array for each, by name. `options.shape` does not count.
///
/// # Errors
/// What is wrong with the data; names the file. Inputs that are missing, are given twice, or are of
/// different numbers of images.
pub fn load_inputs(files: &[PathBuf], inputs: &[InputPort], options: &DataOptions) -> Result<Images, Error> {
    let named: Vec<(Option<&str>, PathBuf)> = files.iter().map(|f| split(f, inputs)).collect();
    let of = |port: &InputPort| options.of_input(port, inputs.len());
    let names: Vec<&str> = inputs.iter().map(|p| p.name.as_str()).collect();
    if let ([port], [(_, path)]) = (inputs, &named[..]) {
        return Ok(load_array(path, &of(port), Some((port.name.as_str(), names.as_slice())))?);
    }
    let list = names.join(", ");
    let mut parts: Vec<(PathBuf, Images)> = vec![];
    for port in inputs {
        let own: Vec<&PathBuf> = named.iter().filter(|(name, _)| *name == Some(port.name.as_str())).map(|(_, path)| path).collect();
        let path = match (&own[..], &named[..]) {
            ([one], _) => (*one).clone(),
            ([], [(None, all)]) if all.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) => all.clone(),
            ([], _) => {
                let n = inputs.len();
                return Err(Error::input(format!(
                    "there are no data for the input \"{}\": the model has {n} input{} ({list}); give NAME=FILE for each, or one .npz with an array for each",
                    port.name,
                    if n == 1 { "" } else { "s" }
                )));
            }
            _ => return Err(Error::input(format!("there are data for the input \"{}\" {} times", port.name, own.len()))),
        };
        let images = load_array(&path, &of(port), Some((port.name.as_str(), names.as_slice())))?;
        parts.push((path, images));
    }
    if let Some((_, path)) = named.iter().find(|(name, _)| name.is_none() && named.len() > 1) {
        return Err(Error::input(format!("{} is for none of the inputs {list}: write NAME=FILE", path.display())));
    }
    if named.len() > inputs.len() {
        return Err(Error::input(format!("{} files are given, and the model has {} inputs ({list})", named.len(), inputs.len())));
    }
    let other = parts.iter().find(|(_, x)| parts.first().is_some_and(|(_, first)| first.n != x.n));
    if let (Some((path, x)), Some((first, y))) = (other, parts.first()) {
        let m = format!("{} images, where {} has {}: give as many of every input", x.n, first.display(), y.n);
        return Err(Error::input_in(path, m));
    }
    joined(parts.into_iter().map(|(_, x)| x).collect(), inputs)
}

impl DataOptions {
    /// How the images of an input look, one of so many: a normalisation is that of the inputs with
    /// as many channels.
    pub fn of_input(&self, port: &InputPort, inputs: usize) -> DataOptions {
        let normalisation = self.normalisation.clone().filter(|n| inputs == 1 || n.check(port.shape[0]).is_ok());
        DataOptions { shape: port.shape, normalisation, count: self.count }
    }
}

/// Images by the names of the inputs as one.
///
/// # Errors
/// An input that is missing, is given twice or is none; those of [`joined`].
pub fn join_named(parts: Vec<(&str, Images)>, inputs: &[InputPort]) -> Result<Images, Error> {
    let list = || inputs.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some((unknown, _)) = parts.iter().find(|(name, _)| !inputs.iter().any(|p| p.name == *name)) {
        return Err(Error::input(format!("there is no input \"{unknown}\"; the inputs are {}", list())));
    }
    if let Some(p) = inputs.iter().find(|p| parts.iter().filter(|(name, _)| *name == p.name).count() != 1) {
        return Err(Error::input(format!("images of the input \"{}\" are needed once; the inputs are {}", p.name, list())));
    }
    let mut parts = parts;
    parts.sort_by_key(|(name, _)| inputs.iter().position(|p| p.name == *name));
    joined(parts.into_iter().map(|(_, x)| x).collect(), inputs)
}

/// Images of several inputs as one, image for image; `parts` are in the order of the inputs.
///
/// # Errors
/// Parts of other shapes or numbers of images than the inputs have.
pub fn joined(parts: Vec<Images>, inputs: &[InputPort]) -> Result<Images, Error> {
    let fits = |x: &Images, port: &InputPort| x.shape == port.shape && x.n == parts[0].n && x.pixels.len() == x.n * port.len();
    if parts.is_empty() || parts.len() != inputs.len() || !parts.iter().zip(inputs).all(|(x, port)| fits(x, port)) {
        let wanted: Vec<String> = inputs.iter().map(|p| format!("\"{}\" of shape {:?}", p.name, p.shape)).collect();
        return Err(Error::input(format!("as many images of each input are needed: {}", wanted.join(", "))));
    }
    let (shape, _) = frame(&inputs.iter().map(|p| p.shape).collect::<Vec<_>>());
    let (n, per) = (parts[0].n, shape.iter().product::<usize>());
    let mut pixels = vec![0.0; n * per];
    for (x, port) in parts.iter().zip(inputs) {
        for (image, part) in pixels.chunks_exact_mut(per).zip(x.pixels.chunks_exact(port.len())) {
            part.iter().enumerate().for_each(|(i, v)| image[port.place(i, shape)] = *v);
        }
    }
    let labels = parts.iter().find_map(|x| x.labels.clone());
    Ok(Images { pixels, n, shape, labels, names: parts[0].names.clone() })
}

/// `NAME=FILE`, where NAME is that of an input; a file otherwise.
fn split<'a>(file: &Path, inputs: &'a [InputPort]) -> (Option<&'a str>, PathBuf) {
    let text = file.to_string_lossy();
    let prefix = |port: &&InputPort| text.strip_prefix(port.name.as_str()).is_some_and(|rest| rest.starts_with('='));
    match inputs.iter().find(prefix) {
        Some(port) => (Some(&port.name), PathBuf::from(&text[port.name.len() + 1..])),
        None => (None, file.to_path_buf()),
    }
}
