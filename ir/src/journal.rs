//! A journal of a run: what an interrupted run needs to go on, in a folder beside its output.
//!
//! A run is a fixed list of steps; between two steps some values are live. [`Journal::commit`]
//! stores the live values, each in a file of its own, and then a manifest that names the next step,
//! these files and their digests. Values never change once computed, so a commit writes only those
//! that are not there yet.
//!
//! **Invariants**:
//! * The manifest takes its name in one rename, after all files it names are on disk; files go only
//!   when no manifest names them. A run that ends at any moment leaves the state before or after a
//!   commit.
//! * A journal of another run is refused and left alone. A damaged one is dropped with a warning,
//!   never used in part.
//! * Loaded values have the shapes that the program's step has, and are what their [`Codec`]
//!   allows.
//! * Nothing here is secret from the server: ciphertexts, digests and names of keys.

use crate::container::{ContainerError, Dtype, Reader, Writer};
use crate::output::unfinished;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(test)]
mod tests;

const MANIFEST_KIND: &str = "run-manifest";
const VALUE_KIND: &str = "run-value";
const MANIFEST: &str = "manifest.chf";
const LOCK: &str = "lock";
/// A look at a lock takes less than this.
const LOOK: Duration = Duration::from_millis(20);
/// How often a folder may vanish while it is opened.
const MOST_TRIES: usize = 100;
/// Prefix of the binding's entries in the metadata of files.
const BOUND: &str = "bound.";

/// What a journal stores: the values of one kind of run, as tensors of words.
pub trait Codec {
    /// A value, or a block of one.
    type Value;
    /// What values are checked against.
    type Context: ?Sized;
    /// What a value of a certain step looks like.
    type Shape: Copy;

    /// Shapes of a value's tensors.
    fn tensors(value: &Self::Value) -> Vec<Vec<usize>>;
    /// Words of one of its tensors, little-endian.
    fn bytes(value: &Self::Value, tensor: usize) -> Vec<u8>;
    /// Reads the tensors `name(0)`, `name(1)`, … of a file.
    ///
    /// # Errors
    /// Tensors of another number or shape; words that no value of the run has.
    fn read(
        r: &mut Reader,
        context: &Self::Context,
        shape: Self::Shape,
        name: impl Fn(usize) -> String,
    ) -> Result<Self::Value, ContainerError>;
}

/// Why a journal cannot be used or kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Files that cannot be read or written.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The folder holds another run.
    #[error("{0}")]
    Mismatch(String),
    /// The folder is in use, or is none of a journal.
    #[error("{0}")]
    Input(String),
}

/// A value and a block of it.
pub type Key = (usize, usize);

/// What each live value looks like.
pub type Shapes<C> = BTreeMap<Key, <C as Codec>::Shape>;

/// Where an interrupted run goes on.
pub struct Resume<C: Codec> {
    /// The next step.
    pub step: usize,
    /// The values that are live before it.
    pub values: BTreeMap<Key, C::Value>,
}

impl<C: Codec> std::fmt::Debug for Resume<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resume").field("step", &self.step).field("values", &self.values.keys()).finish()
    }
}

/// What [`Journal::open`] found.
#[derive(Debug)]
pub struct Opened<C: Codec> {
    /// The journal, ready for commits.
    pub journal: Journal<C>,
    /// Where to go on; `None` to start from the beginning.
    pub resume: Option<Resume<C>>,
    /// Why an earlier run's journal was dropped, for the user.
    pub warning: Option<String>,
}

/// The folder of a run in progress. Dropping it keeps what was committed.
pub struct Journal<C> {
    dir: PathBuf,
    binding: BTreeMap<String, String>,
    /// Held while the journal is open; the system releases it when the process ends.
    lock: File,
    /// Digests of the value files that are complete on disk.
    files: BTreeMap<Key, String>,
    gate: Gate,
    codec: PhantomData<fn() -> C>,
}

/// Asked before every change of a file, so that tests can stop or fail there.
type Gate = Box<dyn FnMut(&Path) -> io::Result<()> + Send>;

impl<C> std::fmt::Debug for Journal<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("dir", &self.dir).field("files", &self.files).finish_non_exhaustive()
    }
}

/// Why a journal gives no values.
enum Unusable {
    Damaged(String),
    Error(JournalError),
}

