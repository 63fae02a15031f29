//! Resize and Upsample: along every axis a linear map of positions.

use super::Bound;
use super::context::Context;
use super::windows::Weights;
use crate::constant::{axis, coordinates};

type Result<T> = std::result::Result<T, String>;

/// How positions of the result are interpolated along an axis.
struct Interpolation {
    /// nearest, linear or cubic.
    mode: String,
    /// How a position of the result becomes one of the operand.
    coordinates: String,
    nearest: String,
    cubic_a: f64,
    exclude_outside: bool,
    antialias: bool,
}

/// An axis that is resized.
#[derive(Clone, Copy)]
struct Line {
    from: usize,
    to: usize,
    scale: f64,
    roi: [f64; 2],
}

pub(super) fn resize(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let rank = x.dims.len() + 1;
    let upsample = cx.node.op == "Upsample";
    let old = upsample || cx.opset() < 11;
    let word = |name: &str, new: &str, before: &str| cx.word(name, if old { before } else { new });
    let how = Interpolation {
        mode: cx.word("mode", "nearest")?,
        coordinates: word("coordinate_transformation_mode", "half_pixel", "asymmetric")?,
        nearest: word("nearest_mode", "round_prefer_floor", "floor")?,
        cubic_a: cx.float("cubic_coeff_a", -0.75)?.into(),
        exclude_outside: cx.int("exclude_outside", 0)? != 0,
        antialias: cx.int("antialias", 0)? != 0,
    };
    let axes = match cx.ints("axes")? {
        Some(list) => list.into_iter().map(|a| axis(a, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    let whole: Vec<usize> = std::iter::once(1).chain(x.dims.iter().copied()).collect();
    let numbers = |cx: &Context, i: usize| -> Result<Vec<f64>> {
        if !cx.has(i) {
            return Ok(vec![]);
        }
        let c = cx.constant(i)?;
        // The batch of a shape that was computed keeps its size.
        let ints = c.ints().map(|v| v.iter().map(|d| if let crate::constant::Dim::Known(k) = d { *k as f64 } else { -1.0 }).collect());
        match c.data {
            crate::constant::Data::Int(_) => ints,
            _ => Ok(c.floats()?.iter().map(|&v| f64::from(v)).collect()),
        }
    };
    let at = if old { 1 } else { 2 };
    let scales: Vec<f64> = match cx.floats_attr("scales")? {
        Some(v) => v.into_iter().map(f64::from).collect(),
        None => numbers(cx, at)?,
    };
    let (sizes, roi) = if old { (vec![], vec![]) } else { (numbers(cx, 3)?, numbers(cx, 1)?) };
    if scales.len() != axes.len() && sizes.len() != axes.len() {
        return Err(format!("{} scales and {} sizes for {} axes", scales.len(), sizes.len(), axes.len()));
    }
    let roi = if roi.is_empty() { [vec![0.0; axes.len()], vec![1.0; axes.len()]].concat() } else { roi };
    if roi.len() != 2 * axes.len() {
        return Err(format!("{} numbers of a region for {} axes", roi.len(), axes.len()));
    }
    // One scale for all axes, where the ratio of extents is kept.
    let ratios: Vec<f64> = axes.iter().zip(&sizes).map(|(&a, s)| s / whole[a] as f64).collect();
    let common = match cx.word("keep_aspect_ratio_policy", "stretch")?.as_str() {
        "stretch" => None,
        "not_larger" => ratios.iter().copied().reduce(f64::min),
        "not_smaller" => ratios.iter().copied().reduce(f64::max),
        other => return Err(format!("keep_aspect_ratio_policy {other} is unknown")),
    };
    let mut lines: Vec<Line> = whole.iter().map(|&n| Line { from: n, to: n, scale: 1.0, roi: [0.0, 1.0] }).collect();
    for (k, &a) in axes.iter().enumerate() {
        let from = whole[a];
        let (scale, to) = match (common, sizes.len() == axes.len()) {
            (Some(s), true) => (s, (s * from as f64 + 0.5).floor()),
            (None, true) => (ratios[k], sizes[k]),
            _ => (scales[k], (scales[k] * from as f64 + 1e-9).floor()),
        };
        if a == 0 {
            if !(to == 1.0 || sizes.get(k) == Some(&-1.0) || cx.batch == Some(to as usize)) {
                return Err("the batch cannot be resized".into());
            }
            continue;
        }
        if !(scale.is_finite() && scale > 0.0 && (1.0..1e6).contains(&to)) {
            return Err(format!("axis {a} of extent {from} cannot be resized to {to}"));
        }
        lines[a] = Line { from, to: to as usize, scale, roi: [roi[k], roi[k + axes.len()]] };
    }
    let dims: Vec<usize> = lines[1..].iter().map(|l| l.to).collect();
    let weights =
        lines[1..].iter().map(|l| (0..l.to).map(|o| how.weights(l, o)).collect()).collect::<Result<Vec<Vec<Option<Weights>>>>>()?;
    let outside = if how.coordinates == "tf_crop_and_resize" { cx.float("extrapolation_value", 0.0)? } else { 0.0 };
    let y = cx.along(&x, &dims, &weights)?;
    let cropped = |o: usize| coordinates(o, &dims).iter().zip(&weights).any(|(&c, axis)| axis[c].is_none());
    let fill: Vec<f32> = (0..dims.iter().product()).map(|o| if cropped(o) { outside } else { 0.0 }).collect();
    cx.plus(&y, fill).map(Bound::Value)
}

impl Interpolation {
    /// What position `o` of the result reads; `None` outside of a cropped region.
    fn weights(&self, l: &Line, o: usize) -> Result<Option<Weights>> {
        let (o, from) = (o as f64, l.from as f64);
        let whole = l.scale * from;
        if l.from == l.to && l.scale == 1.0 && self.coordinates != "tf_crop_and_resize" {
            return Ok(Some(vec![(o as usize, 1.0)]));
        }
        let x = match self.coordinates.as_str() {
            "align_corners" if whole == 1.0 => 0.0,
            "align_corners" => o * (from - 1.0) / (whole - 1.0),
            "asymmetric" => o / l.scale,
            "pytorch_half_pixel" if whole == 1.0 => -0.5,
            "half_pixel" | "pytorch_half_pixel" => (o + 0.5) / l.scale - 0.5,
            "half_pixel_symmetric" => from / 2.0 * (1.0 - l.to as f64 / whole) + (o + 0.5) / l.scale - 0.5,
            "tf_half_pixel_for_nn" => (o + 0.5) / l.scale,
            "tf_crop_and_resize" => {
                let span = (l.roi[1] - l.roi[0]) * (from - 1.0);
                let x = l.roi[0] * (from - 1.0) + if whole == 1.0 { span / 2.0 } else { o * span / (whole - 1.0) };
                if x < 0.0 || x > from - 1.0 {
                    return Ok(None);
                }
                x
            }
            other => return Err(format!("coordinate_transformation_mode {other} is unknown")),
        };
        // Positions that are whole but for rounding.
        let x = if (x - x.round()).abs() < 1e-9 { x.round() } else { x };
        let base = x.ceil() - 1.0;
        let ratio = x - base;
        let inside = |i: f64| i.clamp(0.0, from - 1.0) as usize;
        let shrink = if self.antialias { l.scale.min(1.0) } else { 1.0 };
        let (first, f): (f64, Box<dyn Fn(f64) -> f64>) = match self.mode.as_str() {
            "nearest" => {
                let at = match self.nearest.as_str() {
                    _ if ratio == 1.0 => x,
                    "floor" => base,
                    "ceil" => base + 1.0,
                    "round_prefer_floor" => base + if ratio <= 0.5 { 0.0 } else { 1.0 },
                    "round_prefer_ceil" => base + if ratio < 0.5 { 0.0 } else { 1.0 },
                    other => return Err(format!("nearest_mode {other} is unknown")),
                };
                return Ok(Some(vec![(inside(at), 1.0)]));
            }
            "linear" | "bilinear" | "trilinear" => ((-1.0 / shrink).floor() + 1.0, Box::new(|d: f64| (1.0 - d).max(0.0))),
            "cubic" => {
                let a = self.cubic_a;
                let near = move |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
                let far = move |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
                let f = move |d: f64| {
                    if d <= 1.0 {
                        near(d)
                    } else if d < 2.0 {
                        far(d)
                    } else {
                        0.0
                    }
                };
                ((-2.0 / shrink).floor() + 1.0, Box::new(f))
            }
            other => return Err(format!("mode {other} is unknown")),
        };
        let count = 2 - 2 * first as i64;
        let mut all: Vec<(f64, f64)> =
            (0..count).map(|k| (base + first + k as f64, f(((first + k as f64 - ratio) * shrink).abs()))).collect();
        if self.exclude_outside {
            all.retain(|(i, _)| (0.0..from).contains(i));
        }
        let sum: f64 = all.iter().map(|(_, w)| w).sum();
        if self.exclude_outside || self.antialias {
            all.iter_mut().for_each(|(_, w)| *w /= sum);
        }
        Ok(Some(all.into_iter().filter(|(_, w)| *w != 0.0).map(|(i, w)| (inside(i), w)).collect()))
    }
}
