//! Files that are read.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a regular file, or a link to one. Opening a pipe would wait for somebody who writes to it,
/// and most readers go back and forth.
///
/// # Errors
/// I/O errors; anything else than a file, and says what to do.
pub fn open(path: &Path) -> io::Result<File> {
    check(path)?;
    File::open(path)
}

/// All of a regular file, as [`open`].
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    check(path)?;
    std::fs::read(path)
}

/// All of a regular file that is text, as [`open`].
///
/// # Errors
/// As [`open`]; a file that is no UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    check(path)?;
    std::fs::read_to_string(path)
}

fn check(path: &Path) -> io::Result<()> {
    let meta = std::fs::metadata(path)?;
    let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    match () {
        () if meta.is_file() => Ok(()),
        () if meta.is_dir() => refuse("it is a folder, not a file"),
        () => refuse("it is a pipe or a device, not a file: copy what it holds into a file first"),
    }
}

/// The permissions of a file that others than its owner may read, where there are such; `None` if
/// it is its owner's alone, or cannot be looked at.
#[cfg(unix)]
pub fn shared_mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}
#[cfg(not(unix))]
pub fn shared_mode(_: &Path) -> Option<u32> {
    None
}

/// What is wrong with the file of a secret that others than its owner may read. What cannot be
/// looked at cannot be read either, and is left to the reader to name.
pub fn not_private(path: &Path) -> Option<String> {
    shared_mode(path).map(|mode| {
        format!(
            "{} is a secret that others may read (mode {mode:o}): make it yours alone (chmod 600), and keys anew if somebody may have read it",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let tmp = tempfile::tempdir().unwrap();
        let (file, pipe, link) = (tmp.path().join("file"), tmp.path().join("pipe"), tmp.path().join("link"));
        std::fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!((read_to_string(&file).unwrap(), read(&link).unwrap()), ("text".into(), b"text".to_vec()));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, message) in [(pipe.as_path(), "a pipe or a device"), (Path::new("/dev/zero"), "a pipe"), (tmp.path(), "a folder")] {
            let e = open(path).unwrap_err();
            assert!(e.kind() == io::ErrorKind::InvalidInput && e.to_string().contains(message), "{e}");
            assert!(read(path).is_err() && read_to_string(path).is_err());
        }
        assert_eq!(open(&tmp.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
