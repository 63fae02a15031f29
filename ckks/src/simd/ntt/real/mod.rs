//! The negacyclic number-theoretic transform in double precision, for machines with fused
//! multiply-add and without a wide integer multiply.
//!
//! Between the first load and the last store words are doubles with integer values, of either sign
//! and larger than `q`. With `h = y w` rounded, `y w - h` is exact in one fused operation, and so
//! is `h - k q` for `k = round(y (w / q))`: six operations for a product modulo `q` of magnitude
//! about `q / 2`, for factors `w` in `(-q/2, q/2)`. [`growth`](plan::growth) bounds what words
//! gain; passes reduce where it says so.
//!
//! Stages run two or three at a time over the vector (those within blocks that stay in the
//! first-level cache block by block); the last five run together on eight registers of four words,
//! the last two of them transposed. The inverse is the mirror image.

mod plan;

pub use plan::RealPlan;

use super::super::Isa;
use super::super::doubles::double;
use super::super::field::{Field, Twiddle};
use super::super::quad::{Quad, QuadKernel};
use plan::{LAST_WORDS, LOG_LAST, Pass};

/// Blocks of this many words stay in the first-level cache.
const LOG_INNER: u32 = 11;
/// Distance in words from a load of data to the prefetch in the same row.
const DATA_AHEAD: usize = 64;
/// Distance in words from a load of factors of the last stage to their prefetch.
const TABLE_AHEAD: usize = 8 * LAST_WORDS;

/// Coefficients to evaluations, in place; residues in `[0, q)` on both sides.
pub fn forward(isa: Isa, plan: &RealPlan, limb: &mut [u64]) {
    run_forward(isa, plan, limb, Normalize);
}

/// `limb = (a - forward(limb)) w (+ addend)`: [`forward`], then
/// [`mod_down_tail`](crate::simd::mod_down_tail) while the words are in registers.
pub fn forward_mod_down(isa: Isa, plan: &RealPlan, limb: &mut [u64], a: &[u64], w: u64, addend: Option<&[u64]>) {
    assert!(a.len() == limb.len() && addend.is_none_or(|e| e.len() == limb.len()) && w < plan.modulus.q);
    run_forward(isa, plan, limb, ModDown { a, w: plan.modulus.centre(w) as f64, addend });
}

fn run_forward(isa: Isa, plan: &RealPlan, limb: &mut [u64], finish: impl Finish) {
    assert_eq!(limb.len(), plan.n());
    isa.run_quads(Forward { plan, limb, finish });
}

/// Evaluations to coefficients times `N c`, in place; residues in `[0, q)` on both sides.
pub fn inverse(isa: Isa, plan: &RealPlan, limb: &mut [u64], c: u64) {
    assert_eq!(limb.len(), plan.n());
    let to = limb.as_mut_ptr();
    run_inverse(isa, plan, to, to, c);
}

/// As [`inverse`] from one limb to another.
pub fn inverse_into(isa: Isa, plan: &RealPlan, from: &[u64], to: &mut [u64], c: u64) {
    assert!(from.len() == plan.n() && to.len() == plan.n());
    run_inverse(isa, plan, from.as_ptr(), to.as_mut_ptr(), c);
}

/// `from` and `to` are equal or disjoint, and valid for the degree.
fn run_inverse(isa: Isa, plan: &RealPlan, from: *const u64, to: *mut u64, c: u64) {
    if plan.is_roomy() {
        isa.run_quads(Inverse::<true> { plan, from, to, c });
    } else {
        isa.run_quads(Inverse::<false> { plan, from, to, c });
    }
}

/// Butterflies on registers.
impl<Q: Quad> Field<Q> {
    /// Butterfly `(x, y) -> (x + w y, x - w y)`. An addition more than needed shortens the way from
    /// `y`, on which the next butterfly waits.
    #[inline(always)]
    fn up<const R: usize>(self, v: &mut [Q::V; R], i: usize, j: usize, t: Twiddle<Q>) {
        let quad = self.quad;
        let (high, low) = self.terms(v[j], t);
        let (sum, difference) = (quad.fadd(v[i], low), quad.fsub(v[i], low));
        v[i] = quad.fadd(sum, high);
        v[j] = quad.fsub(difference, high);
    }

