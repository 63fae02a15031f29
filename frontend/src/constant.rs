//! Constant tensors at import time, where a shape may still hold the batch size as an unknown.

use std::sync::Arc;

/// Most elements of a constant that is made of others.
pub(crate) const MAX_CONST: usize = 1 << 26;
/// Most elements of a constant that the file holds, which is as large itself, and of what has no
/// more elements than that.
const MAX_STORED: usize = 1 << 28;
/// Most elements of a constant that the file does not hold: a few bytes of a file can ask for any
/// number of them.
pub(crate) const MAX_MADE: usize = 1 << 22;

/// An extent or shape element: a number, or the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dim {
    Known(i64),
    Batch,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Float(Arc<Vec<f32>>),
    Int(Arc<Vec<Dim>>),
    /// One value everywhere; the only form whose shape may hold the batch.
    Uniform(f32),
}

/// A constant; `Float` and `Int` data have as many elements as the (known) shape says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Const {
    pub dims: Vec<Dim>,
    pub data: Data,
}

/// Number of elements of a known shape, at most [`MAX_CONST`].
pub(crate) fn count(shape: &[usize]) -> Result<usize, String> {
    count_to(shape, MAX_CONST)
}

/// Number of elements of a shape whose numbers the file holds, at most [`MAX_STORED`].
pub(crate) fn count_stored(shape: &[usize]) -> Result<usize, String> {
    count_to(shape, MAX_STORED)
}

fn count_to(shape: &[usize], most: usize) -> Result<usize, String> {
    let n = shape.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).filter(|&n| n <= most);
    n.ok_or_else(|| format!("a constant of shape {shape:?} is larger than {most} elements"))
}

/// Number of elements of a constant that is computed from others, of which the largest has
/// `operand`: no more than that, or [`MAX_MADE`].
pub(crate) fn count_made(shape: &[usize], operand: usize) -> Result<usize, String> {
    let most = operand.max(MAX_MADE);
    let n = count_to(shape, operand.max(MAX_CONST))?;
    if n > most { Err(format!("a computed constant of shape {shape:?} is larger than {most} elements")) } else { Ok(n) }
}

/// A known extent of a sane size.
pub(crate) fn extent(d: i64) -> Result<usize, String> {
    usize::try_from(d).ok().filter(|&d| d <= MAX_CONST).ok_or_else(|| format!("extent {d} is out of range"))
}

impl Const {
    pub fn float(shape: &[usize], data: Vec<f32>) -> Const {
        Const { dims: shape.iter().map(|&d| Dim::Known(d as i64)).collect(), data: Data::Float(Arc::new(data)) }
    }
    pub fn int(shape: &[usize], data: Vec<Dim>) -> Const {
        Const { dims: shape.iter().map(|&d| Dim::Known(d as i64)).collect(), data: Data::Int(Arc::new(data)) }
    }
    /// The shape if it is known.
    pub fn shape(&self) -> Result<Vec<usize>, String> {
        let known = |d: &Dim| match d {
            Dim::Known(k) => extent(*k),
            Dim::Batch => Err("the shape of a constant depends on the batch size".to_string()),
        };
        self.dims.iter().map(known).collect()
    }
    /// The values as floats; fails on values that hold the batch size.
    pub fn floats(&self) -> Result<Arc<Vec<f32>>, String> {
        match &self.data {
            Data::Float(v) => Ok(v.clone()),
            Data::Int(_) => Ok(Arc::new(self.known_ints()?.into_iter().map(|k| k as f32).collect())),
            Data::Uniform(x) => Ok(Arc::new(vec![*x; count_made(&self.shape()?, 0)?])),
        }
    }
    /// The values as integers or the batch size.
    pub fn ints(&self) -> Result<Arc<Vec<Dim>>, String> {
        let whole = |x: f32| match x.fract() == 0.0 && x.abs() < 1e15 {
            true => Ok(Dim::Known(x as i64)),
            false => Err(format!("{x} where an integer is needed")),
        };
        match &self.data {
            Data::Int(v) => Ok(v.clone()),
            Data::Float(v) => Ok(Arc::new(v.iter().map(|&x| whole(x)).collect::<Result<_, _>>()?)),
            Data::Uniform(x) => Ok(Arc::new(vec![whole(*x)?; count_made(&self.shape()?, 0)?])),
        }
    }
    /// The values as integers; fails on the batch size.
    pub fn known_ints(&self) -> Result<Vec<i64>, String> {
        let known = |d: &Dim| match d {
            Dim::Known(k) => Ok(*k),
            Dim::Batch => Err("the batch size where a number is needed".to_string()),
        };
        self.ints()?.iter().map(known).collect()
    }
    /// The only value of a constant with one element, or of a uniform one.
    pub fn scalar(&self) -> Option<f32> {
        match &self.data {
            Data::Uniform(x) => Some(*x),
            Data::Float(v) if v.len() == 1 => Some(v[0]),
            Data::Int(v) => match v.as_slice() {
                [Dim::Known(k)] => Some(*k as f32),
                _ => None,
            },
            Data::Float(_) => None,
        }
    }
    /// A tensor of `shape` whose element `i` is element `source(i)` of this one.
    pub fn select(&self, shape: &[usize], source: impl Fn(usize) -> usize) -> Result<Const, String> {
        let n = count_made(shape, self.stored())?;
        let missing = || "an index is outside its tensor".to_string();
        Ok(match &self.data {
            Data::Float(v) => Const::float(shape, (0..n).map(|i| v.get(source(i)).copied().ok_or_else(missing)).collect::<Result<_, _>>()?),
            Data::Int(v) => Const::int(shape, (0..n).map(|i| v.get(source(i)).copied().ok_or_else(missing)).collect::<Result<_, _>>()?),
            Data::Uniform(x) => Const { data: Data::Uniform(*x), ..Const::int(shape, vec![]) },
        })
    }
    /// Elements in memory.
    pub fn stored(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
            Data::Uniform(_) => 1,
        }
    }
    /// Bytes that this constant alone holds: those that it shares with another do not count.
    pub fn own_bytes(&self) -> usize {
        match &self.data {
            Data::Float(v) if Arc::strong_count(v) == 1 => size_of::<f32>() * v.len(),
            Data::Int(v) if Arc::strong_count(v) == 1 => size_of::<Dim>() * v.len(),
            _ => 0,
        }
    }
    /// The same elements under another shape.
    pub fn reshape(&self, shape: &[usize]) -> Result<Const, String> {
        if count_stored(shape)? != count_stored(&self.shape()?)? {
            return Err(format!("{:?} cannot take the shape {shape:?}", self.shape()?));
        }
        Ok(Const { dims: shape.iter().map(|&d| Dim::Known(d as i64)).collect(), data: self.data.clone() })
    }
}

