//! `chiffre encrypt` and `chiffre decrypt`: the data owner's side.

use super::not_wired;
use crate::Error;
use crate::cli::{DecryptArgs, EncryptArgs};

/// Encrypts images.
pub(super) fn encrypt(_args: &EncryptArgs) -> Result<(), Error> {
    Err(not_wired("encrypt"))
}

/// Decrypts logits and writes them.
pub(super) fn decrypt(_args: &DecryptArgs) -> Result<(), Error> {
    Err(not_wired("decrypt"))
}
