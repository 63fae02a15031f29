//! The server half: runs a program on encrypted images with evaluation keys.

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
#[derive(Debug, Clone, Copy)]
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
    /// threads. `watch` sees every step, and may stop the run.
    ///
    /// # Errors
    /// A batch under another key; [`TfheError::Cancelled`] where `watch` has stopped the run.
    pub fn run(&self, batch: &Batch, mut watch: impl FnMut(&Step<'_>) -> ControlFlow<()>) -> Result<Results, TfheError> {
        if batch.id != self.id {
            let (theirs, ours) = (hex(&batch.id), hex(&self.id));
            return Err(TfheError::Mismatch(format!("the input is under key {theirs}, the evaluation keys are of key {ours}")));
        }
        let g = self.session.program();
        let per = self.session.input().shape.len();
        if batch.bodies.len() != batch.images() * per {
            return Err(TfheError::Input(format!("the input does not have {per} words for each of its images")));
        }
        let mut outputs = vec![vec![]; g.outputs.len()];
        for (image, (seed, bodies)) in batch.seeds.iter().zip(batch.bodies.chunks_exact(per)).enumerate() {
            let mut uses = g.use_counts();
            let mut values: Vec<Vec<u64>> = vec![vec![]; g.nodes.len()];
            for (value, n) in g.iter() {
                let at = Instant::now();
                values[value.index()] = match n.op {
                    QuantOp::Input {} => expand(self.session.params(), seed, bodies),
                    _ => self.node(value, &n.args.iter().map(|a| values[a.index()].as_slice()).collect::<Vec<_>>())?,
                };
                for a in &n.args {
                    uses[a.index()] -= 1;
                    if uses[a.index()] == 0 {
                        values[a.index()] = vec![];
                    }
                }
                let step = Step { image, value, op: n.op.info().mnemonic, source: &n.source, time: at.elapsed() };
                if watch(&step).is_break() {
                    let (steps, done) = (self.steps(batch.images()), image * g.nodes.len() + value.index() + 1);
                    return Err(TfheError::Cancelled { left: steps - done, steps });
                }
            }
            outputs.iter_mut().zip(&g.outputs).for_each(|(out, o)| out.extend_from_slice(&values[o.index()]));
        }
        Ok(Results {
            name: "the result".into(),
            id: batch.id,
            nonce: batch.nonce,
            input: batch.digest.clone(),
            images: batch.images(),
            outputs,
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
            QuantOp::Round { approximate: true } => out.copy_from_slice(operands[0]),
            QuantOp::Round { approximate: false } => {
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
