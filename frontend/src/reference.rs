//! The clear reference: the file, run by an independent runtime.

use crate::import::Ports;
use crate::onnx::Runner;
use crate::{FrontendError, ImportOptions, Source};
use rayon::prelude::*;
use std::path::Path;

/// A model file ready to run on clear images. It computes in single precision, whatever the file's
/// own.
pub struct Reference {
    runner: Runner,
    file: String,
    ports: Ports,
    /// Shape of one batch of each input, as the file takes it.
    shapes: Vec<Vec<usize>>,
}

impl Reference {
    /// Reads and prepares a file.
    ///
    /// # Errors
    /// As [`crate::load`], or the runtime rejects the model.
    pub fn load(path: &Path) -> Result<Reference, FrontendError> {
        Self::load_with(path, &ImportOptions::default())
    }

    /// As [`Reference::load`], with what the file leaves open.
    ///
    /// # Errors
    /// As [`Reference::load`].
    pub fn load_with(path: &Path, options: &ImportOptions) -> Result<Reference, FrontendError> {
        Self::new(&Source::of(path)?, path.display().to_string(), options)
    }

    /// As [`Reference::load`], from the bytes of a file; `name` is used in messages.
    ///
    /// # Errors
    /// As [`Reference::load`].
    pub fn load_bytes(name: &str, bytes: &[u8]) -> Result<Reference, FrontendError> {
        Self::load_bytes_with(name, bytes, &ImportOptions::default())
    }

    /// As [`Reference::load_bytes`], with what the file leaves open.
    ///
    /// # Errors
    /// As [`Reference::load`].
    pub fn load_bytes_with(name: &str, bytes: &[u8], options: &ImportOptions) -> Result<Reference, FrontendError> {
        Self::new(&Source::of_bytes(name, bytes)?, name.into(), options)
    }

    fn new(source: &Source, file: String, options: &ImportOptions) -> Result<Reference, FrontendError> {
        // Import first: it bounds every size, so that the runtime never sees a hostile file.
        let model = source.model(options)?;
        let (ports, wanted) = (&model.port, model.distinct().map(|k| model.values[k].as_str()).collect::<Vec<_>>());
        let batch = ports.batch.unwrap_or(1);
        let shapes: Vec<Vec<usize>> = ports.ports.iter().map(|p| p.batch_shape(batch)).collect();
        let runner =
            Runner::new(source.complete(), &shapes, &wanted).map_err(|reason| FrontendError::Reference { file: file.clone(), reason })?;
        Ok(Reference { runner, file, ports: model.port, shapes })
    }

    /// Runs `n` images (`n·C·H·W` values, image-major, as the imported graph takes them); returns
    /// for each what a program decrypts: the values of all outputs, before their tails
    /// ([`Model::joined`](crate::Model::joined)). A model with a fixed batch runs in batches, the
    /// last one filled up with zeros.
    ///
    /// # Errors
    /// The number of values is not `n` images, or the runtime fails.
    pub fn run(&self, images: &[f32], n: usize) -> Result<Vec<f32>, FrontendError> {
        let error = |reason: String| FrontendError::Reference { file: self.file.clone(), reason };
        let len: usize = self.ports.frame.iter().product();
        if Some(images.len()) != n.checked_mul(len) {
            return Err(error(format!("{} values are not {n} images of {len}", images.len())));
        }
        let batch = self.ports.batch.unwrap_or(1);
        let run = |chunk: &[f32]| -> Result<Vec<f32>, String> {
            let each = self.ports.ports.iter().zip(&self.ports.places).zip(&self.shapes);
            let inputs = each.map(|((port, place), shape)| {
                let mut input: Vec<f32> = chunk.chunks(len).flat_map(|image| port.image(image, self.ports.frame, place)).collect();
                input.resize(batch * place.len(), 0.0);
                (shape.as_slice(), input)
            });
            let outputs = self.runner.run(&inputs.collect::<Vec<_>>())?;
            let images = chunk.len() / len;
            Ok((0..images)
                .flat_map(|i| outputs.iter().flat_map(move |o| &o[i * (o.len() / batch)..][..o.len() / batch]))
                .copied()
                .collect())
        };
        let parts: Vec<Vec<f32>> = images.par_chunks(batch * len).map(run).collect::<Result<_, _>>().map_err(error)?;
        Ok(parts.concat())
    }
}
