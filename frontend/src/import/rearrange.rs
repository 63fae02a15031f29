//! Operators that move, repeat and add up elements: linear maps that every element of the result
//! says for itself.

use super::context::{Context, size};
use super::windows;
use super::{Bound, Var};
use crate::constant::{Dim, axis, coordinates, extent, flat_index};

type Result<T> = std::result::Result<T, String>;

/// An axis of a value; the batch is none.
fn own_axis(cx: &Context, name: &str, default: i64, x: &Var) -> Result<usize> {
    let a = axis(cx.int(name, default)?, x.dims.len() + 1)?;
    a.checked_sub(1).ok_or_else(|| "it runs over the batch".into())
}

/// Blocks of channels become places in blocks of positions.
pub(super) fn depth_to_space(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let b = size(cx.int("blocksize", 0)?, "blocksize")?;
    let crd = match cx.word("mode", "DCR")?.as_str() {
        "DCR" => false,
        "CRD" => true,
        other => return Err(format!("mode {other} is unknown")),
    };
    let [c, h, w] = x.dims[..] else { return Err(format!("the input has shape N×{:?}, expected N×C×H×W", x.dims)) };
    if b == 0 || !c.is_multiple_of(b * b) {
        return Err(format!("{c} channels are no blocks of {b}×{b}"));
    }
    let inner = c / (b * b);
    let read = |at: &[usize]| {
        let [place, k] = [at[1] % b * b + at[2] % b, at[0]];
        Some(vec![if crd { k * b * b + place } else { place * inner + k }, at[1] / b, at[2] / b])
    };
    cx.gathered(&x, &[inner, h * b, w * b], &read).map(Bound::Value)
}

/// The other way round.
pub(super) fn space_to_depth(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let b = size(cx.int("blocksize", 0)?, "blocksize")?;
    let [c, h, w] = x.dims[..] else { return Err(format!("the input has shape N×{:?}, expected N×C×H×W", x.dims)) };
    let crd = cx.word("mode", "DCR")? == "CRD";
    if b == 0 || !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return Err(format!("{h}×{w} positions are no blocks of {b}×{b}"));
    }
    let read = |at: &[usize]| {
        let (place, k) = if crd { (at[0] % (b * b), at[0] / (b * b)) } else { (at[0] / c, at[0] % c) };
        Some(vec![k, at[1] * b + place / b, at[2] * b + place % b])
    };
    cx.gathered(&x, &[c * b * b, h / b, w / b], &read).map(Bound::Value)
}

/// A list of extents or counts for all axes, the batch's first, without it.
fn behind_batch(cx: &Context, i: usize, batch: &[i64]) -> Result<Vec<i64>> {
    let list = cx.constant(i)?;
    let ints = list.ints()?;
    let Some((first, rest)) = ints.split_first() else { return Err("it needs a list".into()) };
    let kept = match first {
        Dim::Batch => true,
        Dim::Known(k) => batch.contains(k) || cx.batch.is_some_and(|b| *k == b as i64 && batch.contains(&-1)),
    };
    if !kept {
        return Err("the batch must stay as it is".into());
    }
    rest.iter()
        .map(|d| if let Dim::Known(k) = d { Ok(*k) } else { Err("the batch size is used beside the first dimension".into()) })
        .collect()
}

pub(super) fn tile(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let repeats = behind_batch(cx, 1, &[1])?;
    if repeats.len() != x.dims.len() {
        return Err(format!("{} counts for {} axes", repeats.len() + 1, x.dims.len() + 1));
    }
    let dims = x.dims.iter().zip(&repeats).map(|(&d, &r)| extent(r).map(|r| d.saturating_mul(r))).collect::<Result<Vec<_>>>()?;
    let from = x.dims.clone();
    cx.gathered(&x, &dims, &|at| Some(at.iter().zip(&from).map(|(a, d)| a % d).collect())).map(Bound::Value)
}

pub(super) fn expand(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let list = cx.constant(1)?.ints()?.len();
    // A shorter list leaves the batch as it is.
    let shape = match list <= x.dims.len() {
        true => cx.constant(1)?.known_ints()?,
        false => behind_batch(cx, 1, &[1, -1])?,
    };
    let dims = shape.iter().map(|&d| extent(d)).collect::<Result<Vec<_>>>()?;
    let dims = super::relation::joint(&x.dims, &dims).filter(|d| d.len() == x.dims.len());
    let dims = dims.ok_or_else(|| format!("a value of shape N×{:?} does not expand to {shape:?}", x.dims))?;
    cx.expanded(&x, &dims).map(Bound::Value)
}

