//! Counted work of the operations of a scheme, and how much the kernels have in work at a time.

use crate::gadget::Gadget;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

/// Counted work. The unit of all figures but `expand` is one limb: N words.
///
/// One ModUp serves all rotations of an input, inner products run limb by limb, and a rescale is
/// merged with the division by the special primes before it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Number-theoretic transforms of a limb.
    pub ntt: f64,
    /// Multiply-accumulates of a limb with a weight, and what is added in the same loop.
    pub mac: f64,
    /// Multiply-accumulates of a limb in base conversions.
    pub convert: f64,
    /// Multiply-accumulates of a limb with a limb of a key.
    pub keys: f64,
    /// Limbs passed through an element-wise kernel.
    pub passes: f64,
    /// Words of expanded weights, whatever N is.
    pub expand: f64,
}

impl Counts {
    /// Decomposition of one polynomial: each digit starts from its own limbs and ends in all.
    pub fn mod_up(limbs: usize, gadget: Gadget) -> Self {
        let extended = limbs + gadget.alpha;
        let convert: usize = (0..gadget.digits_at(limbs)).map(|d| gadget.digit(d, limbs).len()).map(|d| d * (extended - d)).sum();
        Self { ntt: (gadget.digits_at(limbs) * extended) as f64, convert: convert as f64, ..Self::default() }
    }

    /// The sum over digits of their products with both polynomials of a key.
    pub fn inner_product(limbs: usize, gadget: Gadget) -> Self {
        Self { keys: (2 * gadget.digits_at(limbs) * (limbs + gadget.alpha)) as f64, ..Self::default() }
    }

    /// Division of one polynomial by `removed` primes, which leaves `kept`.
    pub fn mod_down(removed: usize, kept: usize) -> Self {
        Self { ntt: (removed + kept) as f64, convert: (removed * kept) as f64, ..Self::default() }
    }

    /// A key switch without a rescale.
    pub fn key_switch(limbs: usize, gadget: Gadget) -> Self {
        Self::switch_down(limbs, gadget, 0)
    }

    /// A sum of `products` products and `terms` multiples, relinearised and divided by the last
    /// `drop` primes.
    pub fn product(limbs: usize, gadget: Gadget, drop: usize, products: usize, terms: usize) -> Self {
        Self::switch_down(limbs, gadget, drop) + Self::passes(limbs * (5 * products + 2 * terms))
    }

    /// A sum of `terms` multiples, divided by the last prime.
    pub fn rescale(limbs: usize, terms: usize) -> Self {
        Self::mod_down(1, limbs - 1) * 2.0 + Self::passes(2 * terms * limbs)
    }

    fn switch_down(limbs: usize, gadget: Gadget, drop: usize) -> Self {
        let down = Self::mod_down(gadget.alpha + drop, limbs - drop) * 2.0;
        Self::mod_up(limbs, gadget) + Self::inner_product(limbs, gadget) + down + Self::passes(2 * limbs)
    }

    /// Encoding of a vector of all slots with so many limbs.
    pub fn encode(limbs: usize) -> Self {
        Self { ntt: limbs as f64 + ENCODING, ..Self::default() }
    }

    /// So many limbs through element-wise kernels.
    pub fn passes(limbs: usize) -> Self {
        Self { passes: limbs as f64, ..Self::default() }
    }

    /// So many multiply-accumulates with weights.
    pub fn macs(limbs: usize) -> Self {
        Self { mac: limbs as f64, ..Self::default() }
    }
}

impl Add for Counts {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self {
            ntt: self.ntt + o.ntt,
            mac: self.mac + o.mac,
            convert: self.convert + o.convert,
            keys: self.keys + o.keys,
            passes: self.passes + o.passes,
            expand: self.expand + o.expand,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl Mul<f64> for Counts {
    type Output = Self;
    fn mul(self, k: f64) -> Self {
        Self {
            ntt: self.ntt * k,
            mac: self.mac * k,
            convert: self.convert * k,
            keys: self.keys * k,
            passes: self.passes * k,
            expand: self.expand * k,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

/// Transforming a vector of slots into coefficients takes as long as so many number-theoretic
/// transforms, estimated: half as many butterflies, of complex numbers in double precision, without
/// vector instructions.
const ENCODING: f64 = 8.0;

/// Most digits of a key switch: beyond, keys take more memory and time than is practical, and the
/// kernels have no room for them in registers.
pub const MAX_DIGITS: usize = 6;

/// Bytes between neighbouring rows of polynomials in memory, which keep equal columns of different
/// rows apart in the caches: an odd number of cache lines, and not a multiple of a page.
pub const ROW_GAP: usize = 137 * 64;

/// Rows of each digit that a decomposition of many polynomials extends at a time.
pub const EXTENDED_ROWS: usize = 6;

/// Bytes of expanded weights of one panel of a linear map at one limb. More rows than fit make
/// several panels, whose results add up.
pub const PANEL_WEIGHT_BYTES: usize = 256 << 20;

/// Ciphertexts of a series, or of a refresh with its series, that are in work at a time: key limbs
/// are read once for so many, temporaries exist for so many.
pub const SERIES_GROUP: usize = 8;

/// Ciphertexts of a product that are in work at a time on so many threads.
pub fn product_group(threads: usize) -> usize {
    threads.clamp(4, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_last_digit_is_converted_into_more_limbs() {
        let gadget = Gadget { limbs: 5, alpha: 2 };
        // Digits of 2, 2 and 1 of 5 limbs, each into all of the 7 others but its own.
        let up = Counts { ntt: 21.0, convert: 2.0 * 5.0 + 2.0 * 5.0 + 6.0, ..Counts::default() };
        assert_eq!(Counts::mod_up(5, gadget), up);
        assert_eq!(Counts::inner_product(5, gadget).keys, 42.0);
        assert_eq!(Counts::key_switch(5, gadget), up + Counts { ntt: 14.0, convert: 20.0, keys: 42.0, passes: 10.0, ..Counts::default() });
    }

    #[test]
    fn a_rescale_is_merged_with_the_division_by_the_special_primes() {
        let gadget = Gadget { limbs: 5, alpha: 2 };
        let [whole, merged] = [0, 1].map(|drop| Counts::product(5, gadget, drop, 1, 0));
        assert_eq!((whole.ntt, whole.passes, whole.keys), (merged.ntt, merged.passes, merged.keys));
        // 2 into 5 limbs, or 3 into 4, of two polynomials.
        assert_eq!(merged.convert - whole.convert, 2.0 * (12.0 - 10.0));
        assert_eq!(Counts::rescale(5, 1), Counts { ntt: 10.0, convert: 8.0, passes: 10.0, ..Counts::default() });
    }
}