/// Splits a flat index into coordinates, outermost first.
pub(crate) fn coordinates(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut c = vec![0; shape.len()];
    for (k, &d) in shape.iter().enumerate().rev() {
        c[k] = i % d.max(1);
        i /= d.max(1);
    }
    c
}

/// The flat index of coordinates; extents of 1 broadcast.
pub(crate) fn flat_index(c: &[usize], shape: &[usize]) -> usize {
    c.iter().zip(shape).fold(0, |a, (&i, &d)| a * d + if d == 1 { 0 } else { i })
}

/// An axis of a tensor of `rank`, negative ones counted from the end.
pub(crate) fn axis(a: i64, rank: usize) -> Result<usize, String> {
    let k = if a < 0 { a.checked_add(rank as i64) } else { Some(a) };
    k.and_then(|k| usize::try_from(k).ok()).filter(|&k| k < rank).ok_or_else(|| format!("axis {a} of a tensor of rank {rank}"))
}

/// Start and number of the elements that a slice takes from an extent, after ONNX's clamping.
pub(crate) fn slice_span(start: i64, end: i64, step: i64, extent: usize) -> Result<(usize, usize), String> {
    let n = extent as i64;
    let wrap = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
    let (lo, hi) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let (s, e) = (wrap(start).clamp(lo.max(0), hi), wrap(end).clamp(lo, hi));
    match step {
        0 => Err("a slice's step is 0".into()),
        // An end below −extent stays below 0 after wrapping, which is "before the first element".
        _ => Ok((s.max(0) as usize, ((e - s) as f64 / step as f64).ceil().max(0.0) as usize)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_clamp_like_onnx() {
        assert_eq!(slice_span(0, i64::MAX, 2, 5), Ok((0, 3)));
        assert_eq!(slice_span(1, -1, 1, 5), Ok((1, 3)));
        assert_eq!(slice_span(-1, i64::MIN, -1, 4), Ok((3, 4)));
        assert_eq!(slice_span(7, 9, 1, 5), Ok((5, 0)));
        assert!(slice_span(0, 1, 0, 5).is_err());
    }

    #[test]
    fn selection_checks_indices_and_size() {
        let c = Const::float(&[2, 2], vec![1., 2., 3., 4.]);
        let t = c.select(&[2, 2], |i| flat_index(&[i % 2, i / 2], &[2, 2])).unwrap();
        assert_eq!(*t.floats().unwrap(), [1., 3., 2., 4.]);
        assert!(c.select(&[1], |_| 4).is_err());
        assert!(count(&[1 << 20, 1 << 20]).is_err() && count(&[usize::MAX, 2]).is_err());
        // The first layer behind the convolutions of a VGG, which the file holds.
        let layer = [4096, 25088];
        assert!(count(&layer).is_err() && count_made(&layer, 0).is_err());
        assert_eq!((count_stored(&layer), count_made(&layer, 4096 * 25088)), (Ok(4096 * 25088), Ok(4096 * 25088)));
        assert!(count_stored(&[1 << 15, 1 << 15]).is_err());
    }
}
