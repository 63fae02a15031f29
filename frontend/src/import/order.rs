//! The order in which a file sees the elements of a value.

use crate::constant::{coordinates, flat_index};
use std::sync::Arc;

/// For every element of the file's view, row-major, the element of the value that it is; none if
/// the two agree.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Order(Option<Arc<Vec<u32>>>);

impl Order {
    fn new(at: Vec<u32>) -> Order {
        let plain = at.iter().enumerate().all(|(i, &k)| i == k as usize);
        Order(if plain { None } else { Some(Arc::new(at)) })
    }
    /// True if the file sees the elements as they lie.
    pub fn is_plain(&self) -> bool {
        self.0.is_none()
    }
    /// The element of the value that is the file's element `i`.
    pub fn at(&self, i: usize) -> usize {
        self.0.as_ref().map_or(i, |at| at[i] as usize)
    }
    /// The order of a value of extents `dims` in this order whose axes are taken in the order
    /// `perm`.
    pub fn transposed(&self, dims: &[usize], perm: &[usize]) -> Order {
        let out: Vec<usize> = perm.iter().map(|&k| dims[k]).collect();
        let source = |i: usize| {
            let mut at = vec![0; dims.len()];
            perm.iter().zip(coordinates(i, &out)).for_each(|(&k, c)| at[k] = c);
            self.at(flat_index(&at, dims)) as u32
        };
        Order::new((0..out.iter().product()).map(source).collect())
    }
    /// The values `x` of the file, in the order of the value.
    pub fn stored(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        x.iter().enumerate().for_each(|(i, &v)| out[self.at(i)] = v);
        out
    }
    /// For channels of `area` elements each: the channel of the value that each of the file's
    /// channels is, if whole channels have changed places.
    pub fn channels(&self, count: usize, area: usize) -> Option<Vec<usize>> {
        let first = |c: usize| self.at(c * area);
        let whole = (0..count).all(|c| first(c).is_multiple_of(area) && (1..area).all(|p| self.at(c * area + p) == first(c) + p));
        whole.then(|| (0..count).map(|c| first(c) / area).collect())
    }
}
