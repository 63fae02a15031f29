//! Files that appear complete or not at all.

use crate::container::ContainerError;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::NamedTempFile;

/// Bytes of the buffer in front of a file.
const BUFFER: usize = 1 << 20;
/// What unfinished files end with: `NAME.` six random characters and this.
pub const UNFINISHED: &str = ".partial";

/// Unfinished files of this process, for its end at a signal.
static UNFINISHED_FILES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished_files() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all unfinished files of this process, right before its end: for signals, at which
/// nothing is dropped. No file takes its name any more, and who writes one waits for ever.
pub fn abandon() {
    let files = unfinished_files();
    for file in files.iter() {
        // One that cannot be removed stays.
        let _ = std::fs::remove_file(file);
    }
    // No other thread begins or completes a file from now on.
    std::mem::forget(files);
}

/// A file that takes its name when it is complete. Until then it has a random name beside it, which
/// nobody else has and which is gone when this value is, or at [`abandon`].
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    listed: Listed,
}

/// An entry in the list of unfinished files.
#[derive(Debug)]
struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        unfinished_files().remove(&self.0);
    }
}

impl Output {
    /// Begins a file that takes the name `path`, and that only its owner can read: secrets,
    /// answers, and what belongs to them.
    ///
    /// # Errors
    /// I/O errors; a path without a name, or that of a device or a pipe.
    pub fn create(path: &Path) -> io::Result<Output> {
        Output::with_mode(path, 0o600)
    }

    #[cfg_attr(not(unix), allow(unused_variables))]
    fn with_mode(path: &Path, mode: u32) -> io::Result<Output> {
        if is_special(path) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it does not name a file"))?;
        let mut prefix = name.to_os_string();
        prefix.push(".");
        // Created with O_EXCL: neither a link nor a file of somebody else is opened.
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(UNFINISHED);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
        // In one piece, so that no file is beside the list.
        let mut files = unfinished_files();
        let file = builder.tempfile_in(folder(path))?;
        files.insert(file.path().into());
        let listed = Listed(file.path().into());
        Ok(Output { path: path.into(), file: BufWriter::with_capacity(BUFFER, file), listed })
    }

    /// Writes a whole file of which nothing is secret; to a device or a pipe, if it is one.
    ///
    /// # Errors
    /// I/O errors; the old file, if there is one, is then still there.
    pub fn publish(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        if is_special(path) {
            return std::fs::write(path, bytes);
        }
        let mut o = Output::with_mode(path, 0o666)?;
        o.write_all(bytes.as_ref())?;
        o.finish()
    }

    /// Gives the file its name, in place of an older file, when all of it is on the disk.
    ///
    /// # Errors
    /// I/O errors; the old file, if there is one, is then still there.
    pub fn finish(self) -> io::Result<()> {
        let path = self.path.clone();
        let (file, _listed) = self.complete()?;
        file.persist(&path).map_err(|e| e.error)?;
        sync_folder(&path)
    }

    /// As [`Self::finish`], but where nothing may have the name.
    ///
    /// # Errors
    /// I/O errors; `AlreadyExists` if there is such a file, a link, or a folder.
    pub fn finish_new(self) -> io::Result<()> {
        let path = self.path.clone();
        let (file, _listed) = self.complete()?;
        file.persist_noclobber(&path).map_err(|e| e.error)?;
        sync_folder(&path)
    }

