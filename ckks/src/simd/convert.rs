//! RNS base conversion and the last step of ModDown.

use super::Isa;
use super::doubles::double;
use super::field::{Field, Twiddle};
use super::lanes::{Kernel, Lanes, ModulusLanes};
use super::quad::{Quad, QuadKernel};
use crate::arithmetic::Modulus;

/// Up to eight target moduli of a base conversion, with their constants.
#[derive(Clone, Debug)]
pub struct TargetGroup {
    moduli: Vec<Modulus>,
    /// `[source][target]`, each times `R^2`.
    constants: Vec<u64>,
    /// The same without a factor, centred, each with its quotient by `q_target`.
    reals: Vec<[f64; 2]>,
    sources: usize,
}

/// Sources whose products in double precision add up before they are reduced: each is below 0.6 of
/// a target, and exact integers are below eight.
const RUN: usize = 12;
/// Targets that convert a source word to a double together.
const SHARED: usize = 4;

impl TargetGroup {
    /// Most targets of one group: the accumulators of eight fit the registers.
    pub const MAX: usize = 8;

    /// A group for at most [`Self::MAX`] moduli; `constant(source, target)` is in `[0, q_target)`.
    pub fn new(moduli: &[Modulus], sources: usize, constant: impl Fn(usize, usize) -> u64) -> Self {
        assert!((1..=Self::MAX).contains(&moduli.len()) && sources < 1 << 11);
        let constants = (0..sources)
            .flat_map(|s| (0..moduli.len()).map(move |t| (s, t)))
            .map(|(s, t)| moduli[t].mul(constant(s, t), moduli[t].r2))
            .collect();
        let real = |m: &Modulus, c: u64| [m.centre(c) as f64, m.centre(c) as f64 / m.q as f64];
        let reals =
            (0..sources).flat_map(|s| (0..moduli.len()).map(move |t| (s, t))).map(|(s, t)| real(&moduli[t], constant(s, t))).collect();
        Self { moduli: moduli.to_vec(), constants, reals, sources }
    }

    /// Number of targets.
    pub fn len(&self) -> usize {
        self.moduli.len()
    }
}

/// `out[t] = sum_s sources[s] constant(s, t) mod q_t`. Sources are words below 2^50; all rows are
/// equally long.
pub fn convert_group(isa: Isa, group: &TargetGroup, sources: &[&[u64]], out: &mut [&mut [u64]]) {
    assert!(sources.len() == group.sources && out.len() == group.len());
    let n = out[0].len();
    assert!(n.is_multiple_of(8) && sources.iter().all(|s| s.len() == n) && out.iter().all(|o| o.len() == n));
    if isa.has_doubles() {
        for first in (0..group.len()).step_by(SHARED) {
            match group.len() - first {
                1 => isa.run_quads(ConvertReal::<1> { group, first, sources, out }),
                2 => isa.run_quads(ConvertReal::<2> { group, first, sources, out }),
                3 => isa.run_quads(ConvertReal::<3> { group, first, sources, out }),
                _ => isa.run_quads(ConvertReal::<SHARED> { group, first, sources, out }),
            }
        }
        return;
    }
    if !isa.is_wide() {
        for target in 0..group.len() {
            isa.run(Convert::<1> { group, first: target, sources, out });
        }
        return;
    }
    let first = 0;
    match group.len() {
        1 => isa.run(Convert::<1> { group, first, sources, out }),
        2 => isa.run(Convert::<2> { group, first, sources, out }),
        3 => isa.run(Convert::<3> { group, first, sources, out }),
        4 => isa.run(Convert::<4> { group, first, sources, out }),
        5 => isa.run(Convert::<5> { group, first, sources, out }),
        6 => isa.run(Convert::<6> { group, first, sources, out }),
        7 => isa.run(Convert::<7> { group, first, sources, out }),
        _ => isa.run(Convert::<8> { group, first, sources, out }),
    }
}

/// Targets `first..first + T` of a group.
struct Convert<'a, 'b, 'c, const T: usize> {
    group: &'a TargetGroup,
    first: usize,
    sources: &'a [&'b [u64]],
    out: &'a mut [&'c mut [u64]],
}

impl<const T: usize> Kernel for Convert<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if T > 1 && !L::WIDE {
            unreachable!("wide kernels run on wide instruction sets");
        }
        let n = self.out[0].len();
        let width = self.group.moduli.len();
        let c = self.group.constants[self.first..].as_ptr();
        assert!(self.first + T <= width);
        for at in (0..n).step_by(8) {
            let mut acc = [lanes.acc(); T];
            for (s, row) in self.sources.iter().enumerate() {
                // SAFETY: rows have length n; there are `width` constants for each source.
                unsafe {
                    let x = lanes.load(row.as_ptr().add(at));
                    for (t, acc) in acc.iter_mut().enumerate() {
                        *acc = lanes.mac(*acc, x, lanes.splat(*c.add(s * width + t)));
                    }
                }
            }
            for t in 0..T {
                // SAFETY: there are `width` targets of length n.
                unsafe {
                    let m = ModulusLanes::new(lanes, self.group.moduli.get_unchecked(self.first + t));
                    let v = lanes.redc2(acc[t], m.q, m.qinv);
                    lanes.store(self.out.get_unchecked_mut(self.first + t).as_mut_ptr().add(at), v);
                }
            }
        }
    }
}

