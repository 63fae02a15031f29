//! Errors of the import: the file, the node, the reason.

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
    /// The model as a whole does not fit: its opset, inputs, outputs or metadata.
    #[error("{file}: {reason}")]
    Model {
        /// The file.
        file: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A node has no meaning in the tensor IR.
    #[error("{file}: node \"{node}\" ({op}): {reason}")]
    Node {
        /// The file.
        file: String,
        /// Name of the ONNX node, or of its first output if it has none.
        node: String,
        /// Operator of the node.
        op: String,
        /// What is wrong, and what to do.
        reason: String,
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
