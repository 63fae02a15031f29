//! `chiffre bench`.

use super::not_wired;
use crate::Error;
use crate::cli::BenchArgs;

/// Runs everything in one process and reports times, memory and agreement.
pub(super) fn bench(_args: &BenchArgs) -> Result<(), Error> {
    Err(not_wired("bench"))
}