impl From<ContainerError> for Unusable {
    /// A file that is not what the manifest says, or not there, is damage; a disk that does not
    /// answer is an error.
    fn from(e: ContainerError) -> Unusable {
        match &e {
            ContainerError::Io { source, .. } if source.kind() != io::ErrorKind::NotFound => Unusable::Error(e.into()),
            _ => Unusable::Damaged(e.to_string()),
        }
    }
}

/// The folder of the run that writes `output`.
pub fn directory(output: &Path) -> PathBuf {
    let mut name = output.file_name().map(|n| n.to_os_string()).unwrap_or_default();
    name.push(".partial-run");
    output.with_file_name(name)
}

/// True if a run keeps its journal in this folder now. Where the file system has no locks, nobody
/// can tell.
pub fn is_held(dir: &Path) -> bool {
    File::open(dir.join(LOCK)).is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

impl<C: Codec> Journal<C> {
    /// Opens or makes the journal in `dir`.
    ///
    /// `binding` names everything that the steps and their values depend on: program, key, input.
    /// `live` gives the values that are live before a step, or `None` if the run has no such step.
    ///
    /// # Errors
    /// I/O errors; a folder that another process uses, that holds a run with another binding, or
    /// files that are no journal's.
    pub fn open(
        dir: &Path,
        context: &C::Context,
        binding: BTreeMap<String, String>,
        live: impl Fn(usize) -> Option<Shapes<C>>,
    ) -> Result<Opened<C>, JournalError> {
        Journal::open_with(dir, context, binding, live, Box::new(|_| Ok(())))
    }

    fn open_with(
        dir: &Path,
        context: &C::Context,
        binding: BTreeMap<String, String>,
        live: impl Fn(usize) -> Option<Shapes<C>>,
        mut gate: Gate,
    ) -> Result<Opened<C>, JournalError> {
        let mut tries = 0;
        let lock = loop {
            tries += 1;
            if tries > MOST_TRIES {
                return Err(JournalError::Input(format!("{} comes and goes: another run may be writing the same output", dir.display())));
            }
            match gate(dir).and_then(|()| std::fs::create_dir(dir)) {
                Ok(()) => sync(dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")), &mut gate)?,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(io_error(dir, e)),
            }
            // Before the lock is made: a folder that is not a journal's stays as it is.
            let list = match std::fs::read_dir(dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                _ => names(dir)?,
            };
            if let Some(name) = list.into_iter().find(|n| !ours(n) && !n.starts_with('.')) {
                let dir = dir.display();
                return Err(JournalError::Input(format!(
                    "{dir} holds `{name}`, which is not of an interrupted run: remove or rename the folder"
                )));
            }
            // If the run that held it has just ended, the folder may be gone, or about to go.
            if let Some(lock) = lock(dir, &mut gate)? {
                break lock;
            }
        };
        let mut journal = Journal { dir: dir.into(), binding, lock, files: BTreeMap::new(), gate, codec: PhantomData };
        let (resume, warning) = match journal.load(context, live) {
            Ok(resume) => (resume, None),
            Err(Unusable::Error(e)) => return Err(e),
            Err(Unusable::Damaged(reason)) => {
                journal.remove(MANIFEST)?;
                journal.files.clear();
                (None, Some(format!("starting from the beginning: the interrupted run in {} cannot be used: {reason}", dir.display())))
            }
        };
        journal.sweep(|name, files| name == MANIFEST || files.contains(name))?;
        Ok(Opened { journal, resume, warning })
    }

    /// Stores the values that are live before `step`. A value that was committed before is not
    /// looked at again.
    ///
    /// # Errors
    /// I/O errors. The state on disk is then that of the last commit, or (if only the final flush
    /// failed) that of this one; the run may go on and try again later.
    pub fn commit<'a>(&mut self, step: usize, live: impl IntoIterator<Item = (Key, &'a C::Value)>) -> Result<(), JournalError>
    where
        C::Value: 'a,
    {
        self.store(step, live)
    }

    /// Removes the journal; to be called when the output has its final name.
    ///
    /// # Errors
    /// I/O errors. What is left is not taken for an interrupted run if the manifest is gone.
    pub fn finish(mut self) -> Result<(), JournalError> {
        self.remove(MANIFEST)?;
        self.sync()?;
        self.sweep(|_, _| false)?;
        let Journal { dir, lock, mut gate, .. } = self;
        // While it is held, so that nobody else holds a file that then loses its name; only Unix
        // removes open files.
        let held = cfg!(unix).then_some(lock);
        remove(&dir.join(LOCK), &mut gate)?;
        drop(held);
        match gate(&dir).and_then(|()| std::fs::remove_dir(&dir)) {
            // Hidden files of the system or the user may stay.
            Err(e) if e.kind() != io::ErrorKind::DirectoryNotEmpty => Err(io_error(&dir, e)),
            _ => Ok(()),
        }
    }

    fn store<'a>(&mut self, step: usize, live: impl IntoIterator<Item = (Key, &'a C::Value)>) -> Result<(), JournalError>
    where
        C::Value: 'a,
    {
        let mut wanted = BTreeMap::new();
        let mut fresh = vec![];
        let named = (|| {
            for (key, value) in live {
                let digest = match self.files.get(&key) {
                    Some(digest) => digest.clone(),
                    None => {
                        fresh.push(key);
                        self.write_value(key, value)?
                    }
                };
                wanted.insert(key, digest);
            }
            self.sync()?;
            self.write_manifest(step, &wanted)
        })();
        if let Err(e) = named {
            // Best effort: a full disk gets its room back, and what stays is swept by the next
            // open.
            for key in fresh {
                let _ = self.remove(&value_name(key));
            }
            return Err(e);
        }
        // From here on the manifest is the new one. Until that is sure to last, the old one's files
        // stay.
        self.files.extend(wanted.clone());
        self.sync()?;
        self.files = wanted;
        // A file that cannot be removed does no harm: no manifest names it.
        let _ = self.sweep(|name, files| name == MANIFEST || files.contains(name));
        Ok(())
    }

    fn bound(&self) -> BTreeMap<String, String> {
        self.binding.iter().map(|(k, v)| (format!("{BOUND}{k}"), v.clone())).collect()
    }

    fn write_value(&mut self, key: Key, value: &C::Value) -> Result<String, JournalError> {
        let path = self.dir.join(value_name(key));
        let mut meta = self.bound();
        meta.extend([("value".to_string(), key.0.to_string()), ("block".to_string(), key.1.to_string())]);
        let list: Vec<_> = C::tensors(value).into_iter().enumerate().map(|(i, shape)| (tensor_name(i), Dtype::U64, shape)).collect();
        self.pass(&path)?;
        let mut w = Writer::create(&path, VALUE_KIND, meta, &list)?;
        for (i, (name, _, _)) in list.iter().enumerate() {
            self.pass(&path)?;
            w.tensor(name, &C::bytes(value, i))?;
        }
        self.pass(&path)?;
        Ok(w.finish()?)
    }

    fn write_manifest(&mut self, step: usize, files: &BTreeMap<Key, String>) -> Result<(), JournalError> {
        let path = self.dir.join(MANIFEST);
        let mut meta = self.bound();
        let values = files.iter().map(|((v, b), digest)| format!("{v} {b} {digest}")).collect::<Vec<_>>().join("\n");
        meta.extend([("step".to_string(), step.to_string()), ("values".to_string(), values)]);
        self.pass(&path)?;
        let w = Writer::create(&path, MANIFEST_KIND, meta, &[])?;
        self.pass(&path)?;
        w.finish()?;
        Ok(())
    }

    /// The committed state, if there is one; sets `files`.
    fn load(&mut self, context: &C::Context, live: impl Fn(usize) -> Option<Shapes<C>>) -> Result<Option<Resume<C>>, Unusable> {
        let path = self.dir.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let manifest = Reader::open(&path, MANIFEST_KIND)?;
        self.check_binding(&manifest)?;
        let bad = |what: &str| Unusable::Damaged(manifest.error(what).to_string());
        let step = manifest.meta("step")?.parse().map_err(|_| bad("bad step"))?;
        for line in manifest.meta("values")?.lines() {
            let mut words = line.split(' ');
            let mut number = || words.next().and_then(|w| w.parse().ok());
            let (Some(v), Some(b)) = (number(), number()) else { return Err(bad("bad list of values")) };
            let digest = words.next().ok_or_else(|| bad("bad list of values"))?;
            self.files.insert((v, b), digest.into());
        }
        let shapes = live(step).ok_or_else(|| bad("names a step that the run does not have"))?;
        if !shapes.keys().eq(self.files.keys()) {
            return Err(bad("names other values than are live at its step"));
        }
        let mut values = BTreeMap::new();
        for (key, shape) in shapes {
            values.insert(key, self.load_value(context, key, shape)?);
        }
        Ok(Some(Resume { step, values }))
    }

    fn load_value(&self, context: &C::Context, key: Key, shape: C::Shape) -> Result<C::Value, Unusable> {
        let mut r = Reader::open(&self.dir.join(value_name(key)), VALUE_KIND)?;
        self.check_binding(&r)?;
        if self.files.get(&key).is_none_or(|digest| digest != r.digest()) {
            return Err(r.error("is not the file that was committed").into());
        }
        Ok(C::read(&mut r, context, shape, tensor_name)?)
    }

    fn check_binding(&self, r: &Reader) -> Result<(), Unusable> {
        let different: Vec<&str> =
            self.binding.iter().filter(|(k, v)| r.meta(&format!("{BOUND}{k}")).ok() != Some(v)).map(|(k, _)| k.as_str()).collect();
        if different.is_empty() {
            return Ok(());
        }
        Err(Unusable::Error(JournalError::Mismatch(format!(
            "{} holds an interrupted run with another {}: finish that run with its own files, or remove the folder",
            self.dir.display(),
            different.join(", ")
        ))))
    }

    /// Removes all files of a journal in the folder, except those to keep and the lock.
    fn sweep(&mut self, keep: impl Fn(&str, &BTreeSet<String>) -> bool) -> Result<(), JournalError> {
        let files: BTreeSet<String> = self.files.keys().map(|k| value_name(*k)).collect();
        for name in names(&self.dir)? {
            if ours(&name) && name != LOCK && !keep(&name, &files) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), JournalError> {
        remove(&self.dir.join(name), &mut self.gate)
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        sync(&self.dir, &mut self.gate)
    }

    fn pass(&mut self, path: &Path) -> Result<(), JournalError> {
        (self.gate)(path).map_err(|e| io_error(path, e))
    }
}

