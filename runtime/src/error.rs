//! Errors of the runtime.

use chiffre_ir::container::ContainerError;
use chiffre_ir::journal::JournalError;

/// Why keys, ciphertexts or a run were refused, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A file could not be read or written, or is damaged.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The parameters of the program are not acceptable.
    #[error("parameters of the program: {0}")]
    Params(#[from] chiffre_ckks::params::ParamsError),
    /// There are no threads to compute on.
    #[error(transparent)]
    Engine(#[from] chiffre_ckks::engine::EngineError),
    /// The program is outside the security table and that was not allowed.
    #[error("this program's parameters are below 128-bit security; it is for tests only, and has to be permitted")]
    Insecure,
    /// Files that do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// Input data that the program cannot take.
    #[error("{0}")]
    Input(String),
    /// An operation on ciphertexts failed.
    #[error("node \"{node}\": {message}")]
    Execution {
        /// The ONNX node.
        node: String,
        /// What failed.
        message: String,
    },
    /// The result of a run was asked for before its end.
    #[error("{left} of {steps} steps of the run are left")]
    Unfinished {
        /// Steps that are left.
        left: usize,
        /// All steps.
        steps: usize,
    },
    /// The result of a run was asked for that its callback has stopped.
    #[error("the run was stopped, with {left} of {steps} steps left")]
    Cancelled {
        /// Steps that are left.
        left: usize,
        /// All steps.
        steps: usize,
    },
    /// The caller has ended the making of keys.
    #[error("the making of keys was stopped before it was done")]
    NoKeys,
    /// A run was asked to go on after one of its steps had failed.
    #[error("a step of this run has failed: it cannot go on")]
    Failed,
    /// The system's random generator failed.
    #[error("{0}")]
    Randomness(String),
}

impl From<JournalError> for RuntimeError {
    fn from(e: JournalError) -> RuntimeError {
        match e {
            JournalError::Container(e) => e.into(),
            JournalError::Mismatch(m) => RuntimeError::Mismatch(m),
            JournalError::Input(m) => RuntimeError::Input(m),
        }
    }
}

impl RuntimeError {
    /// True if the user gave something wrong (exit code 2) rather than the computation failing.
    pub fn is_user_error(&self) -> bool {
        match self {
            RuntimeError::Container(_)
            | RuntimeError::Insecure
            | RuntimeError::Mismatch(_)
            | RuntimeError::Input(_)
            | RuntimeError::Params(_) => true,
            RuntimeError::Engine(_)
            | RuntimeError::Execution { .. }
            | RuntimeError::Unfinished { .. }
            | RuntimeError::Cancelled { .. }
            | RuntimeError::NoKeys
            | RuntimeError::Failed
            | RuntimeError::Randomness(_) => false,
        }
    }
}
