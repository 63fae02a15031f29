//! Word buffers: cache-line aligned, in 2-MiB pages when large, recycled between calls.
//!
//! A layer of a network allocates and frees the same few gigabytes of temporaries again and again. Returning them to
//! the system would cost a page fault and a clearing for each page each time, a third of a layer's time, so large
//! buffers are kept in a free list. Live and free buffers together stay within an eighth above the most that was live
//! at any time: recycling hardly raises the peak. Contents of recycled buffers are stale but initialised words; secrets must be
//! zeroized by their owner.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const LINE: usize = 64;
const HUGE: usize = 2 << 20;
/// Large buffers start at different offsets into their first huge page, so that equal positions in different buffers
/// fall into different cache sets.
const COLOURS: usize = 32;
const COLOUR_BYTES: usize = 17 * 8 * LINE;

/// Owned words with zero or unspecified initial contents; a slice of `u64`.
pub struct Buffer {
    block: Option<Block>,
    len: usize,
}

/// One allocation: `words` words from `start`.
struct Block {
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

/// Large buffers of the process.
struct Pool {
    /// Oldest first.
    free: Vec<Block>,
    free_words: usize,
    live_words: usize,
    most_live_words: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), free_words: 0, live_words: 0, most_live_words: 0 });
static NEXT_COLOUR: AtomicUsize = AtomicUsize::new(0);

impl Block {
    /// A zeroed block of at least `words` words.
    fn allocate(words: usize) -> Self {
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

    /// A zeroed or (`true`) recycled block of at least `words` words.
    fn obtain(words: usize) -> (Self, bool) {
        if words * 8 < HUGE / 2 {
            return (Self::allocate(words), false);
        }
        let (recycled, evicted) = {
            let mut pool = Pool::lock();
            let recycled = pool.take(words);
            pool.live_words += recycled.as_ref().map_or(words, |b| b.words);
            pool.most_live_words = pool.most_live_words.max(pool.live_words);
            (recycled, pool.evict())
        };
        evicted.into_iter().for_each(Self::free);
        if let Some(block) = recycled {
            return (block, true);
        }
        let block = Self::allocate(words);
        Pool::lock().live_words += block.words - words;
        (block, false)
    }

    fn release(self) {
        if self.words * 8 < HUGE / 2 {
            return self.free();
        }
        let evicted = {
            let mut pool = Pool::lock();
            pool.live_words -= self.words;
            if matches!(self.origin, Origin::Mapping { .. }) {
                pool.free_words += self.words;
                pool.free.push(self);
                pool.evict()
            } else {
                vec![self]
            }
        };
        evicted.into_iter().for_each(Self::free);
    }

    fn free(self) {
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

impl Pool {
    fn lock() -> std::sync::MutexGuard<'static, Self> {
        POOL.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The smallest free block that fits without wasting more than a quarter.
    fn take(&mut self, words: usize) -> Option<Block> {
        let fits = |b: &Block| b.words >= words && b.words <= words + words / 4 + HUGE / 8;
        let best = (0..self.free.len()).filter(|&i| fits(&self.free[i])).min_by_key(|&i| self.free[i].words)?;
        let block = self.free.remove(best);
        self.free_words -= block.words;
        Some(block)
    }

    /// The oldest free blocks that are too many.
    fn evict(&mut self) -> Vec<Block> {
        let mut keep = self.free_words;
        let many = self.free.iter().take_while(|b| {
            let over = self.live_words + keep > self.most_live_words / 8 * 9;
            keep -= if over { b.words } else { 0 };
            over
        });
        let count = many.count();
        self.free_words = keep;
        self.free.drain(..count).collect()
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

    /// Forgets the words from `len` on; the memory stays allocated.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

/// Returns all recycled memory to the system, for measurements and between phases of a program.
pub fn release_recycled() {
    let blocks = {
        let mut pool = Pool::lock();
        pool.free_words = 0;
        pool.most_live_words = pool.live_words;
        std::mem::take(&mut pool.free)
    };
    blocks.into_iter().for_each(Block::free);
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
