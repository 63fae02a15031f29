//! Encrypted batches: inputs in seeded form, results, in memory, on disk and in any other source
//! and sink. A batch has the units of its layout that hold its images.
//!
//! A ciphertext is **transparent** if one of its polynomials is zero modulo a prime: modulo that
//! prime it hides nothing, and no honest client or server makes one, but with a probability that
//! nobody will ever see. The results of programs with constant classes are an exception
//! ([`Program::input_free`](chiffre_ir::program::Program::input_free)).

use crate::eval_keys::{binding, check_binding};
use crate::words::{poly_bytes, polys_from_bytes};
use crate::{RuntimeError, Session};
use chiffre_ckks::ciphertext::{Ciphertext, SeededCiphertext};
use chiffre_ckks::ring::RnsPoly;
use chiffre_ir::container::{Contents, Dtype, Reader, Writer};
use chiffre_ir::output::Output;
use chiffre_ir::token::{KeyId, Nonce, hex, parse_id};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Kind of input files.
pub const INPUT_KIND: &str = "encrypted-input";
/// Kind of result files.
pub const RESULT_KIND: &str = "encrypted-result";

/// An encrypted batch of images: units of seeded ciphertexts.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Name of the secret key.
    pub id: KeyId,
    /// Name of the batch; `None` in those that older versions have encrypted.
    pub nonce: Option<Nonce>,
    /// Digest of the batch as a file.
    pub digest: String,
    /// Number of images.
    pub images: usize,
    /// `[unit][ciphertext]`.
    pub cts: Vec<Vec<SeededCiphertext>>,
}

/// The encrypted result of a run.
#[derive(Debug, Clone)]
pub struct ResultBatch {
    /// What errors call it: its file, or "the result".
    pub name: String,
    /// Name of the secret key.
    pub id: KeyId,
    /// Nonce of the batch; `None` if that had none, or if an older version has run it.
    pub nonce: Option<Nonce>,
    /// Digest of the batch; `None` if an older version has run it.
    pub input: Option<String>,
    /// Number of images.
    pub images: usize,
    /// `[unit][ciphertext]`.
    pub cts: Vec<Vec<Ciphertext>>,
}

fn images<R: Read + Seek>(r: &Reader<R>, s: &Session) -> Result<usize, RuntimeError> {
    let n: usize = r.meta("images")?.parse().map_err(|_| r.error("bad number of images"))?;
    let batch = s.program().header.batch;
    if n == 0 || n > batch {
        return Err(r.error(format!("{n} images; the program takes 1 to {batch}")).into());
    }
    Ok(n)
}

/// The nonce in a file's metadata, if there is one.
fn nonce<R: Read + Seek>(r: &Reader<R>) -> Result<Option<Nonce>, RuntimeError> {
    let Ok(text) = r.meta("nonce") else { return Ok(None) };
    parse_id(text).map(Some).ok_or_else(|| r.error("bad nonce").into())
}

/// True if the polynomial is zero modulo one of its primes.
fn vanishes(p: &RnsPoly) -> bool {
    p.iter().any(|row| row.iter().all(|&residue| residue == 0))
}

/// What to say of a transparent ciphertext.
fn transparent([unit, ciphertext]: [usize; 2]) -> String {
    format!(
        "ciphertext {ciphertext} of unit {unit} is transparent: it can be read without the secret key, so nobody has encrypted or computed it"
    )
}

