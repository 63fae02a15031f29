//! Single allocations: cache-line aligned words, in huge pages when large.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;
const HUGE: usize = 2 << 20;
/// Mappings start at different offsets into their first huge page, so that equal positions in
/// different ones fall into different cache sets.
const COLOURS: usize = 32;
const COLOUR_BYTES: usize = 17 * 8 * LINE;

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

// SAFETY: a block is plain owned memory; access goes through the owner's `&` and `&mut`.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// A zeroed block of at least `words` words. Large blocks of different `number`s start at
    /// different cache sets.
    pub fn allocate(words: usize, number: usize) -> Self {
        let bytes = words.checked_mul(8).expect("buffer size overflows");
        if bytes >= HUGE / 2
            && let Some(block) = Self::map(bytes, number % COLOURS * COLOUR_BYTES)
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
    fn map(bytes: usize, colour: usize) -> Option<Self> {
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
        // SAFETY: `skip < HUGE`, so the advised range and `start` lie inside the mapping; the
        // advice cannot fail badly.
        let start = unsafe {
            libc::madvise(base.as_ptr().add(skip).cast(), usable, libc::MADV_HUGEPAGE);
            base.as_ptr().add(skip + colour).cast::<u64>()
        };
        Some(Self { start: NonNull::new(start)?, words: (usable - colour) / 8, origin: Origin::Mapping { base, bytes: total } })
    }

    #[cfg(not(target_os = "linux"))]
    fn map(_bytes: usize, _colour: usize) -> Option<Self> {
        None
    }

    /// The first word.
    pub fn start(&self) -> NonNull<u64> {
        self.start
    }

    /// Number of words.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Returns the memory to the system.
    pub fn free(self) {
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
