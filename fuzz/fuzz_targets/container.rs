//! Bytes as files: an error, never a panic or an allocation beyond the size of the file.
#![no_main]

use std::collections::BTreeSet;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = tempfile::NamedTempFile::new() else { return };
    if std::fs::write(file.path(), bytes).is_ok() {
        let _ = chiffre_ir::program::file::load(file.path());
        let _ = chiffre_ir::const_file::load(file.path(), &BTreeSet::new());
    }
});
