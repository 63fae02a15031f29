//! Many encrypted batches of one program and key: which of them a process runs, what has become of
//! each, and what does not belong to the others.
//!
//! Batches are files, and so is all that is known of them: an answer has the name of its batch in
//! another folder, an interrupted run its journal there, a failed one its error. Processes on
//! several machines therefore need nothing but a shared folder, and a second start is the repair of
//! the first one.

use crate::Error;
use chiffre_ir::container::{ContainerError, DIGEST, Reader};
use chiffre_ir::journal;
use chiffre_ir::output::Output;
use chiffre_runtime::{INPUT_KIND, RESULT_KIND, ResultBatch, RuntimeError, Session};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What the files of batches in a folder end with.
pub const SUFFIX: &str = ".ct";
/// What the name of an answer that failed ends with; such a file holds the error.
pub const FAILED: &str = ".failed";
/// Most files that an error names.
const MOST_NAMED: usize = 8;

/// One of several processes that divide batches among them: the `index`-th takes every `count`-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// All batches.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// The process `index`, from 0, of `count`.
    ///
    /// # Errors
    /// An index that is not below the count.
    pub fn new(index: usize, count: usize) -> Result<Shard, String> {
        if index < count {
            return Ok(Shard { index, count });
        }
        Err(format!("shards of {count} have numbers below {count}, counted from 0, not {index}"))
    }

    /// Its part of a list.
    pub fn of<T>(self, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        all.into_iter().skip(self.index).step_by(self.count)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;
    /// `I/N`, counted from 0.
    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let (index, count) = numbers.ok_or("give I/N: which of N processes this one is, counted from 0, as in 3/16")?;
        Shard::new(index, count)
    }
}

/// A batch and where its answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The encrypted images.
    pub input: PathBuf,
    /// The encrypted answers.
    pub output: PathBuf,
}

impl Pair {
    /// The name that both files have.
    pub fn name(&self) -> String {
        self.output.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The file that holds the error of a batch that was set aside.
    pub fn failed(&self) -> PathBuf {
        let mut name = self.output.file_name().unwrap_or_default().to_os_string();
        name.push(FAILED);
        self.output.with_file_name(name)
    }

    /// Keeps the error of a run, for [`Pair::state`] and for people.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn set_aside(&self, error: &str) -> Result<(), Error> {
        let path = self.failed();
        Output::publish(&path, format!("{error}\n")).map_err(|e| Error::write(&path, e))
    }

