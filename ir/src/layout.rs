//! Layouts: where each element of a batch of tensors lives in a bundle of slot vectors.
//!
//! A layout gives every bit of the slot index and of the ciphertext index one bit of a logical
//! dimension (`b`, `c`, `y`, `x`), or marks it as a gap: `slots[b4..b0 y4..y0 x4..x0] cts[b7..b6
//! c3..c0] complex=b5 shape=16x32x32 batch=256`, most significant bit first. The `complex` bit
//! selects the real or the imaginary part of a slot. The highest slot bits may be **copies** (`*`):
//! the slots repeat for all their values, so that a rotation within a copy is cyclic. Batch bits of
//! the ciphertext index number **units**: bundles of the same shape for different images, which a
//! schedule may execute one after the other. They are the highest bits of the batch and of the
//! ciphertext index.
//!
//! **Invariant**: unless a layout is `dirty`, every slot that holds no element (a gap, or a
//! coordinate outside the shape) is zero. Slots of images beyond `batch` hold whatever the network
//! computes there.

use crate::graph::Type;
use std::collections::BTreeSet;
use std::fmt;

/// A logical dimension.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Dim {
    /// Image in the batch.
    B,
    /// Channel.
    C,
    /// Row.
    Y,
    /// Column.
    X,
}

impl Dim {
    /// All dimensions, in the order of coordinates `[b, c, y, x]`.
    pub const ALL: [Dim; 4] = [Dim::B, Dim::C, Dim::Y, Dim::X];
    fn letter(self) -> char {
        match self {
            Dim::B => 'b',
            Dim::C => 'c',
            Dim::Y => 'y',
            Dim::X => 'x',
        }
    }
    fn parse(c: char) -> Option<Dim> {
        Dim::ALL.into_iter().find(|d| d.letter() == c)
    }
}

/// One bit of a logical coordinate; bit 0 is the least significant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Bit {
    /// Dimension.
    pub dim: Dim,
    /// Bit number.
    pub index: u8,
}

/// Bit shorthand.
pub fn bit(dim: Dim, index: usize) -> Bit {
    Bit { dim, index: index as u8 }
}

/// Largest number of bits of the slot index, and of the ciphertext index.
pub const MAX_BITS: usize = 20;
/// Largest extent of one dimension.
pub const MAX_EXTENT: usize = 1 << 20;
/// Largest number of elements of one image.
pub const MAX_ELEMENTS: usize = 1 << 28;

/// Where a batch of tensors lives in a bundle of slot vectors.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    /// Meaning of each bit of the slot index, least significant first; `None` is a gap.
    pub slots: Vec<Option<Bit>>,
    /// Meaning of each bit of the ciphertext index, least significant first.
    pub cts: Vec<Bit>,
    /// The bit that selects real (0) or imaginary (1) part.
    pub complex: Option<Bit>,
    /// Channels, rows, columns.
    pub shape: [usize; 3],
    /// Images.
    pub batch: usize,
    /// Highest bits of the slot index under which the slots repeat: those of `slots` are `None`.
    pub copies: usize,
    /// True if slots that hold no element may be non-zero.
    pub dirty: bool,
}

/// Position of an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Ciphertext in the bundle.
    pub ct: usize,
    /// Slot.
    pub slot: usize,
    /// True for the imaginary part.
    pub imag: bool,
}

