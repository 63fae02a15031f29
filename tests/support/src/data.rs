//! Where the data of tests is, and which tests were asked for.

use crate::skip::skip;
use std::path::{Path, PathBuf};

/// The folder of the checkout.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A file or folder of `../shared`, the folder with real networks and images beside the checkout
/// (`models/`, `data/`).
///
/// Returns `None` where it is missing, after recording that the calling test was skipped.
///
/// # Panics
/// If it is missing although `CHIFFRE_EXPECT_SHARED=1` promises it. `.ci/run` sets this where there
/// is a folder `../shared`.
#[track_caller]
pub fn shared(path: &str) -> Option<PathBuf> {
    let expected = is_set("CHIFFRE_EXPECT_SHARED");
    match find(&repository().join("../shared"), path, expected) {
        Ok(found) => Some(found),
        Err(message) if expected => panic!("{message}"),
        Err(message) => {
            skip(&message);
            None
        }
    }
}

/// The file below `folder`, or what is missing.
fn find(folder: &Path, path: &str, expected: bool) -> Result<PathBuf, String> {
    let file = folder.join(path);
    if file.exists() {
        return Ok(file);
    }
    let promised = if expected { ", but CHIFFRE_EXPECT_SHARED=1 promises it" } else { "" };
    Err(format!("there is no ../shared/{path} beside the checkout{promised}"))
}

/// Whether tests that take minutes were asked for with `CHIFFRE_SLOW=1`; `cost` says what one
/// takes. Where they were not, the calling test is recorded as skipped.
#[track_caller]
pub fn slow(cost: &str) -> bool {
    let on = is_set("CHIFFRE_SLOW");
    if !on {
        skip(&format!("takes {cost}; set CHIFFRE_SLOW=1"));
    }
    on
}

fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|v| v == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_the_root_of_the_workspace() {
        let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn missing_data_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(find(folder.path(), "models", false), Err("there is no ../shared/models beside the checkout".into()));
        assert!(find(folder.path(), "models", true).is_err_and(|m| m.ends_with("CHIFFRE_EXPECT_SHARED=1 promises it")));
        std::fs::create_dir(folder.path().join("models")).expect("a folder");
        assert_eq!(find(folder.path(), "models", true), Ok(folder.path().join("models")));
    }
}
