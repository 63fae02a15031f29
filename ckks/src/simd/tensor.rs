//! Degree-2 products of ciphertext limbs before relinearisation.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use crate::arithmetic::{GaloisTable, Modulus};

/// `(d0, d1, d2) = (a0 b0, a0 b1 + a1 b0, a1 b1)` for one limb.
pub fn product_tensor(isa: Isa, m: &Modulus, a: [&[u64]; 2], b: [&[u64]; 2], out: [&mut [u64]; 3]) {
    let n = out[0].len();
    assert!(n.is_multiple_of(8) && a.iter().chain(&b).all(|x| x.len() == n) && out.iter().all(|x| x.len() == n));
    isa.run(Product { m, a, b, out });
}

struct Product<'a> {
    m: &'a Modulus,
    a: [&'a [u64]; 2],
    b: [&'a [u64]; 2],
    out: [&'a mut [u64]; 3],
}

impl Kernel for Product<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let m = ModulusLanes::new(lanes, self.m);
        let r2 = lanes.splat(self.m.r2);
        let n = self.out[0].len();
        let [o0, o1, o2] = self.out;
        let out = [o0.as_mut_ptr(), o1.as_mut_ptr(), o2.as_mut_ptr()];
        for at in (0..n).step_by(8) {
            // SAFETY: all rows have the length of the outputs, which are exclusively borrowed.
            unsafe {
                let a0 = lanes.load(self.a[0].as_ptr().add(at));
                let a1 = lanes.load(self.a[1].as_ptr().add(at));
                let b0 = lanes.load(self.b[0].as_ptr().add(at));
                let b1 = lanes.load(self.b[1].as_ptr().add(at));
                let ar0 = lanes.redc1(lanes.mac(lanes.acc(), a0, r2), m.q, m.qinv);
                let ar1 = lanes.redc1(lanes.mac(lanes.acc(), a1, r2), m.q, m.qinv);
                let d0 = lanes.redc1(lanes.mac(lanes.acc(), ar0, b0), m.q, m.qinv);
                let d1 = lanes.mac(lanes.mac(lanes.acc(), ar0, b1), ar1, b0);
                let d1 = lanes.redc1(d1, m.q, m.qinv);
                let d2 = lanes.redc1(lanes.mac(lanes.acc(), ar1, b1), m.q, m.qinv);
                lanes.store(out[0].add(at), d0);
                lanes.store(out[1].add(at), d1);
                lanes.store(out[2].add(at), d2);
            }
        }
    }
}

/// The tensor of a split product. With `a = z + w`, `b = z - w` for both factors, where `w` is the
/// image of `zbar` under `conjugation`: `out = a (x) a' - i b (x) b'`, that is
/// `4 (Re Re' + i Im Im')` in the slots of `z` and `z'`. `imaginary` is `X^(N/2)` at the first half
/// of the NTT order. A factor that is given twice is squared, with fewer products.
pub fn pair_product_tensor(
    isa: Isa,
    m: &Modulus,
    imaginary: u64,
    conjugation: &GaloisTable,
    z: [[&[u64]; 2]; 2],
    zbar: [[&[u64]; 2]; 2],
    out: [&mut [u64]; 3],
) {
    let n = conjugation.n();
    assert!(z.iter().chain(&zbar).flatten().all(|x| x.len() == n) && out.iter().all(|x| x.len() == n));
    assert!(n.is_multiple_of(16));
    let square = std::ptr::eq(z[0][0], z[1][0]) && std::ptr::eq(zbar[0][0], zbar[1][0]);
    if square {
        isa.run(PairProduct::<true> { m, imaginary, conjugation, z, zbar, out });
    } else {
        isa.run(PairProduct::<false> { m, imaginary, conjugation, z, zbar, out });
    }
}

struct PairProduct<'a, const SQUARE: bool> {
    m: &'a Modulus,
    imaginary: u64,
    conjugation: &'a GaloisTable,
    z: [[&'a [u64]; 2]; 2],
    zbar: [[&'a [u64]; 2]; 2],
    out: [&'a mut [u64]; 3],
}

impl<const SQUARE: bool> Kernel for PairProduct<'_, SQUARE> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let m = ModulusLanes::new(lanes, self.m);
        let [o0, o1, o2] = self.out;
        let out = [o0.as_mut_ptr(), o1.as_mut_ptr(), o2.as_mut_ptr()];
        // Montgomery factors: R^2 for a, and -+i R^2 for b.
        let minus_i = self.m.mul(self.m.neg(self.imaginary), self.m.r2);
        let fa = lanes.splat(self.m.r2);
        let halves = [lanes.splat(minus_i), lanes.splat(self.m.neg(minus_i))];
        let blocks = self.conjugation.blocks();
        for (b, &map) in blocks.iter().enumerate() {
            let at = 8 * b;
            let source = (map & !7) as usize;
            let pattern = &self.conjugation.patterns()[(map & 7) as usize];
            let fb = halves[(b >= blocks.len() / 2) as usize];
            // SAFETY: all rows have the degree of the table, whose source blocks lie inside it.
            unsafe {
                // sums[f][c] = z + w and differences[f][c] = z - w + q of factor f, component c,
                // below 2q
                let mut sums = [[fa; 2]; 2];
                let mut differences = [[fa; 2]; 2];
                for f in 0..2 {
                    if SQUARE && f == 1 {
                        sums[1] = sums[0];
                        differences[1] = differences[0];
                        continue;
                    }
                    for c in 0..2 {
                        let w = lanes.load(self.zbar[f][c].as_ptr().add(source));
                        let w = lanes.permute(pattern, w);
                        let u = lanes.load(self.z[f][c].as_ptr().add(at));
                        sums[f][c] = lanes.add(u, w);
                        differences[f][c] = lanes.sub(lanes.add(u, m.q), w);
                    }
                }
                let mut ar = [fa; 2];
                let mut br = [fa; 2];
                for c in 0..2 {
                    ar[c] = lanes.redc1(lanes.mac(lanes.acc(), sums[0][c], fa), m.q, m.qinv);
                    br[c] = lanes.redc1(lanes.mac(lanes.acc(), differences[0][c], fb), m.q, m.qinv);
                }
                let [sa, sb] = [sums[1], differences[1]];
                let d0 = lanes.mac(lanes.mac(lanes.acc(), sa[0], ar[0]), sb[0], br[0]);
                let d2 = lanes.mac(lanes.mac(lanes.acc(), sa[1], ar[1]), sb[1], br[1]);
                let mut d1 = lanes.mac(lanes.mac(lanes.acc(), sa[0], ar[1]), sb[0], br[1]);
                if !SQUARE {
                    d1 = lanes.mac(lanes.mac(d1, sa[1], ar[0]), sb[1], br[0]);
                }
                let d0 = lanes.reduce_once(lanes.redc1(d0, m.q, m.qinv), m.q);
                let d2 = lanes.reduce_once(lanes.redc1(d2, m.q, m.qinv), m.q);
                let mut d1 = lanes.reduce_once(lanes.redc1(d1, m.q, m.qinv), m.q);
                if SQUARE {
                    d1 = lanes.add_mod(d1, d1, m.q);
                }
                lanes.store(out[0].add(at), d0);
                lanes.store(out[1].add(at), d1);
                lanes.store(out[2].add(at), d2);
            }
        }
    }
}
