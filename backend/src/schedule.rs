//! `schedule`: the HE graph in execution order, with rescales merged into linear maps, relinearisations into products, mod drops into
//! their readers. The order of steps and the end of every buffer follow from the program ([`Program::steps`]).

use chiffre_ir::graph::ValueId;
use chiffre_ir::he::{HeGraph, HeOp};
use chiffre_ir::program::{Program, ProgramHeader, ProgramOp};
use std::collections::BTreeMap;

/// The HE graph has a shape that no instruction covers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("node \"{node}\": {message} [pass schedule]")]
pub struct ScheduleError {
    /// The ONNX node.
    pub node: String,
    /// What is wrong.
    pub message: String,
}

/// Builds the program. `gadgets`: limbs of an op → key shape, as selected.
pub fn schedule(g: &HeGraph, header: ProgramHeader, gadgets: &BTreeMap<usize, [usize; 2]>) -> Result<Program, ScheduleError> {
    let mut p = Program::new(&g.name);
    p.header = header;
    p.consts = g.consts.clone();
    let users = g.users();
    let mut map: Vec<Option<ValueId>> = vec![None; g.nodes.len()];
    for (v, n) in g.iter() {
        let fail = |message: &str| ScheduleError { node: n.source.clone(), message: message.into() };
        let args = || -> Result<Vec<ValueId>, ScheduleError> {
            n.args.iter().map(|a| map[a.index()].ok_or_else(|| fail("reads a value that was merged away"))).collect()
        };
        let gadget = |limbs: usize| gadgets.get(&limbs).copied().ok_or_else(|| fail("no key shape for its limbs: run select-params again"));
        let only_reader = || match users[v.index()][..] {
            [u] if !g.outputs.contains(&v) => Some(u),
            _ => None,
        };
        let value = match &n.op {
            HeOp::Input {} => Some(p.push(ProgramOp::Input {}, vec![], n.ty.clone(), &n.source)),
            HeOp::Linear { taps, rows, entries, masks, bias, scales } => {
                let rescale = only_reader().filter(|u| matches!(g.node(*u).op, HeOp::Rescale {}));
                let ty = rescale.map_or(&n.ty, |u| g.ty(u)).clone();
                let gadget = if taps.iter().any(|&t| t != 0) { Some(gadget(n.ty.limbs)?) } else { None };
                let op = ProgramOp::Linear {
                    taps: taps.clone(),
                    rows: *rows,
                    entries: *entries,
                    masks: *masks,
                    bias: *bias,
                    scales: scales.clone(),
                    drop: usize::from(rescale.is_some()),
                    gadget,
                };
                Some(p.push(op, args()?, ty, &n.source))
            }
            HeOp::Mul {} | HeOp::Square {} => {
                let relin = only_reader()
                    .filter(|u| matches!(g.node(*u).op, HeOp::Relin {}))
                    .ok_or_else(|| fail("a product must be relinearised at once"))?;
                let gadget = gadget(n.ty.limbs)?;
                let op = if matches!(n.op, HeOp::Mul {}) { ProgramOp::Mul { gadget } } else { ProgramOp::Square { gadget } };
                Some(p.push(op, args()?, g.ty(relin).clone(), &n.source))
            }
            HeOp::Chebyshev { coeffs } => {
                let gadget = gadget(g.ty(n.args[0]).limbs)?;
                Some(p.push(ProgramOp::Chebyshev { coeffs: *coeffs, gadget }, args()?, n.ty.clone(), &n.source))
            }
            HeOp::Refresh { coeffs } => Some(p.push(ProgramOp::Refresh { coeffs: *coeffs }, args()?, n.ty.clone(), &n.source)),
            // Merged into the instruction before; its readers read that.
            HeOp::Relin {} => map[n.args[0].index()],
            HeOp::Rescale {}
                if matches!(g.node(n.args[0]).op, HeOp::Linear { .. })
                    && users[n.args[0].index()].len() == 1
                    && !g.outputs.contains(&n.args[0]) =>
            {
                map[n.args[0].index()]
            }
            HeOp::Rescale {} => return Err(fail("a rescale that does not follow a linear map of its own")),
            // Readers use the first limbs of what they read.
            HeOp::ModDrop {} => map[n.args[0].index()],
        };
        map[v.index()] = value;
    }
    p.outputs = g.outputs.iter().filter_map(|o| map[o.index()]).collect();
    Ok(p)
}
