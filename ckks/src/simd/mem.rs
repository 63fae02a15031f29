//! Word buffers: cache-line aligned, in 2-MiB pages when large, recycled between calls.
//!
//! Polynomials are made of [`Row`](super::Row)s; a buffer is for what has another size, like expanded weights. Large
//! buffers are few at a time and of many sizes, so that a free one serves every request that it is large enough for,
//! and free ones that are all too small are returned to the system before a larger one is mapped: repeated work faults
//! no pages. Contents of recycled buffers are stale but initialised words.

use super::rows::release_rows;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;
const HUGE: usize = 2 << 20;
/// Words from which on buffers are recycled: the system allocator would return and clear them each time.
const RECYCLED: usize = 1 << 13;
/// Mappings start at different offsets into their first huge page, so that equal positions in different ones fall into
/// different cache sets.
const COLOURS: usize = 32;
const COLOUR_BYTES: usize = 17 * 8 * LINE;

/// Owned words with zero or unspecified initial contents; a slice of `u64`.
pub struct Buffer {
    block: Option<Block>,
    len: usize,
}

/// One allocation: `words` words from `start`. It is not freed when dropped.
pub(super) struct Block {
    start: NonNull<u64>,
    words: usize,
    origin: Origin,
}

enum Origin {
    /// From the global allocator.
    Heap(Layout),
    /// A private mapping of `bytes` bytes at `base`.
    Mapping { base: NonNull<u8>, bytes: usize },
}

// SAFETY: a block is plain owned memory; access goes through `&Buffer` and `&mut Buffer`.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

/// Free large blocks of the process, by size.
static FREE: Mutex<Vec<Block>> = Mutex::new(Vec::new());
static NEXT_COLOUR: AtomicUsize = AtomicUsize::new(0);

fn free_blocks() -> MutexGuard<'static, Vec<Block>> {
    FREE.lock().unwrap_or_else(|e| e.into_inner())
}

impl Block {
    /// A zeroed block of at least `words` words.
    pub(super) fn allocate(words: usize) -> Self {
        let bytes = words.checked_mul(8).expect("buffer size overflows");
        if bytes >= HUGE / 2
            && let Some(block) = Self::map(bytes)
        {
            return block;
        }
        let layout = Layout::from_size_align(bytes.max(LINE), LINE).expect("buffer size overflows");
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start.cast()) else { handle_alloc_error(layout) };
        Self { start, words: layout.size() / 8, origin: Origin::Heap(layout) }
    }

    /// A fresh mapping (zero by definition) in huge pages, or `None` when the system refuses.
    #[cfg(target_os = "linux")]
    fn map(bytes: usize) -> Option<Self> {
        let colour = NEXT_COLOUR.fetch_add(1, Ordering::Relaxed) % COLOURS * COLOUR_BYTES;
        let usable = (bytes + colour).next_multiple_of(HUGE);
        let total = usable + HUGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new private anonymous mapping aliases nothing.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), total, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        let base = NonNull::new(base.cast::<u8>())?;
        let skip = base.as_ptr().align_offset(HUGE);
        // SAFETY: `skip < HUGE`, so the advised range and `start` lie inside the mapping; the advice cannot fail badly.
        let start = unsafe {
            libc::madvise(base.as_ptr().add(skip).cast(), usable, libc::MADV_HUGEPAGE);
            base.as_ptr().add(skip + colour).cast::<u64>()
        };
        Some(Self { start: NonNull::new(start)?, words: (usable - colour) / 8, origin: Origin::Mapping { base, bytes: total } })
    }

    #[cfg(not(target_os = "linux"))]
    fn map(_bytes: usize) -> Option<Self> {
        None
    }

    /// The first word.
    pub(super) fn start(&self) -> NonNull<u64> {
        self.start
    }

    /// A zeroed or (`true`) recycled block of at least `words` words.
    fn obtain(words: usize) -> (Self, bool) {
        if words < RECYCLED {
            return (Self::allocate(words), false);
        }
        let small = {
            let mut free = free_blocks();
            let fits = free.partition_point(|b| b.words < words);
            if fits < free.len() {
                return (free.remove(fits), true);
            }
            std::mem::take(&mut *free)
        };
        small.into_iter().for_each(Self::free);
        (Self::allocate(words), false)
    }

    fn release(self) {
        if self.words < RECYCLED {
            return self.free();
        }
        let mut free = free_blocks();
        let at = free.partition_point(|b| b.words < self.words);
        free.insert(at, self);
    }

    /// Returns the memory to the system.
    pub(super) fn free(self) {
        match self.origin {
            // SAFETY: allocated with this layout and consumed here.
            Origin::Heap(layout) => unsafe { dealloc(self.start.as_ptr().cast(), layout) },
            #[cfg(target_os = "linux")]
            // SAFETY: this is exactly one mapping, consumed here.
            Origin::Mapping { base, bytes } => unsafe {
                libc::munmap(base.as_ptr().cast(), bytes);
            },
            #[cfg(not(target_os = "linux"))]
            Origin::Mapping { .. } => {}
        }
    }
}

impl Buffer {
    /// `len` zero words.
    pub fn zeroed(len: usize) -> Self {
        let (block, stale) = Block::obtain(len);
        let mut buffer = Self { block: Some(block), len };
        if stale {
            buffer.fill(0);
        }
        buffer
    }

    /// `len` initialised words of unspecified value.
    pub fn unspecified(len: usize) -> Self {
        let (block, _) = Block::obtain(len);
        Self { block: Some(block), len }
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
        let start = self.block.as_ref().map_or(NonNull::dangling(), |b| b.start);
        // SAFETY: the block holds at least `len` initialised words; the pointer is aligned.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        let start = self.block.as_ref().map_or(NonNull::dangling(), |b| b.start);
        // SAFETY: as in `deref`, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            block.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_aligned_and_recycled() {
        for len in [0, 1, 100, 1 << 17, 300_000] {
            let mut b = Buffer::zeroed(len);
            assert_eq!(b.as_ptr() as usize % LINE, 0);
            assert!(b.iter().all(|&w| w == 0));
            b.fill(7);
            drop(b);
            assert!(Buffer::zeroed(len).iter().all(|&w| w == 0));
            assert_eq!(Buffer::unspecified(len).len(), len);
        }
    }
}
