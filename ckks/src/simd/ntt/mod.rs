//! The negacyclic number-theoretic transform on 52-bit products.
//!
//! The stages that combine words at least eight apart run two or three at a time over the vector
//! (four over blocks that stay in the first-level cache); the last six run together on eight
//! registers, transposed in the middle. The inverse is the mirror image.

mod butterfly;
mod plan;
pub mod real;

pub use plan::NttPlan;
pub use real::RealPlan;

use super::Isa;
use super::lanes::{Kernel, Lanes};
use butterfly::{Field, Twiddle};
use plan::{LAST_WORDS, LOG_LAST, Pass};

/// Blocks of this many words stay in the first-level cache.
const LOG_INNER: u32 = 11;
/// Distance in words from a load of data to the prefetch in the same row.
const DATA_AHEAD: usize = 64;
/// Distance in words from a load of factors of the last stage to their prefetch.
const TABLE_AHEAD: usize = 8 * LAST_WORDS;
/// Blocks of the last stage that run interleaved.
const TWIN: usize = 2;

/// Coefficients to evaluations, in place; residues in `[0, q)` on both sides.
pub fn forward(isa: Isa, plan: &NttPlan, limb: &mut [u64]) {
    run_forward(isa, plan, limb, Normalize);
}

/// `limb = (a - forward(limb)) w (+ addend)`: [`forward`], then
/// [`mod_down_tail`](super::mod_down_tail) while the words are in registers.
pub fn forward_mod_down(isa: Isa, plan: &NttPlan, limb: &mut [u64], a: &[u64], w: u64, addend: Option<&[u64]>) {
    assert!(a.len() == limb.len() && addend.is_none_or(|e| e.len() == limb.len()));
    let w = plan.modulus.mul(w, plan.modulus.r);
    run_forward(isa, plan, limb, ModDown { plan, a, w, addend });
}

fn run_forward(isa: Isa, plan: &NttPlan, limb: &mut [u64], finish: impl Finish) {
    assert_eq!(limb.len(), plan.n());
    if plan.is_roomy() {
        isa.run(Forward::<true, _> { plan, limb, finish });
    } else {
        isa.run(Forward::<false, _> { plan, limb, finish });
    }
}

/// Evaluations to coefficients times `N c`, in place; residues in `[0, q)` on both sides.
pub fn inverse(isa: Isa, plan: &NttPlan, limb: &mut [u64], c: u64) {
    assert_eq!(limb.len(), plan.n());
    let to = limb.as_mut_ptr();
    run_inverse(isa, plan, to, to, c);
}

/// As [`inverse`] from one limb to another.
pub fn inverse_into(isa: Isa, plan: &NttPlan, from: &[u64], to: &mut [u64], c: u64) {
    assert!(from.len() == plan.n() && to.len() == plan.n());
    run_inverse(isa, plan, from.as_ptr(), to.as_mut_ptr(), c);
}

/// `from` and `to` are equal or disjoint, and valid for the degree.
fn run_inverse(isa: Isa, plan: &NttPlan, from: *const u64, to: *mut u64, c: u64) {
    if plan.is_roomy() {
        isa.run(Inverse::<true> { plan, from, to, c });
    } else {
        isa.run(Inverse::<false> { plan, from, to, c });
    }
}

/// What happens to the words of the last pass before they are stored.
trait Finish: Copy {
    /// `v` is the transform in the range of [`Field::forward`] at words `at..at + 8`; returns
    /// residues in `[0, q)`.
    ///
    /// # Safety
    /// `at + 8` must not exceed the degree.
    unsafe fn words<L: Lanes, const ROOMY: bool>(self, f: Field<L>, v: L::V, at: usize) -> L::V;
}

#[derive(Clone, Copy)]
struct Normalize;

impl Finish for Normalize {
    #[inline(always)]
    unsafe fn words<L: Lanes, const ROOMY: bool>(self, f: Field<L>, v: L::V, _at: usize) -> L::V {
        f.normalize::<ROOMY>(f.halve::<ROOMY>(v))
    }
}

#[derive(Clone, Copy)]
struct ModDown<'a> {
    plan: &'a NttPlan,
    a: &'a [u64],
    /// In Montgomery form.
    w: u64,
    addend: Option<&'a [u64]>,
}

impl Finish for ModDown<'_> {
    #[inline(always)]
    unsafe fn words<L: Lanes, const ROOMY: bool>(self, f: Field<L>, v: L::V, at: usize) -> L::V {
        let l = f.lanes;
        let w = f.scalar(&self.plan.modulus, self.w);
        // SAFETY: all rows have the length of the limb.
        unsafe {
            let lifted = l.add(l.load(self.a.as_ptr().add(at)), if ROOMY { f.q4 } else { f.q2 });
            let p = f.product(f.q, l.sub(lifted, f.halve::<ROOMY>(v)), w); // (0, 2q)
            match self.addend {
                Some(e) => f.fold(f.fold(l.add(p, l.load(e.as_ptr().add(at))), f.q2), f.q),
                None => f.fold(p, f.q),
            }
        }
    }
}

