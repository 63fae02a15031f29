//! Prepared state in a container: a server that another process reads, instead of expanding keys
//! and making the diagonals of bootstraps anew.
//!
//! It is bound to the program, to the key and to [`VERSION`], and holds nothing that the program
//! and the evaluation keys do not say. What the program alone says and takes less time than reading
//! is not in it: tables, biases and series are prepared while the keys are read.

use super::prepare::{self, Spare};
use super::prepared::Prepared;
use super::{Server, series};
use crate::eval_keys::{binding, check_binding, name};
use crate::words::{check_shape, read_rows, word_bytes};
use crate::{RuntimeError, ServerKeys, Session};
use chiffre_ckks::bundle::{PreparedKey, PreparedKeys};
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::ring::{Gadget, RnsPoly};
use chiffre_ir::container::{ContainerError, Contents, Dtype, Reader, Writer};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Kind of files of prepared state.
pub const KIND: &str = "prepared-server";
/// Version of what kernels read: the form of keys and diagonals.
pub const VERSION: &str = "2";

fn key_name(key: &PreparedKey) -> String {
    format!("key.{}", name(key.target(), key.gadget()))
}

impl Server {
    /// Shows all tensors in the order of their names: bootstraps, keys.
    fn tensors(
        &self,
        mut visit: impl FnMut(&str, Vec<usize>, &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let Prepared { session, keys, bootstrappers, .. } = &*self.prepared;
        bootstrappers.visit(|name, rows| {
            let words = rows.first().map_or(0, |r| r.len());
            visit(name, vec![rows.len(), words], &mut rows.iter().map(|r| word_bytes(r)))
        })?;
        let mut by_name: Vec<(String, &PreparedKey)> = keys.keys().iter().map(|k| (key_name(k), k)).collect();
        by_name.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, key) in by_name {
            let shape = vec![key.digits().len(), 2, key.gadget().rows(), session.context.ring().n()];
            let rows = key.digits().iter().flatten().flat_map(RnsPoly::iter);
            visit(&name, shape, &mut rows.map(word_bytes))?;
        }
        Ok(())
    }

    fn contents(&self) -> Result<Contents, RuntimeError> {
        let mut list = vec![];
        self.tensors(|name, shape, _| {
            list.push((name.to_string(), Dtype::U64, shape));
            Ok(())
        })?;
        let mut meta = binding(self.session(), &self.keys().id());
        meta.insert("prepared-version".into(), VERSION.into());
        Ok(Contents::new(KIND, meta, &list))
    }

    fn fill(&self, w: &mut Writer<'_>) -> Result<(), RuntimeError> {
        self.tensors(|name, _, parts| Ok(w.tensor_parts(name, parts)?))
    }

