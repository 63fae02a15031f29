//! The first step of the transform of a symmetric polynomial.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use crate::arithmetic::Modulus;

/// `to[j] = (far[j] from[g - j] + near[j] from[j]) / R`, where `g` is the length of `to` and of the
/// factors, a multiple of eight, and `from` has one word more, `from[g] = 0`.
pub fn fold_symmetric(isa: Isa, m: &Modulus, [near, far]: [&[u64]; 2], from: &[u64], to: &mut [u64]) {
    assert!(to.len().is_multiple_of(8) && near.len() == to.len() && far.len() == to.len() && from.len() == to.len() + 1);
    isa.run(Fold { m, near, far, from, to });
}

struct Fold<'a> {
    m: &'a Modulus,
    near: &'a [u64],
    far: &'a [u64],
    from: &'a [u64],
    to: &'a mut [u64],
}

impl Kernel for Fold<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let m = ModulusLanes::new(lanes, self.m);
        let g = self.to.len();
        for j in (0..g).step_by(8) {
            // SAFETY: words `g - j - 7..=g - j` are inside `from`, which has `g + 1` words; the
            // others have `g`.
            unsafe {
                let near = lanes.load(self.from.as_ptr().add(j));
                let far = lanes.permute(&REVERSED, lanes.load(self.from.as_ptr().add(g - j - 7)));
                let sum = lanes.mac(lanes.acc(), near, lanes.load(self.near.as_ptr().add(j)));
                let sum = lanes.mac(sum, far, lanes.load(self.far.as_ptr().add(j)));
                lanes.store(self.to.as_mut_ptr().add(j), lanes.reduce_once(lanes.redc1(sum, m.q, m.qinv), m.q));
            }
        }
    }
}

/// The pattern that reverses eight words.
const REVERSED: [u64; 8] = [7, 6, 5, 4, 3, 2, 1, 0];