    /// Forgets the error of an earlier run.
    ///
    /// # Errors
    /// A file that is there and cannot be removed.
    pub fn forget_failure(&self) -> Result<(), Error> {
        let path = self.failed();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::write(&path, e)),
            _ => Ok(()),
        }
    }

    /// Gives an answer its name, unless another process was first: then both must be the same.
    ///
    /// # Errors
    /// A file that cannot be written; [`Error::Failed`] for an answer of other bytes, which only a
    /// faulty machine computes.
    pub fn store(&self, session: &Session, result: &ResultBatch) -> Result<(), Error> {
        match result.save_new(session, &self.output) {
            Err(RuntimeError::Container(ContainerError::Io { source, .. })) if source.kind() == ErrorKind::AlreadyExists => {}
            stored => return Ok(stored?),
        }
        let there = match Reader::open(&self.output, RESULT_KIND) {
            // Damaged: it is replaced.
            Err(ContainerError::Content { .. }) => return Ok(result.save(session, &self.output)?),
            there => there?,
        };
        if there.digest() == result.digest(session)? {
            return Ok(());
        }
        let output = self.output.display();
        Err(Error::failed(format!(
            "another run has written {output}, with other bytes than this one computed: one of the machines is faulty"
        )))
    }

    /// What has become of the batch. An answer is read as a whole, of the batch only the beginning.
    ///
    /// # Errors
    /// Files that cannot be read, though they are there.
    pub fn state(&self) -> Result<State, Error> {
        let answer = match Reader::open(&self.output, RESULT_KIND) {
            Ok(reader) => reader,
            Err(ContainerError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return self.unanswered(),
            Err(e @ ContainerError::Io { .. }) => return Err(e.into()),
            Err(e @ ContainerError::Content { .. }) => return Ok(State::Damaged(e.to_string())),
            Err(e @ ContainerError::Kind { .. }) => return Ok(State::Foreign(e.to_string())),
        };
        let batch = match Reader::peek(&self.input, INPUT_KIND) {
            Ok(batch) => batch,
            Err(e @ ContainerError::Io { .. }) => return Err(e.into()),
            Err(e) => return Ok(State::Foreign(format!("{} has an answer, but {e}", self.name()))),
        };
        let of = |key: &str| answer.meta(key).ok().map(str::to_string);
        let differs =
            [("program", "program"), ("key-id", "key-id"), ("input", DIGEST)].into_iter().find(|(a, b)| of(a) != batch.get(*b).cloned());
        Ok(match differs {
            None => State::Done,
            Some(("program", _)) => State::Foreign(format!("{} is an answer of another program", self.output.display())),
            Some(("key-id", _)) => State::Foreign(format!("{} is an answer under another secret key", self.output.display())),
            Some(_) => State::Foreign(format!("{} is the answer to another batch than {}", self.output.display(), self.input.display())),
        })
    }

    /// The state of a batch without an answer.
    fn unanswered(&self) -> Result<State, Error> {
        let folder = journal::directory(&self.output);
        let left = match (folder.is_dir(), journal::is_held(&folder)) {
            // Though it may have failed before.
            (true, true) => return Ok(State::Running),
            (true, false) => State::Begun,
            (false, _) => State::Missing,
        };
        let path = self.failed();
        match chiffre_ir::input::read_to_string(&path) {
            Ok(text) => return Ok(State::Failed(text.trim().into())),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::read(&path, e)),
        }
        Ok(left)
    }
}

/// What has become of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its answer is there, and whole.
    Done,
    /// There is the journal of a run that goes on.
    Running,
    /// There is the journal of a run that was interrupted.
    Begun,
    /// There is nothing.
    Missing,
    /// It was set aside, with this error.
    Failed(String),
    /// There is an answer that is not whole, for this reason.
    Damaged(String),
    /// Something else has the name of its answer, for this reason.
    Foreign(String),
}

impl State {
    /// One word for it.
    pub fn word(&self) -> &'static str {
        match self {
            State::Done => "done",
            State::Running => "running",
            State::Begun => "begun",
            State::Missing => "missing",
            State::Failed(_) => "failed",
            State::Damaged(_) => "damaged",
            State::Foreign(_) => "foreign",
        }
    }

    /// The reason, of those that have one.
    pub fn why(&self) -> Option<&str> {
        match self {
            State::Failed(why) | State::Damaged(why) | State::Foreign(why) => Some(why),
            State::Done | State::Running | State::Begun | State::Missing => None,
        }
    }
}

/// The digest of the program and the name of the secret key that a file of `kind` was made for, as
/// its beginning says.
///
/// # Errors
/// A file that cannot be read, or is of another kind.
pub fn binding(path: &Path, kind: &str) -> Result<[String; 2], Error> {
    let meta = Reader::peek(path, kind)?;
    Ok(["program", "key-id"].map(|key| meta.get(key).cloned().unwrap_or_default()))
}

/// The digest that a file of `kind` says it has: a name of its content.
///
/// # Errors
/// As [`binding`].
pub fn digest(path: &Path, kind: &str) -> Result<String, Error> {
    Ok(Reader::peek(path, kind)?.remove(DIGEST).unwrap_or_default())
}

