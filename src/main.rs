//! The `chiffre` command.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    chiffre::commands::main(chiffre::cli::Cli::parse())
}
