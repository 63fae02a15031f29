//! `chiffre keygen`.

use super::not_wired;
use crate::Error;
use crate::cli::KeygenArgs;

/// Writes the secret key and the evaluation keys.
pub(super) fn keygen(_args: &KeygenArgs) -> Result<(), Error> {
    Err(not_wired("keygen"))
}