impl Layout {
    /// Number of slots of a ciphertext.
    pub fn slot_count(&self) -> usize {
        1 << self.slots.len()
    }
    /// Extent of a dimension.
    pub fn extent(&self, d: Dim) -> usize {
        match d {
            Dim::B => self.batch,
            Dim::C => self.shape[0],
            Dim::Y => self.shape[1],
            Dim::X => self.shape[2],
        }
    }
    /// Number of ciphertexts in the bundle: one more than the highest index that holds an element.
    pub fn ct_count(&self) -> usize {
        self.units() * self.unit_cts()
    }
    /// Number of batch bits of the ciphertext index.
    pub fn unit_bits(&self) -> usize {
        self.cts.iter().filter(|b| b.dim == Dim::B).count()
    }
    /// Ciphertexts of one unit.
    pub fn unit_cts(&self) -> usize {
        let inside = [Dim::C, Dim::Y, Dim::X];
        1 + inside.into_iter().map(|d| (0..self.extent(d)).map(|v| self.inner_ct(d, v)).max().unwrap_or(0)).sum::<usize>()
    }
    /// Images that one unit has room for.
    pub fn unit_batch(&self) -> usize {
        self.batch_capacity() >> self.unit_bits()
    }
    /// Number of units that hold images of the layout's batch.
    pub fn units(&self) -> usize {
        self.units_for(self.batch)
    }
    /// Number of units that hold the first `images` images.
    pub fn units_for(&self, images: usize) -> usize {
        images.div_ceil(self.unit_batch()).max(1)
    }
    /// The layout of one unit.
    pub fn unit(&self) -> Layout {
        let cts = self.cts.iter().filter(|b| b.dim != Dim::B).copied().collect();
        Layout { cts, batch: self.batch.min(self.unit_batch()), ..self.clone() }
    }
    /// Index inside a unit of the ciphertext that a coordinate selects.
    fn inner_ct(&self, d: Dim, value: usize) -> usize {
        let bits = self.cts.iter().enumerate().filter(|(_, b)| b.dim == d && value >> b.index & 1 == 1);
        bits.map(|(i, _)| 1 << i).sum()
    }
    /// Channel of each ciphertext of a unit, as far as the ciphertext index decides it.
    pub fn channel_of_cts(&self) -> Vec<usize> {
        let bits = || self.cts.iter().enumerate().filter(|(_, b)| b.dim == Dim::C);
        let channel = |ct: usize| bits().filter(|(i, _)| ct >> i & 1 == 1).map(|(_, b)| 1 << b.index).sum();
        (0..self.unit_cts()).map(channel).collect()
    }
    /// What each slot adds to the channel of its ciphertext, for the slots below the smallest power
    /// of two after which that repeats. Numbers beyond the channels are of slots without an
    /// element.
    pub fn channel_of_slots(&self) -> Vec<usize> {
        let bits = || self.slots.iter().enumerate().filter_map(|(i, b)| b.filter(|b| b.dim == Dim::C).map(|b| (i, b.index)));
        let channel = |slot: usize| bits().filter(|(i, _)| slot >> i & 1 == 1).map(|(_, index)| 1 << index).sum();
        (0..bits().next_back().map_or(1, |(i, _)| 2 << i)).map(channel).collect()
    }
    /// Channels of which some share a ciphertext, when there are so many rows of something that may
    /// be one for each channel.
    pub fn has_slotwise(&self, rows: usize) -> bool {
        rows > 1 && self.slots.iter().flatten().any(|b| b.dim == Dim::C)
    }
    /// The same places, where slots without an element may be non-zero if there are any.
    pub fn filled(&self) -> Layout {
        Layout { dirty: self.dirty || !self.occupied().iter().all(|o| *o), ..self.clone() }
    }
    /// Contribution of one coordinate to an element's position; positions of coordinates add up.
    pub fn part(&self, d: Dim, value: usize) -> Place {
        let has = |b: &Bit| b.dim == d && value >> b.index & 1 == 1;
        let ct = match d {
            Dim::B if self.unit_bits() > 0 => value / self.unit_batch() * self.unit_cts(),
            _ => self.inner_ct(d, value),
        };
        let slot = self.slots.iter().enumerate().filter(|(_, b)| b.as_ref().is_some_and(has)).map(|(i, _)| 1 << i).sum();
        Place { ct, slot, imag: self.complex.as_ref().is_some_and(has) }
    }
    /// Position of element `[b, c, y, x]`.
    pub fn place(&self, at: [usize; 4]) -> Place {
        let mut p = Place::default();
        for (d, v) in Dim::ALL.into_iter().zip(at) {
            let q = self.part(d, v);
            p.ct += q.ct;
            p.slot += q.slot;
            p.imag |= q.imag;
        }
        p
    }
    /// Number of slots of one copy.
    pub fn copy_slots(&self) -> usize {
        1 << (self.slots.len() - self.copies)
    }
    /// Smallest power of two g such that the position of `c`, `y`, `x` in the slots depends on
    /// `slot mod g` only.
    pub fn period(&self) -> usize {
        let low = self.slots[..self.slots.len() - self.copies].iter().rposition(|b| b.is_none_or(|b| b.dim != Dim::B));
        low.map_or(1, |i| 2 << i)
    }
    /// Slot offsets of the batch bits below `period`, over all their values.
    pub fn low_batch_slots(&self, period: usize) -> Vec<usize> {
        let mut out = vec![0];
        for (i, b) in self.slots.iter().enumerate() {
            if 1 << i < period && b.is_some_and(|b| b.dim == Dim::B) {
                out.extend(out.clone().iter().map(|o| o + (1 << i)));
            }
        }
        out
    }
    /// For each slot below [`Self::period`], true if it may hold a non-zero value.
    pub fn occupied(&self) -> Vec<bool> {
        let g = self.period();
        if self.dirty {
            return vec![true; g];
        }
        let mut v = vec![false; g];
        let parts = |d| (0..self.extent(d)).map(|i| self.part(d, i).slot).collect::<BTreeSet<_>>();
        let (cs, ys, xs) = (parts(Dim::C), parts(Dim::Y), parts(Dim::X));
        for b in self.low_batch_slots(g) {
            for c in &cs {
                for y in &ys {
                    for x in &xs {
                        v[b + c + y + x] = true;
                    }
                }
            }
        }
        v
    }
    /// Largest batch that the `b` bits can number.
    pub fn batch_capacity(&self) -> usize {
        let n = self.slots.iter().flatten().chain(&self.cts).chain(&self.complex).filter(|b| b.dim == Dim::B).count();
        1 << n
    }
    /// The `b` bits and the complex bit of two layouts agree, so that linear maps act within an
    /// image.
    pub fn same_batch(&self, o: &Layout) -> bool {
        let b = |l: &Layout| l.slots.iter().map(|b| b.filter(|b| b.dim == Dim::B)).collect::<Vec<_>>();
        b(self) == b(o) && self.complex == o.complex && self.batch == o.batch && self.unit_bits() == o.unit_bits()
    }
    /// A linear map may lead from this layout to `o`: the same batch and complex bit, and units are
    /// kept or merged.
    pub fn leads_to(&self, o: &Layout) -> bool {
        let same = self.complex == o.complex && self.batch == o.batch && self.batch_capacity() == o.batch_capacity();
        same && self.slots.len() == o.slots.len() && self.unit_bits() >= o.unit_bits()
    }
    /// What is wrong with the layout, if anything. Sizes are bounded, so that no text makes later
    /// work unbounded.
    pub fn check(&self) -> Vec<String> {
        let mut e = vec![];
        for (bits, what) in [(self.slots.len(), "slots"), (self.cts.len(), "ciphertexts")] {
            if bits > MAX_BITS {
                e.push(format!("more than 2^{MAX_BITS} {what}"));
            }
        }
        if let Some(d) = Dim::ALL.into_iter().find(|d| self.extent(*d) > MAX_EXTENT) {
            e.push(format!("{} values of {} are more than {MAX_EXTENT}", self.extent(d), d.letter()));
        }
        if !e.is_empty() {
            return e;
        }
        if self.shape.iter().product::<usize>() > MAX_ELEMENTS {
            e.push(format!("an image has more than {MAX_ELEMENTS} elements"));
        }
        let all: Vec<Bit> = self.slots.iter().flatten().copied().chain(self.cts.iter().copied()).chain(self.complex).collect();
        for (i, b) in all.iter().enumerate() {
            if all[..i].contains(b) {
                e.push(format!("bit {}{} is used twice", b.dim.letter(), b.index));
            }
        }
        for d in Dim::ALL {
            let bits = all.iter().filter(|b| b.dim == d).count();
            if all.iter().any(|b| b.dim == d && b.index as usize >= bits) {
                e.push(format!("the bits of {} have a hole", d.letter()));
            }
            if self.extent(d) == 0 || self.extent(d) > 1 << bits {
                e.push(format!("{} bits of {} cannot number {} values", bits, d.letter(), self.extent(d)));
            }
        }
        let (units, batch_bits) = (self.unit_bits(), all.iter().filter(|b| b.dim == Dim::B).count());
        let highest = (batch_bits - units..batch_bits).map(|i| bit(Dim::B, i));
        if !self.cts[self.cts.len() - units..].iter().copied().eq(highest) {
            e.push("batch bits of the ciphertext index must be the highest of the batch and of the index".into());
        }
        if self.copies > self.slots.len() || self.slots[self.slots.len() - self.copies..].iter().any(Option::is_some) {
            e.push("the highest slot bits are copies and cannot number elements".into());
        }
        if let Some(b) = self.complex
            && b.dim != Dim::B
        {
            e.push("the complex bit must be a batch bit".into());
        }
        e
    }
    /// Positions of all elements of `n` images, in `[b, c, y, x]` order.
    fn places(&self, n: usize) -> impl Iterator<Item = Place> {
        let parts = |d: Dim, extent: usize| (0..extent).map(|v| self.part(d, v)).collect::<Vec<_>>();
        let [c, h, w] = self.shape;
        let (bs, cs, ys, xs) = (parts(Dim::B, n), parts(Dim::C, c), parts(Dim::Y, h), parts(Dim::X, w));
        (0..n * c * h * w).map(move |i| {
            let at = [bs[i / (c * h * w)], cs[i / (h * w) % c], ys[i / w % h], xs[i % w]];
            Place { ct: at.iter().map(|p| p.ct).sum(), slot: at.iter().map(|p| p.slot).sum(), imag: at.iter().any(|p| p.imag) }
        })
    }
    /// Writes a batch of values (`[b, c, y, x]` row-major, `n <= batch` images) into slot vectors:
    /// per ciphertext, (re, im) of each slot.
    pub fn pack(&self, values: &[f32], n: usize) -> Vec<Vec<num_complex::Complex64>> {
        let mut out = vec![vec![num_complex::Complex64::default(); self.slot_count()]; self.units_for(n) * self.unit_cts()];
        for (p, v) in self.places(n).zip(values) {
            let s = &mut out[p.ct][p.slot];
            if p.imag { s.im = *v as f64 } else { s.re = *v as f64 }
        }
        if self.copies > 0 {
            for slots in &mut out {
                let (first, rest) = slots.split_at_mut(self.copy_slots());
                rest.chunks_exact_mut(first.len()).for_each(|c| c.copy_from_slice(first));
            }
        }
        out
    }
    /// Reads a batch back: the inverse of [`Self::pack`] for the first `n` images.
    pub fn unpack(&self, cts: &[Vec<num_complex::Complex64>], n: usize) -> Vec<f32> {
        self.places(n)
            .map(|p| {
                let s = cts[p.ct][p.slot];
                (if p.imag { s.im } else { s.re }) as f32
            })
            .collect()
    }
}

