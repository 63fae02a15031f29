//! The masks of a table: periodic 0/1 slot vectors, a bit for each slot.

use super::TableError;

/// Slot vectors of zeros and ones, all of one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masks {
    period: usize,
    count: usize,
    /// `period.div_ceil(64)` words for each mask, lowest slot first; bits beyond the period are
    /// zero.
    words: Vec<u64>,
}

impl Default for Masks {
    fn default() -> Masks {
        Masks { period: 1, count: 0, words: vec![] }
    }
}

impl Masks {
    /// No masks yet, of a period that is a power of two.
    ///
    /// # Errors
    /// Another period.
    pub fn new(period: usize) -> Result<Masks, TableError> {
        if !period.is_power_of_two() {
            return Err(TableError::Period(period));
        }
        Ok(Masks { period, count: 0, words: vec![] })
    }
    /// Masks that are one in the listed slots, which must lie below the period.
    ///
    /// # Errors
    /// A period that is no power of two.
    pub fn of_slots<'a>(period: usize, masks: impl IntoIterator<Item = &'a [usize]>) -> Result<Masks, TableError> {
        let mut out = Masks::new(period)?;
        masks.into_iter().for_each(|m| out.push(m.iter().copied()));
        Ok(out)
    }
    /// Adds a mask that is one in the given slots; panics if one does not lie below the period.
    pub fn push(&mut self, slots: impl IntoIterator<Item = usize>) {
        let start = self.words.len();
        self.words.resize(start + self.words_each(), 0);
        for s in slots {
            assert!(s < self.period, "slot {s} of a mask of period {}", self.period);
            self.words[start + s / 64] |= 1 << (s % 64);
        }
        self.count += 1;
    }
    fn words_each(&self) -> usize {
        self.period.div_ceil(64)
    }
    fn words_of(&self, mask: usize) -> &[u64] {
        &self.words[mask * self.words_each()..][..self.words_each()]
    }
    /// Number of masks.
    pub fn len(&self) -> usize {
        self.count
    }
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// Slots after which every mask repeats.
    pub fn period(&self) -> usize {
        self.period
    }
    /// True where a mask is one; slots beyond the period are those before.
    pub fn get(&self, mask: usize, slot: usize) -> bool {
        let slot = slot % self.period;
        self.words_of(mask)[slot / 64] >> (slot % 64) & 1 == 1
    }
    /// The slots of a mask that are one, in ascending order.
    pub fn ones(&self, mask: usize) -> impl Iterator<Item = usize> + '_ {
        self.words_of(mask).iter().enumerate().flat_map(|(i, &w)| {
            let rest = |w: &u64| Some(w & (w - 1)).filter(|w| *w != 0);
            std::iter::successors(Some(w).filter(|w| *w != 0), rest).map(move |w| 64 * i + w.trailing_zeros() as usize)
        })
    }
    /// A mask as numbers: `period` of them, each 0 or 1.
    pub fn values(&self, mask: usize) -> impl Iterator<Item = f64> + '_ {
        (0..self.period).map(move |s| f64::from(u8::from(self.get(mask, s))))
    }
    /// Bytes of a mask in a file: a bit for each slot, lowest first.
    pub fn bytes_each(&self) -> usize {
        self.period.div_ceil(8)
    }
    /// All masks, `bytes_each` bytes for each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = |m: usize| self.words_of(m).iter().flat_map(|w| w.to_le_bytes()).take(self.bytes_each());
        (0..self.count).flat_map(bytes).collect()
    }
    /// What [`to_bytes`](Self::to_bytes) makes.
    ///
    /// # Errors
    /// A period that is no power of two, another number of bytes, bits beyond the period.
    pub fn from_bytes(period: usize, count: usize, bytes: &[u8]) -> Result<Masks, TableError> {
        let mut out = Masks::new(period)?;
        if Some(bytes.len()) != out.bytes_each().checked_mul(count) {
            return Err(TableError::Masks);
        }
        for mask in bytes.chunks_exact(out.bytes_each()) {
            if period < 8 && mask[0] >> period != 0 {
                return Err(TableError::Masks);
            }
            let word = |w: &[u8]| w.iter().rev().fold(0, |x, b| x << 8 | u64::from(*b));
            out.words.extend(mask.chunks(8).map(word));
        }
        out.count = count;
        Ok(out)
    }
    /// A mask as the text form has it: a digit for each slot.
    pub fn text(&self, mask: usize) -> String {
        (0..self.period).map(|s| if self.get(mask, s) { '1' } else { '0' }).collect()
    }
    /// What [`text`](Self::text) makes of each mask.
    ///
    /// # Errors
    /// Other characters, different lengths, a length that is no power of two.
    pub fn from_text(masks: &[String]) -> Result<Masks, TableError> {
        let Some(first) = masks.first() else { return Ok(Masks::default()) };
        let mut out = Masks::new(first.len())?;
        for m in masks {
            if m.len() != first.len() || !m.bytes().all(|b| matches!(b, b'0' | b'1')) {
                return Err(TableError::Masks);
            }
            out.push(m.bytes().enumerate().filter(|(_, b)| *b == b'1').map(|(i, _)| i));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_text_and_slots_agree() {
        for period in [1usize, 2, 4, 8, 32, 64, 128, 1024] {
            let lists: Vec<Vec<usize>> = (1..4).map(|k| (0..period).filter(|s| s % (k + 1) == 0 || s % 7 == k).collect()).collect();
            let m = Masks::of_slots(period, lists.iter().map(Vec::as_slice)).unwrap();
            assert_eq!((m.len(), m.period()), (3, period));
            for (i, list) in lists.iter().enumerate() {
                assert_eq!(m.ones(i).collect::<Vec<_>>(), *list);
                assert!((0..2 * period).all(|s| m.get(i, s) == list.contains(&(s % period))));
                assert_eq!(m.values(i).sum::<f64>(), list.len() as f64);
            }
            assert_eq!(Masks::from_bytes(period, 3, &m.to_bytes()).unwrap(), m);
            assert_eq!(Masks::from_text(&(0..3).map(|i| m.text(i)).collect::<Vec<_>>()).unwrap(), m);
        }
    }

    #[test]
    fn what_is_no_mask_is_refused() {
        assert_eq!(Masks::new(3), Err(TableError::Period(3)));
        assert_eq!(Masks::new(0), Err(TableError::Period(0)));
        assert_eq!(Masks::from_bytes(4, 1, &[0b10000]), Err(TableError::Masks));
        assert_eq!(Masks::from_bytes(16, 1, &[0]), Err(TableError::Masks));
        assert_eq!(Masks::from_bytes(16, usize::MAX, &[0, 0]), Err(TableError::Masks));
        assert_eq!(Masks::from_text(&["10".into(), "1".into()]), Err(TableError::Masks));
        assert_eq!(Masks::from_text(&["12".into()]), Err(TableError::Masks));
    }
}
