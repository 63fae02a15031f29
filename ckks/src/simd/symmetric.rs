//! The first step of the transform of a symmetric polynomial.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use crate::ring::Modulus;

/// `to[j] = twist[j] (from[g - j] + imaginary from[j]) / R^2`, where `g` is the length of `to` and of `twist`, a multiple of eight, and `from`
/// has one word more, `from[g] = 0`. `imaginary` and `twist` are residues times `R`.
pub fn fold_symmetric(isa: Isa, m: &Modulus, imaginary: u64, twist: &[u64], from: &[u64], to: &mut [u64]) {
    assert!(to.len().is_multiple_of(8) && twist.len() == to.len() && from.len() == to.len() + 1);
    isa.run(Fold { m, imaginary, twist, from, to });
}

struct Fold<'a> {
    m: &'a Modulus,
    imaginary: u64,
    twist: &'a [u64],
    from: &'a [u64],
    to: &'a mut [u64],
}

impl Kernel for Fold<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let m = ModulusLanes::new(lanes, self.m);
        let imaginary = lanes.splat(self.imaginary);
        let g = self.to.len();
        for j in (0..g).step_by(8) {
            // SAFETY: words `g - j - 7..=g - j` are inside `from`, which has `g + 1` words; the others have `g`.
            unsafe {
                let near = lanes.load(self.from.as_ptr().add(j));
                let far = lanes.permute(&REVERSED, lanes.load(self.from.as_ptr().add(g - j - 7)));
                let turned = lanes.reduce_once(lanes.redc1(lanes.mac(lanes.acc(), near, imaginary), m.q, m.qinv), m.q);
                let sum = lanes.add_mod(turned, far, m.q);
                let v = lanes.mac(lanes.acc(), sum, lanes.load(self.twist.as_ptr().add(j)));
                lanes.store(self.to.as_mut_ptr().add(j), lanes.reduce_once(lanes.redc1(v, m.q, m.qinv), m.q));
            }
        }
    }
}

/// The pattern that reverses eight words.
const REVERSED: [u64; 8] = [7, 6, 5, 4, 3, 2, 1, 0];
