//! Why something could not be done, by class.

use crate::data::{DataError, NormalisationError, Problem};
use chiffre_ckks::params::ParamsError;
use chiffre_frontend::FrontendError;
use chiffre_ir::container::ContainerError;
use chiffre_ir::error::InterpError;
use chiffre_ir::journal::JournalError;
use chiffre_passes::error::{self as passes, PassError};
use chiffre_runtime::{EngineError, RuntimeError};
use std::fmt;
use std::path::{Path, PathBuf};

/// What kind of failure an [`Error`] is; the variants of both are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// See [`Error::Input`].
    Input,
    /// See [`Error::Security`].
    Security,
    /// See [`Error::Mismatch`].
    Mismatch,
    /// See [`Error::Damaged`].
    Damaged,
    /// See [`Error::Budget`].
    Budget,
    /// See [`Error::Io`].
    Io,
    /// See [`Error::Failed`].
    Failed,
    /// See [`Error::Cancelled`].
    Cancelled,
    /// See [`Error::Bug`].
    Bug,
}

/// What a caller can set otherwise, so that something can be done. The command line has an option
/// for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// The memory that a run may take, or the images of a batch: [`crate::Options::memory`],
    /// [`crate::Options::batch`].
    Memory,
    /// The images that ranges are measured on: [`crate::Options::calibration`].
    Calibration,
    /// That parameters below 128-bit security are permitted: [`crate::Options::allow_insecure`],
    /// [`crate::Program::load_insecure`].
    AllowInsecure,
    /// How pixels become inputs: [`crate::Options::normalisation`],
    /// [`crate::DataOptions::normalisation`].
    Normalisation,
    /// How many images are read: [`crate::DataOptions::count`].
    Count,
    /// The extents of one image, for a model that leaves them open:
    /// [`crate::Options::input_shape`].
    InputShape,
    /// Where constants of an IR file are looked for: [`crate::ir_file::IrFile::load`].
    Constants,
    /// That images which would harm others are left out:
    /// [`crate::Client::encrypt_without_absurd`].
    LeaveOut,
}

/// Why something could not be done. The variant is the class of the failure, which tells who can do
/// something about it; the [`Detail`] names the ONNX node or the file at fault, where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model, an image, an option or a text that cannot be used.
    #[error(transparent)]
    Input(Detail),
    /// Parameters below 128-bit security, which were not allowed.
    #[error(transparent)]
    Security(Detail),
    /// Things that do not belong together: keys of another program, an input under another secret
    /// key, a file of another kind.
    #[error(transparent)]
    Mismatch(Detail),
    /// A file that is truncated, altered or malformed.
    #[error(transparent)]
    Damaged(Detail),
    /// The network needs more memory or more levels than it may have.
    #[error(transparent)]
    Budget(Detail),
    /// A file that cannot be read or written.
    #[error(transparent)]
    Io(Detail),
    /// The computation went wrong, or its answers are not good.
    #[error(transparent)]
    Failed(Detail),
    /// A run that its callback has stopped before the end.
    #[error(transparent)]
    Cancelled(Detail),
    /// A bug of the compiler: nothing that its caller did.
    #[error(transparent)]
    Bug(Detail),
}

