//! Why programs, keys, ciphertexts or a run were refused.

use chiffre_ir::container::ContainerError;
use chiffre_ir::error::InterpError;
use chiffre_ir::journal::JournalError;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TfheError {
    /// A file could not be read or written, or is damaged.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The parameters have less noise than security asks for, and that was not permitted.
    #[error("this program's parameters are below 128-bit security; it is for tests only, and has to be permitted")]
    Insecure,
    /// Files that do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// A program or images that cannot be used.
    #[error("{0}")]
    Input(String),
    /// The system's random generator failed.
    #[error("the operating system's random number generator failed: {0}")]
    Randomness(String),
    /// The run was stopped by who watches it.
    #[error("the run was stopped, with {left} of {steps} steps left")]
    Cancelled {
        /// Steps that are left.
        left: usize,
        /// All steps.
        steps: usize,
    },
}

impl From<JournalError> for TfheError {
    fn from(e: JournalError) -> TfheError {
        match e {
            JournalError::Container(e) => e.into(),
            JournalError::Mismatch(m) => TfheError::Mismatch(m),
            JournalError::Input(m) => TfheError::Input(m),
        }
    }
}

impl From<InterpError> for TfheError {
    fn from(e: InterpError) -> TfheError {
        TfheError::Input(e.to_string())
    }
}
