//! The one file format for programs, keys and ciphertexts: safetensors with checked metadata.
//!
//! A file is an 8-byte little-endian header length, a JSON header (tensor name → dtype, shape,
//! offsets; `__metadata__`: strings), and the tensors' bytes. Chiffre's metadata has
//! `chiffre.kind`, `chiffre.format` and `chiffre.digest`: BLAKE3 over all other metadata and all
//! tensors. Reading checks header size, kind, format, offsets against the file's length, and the
//! digest, before any tensor is used; it never allocates more than the file holds. Any source that
//! can seek is read, and any other one up to a size, through memory. Writing a file streams to an
//! [`Output`], which takes the final name only when complete; any sink is written
//! ([`Contents`]). (The reader is ours because tensors are read one by one from files larger than
//! we want in memory, without `unsafe` mapping; a test checks that the `safetensors` crate reads
//! the same files.)

use crate::input;
use crate::output::Output;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Version of the metadata.
pub const FORMAT: &str = "2";
const MAX_HEADER: u64 = 64 << 20;
/// Key of the digest in the metadata.
pub const DIGEST: &str = "chiffre.digest";
/// Hexadecimal digits of a digest.
const DIGEST_LENGTH: usize = 64;
/// Bytes of the buffers in front of files.
const BUFFER: usize = 1 << 20;
/// Bytes of which the digest is computed at a time: they stay in a core's cache, and are worth
/// sharing among cores.
const PIECE: u64 = 1 << 20;

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file, or the name of another source or sink.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The content is not what it should be.
    #[error("{path}: {message}")]
    Content {
        /// The file, or the name of another source or sink.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// An intact file of another kind.
    #[error("{path}: this is a file of kind `{found}`, expected `{expected}`")]
    Kind {
        /// The file.
        path: PathBuf,
        /// The kind that was asked for.
        expected: String,
        /// The kind it is of.
        found: String,
    },
}

impl ContainerError {
    /// True if the file's content is at fault rather than the disk.
    pub fn is_content(&self) -> bool {
        matches!(self, ContainerError::Content { .. } | ContainerError::Kind { .. })
    }
}

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    /// Bytes.
    U8,
    /// Signed bytes.
    I8,
    /// 32-bit words.
    U32,
    /// 64-bit words.
    U64,
    /// Signed 64-bit words.
    I64,
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
}
impl Dtype {
    /// Bytes of an element.
    pub fn size(self) -> u64 {
        match self {
            Dtype::U8 | Dtype::I8 => 1,
            Dtype::U32 | Dtype::F32 => 4,
            Dtype::U64 | Dtype::I64 | Dtype::F64 => 8,
        }
    }
}

/// A tensor's entry in the header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: Dtype,
    /// Extents.
    #[serde(deserialize_with = "few")]
    pub shape: Vec<u64>,
    /// Begin and end in the data part.
    pub data_offsets: [u64; 2],
}

#[derive(Serialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

/// Entry of the metadata among those of the tensors.
const METADATA: &str = "__metadata__";
/// Most extents of a tensor.
const MAX_EXTENTS: usize = 8;

impl<'de> Deserialize<'de> for Header {
    /// Entry by entry: what is read takes little more memory than the text. (A derived reader of
    /// flattened maps keeps everything in another form first, twenty times as large.)
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a header of tensors and metadata")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { metadata: BTreeMap::new(), tensors: BTreeMap::new() };
                let twice = |name: &str| A::Error::custom(format!("two entries `{name}`"));
                let mut seen = false;
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        if std::mem::replace(&mut seen, true) {
                            return Err(twice(&name));
                        }
                        header.metadata = map.next_value()?;
                    } else if header.tensors.insert(name.clone(), map.next_value()?).is_some() {
                        return Err(twice(&name));
                    }
                }
                if seen { Ok(header) } else { Err(A::Error::missing_field(METADATA)) }
            }
        }
        d.deserialize_map(Entries)
    }
}