fn write_bits(f: &mut fmt::Formatter<'_>, bits: &[Option<Bit>]) -> fmt::Result {
    let mut i = bits.len();
    let mut first = true;
    while i > 0 {
        if !first {
            write!(f, " ")?;
        }
        first = false;
        let Some(top) = bits[i - 1] else {
            write!(f, "_")?;
            i -= 1;
            continue;
        };
        let mut j = i - 1;
        while j > 0 && bits[j - 1].is_some_and(|b| bits[j].is_some_and(|a| a.dim == b.dim && a.index == b.index + 1)) {
            j -= 1;
        }
        let low = bits[j].map_or(0, |b| b.index);
        if j + 1 == i {
            write!(f, "{}{}", top.dim.letter(), top.index)?;
        } else {
            write!(f, "{}{}..{}{}", top.dim.letter(), top.index, top.dim.letter(), low)?;
        }
        i = j;
    }
    Ok(())
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slots[")?;
        let own = &self.slots[..self.slots.len() - self.copies];
        write!(f, "{}{}", vec!["*"; self.copies].join(" "), if self.copies > 0 && !own.is_empty() { " " } else { "" })?;
        write_bits(f, own)?;
        write!(f, "] cts[")?;
        write_bits(f, &self.cts.iter().map(|b| Some(*b)).collect::<Vec<_>>())?;
        write!(f, "]")?;
        if let Some(b) = self.complex {
            write!(f, " complex={}{}", b.dim.letter(), b.index)?;
        }
        let [c, h, w] = self.shape;
        write!(f, " shape={c}x{h}x{w} batch={}", self.batch)?;
        if self.dirty {
            write!(f, " dirty")?;
        }
        Ok(())
    }
}