struct Forward<'a, const ROOMY: bool, F> {
    plan: &'a NttPlan,
    limb: &'a mut [u64],
    finish: F,
}

impl<const ROOMY: bool, F: Finish> Kernel for Forward<'_, ROOMY, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { plan, limb, finish } = self;
        let f = Field::new(lanes, &plan.modulus);
        let (outer, inner) = split_passes(plan);
        let block = inner.first().map_or(plan.n(), |p| 1 << p.log_block);
        let p = limb.as_mut_ptr();
        // SAFETY: the limb has the plan's degree, of which all blocks are parts.
        unsafe {
            for &pass in outer {
                forward_pass::<L, ROOMY>(f, plan, pass, p, 0, plan.n());
            }
            for at in (0..plan.n()).step_by(block) {
                for &pass in inner {
                    forward_pass::<L, ROOMY>(f, plan, pass, p, at, block);
                }
                forward_last::<L, ROOMY, F>(f, plan, p, at, block, finish);
            }
        }
    }
}

/// The passes over the whole vector (at least one) and those within blocks.
#[inline(always)]
fn split_passes(plan: &NttPlan) -> (&[Pass], &[Pass]) {
    let outer = plan.passes.iter().take_while(|p| p.log_block > LOG_INNER).count();
    plan.passes.split_at(outer.max(1))
}

/// One pass over the blocks in words `at..at + len`.
///
/// # Safety
/// `p` must be valid for the plan's degree, and the words be whole blocks within it.
#[inline(always)]
unsafe fn forward_pass<L: Lanes, const ROOMY: bool>(f: Field<L>, plan: &NttPlan, pass: Pass, p: *mut u64, at: usize, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if pass.log_radix == 3 {
            forward_blocks::<L, ROOMY, 8>(f, plan, pass, p, at, len);
        } else {
            forward_blocks::<L, ROOMY, 4>(f, plan, pass, p, at, len);
        }
    }
}

/// As [`forward_pass`] for radix `R`.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn forward_blocks<L: Lanes, const ROOMY: bool, const R: usize>(
    f: Field<L>,
    plan: &NttPlan,
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
            let t = [f.pairs(node, R - 1)];
            for at in (start..start + step).step_by(8) {
                let mut v = [[f.zero; R]];
                if pass.log_block > LOG_INNER {
                    for i in 0..R {
                        f.lanes.prefetch::<true>(p.wrapping_add(at + i * step + DATA_AHEAD));
                    }
                }
                for i in 0..R {
                    v[0][i] = f.lanes.load(p.add(at + i * step));
                }
                f.forward::<ROOMY, R, 1>(&mut v, &t);
                for i in 0..R {
                    f.lanes.store(p.add(at + i * step), v[0][i]);
                }
            }
        }
    }
}

/// `psi^(N/2)` and `psi^(N/4)` in lanes.
#[inline(always)]
fn turns<L: Lanes>(f: Field<L>, plan: &NttPlan) -> [Twiddle<L>; 2] {
    [f.scalar(&plan.modulus, plan.turns[0]), f.scalar(&plan.modulus, plan.turns[1])]
}

/// The last six stages of the blocks in words `at..at + len`.
///
/// # Safety
/// As [`forward_pass`]; `len` must be a multiple of `TWIN` blocks.
#[inline(always)]
unsafe fn forward_last<L: Lanes, const ROOMY: bool, F: Finish>(f: Field<L>, plan: &NttPlan, p: *mut u64, at: usize, len: usize, finish: F) {
    let lanes = f.lanes;
    let turns = turns(f, plan);
    for start in (at..at + len).step_by(TWIN << LOG_LAST) {
        // SAFETY: the table has a node for each block of eight vectors.
        unsafe {
            let node = plan.table.as_ptr().add(plan.last + (start >> LOG_LAST) * LAST_WORDS);
            for line in (0..TWIN * LAST_WORDS).step_by(8) {
                lanes.prefetch::<true>(node.wrapping_add(TABLE_AHEAD + line));
            }
            let mut v = [[f.zero; 8]; TWIN];
            let mut t = [f.pairs(node, 7); TWIN];
            for b in 0..TWIN {
                t[b] = f.pairs(node.add(b * LAST_WORDS), 7);
                for i in 0..8 {
                    v[b][i] = lanes.load(p.add(start + 8 * (8 * b + i)));
                }
            }
            f.forward::<ROOMY, 8, TWIN>(&mut v, &t);
            for b in 0..TWIN {
                v[b] = lanes.transpose(v[b]);
                t[b] = f.vectors(node.add(b * LAST_WORDS + 16), turns);
            }
            f.forward::<ROOMY, 8, TWIN>(&mut v, &t);
            for b in 0..TWIN {
                let v = lanes.transpose(v[b]);
                for i in 0..8 {
                    let at = start + 8 * (8 * b + i);
                    lanes.store(p.add(at), finish.words::<L, ROOMY>(f, v[i], at));
                }
            }
        }
    }
}

