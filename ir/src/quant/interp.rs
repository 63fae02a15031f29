//! Clear interpreter of the quant IR: the integers that a run on ciphertexts computes, bit by bit.

use super::{QuantGraph, QuantOp, QuantType};
use crate::consts::ConstId;
use crate::error::InterpError;
use crate::gauss::Gauss;
use crate::graph::{Op, ValueId};
use crate::tensor::{MapPart, Window, linear_map};
use rayon::prelude::*;
use std::collections::HashMap;

/// Constants in use, as exact doubles.
pub type Prepared = HashMap<ConstId, Vec<f64>>;

/// Runs `n` images (`n·C·H·W` values, image-major); for each output `n·len` values, each an integer
/// times its scale. `g` must satisfy the verifier's invariants.
///
/// # Errors
/// The input has another size than the graph takes, a constant has no data.
pub fn interp(g: &QuantGraph, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
    let all = run_integers(g, images, n)?;
    Ok(g.outputs.iter().zip(all).map(|(o, values)| real(g.ty(*o), &values)).collect())
}

/// What the integers of a value of any number of images stand for.
pub fn real(ty: &QuantType, values: &[i64]) -> Vec<f32> {
    let plane = ty.chw()[1] * ty.chw()[2];
    let len = ty.shape.len();
    values.iter().enumerate().map(|(i, &x)| (x as f64 * ty.scale_of(i % len / plane)) as f32).collect()
}

/// As [`interp`], with the integers themselves.
///
/// # Errors
/// As [`interp`].
pub fn run_integers(g: &QuantGraph, images: &[f32], n: usize) -> Result<Vec<Vec<i64>>, InterpError> {
    run_with(g, images, n, |_, _, _| {})
}

/// As [`run_integers`], with normally distributed noise on what look-ups read: a look-up behind an
/// approximate rounding then takes neighbours of the right entry as often as it does encrypted.
/// `deviations` has for each value the standard deviation of its elements as they are read, in
/// integers.
///
/// # Errors
/// As [`interp`].
pub fn run_noisy(g: &QuantGraph, images: &[f32], n: usize, deviations: &[f64], seed: u64) -> Result<Vec<Vec<i64>>, InterpError> {
    run_with(g, images, n, |image, v, x| {
        let deviation = deviations[v.index()];
        if deviation > 0.0 {
            let mut gauss = Gauss::new(seed).part(image as u64).part(v.index() as u64);
            x.iter_mut().for_each(|x| *x = (*x + deviation * gauss.number()).round());
        }
    })
}

/// As [`run_integers`]; `change(image, value, elements)` may change what each node yields.
fn run_with(
    g: &QuantGraph,
    images: &[f32],
    n: usize,
    change: impl Fn(usize, ValueId, &mut [f64]) + Sync,
) -> Result<Vec<Vec<i64>>, InterpError> {
    let consts = prepare(g)?;
    let input = input(g)?;
    if Some(images.len()) != input.shape.len().checked_mul(n) {
        return Err(InterpError::InputSize { got: images.len().checked_div(n).unwrap_or(images.len()), want: input.shape.len() });
    }
    let each: Vec<Vec<Vec<i64>>> = images
        .par_chunks(input.shape.len())
        .enumerate()
        .map(|(i, image)| {
            let mut out = vec![vec![]; g.outputs.len()];
            run(g, &consts, &entry(input, image), |v, x| {
                change(i, v, x);
                for (slot, _) in out.iter_mut().zip(&g.outputs).filter(|(_, o)| **o == v) {
                    *slot = x.iter().map(|&x| x as i64).collect();
                }
            });
            out
        })
        .collect();
    Ok((0..g.outputs.len()).map(|o| each.iter().flat_map(|image| image[o].iter().copied()).collect()).collect())
}

/// The linear maps of which some image's sums leave the range that they are expected in, each with
/// the number of such images.
///
/// # Errors
/// As [`interp`].
pub fn outside(g: &QuantGraph, images: &[f32], n: usize) -> Result<Vec<(ValueId, usize)>, InterpError> {
    let consts = prepare(g)?;
    let input = input(g)?;
    if Some(images.len()) != input.shape.len().checked_mul(n) {
        return Err(InterpError::InputSize { got: images.len().checked_div(n).unwrap_or(images.len()), want: input.shape.len() });
    }
    let none = || vec![0usize; g.nodes.len()];
    let one = |image: &[f32]| {
        let mut all = none();
        let leaves = |v: ValueId, x: &[f64]| {
            let [lo, hi] = g.ty(v).range.map(|b| b as f64);
            all[v.index()] = usize::from(x.iter().any(|x| *x < lo || *x > hi));
        };
        run_seen(g, &consts, &entry(input, image), leaves, |_, _| {});
        all
    };
    let join = |a: Vec<usize>, b: Vec<usize>| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
    let counts = images.par_chunks(input.shape.len()).map(one).reduce(none, join);
    let sums = g.iter().filter(|(_, n)| matches!(n.op, QuantOp::LinearMap { .. }));
    Ok(sums.map(|(v, _)| (v, counts[v.index()])).filter(|(_, images)| *images > 0).collect())
}

