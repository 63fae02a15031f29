//! Degree and primes of a ring.

use crate::primes::{MAX_PRIME_BITS, is_prime};
use serde::{Deserialize, Serialize};

/// Supported ring degrees, as `log2 N`.
pub const LOG_N_RANGE: std::ops::RangeInclusive<u32> = 4..=17;

/// The smallest degree for which transform tables are made.
pub const MIN_TRANSFORM: usize = 16;

/// A ring's degree with its modulus chain and its special primes, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chain {
    /// Binary logarithm of the degree.
    pub log_n: u32,
    /// The Q primes, bottom prime first.
    pub q: Vec<u64>,
    /// The special primes, in the order in which gadgets take them.
    pub p: Vec<u64>,
}

/// Why there is no ring with such a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The degree is outside the supported range.
    #[error("ring degree 2^{0} is not supported: log2 N must be in 4..=17")]
    Degree(u32),
    /// A number in the chain is not an NTT-friendly prime.
    #[error("{q} is not a prime below 2^50 that is 1 modulo 2^{}", log_n + 1)]
    Prime {
        /// The number.
        q: u64,
        /// The base-2 logarithm of the degree.
        log_n: u32,
    },
    /// A prime occurs twice.
    #[error("prime {0} occurs twice in the modulus chain")]
    Repeated(u64),
    /// There is no Q prime.
    #[error("the modulus chain is empty")]
    Empty,
}

impl Chain {
    /// All primes: the Q primes, then the special primes.
    pub fn primes(&self) -> impl Iterator<Item = u64> + '_ {
        self.q.iter().chain(&self.p).copied()
    }

    /// Refuses numbers for which there is no ring.
    ///
    /// # Errors
    /// [`RingError`] with the first reason.
    pub fn check(&self) -> Result<(), RingError> {
        let log_n = self.log_n;
        if !LOG_N_RANGE.contains(&log_n) {
            return Err(RingError::Degree(log_n));
        }
        if self.q.is_empty() {
            return Err(RingError::Empty);
        }
        let all: Vec<u64> = self.primes().collect();
        for (i, &q) in all.iter().enumerate() {
            if q >> MAX_PRIME_BITS != 0 || !is_prime(q) || q % (2 << log_n) != 1 {
                return Err(RingError::Prime { q, log_n });
            }
            if all[..i].contains(&q) {
                return Err(RingError::Repeated(q));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primes::ntt_primes_below;

    #[test]
    fn refuses_bad_chains() {
        let primes = ntt_primes_below(40, 8, 2, &[]).unwrap();
        let check = |log_n, q: &[u64]| Chain { log_n, q: q.to_vec(), p: primes[1..].to_vec() }.check();
        assert_eq!(check(8, &primes[..1]), Ok(()));
        assert_eq!(check(3, &primes[..1]), Err(RingError::Degree(3)));
        assert_eq!(check(8, &[]), Err(RingError::Empty));
        assert_eq!(check(8, &primes), Err(RingError::Repeated(primes[1])));
        assert!(matches!(check(8, &[primes[0] + 2]), Err(RingError::Prime { .. })));
    }
}