impl Batch {
    /// A batch with this nonce. The ciphertexts are `[unit][ciphertext]`.
    ///
    /// # Errors
    /// A program without exactly one input; ciphertexts of other shapes than it takes.
    pub fn new(s: &Session, id: KeyId, nonce: Nonce, images: usize, cts: Vec<Vec<SeededCiphertext>>) -> Result<Batch, RuntimeError> {
        let mut batch = Batch { id, nonce: Some(nonce), digest: String::new(), images, cts };
        batch.digest = batch.contents(s)?.digest(|w| batch.fill(w))?;
        Ok(batch)
    }
    /// Unit and ciphertext of the first transparent ciphertext.
    fn transparent(&self) -> Option<[usize; 2]> {
        let mut all = self.cts.iter().enumerate().flat_map(|(m, cts)| cts.iter().enumerate().map(move |(i, c)| ([m, i], c)));
        all.find(|(_, c)| vanishes(c.c0())).map(|(at, _)| at)
    }
    /// Refuses what nobody has encrypted.
    ///
    /// # Errors
    /// [`RuntimeError::Input`] for a transparent ciphertext.
    pub fn check(&self) -> Result<(), RuntimeError> {
        self.transparent().map_or(Ok(()), |at| Err(RuntimeError::Input(format!("the input: {}", transparent(at)))))
    }
    fn contents(&self, s: &Session) -> Result<Contents, RuntimeError> {
        let ty = s.input()?;
        let n = s.context.ring().n();
        let count = ty.layout.unit_cts();
        let mut meta = binding(s, &self.id);
        meta.insert("images".into(), self.images.to_string());
        meta.extend(self.nonce.map(|nonce| ("nonce".to_string(), hex(&nonce))));
        let list: Vec<_> = (0..self.cts.len())
            .flat_map(|m| {
                [(format!("m{m:05}.c0"), Dtype::U64, vec![count, ty.limbs, n]), (format!("m{m:05}.seed"), Dtype::U8, vec![count, 32])]
            })
            .collect();
        Ok(Contents::new(INPUT_KIND, meta, &list))
    }
    fn fill(&self, w: &mut Writer<'_>) -> Result<(), RuntimeError> {
        for (m, cts) in self.cts.iter().enumerate() {
            w.tensor_parts(&format!("m{m:05}.c0"), cts.iter().map(|c| poly_bytes([c.c0()])))?;
            w.tensor_parts(&format!("m{m:05}.seed"), cts.iter().map(SeededCiphertext::seed))?;
        }
        Ok(())
    }
    /// Writes the batch to a file.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        self.contents(s)?.save(path, |w| self.fill(w)).map(|_| ())
    }
    /// As [`Self::save`], but leaves the file without its name, for [`Output::finish_together`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self, s: &Session, path: &Path) -> Result<Output, RuntimeError> {
        self.contents(s)?.stage(path, |w| self.fill(w))
    }
    /// As [`Self::save`], to any sink, which errors call `name`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, s: &Session, sink: impl Write, name: &str) -> Result<(), RuntimeError> {
        self.contents(s)?.write(sink, name, |w| self.fill(w)).map(|_| ())
    }
    /// Reads a batch for the session's program from a file.
    ///
    /// # Errors
    /// I/O errors, damaged files, files for another program, residues out of range, transparent
    /// ciphertexts.
    pub fn load(s: &Session, path: &Path) -> Result<Batch, RuntimeError> {
        Batch::from_container(s, Reader::open(path, INPUT_KIND)?)
    }
    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<Batch, RuntimeError> {
        Batch::from_container(s, Reader::new(source, name, INPUT_KIND)?)
    }
    /// As [`Self::load`], from a source that cannot seek and holds at most `limit` bytes, all of
    /// which are in memory for a while.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn receive(s: &Session, source: impl Read, name: &str, limit: u64) -> Result<Batch, RuntimeError> {
        Batch::from_container(s, Reader::buffered(source, name, INPUT_KIND, limit)?)
    }
    fn from_container<R: Read + Seek>(s: &Session, mut r: Reader<R>) -> Result<Batch, RuntimeError> {
        let id = check_binding(&r, s)?;
        let (images, nonce) = (images(&r, s)?, nonce(&r)?);
        let (ty, ring) = (s.input()?, s.context.ring());
        let (count, scale) = (ty.layout.unit_cts(), s.scale(&ty.scale));
        let mut cts = vec![];
        for m in 0..ty.layout.units_for(images) {
            let bytes = r.read(&format!("m{m:05}.c0"), Dtype::U64, &[count, ty.limbs, ring.n()])?;
            let seeds = r.read(&format!("m{m:05}.seed"), Dtype::U8, &[count, 32])?;
            let one = |(c0, seed): (RnsPoly, &[u8])| {
                let mut fixed = [0; 32];
                fixed.copy_from_slice(seed);
                SeededCiphertext::from_parts(ring, fixed, c0, scale.clone())
            };
            let polys = || polys_from_bytes(&bytes, ring.n(), ty.limbs, count);
            let list = s.engine().install(|| polys().into_iter().zip(seeds.chunks_exact(32)).map(one).collect::<Result<Vec<_>, _>>());
            cts.push(list.map_err(|e| r.error(format!("unit {m}: {e}")))?);
        }
        let batch = Batch { id, nonce, digest: r.digest().to_string(), images, cts };
        batch.transparent().map_or(Ok(batch), |at| Err(r.error(transparent(at)).into()))
    }
}