/// The extents of a tensor, of which there are few.
fn few<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u64>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<u64>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "at most {MAX_EXTENTS} extents")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
            let mut out = vec![];
            while let Some(extent) = list.next_element()? {
                if out.len() == MAX_EXTENTS {
                    return Err(A::Error::invalid_length(out.len() + 1, &self));
                }
                out.push(extent);
            }
            Ok(out)
        }
    }
    d.deserialize_seq(Few)
}

fn byte_len(dtype: Dtype, shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(dtype.size(), |a, &d| a.checked_mul(d))
}

/// Everything of a container but the bytes of its tensors.
#[derive(Clone, Debug)]
pub struct Contents {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Contents {
    /// A container of this kind with this metadata, and with tensors of these names, types and
    /// shapes.
    pub fn new(kind: &str, mut metadata: BTreeMap<String, String>, tensors: &[(String, Dtype, Vec<usize>)]) -> Contents {
        metadata.insert("chiffre.format".into(), FORMAT.into());
        metadata.insert("chiffre.kind".into(), kind.into());
        let mut sorted = tensors.to_vec();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut at = 0;
        let mut infos = BTreeMap::new();
        for (n, dtype, shape) in sorted {
            let shape: Vec<u64> = shape.iter().map(|&d| d as u64).collect();
            let end = at + byte_len(dtype, &shape).unwrap_or(0);
            infos.insert(n, TensorInfo { dtype, shape, data_offsets: [at, end] });
            at = end;
        }
        Contents { metadata, tensors: infos }
    }

    /// Writes a file; `fill` writes all tensors in order of their names. Returns the digest.
    ///
    /// # Errors
    /// Any I/O error, tensors that were not declared so or are missing, and those of `fill`.
    pub fn save<E: From<ContainerError>>(&self, path: &Path, fill: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Result<String, E> {
        let mut w = self.create(path)?;
        fill(&mut w)?;
        Ok(w.finish()?)
    }

    /// As [`Self::save`], but where no file, folder or link may have the name.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub fn save_new<E: From<ContainerError>>(&self, path: &Path, fill: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Result<String, E> {
        let mut w = self.create(path)?;
        fill(&mut w)?;
        Ok(w.finish_as(Output::finish_new)?)
    }

