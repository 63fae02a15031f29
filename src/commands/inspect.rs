//! `chiffre inspect`.

use super::not_wired;
use crate::Error;
use crate::cli::InspectArgs;

/// Prints a program's summary or one of its IRs.
pub(super) fn inspect(_args: &InspectArgs) -> Result<(), Error> {
    Err(not_wired("inspect"))
}
