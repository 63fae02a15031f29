//! ONNX import for Chiffre: from a model file to the tensor IR.
//!
//! [`load`] reads a file, folds its constant and shape subgraphs, and converts it node by node:
//! every value of the result carries the name of its ONNX node, and so does every error. The batch
//! dimension disappears on the way: the tensor IR describes one image. [`Reference`] runs the file
//! and is what "right" means.
//!
//! Everything that stands in the way of a file is found at once: [`survey`] lists it.
//!
//! tract's types stay in `onnx/`; one file per family of operators lives under `import/`.
#![forbid(unsafe_code)]

mod constant;
mod error;
mod import;
mod join;
mod normalisation;
mod onnx;
mod proto;
mod reference;
mod survey;

pub use error::FrontendError;
pub use normalisation::{Normalisation, NormalisationError};
pub use reference::Reference;
pub use survey::{Fate, Obstacle, Survey};

use chiffre_ir::consts::Hash;
use chiffre_ir::graph::Verified;
use chiffre_ir::interface::InputPort;
use chiffre_ir::tail::TailOp;
use chiffre_ir::tensor::Tensor;
use std::path::Path;

/// Opsets of the default ONNX domain that import knows. Every operator has a first one of its own,
/// from which it is read (`import/operators.rs`).
pub const OPSETS: std::ops::RangeInclusive<i64> = 1..=28;

/// What the caller says about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Extents of the input for one image, in the order of the file and without the batch, for
    /// those that the file leaves open.
    pub input_shape: Option<Vec<usize>>,
    /// Names of the outputs that are wanted; all if there is none. What only others need is left
    /// out.
    pub outputs: Vec<String>,
}

/// A model file, imported.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network for one image.
    pub graph: Verified<Tensor>,
    /// How pixels become inputs, if the file says so (metadata key `normalisation`).
    pub normalisation: Option<Normalisation>,
    /// The inputs of the file, in its order, and where they lie in that of the graph.
    pub inputs: Vec<InputPort>,
    /// Shape of one image as the graph takes it, all inputs together and without the batch:
    /// `[C, H, W]` as a rule.
    pub input_shape: Vec<usize>,
    /// The outputs of the file that are wanted, in its order.
    pub outputs: Vec<Output>,
    /// BLAKE3 of the file, and of the weights that lie in others.
    pub digest: Hash,
    /// What import has changed or left out, in sentences.
    pub warnings: Vec<String>,
    /// How the file takes images.
    pub(crate) port: import::Ports,
    /// Names of the values that the graph's outputs are.
    pub(crate) values: Vec<String>,
}

/// An output of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What is left to do, behind decryption, with the graph's output of the same index.
    pub tail: Vec<TailOp>,
    /// Extents of what comes out, for one image.
    pub shape: Vec<usize>,
}

/// Imports a model file.
///
/// # Errors
/// The file cannot be read, is not a model, or holds something that has no meaning here; see
/// [`FrontendError`].
pub fn load(path: &Path) -> Result<Model, FrontendError> {
    load_with(path, &ImportOptions::default())
}

/// As [`load`], with what the file leaves open.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, options: &ImportOptions) -> Result<Model, FrontendError> {
    Source::of(path)?.model(options)
}

/// Imports a model from the bytes of a file; `name` is used in messages, and its stem names the
/// graph. Weights that lie in other files are not found.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(name: &str, bytes: &[u8]) -> Result<Model, FrontendError> {
    load_bytes_with(name, bytes, &ImportOptions::default())
}

/// As [`load_bytes`], with what the file leaves open.
///
/// # Errors
/// As [`load`].
pub fn load_bytes_with(name: &str, bytes: &[u8], options: &ImportOptions) -> Result<Model, FrontendError> {
    Source::of_bytes(name, bytes)?.model(options)
}

/// What import makes of a file: all of it, whether it can be taken or not.
///
/// # Errors
/// The file cannot be read or is not a model of a known opset.
pub fn survey(path: &Path, options: &ImportOptions) -> Result<Survey, FrontendError> {
    Source::of(path)?.survey(options)
}

/// As [`survey`], of the bytes of a file; `name` is used in messages.
///
/// # Errors
/// As [`survey`].
pub fn survey_bytes(name: &str, bytes: &[u8], options: &ImportOptions) -> Result<Survey, FrontendError> {
    Source::of_bytes(name, bytes)?.survey(options)
}

/// A file that is a model, with all its weights.
pub(crate) struct Source {
    name: String,
    complete: onnx::Complete,
}

impl Source {
    pub fn of(path: &Path) -> Result<Source, FrontendError> {
        let bytes = chiffre_ir::input::read(path).map_err(|source| FrontendError::Read { file: path.display().to_string(), source })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::new(&path.display().to_string(), &bytes, Some(folder))
    }
    pub fn of_bytes(name: &str, bytes: &[u8]) -> Result<Source, FrontendError> {
        Self::new(name, bytes, None)
    }
    fn new(name: &str, bytes: &[u8], folder: Option<&Path>) -> Result<Source, FrontendError> {
        let complete = onnx::complete(bytes, folder).map_err(|e| match e {
            onnx::Incomplete::Format(reason) => FrontendError::Format { file: name.into(), reason },
            onnx::Incomplete::Model(reason) => FrontendError::Model { file: name.into(), reason },
        })?;
        Ok(Source { name: name.into(), complete })
    }
    pub fn complete(&self) -> &onnx::Complete {
        &self.complete
    }
    pub fn survey(&self, options: &ImportOptions) -> Result<Survey, FrontendError> {
        let file = onnx::decode(&self.complete).map_err(|reason| FrontendError::Format { file: self.name.clone(), reason })?;
        import::import(&self.name, file, Hash(*self.complete.digest.as_bytes()), options)
    }
    pub fn model(&self, options: &ImportOptions) -> Result<Model, FrontendError> {
        let survey = self.survey(options)?;
        for w in &survey.warnings {
            tracing::warn!("{}: {w}", self.name);
        }
        survey.model.ok_or_else(|| FrontendError::Obstacles { file: self.name.clone(), obstacles: survey.obstacles })
    }
}
