//! What commands that need an engine say.

use crate::args::{BenchArgs, DecryptArgs, EncryptArgs, KeygenArgs, RunArgs};
use chiffre::Error;

fn no_engine() -> Result<(), Error> {
    Err(Error::input("there is no engine for tfhe programs yet: they are compiled, inspected, and run in the clear by simulate and interp"))
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

pub(in crate::commands) fn bench(_: &BenchArgs) -> Result<(), Error> {
    no_engine()
}
