//! Dense arrays of one element type.

use crate::element::{Element, to_bytes};
use crate::hash::Hash;

/// A dense array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T = f32> {
    /// Extent of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub data: Vec<T>,
}

impl<T: Element> Array<T> {
    /// An array; panics if the number of values is not the product of the shape.
    pub fn new(shape: Vec<usize>, data: Vec<T>) -> Array<T> {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "array of shape {shape:?}");
        Array { shape, data }
    }
    /// All values zero.
    pub fn zeros(shape: Vec<usize>) -> Array<T> {
        let n = shape.iter().product();
        Array { shape, data: vec![T::default(); n] }
    }
    /// Hash of extents, element type and values.
    pub fn hash(&self) -> Hash {
        let mut h = blake3::Hasher::new();
        for &d in &self.shape {
            h.update(&(d as u64).to_le_bytes());
        }
        h.update(T::NAME.as_bytes());
        h.update(&to_bytes(self.data.iter().copied()));
        Hash(*h.finalize().as_bytes())
    }
}
