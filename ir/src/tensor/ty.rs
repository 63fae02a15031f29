//! Type of a tensor value: its shape for one image.

use crate::graph::Type;
use std::fmt;

/// Shape of a value for one image: `[C, H, W]`, or `[C]` after flattening. Printed as
/// `f32[16x32x32]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Extents without the batch dimension, outermost first.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// A type with these extents.
    pub fn new(shape: impl Into<Vec<usize>>) -> Self {
        TensorType { shape: shape.into() }
    }
    /// Number of elements per image.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// True if an extent is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Extents as `[C, H, W]`, with 1 for missing dimensions.
    pub fn chw(&self) -> [usize; 3] {
        let d = |i: usize| self.shape.get(i).copied().unwrap_or(1);
        [d(0), d(1), d(2)]
    }
}
impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f32[{}]", self.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x"))
    }
}
impl Type for TensorType {
    fn parse(s: &str) -> Result<Self, String> {
        let dims = s.strip_prefix("f32[").and_then(|s| s.strip_suffix(']'));
        let shape = dims.and_then(|d| d.split('x').map(|x| x.parse().ok()).collect::<Option<Vec<usize>>>());
        shape
            .filter(|s| !s.is_empty() && s.iter().all(|&d| d > 0 && d < 1 << 24))
            .map(|shape| TensorType { shape })
            .ok_or_else(|| format!("bad type `{s}`: expected e.g. f32[16x32x32]"))
    }
}
