//! The memory of an engine: rows in slabs, and large blocks between two uses.
//!
//! **Invariants**
//! * All rows of a length form one class. A class grows by a slab when it has no free row and never
//!   shrinks in normal work, so that its memory is the largest number of rows that were live at any
//!   time, and after that peak no page is faulted or cleared.
//! * Large blocks are few at a time and of many sizes, so that a free one serves every request that
//!   it is large enough for, and free ones that are all too small are returned to the system before
//!   a larger one is mapped.
//! * Rows of a slab are an odd number of cache lines apart: equal columns of different rows do not
//!   share cache sets.
//! * When a memory is closed, what is free returns to the system at once, and what is still in use
//!   as soon as it is free.
//!
//! A thread takes what it needs from its current memory: that of the engine whose thread it is, or
//! one that all other threads of the process share. Rows and blocks go back where they came from,
//! whatever thread ends them.

use super::Isa;
use super::block::Block;
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

/// Shorter rows are single allocations.
pub(super) const SMALLEST: usize = 4096;
/// Words of a slab, when that is several rows.
const SLAB_WORDS: usize = 4 << 20;
/// Fewest rows of a slab.
const SLAB_ROWS: usize = 8;
/// Words of the smallest page.
const PAGE_WORDS: usize = 512;
/// Words between the ends and the starts of neighbouring rows: an odd number of cache lines, and
/// not a multiple of a page, since the length is a multiple of 64 lines.
const GAP: usize = chiffre_params::work::ROW_GAP / 8;

/// Rows and blocks that are used again and again.
#[derive(Default)]
pub(crate) struct Memory {
    classes: Mutex<BTreeMap<usize, Class>>,
    /// Free large blocks, by size.
    free: Mutex<Vec<Block>>,
    /// Words of large blocks in use.
    blocks: AtomicUsize,
    /// Number of mappings made so far.
    mappings: AtomicUsize,
    closed: AtomicBool,
}

/// All slabs for rows of one length.
#[derive(Default)]
struct Class {
    /// Slabs by number; numbers of released slabs are free to be used again.
    slabs: Vec<Option<Slab>>,
    /// The last one is reused first: it may still be in a cache.
    free: Vec<SlabRow>,
    /// Rows in all slabs.
    rows: usize,
}

struct Slab {
    block: Block,
    rows: usize,
    /// Rows that nobody uses.
    free: usize,
}

/// A row's memory in a slab of its class.
#[derive(Clone, Copy)]
pub(super) struct SlabRow {
    pub start: NonNull<u64>,
    pub slab: usize,
}

// SAFETY: a free place is memory that nobody else refers to.
unsafe impl Send for SlabRow {}
// SAFETY: as above.
unsafe impl Sync for SlabRow {}

/// Bytes of an engine's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// In rows and large buffers that are in use.
    pub live: usize,
    /// Ready for reuse.
    pub pooled: usize,
}

thread_local! {
    /// What kernels and rows of this thread use.
    static CURRENT: RefCell<Option<(Isa, Arc<Memory>)>> = const { RefCell::new(None) };
}

/// The memory of threads that belong to no engine.
static SHARED: LazyLock<Arc<Memory>> = LazyLock::new(Arc::default);

/// Makes a memory and an instruction set those of this thread, for good.
pub(crate) fn enter(isa: Isa, memory: Arc<Memory>) {
    CURRENT.with(|c| *c.borrow_mut() = Some((isa, memory)));
}

/// The instruction set of this thread's engine.
pub(super) fn current_isa() -> Option<Isa> {
    CURRENT.with(|c| c.borrow().as_ref().map(|(isa, _)| *isa))
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}

impl Class {
    /// Adds a slab for rows of `len` words.
    fn grow(&mut self, len: usize, number: usize) {
        let stride = len + GAP;
        let rows = (SLAB_WORDS / stride).max(SLAB_ROWS);
        let block = Block::allocate(rows * stride, number);
        let slab = self.slabs.iter().position(Option::is_none).unwrap_or(self.slabs.len());
        if slab == self.slabs.len() {
            self.slabs.push(None);
        }
        // The lowest addresses are handed out first.
        self.free.extend((0..rows).rev().map(|i| {
            // SAFETY: the block holds `rows` strides.
            let start = unsafe { block.start().add(i * stride) };
            SlabRow { start, slab }
        }));
        self.slabs[slab] = Some(Slab { block, rows, free: rows });
        self.rows += rows;
    }

