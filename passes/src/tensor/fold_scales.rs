//! `fold-scales`: degree-2 activations become plain squares by completing the square.
//!
//! `a·z² + b·z + c = α·z̃² + β·z̃ + κ` with `z̃ = s·(z + t)`: for a well-conditioned channel
//! `s = √|a|`, `t = b/2a`, `α = ±1`, `β = 0`, `κ = c − b²/4a`; s and t go into the linear map
//! before, α and κ into those behind. A channel with tiny |a| beside b keeps
//! `s = 1, t = 0, α = a, β = b, κ = c`: its consumers read both z̃² and z̃. A constant channel (a =
//! b = 0) is not computed at all.

use super::linear_form::{Kernel, Spec};
use crate::error::PassError;
use chiffre_ir::consts::Array;
use chiffre_ir::graph::{Op, RemapConsts, ValueId};
use chiffre_ir::tensor::{TensorGraph, TensorOp};

/// Largest shift `|b| / 2√|a|` (in units of z̃) at which the square is completed.
pub const MAX_SHIFT: f64 = 8.0;

/// How one channel of an activation is rewritten.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Channel {
    s: f64,
    t: f64,
    alpha: f64,
    beta: f64,
    kappa: f64,
}

fn channel(c: f64, b: f64, a: f64) -> Channel {
    if a == 0.0 && b == 0.0 {
        Channel { s: 0.0, t: 0.0, alpha: 0.0, beta: 0.0, kappa: c }
    } else if b.abs() <= 2.0 * MAX_SHIFT * a.abs().sqrt() {
        Channel { s: a.abs().sqrt(), t: b / (2.0 * a), alpha: a.signum(), beta: 0.0, kappa: c - b * b / (4.0 * a) }
    } else {
        Channel { s: 1.0, t: 0.0, alpha: a, beta: b, kappa: c }
    }
}

/// Rewrites every degree-2 `poly` whose operand is a `linear_map` of its own, as `compose-linear`
/// leaves them.
pub fn fold_scales(g: &TensorGraph) -> Result<TensorGraph, PassError> {
    let mut plans: Vec<Option<Vec<Channel>>> = vec![None; g.nodes.len()];
    for (v, n) in g.iter() {
        let TensorOp::Poly { coeffs } = &n.op else { continue };
        let a = g.consts.array(*coeffs).map_err(|e| PassError::clear("fold-scales", &n.source, e))?;
        let width = a.shape[1];
        if width > 3 && a.data.chunks(width).any(|c| c[3..].iter().any(|x| *x != 0.0)) {
            let m = format!("a polynomial of degree {} is not supported yet: only degree 2 is", width - 1);
            return Err(PassError::at("fold-scales", &n.source, m));
        }
        let at = |c: usize, k: usize| a.data.get((c % a.shape[0]) * width + k).copied().filter(|_| k < width).unwrap_or(0.0) as f64;
        plans[v.index()] = Some((0..n.ty.chw()[0]).map(|c| channel(at(c, 0), at(c, 1), at(c, 2))).collect());
    }
    // Operand of a poly → its plan.
    let mut before: Vec<Option<&Vec<Channel>>> = vec![None; g.nodes.len()];
    let users = g.users();
    for (v, n) in g.iter() {
        if let Some(p) = &plans[v.index()] {
            let z = n.args[0];
            if !matches!(g.node(z).op, TensorOp::LinearMap { .. }) || users[z.index()].len() != 1 || g.outputs.contains(&z) {
                return Err(PassError::at(
                    "fold-scales",
                    &n.source,
                    "its operand is not a linear map of its own: run compose-linear first".into(),
                ));
            }
            before[z.index()] = Some(p);
        }
    }
    let mut out = TensorGraph::new(&g.name);
    let mut map: Vec<ValueId> = vec![];
    for (v, n) in g.iter() {
        let new = match &n.op {
            TensorOp::LinearMap { kernels, bias, .. } => {
                let shape = n.ty.chw();
                let area = shape[1] * shape[2];
                let mut total = vec![0.0; shape[0] * area];
                if let Some(b) = bias {
                    let b = array(g, *b, &n.source)?;
                    let per = total.len() / b.data.len();
                    total.iter_mut().enumerate().for_each(|(i, x)| *x += b.data[i / per] as f64);
                }
                let mut terms: Vec<(ValueId, Kernel)> = vec![];
                for (j, arg) in n.args.iter().enumerate() {
                    let input = g.ty(*arg).chw();
                    let k = Kernel::of(array(g, kernels[j], &n.source)?, input, shape, Spec::of(&n.op, j));
                    match &plans[arg.index()] {
                        None => terms.push((map[arg.index()], k)),
                        Some(p) => {
                            let in_area = input[1] * input[2];
                            let kappa: Vec<f64> = (0..input[0] * in_area).map(|i| p[i / in_area].kappa).collect();
                            total.iter_mut().zip(k.apply(&kappa)).for_each(|(a, b)| *a += b);
                            let mut squares = k.clone();
                            squares.scale_inputs(|i| p[i].alpha);
                            terms.push((map[arg.index()], squares));
                            if p.iter().any(|c| c.beta != 0.0) {
                                let mut straight = k;
                                straight.scale_inputs(|i| p[i].beta);
                                let z = g.node(*arg).args[0];
                                terms.push((map[z.index()], straight));
                            }
                        }
                    }
                }
                if let Some(p) = before[v.index()] {
                    terms.iter_mut().for_each(|(_, k)| k.scale_outputs(|o| p[o].s));
                    total.iter_mut().enumerate().for_each(|(i, x)| *x = p[i / area].s * (*x + p[i / area].t));
                }
                super::compose_linear::push_linear_map(&mut out, &terms, &total, shape, &n.source)
            }
            TensorOp::Poly { .. } => out.push(TensorOp::Square {}, vec![map[n.args[0].index()]], n.ty.clone(), &n.source),
            op => {
                if n.args.iter().any(|a| plans[a.index()].is_some()) {
                    return Err(PassError::at("fold-scales", &n.source, "reads an activation directly: run compose-linear first".into()));
                }
                let mut op = op.clone();
                let own: Vec<_> = op.consts().into_iter().map(|c| (c, out.consts.push(g.consts.get(c).clone()))).collect();
                op.remap_consts(&|c| own.iter().find(|(old, _)| *old == c).map_or(c, |(_, new)| *new));
                out.push(op, n.args.iter().map(|a| map[a.index()]).collect(), n.ty.clone(), &n.source)
            }
        };
        map.push(new);
    }
    for o in &g.outputs {
        if plans[o.index()].is_some() {
            return Err(PassError::at(
                "fold-scales",
                &g.node(*o).source,
                "is an output and an activation: run compose-linear first".into(),
            ));
        }
        out.outputs.push(map[o.index()]);
    }
    out.prune(|op| matches!(op, TensorOp::Input {}));
    Ok(out)
}

fn array<'a>(g: &'a TensorGraph, c: chiffre_ir::consts::ConstId, source: &str) -> Result<&'a Array, PassError> {
    g.consts.array(c).map_err(|e| PassError::clear("fold-scales", source, e))
}
