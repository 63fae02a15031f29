//! The `chiffre` command.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    chiffre_cli::commands::main(chiffre_cli::args::Cli::parse())
}
