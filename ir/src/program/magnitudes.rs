//! How large the values of each image are, in the clear, part of a program long.

use super::bounds::{HUGE, is_too_large};
use super::interp::run;
use super::{Program, ProgramOp};
use crate::error::InterpError;
use crate::layout::{Dim, Layout};
use crate::packed::interp::Bundle;
use num_complex::Complex64;
use rayon::prelude::*;

/// Images that run together: a unit of the latest instruction that is wanted, so that no slots are
/// computed in vain.
fn together(p: &Program, wanted: &[bool]) -> usize {
    let units = p.nodes.iter().zip(wanted).filter(|(_, w)| **w).map(|(n, _)| n.ty.layout.unit_batch());
    units.max().unwrap_or(1).min(p.header.batch).max(1)
}

/// For each instruction that is wanted, the largest magnitude of each image's elements; nothing for
/// the others. Whatever a wanted instruction reads must be wanted.
///
/// # Errors
/// An input of another size; constants without data.
pub(super) fn magnitudes(p: &Program, images: &[f32], n: usize, wanted: &[bool]) -> Result<Vec<Vec<f64>>, InterpError> {
    let mut inputs = p.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Input {})).map(|n| &n.ty.layout);
    let (Some(layout), None) = (inputs.next(), inputs.next()) else {
        return Err(InterpError::Unsupported("a network with several inputs".into()));
    };
    let per: usize = layout.shape.iter().product();
    if images.len() != n * per {
        return Err(InterpError::InputSize { got: images.len() / n.max(1), want: per });
    }
    let mut out = vec![vec![]; p.nodes.len()];
    for chunk in images.chunks(per * together(p, wanted)) {
        let count = chunk.len() / per;
        run(
            p,
            vec![layout.pack(chunk, count)],
            |v| wanted[v.index()],
            |v, slots| {
                out[v.index()].extend(largest(&p.ty(v).layout, slots, count));
            },
        )?;
    }
    Ok(out)
}

/// Bytes of slots that are live at the worst moment of [`magnitudes`].
pub(super) fn bytes(p: &Program, n: usize, wanted: &[bool]) -> usize {
    let images = together(p, wanted).min(n);
    let size = |v: usize| {
        let l = &p.nodes[v].ty.layout;
        (l.unit_cts() * l.units_for(images) * l.slot_count()) * size_of::<Complex64>()
    };
    let mut last_use = vec![0; p.nodes.len()];
    p.iter().filter(|(v, _)| wanted[v.index()]).for_each(|(v, n)| n.args.iter().for_each(|a| last_use[a.index()] = v.index()));
    let (mut live, mut most) = (0, 0);
    for v in (0..p.nodes.len()).filter(|&v| wanted[v]) {
        live += size(v);
        most = most.max(live);
        let mut read: Vec<usize> = p.nodes[v].args.iter().map(|a| a.index()).filter(|&a| last_use[a] == v).collect();
        read.dedup();
        live -= read.into_iter().map(size).sum::<usize>().min(live);
        if last_use[v] == 0 {
            live -= size(v);
        }
    }
    most
}

/// The largest magnitude of each image's elements. (Other slots of a dirty result hold sums over
/// several images.) What is no number, or too large for one, becomes [`HUGE`]: it stays with its
/// image, where a product of infinity and the zero of a mask would not.
fn largest(layout: &Layout, slots: &mut Bundle, images: usize) -> Vec<f64> {
    let units = slots.par_chunks_mut(layout.unit_cts()).map(|unit| {
        let mut most = vec![[0.0f64; 2]; layout.slot_count()];
        for z in unit.iter_mut() {
            for (z, most) in z.iter_mut().zip(&mut most) {
                for (x, most) in [&mut z.re, &mut z.im].into_iter().zip(most) {
                    if is_too_large(x.abs()) {
                        *x = HUGE;
                    }
                    *most = most.max(x.abs());
                }
            }
        }
        most
    });
    let mut out = vec![0.0f64; images];
    let bits: Vec<(usize, usize)> = batch_bits(layout).collect();
    let occupied = Layout { dirty: false, ..layout.clone() }.occupied();
    for (unit, most) in units.collect::<Vec<_>>().into_iter().enumerate() {
        for (slot, parts) in most.into_iter().enumerate().filter(|(slot, _)| occupied[slot % occupied.len()]) {
            let within: usize = bits.iter().filter(|(at, _)| slot >> at & 1 == 1).map(|(_, image)| image).sum();
            for (part, x) in parts.into_iter().enumerate() {
                let imaginary = layout.complex.filter(|b| b.dim == Dim::B && part == 1).map_or(0, |b| 1 << b.index);
                // Images beyond those given hold nothing of them.
                if let Some(most) = out.get_mut(unit * layout.unit_batch() + within + imaginary) {
                    *most = most.max(x);
                }
            }
        }
    }
    out
}

/// Slot bits that number images, and the images that they stand for.
fn batch_bits(layout: &Layout) -> impl Iterator<Item = (usize, usize)> {
    layout.slots.iter().enumerate().filter_map(|(at, b)| b.filter(|b| b.dim == Dim::B).map(|b| (at, 1 << b.index)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Type;

    #[test]
    fn magnitudes_are_those_of_the_images_own_elements() {
        let layouts = ["slots[b2..b0 x1..x0] cts[c0] shape=2x1x3 batch=7", "slots[b0 x0 b1 x1] cts[b3 c0] complex=b2 shape=2x1x3 batch=13"];
        for text in layouts {
            let l = Layout::parse(text).unwrap();
            let x: Vec<f32> = (0..l.batch * 6).map(|i| ((i * 37 % 23) as f32 - 11.0) * (1 + i / 6) as f32).collect();
            let want: Vec<f64> = x.chunks(6).map(|i| i.iter().fold(0.0, |m: f64, x| m.max(f64::from(x.abs())))).collect();
            let mut slots = l.pack(&x, l.batch);
            assert_eq!(largest(&l, &mut slots, l.batch), want, "{text}");
            // What a dirty gap holds is no image's.
            let gap = l.place([0, 0, 0, 2]).slot | l.place([0, 0, 0, 1]).slot;
            slots[0][gap].re = 1e9;
            assert_eq!(largest(&l, &mut slots, l.batch), want, "{text}");
            slots[0][0].re = f64::NAN;
            assert_eq!(largest(&l, &mut slots, l.batch)[0], HUGE);
            assert!(slots.iter().flatten().all(|z| z.is_finite()));
        }
    }
}
