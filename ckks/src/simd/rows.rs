//! Rows: equally long word buffers cut from slabs, any free one of which serves any polynomial of the ring.
//!
//! **Invariants**
//! * All rows of a length form one class. A class grows by a slab when it has no free row and never shrinks in normal
//!   work, so that its memory is the largest number of rows that were live at any time, and after that peak no page is
//!   faulted or cleared. [`release_rows`] returns slabs without live rows.
//! * Rows of a slab are an odd number of cache lines apart: equal columns of different rows do not share cache sets.
//! * Contents of a reused row are stale but initialised words; secrets must be zeroized by their owner.

use super::mem::Block;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};

/// Shorter rows are single allocations.
const SMALLEST: usize = 4096;
/// Words of a slab, when that is several rows.
const SLAB_WORDS: usize = 4 << 20;
/// Fewest rows of a slab.
const SLAB_ROWS: usize = 8;
/// Words of the smallest page.
const PAGE_WORDS: usize = 512;
/// Words between the ends and the starts of neighbouring rows: an odd number of cache lines, and not a multiple of a
/// page, since the length is a multiple of 64 lines.
const GAP: usize = chiffre_params::work::ROW_GAP / 8;

/// Owned words of a fixed number; a slice of `u64`.
pub struct Row {
    start: NonNull<u64>,
    len: usize,
    home: Home,
}

enum Home {
    /// No memory at all.
    Nothing,
    /// Its own block.
    Block(Option<Block>),
    /// A place in the slab of this number in the class of its length.
    Slab(usize),
}

// SAFETY: a row is plain owned memory; access goes through `&Row` and `&mut Row`.
unsafe impl Send for Row {}
// SAFETY: as above.
unsafe impl Sync for Row {}

/// All slabs for rows of one length.
#[derive(Default)]
struct Class {
    /// Slabs by number; numbers of released slabs are free to be used again.
    slabs: Vec<Option<Slab>>,
    /// The last one is reused first: it may still be in a cache.
    free: Vec<Place>,
    /// Rows in all slabs.
    rows: usize,
}

struct Slab {
    block: Block,
    rows: usize,
}

#[derive(Clone, Copy)]
struct Place {
    start: NonNull<u64>,
    slab: usize,
}

// SAFETY: a free place is memory that nobody else refers to.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

static CLASSES: Mutex<BTreeMap<usize, Class>> = Mutex::new(BTreeMap::new());

fn classes() -> MutexGuard<'static, BTreeMap<usize, Class>> {
    CLASSES.lock().unwrap_or_else(|e| e.into_inner())
}

impl Class {
    /// Adds a slab for rows of `len` words.
    fn grow(&mut self, len: usize) {
        let stride = len + GAP;
        let rows = (SLAB_WORDS / stride).max(SLAB_ROWS);
        let block = Block::allocate(rows * stride);
        let slab = self.slabs.iter().position(Option::is_none).unwrap_or(self.slabs.len());
        if slab == self.slabs.len() {
            self.slabs.push(None);
        }
        // The lowest addresses are handed out first.
        self.free.extend((0..rows).rev().map(|i| {
            // SAFETY: the block holds `rows` strides.
            let start = unsafe { block.start().add(i * stride) };
            Place { start, slab }
        }));
        self.slabs[slab] = Some(Slab { block, rows });
        self.rows += rows;
    }

    /// Takes out the slabs that have no live row.
    fn shrink(&mut self) -> Vec<Block> {
        let mut free = vec![0; self.slabs.len()];
        self.free.iter().for_each(|p| free[p.slab] += 1);
        let mut blocks = Vec::new();
        for (slab, free) in self.slabs.iter_mut().zip(&free) {
            if let Some(idle) = slab.take_if(|s| s.rows == *free) {
                self.rows -= idle.rows;
                blocks.push(idle.block);
            }
        }
        self.free.retain(|p| self.slabs[p.slab].is_some());
        blocks
    }
}

impl Row {
    /// No words.
    pub const EMPTY: Self = Self { start: NonNull::dangling(), len: 0, home: Home::Nothing };

    /// `len` zero words.
    pub fn zeroed(len: usize) -> Self {
        let mut row = Self::unspecified(len);
        if matches!(row.home, Home::Slab(_)) {
            row.fill(0);
        }
        row
    }

    /// A copy of some words.
    pub fn copy_of(words: &[u64]) -> Self {
        let mut row = Self::unspecified(words.len());
        row.copy_from_slice(words);
        row
    }

    /// `len` initialised words of unspecified value.
    pub fn unspecified(len: usize) -> Self {
        if len == 0 {
            return Self::EMPTY;
        }
        if len < SMALLEST {
            let block = Block::allocate(len);
            return Self { start: block.start(), len, home: Home::Block(Some(block)) };
        }
        let mut classes = classes();
        let class = classes.entry(len).or_default();
        if class.free.is_empty() {
            class.grow(len);
        }
        let Place { start, slab } = class.free.pop().expect("a slab has at least one row");
        Self { start, len, home: Home::Slab(slab) }
    }
}