/// What is known of a failure.
#[derive(Debug, Default)]
pub struct Detail {
    /// What is wrong, in a sentence or more that name node and file.
    pub message: String,
    /// The ONNX node at fault.
    pub node: Option<String>,
    /// The file at fault.
    pub file: Option<Box<Path>>,
    /// What to do about it, where the message does not say it.
    pub advice: Option<String>,
    /// What can be set otherwise, where it is one thing.
    pub setting: Option<Setting>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.advice {
            Some(advice) => write!(f, "{}: {advice}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Detail {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl Detail {
    fn new(message: impl ToString) -> Detail {
        Detail { message: message.to_string(), ..Detail::default() }
    }

    /// Of another crate's error, whose text is the message.
    fn of(e: impl std::error::Error + Send + Sync + 'static) -> Detail {
        Detail { message: e.to_string(), source: Some(Box::new(e)), ..Detail::default() }
    }

    fn at_node(self, node: &str) -> Detail {
        Detail { node: (!node.is_empty()).then(|| node.into()), ..self }
    }

    fn about(self, setting: Setting) -> Detail {
        Detail { setting: Some(setting), ..self }
    }

    fn in_file(self, file: impl Into<PathBuf>) -> Detail {
        Detail { file: Some(file.into().into_boxed_path()), ..self }
    }
}

impl Error {
    /// Bad input, from anything that prints.
    pub fn input(message: impl ToString) -> Error {
        Error::Input(Detail::new(message))
    }

    /// Bad input in a file that the message need not name.
    pub fn input_in(file: &Path, message: impl fmt::Display) -> Error {
        Error::Input(Detail::new(format!("{}: {message}", file.display())).in_file(file))
    }

    /// A failed computation, from anything that prints.
    pub fn failed(message: impl ToString) -> Error {
        Error::Failed(Detail::new(message))
    }

    /// Things that do not belong together, from anything that prints.
    pub fn mismatch(message: impl ToString) -> Error {
        Error::Mismatch(Detail::new(message))
    }

    /// Parameters that are not secure and were not permitted, from anything that prints.
    pub fn insecure(message: impl ToString) -> Error {
        Error::Security(Detail::new(message).about(Setting::AllowInsecure))
    }

    /// A run that was stopped, from anything that prints.
    pub fn cancelled(message: impl ToString) -> Error {
        Error::Cancelled(Detail::new(message))
    }

    /// A bug of the compiler, from anything that prints.
    pub fn bug(message: impl fmt::Display) -> Error {
        Error::Bug(Detail::new(format!("{message} (a bug of the compiler: please report it)")))
    }

    /// More memory than there may be, and what to do about it.
    pub fn budget(message: impl ToString, advice: impl ToString) -> Error {
        Error::Budget(Detail { advice: Some(advice.to_string()), ..Detail::new(message) }.about(Setting::Memory))
    }

    /// Constants of an IR file that are nowhere.
    pub(crate) fn constants(message: impl ToString, file: &Path) -> Error {
        Error::Input(Detail::new(message).about(Setting::Constants).in_file(file))
    }

    /// A file that cannot be read.
    pub fn read(path: &Path, source: std::io::Error) -> Error {
        Error::io(format!("cannot read {}", path.display()), source).in_file(path)
    }

    /// A file that cannot be written.
    pub fn write(path: &Path, source: std::io::Error) -> Error {
        Error::io(format!("cannot write {}", path.display()), source).in_file(path)
    }

    /// Something else that the operating system refuses; `context` says what was done.
    pub fn io(context: impl fmt::Display, source: std::io::Error) -> Error {
        Error::Io(Detail { message: format!("{context}: {source}"), source: Some(Box::new(source)), ..Detail::default() })
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl ToString) -> Error {
        self.detail_mut().advice = Some(advice.to_string());
        self
    }

    /// The same, with what can be set otherwise.
    #[must_use]
    pub(crate) fn setting_to(mut self, setting: Setting) -> Error {
        self.detail_mut().setting = Some(setting);
        self
    }

    /// The class of the failure.
    pub fn class(&self) -> Class {
        match self {
            Error::Input(_) => Class::Input,
            Error::Security(_) => Class::Security,
            Error::Mismatch(_) => Class::Mismatch,
            Error::Damaged(_) => Class::Damaged,
            Error::Budget(_) => Class::Budget,
            Error::Io(_) => Class::Io,
            Error::Failed(_) => Class::Failed,
            Error::Cancelled(_) => Class::Cancelled,
            Error::Bug(_) => Class::Bug,
        }
    }

    /// What is known of it.
    pub fn detail(&self) -> &Detail {
        match self {
            Error::Input(d)
            | Error::Security(d)
            | Error::Mismatch(d)
            | Error::Damaged(d)
            | Error::Budget(d)
            | Error::Io(d)
            | Error::Failed(d)
            | Error::Cancelled(d)
            | Error::Bug(d) => d,
        }
    }

    /// The ONNX node at fault, if it is known.
    pub fn node(&self) -> Option<&str> {
        self.detail().node.as_deref()
    }

    /// The file at fault, if it is known.
    pub fn file(&self) -> Option<&Path> {
        self.detail().file.as_deref()
    }

    /// What to do about it, where the message does not say it.
    pub fn advice(&self) -> Option<&str> {
        self.detail().advice.as_deref()
    }

    /// What can be set otherwise, where it is one thing.
    pub fn setting(&self) -> Option<Setting> {
        self.detail().setting
    }

    fn detail_mut(&mut self) -> &mut Detail {
        match self {
            Error::Input(d)
            | Error::Security(d)
            | Error::Mismatch(d)
            | Error::Damaged(d)
            | Error::Budget(d)
            | Error::Io(d)
            | Error::Failed(d)
            | Error::Cancelled(d)
            | Error::Bug(d) => d,
        }
    }

    fn in_file(mut self, file: &Path) -> Error {
        self.detail_mut().file = Some(file.into());
        self
    }
}

impl From<FrontendError> for Error {
    fn from(e: FrontendError) -> Error {
        let (class, file, node): (fn(Detail) -> Error, _, _) = match &e {
            FrontendError::Read { file, .. } => (Error::Io, file.clone(), String::new()),
            FrontendError::Obstacles { file, obstacles } => {
                let node = if let [one] = &obstacles[..] { one.nodes.first().cloned() } else { None };
                (Error::Input, file.clone(), node.unwrap_or_default())
            }
            FrontendError::Format { file, .. }
            | FrontendError::Model { file, .. }
            | FrontendError::Verify { file, .. }
            | FrontendError::Reference { file, .. } => (Error::Input, file.clone(), String::new()),
        };
        let open = matches!(&e, FrontendError::Obstacles { obstacles, .. } if obstacles.iter().any(|o| o.open_extents));
        let setting = open.then_some(Setting::InputShape);
        class(Detail { setting, ..Detail::of(e) }.in_file(file).at_node(&node))
    }
}

impl From<PassError> for Error {
    fn from(e: PassError) -> Error {
        let node = e.node().unwrap_or_default().to_string();
        let setting = match &e {
            PassError::Setting { setting, .. } => Some(match setting {
                passes::Setting::Memory => Setting::Memory,
                passes::Setting::Calibration => Setting::Calibration,
            }),
            PassError::Insecure { .. } => Some(Setting::AllowInsecure),
            _ => None,
        };
        let class: fn(Detail) -> Error = match &e {
            PassError::Setting { setting: passes::Setting::Memory, .. } => Error::Budget,
            PassError::Setting { .. } | PassError::User { .. } | PassError::Clear { .. } => Error::Input,
            PassError::Capacity { .. } => Error::Budget,
            PassError::Insecure { .. } => Error::Security,
            PassError::Stopped { .. } => Error::Cancelled,
            PassError::Bug { .. } => Error::Bug,
        };
        class(Detail { setting, ..Detail::of(e) }.at_node(&node))
    }
}

impl From<ContainerError> for Error {
    fn from(e: ContainerError) -> Error {
        let (class, file): (fn(Detail) -> Error, _) = match &e {
            ContainerError::Io { path, .. } => (Error::Io, path.clone()),
            ContainerError::Content { path, .. } => (Error::Damaged, path.clone()),
            ContainerError::Kind { path, .. } => (Error::Mismatch, path.clone()),
        };
        class(Detail::of(e).in_file(file))
    }
}

impl From<JournalError> for Error {
    fn from(e: JournalError) -> Error {
        RuntimeError::from(e).into()
    }
}

impl From<RuntimeError> for Error {
    fn from(e: RuntimeError) -> Error {
        match e {
            RuntimeError::Container(e) => e.into(),
            RuntimeError::Params(ref p) if matches!(p, ParamsError::Insecure(_)) => {
                Error::Security(Detail::of(e).about(Setting::AllowInsecure))
            }
            RuntimeError::Params(_) => Error::Damaged(Detail::of(e)),
            RuntimeError::Insecure => Error::Security(Detail::of(e).about(Setting::AllowInsecure)),
            RuntimeError::Mismatch(_) => Error::Mismatch(Detail::of(e)),
            RuntimeError::Input(_) => Error::Input(Detail::of(e)),
            RuntimeError::Execution { ref node, .. } => {
                let node = node.clone();
                Error::Failed(Detail::of(e).at_node(&node))
            }
            RuntimeError::Engine(EngineError::Isa(_)) => Error::Input(Detail::of(e)),
            RuntimeError::Cancelled { .. } | RuntimeError::NoKeys => Error::Cancelled(Detail::of(e)),
            RuntimeError::Engine(_) | RuntimeError::Unfinished { .. } | RuntimeError::Failed | RuntimeError::Randomness(_) => {
                Error::Failed(Detail::of(e))
            }
        }
    }
}

impl From<DataError> for Error {
    fn from(e: DataError) -> Error {
        let file = e.path.clone();
        let setting = match &e.problem {
            Problem::NoNormalisation => Some(Setting::Normalisation),
            Problem::Count { .. } | Problem::Memory { .. } => Some(Setting::Count),
            _ => None,
        };
        let class: fn(Detail) -> Error = match &e.problem {
            Problem::Io(_) => Error::Io,
            Problem::Length { .. } | Problem::Format { .. } => Error::Damaged,
            Problem::Memory { .. } => Error::Budget,
            _ => Error::Input,
        };
        class(Detail { setting, ..Detail::of(e) }.in_file(file))
    }
}

impl From<NormalisationError> for Error {
    fn from(e: NormalisationError) -> Error {
        Error::Input(Detail::of(e))
    }
}

impl From<InterpError> for Error {
    fn from(e: InterpError) -> Error {
        Error::Input(Detail::of(e))
    }
}
