//! The server half: runs a program on encrypted images with evaluation keys.

use crate::checkpoint::{Checkpoints, Lives, Values};
use crate::engine::{Keys, expand};
use crate::keyswitch::TOGETHER;
use crate::linear;
use crate::results::Results;
use crate::round::{Rounding, add_to_body};
use crate::tables::Table;
use crate::{Batch, EvaluationKeys, Session, TfheError};
use chiffre_ir::graph::{Op, ValueId};
use chiffre_ir::quant::{QuantOp, Terms};
use chiffre_ir::token::{KeyId, hex};
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A program that is ready to run under the keys of one client.
pub struct Server {
    session: Arc<Session>,
    id: KeyId,
    keys: Keys,
    /// Of each node that is a look-up.
    tables: Vec<Option<Table>>,
}

/// A node that has been computed on one image.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// Which image.
    pub image: usize,
    /// Which value.
    pub value: ValueId,
    /// The operation.
    pub op: &'static str,
    /// The ONNX node.
    pub source: &'a str,
    /// How long it took.
    pub time: Duration,
    /// Why there is no checkpoint behind it, if one was due and failed.
    pub warning: Option<String>,
}

/// The ciphertexts of values of an image.
fn operands<'a>(values: &'a Values, args: &[ValueId], image: usize) -> Vec<&'a [u64]> {
    args.iter().map(|a| values.get(&(a.index(), image)).map_or(&[][..], Vec::as_slice)).collect()
}

impl Server {
    /// Expands keys, and makes polynomials of tables.
    ///
    /// # Errors
    /// Keys of other sizes than the program's parameters ask for; constants without data.
    pub fn new(session: Arc<Session>, keys: EvaluationKeys) -> Result<Server, TfheError> {
        keys.check(session.params())?;
        let (g, p) = (session.program(), session.params());
        let tables = g.nodes.iter().map(|n| Table::of(g, n, p.degree())).collect::<Result<_, _>>()?;
        Ok(Server { id: keys.id, keys: Keys::new(p, keys), tables, session })
    }
    /// The program.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }
    /// Steps of a run on so many images.
    pub fn steps(&self, images: usize) -> usize {
        images * self.session.program().nodes.len()
    }
    /// Runs the program on a batch, image by image and node by node, the elements of a node on all
    /// threads. `watch` sees every step, and may stop the run. With checkpoints an interrupted run
    /// goes on, and one that is stopped stores what it has.
    ///
    /// # Errors
    /// A batch under another key; [`TfheError::Cancelled`] where `watch` has stopped the run, or
    /// why what it has could not be stored then.
    pub fn run(
        &self,
        batch: &Batch,
        mut checkpoints: Option<&mut Checkpoints>,
        mut watch: impl FnMut(&Step<'_>) -> ControlFlow<()>,
    ) -> Result<Results, TfheError> {
        if batch.id != self.id {
            let (theirs, ours) = (hex(&batch.id), hex(&self.id));
            return Err(TfheError::Mismatch(format!("the input is under key {theirs}, the evaluation keys are of key {ours}")));
        }
        let (g, per, steps) = (self.session.program(), self.session.input().shape.len(), self.steps(batch.images()));
        if batch.bodies.len() != batch.images() * per {
            return Err(TfheError::Input(format!("the input does not have {per} words for each of its images")));
        }
        let lives = Lives::of(g);
        let (first, mut values) = checkpoints.as_mut().and_then(|c| c.resume()).unwrap_or_default();
        let expanded = |image: usize| expand(self.session.params(), &batch.seeds[image], &batch.bodies[image * per..][..per]);
        // An input that is still read was not stored.
        for v in (0..first % g.nodes.len()).filter(|v| matches!(g.nodes[*v].op, QuantOp::Input {})) {
            values.insert((v, first / g.nodes.len()), expanded(first / g.nodes.len()));
        }
        for step in first..steps {
            let (image, at) = (step / g.nodes.len(), Instant::now());
            let value = ValueId((step % g.nodes.len()) as u32);
            let n = g.node(value);
            let computed = match n.op {
                QuantOp::Input {} => expanded(image),
                _ => self.node(value, &operands(&values, &n.args, image))?,
            };
            values.insert((value.index(), image), computed);
            values.retain(|(v, i), _| *i < image || *v > value.index() || lives.outlives(*v, value.index()));
            let time = at.elapsed();
            // Behind the last step there is a result to be written.
            let due = checkpoints.as_mut().filter(|_| step + 1 < steps);
            let warning = due.and_then(|c| c.before(step + 1, g, &lives, &values));
            let watched = Step { image, value, op: n.op.info().mnemonic, source: &n.source, time, warning };
            if watch(&watched).is_break() && step + 1 < steps {
                checkpoints.map_or(Ok(()), |c| c.store(step + 1, g, &lives, &values))?;
                return Err(TfheError::Cancelled { left: steps - step - 1, steps });
            }
        }
        let of = |o: &ValueId| (0..batch.images()).flat_map(|i| operands(&values, &[*o], i).concat()).collect();
        Ok(Results {
            name: "the result".into(),
            id: batch.id,
            nonce: batch.nonce,
            input: batch.digest.clone(),
            images: batch.images(),
            outputs: g.outputs.iter().map(of).collect(),
        })
    }
    /// Computes all elements of a value that is not the input.
    fn node(&self, v: ValueId, operands: &[&[u64]]) -> Result<Vec<u64>, TfheError> {
        let (g, words) = (self.session.program(), self.session.words());
        let n = g.node(v);
        let mut out = vec![0; n.ty.shape.len() * words];
        // Elements that a thread looks up together: as many as share a read of the key, but so that
        // there is work for all threads.
        let together = n.ty.shape.len().div_ceil(rayon::current_num_threads()).clamp(1, TOGETHER);
        match &n.op {
            QuantOp::Input {} => {}
            QuantOp::LinearMap { .. } => {
                if let Some(terms) = Terms::of(g, v)? {
                    let elements = out.par_chunks_exact_mut(words).enumerate();
                    elements.for_each(|(i, sum)| linear::element(g, v, &terms, operands, i, sum));
                }
            }
            // The bits stay: to a look-up they are noise.
            QuantOp::Round { slack: Some(_) } => out.copy_from_slice(operands[0]),
            QuantOp::Round { slack: None } => {
                let (keys, bits) = (self.keys.removal(), g.ty(n.args[0]).bits);
                out.copy_from_slice(operands[0]);
                let memory = || (Rounding::new(together, words, keys.degree()), keys.scratch());
                out.par_chunks_mut(together * words).for_each_init(memory, |(rounding, scratch), x| {
                    rounding.round(keys, scratch, bits, bits - n.ty.bits, x);
                });
            }
            QuantOp::Lookup { .. } => {
                let [_, h, w] = n.ty.chw();
                let (Some(table), keys) = (&self.tables[v.index()], &self.keys.table) else { return Ok(out) };
                let memory = || (vec![0; together * words], keys.scratch());
                let elements = out.par_chunks_mut(together * words).zip(operands[0].par_chunks(together * words)).enumerate();
                elements.for_each_init(memory, |(shifted, scratch), (first, (results, operands))| {
                    let shifted = &mut shifted[..operands.len()];
                    shifted.copy_from_slice(operands);
                    shifted.chunks_exact_mut(words).for_each(|x| add_to_body(x, table.before));
                    keys.lookup(shifted, |i| table.of_channel((first * together + i) / (h * w)), scratch, results);
                    results.chunks_exact_mut(words).for_each(|x| add_to_body(x, table.after));
                });
            }
        }
        Ok(out)
    }
}
