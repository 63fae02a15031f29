//! The server's half: runs a program on ciphertexts with evaluation keys only.

mod checkpoint;
mod execute;
mod prepare;
mod series;

pub use checkpoint::{Checkpoints, open_journal};

use crate::{Batch, KeyId, ResultBatch, RuntimeError, Session};
use chiffre_ckks::Isa;
use chiffre_ckks::bundle::PreparedKeys;
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::memory::reserve_rows;
use chiffre_ckks::ring::RnsPoly;
use std::collections::BTreeMap;
use std::ops::Range;
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
    /// When it began, since the start of the run.
    pub at: Duration,
    /// Time taken.
    pub time: Duration,
    /// The ciphertexts of each unit that it computed, for probes; empty if skipped.
    pub results: Vec<&'a [[RnsPoly; 2]]>,
    /// The step was done by the interrupted run that this one continues.
    pub skipped: bool,
    /// A checkpoint behind this step failed; the run goes on.
    pub warning: Option<String>,
}

/// The ciphertexts of one unit.
type Bundle = Vec<[RnsPoly; 2]>;
/// Live units by (value, unit).
type Values = BTreeMap<(usize, usize), Bundle>;

/// A program ready to run: what all runs of a process share.
pub struct Server<'a> {
    session: &'a Session,
    isa: Isa,
    key_id: KeyId,
    keys: &'a PreparedKeys,
    /// By instruction.
    linears: Vec<Option<prepare::Linear>>,
    bootstrappers: series::Bootstrappers,
    spare: prepare::Spare,
}

impl<'a> Server<'a> {
    /// Brings the program's tables into the form that kernels take, and takes `buffers` bytes of memory for ciphertexts from the system: what
    /// runs need beyond them they take when they need it.
    ///
    /// # Errors
    /// Tables that do not fit the program's ring; names the ONNX node.
    pub fn new(session: &'a Session, key_id: KeyId, keys: &'a PreparedKeys, buffers: usize) -> Result<Self, RuntimeError> {
        let isa = Isa::detect();
        let (linears, bootstrappers) = (prepare::linears(session)?, series::Bootstrappers::new(session, isa)?);
        reserve_rows(session.context.ring().n, buffers);
        Ok(Self { session, isa, key_id, keys, linears, bootstrappers, spare: prepare::Spare::default() })
    }

    /// Runs the program on an encrypted batch: the steps of its schedule, for the units that hold images. With `checkpoints`
    /// the run goes on where an interrupted one ended, and stores its live values from time to time.
    ///
    /// # Errors
    /// A batch under another key than the server's, or an instruction that fails; names the ONNX node.
    pub fn run(
        &self,
        batch: &Batch,
        mut checkpoints: Option<Checkpoints>,
        mut progress: impl FnMut(&Event),
    ) -> Result<ResultBatch, RuntimeError> {
        if batch.id != self.key_id {
            return Err(RuntimeError::Mismatch("the evaluation keys and the input belong to different secret keys".into()));
        }
        let (s, p) = (self.session, self.session.program());
        let machine = execute::Machine { server: self, input: &batch.cts, images: batch.images };
        let steps = p.steps(batch.images);
        let run_start = Instant::now();
        let (first, mut values) = checkpoints.as_mut().and_then(Checkpoints::resume).unwrap_or_default();
        for (i, step) in steps.iter().enumerate() {
            let (start, skipped) = (Instant::now(), i < first);
            if !skipped {
                machine.execute(step, &mut values)?;
            }
            let time = start.elapsed();
            let warning = match &mut checkpoints {
                Some(c) if !skipped => c.after(i + 1, &values),
                _ => None,
            };
            let n = &p.nodes[step.node];
            progress(&Event {
                step: i,
                steps: steps.len(),
                instruction: step.node,
                units: step.units.clone(),
                at: start - run_start,
                results: step.units.clone().filter_map(|u| values.get(&(step.node, u)).map(Vec::as_slice)).collect(),
                op: chiffre_ir::graph::Op::info(&n.op).mnemonic,
                source: &n.source,
                time,
                skipped,
                warning,
            });
        }
        let scale = s.scale(&s.output()?.scale);
        let output = p.outputs[0].index();
        let units = p.nodes[output].ty.layout.units_for(batch.images);
        let take = |u: usize| values.remove(&(output, u)).unwrap_or_default();
        let cts = (0..units).map(take).map(|b| b.into_iter().map(|c| Ciphertext::new(c, scale.clone())).collect()).collect();
        Ok(ResultBatch { id: batch.id, images: batch.images, cts })
    }
}