    /// As [`Self::save`], but leaves the file without its name, for [`Output::finish_together`].
    ///
    /// # Errors
    /// As [`Self::save`].
    pub fn stage<E: From<ContainerError>>(&self, path: &Path, fill: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Result<Output, E> {
        let mut w = self.create(path)?;
        fill(&mut w)?;
        let unnamed = w.complete()?.1;
        unnamed.ok_or_else(|| E::from(ContainerError::Content { path: path.into(), message: "it is no file".into() }))
    }

    /// Writes to any sink; `name` is what errors call it. `fill` writes all tensors in order of
    /// their names, twice: the digest, which comes before them, is known only when all have been
    /// seen. Returns the digest.
    ///
    /// # Errors
    /// As [`Self::save`]; a `fill` that writes something else the second time.
    pub fn write<E: From<ContainerError>>(
        &self,
        sink: impl Write,
        name: &str,
        mut fill: impl FnMut(&mut Writer<'_>) -> Result<(), E>,
    ) -> Result<String, E> {
        let name = Path::new(name);
        let digest = self.digest_for(name, &mut fill)?;
        let io = |source| ContainerError::Io { path: name.into(), source };
        let mut sink = BufWriter::with_capacity(BUFFER, sink);
        let (header, _) = self.header(&digest).map_err(io)?;
        sink.write_all(&header).map_err(io)?;
        let mut w = self.writer(name, Target::Stream { sink: &mut sink, digest });
        fill(&mut w)?;
        Ok(w.finish()?)
    }

    /// The digest of what [`Self::save`] and [`Self::write`] write.
    ///
    /// # Errors
    /// Tensors that were not declared so or are missing, and those of `fill`.
    pub fn digest<E: From<ContainerError>>(&self, fill: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Result<String, E> {
        self.digest_for(Path::new("memory"), fill)
    }

    fn digest_for<E: From<ContainerError>>(&self, name: &Path, fill: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Result<String, E> {
        let mut w = self.writer(name, Target::Nowhere);
        fill(&mut w)?;
        Ok(w.finish()?)
    }

    /// Starts a file, under a name of its own until it is complete.
    fn create(&self, path: &Path) -> Result<Writer<'static>, ContainerError> {
        let io = |source| ContainerError::Io { path: path.into(), source };
        let (header, digest_at) = self.header(&"0".repeat(DIGEST_LENGTH)).map_err(io)?;
        let mut file = Output::create(path).map_err(io)?;
        file.write_all(&header).map_err(io)?;
        Ok(self.writer(path, Target::File { file, digest_at }))
    }

    fn writer<'a>(&self, name: &Path, target: Target<'a>) -> Writer<'a> {
        let pending = self.tensors.clone().into_iter().collect::<Vec<_>>().into_iter();
        Writer { path: name.into(), target, hasher: hash_metadata(&self.metadata, &self.tensors), pending }
    }

    /// The bytes before the tensors, and where in them the digest is.
    fn header(&self, digest: &str) -> std::io::Result<(Vec<u8>, u64)> {
        let mut metadata = self.metadata.clone();
        metadata.insert(DIGEST.into(), digest.into());
        let mut json = serde_json::to_string(&Header { metadata, tensors: self.tensors.clone() })?;
        json.push_str(&" ".repeat(json.len().next_multiple_of(8) - json.len()));
        let key = format!("\"{DIGEST}\":\"{digest}");
        let digest_at = json.find(&key).map_or(0, |p| 8 + p + key.len() - DIGEST_LENGTH) as u64;
        Ok(([&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat(), digest_at))
    }
}

/// Where a container goes.
enum Target<'a> {
    /// A file that has no name yet, and in which the digest is still to be set.
    File { file: Output, digest_at: u64 },
    /// Anything, behind a header that has the digest.
    Stream { sink: &'a mut dyn Write, digest: String },
    /// Only the digest is wanted.
    Nowhere,
}

/// Writes a container; tensors are declared first and then written in order of their names.
pub struct Writer<'a> {
    path: PathBuf,
    target: Target<'a>,
    hasher: blake3::Hasher,
    pending: std::vec::IntoIter<(String, TensorInfo)>,
}

impl Writer<'_> {
    /// Starts a file of this kind.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn create(
        path: &Path,
        kind: &str,
        metadata: BTreeMap<String, String>,
        tensors: &[(String, Dtype, Vec<usize>)],
    ) -> Result<Writer<'static>, ContainerError> {
        Contents::new(kind, metadata, tensors).create(path)
    }
    /// Writes the next tensor's bytes; `name` must be the next in order.
    ///
    /// # Errors
    /// Any I/O error, or a tensor that was not declared so.
    pub fn tensor(&mut self, name: &str, bytes: &[u8]) -> Result<(), ContainerError> {
        self.tensor_parts(name, [bytes])
    }
    /// Writes the next tensor, whose bytes come in several parts; `name` must be the next in order.
    ///
    /// # Errors
    /// Any I/O error, or a tensor that was not declared so.
    pub fn tensor_parts<B: AsRef<[u8]>>(&mut self, name: &str, parts: impl IntoIterator<Item = B>) -> Result<(), ContainerError> {
        let fail = |path: &Path, message: String| Err(ContainerError::Content { path: path.into(), message });
        let mut left = match self.pending.next() {
            Some((n, i)) if n == name => i.data_offsets[1] - i.data_offsets[0],
            next => return fail(&self.path, format!("tensor {name} is out of order, expected {next:?}")),
        };
        for part in parts {
            let part = part.as_ref();
            let Some(rest) = left.checked_sub(part.len() as u64) else {
                return fail(&self.path, format!("tensor {name} has more bytes than declared"));
            };
            left = rest;
            self.hasher.update(part);
            let written = match &mut self.target {
                Target::File { file, .. } => file.write_all(part),
                Target::Stream { sink, .. } => sink.write_all(part),
                Target::Nowhere => Ok(()),
            };
            written.map_err(|source| ContainerError::Io { path: self.path.clone(), source })?;
        }
        if left > 0 { fail(&self.path, format!("tensor {name} lacks {left} bytes")) } else { Ok(()) }
    }
    /// Names of the tensors in the order in which they must be written.
    pub fn order(&self) -> Vec<String> {
        self.pending.as_slice().iter().map(|(n, _)| n.clone()).collect()
    }
    /// Completes the container, gives a file its name, and returns the digest.
    ///
    /// # Errors
    /// Any I/O error, or tensors that are missing.
    pub fn finish(self) -> Result<String, ContainerError> {
        self.finish_as(Output::finish)
    }

    fn finish_as(self, name: impl FnOnce(Output) -> std::io::Result<()>) -> Result<String, ContainerError> {
        let path = self.path.clone();
        let (digest, file) = self.complete()?;
        file.map_or(Ok(()), name).map_err(|source| ContainerError::Io { path, source })?;
        Ok(digest)
    }

    /// Completes the container. A file still lacks its name.
    fn complete(mut self) -> Result<(String, Option<Output>), ContainerError> {
        if let Some((n, _)) = self.pending.next() {
            return Err(ContainerError::Content { path: self.path.clone(), message: format!("tensor {n} was not written") });
        }
        let found = self.hasher.finalize().to_hex().to_string();
        let done = match self.target {
            Target::File { mut file, digest_at } => (|| {
                file.seek(SeekFrom::Start(digest_at))?;
                file.write_all(found.as_bytes())?;
                Ok(Some(file))
            })(),
            Target::Stream { sink, digest } if digest == found => sink.flush().map(|()| None),
            Target::Stream { .. } => {
                let message = "what was written is not what the digest was computed from".into();
                return Err(ContainerError::Content { path: self.path, message });
            }
            Target::Nowhere => Ok(None),
        };
        let file = done.map_err(|source| ContainerError::Io { path: self.path, source })?;
        Ok((found, file))
    }
}