    /// Butterfly `(x, y) -> (x + y, w (y - x))`.
    #[inline(always)]
    fn down<const R: usize>(self, v: &mut [Q::V; R], i: usize, j: usize, t: Twiddle<Q>) {
        let (x, y) = (v[i], v[j]);
        v[i] = self.quad.fadd(x, y);
        v[j] = self.product(self.quad.fsub(y, x), t);
    }

    /// `log2 R` stages forward on `R` (4 or 8) words with the factors of a node.
    ///
    /// # Safety
    /// `t` must be valid for reading `R - 1` pairs.
    #[inline(always)]
    unsafe fn forward<const R: usize>(self, v: &mut [Q::V; R], t: *const u64) {
        // SAFETY: the caller's promise.
        unsafe {
            let w = self.scalar(t, 0);
            for i in 0..R / 2 {
                self.up(v, i, i + R / 2, w);
            }
            for b in 0..2 {
                let w = self.scalar(t, 1 + b);
                for i in 0..R / 4 {
                    self.up(v, b * R / 2 + i, b * R / 2 + i + R / 4, w);
                }
            }
            if R == 8 {
                for b in 0..4 {
                    self.up(v, 2 * b, 2 * b + 1, self.scalar(t, 3 + b));
                }
            }
        }
    }

    /// `log2 R` stages of the inverse on `R` (4 or 8) words of magnitude below `3/2 q` (roomy) or
    /// `q`, on both sides. `t` is the node of the mirrored block. With `end` the first half of the
    /// words is multiplied by its factor, and the last stage has that of differences.
    ///
    /// # Safety
    /// `t` must be valid for reading `R - 1` pairs.
    #[inline(always)]
    unsafe fn inverse<const ROOMY: bool, const R: usize>(self, v: &mut [Q::V; R], t: *const u64, end: Option<[Twiddle<Q>; 2]>) {
        // SAFETY: the caller's promise.
        unsafe {
            if R == 8 {
                for b in 0..4 {
                    self.down(v, 2 * b, 2 * b + 1, self.scalar(t, 6 - b));
                }
            }
            for b in 0..2 {
                let w = self.scalar(t, 2 - b);
                for i in 0..R / 4 {
                    self.down(v, b * R / 2 + i, b * R / 2 + i + R / 4, w);
                }
            }
            // Sums of four words that came in.
            if R == 8 && !ROOMY {
                v[0] = self.reduce(v[0]);
                v[4] = self.reduce(v[4]);
            }
            let w = match end {
                Some([_, w]) => w,
                None => self.scalar(t, 0),
            };
            for i in 0..R / 2 {
                self.down(v, i, i + R / 2, w);
            }
        }
        match end {
            Some([sums, _]) => {
                for i in 0..R / 2 {
                    v[i] = self.product(v[i], sums);
                }
            }
            None => {
                let large = match (ROOMY, R) {
                    (true, 8) => 2,
                    (true, _) => 1,
                    (false, _) => R / 2,
                };
                for i in 0..large {
                    v[i] = self.reduce(v[i]);
                }
            }
        }
    }
}

/// What happens to the words of the last pass before they are stored.
trait Finish: Copy {
    /// `x` is the transform, not reduced, at words `at..at + 4`; returns residues as integers.
    ///
    /// # Safety
    /// `at + 4` must not exceed the degree.
    unsafe fn words<Q: Quad>(self, f: Field<Q>, x: Q::V, at: usize) -> Q::V;
}

#[derive(Clone, Copy)]
struct Normalize;

impl Finish for Normalize {
    #[inline(always)]
    unsafe fn words<Q: Quad>(self, f: Field<Q>, x: Q::V, _at: usize) -> Q::V {
        f.integer(f.reduce(x))
    }
}

