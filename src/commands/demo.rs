//! `chiffre demo`.

use super::not_wired;
use crate::Error;
use crate::cli::DemoArgs;

/// Runs everything on a shipped model and checks the answers.
pub(super) fn demo(_args: &DemoArgs) -> Result<(), Error> {
    Err(not_wired("demo"))
}
