//! Cost model: operation counts and scratch memory of encrypted ops, and the machine's unit times.
//!
//! Counts follow the fused execution: one ModUp per rotated input, inner products and
//! multiply-accumulates limb by limb, one ModDown merged with the rescale per output polynomial; a
//! product of complex-packed bundles has two key switches.

mod fit;
mod linear;
mod machine;
mod product;
mod series;
mod work;

pub use fit::{Sample, fit};
pub use linear::{GiantShape, LinearShape};
pub use machine::CostModel;
pub use product::ProductShape;
pub use series::{SeriesShape, relinearisations};
pub use work::Work;

use std::iter::Sum;
use std::ops::{Add, Mul};

/// Operations on limbs of one ring, and word operations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Number-theoretic transforms of one limb.
    pub ntt: f64,
    /// Multiply-accumulates of one word: weights.
    pub mac: f64,
    /// Multiply-accumulates of one word: base conversions.
    pub convert: f64,
    /// Words of one key digit in inner products.
    pub words: f64,
    /// Words passed through an element-wise kernel.
    pub passes: f64,
    /// Words of expanded weights.
    pub expand: f64,
}

impl Add for Counts {
    type Output = Counts;
    fn add(self, o: Counts) -> Counts {
        Counts {
            ntt: self.ntt + o.ntt,
            mac: self.mac + o.mac,
            convert: self.convert + o.convert,
            words: self.words + o.words,
            passes: self.passes + o.passes,
            expand: self.expand + o.expand,
        }
    }
}

impl Mul<f64> for Counts {
    type Output = Counts;
    fn mul(self, k: f64) -> Counts {
        Counts {
            ntt: self.ntt * k,
            mac: self.mac * k,
            convert: self.convert * k,
            words: self.words * k,
            passes: self.passes * k,
            expand: self.expand * k,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(iter: I) -> Counts {
        iter.fold(Counts::default(), |a, b| a + b)
    }
}
