//! Word buffers: cache-line aligned, in 2-MiB pages when large, recycled between calls.
//!
//! Polynomials are made of [`LimbWords`](super::LimbWords); a buffer is for what has another size,
//! like expanded weights. Contents of recycled buffers are stale but initialised words.

use super::block::Block;
use super::memory::Memory;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Words from which on buffers are recycled: the system allocator would return and clear them each
/// time.
const RECYCLED: usize = 1 << 13;

/// Owned words with unspecified initial contents; a slice of `u64`.
pub struct Buffer {
    block: Option<Block>,
    len: usize,
    /// Where a large block goes when the buffer ends.
    home: Option<Arc<Memory>>,
}

impl Buffer {
    /// `len` initialised words of unspecified value.
    pub fn unspecified(len: usize) -> Self {
        if len < RECYCLED {
            return Self { block: Some(Block::allocate(len, 0)), len, home: None };
        }
        let home = Memory::current();
        let (block, _) = home.block(len);
        Self { block: Some(block), len, home: Some(home) }
    }
}

impl Deref for Buffer {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        let start = self.block.as_ref().map_or(NonNull::dangling(), Block::start);
        // SAFETY: the block holds at least `len` initialised words; the pointer is aligned.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        let start = self.block.as_ref().map_or(NonNull::dangling(), Block::start);
        // SAFETY: as in `deref`, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match (self.block.take(), &self.home) {
            (Some(block), Some(home)) => home.take_back(block),
            (Some(block), None) => block.free(),
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::LINE;
    use super::*;

    #[test]
    fn buffers_are_aligned_and_hold_what_they_are_given() {
        for len in [0, 1, 100, 1 << 17, 300_000] {
            let mut b = Buffer::unspecified(len);
            assert_eq!((b.as_ptr() as usize % LINE, b.len()), (0, len));
            b.fill(7);
            assert!(b.iter().all(|&w| w == 7));
        }
    }
}