/// What to do about a file of another format version.
fn other_format(version: &str) -> String {
    let number = |v: &str| v.parse::<u64>().ok();
    let advice = match (number(version), number(FORMAT)) {
        (Some(theirs), Some(ours)) if theirs < ours => "an older version of Chiffre wrote it: make it again with this one",
        (Some(_), _) => "a newer version of Chiffre wrote it",
        (None, _) => "this is no format version of Chiffre",
    };
    format!("format version `{version}`, and this version of Chiffre reads version {FORMAT}; {advice}")
}

fn hash_metadata(metadata: &BTreeMap<String, String>, tensors: &BTreeMap<String, TensorInfo>) -> blake3::Hasher {
    let mut h = blake3::Hasher::new();
    let mut part = |s: &str| {
        h.update(&(s.len() as u64).to_le_bytes());
        h.update(s.as_bytes());
    };
    for (k, v) in metadata.iter().filter(|(k, _)| *k != DIGEST) {
        part(k);
        part(v);
    }
    for (n, t) in tensors {
        part(n);
        part(&format!("{:?} {:?} {:?}", t.dtype, t.shape, t.data_offsets));
    }
    h
}

/// An open container whose header and digest have been checked.
pub struct Reader<R = BufReader<File>> {
    path: PathBuf,
    source: R,
    /// Where the tensors begin.
    data_start: u64,
    header: Header,
}

impl Reader {
    /// Opens a file and checks that it is an intact container of this kind.
    ///
    /// # Errors
    /// I/O errors, and content errors for anything that is not such a file.
    pub fn open(path: &Path, kind: &str) -> Result<Reader, ContainerError> {
        let io = |source| ContainerError::Io { path: path.into(), source };
        let file = input::open(path).map_err(io)?;
        Reader::check(BufReader::with_capacity(BUFFER, file), path, kind)
    }
    /// The metadata of a file of this kind, of which nothing else is read: who relies on them opens
    /// the file later, which checks them.
    ///
    /// # Errors
    /// As [`Self::open`], but for the digest.
    pub fn peek(path: &Path, kind: &str) -> Result<BTreeMap<String, String>, ContainerError> {
        let io = |source| ContainerError::Io { path: path.into(), source };
        let file = input::open(path).map_err(io)?;
        Ok(Reader::unchecked(BufReader::new(file), path, kind)?.header.metadata)
    }
}

