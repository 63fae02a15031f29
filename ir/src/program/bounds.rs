//! How large the values of a program can be, for any image within a range: interval arithmetic on
//! its instructions.
//!
//! All images have the same range, so that the bounds of a slot repeat with the period of layouts,
//! masks and biases: as much work as one image in the clear, twice. A series behind a bootstrap
//! reads a sine, so what lies behind it is bounded whatever the image.

use super::{Program, ProgramOp};
use crate::consts::Consts;
use crate::error::InterpError;
use crate::giants;
use crate::layout::{Dim, Layout};
use crate::packed::interp::{Bundle, add_bias, series_rows};
use crate::table::{DiagTable, apply};
use num_complex::Complex64;
use std::collections::BTreeMap;
use std::f64::consts::PI;

/// Stands for every larger magnitude, so that nothing is infinite: products of two are finite, and
/// zero weights leave nothing of it.
pub(super) const HUGE: f64 = 1e60;
/// Sines of refreshes may exceed one by as much as the reduction is off.
const SINE_EXCESS: f64 = 1.0 / 512.0;

/// The largest magnitude that the result of each instruction can have in any slot, for inputs
/// within `range`: `[lowest, highest]` of each channel, or once for all. Slots without an image
/// hold zero.
///
/// # Errors
/// Constants without data; tables that the interpreter refuses.
pub fn bounds(p: &Program, range: &[[f64; 2]]) -> Result<Vec<f64>, InterpError> {
    let period = period(p)?;
    let mut values: Vec<Bundle> = vec![vec![]; p.nodes.len()];
    let mut last_use = vec![usize::MAX; p.nodes.len()];
    p.iter().for_each(|(v, n)| n.args.iter().for_each(|a| last_use[a.index()] = v.index()));
    let mut largest = vec![];
    // Slots are pairs of centre and radius, in the place of real and imaginary part.
    for (v, n) in p.iter() {
        let ty = &n.ty.layout;
        let arg = |i: usize| values[n.args[i].index()].as_slice();
        let mut out = match &n.op {
            ProgramOp::Input {} => input(ty, period, range),
            ProgramOp::Linear { table, bias, giants: steps, .. } => {
                let merged = |i: usize| {
                    let units = 1 << (p.ty(n.args[i]).layout.unit_bits() - ty.unit_bits());
                    std::iter::repeat_n(arg(i), units).flatten().cloned().collect::<Bundle>()
                };
                let args: Vec<Bundle> = (0..n.args.len()).map(merged).collect();
                let refused = |e: crate::table::TableError| InterpError::Unsupported(e.to_string());
                let mut out = linear(p.consts.table(*table)?, &args, period)?;
                if let Some(steps) = steps {
                    out = linear(&giants::table(steps, ty.unit_cts()).map_err(refused)?, &[out], period)?;
                }
                add_bias(&p.consts, *bias, false, &mut out)?;
                out
            }
            ProgramOp::Mul { .. } => by_slots(arg(0), arg(1), product),
            ProgramOp::Square { .. } => by_slots(arg(0), arg(0), |a, _| square(a)),
            ProgramOp::Chebyshev { coeffs, .. } => series(&p.consts, *coeffs, ty, arg(0), false)?,
            ProgramOp::Refresh { coeffs } => series(&p.consts, *coeffs, ty, arg(0), true)?,
        };
        // What was too large once stays so, until a sine is taken.
        let lost = !matches!(n.op, ProgramOp::Refresh { .. }) && n.args.iter().any(|a| largest[a.index()] >= HUGE);
        out.iter_mut().flatten().for_each(|z| {
            if lost || is_too_large(z.re.abs() + z.im) {
                *z = Complex64::new(0.0, HUGE);
            }
        });
        largest.push(out.iter().flatten().fold(0.0, |m: f64, z| m.max(z.re.abs() + z.im)));
        values[v.index()] = out;
        for a in n.args.iter().filter(|a| last_use[a.index()] == v.index()) {
            values[a.index()] = vec![];
        }
    }
    Ok(largest)
}

/// True for magnitudes beyond [`HUGE`], and for what is no number.
pub(super) fn is_too_large(x: f64) -> bool {
    x.is_nan() || x > HUGE
}

/// The slots after which everything repeats.
fn period(p: &Program) -> Result<usize, InterpError> {
    let mut most = 1;
    for n in &p.nodes {
        most = most.max(n.ty.layout.period());
        if let ProgramOp::Linear { table, bias, .. } = &n.op {
            most = most.max(p.consts.table(*table)?.period());
            most = most.max(bias.and_then(|b| p.consts.get(b).shape().get(1).copied()).unwrap_or(1));
        }
    }
    Ok(most)
}

fn interval(lowest: f64, highest: f64) -> Complex64 {
    Complex64::new(0.5 * (lowest + highest), 0.5 * (highest - lowest))
}

