//! The error of a command, and its exit code.

use crate::data::DataError;
use std::path::Path;

/// Why a command stopped. [`Error::exit_code`] tells bad input (2) from a failed or disagreeing computation (1).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bad input or usage: a wrong file, an option that does not fit the program.
    #[error("{0}")]
    Input(String),
    /// Images or labels that cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file that cannot be read or written; the text names it.
    #[error("{context}: {source}")]
    Io {
        /// What was done to which file.
        context: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The computation could not be done or went wrong.
    #[error("{0}")]
    Failed(String),
    /// The encrypted answers differ from the clear ones by more than is allowed.
    #[error("{0}")]
    Disagreed(String),
}

impl Error {
    /// Bad input or usage (exit code 2), from anything that prints.
    pub fn input(message: impl ToString) -> Error {
        Error::Input(message.to_string())
    }

    /// A failed computation (exit code 1), from anything that prints.
    pub fn failed(message: impl ToString) -> Error {
        Error::Failed(message.to_string())
    }

    /// A file that could not be read (exit code 2).
    pub fn read(path: &Path, source: std::io::Error) -> Error {
        Error::Io { context: format!("cannot read {}", path.display()), source }
    }

    /// A file that could not be written (exit code 2).
    pub fn write(path: &Path, source: std::io::Error) -> Error {
        Error::Io { context: format!("cannot write {}", path.display()), source }
    }

    /// 1 when the computation failed or disagreed, 2 for bad input or usage.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Failed(_) | Error::Disagreed(_) => 1,
            Error::Input(_) | Error::Data(_) | Error::Io { .. } => 2,
        }
    }
}

impl From<chiffre_runtime::RuntimeError> for Error {
    fn from(e: chiffre_runtime::RuntimeError) -> Error {
        if e.is_user_error() { Error::input(e) } else { Error::failed(e) }
    }
}