/// Type of the input.
fn input(g: &QuantGraph) -> Result<&QuantType, InterpError> {
    let found = g.nodes.iter().find(|n| matches!(n.op, QuantOp::Input {})).map(|n| &n.ty);
    found.ok_or_else(|| InterpError::Unsupported("the graph has no input".into()))
}

/// The integers that an image becomes.
pub fn entry(ty: &QuantType, image: &[f32]) -> Vec<i64> {
    let plane = ty.chw()[1] * ty.chw()[2];
    image.iter().enumerate().map(|(i, &x)| ty.quantise(f64::from(x), i / plane)).collect()
}

/// Widens all constants in use.
///
/// # Errors
/// One without data.
pub fn prepare(g: &QuantGraph) -> Result<Prepared, InterpError> {
    let mut out = Prepared::new();
    for c in g.nodes.iter().flat_map(|n| n.op.consts()) {
        if let std::collections::hash_map::Entry::Vacant(e) = out.entry(c) {
            e.insert(g.consts.ints(crate::consts::IntsId(c))?.data.iter().map(|&x| x as f64).collect());
        }
    }
    Ok(out)
}

/// Evaluates all nodes on the integers of one image, and calls `f(value, elements)` with what each
/// one yields, which it may change; values are dropped after their last use.
pub fn run(g: &QuantGraph, consts: &Prepared, image: &[i64], f: impl FnMut(ValueId, &mut [f64])) {
    run_seen(g, consts, image, |_, _| {}, f);
}

/// As [`run`], and calls `raw(value, elements)` before the elements wrap.
fn run_seen(
    g: &QuantGraph,
    consts: &Prepared,
    image: &[i64],
    mut raw: impl FnMut(ValueId, &[f64]),
    mut f: impl FnMut(ValueId, &mut [f64]),
) {
    let mut uses = g.use_counts();
    let mut values: Vec<Vec<f64>> = vec![vec![]; g.nodes.len()];
    for (v, n) in g.iter() {
        let args: Vec<&[f64]> = n.args.iter().map(|a| values[a.index()].as_slice()).collect();
        let mut x = eval(g, consts, v, &args, image);
        raw(v, &x);
        x.iter_mut().for_each(|x| *x = n.ty.wrap(*x as i64) as f64);
        f(v, &mut x);
        for a in &n.args {
            uses[a.index()] -= 1;
            if uses[a.index()] == 0 {
                values[a.index()] = vec![];
            }
        }
        values[v.index()] = x;
    }
}