struct Inverse<'a, const ROOMY: bool> {
    plan: &'a NttPlan,
    from: *const u64,
    to: *mut u64,
    c: u64,
}

impl<const ROOMY: bool> Kernel for Inverse<'_, ROOMY> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { plan, from, to, c } = self;
        let m = &plan.modulus;
        let f = Field::new(lanes, m);
        let (outer, inner) = split_passes(plan);
        let block = inner.first().map_or(plan.n(), |p| 1 << p.log_block);
        // SAFETY: both pointers are valid for the plan's degree, of which all blocks are parts.
        unsafe {
            for at in (0..plan.n()).step_by(block) {
                inverse_first::<L, ROOMY>(f, plan, from, to, at, block);
                for &pass in inner.iter().rev() {
                    inverse_pass::<L, ROOMY>(f, plan, pass, to, (at, block), None);
                }
            }
            for &pass in outer[1..].iter().rev() {
                inverse_pass::<L, ROOMY>(f, plan, pass, to, (0, plan.n()), None);
            }
            let end = End { sums: f.scalar(m, m.mul(c, m.r)), differences: f.scalar(m, m.mul(c, plan.turns[0])) };
            inverse_pass::<L, ROOMY>(f, plan, outer[0], to, (0, plan.n()), Some(end));
        }
    }
}

/// The factors of the outermost stage, with the constant that scales the result.
#[derive(Clone, Copy)]
struct End<L: Lanes> {
    sums: Twiddle<L>,
    differences: Twiddle<L>,
}

/// Undoes [`forward_last`] from one place to another.
///
/// # Safety
/// As [`forward_pass`] for both pointers.
#[inline(always)]
unsafe fn inverse_first<L: Lanes, const ROOMY: bool>(f: Field<L>, plan: &NttPlan, from: *const u64, to: *mut u64, at: usize, len: usize) {
    let lanes = f.lanes;
    let turns = turns(f, plan);
    let blocks = plan.n() >> LOG_LAST;
    for start in (at..at + len).step_by(1 << LOG_LAST) {
        // SAFETY: the table has a node for each block of eight vectors.
        unsafe {
            let node = plan.table.as_ptr().add(plan.last + (blocks - 1 - (start >> LOG_LAST)) * LAST_WORDS);
            for line in (0..LAST_WORDS).step_by(8) {
                lanes.prefetch::<true>(node.wrapping_sub(TABLE_AHEAD).wrapping_add(line));
            }
            let mut v = [f.zero; 8];
            // Backwards, so that the lanes are mirrored as the factors are.
            for i in 0..8 {
                v[7 - i] = lanes.load(from.add(start + 8 * i));
            }
            let mut v = lanes.transpose(v);
            f.inverse::<ROOMY, 8>(&mut v, &f.vectors(node.add(16), turns), None);
            let mut v = lanes.transpose(v);
            v.reverse();
            f.inverse::<ROOMY, 8>(&mut v, &f.pairs(node, 7), None);
            for i in 0..8 {
                lanes.store(to.add(start + 8 * i), v[i]);
            }
        }
    }
}

/// Undoes [`forward_pass`]; with `end` the results are scaled and in `[0, q)`.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn inverse_pass<L: Lanes, const ROOMY: bool>(
    f: Field<L>,
    plan: &NttPlan,
    pass: Pass,
    p: *mut u64,
    range: (usize, usize),
    end: Option<End<L>>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if pass.log_radix == 3 {
            inverse_blocks::<L, ROOMY, 8>(f, plan, pass, p, range, end);
        } else {
            inverse_blocks::<L, ROOMY, 4>(f, plan, pass, p, range, end);
        }
    }
}

/// As [`inverse_pass`] for radix `R`.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn inverse_blocks<L: Lanes, const ROOMY: bool, const R: usize>(
    f: Field<L>,
    plan: &NttPlan,
    pass: Pass,
    p: *mut u64,
    (at, len): (usize, usize),
    end: Option<End<L>>,
) {
    let block = 1usize << pass.log_block;
    let step = block / R;
    let blocks = plan.n() >> pass.log_block;
    for start in (at..at + len).step_by(block) {
        // SAFETY: the table has a node for each block; `R` rows of `step` words make a block.
        unsafe {
            let node = plan.table.as_ptr().add(pass.table + (blocks - 1 - (start >> pass.log_block)) * pass.node_words());
            let mut t = f.pairs(node, R - 1);
            let mut scale = None;
            if let Some(end) = end {
                t[0] = end.differences;
                scale = Some(end.sums);
            }
            for at in (start..start + step).step_by(8) {
                let mut v = [f.zero; R];
                for i in 0..R {
                    v[i] = f.lanes.load(p.add(at + i * step));
                }
                f.inverse::<ROOMY, R>(&mut v, &t, scale);
                for i in 0..R {
                    let x = if end.is_some() { f.fold(v[i], f.q) } else { v[i] };
                    f.lanes.store(p.add(at + i * step), x);
                }
            }
        }
    }
}
