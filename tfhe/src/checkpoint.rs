//! Checkpoints of a run: the live ciphertexts go to a journal beside the result, and an interrupted
//! run goes on from there.

use crate::session::binding;
use crate::words::read_words;
use crate::{Batch, Session, TfheError};
use chiffre_ir::container::{ContainerError, Reader};
use chiffre_ir::journal::{self, Codec};
use chiffre_ir::quant::{QuantGraph, QuantOp};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Least time between two commits, in durations of the last one.
const COST_FACTOR: u32 = 4;

/// Ciphertexts of the values of images: by value and image, one behind the other.
pub(crate) type Values = BTreeMap<journal::Key, Vec<u64>>;

/// How a journal stores them: a tensor of words. Every word is one of a ciphertext.
#[derive(Debug)]
pub(crate) enum Ciphertexts {}

impl Codec for Ciphertexts {
    type Value = Vec<u64>;
    type Context = ();
    /// Number of ciphertexts, and of the words of each.
    type Shape = [usize; 2];

    fn tensors(value: &Vec<u64>) -> Vec<Vec<usize>> {
        vec![vec![value.len()]]
    }
    fn bytes(value: &Vec<u64>, _: usize) -> Vec<u8> {
        value.iter().flat_map(|w| w.to_le_bytes()).collect()
    }
    fn read(r: &mut Reader, (): &(), [count, words]: [usize; 2], name: impl Fn(usize) -> String) -> Result<Vec<u64>, ContainerError> {
        read_words(r, &name(0), &[count * words])
    }
}

/// How long each value of an image is live: until behind the last node that reads it, and outputs
/// for ever. Expanded inputs are not stored: a batch has all that they are made of.
pub(crate) struct Lives(Vec<usize>);

impl Lives {
    pub(crate) fn of(g: &QuantGraph) -> Lives {
        let mut last: Vec<usize> = (0..g.nodes.len()).collect();
        for (v, n) in g.iter() {
            n.args.iter().for_each(|a| last[a.index()] = v.index());
        }
        g.outputs.iter().for_each(|o| last[o.index()] = usize::MAX);
        Lives(last)
    }
    /// True if a value is read behind node `done` of its image.
    pub(crate) fn outlives(&self, value: usize, done: usize) -> bool {
        self.0[value] > done
    }
    /// The values that are live before step `step`: images one by one, node by node.
    fn before(&self, g: &QuantGraph, step: usize) -> Vec<journal::Key> {
        let nodes = g.nodes.len();
        let (images, next) = (step / nodes, step % nodes);
        let outputs = (0..images).flat_map(|i| (0..nodes).filter(|v| self.0[*v] == usize::MAX).map(move |v| (v, i)));
        let stored = |v: &usize| self.0[*v] >= next && !matches!(g.nodes[*v].op, QuantOp::Input {});
        outputs.chain((0..next).filter(stored).map(|v| (v, images))).collect()
    }
}

/// The journal of a run, and what an interrupted run left in it.
#[derive(Debug)]
pub struct Checkpoints {
    journal: journal::Journal<Ciphertexts>,
    resume: Option<journal::Resume<Ciphertexts>>,
    warning: Option<String>,
    every: Duration,
    last: Instant,
    cost: Duration,
}

impl Checkpoints {
    /// Opens or makes the journal in the folder `dir`, for a run of the session's program on a
    /// batch. An interruption loses the work of about `every`.
    ///
    /// # Errors
    /// I/O errors, or a folder that belongs to another run.
    pub fn open(s: &Session, batch: &Batch, dir: &Path, every: Duration) -> Result<Checkpoints, TfheError> {
        let (g, lives) = (s.program(), Lives::of(s.program()));
        let mut bound = binding(s, &batch.id);
        bound.insert("input".into(), batch.digest.clone());
        let steps = batch.images() * g.nodes.len();
        let shape = |(v, i): journal::Key| ((v, i), [g.nodes[v].ty.shape.len(), s.words()]);
        let live = |step: usize| (step <= steps).then(|| lives.before(g, step).into_iter().map(shape).collect());
        let journal::Opened { journal, resume, warning } = journal::Journal::open(dir, &(), bound, live)?;
        Ok(Checkpoints { journal, resume, warning, every, last: Instant::now(), cost: Duration::ZERO })
    }
    /// Why what an earlier run left is not used, for the user.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
    /// The number of steps that the interrupted run had done, if there was one.
    pub fn resumed(&self) -> Option<usize> {
        self.resume.as_ref().map(|r| r.step)
    }
    /// Removes the journal; to be called when the result has its final name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(self) -> Result<(), TfheError> {
        Ok(self.journal.finish()?)
    }
    /// The step to go on with, and the values live before it.
    pub(crate) fn resume(&mut self) -> Option<(usize, Values)> {
        self.resume.take().map(|r| (r.step, r.values))
    }
    /// Before step `next`: commits the live values if it is time. Says what went wrong, if
    /// something did.
    pub(crate) fn before(&mut self, next: usize, g: &QuantGraph, lives: &Lives, values: &Values) -> Option<String> {
        if self.last.elapsed() < self.every.max(self.cost * COST_FACTOR) {
            return None;
        }
        self.store(next, g, lives, values).err().map(|e| format!("no checkpoint: {e}"))
    }
    /// Commits the values that are live before step `next`.
    pub(crate) fn store(&mut self, next: usize, g: &QuantGraph, lives: &Lives, values: &Values) -> Result<(), TfheError> {
        let began = Instant::now();
        let live = lives.before(g, next);
        let stored = self.journal.commit(next, live.iter().filter_map(|key| values.get(key).map(|v| (*key, v))));
        (self.last, self.cost) = (Instant::now(), began.elapsed());
        Ok(stored?)
    }
}