    /// Writes the prepared state to a file, from which [`Server::load`] makes the same server. The
    /// file is about as large as the expanded keys.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, path: &Path) -> Result<(), RuntimeError> {
        self.contents()?.save(path, |w| self.fill(w)).map(|_| ())
    }

    /// As [`Self::save`], to any sink, which errors call `name`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, sink: impl Write, name: &str) -> Result<(), RuntimeError> {
        self.contents()?.write(sink, name, |w| self.fill(w)).map(|_| ())
    }

    /// Reads a server for the session's program from a file of prepared state. `buffers` is as for
    /// [`Server::new`].
    ///
    /// # Errors
    /// I/O errors, damaged files; files of another program or of another version of this library.
    pub fn load(session: impl Into<Arc<Session>>, path: &Path, buffers: usize) -> Result<Server, RuntimeError> {
        let session = session.into();
        let reader = session.engine().install(|| Reader::open(path, KIND))?;
        Server::from_container(session, reader, buffers)
    }

    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(
        session: impl Into<Arc<Session>>,
        source: impl Read + Seek + Send,
        name: &str,
        buffers: usize,
    ) -> Result<Server, RuntimeError> {
        let session = session.into();
        let reader = session.engine().install(|| Reader::new(source, name, KIND))?;
        Server::from_container(session, reader, buffers)
    }

    fn from_container<R: Read + Seek + Send>(session: Arc<Session>, mut r: Reader<R>, buffers: usize) -> Result<Server, RuntimeError> {
        let id = check_binding(&r, &session)?;
        let version = r.meta("prepared-version")?;
        if version != VERSION {
            return Err(RuntimeError::Mismatch(format!(
                "{} was prepared in form {version}, this program reads form {VERSION}: prepare it again from the evaluation keys",
                r.path().display()
            )));
        }
        let engine = session.engine().clone();
        let isa = engine.isa();
        let prepared = engine.install(|| {
            // Rows of keys are the engine's before what runs use is reserved beside them.
            let empty = empty_keys(&session, &r)?;
            let read = || {
                let keys = read_keys(&session, &mut r, empty)?;
                let bootstrappers = read_bootstrappers(&session, &mut r)?;
                Ok::<_, RuntimeError>((keys, bootstrappers, Instant::now()))
            };
            let prepare = || {
                let instructions = prepare::instructions(&session);
                engine.reserve(session.context.ring().n(), buffers);
                instructions
            };
            let (read, instructions) = rayon::join(read, prepare);
            let (keys, bootstrappers, read_at) = read?;
            let keys = Arc::new(ServerKeys::from_parts(id, keys));
            let (instructions, spare) = (instructions?, Spare::default());
            Ok::<_, RuntimeError>(Prepared {
                session: session.clone(),
                isa,
                keys,
                instructions,
                bootstrappers,
                spare,
                read_at: Some(read_at),
            })
        })?;
        Ok(Server::from_prepared(prepared, buffers))
    }
}

/// The polynomials of a key: `[digit][component]`.
type Digits = Vec<[RnsPoly; 2]>;

fn shape(s: &Session, target: KeyTarget, gadget: Gadget) -> [usize; 4] {
    [target.digits(gadget), 2, gadget.rows(), s.context.ring().n()]
}

/// Memory for the keys of the program, all of which are in the file.
fn empty_keys<R: Read + Seek>(s: &Session, r: &Reader<R>) -> Result<Vec<Digits>, RuntimeError> {
    let ring = s.context.ring();
    let targets = s.key_targets();
    for &(target, gadget) in &targets {
        check_shape(r, &format!("key.{}", name(target, gadget)), &shape(s, target, gadget))?;
    }
    let one = |gadget: Gadget| RnsPoly::new_unspecified(ring.n(), gadget.rows());
    let digits = |&(target, gadget): &(KeyTarget, Gadget)| (0..target.digits(gadget)).map(|_| [one(gadget), one(gadget)]).collect();
    Ok(targets.iter().map(digits).collect())
}

/// Reads the keys, whose residues are all below their moduli.
fn read_keys<R: Read + Seek>(s: &Session, r: &mut Reader<R>, empty: Vec<Digits>) -> Result<PreparedKeys, ContainerError> {
    let mut read = |((target, gadget), mut digits): ((KeyTarget, Gadget), Digits)| {
        let name = format!("key.{}", name(target, gadget));
        let mut rows: Vec<&mut [u64]> = digits.iter_mut().flatten().flat_map(RnsPoly::iter_mut).collect();
        read_rows(r, &name, &shape(s, target, gadget), &mut rows)?;
        PreparedKey::from_digits(s.context.ring(), gadget, target, digits).map_err(|e| r.error(format!("{name}: {e}")))
    };
    s.key_targets().into_iter().zip(empty).map(&mut read).collect()
}

fn read_bootstrappers<R: Read + Seek>(s: &Session, r: &mut Reader<R>) -> Result<series::Bootstrappers, RuntimeError> {
    let mut failure: Option<ContainerError> = None;
    let mut fill = |name: &str, rows: &mut [&mut [u64]]| {
        // A bootstrap for more scales than are kept makes the rest itself.
        if !r.tensors().contains_key(name) {
            return false;
        }
        let shape = [rows.len(), rows.first().map_or(0, |r| r.len())];
        let read = read_rows(r, name, &shape, rows);
        let good = read.is_ok();
        failure = failure.take().or(read.err());
        good
    };
    let bootstrappers = series::Bootstrappers::new(s, s.engine().isa(), Some(&mut fill))?;
    failure.map_or(Ok(bootstrappers), |e| Err(e.into()))
}