/// All batches of a folder (`*.ct`, ordered by name) or of a list (a path in each line, from the
/// folder of the list on; empty lines and those that begin with # are skipped), with their answers
/// in the folder `outputs`.
///
/// # Errors
/// A folder or list that cannot be read, or without batches; two batches of one name; batches that
/// lie where their answers go.
pub fn pairs(inputs: &Path, outputs: &Path) -> Result<Vec<Pair>, Error> {
    let listed = if inputs.is_dir() { in_folder(inputs)? } else { in_list(inputs)? };
    if listed.is_empty() {
        return Err(Error::input_in(inputs, format!("names no batches: a folder has files that end with {SUFFIX}, a list their paths")));
    }
    let mut seen = BTreeMap::new();
    let mut all = vec![];
    for input in listed {
        let name = input.file_name().ok_or_else(|| Error::input_in(inputs, format!("{} names no file", input.display())))?.to_os_string();
        let output = outputs.join(&name);
        if same(&input, &output) {
            return Err(Error::input_in(&input, "its answer would take its place: give another folder for answers"));
        }
        if let Some(other) = seen.insert(name, input.clone()) {
            let (a, b) = (other.display(), input.display());
            return Err(Error::input_in(inputs, format!("{a} and {b} have the same name, and so would their answers")));
        }
        all.push(Pair { input, output });
    }
    Ok(all)
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let names: Result<Vec<_>, _> = std::fs::read_dir(folder).and_then(|all| all.map(|e| Ok(e?.file_name())).collect());
    let names = names.map_err(|e: std::io::Error| Error::read(folder, e))?;
    let batch = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.ends_with(SUFFIX) && !name.starts_with('.')
    };
    let mut names: Vec<_> = names.into_iter().filter(batch).collect();
    names.sort();
    Ok(names.into_iter().map(|n| folder.join(n)).collect())
}

fn in_list(list: &Path) -> Result<Vec<PathBuf>, Error> {
    let text = chiffre_ir::input::read_to_string(list).map_err(|e| match e.kind() {
        ErrorKind::InvalidData => Error::input_in(list, "is no list of batches: a text with a path in each line is needed, or a folder"),
        _ => Error::read(list, e),
    })?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    Ok(lines.map(|l| list.parent().unwrap_or(Path::new("")).join(l)).collect())
}

/// Refuses batches that are not there, or that another program or key has made; nothing but the
/// beginning of each file is read. Damage is found when a batch is run. Returns the largest number
/// of images that one of them says it holds.
///
/// `program` is the digest of the program, `key` the name of the secret key in hexadecimal digits.
///
/// # Errors
/// [`Error::Mismatch`] that names the files; one that is not there.
pub fn check(pairs: &[Pair], program: &str, key: &str) -> Result<usize, Error> {
    let mut others = vec![];
    let mut most = 0;
    for pair in pairs {
        let path = pair.input.display();
        let meta = match Reader::peek(&pair.input, INPUT_KIND) {
            Ok(meta) => meta,
            Err(e @ ContainerError::Io { .. }) => return Err(e.into()),
            Err(e @ ContainerError::Kind { .. }) => {
                others.push(e.to_string());
                continue;
            }
            Err(ContainerError::Content { .. }) => continue,
        };
        let is = |name: &str, wanted: &str| meta.get(name).is_some_and(|found| found == wanted);
        if !is("program", program) {
            others.push(format!("{path} was made for another program"));
        } else if !is("key-id", key) {
            others.push(format!("{path} was made under another secret key"));
        }
        most = most.max(meta.get("images").and_then(|n| n.parse().ok()).unwrap_or(0));
    }
    belong(others, pairs.len())?;
    Ok(most)
}

/// Refuses to go on where something else lies in the place of answers.
///
/// # Errors
/// [`Error::Mismatch`] that names the files.
pub fn belong(others: Vec<String>, of: usize) -> Result<(), Error> {
    let (count, more) = (others.len(), others.len().saturating_sub(MOST_NAMED));
    if count == 0 {
        return Ok(());
    }
    let mut named = others.into_iter().take(MOST_NAMED).collect::<Vec<_>>().join("; ");
    if more > 0 {
        named += &format!("; and {more} more");
    }
    Err(Error::mismatch(format!("{count} of {of} batches do not belong to this run: {named}")).advise("nothing was started; take them out"))
}
