//! Inner products of digits with a key-switching key.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use crate::arithmetic::Modulus;

/// Digits that one Montgomery reduction takes: seven products of residues below 2^50 stay below
/// `2 q 2^52`.
const RUN: usize = 7;

/// `out[c] = sum_d digits[d] keys[d][c] / R mod q` over equally long rows; there is at least one
/// digit.
pub fn key_inner_product(isa: Isa, m: &Modulus, digits: &[&[u64]], keys: &[[&[u64]; 2]], out: [&mut [u64]; 2]) {
    let n = out[0].len();
    assert!(!digits.is_empty() && digits.len() == keys.len() && n.is_multiple_of(8) && out[1].len() == n);
    assert!(digits.iter().all(|d| d.len() == n) && keys.iter().flatten().all(|k| k.len() == n));
    let [out0, out1] = out;
    let mut add = false;
    for (digits, keys) in digits.chunks(RUN).zip(keys.chunks(RUN)) {
        let out = [&mut *out0, &mut *out1];
        match digits.len() {
            1 => isa.run(InnerProduct::<1>::new(m, digits, keys, out, add)),
            2 => isa.run(InnerProduct::<2>::new(m, digits, keys, out, add)),
            3 => isa.run(InnerProduct::<3>::new(m, digits, keys, out, add)),
            4 => isa.run(InnerProduct::<4>::new(m, digits, keys, out, add)),
            5 => isa.run(InnerProduct::<5>::new(m, digits, keys, out, add)),
            6 => isa.run(InnerProduct::<6>::new(m, digits, keys, out, add)),
            _ => isa.run(InnerProduct::<7>::new(m, digits, keys, out, add)),
        }
        add = true;
    }
}

struct InnerProduct<'a, const D: usize> {
    m: &'a Modulus,
    digits: [&'a [u64]; D],
    keys: [[&'a [u64]; 2]; D],
    out: [&'a mut [u64]; 2],
    add: bool,
}

impl<'a, const D: usize> InnerProduct<'a, D> {
    fn new(m: &'a Modulus, digits: &[&'a [u64]], keys: &[[&'a [u64]; 2]], out: [&'a mut [u64]; 2], add: bool) -> Self {
        Self { m, digits: std::array::from_fn(|d| digits[d]), keys: std::array::from_fn(|d| keys[d]), out, add }
    }
}

impl<const D: usize> Kernel for InnerProduct<'_, D> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let m = ModulusLanes::new(lanes, self.m);
        let n = self.out[0].len();
        let [out0, out1] = self.out;
        let out = [out0.as_mut_ptr(), out1.as_mut_ptr()];
        for at in (0..n).step_by(8) {
            // SAFETY: all rows have length n.
            unsafe {
                let mut acc = [lanes.acc(); 2];
                for d in 0..D {
                    let x = lanes.load(self.digits[d].as_ptr().add(at));
                    acc[0] = lanes.mac(acc[0], x, lanes.load(self.keys[d][0].as_ptr().add(at)));
                    acc[1] = lanes.mac(acc[1], x, lanes.load(self.keys[d][1].as_ptr().add(at)));
                }
                for c in 0..2 {
                    let mut v = lanes.reduce_once(lanes.redc1(acc[c], m.q, m.qinv), m.q);
                    if self.add {
                        v = lanes.add_mod(v, lanes.load(out[c].add(at)), m.q);
                    }
                    lanes.store(out[c].add(at), v);
                }
            }
        }
    }
}
