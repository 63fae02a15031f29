//! Bytes as files, as they are and with a right digest: an error, never a panic or an allocation
//! beyond the size of the file.
#![no_main]

use chiffre_testing::Sealed;
use std::collections::BTreeSet;
use std::path::Path;

fn load(path: &Path) {
    let _ = chiffre_ir::program::file::load(path);
    let _ = chiffre_ir::const_file::load(path, &BTreeSet::new());
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join("file.chf");
    if std::fs::write(&path, bytes).is_ok() {
        load(&path);
    }
    if Sealed::parse(bytes).is_some_and(|sealed| sealed.try_write(&path).is_ok()) {
        load(&path);
    }
});