#[derive(Clone, Copy)]
struct ModDown<'a> {
    a: &'a [u64],
    /// In `(-q/2, q/2)`.
    w: f64,
    addend: Option<&'a [u64]>,
}

impl Finish for ModDown<'_> {
    #[inline(always)]
    unsafe fn words<Q: Quad>(self, f: Field<Q>, x: Q::V, at: usize) -> Q::V {
        let quad = f.quad;
        // SAFETY: all rows have the length of the limb.
        unsafe {
            let a = double(quad, quad.load(self.a.as_ptr().add(at)));
            let p = f.product(quad.fsub(a, f.reduce(x)), f.twiddle(quad.fsplat(self.w)));
            match self.addend {
                Some(e) => {
                    let sum = quad.fadd(p, double(quad, quad.load(e.as_ptr().add(at)))); // in (-q, 2q)
                    f.integer(f.reduce(sum))
                }
                None => f.integer(p),
            }
        }
    }
}

struct Forward<'a, F> {
    plan: &'a RealPlan,
    limb: &'a mut [u64],
    finish: F,
}

impl<F: Finish> QuadKernel for Forward<'_, F> {
    #[inline(always)]
    fn run<Q: Quad>(self, quad: Q) {
        let Self { plan, limb, finish } = self;
        let f = Field::new(quad, plan.modulus.q);
        let (outer, inner) = split_passes(plan);
        let block = inner.first().map_or(plan.n(), |p| 1 << p.log_block);
        let p = limb.as_mut_ptr();
        // SAFETY: the limb has the plan's degree, of which all blocks are parts.
        unsafe {
            forward_pass::<Q, true>(f, plan, outer[0], p, 0, plan.n());
            for &pass in &outer[1..] {
                forward_pass::<Q, false>(f, plan, pass, p, 0, plan.n());
            }
            for at in (0..plan.n()).step_by(block) {
                for &pass in inner {
                    forward_pass::<Q, false>(f, plan, pass, p, at, block);
                }
                if plan.reduce_last {
                    forward_last::<Q, F, true>(f, plan, p, at, block, finish);
                } else {
                    forward_last::<Q, F, false>(f, plan, p, at, block, finish);
                }
            }
        }
    }
}

/// The passes over the whole vector (at least one) and those within blocks.
#[inline(always)]
fn split_passes(plan: &RealPlan) -> (&[Pass], &[Pass]) {
    let outer = plan.passes.iter().take_while(|p| p.log_block > LOG_INNER).count();
    plan.passes.split_at(outer.max(1))
}

/// One pass over the blocks in words `at..at + len`; the first one reads integers.
///
/// # Safety
/// `p` must be valid for the plan's degree, and the words be whole blocks within it.
#[inline(always)]
unsafe fn forward_pass<Q: Quad, const FIRST: bool>(f: Field<Q>, plan: &RealPlan, pass: Pass, p: *mut u64, at: usize, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match (pass.log_radix, pass.reduce) {
            (3, false) => forward_blocks::<Q, FIRST, false, 8>(f, plan, pass, p, at, len),
            (3, true) => forward_blocks::<Q, FIRST, true, 8>(f, plan, pass, p, at, len),
            (_, false) => forward_blocks::<Q, FIRST, false, 4>(f, plan, pass, p, at, len),
            (_, true) => forward_blocks::<Q, FIRST, true, 4>(f, plan, pass, p, at, len),
        }
    }
}

