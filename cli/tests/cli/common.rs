//! The command in a folder of its own, and what it must say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A shipped model or data file.
pub fn shipped(file: &str) -> PathBuf {
    root().join("models").join(file)
}

/// The command with arguments, to be started in a folder.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_chiffre"));
    c.args(arguments).current_dir(folder).env_remove("CHIFFRE_LOG");
    c
}

/// What the command does.
pub fn chiffre(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("chiffre starts")
}

/// What the command prints; it must succeed.
pub fn ok(folder: &Path, arguments: &[&str]) -> String {
    String::from_utf8(succeeds(folder, arguments).stdout).expect("text")
}

/// What the command does; it must succeed.
pub fn succeeds(folder: &Path, arguments: &[&str]) -> Output {
    let mut c = command(folder, arguments);
    let out = c.output().expect("chiffre starts");
    assert!(out.status.success(), "{c:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

/// The error of a command that must end with a code.
pub fn fails(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let mut c = command(folder, arguments);
    let out = c.output().expect("chiffre starts");
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(code), "{c:?}: {error}");
    error
}

/// The command must refuse its input, with a message that says so.
pub fn refused(folder: &Path, arguments: &[&str], message: &str) {
    let error = fails(folder, 2, arguments);
    assert!(error.contains(message), "{error}");
}
