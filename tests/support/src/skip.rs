//! The list of skipped tests: one line for each, in the file `skipped-tests.txt` of the target
//! folder.

use std::io::Write;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// Records that the calling test returns without testing anything, and why. `.ci/run` lists and
/// counts these lines.
#[track_caller]
pub fn skip(reason: &str) {
    let place = Location::caller();
    // The test runner names a test's thread after the test, unless it runs all tests on the main
    // thread.
    let test = std::thread::current().name().unwrap_or("unknown").to_owned();
    let line = format!("{test} ({}:{}): {reason}", place.file(), place.line());
    println!("skipped: {line}");
    let target = std::env::current_exe().ok().and_then(|e| target_folder(&e));
    let Some(target) = target else { return };
    if let Err(error) = record(&target.join("skipped-tests.txt"), &line) {
        panic!("{}: {error}", target.display());
    }
}

/// The target folder of a test that cargo has built: `target/PROFILE/deps/TEST`, also with a target
/// triple between.
fn target_folder(test: &Path) -> Option<PathBuf> {
    let deps = test.ancestors().find(|a| a.file_name().is_some_and(|n| n == "deps"))?;
    Some(deps.parent()?.parent()?.to_path_buf())
}

/// Appends a line in one write, because several tests record at once.
fn record(file: &Path, line: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("skipped-tests.txt");
        record(&file, "a").expect("recorded");
        record(&file, "b").expect("recorded");
        assert_eq!(std::fs::read_to_string(file).expect("the list"), "a\nb\n");
    }

    #[test]
    fn the_list_is_in_the_target_folder() {
        assert_eq!(target_folder(Path::new("/w/target/debug/deps/cli-0123")), Some("/w/target".into()));
        assert_eq!(target_folder(Path::new("/tmp/rustdoctest/rust_out")), None);
    }
}
