//! Parameters: an unchecked literal and the checked form.

use serde::{Deserialize, Serialize};

use crate::bootstrap::DENSE_TO_SPARSE;
use crate::chain::{Chain, LOG_N_RANGE, RingError};
use crate::gadget::Gadget;
use crate::keys::KeyTarget;
use crate::primes::{MAX_PRIME_BITS, is_prime, ntt_primes_below};
use crate::security::{self, SecurityError};

/// The longest modulus chain that is accepted, special primes included.
pub const MAX_PRIMES: usize = 256;

/// Unchecked parameters, as written in a file or by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CkksParamsLiteral {
    /// Binary logarithm of the ring degree.
    pub log_n: u32,
    /// The modulus chain, bottom prime first.
    pub q: Vec<u64>,
    /// The special primes, in the order in which gadgets take them.
    pub p: Vec<u64>,
    /// Accept parameters beyond the security bound. For tests only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_insecure: bool,
}

impl CkksParamsLiteral {
    /// A literal with distinct primes of the given sizes, each the largest below `2^bits` that is
    /// still free.
    ///
    /// # Errors
    /// [`ParamsError::NoPrime`] if a size has too few NTT-friendly primes.
    pub fn generate(log_n: u32, q_bits: &[u32], p_bits: &[u32]) -> Result<Self, ParamsError> {
        if !LOG_N_RANGE.contains(&log_n) {
            return Err(ParamsError::Degree(log_n));
        }
        let mut primes = Vec::with_capacity(q_bits.len() + p_bits.len());
        for &bits in q_bits.iter().chain(p_bits) {
            let next =
                ntt_primes_below(bits, log_n, 1, &primes).and_then(|v| v.first().copied()).ok_or(ParamsError::NoPrime { bits, log_n })?;
            primes.push(next);
        }
        let p = primes.split_off(q_bits.len());
        Ok(Self { log_n, q: primes, p, allow_insecure: false })
    }

    /// The same literal, accepted even if it is beyond the security bound. For tests only.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.allow_insecure = true;
        self
    }
}

/// Why parameters are refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParamsError {
    /// The ring degree is not supported.
    #[error("ring degree 2^{0} is not supported: log2 N must be in 4..=17")]
    Degree(u32),
    /// There is no Q prime.
    #[error("the modulus chain has no prime")]
    Empty,
    /// The chain is too long.
    #[error("a modulus chain of {0} primes; at most {MAX_PRIMES} are supported")]
    TooLong(usize),
    /// A number in the chain is too large.
    #[error("{0} has more than 50 bits")]
    TooLarge(u64),
    /// A number in the chain is not prime.
    #[error("{0} is not prime")]
    NotPrime(u64),
    /// A prime is not NTT friendly.
    #[error("the prime {q} is not NTT friendly: it is not 1 modulo 2N = 2^{}", log_n + 1)]
    NotFriendly {
        /// The prime.
        q: u64,
        /// Binary logarithm of the ring degree.
        log_n: u32,
    },
    /// A prime occurs twice.
    #[error("the prime {0} occurs twice")]
    Duplicate(u64),
    /// No prime of the wanted size is left.
    #[error("no NTT-friendly prime of {bits} bits is left for N = 2^{log_n}")]
    NoPrime {
        /// The size.
        bits: u32,
        /// Binary logarithm of the ring degree.
        log_n: u32,
    },
    /// The parameters do not have 128-bit security.
    #[error(transparent)]
    Insecure(#[from] SecurityError),
    /// The ring refuses the chain.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// Only one of the two keys of a sparse-secret encapsulation is asked for.
    #[error("the keys to and from a sparse secret must be made together")]
    Encapsulation,
    /// A key under the sparse secret that is not the one at the bottom of the chain.
    #[error("a key for {} limbs with {} special primes under a sparse secret; there is one, for 1 limb with 1", gadget.limbs, gadget.alpha)]
    SparseGadget {
        /// The gadget.
        gadget: Gadget,
    },
    /// Several keys under one sparse secret.
    #[error("{count} keys under one sparse secret; there must be one")]
    SparseKeys {
        /// How many.
        count: usize,
    },
    /// A gadget does not fit the chain.
    #[error(
        "a key for {} limbs with {} special primes does not fit a chain of {q_count} Q and {p_count} P primes",
        gadget.limbs, gadget.alpha
    )]
    Gadget {
        /// The gadget.
        gadget: Gadget,
        /// Number of Q primes.
        q_count: usize,
        /// Number of P primes.
        p_count: usize,
    },
}

/// Checked parameters.
///
/// **Invariants**: the degree is supported; all primes are distinct, below 2^50 and 1 modulo 2N;
/// there is a Q prime; and `log2 QP` is within the bound for 128-bit security unless
/// [`is_insecure`](Self::is_insecure).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CkksParamsLiteral", into = "CkksParamsLiteral")]
pub struct CkksParams {
    literal: CkksParamsLiteral,
}

