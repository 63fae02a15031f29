//! `schedule`: the HE graph in execution order, with rescales merged into linear maps,
//! relinearisations into products, mod drops into their readers, and sums under giant steps into
//! the maps that make the partial sums. The order of steps and the end of every buffer follow from
//! the program ([`Program::steps`]).

use crate::target::ScheduleError;
use chiffre_ir::consts::ConstId;
use chiffre_ir::giants;
use chiffre_ir::graph::ValueId;
use chiffre_ir::he::{HeGraph, HeOp, Scale};
use chiffre_ir::program::{Program, ProgramHeader, ProgramOp};
use chiffre_params::Gadget;
use std::collections::BTreeMap;

/// Builds the program. `gadgets`: limbs of an op → key shape, as selected.
pub fn schedule(g: &HeGraph, header: ProgramHeader, gadgets: &BTreeMap<usize, Gadget>) -> Result<Program, ScheduleError> {
    let mut p = Program::new(&g.name);
    p.header = header;
    p.consts = g.consts.clone();
    let users = g.users();
    let only_reader = |v: ValueId| match users[v.index()][..] {
        [u] if !g.outputs.contains(&v) => Some(u),
        _ => None,
    };
    let rescale_of = |v: ValueId| only_reader(v).filter(|u| matches!(g.node(*u).op, HeOp::Rescale {}));
    // The sum under giant steps that reads nothing but this map, and that nothing rescales.
    let sum_of = |v: ValueId| {
        let u = only_reader(rescale_of(v).unwrap_or(v)).filter(|u| rescale_of(*u).is_none())?;
        Some((u, giant_steps(g, v, u)?))
    };
    let mut summed = vec![false; g.nodes.len()];
    let mut map: Vec<Option<ValueId>> = vec![None; g.nodes.len()];
    for (v, n) in g.iter() {
        let fail = |message: &str| ScheduleError::Refused { node: n.source.clone(), message: message.into() };
        let args = || -> Result<Vec<ValueId>, ScheduleError> {
            n.args.iter().map(|a| map[a.index()].ok_or_else(|| fail("reads a value that was merged away"))).collect()
        };
        let gadget = |limbs: usize| gadgets.get(&limbs).copied().ok_or_else(|| fail("no key shape for its limbs: run select-params again"));
        let value = match &n.op {
            HeOp::Input {} => Some(p.push(ProgramOp::Input {}, vec![], n.ty.clone(), &n.source)),
            // Merged into the map that it sums.
            HeOp::Linear { .. } if summed[v.index()] => map[n.args[0].index()],
            HeOp::Linear { taps, table, bias, scales } => {
                let (rescale, sum) = (rescale_of(v), sum_of(v));
                let ty = sum.as_ref().map(|s| s.0).or(rescale).map_or(&n.ty, |u| g.ty(u)).clone();
                let turns = |taps: &[i64], limbs: usize| taps.iter().any(|&t| t != 0).then(|| gadget(limbs)).transpose();
                let (giants, bias) = match &sum {
                    Some((u, (steps, bias))) => {
                        summed[u.index()] = true;
                        (Some(steps.clone()), *bias)
                    }
                    None => (None, *bias),
                };
                let giant_gadget = giants.as_ref().map_or(Ok(None), |steps| turns(steps, ty.limbs))?;
                let op = ProgramOp::Linear {
                    taps: taps.clone(),
                    table: *table,
                    bias,
                    scales: scales.clone(),
                    drop: usize::from(rescale.is_some()),
                    gadget: turns(taps, n.ty.limbs)?,
                    giants,
                    giant_gadget,
                };
                Some(p.push(op, args()?, ty, &n.source))
            }
            HeOp::Mul {} | HeOp::Square {} => {
                let relin = only_reader(v)
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

/// Steps and bias of the map `sum`, if it rotates and adds what the map `partials` makes, with
/// weights of one.
fn giant_steps(g: &HeGraph, partials: ValueId, sum: ValueId) -> Option<(Vec<i64>, Option<ConstId>)> {
    let (HeOp::Linear { bias: None, .. }, HeOp::Linear { table, bias, scales, .. }) = (&g.node(partials).op, &g.node(sum).op) else {
        return None;
    };
    let ty = &g.ty(sum).layout;
    let steps = giants::steps(g.consts.table(*table).ok()?)?;
    let same_units = g.ty(partials).layout.unit_bits() == ty.unit_bits();
    let all = giants::partial_sums(ty.unit_cts(), Some(steps.len())) <= g.ty(partials).layout.unit_cts();
    let distinct = giants::distinct(steps, ty.slot_count());
    (same_units && all && distinct && *scales == [Scale::pow2(0)]).then(|| (steps.to_vec(), *bias))
}