impl Deref for Row {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        // SAFETY: the row's memory holds `len` initialised words; the pointer is aligned.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Row {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `deref`, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        match &mut self.home {
            Home::Nothing => {}
            Home::Block(block) => block.take().into_iter().for_each(Block::free),
            Home::Slab(slab) => {
                let place = Place { start: self.start, slab: *slab };
                if let Some(class) = classes().get_mut(&self.len) {
                    class.free.push(place);
                }
            }
        }
    }
}

/// Bytes of rows, see [`row_memory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowMemory {
    /// In use.
    pub live: usize,
    /// Ready for reuse.
    pub pooled: usize,
}

/// Bytes of the long rows of the process.
pub fn row_memory() -> RowMemory {
    classes().iter().fold(RowMemory::default(), |sum, (len, class)| RowMemory {
        live: sum.live + (class.rows - class.free.len()) * len * 8,
        pooled: sum.pooled + class.free.len() * len * 8,
    })
}

/// Makes rows of `len` words ready for reuse until at least `bytes` of them are, and touches their pages, in parallel: work that needs no
/// more of them at a time faults no page. Shorter rows than are pooled are not reserved.
pub fn reserve_rows(len: usize, bytes: usize) {
    if len < SMALLEST {
        return;
    }
    let fresh: Vec<Place> = {
        let mut classes = classes();
        let class = classes.entry(len).or_default();
        let before = class.free.len();
        while class.free.len().saturating_mul(len).saturating_mul(8) < bytes {
            class.grow(len);
        }
        // Held while they are touched: nobody else may write to them in the meantime.
        class.free.split_off(before)
    };
    let touch = |place: &Place| {
        for word in (0..len).step_by(PAGE_WORDS) {
            // SAFETY: a free place holds `len` words that nobody else refers to.
            unsafe { place.start.add(word).write_volatile(0) };
        }
    };
    fresh.par_iter().for_each(touch);
    classes().entry(len).or_default().free.extend(fresh);
}

/// Returns all slabs without live rows to the system.
pub(super) fn release_rows() {
    let blocks: Vec<Block> = classes().values_mut().flat_map(Class::shrink).collect();
    blocks.into_iter().for_each(Block::free);
}

#[cfg(test)]
mod tests {
    use super::super::mem::LINE;
    use super::*;

    /// Rows of a length that no other test uses: the pool is shared by the process.
    const LEN: usize = 12_288;

    #[test]
    fn rows_are_aligned_disjoint_and_reused() {
        let mut rows: Vec<Row> = (0..600).map(|_| Row::zeroed(LEN)).collect();
        for (i, row) in rows.iter_mut().enumerate() {
            assert!((row.as_ptr() as usize).is_multiple_of(LINE) && row.iter().all(|&w| w == 0));
            row.fill(i as u64);
        }
        assert!(rows.iter().enumerate().all(|(i, r)| r.iter().all(|&w| w == i as u64)));
        let before: std::collections::BTreeSet<usize> = rows.iter().map(|r| r.as_ptr() as usize).collect();
        rows.truncate(100);
        rows.extend((100..600).map(|_| Row::unspecified(LEN)));
        assert!(rows.iter().all(|r| before.contains(&(r.as_ptr() as usize))));
        assert!(row_memory().live >= 600 * LEN * 8);
        rows.truncate(1);
        release_rows();
        assert!(classes()[&LEN].slabs.iter().flatten().count() == 1);
        assert!(rows[0].iter().all(|&w| w == 0));
        assert!(Row::zeroed(LEN).iter().all(|&w| w == 0));
    }

    #[test]
    fn reserved_rows_are_handed_out() {
        const OWN: usize = 20_480;
        reserve_rows(OWN, 50 * OWN * 8);
        let pooled = classes()[&OWN].rows;
        assert!(pooled >= 50);
        let rows: Vec<Row> = (0..50).map(|_| Row::unspecified(OWN)).collect();
        assert_eq!(classes()[&OWN].rows, pooled);
        drop(rows);
        reserve_rows(OWN, 10 * OWN * 8);
        assert_eq!(classes()[&OWN].rows, pooled);
        reserve_rows(8, 1 << 20);
        assert!(!classes().contains_key(&8));
    }

    #[test]
    fn short_and_empty_rows() {
        assert!(Row::EMPTY.is_empty() && Row::unspecified(0).is_empty());
        let mut row = Row::zeroed(100);
        assert!((row.as_ptr() as usize).is_multiple_of(LINE) && row.iter().all(|&w| w == 0));
        row.fill(1);
        assert_eq!(row.len(), 100);
    }
}
