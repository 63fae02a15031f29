//! Counted work of polynomials.

use crate::gadget::Gadget;

/// Counted work for one ciphertext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Products of two ciphertexts.
    pub products: usize,
    /// Key switches, each with the rescale of its product.
    pub relinearisations: usize,
    /// Rescales of sums without products.
    pub rescales: usize,
    /// Transforms of one limb.
    pub transforms: usize,
    /// Multiply-accumulates of one limb with one limb or number.
    pub macs: usize,
}

impl Cost {
    /// A sum of `products` products and `terms` multiples at `limbs` limbs, relinearised and
    /// rescaled by one prime.
    pub fn add_relinearisation(&mut self, limbs: usize, gadget: Gadget, products: usize, terms: usize) {
        let (alpha, digits, extended) = (gadget.alpha, gadget.digits_at(limbs), limbs + gadget.alpha);
        self.products += products;
        self.relinearisations += 1;
        self.transforms += digits * extended + 2 * (alpha + 1 + limbs - 1);
        let up: usize = (0..digits).map(|d| gadget.digit(d, limbs).len()).map(|d| (d + 1) * (extended - d)).sum();
        let down = 2 * (alpha + 2) * (limbs - 1);
        self.macs += up + down + 2 * digits * extended + limbs * (4 * products + 2 * terms);
    }

    /// A sum of `terms` multiples at `limbs` limbs, rescaled by one prime.
    pub fn add_rescale(&mut self, limbs: usize, terms: usize) {
        self.rescales += 1;
        self.transforms += 2 * limbs;
        self.macs += 2 * terms * limbs + 4 * (limbs - 1);
    }

    /// A key switch at `limbs` limbs without a rescale.
    pub fn add_switch(&mut self, limbs: usize, gadget: Gadget) {
        let (alpha, digits, extended) = (gadget.alpha, gadget.digits_at(limbs), limbs + gadget.alpha);
        self.transforms += digits * extended + 2 * extended;
        let up: usize = (0..digits).map(|d| gadget.digit(d, limbs).len()).map(|d| (d + 1) * (extended - d)).sum();
        self.macs += up + 2 * (alpha + 1) * limbs + 2 * digits * extended;
    }
}

impl std::ops::Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            products: self.products + other.products,
            relinearisations: self.relinearisations + other.relinearisations,
            rescales: self.rescales + other.rescales,
            transforms: self.transforms + other.transforms,
            macs: self.macs + other.macs,
        }
    }
}
