//! Clear interpreter of the packed IR, on complex slot vectors.

use super::{PackedGraph, PackedOp};
use crate::consts::{ConstId, Consts};
use crate::error::InterpError;
use crate::layout::Layout;
use crate::table::apply;
use num_complex::Complex64;
use rayon::prelude::*;

/// Slot vectors of a bundle: `[ciphertext][slot]`.
pub type Bundle = Vec<Vec<Complex64>>;

/// Runs the graph on the slot vectors of its inputs (in order of the `input` nodes); returns the
/// outputs' slot vectors.
pub fn run(g: &PackedGraph, inputs: &[Bundle]) -> Result<Vec<Bundle>, InterpError> {
    let mut last_use = vec![0; g.nodes.len()];
    for (v, n) in g.iter() {
        n.args.iter().for_each(|a| last_use[a.index()] = v.index());
    }
    g.outputs.iter().for_each(|o| last_use[o.index()] = usize::MAX);
    let mut values: Vec<Bundle> = vec![vec![]; g.nodes.len()];
    let mut next_input = inputs.iter();
    for (v, n) in g.iter() {
        let out = {
            let args: Vec<&[Vec<Complex64>]> = n.args.iter().map(|a| values[a.index()].as_slice()).collect();
            match &n.op {
                PackedOp::Input {} => next_input.next().cloned().ok_or_else(|| InterpError::Unsupported("too few inputs".into()))?,
                PackedOp::Linear { table, bias, .. } => {
                    let t = g.consts.table(*table)?;
                    let layouts: Vec<&Layout> = n.args.iter().map(|a| g.ty(*a)).collect();
                    let mut out = by_units(&args, &layouts, &n.ty, |args| apply(t, args, n.ty.slot_count()));
                    add_bias(&g.consts, *bias, n.ty.complex.is_some(), &mut out)?;
                    out
                }
                PackedOp::Mul {} => multiply(args[0], args[1]),
                PackedOp::Square {} => multiply(args[0], args[0]),
                PackedOp::Chebyshev { coeffs, sine } => chebyshev(&g.consts, *coeffs, *sine, &n.ty, args[0])?,
            }
        };
        values[v.index()] = out;
        for a in &n.args {
            if last_use[a.index()] == v.index() {
                values[a.index()] = vec![];
            }
        }
    }
    Ok(g.outputs.iter().map(|o| values[o.index()].clone()).collect())
}

/// Computes the units of a linear map's result one after the other, each from the units of the
/// operands that it merges.
pub fn by_units(args: &[&[Vec<Complex64>]], layouts: &[&Layout], ty: &Layout, mut f: impl FnMut(&[&[Vec<Complex64>]]) -> Bundle) -> Bundle {
    // Ciphertexts of each operand that one unit of the result reads.
    let group: Vec<usize> = layouts.iter().map(|l| l.unit_cts() << (l.unit_bits() - ty.unit_bits())).collect();
    let units = args.iter().zip(&group).map(|(a, g)| a.len().div_ceil(*g)).max().unwrap_or(1);
    let part = |a: &'_ [Vec<Complex64>], g: usize, u: usize| (g * u).min(a.len())..(g * (u + 1)).min(a.len());
    (0..units)
        .flat_map(|u| {
            let of_unit: Vec<&[Vec<Complex64>]> = args.iter().zip(&group).map(|(a, g)| &a[part(a, *g, u)]).collect();
            f(&of_unit)
        })
        .collect()
}

/// Adds a `[outputs, period]` bias to the real parts, and to the imaginary parts of complex-packed
/// bundles.
pub fn add_bias(consts: &Consts, bias: Option<ConstId>, complex: bool, out: &mut Bundle) -> Result<(), InterpError> {
    let Some(b) = bias else { return Ok(()) };
    let b = consts.array(b)?;
    let period = b.shape.get(1).copied().unwrap_or(1);
    for (ct, row) in out.iter_mut().zip(b.data.chunks(period).cycle()) {
        for (s, v) in ct.chunks_mut(period).flat_map(|c| c.iter_mut().zip(row)) {
            s.re += *v as f64;
            if complex {
                s.im += *v as f64;
            }
        }
    }
    Ok(())
}

/// Product of real parts and of imaginary parts.
pub fn multiply(a: &[Vec<Complex64>], b: &[Vec<Complex64>]) -> Bundle {
    a.par_iter().zip(b).map(|(x, y)| x.iter().zip(y).map(|(p, q)| Complex64::new(p.re * q.re, p.im * q.im)).collect()).collect()
}

/// Chebyshev series of real parts and of imaginary parts, channel by channel; slots without an
/// element take the series of the channel that their place stands for, or the last.
pub fn chebyshev(consts: &Consts, coeffs: ConstId, sine: bool, ty: &Layout, x: &[Vec<Complex64>]) -> Result<Bundle, InterpError> {
    let c = consts.array(coeffs)?;
    let rows: Vec<Vec<f64>> = series_rows(c).collect();
    let (of_ct, of_slot) = (ty.channel_of_cts(), ty.channel_of_slots());
    let value = |row: &[f64], x: f64| crate::tensor::chebyshev(row, if sine { x.sin() } else { x });
    let of = |(ct, slots): (usize, &Vec<Complex64>)| {
        let row = |slot: usize| &rows[(of_ct[ct % of_ct.len()] + of_slot[slot % of_slot.len()]).min(rows.len() - 1)];
        let both = |row: &[f64], z: &Complex64| Complex64::new(value(row, z.re), if ty.complex.is_some() { value(row, z.im) } else { 0.0 });
        slots.iter().enumerate().map(|(slot, z)| both(row(slot), z)).collect()
    };
    Ok(x.par_iter().enumerate().map(of).collect())
}

/// The rows of a `[rows, degree+1]` constant.
pub fn series_rows(c: &crate::consts::Array) -> impl Iterator<Item = Vec<f64>> {
    c.data.chunks(c.shape.get(1).copied().unwrap_or(1).max(1)).map(|r| r.iter().map(|&x| f64::from(x)).collect())
}

/// Runs the graph on a batch of tensors `[n, C, H, W]`, packing and unpacking by its layouts.
pub fn interp(g: &PackedGraph, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
    let inputs: Vec<&Layout> = g.nodes.iter().filter(|n| matches!(n.op, PackedOp::Input {})).map(|n| &n.ty).collect();
    let outputs: Vec<&Layout> = g.outputs.iter().map(|o| g.ty(*o)).collect();
    by_batches(&inputs, &outputs, images, n, |bundles| run(g, &bundles))
}

/// Splits images into batches of the layouts' size, packs each, runs `f` and unpacks.
pub fn by_batches(
    inputs: &[&Layout],
    outputs: &[&Layout],
    images: &[f32],
    n: usize,
    mut f: impl FnMut(Vec<Bundle>) -> Result<Vec<Bundle>, InterpError>,
) -> Result<Vec<Vec<f32>>, InterpError> {
    let [layout] = inputs else { return Err(InterpError::Unsupported("a network with several inputs".into())) };
    let per = layout.shape.iter().product::<usize>();
    if images.len() != n * per {
        return Err(InterpError::InputSize { got: images.len() / n.max(1), want: per });
    }
    let mut result = vec![vec![]; outputs.len()];
    for chunk in images.chunks(per * layout.batch) {
        let k = chunk.len() / per;
        let out = f(vec![layout.pack(chunk, k)])?;
        for (r, (b, l)) in result.iter_mut().zip(out.iter().zip(outputs)) {
            r.extend(l.unpack(b, k));
        }
    }
    Ok(result)
}
