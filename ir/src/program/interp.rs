//! Clear interpreter of programs.

use super::{Program, ProgramOp};
use crate::error::InterpError;
use crate::packed::interp::{Bundle, add_bias, by_batches, multiply};
use crate::packed::table_of;

/// Runs the program on a batch of tensors `[n, C, H, W]`; buffers named in `free` are gone afterwards, as in the encrypted run.
pub fn interp(g: &Program, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
    let inputs: Vec<_> = g.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Input {})).map(|n| &n.ty.layout).collect();
    let outputs: Vec<_> = g.outputs.iter().map(|o| &g.ty(*o).layout).collect();
    by_batches(&inputs, &outputs, images, n, |b| run(g, b))
}

fn run(g: &Program, inputs: Vec<Bundle>) -> Result<Vec<Bundle>, InterpError> {
    let mut values: Vec<Bundle> = vec![vec![]; g.nodes.len()];
    let mut inputs = inputs.into_iter();
    for (v, n) in g.iter() {
        let args: Vec<_> = n.args.iter().map(|a| values[a.index()].as_slice()).collect();
        let (out, free): (Bundle, &[usize]) = match &n.op {
            ProgramOp::Input {} => (inputs.next().ok_or_else(|| InterpError::Unsupported("too few inputs".into()))?, &[]),
            ProgramOp::Linear { taps, rows, entries, masks, bias, free, .. } => {
                let t = table_of(&g.consts, *rows, *entries, *masks, taps, n.ty.layout.ct_count(), args.len())?;
                let mut out = t.apply(&args, n.ty.layout.slot_count());
                add_bias(&g.consts, *bias, n.ty.layout.complex.is_some(), &mut out)?;
                (out, free)
            }
            ProgramOp::Mul { free, .. } => (multiply(args[0], args[1]), free),
            ProgramOp::Square { free, .. } => (multiply(args[0], args[0]), free),
        };
        for &f in free {
            values[f] = vec![];
        }
        values[v.index()] = out;
    }
    Ok(g.outputs.iter().map(|o| values[o.index()].clone()).collect())
}