fn parse_bit(s: &str) -> Result<Bit, String> {
    let mut it = s.chars();
    let dim = it.next().and_then(Dim::parse);
    let index = it.as_str().parse::<u8>().ok().filter(|&i| i < 40);
    dim.zip(index).map(|(dim, index)| Bit { dim, index }).ok_or_else(|| format!("bad bit `{s}`: expected e.g. b4, c0, y3, x2"))
}

fn parse_bits(s: &str) -> Result<Vec<Option<Bit>>, String> {
    let mut v = vec![];
    for item in s.split_whitespace() {
        if item == "_" {
            v.push(None);
        } else if let Some((a, b)) = item.split_once("..") {
            let (a, b) = (parse_bit(a)?, parse_bit(b)?);
            if a.dim != b.dim || a.index < b.index {
                return Err(format!("bad bit range `{item}`"));
            }
            v.extend((b.index..=a.index).rev().map(|index| Some(Bit { dim: a.dim, index })));
        } else {
            v.push(Some(parse_bit(item)?));
        }
    }
    v.reverse();
    Ok(v)
}

impl Type for Layout {
    fn parse(s: &str) -> Result<Self, String> {
        let s = s.trim();
        let rest = s.strip_prefix("slots[").ok_or_else(|| format!("bad layout `{s}`: expected slots[…]"))?;
        let (slots, rest) = rest.split_once(']').ok_or("slots[ is not closed")?;
        let rest = rest.trim_start().strip_prefix("cts[").ok_or("expected cts[…] after slots[…]")?;
        let (cts, rest) = rest.split_once(']').ok_or("cts[ is not closed")?;
        let copies = slots.split_whitespace().take_while(|w| *w == "*").count();
        let own: Vec<&str> = slots.split_whitespace().skip(copies).collect();
        let mut slots = parse_bits(&own.join(" "))?;
        slots.resize(slots.len() + copies, None);
        let cts = parse_bits(cts)?.into_iter().collect::<Option<Vec<_>>>().ok_or("the ciphertext index has no gaps")?;
        let mut l = Layout { slots, cts, complex: None, shape: [0; 3], batch: 0, copies, dirty: false };
        for word in rest.split_whitespace() {
            match word.split_once('=') {
                None if word == "dirty" => l.dirty = true,
                Some(("complex", b)) => l.complex = Some(parse_bit(b)?),
                Some(("batch", n)) => l.batch = n.parse().map_err(|_| format!("bad batch `{n}`"))?,
                Some(("shape", d)) => {
                    let v: Vec<usize> =
                        d.split('x').map(|x| x.parse().map_err(|_| format!("bad shape `{d}`"))).collect::<Result<_, _>>()?;
                    l.shape = v.try_into().map_err(|_| format!("bad shape `{d}`: expected CxHxW"))?;
                }
                _ => return Err(format!("unknown part `{word}` of a layout")),
            }
        }
        match l.check().first() {
            Some(e) => Err(e.clone()),
            None => Ok(l),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip() {
        for t in [
            "slots[b4..b0 y4..y0 x4..x0] cts[c3..c0] complex=b5 shape=16x32x32 batch=64",
            "slots[b4..b0 y3..y0 _ x3..x0 _] cts[c4..c0] complex=b5 shape=32x16x16 batch=40",
            "slots[b2..b0 c1 y1..y0 c0 x1..x0] cts[] shape=3x4x3 batch=8 dirty",
            "slots[* * c1..c0 _ y1..y0 x1..x0] cts[] shape=3x4x3 batch=1",
            "slots[* *] cts[] shape=1x1x1 batch=1",
            "slots[b4..b0 y4..y1 x4..x1] cts[b7..b6 c1..c0 y0 x0] complex=b5 shape=3x32x32 batch=200",
        ] {
            assert_eq!(Layout::parse(t).unwrap().to_string(), t);
        }
        for bad in [
            "slots[b0",
            "slots[b0 *] cts[] shape=1x1x1 batch=2",
            "slots[b0 b0] cts[] shape=1x1x1 batch=2",
            "slots[x1] cts[] shape=1x1x2 batch=1",
            "slots[] cts[] shape=1x2x1 batch=1",
            "slots[b1] cts[b0] shape=1x1x1 batch=4",
            "slots[b0] cts[c0 b1] shape=2x1x1 batch=4",
        ] {
            assert!(Layout::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostile_sizes_are_refused_at_once() {
        for (text, message) in [
            ("slots[] cts[c39..c0] shape=549755813888x1x1 batch=1".to_string(), "more than 2^20 ciphertexts"),
            (format!("slots[{}] cts[] shape=1x1x1 batch=1", "b39..b0 ".repeat(100_000)), "more than 2^20 slots"),
            (format!("slots[] cts[{}] shape=1x1x1 batch=1", "c39..c0 ".repeat(100_000)), "more than 2^20 ciphertexts"),
            ("slots[x19..x0] cts[c19..c0] complex=b0 shape=1048577x1x1 batch=1".into(), "1048577 values of c are more than 1048576"),
            ("slots[x19..x0] cts[c19..c0] shape=1048576x1x1048576 batch=1".into(), "more than 268435456 elements"),
            ("slots[x1..x0] cts[] shape=18446744073709551615x3x3 batch=1".into(), "are more than"),
            ("slots[x1..x0] cts[] shape=1x1x4 batch=2".into(), "0 bits of b cannot number 2 values"),
        ] {
            let e = Layout::parse(&text).unwrap_err();
            assert!(e.contains(message), "{e}");
        }
        let l = Layout::parse("slots[x19..x0] cts[c7..c0] shape=256x1x1048576 batch=1").unwrap();
        assert_eq!((l.ct_count(), l.slot_count()), (256, 1 << 20));
    }

    #[test]
    fn places_and_periods() {
        let l = Layout::parse("slots[b4..b0 y3..y0 _ x3..x0 _] cts[c4..c0] complex=b5 shape=20x16x16 batch=64").unwrap();
        assert_eq!(l.place([33, 7, 3, 5]), Place { ct: 7, slot: 1 << 10 | 3 << 6 | 5 << 1, imag: true });
        assert_eq!((l.period(), l.ct_count(), l.slot_count()), (1024, 20, 1 << 15));
        assert_eq!(l.occupied().iter().filter(|&&o| o).count(), 256);
    }

    #[test]
    fn units_follow_each_other_without_holes() {
        let l = Layout::parse("slots[b1..b0 y2..y1 b2 x2..x1] cts[b5..b4 c1..c0 y0 x0] complex=b3 shape=3x8x8 batch=40").unwrap();
        assert_eq!((l.unit_bits(), l.unit_cts(), l.unit_batch(), l.units(), l.ct_count()), (2, 12, 16, 3, 36));
        assert_eq!(l.place([33, 2, 5, 1]).ct, 24 + 8 + 2 + 1);
        assert_eq!(l.unit().to_string(), "slots[b1..b0 y2..y1 b2 x2..x1] cts[c1..c0 y0 x0] complex=b3 shape=3x8x8 batch=16");
        assert_eq!((l.units_for(17), l.units_for(16)), (2, 1));
        let v: Vec<f32> = (0..40 * 192).map(|i| i as f32 + 1.0).collect();
        assert_eq!(l.unpack(&l.pack(&v, 40), 40), v);
        assert_eq!(l.low_batch_slots(l.period()), [0, 4]);
        assert!(l.occupied().iter().all(|&o| o));
    }

    #[test]
    fn every_slot_has_a_channel() {
        for (text, slots) in [
            ("slots[b1..b0 c1 y1..y0 c0 x1..x0] cts[c2] shape=5x4x4 batch=3", 64),
            ("slots[* * c1..c0 x1..x0] cts[] shape=3x1x4 batch=1", 16),
            ("slots[b1..b0 x1..x0] cts[c2..c0] shape=5x1x4 batch=3", 1),
        ] {
            let l = Layout::parse(text).unwrap();
            let (of_ct, of_slot) = (l.channel_of_cts(), l.channel_of_slots());
            assert_eq!((of_slot.len(), l.has_slotwise(5), l.has_slotwise(1)), (slots, slots > 1, false), "{text}");
            for c in 0..l.shape[0] {
                for (b, y, x) in [(0, 0, 0), (l.batch - 1, l.shape[1] - 1, l.shape[2] - 1), (0, l.shape[1] - 1, 1)] {
                    let p = l.place([b, c, y, x]);
                    assert_eq!(of_ct[p.ct] + of_slot[p.slot % of_slot.len()], c, "{text}");
                }
            }
        }
    }

    #[test]
    fn pack_unpack() {
        let l = Layout::parse("slots[b1..b0 c0 y1..y0 _ x1..x0] cts[c1] complex=b2 shape=3x4x3 batch=6").unwrap();
        let v: Vec<f32> = (0..6 * 36).map(|i| i as f32 + 1.0).collect();
        let p = l.pack(&v, 6);
        assert_eq!(l.unpack(&p, 6), v);
        let nonzero: usize = p.iter().flatten().map(|z| usize::from(z.re != 0.0) + usize::from(z.im != 0.0)).sum();
        assert_eq!(nonzero, v.len());
    }

    #[test]
    fn copies_repeat() {
        let l = Layout::parse("slots[* * c1..c0 b0 y1..y0 x0] cts[x1] complex=b1 shape=3x4x3 batch=3").unwrap();
        assert_eq!((l.period(), l.copy_slots(), l.slot_count(), l.unit_batch()), (64, 64, 256, 4));
        let v: Vec<f32> = (0..3 * 36).map(|i| i as f32 + 1.0).collect();
        let p = l.pack(&v, 3);
        assert_eq!(l.unpack(&p, 3), v);
        assert!(p.iter().all(|ct| ct.chunks(64).all(|c| *c == ct[..64])));
    }
}
