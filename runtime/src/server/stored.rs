//! Prepared state in a container: a server that another process reads, instead of expanding keys
//! and encoding tables anew.
//!
//! It holds the expanded keys, the encoded patterns and biases of linear maps and the diagonals of
//! bootstraps: what takes long to compute. It is bound to the program, to the key and to
//! [`VERSION`], and holds nothing that the program and the evaluation keys do not say.

use super::prepare::{Encoded, Stored, instructions};
use super::{Prepared, Server, prepare, series};
use crate::eval_keys::{binding, check_binding, name};
use crate::words::{read_rows, read_words, word_bytes};
use crate::{RuntimeError, ServerKeys, Session};
use chiffre_ckks::bundle::{BiasPoly, PreparedKey};
use chiffre_ckks::ring::RnsPoly;
use chiffre_ir::container::{ContainerError, Contents, Dtype, Reader, Writer};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

/// Kind of files of prepared state.
pub const KIND: &str = "prepared-server";
/// Version of what kernels read: the form of keys, patterns and diagonals.
pub const VERSION: &str = "1";

/// The names of a linear map's tensors, in order.
fn linear_names(node: usize) -> [String; 3] {
    ["bias", "bias-lengths", "patterns"].map(|what| format!("linear.{node:06}.{what}"))
}

fn key_name(key: &PreparedKey) -> String {
    format!("key.{}", name(key.target(), key.gadget()))
}

fn pattern_bytes(pattern: &[f64]) -> Vec<u8> {
    pattern.iter().flat_map(|c| c.to_bits().to_le_bytes()).collect()
}

impl Server {
    /// Shows all tensors in the order of their names: bootstraps, keys, linear maps.
    fn tensors(
        &self,
        mut visit: impl FnMut(&str, Vec<usize>, &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let Prepared { session, keys, instructions, bootstrappers, .. } = &*self.prepared;
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
        for (node, encoded) in instructions.iter().enumerate().filter_map(|(i, n)| Some((i, n.encoded()?))) {
            let [bias, lengths, patterns] = linear_names(node);
            let Encoded { patterns: values, bias: list } = encoded;
            if let Some(list) = list {
                let total = list.iter().map(|BiasPoly(b)| b.len()).sum();
                let bytes = |BiasPoly(b): &BiasPoly| b.iter().flat_map(|c| c.to_le_bytes()).collect();
                visit(&bias, vec![total], &mut list.iter().map(bytes))?;
                visit(&lengths, vec![list.len()], &mut list.iter().map(|BiasPoly(b)| (b.len() as u64).to_le_bytes().to_vec()))?;
            }
            visit(&patterns, vec![values.len(), values.first().map_or(0, Vec::len)], &mut values.iter().map(|p| pattern_bytes(p)))?;
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
        Server::from_container(session.into(), Reader::open(path, KIND)?, buffers)
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
        Server::from_container(session.into(), Reader::new(source, name, KIND)?, buffers)
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
            let keys = read_keys(&session, &mut r)?;
            let stored = read_linears(&session, &mut r)?;
            let instructions = instructions(&session, stored).map_err(|e| refused(&r, e))?;
            let mut failure: Option<ContainerError> = None;
            let mut fill = |name: &str, rows: &mut [&mut [u64]]| {
                // A bootstrap for more scales than are kept makes the rest itself.
                if !r.tensors().contains_key(name) {
                    return false;
                }
                let shape = [rows.len(), rows.first().map_or(0, |r| r.len())];
                let read = read_rows(&mut r, name, &shape, rows);
                let good = read.is_ok();
                failure = failure.take().or(read.err());
                good
            };
            let bootstrappers = series::Bootstrappers::new(&session, isa, Some(&mut fill))?;
            if let Some(e) = failure {
                return Err(e.into());
            }
            let keys = Arc::new(ServerKeys::from_parts(id, keys));
            Ok::<_, RuntimeError>(Prepared {
                session: session.clone(),
                isa,
                keys,
                instructions,
                bootstrappers,
                spare: prepare::Spare::default(),
            })
        })?;
        Ok(Server::from_prepared(prepared, buffers))
    }
}

/// What does not fit the program was not made for it.
fn refused<R: Read + Seek>(r: &Reader<R>, e: RuntimeError) -> RuntimeError {
    r.error(format!("does not fit the program: {e}")).into()
}

fn read_keys<R: Read + Seek>(s: &Session, r: &mut Reader<R>) -> Result<chiffre_ckks::bundle::PreparedKeys, RuntimeError> {
    let ring = s.context.ring();
    let mut out = chiffre_ckks::bundle::PreparedKeys::new();
    for (target, gadget) in s.key_targets() {
        let name = format!("key.{}", name(target, gadget));
        let (count, rows) = (target.digits(gadget), gadget.rows());
        let empty = || RnsPoly::new_unspecified(ring.n(), rows);
        let mut digits: Vec<[RnsPoly; 2]> = (0..count).map(|_| [empty(), empty()]).collect();
        let mut all: Vec<&mut [u64]> = digits.iter_mut().flatten().flat_map(RnsPoly::iter_mut).collect();
        read_rows(r, &name, &[count, 2, rows, ring.n()], &mut all)?;
        out.insert(PreparedKey::from_digits(ring, gadget, target, digits).map_err(|e| r.error(format!("{name}: {e}")))?);
    }
    Ok(out)
}

/// What is stored of each node.
fn read_linears<R: Read + Seek>(s: &Session, r: &mut Reader<R>) -> Result<Vec<Option<Stored>>, RuntimeError> {
    let mut out = vec![];
    for node in 0..s.program().nodes.len() {
        let [bias, lengths, patterns] = linear_names(node);
        let shape =
            |r: &Reader<R>, name: &str| -> Option<Vec<usize>> { Some(r.tensors().get(name)?.shape.iter().map(|&d| d as usize).collect()) };
        let Some(extents) = shape(r, &patterns) else {
            out.push(None);
            continue;
        };
        let [count, period] = extents[..] else { return Err(r.error(format!("{patterns}: not a matrix")).into()) };
        if period == 0 && count > 0 {
            return Err(r.error(format!("{patterns}: rows without words")).into());
        }
        let words = read_words(r, &patterns, &[count, period])?;
        let list = (0..count).map(|i| words[i * period..(i + 1) * period].iter().map(|w| f64::from_bits(*w)).collect()).collect();
        let mut stored = Stored { patterns: list, bias: None };
        if let (Some([total]), Some([count])) = (shape(r, &bias).as_deref(), shape(r, &lengths).as_deref()) {
            let words = read_words(r, &bias, &[*total])?;
            let mut at = 0usize;
            let mut polys = vec![];
            for length in read_words(r, &lengths, &[*count])? {
                let end = usize::try_from(length).ok().and_then(|n| at.checked_add(n)).filter(|end| *end <= words.len());
                let end = end.ok_or_else(|| r.error(format!("{lengths}: more than there are")))?;
                polys.push(BiasPoly(words[at..end].iter().map(|w| *w as i64).collect()));
                at = end;
            }
            stored.bias = Some(polys);
        }
        out.push(Some(stored));
    }
    Ok(out)
}
