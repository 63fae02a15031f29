//! The clear reference: the original file, run by an independent runtime.

use crate::onnx::Runner;
use crate::{FrontendError, load_bytes, read};
use rayon::prelude::*;
use std::path::Path;

/// A model file ready to run on clear images.
pub struct Reference {
    runner: Runner,
    file: String,
    /// Shape of one batch; the first extent is the file's own batch size, or 1 if that is open.
    shape: Vec<usize>,
}

impl Reference {
    /// Reads and prepares a file.
    ///
    /// # Errors
    /// As [`crate::load`], or the runtime rejects the model.
    pub fn load(path: &Path) -> Result<Reference, FrontendError> {
        Self::load_bytes(&path.display().to_string(), &read(path)?)
    }

    /// As [`Reference::load`], from the bytes of a file; `name` is used in messages.
    ///
    /// # Errors
    /// As [`Reference::load`].
    pub fn load_bytes(name: &str, bytes: &[u8]) -> Result<Reference, FrontendError> {
        // Import first: it bounds every size, so that the runtime never sees a hostile file.
        let model = load_bytes(name, bytes)?;
        let fixed = crate::onnx::decode(bytes).ok().and_then(|f| crate::import::fixed_batch(&f));
        let shape: Vec<usize> = std::iter::once(fixed.unwrap_or(1)).chain(model.input_shape).collect();
        let runner = Runner::new(bytes, &shape).map_err(|reason| FrontendError::Reference { file: name.into(), reason })?;
        Ok(Reference { runner, file: name.into(), shape })
    }

    /// Runs `n` images (`n·C·H·W` values, image-major); returns `n·classes` values of the first
    /// output. A model with a fixed batch runs in batches, the last one filled up with zeros.
    ///
    /// # Errors
    /// The number of values is not `n` images, or the runtime fails.
    pub fn run(&self, images: &[f32], n: usize) -> Result<Vec<f32>, FrontendError> {
        let error = |reason: String| FrontendError::Reference { file: self.file.clone(), reason };
        let len: usize = self.shape[1..].iter().product();
        if Some(images.len()) != n.checked_mul(len) {
            return Err(error(format!("{} values are not {n} images of {len}", images.len())));
        }
        let batch = self.shape[0];
        let run = |chunk: &[f32]| -> Result<Vec<f32>, String> {
            let mut input = chunk.to_vec();
            input.resize(batch * len, 0.0);
            let mut out = self.runner.run(&self.shape, &input)?;
            out.truncate(out.len() / batch * (chunk.len() / len));
            Ok(out)
        };
        let parts: Vec<Vec<f32>> = images.par_chunks(batch * len).map(run).collect::<Result<_, _>>().map_err(error)?;
        Ok(parts.concat())
    }
}