/// The value of one node from those of its operands, before it wraps.
fn eval(g: &QuantGraph, consts: &Prepared, v: ValueId, args: &[&[f64]], image: &[i64]) -> Vec<f64> {
    let n = g.node(v);
    let out = n.ty.chw();
    match &n.op {
        QuantOp::Input {} => image.iter().map(|&x| x as f64).collect(),
        QuantOp::LinearMap { kernels, strides, origins, bias, reads, .. } => {
            let part = |i: usize| MapPart {
                x: args[i],
                dims: g.ty(n.args[i]).chw(),
                kernel: &consts[&kernels[i].0],
                shape: g.consts.get(kernels[i].0).shape(),
                window: Window { stride: strides[i], origin: origins[i], dilation: [1, 1] },
                lists: reads.of(i),
                groups: n.op.groups(i),
            };
            let parts: Vec<MapPart> = (0..kernels.len()).map(part).collect();
            linear_map(&parts, bias.map(|b| consts[&b.0].as_slice()), out)
        }
        QuantOp::Round { .. } => {
            let dropped = g.ty(n.args[0]).bits - n.ty.bits;
            args[0].iter().map(|&x| ((x as i64 + (1 << (dropped - 1))) >> dropped) as f64).collect()
        }
        QuantOp::Lookup { table, flip } => {
            let entries = 1usize << g.ty(n.args[0]).bits;
            let rows: Vec<&[f64]> = consts[&table.0].chunks_exact(entries).collect();
            let plane = out[1] * out[2];
            let look = |(i, &x): (usize, &f64)| {
                let (row, at) = (rows[i / plane % rows.len()], (x as i64).rem_euclid(2 * entries as i64) as usize);
                if at < entries { row[at] } else { *flip as f64 - row[at - entries] }
            };
            args[0].iter().enumerate().map(look).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Quant, verify};

    fn graph(body: &str) -> QuantGraph {
        let g = crate::text::parse::<Quant>(&format!("quant @t {{\n{body}\n}}")).unwrap_or_else(|e| panic!("{e}"));
        verify(g).unwrap_or_else(|e| panic!("{e}")).into_inner()
    }

    /// Nine bits are rounded to three, and a table saturates beyond its end.
    #[test]
    fn rounding_and_saturation() {
        let g = graph(
            "const @w : i64[1x1] = [100]
            const @k : i64[1x1x1x1] = [100]
            const @t : i64[1x8] = [-1, 0, 0, 1, 2, 3, 4, 5]
            %0 = input : int<bits=9 range=-5..5 scale=0.5> 1
            %1 = linear_map %0 {kernels=[@k], strides=[[1, 1]], origins=[[0, 0]]} : int<bits=9 range=-300..300 scale=0.005> 1
            %2 = round %1 : int<bits=3 range=-5..5 scale=0.32> 1
            %3 = lookup %2 {table=@t, flip=5} : int<bits=4 range=-1..6 scale=1.0> 1
            return %1, %2, %3",
        );
        // 1.0 is 2: 200/64 = 3.1; -1.2 is -2: -200/64 = -3.1, which is 13 modulo 16; 2.5 is 5: 500,
        // 7.8.
        let out = run_integers(&g, &[1.0, -1.2, 2.5], 3).unwrap();
        assert_eq!(out, [vec![200, -200, 500], vec![3, -3, -8], vec![1, 5 - 3, 5 + 1]]);
        assert_eq!(interp(&g, &[1.0], 1).unwrap(), [vec![1.0], vec![0.96], vec![1.0]]);
    }

    /// Noise of a third of a cell makes one in eight look-ups take a neighbour of its entry.
    #[test]
    fn noise_moves_entries_by_one() {
        let text = "const @k : i64[1x1x1x1] = [1]
            const @t : i64[1x8] = [0, 1, 2, 3, 4, 5, 6, 7]
            %0 = input : int<bits=6 range=-32..31 scale=1.0> 1
            %1 = linear_map %0 {kernels=[@k], strides=[[1, 1]], origins=[[0, 0]]} : int<bits=6 range=-32..31 scale=1.0> 1
            %2 = round %1 {slack=1} : int<bits=3 range=-4..4 scale=8.0> 1
            %3 = lookup %2 {table=@t, flip=0} : int<bits=3 range=-8..7 scale=1.0> 1
            return %3";
        let g = graph(text);
        // In the middle of cell 2, and away from the ends.
        let images = vec![16.0; 10_000];
        let clear = run_integers(&g, &images, 10_000).unwrap();
        assert_eq!(run_noisy(&g, &images, 10_000, &[0.0; 4], 1).unwrap(), clear);
        let noisy = run_noisy(&g, &images, 10_000, &[0.0, 8.0 / 3.0, 0.0, 0.0], 1).unwrap();
        assert_eq!(noisy, run_noisy(&g, &images, 10_000, &[0.0, 8.0 / 3.0, 0.0, 0.0], 1).unwrap());
        let off = |d: i64| noisy[0].iter().zip(&clear[0]).filter(|(a, b)| (*a - *b).abs() == d).count();
        // Beyond 1.5 deviations, rounded to integers: 13 % or so.
        assert!((900..1800).contains(&off(1)) && off(2) < 10, "{} {}", off(1), off(2));
    }

    /// A result of fewer bits forgets the upper ones of its operand.
    #[test]
    fn values_wrap() {
        let g = graph(
            "const @k : i64[1x2x1x1] = [3, -1]
            %0 = input : int<bits=5 range=-20..20 scale=1.0> 2
            %1 = linear_map %0 {kernels=[@k], strides=[[1, 1]], origins=[[0, 0]]} : int<bits=2 range=0..7 scale=1.0> 1
            return %1",
        );
        assert_eq!(run_integers(&g, &[4.0, 3.0, -20.0, 20.0], 2).unwrap(), [vec![9 % 8, (-80i64).rem_euclid(8)]]);
    }
}
