//! Twiddle factors as doubles in the order in which the passes read them, and the ranges of words.

use crate::arithmetic::Modulus;
use crate::simd::{Buffer, Isa};

/// Binary logarithm of the words of one block of the last pass: eight quads.
pub(super) const LOG_LAST: u32 = 5;
/// Table words of one block of the last pass: seven pairs, two words of padding, and three quads of
/// factors for each half of the block.
pub(super) const LAST_WORDS: usize = 16 + 2 * 12;
/// Stages of the last pass.
const LAST_STAGES: u32 = 5;

/// A pass over blocks of `2^log_block` words: `log_radix` (2 or 3) stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub log_radix: u32,
    pub log_block: u32,
    /// Where its factors start in the table.
    pub table: usize,
    /// Whether forward words that are added to are reduced first.
    pub reduce: bool,
}

impl Pass {
    /// Table words of one block: a pair for each factor, padded.
    pub fn node_words(self) -> usize {
        2 << self.log_radix
    }
}

/// The negacyclic transform of one prime and one degree in double precision.
///
/// At the stage with `m` blocks, block `i` has the factor `w(m + i) = psi^bitrev(m + i)` (bits
/// reversed within `log2 N`; Seiler 2018, section 2.3), kept as the double in `(-q/2, q/2)`, in
/// scalar passes paired with its quotient by `q`. The inverse needs no table of its own:
/// `w(m + i)^-1 = -w(m + (m - 1 - i))`.
pub struct RealPlan {
    pub(super) modulus: Modulus,
    log_n: u32,
    pub(super) passes: Vec<Pass>,
    pub(super) table: Buffer,
    /// Where the last pass starts in the table.
    pub(super) last: usize,
    /// As [`Pass::reduce`] for the last pass.
    pub(super) reduce_last: bool,
    /// `psi^(N/2)`.
    pub(super) turn: u64,
}

impl std::fmt::Debug for RealPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealPlan").field("q", &self.modulus.q).field("log_n", &self.log_n).finish_non_exhaustive()
    }
}

impl RealPlan {
    /// Smallest degree.
    pub const MIN_N: usize = 128;

    /// Whether the transform of degree `n` is fast with this instruction set.
    pub fn suits(isa: Isa, n: usize) -> bool {
        isa.has_doubles() && n >= Self::MIN_N
    }

    /// Tables for degree `n`, a power of two of at least [`Self::MIN_N`], and the primitive `2n`-th
    /// root of unity `psi`.
    pub fn new(n: usize, m: &Modulus, psi: u64) -> Self {
        assert!(n.is_power_of_two() && n >= Self::MIN_N);
        let log_n = n.ilog2();
        let turn = m.pow(psi, n as u64 / 2);
        let factors = factors(log_n, m, psi);
        let mut table = vec![];
        let mut passes = vec![];
        let mut log_block = log_n;
        while log_block > LOG_LAST {
            let log_radix = if matches!(log_block - LOG_LAST, 2 | 4) { 2 } else { 3 };
            passes.push(Pass { log_radix, log_block, table: table.len(), reduce: false });
            for node in n >> log_block..2 * (n >> log_block) {
                push_node(&mut table, &factors, m.q, node, log_radix);
            }
            log_block -= log_radix;
        }
        let last = table.len();
        for node in n >> LOG_LAST..2 * (n >> LOG_LAST) {
            push_node(&mut table, &factors, m.q, node, 3);
            for half in 2 * node..2 * node + 2 {
                table.extend_from_slice(&factors[4 * half..4 * half + 4]);
                for odd in 0..2 {
                    table.extend((0..4).map(|i| factors[8 * half + 2 * i + odd]));
                }
            }
        }
        let reduce_last = plan_reductions(m.q, &mut passes);
        let mut buffer = Buffer::unspecified(table.len());
        buffer.iter_mut().zip(&table).for_each(|(to, w)| *to = w.to_bits());
        Self { modulus: *m, log_n, passes, table: buffer, last, reduce_last, turn }
    }

