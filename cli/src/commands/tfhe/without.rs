//! What commands that need the engine say in a build without it.

use crate::args::{BenchArgs, DecryptArgs, EncryptArgs, KeygenArgs, RunArgs};
use chiffre::Error;
use chiffre_runtime::Engine;
use std::sync::Arc;

fn no_engine() -> Result<(), Error> {
    Err(Error::input(
        "this build has no engine for tfhe programs, which links a library under another licence (NOTICE): build chiffre with `cargo build \
         --release --features tfhe`. Without it, such programs are compiled, inspected, and run in the clear by simulate and interp",
    ))
}

pub(in crate::commands) fn keygen(_: &KeygenArgs) -> Result<(), Error> {
    no_engine()
}

pub(in crate::commands) fn encrypt(_: &EncryptArgs) -> Result<(), Error> {
    no_engine()
}

pub(in crate::commands) fn run(_: &RunArgs) -> Result<(), Error> {
    no_engine()
}

pub(in crate::commands) fn decrypt(_: &DecryptArgs) -> Result<(), Error> {
    no_engine()
}

pub(in crate::commands) fn bench(_: &BenchArgs, _: &Arc<Engine>) -> Result<(), Error> {
    no_engine()
}