/// As [`forward_pass`] for radix `R`.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn forward_blocks<Q: Quad, const FIRST: bool, const REDUCE: bool, const R: usize>(
    f: Field<Q>,
    plan: &RealPlan,
    pass: Pass,
    p: *mut u64,
    at: usize,
    len: usize,
) {
    let block = 1usize << pass.log_block;
    let step = block / R;
    for start in (at..at + len).step_by(block) {
        // SAFETY: the table has a node for each block; `R` rows of `step` words make a block.
        unsafe {
            let node = plan.table.as_ptr().add(pass.table + (start >> pass.log_block) * pass.node_words());
            for at in (start..start + step).step_by(4) {
                let mut v = [f.q; R];
                if pass.log_block > LOG_INNER && at.is_multiple_of(8) {
                    for i in 0..R {
                        f.quad.prefetch::<true>(p.wrapping_add(at + i * step + DATA_AHEAD));
                    }
                }
                for i in 0..R {
                    v[i] = f.quad.load(p.add(at + i * step));
                    if FIRST {
                        v[i] = double(f.quad, v[i]);
                    }
                    if REDUCE && i < R / 2 {
                        v[i] = f.reduce(v[i]);
                    }
                }
                f.forward(&mut v, node);
                for i in 0..R {
                    f.quad.store(p.add(at + i * step), v[i]);
                }
            }
        }
    }
}

/// The last five stages of the blocks in words `at..at + len`.
///
/// # Safety
/// As [`forward_pass`].
#[inline(always)]
unsafe fn forward_last<Q: Quad, F: Finish, const REDUCE: bool>(
    f: Field<Q>,
    plan: &RealPlan,
    p: *mut u64,
    at: usize,
    len: usize,
    finish: F,
) {
    let quad = f.quad;
    for start in (at..at + len).step_by(1 << LOG_LAST) {
        // SAFETY: the table has a node for each block of eight quads.
        unsafe {
            let node = plan.table.as_ptr().add(plan.last + (start >> LOG_LAST) * LAST_WORDS);
            for line in (0..LAST_WORDS).step_by(8) {
                quad.prefetch::<true>(node.wrapping_add(TABLE_AHEAD + line));
            }
            let mut v = [f.q; 8];
            for i in 0..8 {
                v[i] = quad.load(p.add(start + 4 * i));
                if REDUCE && i < 4 {
                    v[i] = f.reduce(v[i]);
                }
            }
            f.forward(&mut v, node);
            for half in 0..2 {
                let factors = node.add(16 + 12 * half);
                let mut v = quad.transpose([v[4 * half], v[4 * half + 1], v[4 * half + 2], v[4 * half + 3]]);
                let w = f.vector(factors);
                f.up(&mut v, 0, 2, w);
                f.up(&mut v, 1, 3, w);
                f.up(&mut v, 0, 1, f.vector(factors.add(4)));
                f.up(&mut v, 2, 3, f.vector(factors.add(8)));
                let v = quad.transpose(v);
                for i in 0..4 {
                    let at = start + 16 * half + 4 * i;
                    quad.store(p.add(at), finish.words(f, v[i], at));
                }
            }
        }
    }
}

struct Inverse<'a, const ROOMY: bool> {
    plan: &'a RealPlan,
    from: *const u64,
    to: *mut u64,
    c: u64,
}

impl<const ROOMY: bool> QuadKernel for Inverse<'_, ROOMY> {
    #[inline(always)]
    fn run<Q: Quad>(self, quad: Q) {
        let Self { plan, from, to, c } = self;
        let m = &plan.modulus;
        let f = Field::new(quad, m.q);
        let (outer, inner) = split_passes(plan);
        let block = inner.first().map_or(plan.n(), |p| 1 << p.log_block);
        let end = [c, m.mul(c, plan.turn)].map(|w| f.twiddle(quad.fsplat(m.centre(w) as f64)));
        // SAFETY: both pointers are valid for the plan's degree, of which all blocks are parts.
        unsafe {
            for at in (0..plan.n()).step_by(block) {
                inverse_first::<Q, ROOMY>(f, plan, from, to, at, block);
                for &pass in inner.iter().rev() {
                    inverse_pass::<Q, ROOMY>(f, plan, pass, to, (at, block), None);
                }
            }
            for &pass in outer[1..].iter().rev() {
                inverse_pass::<Q, ROOMY>(f, plan, pass, to, (0, plan.n()), None);
            }
            inverse_pass::<Q, ROOMY>(f, plan, outer[0], to, (0, plan.n()), Some(end));
        }
    }
}