impl Reader<Cursor<Vec<u8>>> {
    /// Reads a container of at most `limit` bytes from a source that cannot seek, through memory,
    /// and checks it. `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Reader::open`]; a source that holds more.
    pub fn buffered(source: impl Read, name: &str, kind: &str, limit: u64) -> Result<Self, ContainerError> {
        let mut bytes = vec![];
        let path = PathBuf::from(name);
        if let Err(source) = source.take(limit.saturating_add(1)).read_to_end(&mut bytes) {
            return Err(ContainerError::Io { path, source });
        }
        if bytes.len() as u64 > limit {
            return Err(ContainerError::Content { path, message: format!("more than {limit} bytes") });
        }
        Reader::check(Cursor::new(bytes), &path, kind)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Checks that a source, from where it stands to its end, is an intact container of this kind.
    /// `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn new(source: R, name: &str, kind: &str) -> Result<Reader<R>, ContainerError> {
        Reader::check(source, Path::new(name), kind)
    }

    fn check(file: R, path: &Path, kind: &str) -> Result<Reader<R>, ContainerError> {
        let mut r = Reader::unchecked(file, path, kind)?;
        let digest = r.compute_digest()?;
        if digest != r.digest() {
            return Err(r.error("damaged: the content does not match its digest"));
        }
        Ok(r)
    }
    /// All checks but the digest.
    fn unchecked(mut file: R, path: &Path, kind: &str) -> Result<Reader<R>, ContainerError> {
        let io = |source| ContainerError::Io { path: path.into(), source };
        let bad = |message: String| ContainerError::Content { path: path.into(), message };
        let start = file.stream_position().map_err(io)?;
        let end = file.seek(SeekFrom::End(0)).map_err(io)?;
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        let len = end.saturating_sub(start);
        let mut n = [0; 8];
        if len < 8 {
            return Err(bad(format!("not a Chiffre file: only {len} bytes")));
        }
        file.read_exact(&mut n).map_err(io)?;
        let n = u64::from_le_bytes(n);
        if n > MAX_HEADER || n + 8 > len {
            return Err(bad("not a Chiffre file, or truncated: the header does not fit".into()));
        }
        let mut json = vec![0; n as usize];
        file.read_exact(&mut json).map_err(io)?;
        let header: Header = serde_json::from_slice(&json).map_err(|e| bad(format!("not a Chiffre file: bad header ({e})")))?;
        let get = |k: &str| header.metadata.get(k).map(String::as_str).unwrap_or("");
        if get("chiffre.kind") != kind {
            return Err(match get("chiffre.kind") {
                "" => bad("not a Chiffre file".into()),
                found => ContainerError::Kind { path: path.into(), expected: kind.into(), found: found.into() },
            });
        }
        if get("chiffre.format") != FORMAT {
            return Err(bad(other_format(get("chiffre.format"))));
        }
        let data = len - 8 - n;
        let mut spans: Vec<([u64; 2], &String)> = vec![];
        for (name, t) in &header.tensors {
            if byte_len(t.dtype, &t.shape) != t.data_offsets[1].checked_sub(t.data_offsets[0]) {
                return Err(bad(format!("tensor {name}: shape and size disagree")));
            }
            spans.push((t.data_offsets, name));
        }
        spans.sort();
        let mut end = 0;
        for ([a, b], name) in spans {
            if a != end {
                return Err(bad(format!("tensor {name} does not follow the one before")));
            }
            end = b;
        }
        if end != data {
            return Err(bad(format!("{} bytes of data, the header describes {end}: truncated or damaged", data)));
        }
        Ok(Reader { path: path.into(), source: file, data_start: start + 8 + n, header })
    }
    fn compute_digest(&mut self) -> Result<String, ContainerError> {
        let io = |source| ContainerError::Io { path: self.path.clone(), source };
        let mut h = hash_metadata(&self.header.metadata, &self.header.tensors);
        let length = self.header.tensors.values().map(|t| t.data_offsets[1]).max().unwrap_or(0);
        // On the threads of the pool that this runs on.
        let mut buf = vec![0; PIECE.min(length) as usize];
        let mut filled = 0;
        loop {
            let k = match self.source.read(&mut buf[filled..]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                read => read.map_err(io)?,
            };
            if k == 0 {
                h.update(&buf[..filled]);
                return Ok(h.finalize().to_hex().to_string());
            }
            filled += k;
            if filled == buf.len() {
                h.update_rayon(&buf);
                filled = 0;
            }
        }
    }
    /// The file's digest.
    pub fn digest(&self) -> &str {
        self.header.metadata.get(DIGEST).map(String::as_str).unwrap_or("")
    }
    /// The file's path, or the name of another source.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// A content error of this file.
    pub fn error(&self, message: impl Into<String>) -> ContainerError {
        ContainerError::Content { path: self.path.clone(), message: message.into() }
    }
    /// A metadata string.
    ///
    /// # Errors
    /// If there is none.
    pub fn meta(&self, key: &str) -> Result<&str, ContainerError> {
        self.header.metadata.get(key).map(String::as_str).ok_or_else(|| self.error(format!("has no `{key}`")))
    }
    /// The tensors.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.header.tensors
    }
    /// Where a tensor is, after checking its type and shape.
    ///
    /// # Errors
    /// Content errors if there is no such tensor.
    pub fn info(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&TensorInfo, ContainerError> {
        let same = |t: &TensorInfo| t.dtype == dtype && t.shape.iter().copied().eq(shape.iter().map(|&d| d as u64));
        match self.header.tensors.get(name) {
            Some(t) if same(t) => Ok(t),
            Some(t) => Err(self.error(format!("tensor {name} is {:?} {:?}, expected {dtype:?} {shape:?}", t.dtype, t.shape))),
            None => Err(self.error(format!("has no tensor {name}"))),
        }
    }
    /// A tensor's bytes, after checking its type and shape.
    ///
    /// # Errors
    /// I/O errors, and content errors if there is no such tensor.
    pub fn read(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Vec<u8>, ContainerError> {
        let total = byte_len(dtype, &shape.iter().map(|&d| d as u64).collect::<Vec<_>>()).unwrap_or(0);
        let mut out = vec![];
        self.read_parts(name, dtype, shape, |part| {
            out.reserve_exact(total as usize - out.len());
            out.extend_from_slice(part);
        })?;
        Ok(out)
    }
    /// As [`Self::read`], for tensors that are not to be in memory twice: `take` gets the bytes in
    /// parts of whole elements.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_parts(&mut self, name: &str, dtype: Dtype, shape: &[usize], mut take: impl FnMut(&[u8])) -> Result<(), ContainerError> {
        let [a, b] = self.info(name, dtype, shape)?.data_offsets;
        let io = |source| ContainerError::Io { path: self.path.clone(), source };
        self.source.seek(SeekFrom::Start(self.data_start + a)).map_err(io)?;
        let mut left = b - a;
        let mut part = vec![0; left.min(BUFFER as u64) as usize];
        while left > 0 {
            part.truncate(left.min(BUFFER as u64) as usize);
            self.source.read_exact(&mut part).map_err(io)?;
            take(&part);
            left -= part.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(path: &Path) -> String {
        let t = [("b".to_string(), Dtype::U64, vec![2]), ("a".to_string(), Dtype::F32, vec![1, 3])];
        let mut w = Writer::create(path, "test", BTreeMap::from([("k".into(), "v".into())]), &t).unwrap();
        assert_eq!(w.order(), ["a", "b"]);
        w.tensor("a", &[1; 12]).unwrap();
        w.tensor("b", &[2; 16]).unwrap();
        w.finish().unwrap()
    }

    #[test]
    fn round_trip_and_every_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.chf");
        let digest = sample(&path);
        let mut r = Reader::open(&path, "test").unwrap();
        assert_eq!((r.digest(), r.meta("k").unwrap()), (digest.as_str(), "v"));
        assert_eq!(r.read("b", Dtype::U64, &[2]).unwrap(), [2; 16]);
        assert!(r.read("b", Dtype::U64, &[3]).is_err());
        assert!(Reader::open(&path, "program").is_err());
        let bytes = std::fs::read(&path).unwrap();
        assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok(), "standard safetensors");
        let damaged = dir.path().join("d.chf");
        for i in 0..bytes.len() {
            let mut b = bytes.clone();
            b[i] ^= 1 << (i % 8);
            std::fs::write(&damaged, &b).unwrap();
            assert!(Reader::open(&damaged, "test").is_err(), "flipped a bit of byte {i}");
            std::fs::write(&damaged, &bytes[..i]).unwrap();
            assert!(Reader::open(&damaged, "test").is_err(), "cut at {i}");
        }
    }

    /// A sink without a way back, and a source too.
    struct OneWay<T>(T);
    impl<T: Write> Write for OneWay<T> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(5)])
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    impl<T: Read> Read for OneWay<T> {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            let most = bytes.len().min(7);
            self.0.read(&mut bytes[..most])
        }
    }

    #[test]
    fn streams_hold_the_bytes_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.chf");
        let digest = sample(&path);
        let file = std::fs::read(&path).unwrap();
        let t = [("b".to_string(), Dtype::U64, vec![2]), ("a".to_string(), Dtype::F32, vec![1, 3])];
        let contents = Contents::new("test", BTreeMap::from([("k".into(), "v".into())]), &t);
        let fill = |w: &mut Writer<'_>| {
            w.tensor("a", &[1; 12])?;
            w.tensor_parts("b", [&[2; 8][..], &[2; 8]])
        };
        let mut sent = vec![];
        let written: Result<String, ContainerError> = contents.write(OneWay(&mut sent), "socket", fill);
        assert_eq!((written.unwrap(), &sent), (digest.clone(), &file));
        let mut r = Reader::buffered(OneWay(&sent[..]), "socket", "test", sent.len() as u64).unwrap();
        assert_eq!(r.digest(), digest);
        assert_eq!(r.read("b", Dtype::U64, &[2]).unwrap(), [2; 16]);
        let e = Reader::buffered(OneWay(&sent[..]), "socket", "test", sent.len() as u64 - 1).err().unwrap();
        assert!(e.is_content() && e.to_string().starts_with("socket: more than"), "{e}");
        // Behind something else in the same source.
        let mut behind = Cursor::new([&[9; 11], &sent[..]].concat());
        behind.set_position(11);
        let mut r = Reader::new(behind, "part", "test").unwrap();
        assert_eq!(r.read("a", Dtype::F32, &[1, 3]).unwrap(), [1; 12]);
        // Another content the second time.
        let mut times = 0;
        let changed: Result<String, ContainerError> = contents.write(std::io::sink(), "socket", |w| {
            times += 1;
            w.tensor("a", &[times; 12])?;
            w.tensor("b", &[2; 16])
        });
        assert!(changed.unwrap_err().is_content());
        let short: Result<String, ContainerError> = contents.write(std::io::sink(), "socket", |w| w.tensor("a", &[1; 11]));
        assert!(short.unwrap_err().to_string().contains("lacks 1 bytes"));
    }

    #[test]
    fn files_of_other_versions_are_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.chf");
        sample(&path);
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let at = text.find("\"chiffre.format\":\"2\"").unwrap() + "\"chiffre.format\":\"".len();
        for (version, advice) in
            [(b'1', "older version of Chiffre wrote it: make it again"), (b'3', "newer version"), (b'x', "no format version")]
        {
            let mut b = bytes.clone();
            b[at] = version;
            std::fs::write(&path, b).unwrap();
            let message = Reader::open(&path, "test").map(|_| ()).unwrap_err().to_string();
            assert!(message.contains(advice) && message.contains("reads version 2"), "{message}");
        }
    }

    #[test]
    fn unfinished_files_do_not_look_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.chf");
        let w = Writer::create(&path, "test", BTreeMap::new(), &[("a".to_string(), Dtype::U8, vec![1])]).unwrap();
        assert!(w.finish().is_err());
        assert!(!path.exists());
    }
}
