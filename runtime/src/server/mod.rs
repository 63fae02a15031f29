//! The server's half: runs a program on ciphertexts with evaluation keys only.

mod prepare;

use crate::{Batch, ResultBatch, RuntimeError, Session};
use chiffre_ckks::bundle::{BundleError, CtRef, LinearOp, PreparedKeys, apply_linear, mul_relin, pair_mul, pair_square, square_relin};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::ring::{Gadget, RnsPoly};
use chiffre_ckks::simd::Isa;
use chiffre_ir::program::ProgramOp;
use prepare::Linear;
use std::time::{Duration, Instant};

/// One instruction that has been executed, for progress and profiles.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// Micro-batch, instruction and how many there are of each.
    pub micro_batch: usize,
    /// Number of micro-batches.
    pub micro_batches: usize,
    /// Index of the instruction.
    pub instruction: usize,
    /// Number of instructions.
    pub instructions: usize,
    /// Mnemonic.
    pub op: &'static str,
    /// ONNX node.
    pub source: &'a str,
    /// Time taken.
    pub time: Duration,
}

type Bundle = Vec<[RnsPoly; 2]>;

/// Runs the session's program on an encrypted batch, micro-batch after micro-batch.
///
/// # Errors
/// A batch under another key than `key_id`, or an instruction that fails; names the ONNX node.
pub fn run(
    s: &Session,
    key_id: crate::KeyId,
    keys: &PreparedKeys,
    batch: &Batch,
    mut progress: impl FnMut(&Step),
) -> Result<ResultBatch, RuntimeError> {
    if batch.id != key_id {
        return Err(RuntimeError::Mismatch("the evaluation keys and the input belong to different secret keys".into()));
    }
    let p = s.program();
    let isa = Isa::detect();
    let linears = prepare::linears(s)?;
    let scale = s.scale(&s.output()?.scale);
    let mut cts = vec![];
    for (m, input) in batch.cts.iter().enumerate() {
        let mut values: Vec<Bundle> = vec![vec![]; p.nodes.len()];
        for (v, n) in p.iter() {
            let start = Instant::now();
            let fail = |e: BundleError| RuntimeError::Execution { node: n.source.clone(), message: e.to_string() };
            let out = execute(s, isa, keys, n, &linears[v.index()], &values, input).map_err(fail)?;
            values[v.index()] = out;
            if let ProgramOp::Linear { free, .. } | ProgramOp::Mul { free, .. } | ProgramOp::Square { free, .. } = &n.op {
                free.iter().for_each(|&f| values[f] = vec![]);
            }
            progress(&Step {
                micro_batch: m,
                micro_batches: batch.cts.len(),
                instruction: v.index(),
                instructions: p.nodes.len(),
                op: chiffre_ir::graph::Op::info(&n.op).mnemonic,
                source: &n.source,
                time: start.elapsed(),
            });
        }
        let out = std::mem::take(&mut values[p.outputs[0].index()]);
        cts.push(out.into_iter().map(|c| Ciphertext::new(c, scale.clone())).collect());
    }
    Ok(ResultBatch { id: batch.id, images: batch.images, cts })
}

fn execute(
    s: &Session,
    isa: Isa,
    keys: &PreparedKeys,
    n: &chiffre_ir::graph::Node<chiffre_ir::program::Prog>,
    linear: &Option<Linear>,
    values: &[Bundle],
    input: &[chiffre_ckks::ciphertext::SeededCiphertext],
) -> Result<Bundle, BundleError> {
    let ring = s.context.ring();
    let limbs = n.args.iter().map(|a| s.program().ty(*a).limbs).min().unwrap_or(n.ty.limbs);
    let refs = |a: &chiffre_ir::graph::ValueId| values[a.index()].iter().map(CtRef::from).collect::<Vec<_>>();
    let gadget = |g: &[usize; 2]| Gadget { limbs: g[0], alpha: g[1] };
    let complex = n.ty.layout.complex.is_some();
    match &n.op {
        ProgramOp::Input {} => Ok(input
            .iter()
            .map(|c| {
                let mut polys = c.expand(ring, n.ty.limbs).polys.into_iter();
                [polys.next().unwrap_or_else(|| RnsPoly::new_zero(ring.n, 0)), polys.next().unwrap_or_else(|| RnsPoly::new_zero(ring.n, 0))]
            })
            .collect()),
        ProgramOp::Linear { drop, gadget: g, .. } => {
            let Some(l) = linear else { return Err(BundleError::Table("not prepared".into())) };
            let inputs: Vec<CtRef> = n.args.iter().flat_map(refs).collect();
            let op = LinearOp {
                table: &l.table,
                input_scales: &l.input_scales,
                limbs_in: limbs,
                bias: l.bias.as_deref(),
                gadget: g.as_ref().map_or(Gadget { limbs, alpha: 1 }, gadget),
                drop_limbs: *drop,
            };
            apply_linear(ring, isa, &inputs, &op, keys)
        }
        ProgramOp::Square { gadget: g, .. } => {
            let x = refs(&n.args[0]);
            if complex { pair_square(ring, isa, &x, limbs, keys, gadget(g)) } else { square_relin(ring, isa, &x, limbs, keys, gadget(g)) }
        }
        ProgramOp::Mul { gadget: g, .. } => {
            let (x, y) = (refs(&n.args[0]), refs(&n.args[1]));
            if complex { pair_mul(ring, isa, &x, &y, limbs, keys, gadget(g)) } else { mul_relin(ring, isa, &x, &y, limbs, keys, gadget(g)) }
        }
    }
}