/// Undoes [`forward_last`] from one place to another.
///
/// # Safety
/// As [`forward_pass`] for both pointers.
#[inline(always)]
unsafe fn inverse_first<Q: Quad, const ROOMY: bool>(f: Field<Q>, plan: &RealPlan, from: *const u64, to: *mut u64, at: usize, len: usize) {
    let quad = f.quad;
    let blocks = plan.n() >> LOG_LAST;
    for start in (at..at + len).step_by(1 << LOG_LAST) {
        // SAFETY: the table has a node for each block of eight quads.
        unsafe {
            let node = plan.table.as_ptr().add(plan.last + (blocks - 1 - (start >> LOG_LAST)) * LAST_WORDS);
            for line in (0..LAST_WORDS).step_by(8) {
                quad.prefetch::<true>(node.wrapping_sub(TABLE_AHEAD).wrapping_add(line));
            }
            let mut all = [f.q; 8];
            for half in 0..2 {
                let factors = node.add(28 - 12 * half);
                let p = from.add(start + 16 * half);
                // Backwards, so that the words of a register are mirrored as the factors are.
                let mut v = [f.q; 4];
                for i in 0..4 {
                    v[i] = double(quad, quad.load(p.add(12 - 4 * i)));
                }
                let mut v = quad.transpose(v);
                f.down(&mut v, 0, 1, f.vector(factors.add(8)));
                f.down(&mut v, 2, 3, f.vector(factors.add(4)));
                let w = f.vector(factors);
                f.down(&mut v, 0, 2, w);
                f.down(&mut v, 1, 3, w);
                v[0] = f.reduce(v[0]);
                if !ROOMY {
                    v[1] = f.reduce(v[1]);
                }
                let v = quad.transpose(v);
                for i in 0..4 {
                    all[4 * half + i] = v[3 - i];
                }
            }
            f.inverse::<ROOMY, 8>(&mut all, node, None);
            for i in 0..8 {
                quad.store(to.add(start + 4 * i), all[i]);
            }
        }
    }
}

/// Undoes [`forward_pass`]; with `end` the results are scaled and residues.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn inverse_pass<Q: Quad, const ROOMY: bool>(
    f: Field<Q>,
    plan: &RealPlan,
    pass: Pass,
    p: *mut u64,
    range: (usize, usize),
    end: Option<[Twiddle<Q>; 2]>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if pass.log_radix == 3 {
            inverse_blocks::<Q, ROOMY, 8>(f, plan, pass, p, range, end);
        } else {
            inverse_blocks::<Q, ROOMY, 4>(f, plan, pass, p, range, end);
        }
    }
}

/// As [`inverse_pass`] for radix `R`.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn inverse_blocks<Q: Quad, const ROOMY: bool, const R: usize>(
    f: Field<Q>,
    plan: &RealPlan,
    pass: Pass,
    p: *mut u64,
    (at, len): (usize, usize),
    end: Option<[Twiddle<Q>; 2]>,
) {
    let block = 1usize << pass.log_block;
    let step = block / R;
    let blocks = plan.n() >> pass.log_block;
    for start in (at..at + len).step_by(block) {
        // SAFETY: the table has a node for each block; `R` rows of `step` words make a block.
        unsafe {
            let node = plan.table.as_ptr().add(pass.table + (blocks - 1 - (start >> pass.log_block)) * pass.node_words());
            for at in (start..start + step).step_by(4) {
                let mut v = [f.q; R];
                if pass.log_block > LOG_INNER && at.is_multiple_of(8) {
                    for i in 0..R {
                        f.quad.prefetch::<true>(p.wrapping_add(at + i * step + DATA_AHEAD));
                    }
                }
                for i in 0..R {
                    v[i] = f.quad.load(p.add(at + i * step));
                }
                f.inverse::<ROOMY, R>(&mut v, node, end);
                for i in 0..R {
                    let x = if end.is_some() { f.integer(v[i]) } else { v[i] };
                    f.quad.store(p.add(at + i * step), x);
                }
            }
        }
    }
}