/// Elements at constant indices along an axis.
pub(super) fn gather(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let a = own_axis(cx, "axis", 0, &x)?;
    let index = cx.constant(1)?;
    let shape = index.shape()?;
    let list = index.known_ints()?.into_iter().map(|i| axis(i, x.dims[a])).collect::<Result<Vec<_>>>()?;
    let dims = [&x.dims[..a], &shape, &x.dims[a + 1..]].concat();
    let read = |at: &[usize]| {
        let (before, rest) = at.split_at(a);
        let (middle, after) = rest.split_at(shape.len());
        Some([before, &[list[flat_index(middle, &shape)]], after].concat())
    };
    cx.gathered(&x, &dims, &read).map(Bound::Value)
}

/// Elements at constant indices along an axis, for each element of the result.
pub(super) fn gather_elements(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let a = own_axis(cx, "axis", 0, &x)?;
    let index = cx.constant(1)?;
    let shape = index.shape()?;
    if shape.len() != x.dims.len() + 1 {
        return Err("the indices have another rank than the value".into());
    }
    let list = index.known_ints()?.into_iter().map(|i| axis(i, x.dims[a])).collect::<Result<Vec<_>>>()?;
    let dims = shape[1..].to_vec();
    let per: usize = dims.iter().product();
    if list.chunks(per.max(1)).any(|image| image != &list[..per]) {
        return Err("its indices differ between the images of a batch".into());
    }
    let read = |at: &[usize]| {
        let mut from = at.to_vec();
        from[a] = list[flat_index(at, &dims)];
        Some(from)
    };
    cx.gathered(&x, &dims, &read).map(Bound::Value)
}

/// The start of an axis in the opposite order.
pub(super) fn reverse_sequence(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let rank = x.dims.len() + 1;
    let [batch, time] = [cx.int("batch_axis", 1)?, cx.int("time_axis", 0)?].map(|a| axis(a, rank));
    let (batch, time) = (batch?, time?);
    let lens = cx.constant(1)?.known_ints()?;
    let Some(time) = time.checked_sub(1) else { return Err("it runs over the batch".into()) };
    if batch == 0 && lens.iter().any(|l| *l != lens[0]) {
        return Err("its lengths differ between the images of a batch".into());
    }
    let read = |at: &[usize]| {
        let len = lens.get(if batch == 0 { 0 } else { at[batch - 1] }).copied().unwrap_or(0) as usize;
        let mut from = at.to_vec();
        if at[time] < len {
            from[time] = len - 1 - at[time];
        }
        Some(from)
    };
    let dims = x.dims.clone();
    cx.gathered(&x, &dims, &read).map(Bound::Value)
}

