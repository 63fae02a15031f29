//! `chiffre simulate`.

use super::not_wired;
use crate::Error;
use crate::cli::SimulateArgs;

/// Runs a program in the clear, with the noise model.
pub(super) fn simulate(_args: &SimulateArgs) -> Result<(), Error> {
    Err(not_wired("simulate"))
}
