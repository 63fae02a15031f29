//! Encrypted batches: inputs in seeded form, results, in memory and on disk. A batch has the units of its layout that hold its images.

use crate::eval_keys::{KeyId, binding, check_binding, poly_bytes, polys_from_bytes};
use crate::{RuntimeError, Session};
use chiffre_ckks::ciphertext::{Ciphertext, SeededCiphertext};
use chiffre_ckks::ring::RnsPoly;
use chiffre_ir::container::{Dtype, Reader, Writer};
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
    /// Digest of the file that the batch was read from.
    pub digest: Option<String>,
    /// Number of images.
    pub images: usize,
    /// `[unit][ciphertext]`.
    pub cts: Vec<Vec<SeededCiphertext>>,
}

/// The encrypted result of a run.
#[derive(Debug, Clone)]
pub struct ResultBatch {
    /// Name of the secret key.
    pub id: KeyId,
    /// Number of images.
    pub images: usize,
    /// `[unit][ciphertext]`.
    pub cts: Vec<Vec<Ciphertext>>,
}

fn images(r: &Reader, s: &Session) -> Result<usize, RuntimeError> {
    let n: usize = r.meta("images")?.parse().map_err(|_| r.error("bad number of images"))?;
    let batch = s.program().header.batch;
    if n == 0 || n > batch {
        return Err(r.error(format!("{n} images; the program takes 1 to {batch}")).into());
    }
    Ok(n)
}

impl Batch {
    /// Writes the batch.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        let ty = s.input()?;
        let n = s.context.ring().n;
        let count = ty.layout.unit_cts();
        let mut meta = binding(s, &self.id);
        meta.insert("images".into(), self.images.to_string());
        let list: Vec<_> = (0..self.cts.len())
            .flat_map(|m| {
                [(format!("m{m:05}.c0"), Dtype::U64, vec![count, ty.limbs, n]), (format!("m{m:05}.seed"), Dtype::U8, vec![count, 32])]
            })
            .collect();
        let mut w = Writer::create(path, INPUT_KIND, meta, &list)?;
        for (m, cts) in self.cts.iter().enumerate() {
            w.tensor(&format!("m{m:05}.c0"), &poly_bytes(cts.iter().map(SeededCiphertext::c0)))?;
            w.tensor(&format!("m{m:05}.seed"), &cts.iter().flat_map(|c| *c.seed()).collect::<Vec<u8>>())?;
        }
        w.finish()?;
        Ok(())
    }
    /// Reads a batch for the session's program.
    ///
    /// # Errors
    /// I/O errors, damaged files, files for another program, residues out of range.
    pub fn load(s: &Session, path: &Path) -> Result<Batch, RuntimeError> {
        let mut r = Reader::open(path, INPUT_KIND)?;
        let id = check_binding(&r, s)?;
        let images = images(&r, s)?;
        let (ty, ring) = (s.input()?, s.context.ring());
        let (count, scale) = (ty.layout.unit_cts(), s.scale(&ty.scale));
        let mut cts = vec![];
        for m in 0..ty.layout.units_for(images) {
            let bytes = r.read(&format!("m{m:05}.c0"), Dtype::U64, &[count, ty.limbs, ring.n])?;
            let seeds = r.read(&format!("m{m:05}.seed"), Dtype::U8, &[count, 32])?;
            let polys = polys_from_bytes(&bytes, ring.n, ty.limbs, count);
            let one = |(c0, seed): (RnsPoly, &[u8])| {
                let mut fixed = [0; 32];
                fixed.copy_from_slice(seed);
                SeededCiphertext::from_parts(ring, fixed, c0, scale.clone())
            };
            let list: Result<Vec<_>, _> = polys.into_iter().zip(seeds.chunks_exact(32)).map(one).collect();
            cts.push(list.map_err(|e| r.error(format!("unit {m}: {e}")))?);
        }
        Ok(Batch { id, digest: Some(r.digest().to_string()), images, cts })
    }
}

impl ResultBatch {
    /// Writes the result.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, s: &Session, path: &Path) -> Result<(), RuntimeError> {
        let ty = s.output()?;
        let n = s.context.ring().n;
        let mut meta = binding(s, &self.id);
        meta.insert("images".into(), self.images.to_string());
        let shape = vec![ty.layout.unit_cts(), 2, ty.limbs, n];
        let list: Vec<_> = (0..self.cts.len()).map(|m| (format!("m{m:05}"), Dtype::U64, shape.clone())).collect();
        let mut w = Writer::create(path, RESULT_KIND, meta, &list)?;
        for (m, cts) in self.cts.iter().enumerate() {
            w.tensor(&format!("m{m:05}"), &poly_bytes(cts.iter().flat_map(|c| &c.polys)))?;
        }
        w.finish()?;
        Ok(())
    }
    /// Reads a result of the session's program.
    ///
    /// # Errors
    /// I/O errors, damaged files, files for another program, residues out of range.
    pub fn load(s: &Session, path: &Path) -> Result<ResultBatch, RuntimeError> {
        let mut r = Reader::open(path, RESULT_KIND)?;
        let id = check_binding(&r, s)?;
        let images = images(&r, s)?;
        let (ty, ring) = (s.output()?, s.context.ring());
        let (count, scale) = (ty.layout.unit_cts(), s.scale(&ty.scale));
        let mut cts = vec![];
        for m in 0..ty.layout.units_for(images) {
            let bytes = r.read(&format!("m{m:05}"), Dtype::U64, &[count, 2, ty.limbs, ring.n])?;
            let mut polys = polys_from_bytes(&bytes, ring.n, ty.limbs, 2 * count).into_iter();
            let mut list = vec![];
            while let (Some(c0), Some(c1)) = (polys.next(), polys.next()) {
                let c = Ciphertext::new([c0, c1], scale.clone());
                c.check(ring).map_err(|e| r.error(format!("unit {m}: {e}")))?;
                list.push(c);
            }
            cts.push(list);
        }
        Ok(ResultBatch { id, images, cts })
    }
}