/// One unit of the input: zero where there is no element, and elsewhere the channel's range with
/// zero in it.
fn input(ty: &Layout, period: usize, range: &[[f64; 2]]) -> Bundle {
    let mut out = vec![vec![Complex64::default(); period]; ty.unit_cts()];
    let parts = |d: Dim| (0..ty.extent(d)).map(|v| ty.part(d, v)).collect::<Vec<_>>();
    let (images, rows, columns) = (ty.low_batch_slots(period), parts(Dim::Y), parts(Dim::X));
    for (c, channel) in parts(Dim::C).iter().enumerate() {
        let [lowest, highest] = range[c % range.len()];
        let both = interval(lowest.min(0.0), highest.max(0.0));
        for (y, x) in rows.iter().flat_map(|y| columns.iter().map(move |x| (y, x))) {
            let (ct, slot) = (channel.ct + y.ct + x.ct, channel.slot + y.slot + x.slot);
            images.iter().for_each(|b| out[ct][(slot + b) % period] = both);
        }
    }
    out
}

/// Centres by the weights, radii by their magnitudes.
fn linear(t: &DiagTable, args: &[Bundle], slots: usize) -> Result<Bundle, InterpError> {
    let args: Vec<&[Vec<Complex64>]> = args.iter().map(Vec::as_slice).collect();
    let magnitudes = t.with_weights(|e| e.weight.abs()).map_err(|e| InterpError::Unsupported(e.to_string()))?;
    let (mut centres, radii) = (apply(t, &args, slots), apply(&magnitudes, &args, slots));
    centres.iter_mut().flatten().zip(radii.iter().flatten()).for_each(|(c, r)| c.im = r.im);
    Ok(centres)
}

fn by_slots(a: &[Vec<Complex64>], b: &[Vec<Complex64>], f: impl Fn(Complex64, Complex64) -> Complex64) -> Bundle {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()).collect()
}

fn product(a: Complex64, b: Complex64) -> Complex64 {
    let ends = [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)].map(|(s, t)| (a.re + s * a.im) * (b.re + t * b.im));
    interval(ends.into_iter().fold(f64::INFINITY, f64::min), ends.into_iter().fold(f64::NEG_INFINITY, f64::max))
}

fn square(a: Complex64) -> Complex64 {
    let (near, far) = ((a.re.abs() - a.im).max(0.0), a.re.abs() + a.im);
    interval(near * near, far * far)
}

/// The series of each slot's channel, over all that the ciphertext can hold.
fn series(consts: &Consts, coeffs: crate::consts::ConstId, ty: &Layout, x: &[Vec<Complex64>], sine: bool) -> Result<Bundle, InterpError> {
    let rows: Vec<Vec<f64>> = series_rows(consts.array(coeffs)?).collect();
    let (of_ct, of_slot) = (ty.channel_of_cts(), ty.channel_of_slots());
    let of = |(ct, slots): (usize, &Vec<Complex64>)| {
        let reach = if sine { 1.0 + SINE_EXCESS } else { slots.iter().fold(0.0, |m: f64, z| m.max(z.re.abs() + z.im)) };
        let mut found = BTreeMap::new();
        let mut range = |row: usize| {
            *found.entry(row).or_insert_with(|| {
                let [lowest, highest] = series_range(&rows[row], reach);
                interval(lowest, highest)
            })
        };
        (0..slots.len()).map(|slot| range((of_ct[ct] + of_slot[slot % of_slot.len()]).min(rows.len() - 1))).collect()
    };
    Ok(x.iter().enumerate().map(of).collect())
}

/// Bounds of a Chebyshev series for arguments of magnitude `reach` or less.
///
/// With `x = reach · cos θ` it is a cosine polynomial of the series' degree n in θ. Of such a
/// polynomial the largest magnitude is at most `1/cos(nπ/2M)` times the largest one at `2M` equal
/// steps of the circle (Ehlich and Zeller 1964).
fn series_range(row: &[f64], reach: f64) -> [f64; 2] {
    const OVERSAMPLED: usize = 32;
    let steps = OVERSAMPLED * row.len().max(1);
    let at = |j: usize| crate::tensor::chebyshev(row, reach * (PI * j as f64 / steps as f64).cos());
    let [lowest, highest] = (0..=steps).map(at).fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], y| [a.min(y), b.max(y)]);
    let z = interval(lowest, highest);
    let radius = z.im / (PI / (2 * OVERSAMPLED) as f64).cos();
    [z.re - radius, z.re + radius]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_series_hold_their_values_and_little_more() {
        let rows: [&[f64]; 4] = [&[2.0], &[0.5, 0.25], &[0.3, -0.2, 0.7, 0.1, -0.4, 0.05, 0.2, -0.3], &[0.0; 16]];
        for row in rows {
            for reach in [0.3, 1.0, 1.5] {
                let [lowest, highest] = series_range(row, reach);
                let all: Vec<f64> = (-5000..=5000).map(|j| crate::tensor::chebyshev(row, reach * f64::from(j) / 5000.0)).collect();
                let [a, b] = all.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], &y| [a.min(y), b.max(y)]);
                assert!(
                    lowest <= a && b <= highest && highest - lowest <= 1.01 * (b - a) + 1e-12,
                    "{row:?} {reach}: {lowest} {highest}, {a} {b}"
                );
            }
        }
    }

    #[test]
    fn products_of_intervals_are_exact() {
        let span = |z: Complex64| [z.re - z.im, z.re + z.im];
        assert_eq!(span(product(interval(-1.0, 2.0), interval(3.0, 5.0))), [-5.0, 10.0]);
        assert_eq!(span(square(interval(-1.0, 2.0))), [0.0, 4.0]);
        assert_eq!(span(square(interval(-4.0, -2.0))), [4.0, 16.0]);
    }
}