    /// The degree.
    pub fn n(&self) -> usize {
        1 << self.log_n
    }

    /// Whether words of the inverse may be as large as `16 q`.
    pub(super) fn is_roomy(&self) -> bool {
        self.modulus.q < 1 << 48
    }
}

/// `w(1..n)` at their indices, centred.
fn factors(log_n: u32, m: &Modulus, psi: u64) -> Vec<f64> {
    let mut factors = vec![0.0; 1 << log_n];
    let step = m.mul(psi, m.r);
    let mut power = 1;
    for i in 0..factors.len() {
        factors[i.reverse_bits() >> (usize::BITS - log_n)] = m.centre(power) as f64;
        power = m.redc(power as u128 * step as u128);
    }
    factors
}

/// Appends the factors of a block stage by stage, each with its quotient, and a pair of padding.
fn push_node(table: &mut Vec<f64>, factors: &[f64], q: u64, node: usize, log_radix: u32) {
    for stage in 0..log_radix {
        let factors = &factors[node << stage..(node + 1) << stage];
        table.extend(factors.iter().flat_map(|&w| [w, w / q as f64]));
    }
    table.extend([0.0, 0.0]);
}

/// What a forward stage makes of words of magnitude up to `x q`, as a multiple of `q`: the product
/// `y w` with `|w| <= q / 2` has a quotient of magnitude up to `x q / 2`, which the two roundings
/// of `w / q` leave within `1/2 + x q 2^-53` of its integer (and a little for terms of higher
/// order).
pub(super) fn growth(q: u64, x: f64) -> f64 {
    x + 0.5 + x * q as f64 / 2f64.powi(53) * 1.001
}

/// Magnitudes up to which words may be multiplied, as a multiple of `q`: the quotient must be at
/// most 2^51. They are then exact, and so is their sum or difference with a product.
fn limit(q: u64) -> f64 {
    2f64.powi(52) / q as f64
}

/// The magnitude behind `stages` stages; `None` if it is beyond the limit on the way. With `reduce`
/// the words that the first stage adds to are reduced before.
fn after(q: u64, x: f64, stages: u32, reduce: bool) -> Option<f64> {
    let mut bound = x;
    for stage in 0..stages {
        if bound > limit(q) {
            return None;
        }
        bound = growth(q, bound) - if reduce && stage == 0 { bound - 0.51 } else { 0.0 };
    }
    Some(bound)
}

/// Sets which passes reduce, starting from residues in `[0, q)`; returns whether the last one does.
fn plan_reductions(q: u64, passes: &mut [Pass]) -> bool {
    let mut bound = 1.0;
    for pass in passes {
        let lazy = after(q, bound, pass.log_radix, false).filter(|b| *b <= limit(q));
        pass.reduce = lazy.is_none();
        let reduced = || after(q, bound, pass.log_radix, true).expect("three stages stay below the limit");
        bound = lazy.unwrap_or_else(reduced);
    }
    let reduce = after(q, bound, LAST_STAGES, false).is_none();
    assert!(!reduce || after(q, bound, LAST_STAGES, true).is_some(), "five stages stay below the limit");
    reduce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_primes_need_no_reductions_and_the_longest_few() {
        let passes = || [3, 3, 3, 3].map(|log_radix| Pass { log_radix, log_block: 0, table: 0, reduce: false });
        let reductions = |q: u64| {
            let mut passes = passes();
            let last = plan_reductions(q, &mut passes);
            passes.iter().filter(|p| p.reduce).count() + usize::from(last)
        };
        assert_eq!(reductions((1 << 48) - 1), 0);
        assert!((1..=2).contains(&reductions((1 << 49) - 1)));
        assert!((3..=4).contains(&reductions((1 << 50) - 1)));
    }
}