impl TryFrom<CkksParamsLiteral> for CkksParams {
    type Error = ParamsError;

    fn try_from(literal: CkksParamsLiteral) -> Result<Self, ParamsError> {
        let log_n = literal.log_n;
        if !LOG_N_RANGE.contains(&log_n) {
            return Err(ParamsError::Degree(log_n));
        }
        if literal.q.is_empty() {
            return Err(ParamsError::Empty);
        }
        let chain: Vec<u64> = literal.q.iter().chain(&literal.p).copied().collect();
        if chain.len() > MAX_PRIMES {
            return Err(ParamsError::TooLong(chain.len()));
        }
        for (i, &q) in chain.iter().enumerate() {
            if q >> MAX_PRIME_BITS != 0 {
                return Err(ParamsError::TooLarge(q));
            }
            if !is_prime(q) {
                return Err(ParamsError::NotPrime(q));
            }
            if q % (2 << log_n) != 1 {
                return Err(ParamsError::NotFriendly { q, log_n });
            }
            if chain[..i].contains(&q) {
                return Err(ParamsError::Duplicate(q));
            }
        }
        let params = Self { literal };
        match security::check(log_n, params.log_qp()) {
            Err(e) if !params.literal.allow_insecure => Err(e.into()),
            _ => Ok(params),
        }
    }
}

impl From<CkksParams> for CkksParamsLiteral {
    fn from(params: CkksParams) -> Self {
        params.literal
    }
}

impl CkksParams {
    /// Binary logarithm of the ring degree.
    pub fn log_n(&self) -> u32 {
        self.literal.log_n
    }

    /// The ring degree N.
    pub fn n(&self) -> usize {
        1 << self.literal.log_n
    }

    /// The number of slots, `N/2`.
    pub fn slots(&self) -> usize {
        self.n() / 2
    }

    /// The modulus chain, bottom prime first.
    pub fn q(&self) -> &[u64] {
        &self.literal.q
    }

    /// The special primes.
    pub fn p(&self) -> &[u64] {
        &self.literal.p
    }

    /// Degree and primes.
    pub fn chain(&self) -> Chain {
        Chain { log_n: self.literal.log_n, q: self.literal.q.clone(), p: self.literal.p.clone() }
    }

    /// The literal form.
    pub fn literal(&self) -> &CkksParamsLiteral {
        &self.literal
    }

    /// `log2 QP`, special primes included.
    pub fn log_qp(&self) -> f64 {
        security::log2_product(self.literal.q.iter().chain(&self.literal.p))
    }

    /// Bits of security: 128 within the bound, 0 beyond it.
    pub fn security_bits(&self) -> u32 {
        security::security_bits(self.log_n(), self.log_qp())
    }

    /// Whether the parameters are beyond the bound. Keys and programs made with them must be
    /// marked.
    pub fn is_insecure(&self) -> bool {
        self.security_bits() < security::SECURITY_BITS
    }

