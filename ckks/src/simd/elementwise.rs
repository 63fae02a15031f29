//! Arithmetic on whole limbs, eight words at a time. Lengths are equal and multiples of eight.

use super::Isa;
use super::lanes::{Kernel, Lanes, ModulusLanes};
use crate::arithmetic::{GaloisTable, Modulus};

/// Defines a public function that runs a loop over blocks of eight words of some slices.
macro_rules! limb_kernel {
    ($(#[$doc:meta])* $name:ident, $kernel:ident,
     out: $out:ident, ins: [$($input:ident),*], consts: [$($konst:ident),*],
     setup: |$lanes:ident, $m:ident| $setup:expr => $bound:pat,
     body: |$mod:ident, $at:ident| $body:expr) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(isa: Isa, m: &Modulus, $out: &mut [u64], $($input: &[u64],)* $($konst: u64,)*) {
            assert!($out.len() % 8 == 0 $(&& $input.len() == $out.len())*);
            isa.run($kernel { m, $out, $($input,)* $($konst,)* })
        }
        struct $kernel<'a> { m: &'a Modulus, $out: &'a mut [u64], $($input: &'a [u64],)* $($konst: u64,)* }
        impl Kernel for $kernel<'_> {
            type Output = ();
            #[inline(always)]
            fn run<L: Lanes>(self, $lanes: L) {
                let $kernel { m: $m, $out, $($input,)* $($konst,)* } = self;
                let $mod = ModulusLanes::new($lanes, $m);
                let $bound = $setup;
                for $at in (0..$out.len()).step_by(8) {
                    // SAFETY: all slices have this length, a multiple of eight.
                    unsafe {
                        let v = $body;
                        $lanes.store($out.as_mut_ptr().add($at), v);
                    }
                }
            }
        }
    };
}

limb_kernel!(
    /// `a += b`.
    add_assign, AddAssign, out: a, ins: [b], consts: [],
    setup: |lanes, m| () => (),
    body: |k, at| lanes.add_mod(lanes.load(a.as_ptr().add(at)), lanes.load(b.as_ptr().add(at)), k.q)
);

limb_kernel!(
    /// `a -= b`.
    sub_assign, SubAssign, out: a, ins: [b], consts: [],
    setup: |lanes, m| () => (),
    body: |k, at| lanes.sub_mod(lanes.load(a.as_ptr().add(at)), lanes.load(b.as_ptr().add(at)), k.q)
);

limb_kernel!(
    /// `a = -a`.
    neg_assign, NegAssign, out: a, ins: [], consts: [],
    setup: |lanes, m| lanes.splat(0) => zero,
    body: |k, at| lanes.sub_mod(zero, lanes.load(a.as_ptr().add(at)), k.q)
);

limb_kernel!(
    /// `out = a b`.
    mul_into, MulInto, out: out, ins: [a, b], consts: [],
    setup: |lanes, m| lanes.splat(m.r2) => r2,
    body: |k, at| {
        lanes.mul_mod(lanes.load(a.as_ptr().add(at)), lanes.load(b.as_ptr().add(at)), k, r2)
    }
);

limb_kernel!(
    /// `a *= b`.
    mul_assign, MulAssign, out: a, ins: [b], consts: [],
    setup: |lanes, m| lanes.splat(m.r2) => r2,
    body: |k, at| {
        lanes.mul_mod(lanes.load(a.as_ptr().add(at)), lanes.load(b.as_ptr().add(at)), k, r2)
    }
);

limb_kernel!(
    /// `acc += a b`.
    mul_add_assign, MulAddAssign, out: acc, ins: [a, b], consts: [],
    setup: |lanes, m| lanes.splat(m.r2) => r2,
    body: |k, at| {
        let x = lanes.mul_mod(lanes.load(a.as_ptr().add(at)), lanes.load(b.as_ptr().add(at)), k, r2);
        lanes.add_mod(lanes.load(acc.as_ptr().add(at)), x, k.q)
    }
);

limb_kernel!(
    /// `a *= w` for a constant `w` in `[0, q)` (Shoup's method).
    mul_constant_assign, MulConstantAssign, out: a, ins: [], consts: [w],
    setup: |lanes, m| (lanes.splat(w), lanes.splat(m.shoup(w))) => (w, w2),
    body: |k, at| lanes.shoup(lanes.load(a.as_ptr().add(at)), w, w2, k.q)
);

limb_kernel!(
    /// `acc += w a` for a constant `w` in `[0, q)`.
    mul_constant_add_assign, MulConstantAddAssign, out: acc, ins: [a], consts: [w],
    setup: |lanes, m| (lanes.splat(w), lanes.splat(m.shoup(w))) => (w, w2),
    body: |k, at| {
        let x = lanes.shoup(lanes.load(a.as_ptr().add(at)), w, w2, k.q);
        lanes.add_mod(lanes.load(acc.as_ptr().add(at)), x, k.q)
    }
);

/// The automorphism of `table` on a limb in NTT order.
pub fn automorphism_into(isa: Isa, table: &GaloisTable, a: &[u64], out: &mut [u64]) {
    assert!(a.len() == table.n() && out.len() == table.n());
    isa.run(Automorphism { table, a, out })
}

struct Automorphism<'a> {
    table: &'a GaloisTable,
    a: &'a [u64],
    out: &'a mut [u64],
}

impl Kernel for Automorphism<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for (b, &map) in self.table.blocks().iter().enumerate() {
            // SAFETY: a table's source blocks lie inside its degree, and both slices have that
            // length.
            unsafe {
                let v = lanes.load(self.a.as_ptr().add((map & !7) as usize));
                let v = lanes.permute(&self.table.patterns()[(map & 7) as usize], v);
                lanes.store(self.out.as_mut_ptr().add(8 * b), v);
            }
        }
    }
}