    /// Gives files that belong together their names, in place of older files, when all of them are
    /// on the disk. Of processes that do so at the same time, one leaves all of its files: folders
    /// are locked meanwhile, where the file system has locks.
    ///
    /// # Errors
    /// I/O errors; files behind the one at fault are then still the old ones.
    pub fn finish_together(outputs: impl IntoIterator<Item = Output>) -> Result<(), ContainerError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ContainerError::Io { path, source }
        };
        let mut complete = Vec::new();
        // In one order everywhere, so that nobody waits for somebody who waits.
        let mut folders = BTreeSet::new();
        for output in outputs {
            let path = output.path.clone();
            folders.insert(folder(&path).canonicalize().map_err(at(&path))?);
            complete.push((output.complete().map_err(at(&path))?, path));
        }
        let _locked: Vec<File> = folders.iter().filter_map(|f| lock(f)).collect();
        for ((file, _listed), path) in complete {
            file.persist(&path).map_err(|e| e.error).and_then(|_| sync_folder(&path)).map_err(at(&path))?;
        }
        Ok(())
    }

    fn complete(self) -> io::Result<(NamedTempFile, Listed)> {
        let file = self.file.into_inner().map_err(|e| e.into_error())?;
        file.as_file().sync_all()?;
        Ok((file, self.listed))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Output {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// True for what is there and neither a file nor a folder.
fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// What an unfinished file of this name wants to become, if it is one.
pub fn unfinished(name: &str) -> Option<&str> {
    let (base, random) = name.strip_suffix(UNFINISHED)?.rsplit_once('.')?;
    (random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(base)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Waits until nobody else has locked the folder, and locks it until the file is dropped. Only Unix
/// opens folders as files, and some network file systems lock none: then nothing is locked.
fn lock(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.lock().ok().map(|()| file)
}

/// Makes a change of the folder last. Only Unix opens folders as files.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder(path))?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut all: Vec<String> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn nothing_is_left_of_an_unfinished_file() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a.key");
        std::fs::write(&path, "old").unwrap();
        let mut o = Output::create(&path).unwrap();
        o.write_all(b"new").unwrap();
        o.flush().unwrap();
        let unnamed = names(tmp.path()).into_iter().find(|n| n != "a.key").unwrap();
        assert_eq!(unfinished(&unnamed), Some("a.key"), "{unnamed}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        drop(o);
        assert_eq!(names(tmp.path()), ["a.key"]);
        Output::publish(&path, "new").unwrap();
        assert_eq!((names(tmp.path()), std::fs::read(&path).unwrap()), (vec!["a.key".to_string()], b"new".to_vec()));
        assert!(Output::create(Path::new("/")).is_err() && Output::create(&tmp.path().join("no/folder")).is_err());
        for other in ["a.key", "a.key.partial", "a.key.12345.partial", "a.key.1234-6.partial", ".partial"] {
            assert_eq!(unfinished(other), None, "{other}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_that_belong_together_come_from_one_writer() {
        let tmp = tempfile::tempdir().unwrap();
        let paths = ["a", "a.receipt"].map(|name| tmp.path().join(name));
        let start = std::sync::Barrier::new(2);
        let write = |text: &str| {
            let made = paths.each_ref().map(|path| {
                let mut o = Output::create(path).unwrap();
                o.write_all(text.as_bytes()).unwrap();
                o
            });
            start.wait();
            Output::finish_together(made).unwrap();
        };
        for round in 0..50 {
            std::thread::scope(|s| {
                for writer in ["one", "two"] {
                    s.spawn(move || write(writer));
                }
            });
            let [a, b] = paths.each_ref().map(|path| std::fs::read_to_string(path).unwrap());
            assert_eq!(a, b, "round {round}");
        }
        assert_eq!(names(tmp.path()), ["a", "a.receipt"]);
    }

    #[cfg(unix)]
    #[test]
    fn the_owner_alone_reads_it_and_links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let tmp = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (tmp.path().join("secret.key"), tmp.path().join("elsewhere"));
        std::fs::write(&elsewhere, "theirs").unwrap();
        std::fs::set_permissions(&elsewhere, std::fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&elsewhere, &path).unwrap();
        // The link is replaced; what it leads to stays.
        let mut o = Output::create(&path).unwrap();
        o.write_all(b"ours").unwrap();
        o.finish().unwrap();
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"theirs");
        let meta = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((meta.permissions().mode() & 0o777, meta.is_file()), (0o600, true));
        let new = |path: &Path| Output::create(path).unwrap().finish_new();
        assert_eq!(new(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let dangling = tmp.path().join("dangling");
        symlink(tmp.path().join("nowhere"), &dangling).unwrap();
        assert_eq!(new(&dangling).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!tmp.path().join("nowhere").exists());
        assert_eq!(names(tmp.path()), ["dangling", "elsewhere", "secret.key"]);
        Output::publish(Path::new("/dev/null"), "gone").unwrap();
        assert!(Output::create(Path::new("/dev/null")).is_err() && is_special(Path::new("/dev/null")));
    }
}