/// Targets `first..first + T` of a group, in double precision: every product is reduced, because
/// one by a constant costs hardly more than an exact one.
struct ConvertReal<'a, 'b, 'c, const T: usize> {
    group: &'a TargetGroup,
    first: usize,
    sources: &'a [&'b [u64]],
    out: &'a mut [&'c mut [u64]],
}

impl<const T: usize> QuadKernel for ConvertReal<'_, '_, '_, T> {
    #[inline(always)]
    fn run<Q: Quad>(self, quad: Q) {
        let n = self.out[0].len();
        let width = self.group.moduli.len();
        assert!(self.first + T <= width && self.group.reals.len() == self.sources.len() * width);
        let c = self.group.reals[self.first..].as_ptr();
        let mut fields = [Field::new(quad, self.group.moduli[self.first].q); T];
        for t in 0..T {
            fields[t] = Field::new(quad, self.group.moduli[self.first + t].q);
        }
        for at in (0..n).step_by(4) {
            let mut sums = [quad.splat(0); T];
            let mut left = RUN;
            for (s, row) in self.sources.iter().enumerate() {
                if left == 0 {
                    for t in 0..T {
                        sums[t] = fields[t].reduce(sums[t]);
                    }
                    left = RUN;
                }
                left -= 1;
                // SAFETY: rows have length n; there are `width` constants for each source.
                unsafe {
                    let x = double(quad, quad.load(row.as_ptr().add(at)));
                    for t in 0..T {
                        let [w, quotient] = *c.add(s * width + t);
                        let (high, low) = fields[t].terms(x, Twiddle { w: quad.fsplat(w), quotient: quad.fsplat(quotient) });
                        sums[t] = quad.fadd(quad.fadd(sums[t], low), high);
                    }
                }
            }
            for t in 0..T {
                let v = fields[t].integer(fields[t].reduce(sums[t]));
                // SAFETY: there are `width` targets of length n.
                unsafe { quad.store(self.out.get_unchecked_mut(self.first + t).as_mut_ptr().add(at), v) }
            }
        }
    }
}

/// `out = round(sum_s sources[s] inverse[s])`: how often a centred conversion removes the source
/// modulus. Sources are words below 2^50, `inverse[s]` is one over the source prime.
pub fn overflow(isa: Isa, sources: &[&[u64]], inverse: &[f64], out: &mut [u64]) {
    assert!(sources.len() == inverse.len() && out.len().is_multiple_of(8));
    assert!(sources.iter().all(|s| s.len() == out.len()));
    let sources: Vec<*const u64> = sources.iter().map(|s| s.as_ptr()).collect();
    isa.run(Overflow { sources: &sources, inverse, out });
}

struct Overflow<'a> {
    sources: &'a [*const u64],
    inverse: &'a [f64],
    out: &'a mut [u64],
}

impl Kernel for Overflow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for at in (0..self.out.len()).step_by(8) {
            // SAFETY: all rows have the length of `out`.
            unsafe {
                let v = lanes.weighted_sum(self.sources, self.inverse, at);
                lanes.store(self.out.as_mut_ptr().add(at), v);
            }
        }
    }
}

/// `d = (a - d) w (+ addend)`, the end of ModDown and rescale for one limb.
pub fn mod_down_tail(isa: Isa, m: &Modulus, d: &mut [u64], a: &[u64], w: u64, addend: Option<&[u64]>) {
    let n = d.len();
    assert!(n.is_multiple_of(8) && a.len() == n && addend.is_none_or(|e| e.len() == n));
    isa.run(Tail { m, d, a, w, addend });
}

struct Tail<'a> {
    m: &'a Modulus,
    d: &'a mut [u64],
    a: &'a [u64],
    w: u64,
    addend: Option<&'a [u64]>,
}

impl Kernel for Tail<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let q = lanes.splat(self.m.q);
        let (w, w2) = (lanes.splat(self.w), lanes.splat(self.m.shoup(self.w)));
        let d = self.d.as_mut_ptr();
        for at in (0..self.d.len()).step_by(8) {
            // SAFETY: all rows have the length of `d`.
            unsafe {
                let x = lanes.sub(lanes.add(lanes.load(self.a.as_ptr().add(at)), q), lanes.load(d.add(at)));
                let mut v = lanes.shoup(x, w, w2, q);
                if let Some(e) = self.addend {
                    v = lanes.add_mod(v, lanes.load(e.as_ptr().add(at)), q);
                }
                lanes.store(d.add(at), v);
            }
        }
    }
}
