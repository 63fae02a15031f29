//! One batch on its way through the program, step by step.

use super::Checkpoints;
use super::execute::Machine;
use super::prepared::Prepared;
use super::values::Values;
use crate::journal::Journal;
use crate::{Batch, ResultBatch, RuntimeError};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::ring::RnsPoly;
use chiffre_ir::program::Step;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One step that has been executed, for progress and profiles.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Index of the step.
    pub step: usize,
    /// Number of steps.
    pub steps: usize,
    /// Index of the instruction.
    pub instruction: usize,
    /// The units it computed.
    pub units: Range<usize>,
    /// Mnemonic.
    pub op: &'static str,
    /// ONNX node.
    pub source: &'a str,
    /// When it began, since the start of the run in this process.
    pub at: Duration,
    /// Time taken.
    pub time: Duration,
    /// The ciphertexts of each unit that it computed, for probes.
    pub results: Vec<&'a [[RnsPoly; 2]]>,
    /// A checkpoint behind this step failed; the run goes on.
    pub warning: Option<String>,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Finished {
    /// The encrypted result.
    pub result: ResultBatch,
    /// The journal of a run with checkpoints: to be removed by [`Journal::finish`] when the result
    /// is in a safe place.
    pub journal: Option<Journal>,
}

/// A run of a program on one batch: a fixed list of steps, of which some are done.
///
/// Dropping a run keeps what its checkpoints have stored.
pub struct Run {
    prepared: Arc<Prepared>,
    batch: Arc<Batch>,
    steps: Vec<Step>,
    /// The next step.
    next: usize,
    values: Values,
    checkpoints: Option<Checkpoints>,
    began: Instant,
    /// A step has failed, and with it values were lost.
    failed: bool,
    /// The last drive ended where its callback asked for it.
    stopped: bool,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("program", &self.prepared.session.program().name)
            .field("done", &self.next)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl Run {
    pub(super) fn new(prepared: Arc<Prepared>, batch: Arc<Batch>, mut checkpoints: Option<Checkpoints>) -> Result<Run, RuntimeError> {
        if batch.id != prepared.keys.id() {
            return Err(RuntimeError::Mismatch("the evaluation keys and the input belong to different secret keys".into()));
        }
        batch.check()?;
        let steps = prepared.session.program().steps(batch.images);
        let (next, values) = checkpoints.as_mut().and_then(Checkpoints::resume).unwrap_or_default();
        Ok(Run { prepared, batch, steps, next, values, checkpoints, began: Instant::now(), failed: false, stopped: false })
    }

    /// All steps, in the order of their execution.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many steps are done, those of the interrupted run that this one continues among them.
    pub fn done(&self) -> usize {
        self.next
    }

    /// Executes the next step and says what it did; `None` if all are done. A checkpoint is made
    /// behind it if one is due.
    ///
    /// # Errors
    /// An instruction that fails; names the ONNX node. The run cannot go on then.
    pub fn step(&mut self) -> Result<Option<Event<'_>>, RuntimeError> {
        if self.failed {
            return Err(RuntimeError::Failed);
        }
        let Some(step) = self.steps.get(self.next) else { return Ok(None) };
        let (index, start) = (self.next, Instant::now());
        let prepared = &*self.prepared;
        let machine = Machine { prepared, input: &self.batch.cts, images: self.batch.images };
        let values = &mut self.values;
        if let Err(e) = prepared.session.engine().install(|| machine.execute(step, values)) {
            self.failed = true;
            return Err(e);
        }
        let time = start.elapsed();
        self.next += 1;
        let warning = self.checkpoints.as_mut().and_then(|c| c.after(&self.steps, self.next, time, &self.values));
        let n = &prepared.session.program().nodes[step.node];
        Ok(Some(Event {
            step: index,
            steps: self.steps.len(),
            instruction: step.node,
            units: step.units.clone(),
            op: chiffre_ir::graph::Op::info(&n.op).mnemonic,
            source: &n.source,
            at: start - self.began,
            time,
            results: step.units.clone().filter_map(|u| self.values.get(&(step.node, u)).map(Vec::as_slice)).collect(),
            warning,
        }))
    }

    /// Executes steps until all are done or `watch`, which sees each of them, asks for a stop. Then
    /// live values are stored in the checkpoints, if the run has some: another run, in this process
    /// or in another one, goes on from there. So does this one, when it is driven again.
    ///
    /// # Errors
    /// As [`Self::step`], and those of [`Self::suspend`].
    pub fn drive(&mut self, mut watch: impl FnMut(&Event<'_>) -> ControlFlow<()>) -> Result<ControlFlow<()>, RuntimeError> {
        self.stopped = false;
        loop {
            let Some(event) = self.step()? else { return Ok(ControlFlow::Continue(())) };
            if watch(&event).is_break() {
                break;
            }
        }
        self.stopped = true;
        self.suspend()?;
        Ok(ControlFlow::Break(()))
    }

    /// Stores the live values now. A run without checkpoints has nowhere to store them, and does
    /// nothing.
    ///
    /// # Errors
    /// I/O errors; the run itself is as before.
    pub fn suspend(&mut self) -> Result<(), RuntimeError> {
        if self.failed {
            return Err(RuntimeError::Failed);
        }
        self.checkpoints.as_mut().map_or(Ok(()), |c| c.store(self.next, &self.values))
    }

    /// The result, when all steps are done.
    ///
    /// # Errors
    /// [`RuntimeError::Cancelled`] if the callback of [`Self::drive`] has stopped the run,
    /// [`RuntimeError::Unfinished`] if steps are left otherwise; what checkpoints hold stays.
    /// [`RuntimeError::Failed`] if one has failed.
    pub fn finish(mut self) -> Result<Finished, RuntimeError> {
        if self.failed {
            return Err(RuntimeError::Failed);
        }
        let (steps, left) = (self.steps.len(), self.steps.len() - self.next);
        if left > 0 {
            return Err(if self.stopped { RuntimeError::Cancelled { left, steps } } else { RuntimeError::Unfinished { left, steps } });
        }
        let s = &self.prepared.session;
        let scale = s.scale(&s.output()?.scale);
        let output = s.program().outputs[0].index();
        let units = s.program().nodes[output].ty.layout.units_for(self.batch.images);
        let take = |u: usize| self.values.remove(&(output, u)).unwrap_or_default();
        let cts = (0..units).map(take).map(|b| b.into_iter().map(|c| Ciphertext::new(c, scale.clone())).collect()).collect();
        let Batch { id, nonce, ref digest, images, .. } = *self.batch;
        let result = ResultBatch { name: "the result".into(), id, nonce, input: Some(digest.clone()), images, cts };
        Ok(Finished { result, journal: self.checkpoints.map(Checkpoints::into_journal) })
    }
}