    /// Refuses keys that tell more of a sparse ephemeral secret of Hamming weight `weight` than its
    /// bound allows, or that do not belong together. Under a sparse secret there may be a single
    /// key, at the bottom modulus: what decides its security is that modulus alone.
    ///
    /// # Errors
    /// [`ParamsError::Encapsulation`] if there are keys to a sparse secret and none back, or the
    /// other way round; [`ParamsError::SparseKeys`], [`ParamsError::SparseGadget`];
    /// [`ParamsError::Insecure`] for a weight and a modulus beyond the bound, unless the parameters
    /// are marked.
    pub fn check_sparse_keys(&self, targets: &[(KeyTarget, Gadget)], weight: usize) -> Result<(), ParamsError> {
        let to: Vec<Gadget> = targets.iter().filter(|(of, _)| *of == KeyTarget::DenseToSparse).map(|(_, g)| *g).collect();
        let back = targets.iter().any(|(of, _)| matches!(of, KeyTarget::SparseToDense(_)));
        if to.is_empty() == back {
            return Err(ParamsError::Encapsulation);
        }
        match to[..] {
            [] => return Ok(()),
            [gadget] if gadget != DENSE_TO_SPARSE => return Err(ParamsError::SparseGadget { gadget }),
            [_] => {}
            _ => return Err(ParamsError::SparseKeys { count: to.len() }),
        }
        let log_q = security::log2_product(
            self.literal.q.iter().take(DENSE_TO_SPARSE.limbs).chain(self.literal.p.iter().take(DENSE_TO_SPARSE.alpha)),
        );
        match security::check_sparse(self.log_n(), weight, log_q) {
            Err(e) if !self.literal.allow_insecure => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Refuses a gadget that does not fit the chain.
    ///
    /// # Errors
    /// [`ParamsError::Gadget`] unless `1 <= limbs <= #Q` and `1 <= alpha <= #P`.
    pub fn check_gadget(&self, gadget: Gadget) -> Result<(), ParamsError> {
        let (q_count, p_count) = (self.q().len(), self.p().len());
        if gadget.fits(q_count, p_count) { Ok(()) } else { Err(ParamsError::Gadget { gadget, q_count, p_count }) }
    }

    /// BLAKE3 digest of the degree and the chain: what keys and ciphertexts must agree on.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"chiffre ckks parameters 1");
        hasher.update(&self.literal.log_n.to_le_bytes());
        for primes in [&self.literal.q, &self.literal.p] {
            hasher.update(&(primes.len() as u64).to_le_bytes());
            for q in primes {
                hasher.update(&q.to_le_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal() -> CkksParamsLiteral {
        CkksParamsLiteral::generate(14, &[50, 50, 50, 40], &[50, 50]).expect("primes")
    }

    fn refuse(change: impl FnOnce(&mut CkksParamsLiteral)) -> String {
        let mut l = literal();
        change(&mut l);
        CkksParams::try_from(l).expect_err("must be refused").to_string()
    }

    #[test]
    fn secure_parameters_are_accepted() {
        let params = CkksParams::try_from(literal()).expect("valid");
        assert!((params.log_qp() - 290.0).abs() < 0.01);
        assert_eq!(params.security_bits(), 128);
        assert!(!params.is_insecure());
        assert_ne!(params.digest(), {
            let mut l = literal();
            l.q.swap(0, 1);
            CkksParams::try_from(l).expect("valid").digest()
        });
    }

    #[test]
    fn refusals_are_clear() {
        assert_eq!(refuse(|l| l.log_n = 20), "ring degree 2^20 is not supported: log2 N must be in 4..=17");
        assert_eq!(refuse(|l| l.q.clear()), "the modulus chain has no prime");
        assert_eq!(refuse(|l| l.q[1] = 1 << 50), "1125899906842624 has more than 50 bits");
        assert_eq!(refuse(|l| l.q[1] = 91), "91 is not prime");
        let q0 = literal().q[0];
        assert_eq!(refuse(|l| l.p[0] = q0), format!("the prime {q0} occurs twice"));
        assert_eq!(refuse(|l| l.q[0] = 97), "the prime 97 is not NTT friendly: it is not 1 modulo 2N = 2^15");
        assert!(refuse(|l| *l = CkksParamsLiteral::generate(12, &[50, 50], &[50]).expect("primes")).contains("128-bit"));
    }

    /// A key under the sparse secret at 865 bits of a ring of degree 2^15 would give the secret key
    /// away; at the bottom modulus there are 67.
    #[test]
    fn one_key_under_a_sparse_secret_at_the_bottom_modulus() {
        let literal = CkksParamsLiteral::generate(15, &[36; 17], &[31; 7]).expect("primes");
        let params = CkksParams::try_from(literal).expect("secure");
        let back = (KeyTarget::SparseToDense(crate::galois::Galois::IDENTITY), Gadget { limbs: 17, alpha: 2 });
        let to = |limbs, alpha| (KeyTarget::DenseToSparse, Gadget { limbs, alpha });
        assert_eq!(params.check_sparse_keys(&[to(1, 1), back], 32), Ok(()));
        assert_eq!(params.check_sparse_keys(&[(KeyTarget::Relinearization, Gadget { limbs: 17, alpha: 7 })], 0), Ok(()));
        for gadget in [(17, 7), (1, 2), (2, 1)] {
            let refused = params.check_sparse_keys(&[to(gadget.0, gadget.1), back], 32);
            assert!(matches!(refused, Err(ParamsError::SparseGadget { .. })), "{refused:?}");
        }
        let refused = params.check_sparse_keys(&[to(1, 1), to(1, 1), back], 32);
        assert_eq!(refused, Err(ParamsError::SparseKeys { count: 2 }));
        assert_eq!(params.check_sparse_keys(&[back], 32), Err(ParamsError::Encapsulation));
        assert_eq!(params.check_sparse_keys(&[to(1, 1)], 32), Err(ParamsError::Encapsulation));
        // The weight counts where keys are made, and so does the modulus.
        assert!(matches!(params.check_sparse_keys(&[to(1, 1), back], 31), Err(ParamsError::Insecure(SecurityError::NoSparseBound { .. }))));
    }

    #[test]
    fn insecure_parameters_need_the_mark_and_keep_it() {
        let l = CkksParamsLiteral::generate(10, &[50, 40], &[50]).expect("primes");
        assert!(CkksParams::try_from(l.clone()).is_err());
        let params = CkksParams::try_from(l.insecure()).expect("marked");
        assert!(params.is_insecure());
        assert_eq!(params.security_bits(), 0);
        assert!(params.check_gadget(Gadget { limbs: 2, alpha: 1 }).is_ok());
        assert!(params.check_gadget(Gadget { limbs: 3, alpha: 1 }).is_err());
        assert!(params.check_gadget(Gadget { limbs: 2, alpha: 2 }).is_err());
    }
}
