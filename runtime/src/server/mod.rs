//! The server's half: runs a program on ciphertexts with evaluation keys only.

mod checkpoint;
mod execute;
mod prepare;
mod series;

pub use checkpoint::{Checkpoints, open_journal};

use crate::{Batch, ResultBatch, RuntimeError, Session};
use chiffre_ckks::bundle::PreparedKeys;
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::ring::RnsPoly;
use chiffre_ckks::simd::Isa;
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

/// Runs the session's program on an encrypted batch: the steps of its schedule, for the units that hold images. With `checkpoints`
/// the run goes on where an interrupted one ended, and stores its live values from time to time.
///
/// # Errors
/// A batch under another key than `key_id`, or an instruction that fails; names the ONNX node.
pub fn run(
    s: &Session,
    key_id: crate::KeyId,
    keys: &PreparedKeys,
    batch: &Batch,
    mut checkpoints: Option<Checkpoints>,
    mut progress: impl FnMut(&Event),
) -> Result<ResultBatch, RuntimeError> {
    if batch.id != key_id {
        return Err(RuntimeError::Mismatch("the evaluation keys and the input belong to different secret keys".into()));
    }
    let p = s.program();
    let (isa, linears) = (Isa::detect(), prepare::linears(s)?);
    let bootstrappers = series::Bootstrappers::new(s, isa)?;
    let machine = execute::Machine {
        session: s,
        isa,
        keys,
        bootstrappers,
        linears,
        spare: prepare::Spare::default(),
        input: &batch.cts,
        images: batch.images,
    };
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
