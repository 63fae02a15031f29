//! Maps to 1×1 images that weigh all pixels of a channel alike (global average pooling, with or
//! without a fully connected layer behind): a pointwise map first, then sums over columns and over
//! rows by rotations with unit weights, which need no level.

use chiffre_ir::consts::Array;
use chiffre_ir::layout::{Dim, Layout};

/// A map that is computed this way.
pub(super) struct Pooling {
    /// Rows and columns of the rectangle at the origin that is summed.
    pub size: [usize; 2],
    /// Layout of the pointwise map's result.
    pub mid: Layout,
}

impl Pooling {
    /// For dense `[out, in, kh, kw]` kernels whose first taps read at `origins`, on operands of the
    /// given layouts, if they are of this kind.
    pub fn find(kernels: &[&Array], origins: &[[i64; 2]], from: &[&Layout], to: &Layout) -> Option<Pooling> {
        let size = [kernels.first()?.shape[2], kernels.first()?.shape[3]];
        let per = size[0] * size[1];
        let alike = |k: &&Array| k.shape[2..] == size && k.data.chunks_exact(per).all(|c| c.iter().all(|w| *w == c[0]));
        let apart = |l: &&Layout| l.cts.iter().any(|b| matches!(b.dim, Dim::Y | Dim::X));
        let [_, h, w] = to.shape;
        if [h, w] != [1, 1]
            || per < 4
            || !origins.iter().all(|o| *o == [0, 0])
            || !kernels.iter().all(alike)
            || from.iter().any(apart)
            || !from.iter().all(|l| l.same_batch(to) && l.slots == from[0].slots && l.shape[1..] == from[0].shape[1..])
        {
            return None;
        }
        // Rows and columns lie as in the operand, channels as in the result.
        let position = |i: usize| from[0].slots[i].filter(|b| matches!(b.dim, Dim::Y | Dim::X));
        if (0..to.slots.len()).any(|i| position(i).is_some() && to.slots[i].is_some()) {
            return None;
        }
        let slots = (0..to.slots.len()).map(|i| position(i).or(to.slots[i])).collect();
        let mid = Layout { shape: [to.shape[0], from[0].shape[1], from[0].shape[2]], slots, dirty: false, ..to.clone() };
        mid.check().is_empty().then_some(Pooling { size, mid })
    }
    /// Rotations of the sums, over columns first; sums over one column or row are left out.
    pub fn sums(&self) -> Vec<Vec<i64>> {
        let step = |d: Dim, i: usize| self.mid.part(d, i).slot as i64;
        let axes = [(Dim::X, self.size[1]), (Dim::Y, self.size[0])];
        axes.into_iter().filter(|a| a.1 > 1).map(|(d, n)| (0..n).map(|i| step(d, i)).collect()).collect()
    }
}

/// The kernel at one pixel, `[out, in, 1, 1]`.
pub(super) fn pointwise(k: &Array) -> Array {
    let per = k.shape[2] * k.shape[3];
    Array::new(vec![k.shape[0], k.shape[1], 1, 1], k.data.iter().step_by(per).copied().collect())
}
