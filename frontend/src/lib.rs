//! ONNX import for Chiffre: from a model file to the tensor IR.
//!
//! [`load`] reads a file, folds its constant and shape subgraphs, and converts it node by node:
//! every value of the result carries the name of its ONNX node, and so does every error. The batch
//! dimension disappears on the way: the tensor IR describes one image. [`Reference`] runs the
//! untouched file and is what "right" means.
//!
//! tract's types stay in `onnx.rs`; one file per family of operators lives under `import/`.
#![forbid(unsafe_code)]

mod constant;
mod error;
mod import;
mod normalisation;
mod onnx;
mod proto;
mod reference;

pub use error::FrontendError;
pub use normalisation::{Normalisation, NormalisationError};
pub use reference::Reference;

use chiffre_ir::consts::Hash;
use chiffre_ir::graph::Verified;
use chiffre_ir::tensor::Tensor;
use std::path::Path;

/// Opsets of the default ONNX domain that import understands.
pub const OPSETS: std::ops::RangeInclusive<i64> = 9..=21;

/// A model file, imported.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network for one image.
    pub graph: Verified<Tensor>,
    /// How pixels become inputs, if the file says so (metadata key `normalisation`).
    pub normalisation: Option<Normalisation>,
    /// Name of the network's input in the file.
    pub input_name: String,
    /// Shape of one image, without the batch: `[C, H, W]` as a rule.
    pub input_shape: Vec<usize>,
    /// Names of the outputs in the file, in the order of the graph's outputs.
    pub output_names: Vec<String>,
    /// BLAKE3 of the file.
    pub digest: Hash,
}

/// Imports a model file.
///
/// # Errors
/// The file cannot be read, is not a model, or holds something that has no meaning here; see
/// [`FrontendError`].
pub fn load(path: &Path) -> Result<Model, FrontendError> {
    load_bytes(&path.display().to_string(), &read(path)?)
}

/// Imports a model from the bytes of a file; `name` is used in messages, and its stem names the
/// graph.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(name: &str, bytes: &[u8]) -> Result<Model, FrontendError> {
    let file = onnx::decode(bytes).map_err(|reason| FrontendError::Format { file: name.into(), reason })?;
    let digest = Hash(*blake3::hash(bytes).as_bytes());
    import::import(name, file, digest)
}

fn read(path: &Path) -> Result<Vec<u8>, FrontendError> {
    chiffre_ir::input::read(path).map_err(|source| FrontendError::Read { file: path.display().to_string(), source })
}