/// Crops and pads of some axes, around their middle.
pub(super) fn center_crop_pad(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let rank = x.dims.len() + 1;
    let axes = match cx.ints("axes")? {
        Some(list) => list.into_iter().map(|a| axis(a, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    let shape = cx.constant(1)?.known_ints()?;
    if shape.len() != axes.len() {
        return Err(format!("{} extents for {} axes", shape.len(), axes.len()));
    }
    let mut dims = x.dims.clone();
    for (&a, &d) in axes.iter().zip(&shape) {
        match a.checked_sub(1) {
            Some(a) => dims[a] = extent(d)?,
            None if cx.batch == usize::try_from(d).ok() => {}
            None => return Err("the batch must stay as it is".into()),
        }
    }
    let from = x.dims.clone();
    let read = |at: &[usize]| {
        let one = |((&o, &n), &to): ((&usize, &usize), &usize)| {
            let i = if to <= n { o + (n - to) / 2 } else { o.checked_sub((to - n) / 2)? };
            (i < n).then_some(i)
        };
        at.iter().zip(&from).zip(&dims).map(one).collect()
    };
    cx.gathered(&x, &dims, &read).map(Bound::Value)
}

/// The upper or the lower triangle of matrices.
pub(super) fn trilu(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let k = if cx.has(1) { cx.constant(1)?.known_ints()?.first().copied().unwrap_or(0) } else { 0 };
    let upper = cx.int("upper", 1)? != 0;
    let n = x.dims.len();
    if n < 2 {
        return Err(format!("a value of shape N×{:?} holds no matrices", x.dims));
    }
    let read = |at: &[usize]| {
        let above = at[n - 1] as i64 - at[n - 2] as i64;
        (if upper { above >= k } else { above <= k }).then(|| at.to_vec())
    };
    let dims = x.dims.clone();
    cx.gathered(&x, &dims, &read).map(Bound::Value)
}

/// Sums of all elements up to each one of an axis.
pub(super) fn cum_sum(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let a = cx.constant(1)?.known_ints()?.first().copied().ok_or("the axis is missing")?;
    let a = axis(a, x.dims.len() + 1)?.checked_sub(1).ok_or("it runs over the batch")?;
    let (exclusive, reverse) = (cx.int("exclusive", 0)? != 0, cx.int("reverse", 0)? != 0);
    let dims = x.dims.clone();
    let y = cx.linear(&x, &dims, &|o, list| {
        let mut at = coordinates(o, &dims);
        let own = at[a];
        for i in 0..dims[a] {
            let before = if reverse { i > own } else { i < own };
            if before || (i == own && !exclusive) {
                at[a] = i;
                list.push((flat_index(&at, &dims), 1.0));
            }
        }
    })?;
    Ok(Bound::Value(y))
}

/// Columns of windows added where the windows lie.
pub(super) fn col2im(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let [image, block] = [1, 2].map(|i| cx.constant(i).and_then(|c| c.known_ints()));
    let sizes = |v: Vec<i64>| v.into_iter().map(|d| size(d, "a shape")).collect::<Result<Vec<usize>>>();
    let (image, block) = (sizes(image?)?, sizes(block?)?);
    let [rows, columns] = x.dims[..] else { return Err(format!("the input has shape N×{:?}, expected N×C×L", x.dims)) };
    let lines = windows::lines(cx, &image, &block, false)?;
    let taps: usize = block.iter().product();
    let places: Vec<usize> = lines.iter().map(|l| l.out).collect();
    if taps == 0 || !rows.is_multiple_of(taps) || places.iter().product::<usize>() != columns {
        return Err(format!("{rows}×{columns} elements are no windows of {block:?} over {image:?}"));
    }
    let c = rows / taps;
    let area: usize = image.iter().product();
    // For each position of the image, the taps and windows that cover it.
    let mut covers = vec![vec![]; area];
    for (t, p) in (0..taps).flat_map(|t| (0..columns).map(move |p| (t, p))) {
        if let Some(at) = windows::element(&lines, &coordinates(p, &places), &coordinates(t, &block)) {
            covers[flat_index(&at, &image)].push(t * columns + p);
        }
    }
    let dims = [&[c], &image[..]].concat();
    let y = cx.linear(&x, &dims, &|o, list| {
        list.extend(covers[o % area].iter().map(|e| (o / area * taps * columns + e, 1.0)));
    })?;
    Ok(Bound::Value(y))
}

/// Values at the places that a pooling found them, which are constants.
pub(super) fn max_unpool(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let index = cx.constant(1)?.known_ints()?;
    let kernel = cx.ints("kernel_shape")?.ok_or("attribute kernel_shape is missing")?;
    let kernel = kernel.into_iter().map(|k| size(k, "kernel_shape")).collect::<Result<Vec<_>>>()?;
    if x.dims.len() != kernel.len() + 1 {
        return Err(format!("a kernel {kernel:?} does not fit an input of shape N×{:?}", x.dims));
    }
    let lines = windows::lines(cx, &x.dims[1..], &kernel, true)?;
    let found: Vec<usize> = std::iter::once(x.dims[0]).chain(lines.iter().map(|l| l.out)).collect();
    let dims = match cx.has(2) {
        true => behind_batch(cx, 2, &[1, -1])?.into_iter().map(extent).collect::<Result<Vec<_>>>()?,
        false => found.clone(),
    };
    let per: usize = x.dims.iter().product();
    if dims.len() != found.len() || index.len() != per {
        return Err("its indices do not fit one image".into());
    }
    // The indices count in the extents that the windows cover.
    let mut from = std::collections::HashMap::new();
    for (i, &at) in index.iter().enumerate() {
        let at = usize::try_from(at).map_err(|_| format!("index {at}"))?;
        from.insert(coordinates(at, &found), i);
    }
    let y = cx.linear(&x, &dims, &|o, list| list.extend(from.get(&coordinates(o, &dims)).map(|&i| (i, 1.0))))?;
    Ok(Bound::Value(y))
}

/// What lies before and behind the elements of an axis of `n`.
pub(super) fn border(mode: &str, i: i64, n: usize) -> Result<Option<usize>> {
    let n = n as i64;
    Ok(match mode {
        "constant" => (0..n).contains(&i).then_some(i as usize),
        "edge" => Some(i.clamp(0, n - 1) as usize),
        "wrap" => Some(i.rem_euclid(n) as usize),
        "reflect" => {
            let period = (2 * (n - 1)).max(1);
            let k = i.rem_euclid(period);
            Some(k.min(period - k).min(n - 1) as usize)
        }
        other => return Err(format!("mode {other} is unknown")),
    })
}