fn io_error(path: &Path, source: io::Error) -> JournalError {
    ContainerError::Io { path: path.into(), source }.into()
}

fn value_name((value, block): Key) -> String {
    format!("value-{value:06}-{block:06}.chf")
}

fn tensor_name(i: usize) -> String {
    format!("c{i:07}")
}

/// Names that a journal gives to files.
fn ours(name: &str) -> bool {
    let base = unfinished(name).unwrap_or(name);
    base == MANIFEST || name == LOCK || base.starts_with("value-") && base.ends_with(".chf")
}

fn names(dir: &Path) -> Result<Vec<String>, JournalError> {
    let list: io::Result<Vec<String>> =
        std::fs::read_dir(dir).and_then(|d| d.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect());
    list.map_err(|e| io_error(dir, e))
}

/// Makes changes of the folder last. Only Unix opens folders as files.
fn sync(dir: &Path, gate: &mut Gate) -> Result<(), JournalError> {
    let flush = |()| if cfg!(unix) { File::open(dir).and_then(|d| d.sync_all()) } else { Ok(()) };
    gate(dir).and_then(flush).map_err(|e| io_error(dir, e))
}

fn remove(path: &Path, gate: &mut Gate) -> Result<(), JournalError> {
    match gate(path).and_then(|()| std::fs::remove_file(path)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error(path, e)),
        _ => Ok(()),
    }
}

