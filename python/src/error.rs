//! Failures as the classes of `chiffre/_errors.py`.

use chiffre::{Class, Error, Setting};
use chiffre_frontend::FrontendError;
use chiffre_ir::journal::JournalError;
use chiffre_passes::error::PassError;
use chiffre_runtime::RuntimeError;
use pyo3::exceptions::{PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ffi::CString;

/// What ends a computation: a failure of the library, or an exception of a callback.
pub(crate) enum Failure {
    /// Of the library.
    Library(Error),
    /// Of Python.
    Python(PyErr),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::Library(e)
    }
}

impl From<JournalError> for Failure {
    fn from(e: JournalError) -> Failure {
        Failure::Library(e.into())
    }
}

impl From<RuntimeError> for Failure {
    fn from(e: RuntimeError) -> Failure {
        Failure::Library(e.into())
    }
}

impl From<FrontendError> for Failure {
    fn from(e: FrontendError) -> Failure {
        Failure::Library(e.into())
    }
}

impl From<PyErr> for Failure {
    fn from(e: PyErr) -> Failure {
        Failure::Python(e)
    }
}

impl Failure {
    /// The exception.
    pub(crate) fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Failure::Python(e) => e,
            Failure::Library(e) => raise(py, &e),
        }
    }
}

/// The parameter of this package that changes a setting of the library.
fn parameter(setting: Setting) -> Option<&'static str> {
    Some(match setting {
        Setting::Memory => "memory=, batch=",
        Setting::Calibration => "calibrate=",
        Setting::AllowInsecure => "allow_insecure=",
        Setting::Normalisation => "normalisation=",
        Setting::InputShape => "input_shape=",
        Setting::LeaveOut => "absurd=\"leave_out\"",
        _ => return None,
    })
}

/// Which class of Python a failure is.
fn class(e: &Error) -> &'static str {
    let source = std::error::Error::source(e.detail());
    let of_model = source.is_some_and(|s| s.is::<FrontendError>() || s.downcast_ref::<PassError>().is_some_and(|p| p.node().is_some()));
    match e.class() {
        Class::Input if of_model => "ModelError",
        Class::Input => "InputError",
        Class::Security => "SecurityError",
        Class::Mismatch => "MismatchError",
        Class::Damaged => "DamagedFile",
        Class::Budget => "BudgetError",
        Class::Io => "FileError",
        Class::Bug => "Bug",
        // `Failed`, `Cancelled`, and classes that are not known yet.
        _ => "RunFailed",
    }
}

/// An exception of a class, with what is known of it.
fn exception(py: Python<'_>, class: &str, message: &str, fields: &Bound<'_, PyDict>) -> PyErr {
    let made = || py.import("chiffre._errors")?.getattr(class)?.call((message,), Some(fields));
    made().map_or_else(|e| e, PyErr::from_value)
}

fn raise(py: Python<'_>, e: &Error) -> PyErr {
    let made = || {
        let fields = PyDict::new(py);
        let source = std::error::Error::source(e.detail()).and_then(|s| s.downcast_ref::<FrontendError>());
        let obstacles = match source {
            Some(FrontendError::Obstacles { obstacles, .. }) => &obstacles[..],
            _ => &[],
        };
        let first = obstacles.first();
        fields.set_item("node", e.node().or_else(|| first?.nodes.first().map(String::as_str)))?;
        fields.set_item("operator", first.map(|o| o.op.as_str()).filter(|op| !op.is_empty()))?;
        fields.set_item("file", e.file().map(|f| f.display().to_string()))?;
        fields.set_item("advice", e.advice().or_else(|| first.map(|o| o.reason.as_str())))?;
        let parameter = e.setting().and_then(parameter);
        fields.set_item("parameter", parameter)?;
        let message = format!("{e}{}", parameter.map(|p| format!(" ({p})")).unwrap_or_default());
        let raised = exception(py, class(e), &message, &fields);
        if !obstacles.is_empty() {
            let one = py.import("chiffre._errors")?.getattr("Obstacle")?;
            let list = obstacles.iter().map(|o| one.call1((&o.op, &o.nodes, &o.reason))).collect::<PyResult<Vec<_>>>()?;
            raised.value(py).setattr("obstacles", list)?;
        }
        Ok(raised)
    };
    made().unwrap_or_else(|e: PyErr| e)
}

/// A `chiffre.Bug`.
pub(crate) fn bug(py: Python<'_>, text: &str) -> PyErr {
    let message = format!("the call broke off: {text}. This is a bug of Chiffre: please report it with this line and the call");
    exception(py, "Bug", &message, &PyDict::new(py))
}

/// A `chiffre.InputError`.
pub(crate) fn input(py: Python<'_>, message: &str) -> PyErr {
    exception(py, "InputError", message, &PyDict::new(py))
}

/// What a forked process gets.
pub(crate) fn forked() -> PyErr {
    let message = "this process was forked from one that had computed with Chiffre, whose threads do not survive a fork: start processes by \
                   spawning them (multiprocessing.set_start_method(\"spawn\")), or fork before the first call";
    Python::attach(|py| exception(py, "RunFailed", message, &PyDict::new(py)))
}

/// What pickling something secret gets.
pub(crate) fn unpicklable(what: &str, how: &str) -> PyErr {
    PyTypeError::new_err(format!("{what} is not pickled: {how}"))
}

/// A `UserWarning` at the caller's line.
pub(crate) fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    let text = CString::new(text.replace('\0', " ")).map_err(internal)?;
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)
}

/// What only a fault of this module raises.
pub(crate) fn internal(e: impl std::fmt::Display) -> PyErr {
    Python::attach(|py| bug(py, &e.to_string()))
}