    /// Takes a free row.
    fn pop(&mut self) -> Option<SlabRow> {
        let place = self.free.pop()?;
        self.slabs[place.slab].iter_mut().for_each(|s| s.free -= 1);
        Some(place)
    }

    /// Takes a row back.
    fn push(&mut self, place: SlabRow) {
        self.free.push(place);
        self.slabs[place.slab].iter_mut().for_each(|s| s.free += 1);
    }

    /// Takes out the slabs that have no live row.
    fn shrink(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        for slab in &mut self.slabs {
            if let Some(idle) = slab.take_if(|s| s.rows == s.free) {
                self.rows -= idle.rows;
                blocks.push(idle.block);
            }
        }
        self.free.retain(|p| self.slabs[p.slab].is_some());
        blocks
    }
}

impl Memory {
    /// This thread's memory.
    pub fn current() -> Arc<Memory> {
        CURRENT.with(|c| c.borrow().as_ref().map(|(_, memory)| memory.clone())).unwrap_or_else(|| SHARED.clone())
    }

    /// The memory that threads without an engine share.
    pub fn shared() -> &'static Arc<Memory> {
        &SHARED
    }

    fn number(&self) -> usize {
        self.mappings.fetch_add(1, Ordering::Relaxed)
    }

    /// A place for a row of `len` words, at least [`SMALLEST`]. Its words are stale or zero.
    pub(super) fn place(&self, len: usize) -> SlabRow {
        let mut classes = locked(&self.classes);
        let class = classes.entry(len).or_default();
        if class.free.is_empty() {
            class.grow(len, self.number());
        }
        class.pop().expect("a slab has at least one row")
    }

    /// Takes back the place of a row of `len` words.
    pub(super) fn take_back_place(&self, len: usize, place: SlabRow) {
        let idle = {
            let mut classes = locked(&self.classes);
            let Some(class) = classes.get_mut(&len) else { return };
            class.push(place);
            let last = self.closed.load(Ordering::Acquire) && class.slabs[place.slab].as_ref().is_some_and(|s| s.free == s.rows);
            if last { class.shrink() } else { vec![] }
        };
        idle.into_iter().for_each(Block::free);
    }

    /// A zeroed or (`true`) recycled block of at least `words` words.
    pub(super) fn block(&self, words: usize) -> (Block, bool) {
        let small = {
            let mut free = locked(&self.free);
            let fits = free.partition_point(|b| b.words() < words);
            if fits < free.len() {
                let block = free.remove(fits);
                self.blocks.fetch_add(block.words(), Ordering::Relaxed);
                return (block, true);
            }
            std::mem::take(&mut *free)
        };
        small.into_iter().for_each(Block::free);
        let block = Block::allocate(words, self.number());
        self.blocks.fetch_add(block.words(), Ordering::Relaxed);
        (block, false)
    }

    /// Takes back a block.
    pub(super) fn take_back(&self, block: Block) {
        self.blocks.fetch_sub(block.words(), Ordering::Relaxed);
        let mut free = locked(&self.free);
        if self.closed.load(Ordering::Acquire) {
            drop(free);
            return block.free();
        }
        let at = free.partition_point(|b| b.words() < block.words());
        free.insert(at, block);
    }

    /// What is in use and what is free.
    pub fn usage(&self) -> MemoryUse {
        let free_blocks: usize = locked(&self.free).iter().map(Block::words).sum();
        let blocks = MemoryUse { live: self.blocks.load(Ordering::Relaxed) * 8, pooled: free_blocks * 8 };
        locked(&self.classes).iter().fold(blocks, |sum, (len, class)| MemoryUse {
            live: sum.live + (class.rows - class.free.len()) * len * 8,
            pooled: sum.pooled + class.free.len() * len * 8,
        })
    }

    /// Makes rows of `len` words ready for reuse until at least `bytes` of them are, and touches
    /// their pages, in parallel: work that needs no more of them at a time faults no page. Shorter
    /// rows than are pooled are not reserved.
    pub fn reserve(&self, len: usize, bytes: usize) {
        if len < SMALLEST {
            return;
        }
        let fresh: Vec<SlabRow> = {
            let mut classes = locked(&self.classes);
            let class = classes.entry(len).or_default();
            let before = class.free.len();
            while class.free.len().saturating_mul(len).saturating_mul(8) < bytes {
                class.grow(len, self.number());
            }
            // Held while they are touched: nobody else may write to them in the meantime.
            let fresh = class.free.split_off(before);
            fresh.iter().for_each(|p| class.slabs[p.slab].iter_mut().for_each(|s| s.free -= 1));
            fresh
        };
        let touch = |place: &SlabRow| {
            for word in (0..len).step_by(PAGE_WORDS) {
                // SAFETY: a free place holds `len` words that nobody else refers to.
                unsafe { place.start.add(word).write_volatile(0) };
            }
        };
        fresh.par_iter().for_each(touch);
        let mut classes = locked(&self.classes);
        let class = classes.entry(len).or_default();
        fresh.into_iter().for_each(|p| class.push(p));
    }

    /// Returns everything that is free to the system: slabs without live rows, and blocks.
    pub fn release(&self) {
        let blocks = std::mem::take(&mut *locked(&self.free));
        let slabs: Vec<Block> = locked(&self.classes).values_mut().flat_map(Class::shrink).collect();
        blocks.into_iter().chain(slabs).for_each(Block::free);
    }

    /// Releases what is free now, and what is in use when it becomes free.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.release();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 12_288;

    #[test]
    fn reserved_places_are_handed_out() {
        let m = Memory::default();
        m.reserve(LEN, 50 * LEN * 8);
        let rows = locked(&m.classes)[&LEN].rows;
        assert!(rows >= 50 && m.usage() == MemoryUse { live: 0, pooled: rows * LEN * 8 });
        let places: Vec<SlabRow> = (0..50).map(|_| m.place(LEN)).collect();
        assert_eq!(m.usage().live, 50 * LEN * 8);
        places.into_iter().for_each(|p| m.take_back_place(LEN, p));
        m.reserve(LEN, 10 * LEN * 8);
        assert_eq!(locked(&m.classes)[&LEN].rows, rows);
        m.reserve(8, 1 << 20);
        assert!(!locked(&m.classes).contains_key(&8));
    }

    #[test]
    fn a_closed_memory_keeps_nothing_that_is_free() {
        let m = Memory::default();
        let per_slab = (SLAB_WORDS / (LEN + GAP)).max(SLAB_ROWS);
        let mut places: Vec<SlabRow> = (0..3 * per_slab).map(|_| m.place(LEN)).collect();
        let (block, stale) = m.block(1 << 18);
        assert!(!stale);
        m.take_back(block);
        let (block, stale) = m.block(1 << 17);
        assert!(stale, "a free block serves smaller requests");
        places.split_off(2 * per_slab).into_iter().for_each(|p| m.take_back_place(LEN, p));
        assert!(m.usage().pooled == per_slab * LEN * 8);
        m.close();
        assert_eq!(m.usage(), MemoryUse { live: 2 * per_slab * LEN * 8 + block.words() * 8, pooled: 0 });
        m.take_back(block);
        for (i, p) in places.into_iter().enumerate() {
            m.take_back_place(LEN, p);
            // Slab by slab.
            let in_slab = (i + 1) % per_slab;
            assert_eq!(m.usage().pooled, in_slab * LEN * 8);
        }
        assert_eq!(m.usage(), MemoryUse::default());
    }

    #[test]
    fn threads_use_the_memory_that_they_entered() {
        let own = Arc::new(Memory::default());
        let entered = own.clone();
        let found = std::thread::spawn(move || {
            enter(Isa::Scalar, entered);
            (Memory::current(), current_isa())
        });
        let (found, isa) = found.join().unwrap();
        assert!(Arc::ptr_eq(&found, &own) && isa == Some(Isa::Scalar));
        assert!(Arc::ptr_eq(&Memory::current(), Memory::shared()) && current_isa().is_none());
    }
}