/// Takes the folder for this process. File systems without locks are used without. `None` if the
/// lock has lost its name, or the folder is gone, since another process has just ended.
fn lock(dir: &Path, gate: &mut Gate) -> Result<Option<File>, JournalError> {
    let path = dir.join(LOCK);
    let open = |()| File::options().create(true).truncate(false).write(true).open(&path);
    let file = match gate(&path).and_then(open) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|e| io_error(&path, e))?,
    };
    let try_lock = || match file.try_lock() {
        // Perhaps by somebody who only looks ([`is_held`]).
        Err(TryLockError::WouldBlock) => {
            std::thread::sleep(LOOK);
            file.try_lock()
        }
        tried => tried,
    };
    match try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(JournalError::Input(format!("{} is in use by another run that writes the same output", dir.display())));
        }
        Err(TryLockError::Error(e)) if e.kind() != io::ErrorKind::Unsupported => return Err(io_error(&path, e)),
        _ => {}
    }
    Ok(has_name(&file, &path).then_some(file))
}

/// True if `path` names this very file.
#[cfg(unix)]
fn has_name(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |m: std::fs::Metadata| (m.dev(), m.ino());
    matches!((file.metadata().map(id), std::fs::metadata(path).map(id)), (Ok(a), Ok(b)) if a == b)
}
#[cfg(not(unix))]
fn has_name(_: &File, path: &Path) -> bool {
    path.exists()
}
