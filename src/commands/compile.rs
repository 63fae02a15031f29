//! `chiffre compile` and `chiffre passes`.

use super::not_wired;
use crate::Error;
use crate::cli::{CompileArgs, PassesArgs};

/// Compiles a model and writes the program.
pub(super) fn compile(_args: &CompileArgs) -> Result<(), Error> {
    Err(not_wired("compile"))
}

/// Lists the passes, or describes one.
pub(super) fn passes(_args: &PassesArgs) -> Result<(), Error> {
    Err(not_wired("passes"))
}
