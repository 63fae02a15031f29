//! `chiffre run`: the server's side.

use super::not_wired;
use crate::Error;
use crate::cli::RunArgs;

/// Runs a program on encrypted images.
pub(super) fn run(_args: &RunArgs) -> Result<(), Error> {
    Err(not_wired("run"))
}