impl ResultBatch {
    /// Unit and ciphertext of the first transparent ciphertext that an honest run does not leave.
    fn transparent(&self, s: &Session) -> Option<[usize; 2]> {
        let free = s.program().input_free();
        let mut all = self.cts.iter().enumerate().flat_map(|(m, cts)| cts.iter().enumerate().map(move |(i, c)| ([m, i], c)));
        all.find(|(at, c)| c.polys.iter().any(vanishes) && !free.get(at[1]).is_some_and(|f| *f)).map(|(at, _)| at)
    }
    /// Refuses what no run of the program leaves.
    ///
    /// # Errors
    /// [`RuntimeError::Input`] for too few or too many ciphertexts, and for a transparent one.
    pub fn check(&self, s: &Session) -> Result<(), RuntimeError> {
        let layout = &s.output()?.layout;
        let shape = (layout.units_for(self.images), layout.unit_cts());
        if self.cts.len() != shape.0 || self.cts.iter().any(|c| c.len() != shape.1) || self.images > s.program().header.batch {
            return Err(RuntimeError::Input(format!("{} does not have {} units of {} ciphertexts", self.name, shape.0, shape.1)));
        }
        self.transparent(s).map_or(Ok(()), |at| Err(RuntimeError::Input(format!("{}: {}", self.name, transparent(at)))))
    }
    fn contents(&self, s: &Session) -> Result<Contents, RuntimeError> {
        let ty = s.output()?;
        let mut meta = binding(s, &self.id);
        meta.insert("images".into(), self.images.to_string());
        meta.extend(self.nonce.map(|nonce| ("nonce".to_string(), hex(&nonce))));
        meta.extend(self.input.clone().map(|input| ("input".to_string(), input)));
        let shape = vec![ty.layout.unit_cts(), 2, ty.limbs, s.context.ring().n()];
        let list: Vec<_> = (0..self.cts.len()).map(|m| (format!("m{m:05}"), Dtype::U64, shape.clone())).collect();
        Ok(Contents::new(RESULT_KIND, meta, &list))
    }
    fn fill(&self, w: &mut Writer<'_>) -> Result<(), RuntimeError> {
        for (m, cts) in self.cts.iter().enumerate() {
            w.tensor_parts(&format!("m{m:05}"), cts.iter().map(|c| poly_bytes(&c.polys)))?;
        }
        Ok(())
    }
    /// Writes the result to a file.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        self.contents(s)?.save(path, |w| self.fill(w)).map(|_| ())
    }
    /// As [`Self::save`], where nothing may have the name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save_new(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        self.contents(s)?.save_new(path, |w| self.fill(w)).map(|_| ())
    }
    /// Digest of the result as a file.
    ///
    /// # Errors
    /// A program without exactly one output.
    pub fn digest(&self, s: &Session) -> Result<String, RuntimeError> {
        self.contents(s)?.digest(|w| self.fill(w))
    }
    /// As [`Self::save`], to any sink, which errors call `name`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, s: &Session, sink: impl Write, name: &str) -> Result<(), RuntimeError> {
        self.contents(s)?.write(sink, name, |w| self.fill(w)).map(|_| ())
    }
    /// Reads a result of the session's program from a file.
    ///
    /// # Errors
    /// I/O errors, damaged files, files for another program, residues out of range, transparent
    /// ciphertexts.
    pub fn load(s: &Session, path: &Path) -> Result<ResultBatch, RuntimeError> {
        ResultBatch::from_container(s, Reader::open(path, RESULT_KIND)?)
    }
    /// As [`Self::load`], from any source, which errors call `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(s: &Session, source: impl Read + Seek, name: &str) -> Result<ResultBatch, RuntimeError> {
        ResultBatch::from_container(s, Reader::new(source, name, RESULT_KIND)?)
    }
    /// As [`Self::load`], from a source that cannot seek and holds at most `limit` bytes, all of
    /// which are in memory for a while.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn receive(s: &Session, source: impl Read, name: &str, limit: u64) -> Result<ResultBatch, RuntimeError> {
        ResultBatch::from_container(s, Reader::buffered(source, name, RESULT_KIND, limit)?)
    }
    fn from_container<R: Read + Seek>(s: &Session, mut r: Reader<R>) -> Result<ResultBatch, RuntimeError> {
        let id = check_binding(&r, s)?;
        let (images, nonce) = (images(&r, s)?, nonce(&r)?);
        let input = r.meta("input").ok().map(str::to_string);
        let (ty, ring) = (s.output()?, s.context.ring());
        let (count, scale) = (ty.layout.unit_cts(), s.scale(&ty.scale));
        let mut cts = vec![];
        for m in 0..ty.layout.units_for(images) {
            let bytes = r.read(&format!("m{m:05}"), Dtype::U64, &[count, 2, ty.limbs, ring.n()])?;
            let mut polys = s.engine().install(|| polys_from_bytes(&bytes, ring.n(), ty.limbs, 2 * count)).into_iter();
            let mut list = vec![];
            while let (Some(c0), Some(c1)) = (polys.next(), polys.next()) {
                let c = Ciphertext::new([c0, c1], scale.clone());
                c.check(ring).map_err(|e| r.error(format!("unit {m}: {e}")))?;
                list.push(c);
            }
            cts.push(list);
        }
        let result = ResultBatch { name: r.path().display().to_string(), id, nonce, input, images, cts };
        result.transparent(s).map_or(Ok(result), |at| Err(r.error(transparent(at)).into()))
    }
}
