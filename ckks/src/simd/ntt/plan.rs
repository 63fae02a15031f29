//! Twiddle factors in the order in which the passes read them.

use crate::arithmetic::Modulus;
use crate::simd::lanes::MASK52;
use crate::simd::{Buffer, Isa};

/// Binary logarithm of the words of one block of the last stage: eight vectors.
pub(super) const LOG_LAST: u32 = 6;
/// Table words of one block of the last stage: seven pairs, two words of padding, three vectors.
pub(super) const LAST_WORDS: usize = 16 + 3 * 8;

/// A pass over blocks of `2^log_block` words: `log_radix` (2 or 3) stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub log_radix: u32,
    pub log_block: u32,
    /// Where its factors start in the table.
    pub table: usize,
}

impl Pass {
    /// Table words of one block: a pair for each butterfly of distinct factor, padded to whole
    /// vectors.
    pub fn node_words(self) -> usize {
        2 << self.log_radix
    }
}

/// The negacyclic transform of one prime and one degree, for [`forward`](super::forward) and
/// [`inverse_into`](super::inverse_into).
///
/// At the stage with `m` blocks, block `i` has the factor `w(m + i) = psi^bitrev(m + i)` (bits
/// reversed within `log2 N`; Seiler 2018, section 2.3), kept in Montgomery form: `w R mod q`, in
/// scalar passes paired with `w R q^-1 mod 2^52`. Of the last three stages, where factors outweigh
/// data, only `w(8m + i)`, `w(16m + 2i)` and `w(32m + 4i)` are kept; the others are these times
/// powers of `psi^(N/4)`. The inverse needs no table of its own:
/// `w(m + i)^-1 = -w(m + (m - 1 - i))`.
pub struct NttPlan {
    pub(super) modulus: Modulus,
    pub(super) log_n: u32,
    pub(super) passes: Vec<Pass>,
    pub(super) table: Buffer,
    /// Where the last stage starts in the table.
    pub(super) last: usize,
    /// `psi^(N/2)` and `psi^(N/4)` in Montgomery form.
    pub(super) turns: [u64; 2],
}

impl std::fmt::Debug for NttPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NttPlan").field("q", &self.modulus.q).field("log_n", &self.log_n).finish_non_exhaustive()
    }
}

impl NttPlan {
    /// Smallest degree.
    pub const MIN_N: usize = 256;

    /// Whether the transform of degree `n` is fast with this instruction set.
    pub fn suits(isa: Isa, n: usize) -> bool {
        isa.is_wide() && n >= Self::MIN_N
    }

    /// Tables for degree `n`, a power of two of at least [`Self::MIN_N`], and the primitive `2n`-th
    /// root of unity `psi`.
    pub fn new(n: usize, m: &Modulus, psi: u64) -> Self {
        assert!(n.is_power_of_two() && n >= Self::MIN_N);
        let log_n = n.ilog2();
        let factors = factors(log_n, m, psi);
        let mut table = vec![];
        let mut passes = vec![];
        let mut log_block = log_n;
        while log_block > LOG_LAST {
            let log_radix = if matches!(log_block - LOG_LAST, 2 | 4) { 2 } else { 3 };
            let pass = Pass { log_radix, log_block, table: table.len() };
            push_nodes(&mut table, &factors, m, pass);
            passes.push(pass);
            log_block -= log_radix;
        }
        let last = table.len();
        let scalars = Pass { log_radix: 3, log_block: LOG_LAST, table: 0 };
        let mut pairs = vec![];
        push_nodes(&mut pairs, &factors, m, scalars);
        for (node, pairs) in (n >> LOG_LAST..).zip(pairs.chunks_exact(scalars.node_words())) {
            table.extend_from_slice(pairs);
            for stage in 0..3 {
                table.extend((8 * node..8 * node + 8).map(|i| factors[i << stage]));
            }
        }
        let mut buffer = Buffer::unspecified(table.len());
        buffer[..table.len()].copy_from_slice(&table);
        Self { modulus: *m, log_n, passes, table: buffer, last, turns: [factors[1], factors[2]] }
    }

    /// The degree.
    pub fn n(&self) -> usize {
        1 << self.log_n
    }

    /// Whether words below `8 q` are exact factors of 52-bit products.
    pub(super) fn is_roomy(&self) -> bool {
        self.modulus.q < 1 << 49
    }
}

/// `w(1..n)` in Montgomery form, at their indices.
fn factors(log_n: u32, m: &Modulus, psi: u64) -> Vec<u64> {
    let mut factors = vec![0; 1 << log_n];
    let step = m.mul(psi, m.r);
    let mut power = m.r;
    for i in 0..factors.len() {
        factors[i.reverse_bits() >> (usize::BITS - log_n)] = power;
        power = m.redc(power as u128 * step as u128);
    }
    factors
}

/// Appends the factors of a pass, block by block and in each block stage by stage.
fn push_nodes(table: &mut Vec<u64>, factors: &[u64], m: &Modulus, pass: Pass) {
    let blocks = factors.len() >> pass.log_block;
    for node in blocks..2 * blocks {
        for stage in 0..pass.log_radix {
            let factors = &factors[node << stage..(node + 1) << stage];
            table.extend(factors.iter().flat_map(|&w| [w, w.wrapping_mul(m.qinv) & MASK52]));
        }
        table.extend([0, 0]);
    }
}
