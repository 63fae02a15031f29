//! Errors of the import: the file, the node, the reason.

use crate::survey::Obstacle;
use chiffre_ir::error::VerifyError;

/// Why a model file was not imported or run. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The bytes are not a complete ONNX model.
    #[error("{file}: not an ONNX model: {reason}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The model as a whole does not fit: its opset, its weights in other files, or its metadata.
    #[error("{file}: {reason}")]
    Model {
        /// The file.
        file: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Nodes that have no meaning in the tensor IR, inputs that do not fit: all of them.
    #[error("{}", listed(file, obstacles))]
    Obstacles {
        /// The file.
        file: String,
        /// At least one.
        obstacles: Vec<Obstacle>,
    },
    /// The imported graph breaks an invariant of the tensor IR.
    #[error("{file}: {source}")]
    Verify {
        /// The file.
        file: String,
        /// All findings.
        source: VerifyError,
    },
    /// The reference runtime rejects the model or the images.
    #[error("{file}: the clear reference cannot run: {reason}")]
    Reference {
        /// The file.
        file: String,
        /// The runtime's reason.
        reason: String,
    },
}

/// One obstacle on the file's line, several as a list.
fn listed(file: &str, obstacles: &[Obstacle]) -> String {
    match obstacles {
        [one] => format!("{file}: {one}"),
        all => {
            let lines: Vec<String> = all.iter().map(|o| format!("\n  * {o}")).collect();
            format!("{file}: {} things stand in the way:{}", all.len(), lines.concat())
        }
    }
}
