//! Rows: equally long word buffers cut from slabs, any free one of which serves any polynomial of
//! the ring.
//!
//! Contents of a reused row are stale but initialised words; secrets must be zeroized by their
//! owner.

use super::block::Block;
use super::memory::{Memory, SMALLEST, SlabRow};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Owned words of a fixed number; a slice of `u64`.
pub struct LimbWords {
    start: NonNull<u64>,
    len: usize,
    home: Home,
}

enum Home {
    /// No memory at all.
    Nothing,
    /// Its own block.
    Block(Option<Block>),
    /// A place in the slab of this number, among those for its length in a memory.
    Slab(usize, Arc<Memory>),
}

// SAFETY: a row is plain owned memory; access goes through `&LimbWords` and `&mut LimbWords`.
unsafe impl Send for LimbWords {}
// SAFETY: as above.
unsafe impl Sync for LimbWords {}

impl LimbWords {
    /// No words.
    pub const EMPTY: Self = Self { start: NonNull::dangling(), len: 0, home: Home::Nothing };

    /// `len` zero words.
    pub fn zeroed(len: usize) -> Self {
        let mut row = Self::unspecified(len);
        if matches!(row.home, Home::Slab(..)) {
            row.fill(0);
        }
        row
    }

    /// `len` initialised words of unspecified value.
    pub fn unspecified(len: usize) -> Self {
        if len == 0 {
            return Self::EMPTY;
        }
        if len < SMALLEST {
            let block = Block::allocate(len, 0);
            return Self { start: block.start(), len, home: Home::Block(Some(block)) };
        }
        let memory = Memory::current();
        let SlabRow { start, slab } = memory.place(len);
        Self { start, len, home: Home::Slab(slab, memory) }
    }
}

impl Deref for LimbWords {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        // SAFETY: the row's memory holds `len` initialised words; the pointer is aligned.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for LimbWords {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `deref`, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for LimbWords {
    fn drop(&mut self) {
        match &mut self.home {
            Home::Nothing => {}
            Home::Block(block) => block.take().into_iter().for_each(Block::free),
            Home::Slab(slab, memory) => memory.take_back_place(self.len, SlabRow { start: self.start, slab: *slab }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::LINE;
    use super::super::memory::enter;
    use super::*;
    use crate::simd::Isa;
    use std::collections::BTreeSet;

    const LEN: usize = 12_288;

    #[test]
    fn rows_are_aligned_disjoint_and_reused() {
        let memory = Arc::new(Memory::default());
        enter(Isa::detect(), memory.clone());
        let mut rows: Vec<LimbWords> = (0..600).map(|_| LimbWords::zeroed(LEN)).collect();
        for (i, row) in rows.iter_mut().enumerate() {
            assert!((row.as_ptr() as usize).is_multiple_of(LINE) && row.iter().all(|&w| w == 0));
            row.fill(i as u64);
        }
        assert!(rows.iter().enumerate().all(|(i, r)| r.iter().all(|&w| w == i as u64)));
        let before: BTreeSet<usize> = rows.iter().map(|r| r.as_ptr() as usize).collect();
        rows.truncate(100);
        rows.extend((100..600).map(|_| LimbWords::unspecified(LEN)));
        assert!(rows.iter().all(|r| before.contains(&(r.as_ptr() as usize))));
        assert_eq!(memory.usage().live, 600 * LEN * 8);
        rows.truncate(1);
        memory.release();
        // One slab of 32 MiB is left, of two.
        assert!(memory.usage().pooled < 32 << 20);
        assert!(rows[0].iter().all(|&w| w == 0));
        assert!(LimbWords::zeroed(LEN).iter().all(|&w| w == 0));
    }

    #[test]
    fn short_and_empty_rows() {
        assert!(LimbWords::EMPTY.is_empty() && LimbWords::unspecified(0).is_empty());
        let mut row = LimbWords::zeroed(100);
        assert!((row.as_ptr() as usize).is_multiple_of(LINE) && row.iter().all(|&w| w == 0));
        row.fill(1);
        assert_eq!(row.len(), 100);
    }
}
