//! Word buffers: cache-line aligned, in 2-MiB pages when large, recycled between calls.
//!
//! Polynomials are made of [`Row`](super::Row)s; a buffer is for what has another size, like expanded weights. Large
//! buffers are few at a time and of many sizes, so that a free one serves every request that it is large enough for,
//! and free ones that are all too small are returned to the system before a larger one is mapped: repeated work faults
//! no pages. Contents of recycled buffers are stale but initialised words.

use super::block::Block;
use super::rows::release_rows;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};

/// Words from which on buffers are recycled: the system allocator would return and clear them each time.
const RECYCLED: usize = 1 << 13;

/// Owned words with unspecified initial contents; a slice of `u64`.
pub struct Buffer {
    block: Option<Block>,
    len: usize,
}

/// Free large blocks of the process, by size.
static FREE: Mutex<Vec<Block>> = Mutex::new(Vec::new());

fn free_blocks() -> MutexGuard<'static, Vec<Block>> {
    FREE.lock().unwrap_or_else(|e| e.into_inner())
}

/// A fresh or recycled block of at least `words` words.
fn obtain(words: usize) -> Block {
    if words < RECYCLED {
        return Block::allocate(words);
    }
    let small = {
        let mut free = free_blocks();
        let fits = free.partition_point(|b| b.words() < words);
        if fits < free.len() {
            return free.remove(fits);
        }
        std::mem::take(&mut *free)
    };
    small.into_iter().for_each(Block::free);
    Block::allocate(words)
}

/// Keeps a large block for reuse, and frees a small one.
fn release(block: Block) {
    if block.words() < RECYCLED {
        return block.free();
    }
    let mut free = free_blocks();
    let at = free.partition_point(|b| b.words() < block.words());
    free.insert(at, block);
}

impl Buffer {
    /// `len` initialised words of unspecified value.
    pub fn unspecified(len: usize) -> Self {
        Self { block: Some(obtain(len)), len }
    }
}

/// Returns all recycled memory to the system, for measurements and between phases of a program.
pub fn release_recycled() {
    let blocks = std::mem::take(&mut *free_blocks());
    blocks.into_iter().for_each(Block::free);
    release_rows();
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
        if let Some(block) = self.block.take() {
            release(block);
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
