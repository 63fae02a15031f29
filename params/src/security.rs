//! Parameter bounds for 128-bit security.
//!
//! The bounds are the table for uniform ternary secrets, σ = 3.2, 128-bit classical security, of
//! Bossuat et al., "Security Guidelines for Implementing Homomorphic Encryption" (IACR ePrint
//! 2024/463): for each ring degree the largest `log2 QP`, taken over the whole modulus, special
//! primes included.

/// The security level that the bounds are for, in bits.
pub const SECURITY_BITS: u32 = 128;

/// `(log2 N, largest log2 QP)`.
const MAX_LOG_QP: [(u32, f64); 8] =
    [(10, 26.0), (11, 53.0), (12, 106.0), (13, 214.0), (14, 430.0), (15, 868.0), (16, 1747.0), (17, 3523.0)];

/// The largest `log2 QP` at 128-bit security for the ring of degree `2^log_n`, or `None` outside
/// the table.
pub fn max_log_qp(log_n: u32) -> Option<f64> {
    MAX_LOG_QP.iter().find(|(l, _)| *l == log_n).map(|&(_, bound)| bound)
}

/// The smallest `log2 N` at which a modulus of `log_qp` bits has 128-bit security, or `None` if no
/// ring of the table is large enough.
pub fn min_log_n(log_qp: f64) -> Option<u32> {
    MAX_LOG_QP.iter().find(|(_, bound)| log_qp <= *bound).map(|&(log_n, _)| log_n)
}

/// 128 within the table, 0 otherwise: nothing is claimed about parameters beyond the bound.
pub fn security_bits(log_n: u32, log_qp: f64) -> u32 {
    match max_log_qp(log_n) {
        Some(bound) if log_qp <= bound => SECURITY_BITS,
        _ => 0,
    }
}

/// `(log2 N, largest log2 of the modulus)` of ciphertexts under an ephemeral ternary secret of
/// Hamming weight 32 or more: the moduli for which Bossuat, Troncoso-Pastoriza and Hubaux (IACR
/// ePrint 2022/024) state 128 bits or more.
const MAX_LOG_Q_SPARSE: [(u32, f64); 2] = [(15, 111.0), (16, 121.0)];
/// The smallest Hamming weight for which a bound is known.
pub const MIN_SPARSE_WEIGHT: usize = 32;

/// The largest `log2` of the modulus of ciphertexts under an ephemeral secret of Hamming weight
/// `weight` at 128-bit security, or `None` if no bound is known.
pub fn max_log_q_sparse(log_n: u32, weight: usize) -> Option<f64> {
    MAX_LOG_Q_SPARSE.iter().find(|(l, _)| *l == log_n && weight >= MIN_SPARSE_WEIGHT).map(|&(_, bound)| bound)
}

/// Refuses ephemeral secrets beyond the bound: `log_q` is the modulus of the key from the dense
/// secret to the sparse one, special prime included.
///
/// # Errors
/// [`SecurityError`] says which bound is exceeded, or that there is none.
pub fn check_sparse(log_n: u32, weight: usize, log_q: f64) -> Result<(), SecurityError> {
    match max_log_q_sparse(log_n, weight) {
        None => Err(SecurityError::NoSparseBound { log_n, weight }),
        Some(bound) if log_q > bound => Err(SecurityError::SparseModulusTooLarge { log_n, weight, log_q, bound }),
        Some(_) => Ok(()),
    }
}

/// `log2` of the product of `moduli`.
///
/// Summed over the primes themselves rather than their bit sizes; the rounding error stays below
/// `2^-40` bits for hundreds of primes.
pub fn log2_product<'a>(moduli: impl IntoIterator<Item = &'a u64>) -> f64 {
    moduli.into_iter().map(|&q| (q as f64).log2()).sum()
}

/// The parameters are beyond the bound for 128-bit security.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SecurityError {
    /// The modulus is too large for the ring.
    #[error(
        "log2 QP = {log_qp:.2} exceeds {bound} bits, the bound for 128-bit security at N = 2^{log_n}{}",
        suggestion(*log_qp)
    )]
    ModulusTooLarge {
        /// Binary logarithm of the ring degree.
        log_n: u32,
        /// Binary logarithm of the modulus, special primes included.
        log_qp: f64,
        /// The bound.
        bound: f64,
    },
    /// The table has no entry for the ring.
    #[error("no security bound is known for N = 2^{log_n}; rings from 2^10 to 2^17 have one")]
    NoBound {
        /// Binary logarithm of the ring degree.
        log_n: u32,
    },
    /// The modulus under the ephemeral secret is too large.
    #[error("{log_q:.2} bits under an ephemeral secret of weight {weight} exceed {bound}, the bound for 128-bit security at N = 2^{log_n}")]
    SparseModulusTooLarge {
        /// Binary logarithm of the ring degree.
        log_n: u32,
        /// Hamming weight of the secret.
        weight: usize,
        /// Binary logarithm of the modulus, special prime included.
        log_q: f64,
        /// The bound.
        bound: f64,
    },
    /// No bound for the ephemeral secret.
    #[error(
        "no security bound is known for an ephemeral secret of weight {weight} at N = 2^{log_n}; weights from {MIN_SPARSE_WEIGHT} at 2^15 and 2^16 have one"
    )]
    NoSparseBound {
        /// Binary logarithm of the ring degree.
        log_n: u32,
        /// Hamming weight of the secret.
        weight: usize,
    },
}

fn suggestion(log_qp: f64) -> String {
    match min_log_n(log_qp) {
        Some(log_n) => format!("; use N = 2^{log_n} or a smaller modulus"),
        None => "; use a smaller modulus".to_owned(),
    }
}

/// Refuses parameters beyond the bound.
///
/// # Errors
/// [`SecurityError`] says which bound is exceeded, or that there is none.
pub fn check(log_n: u32, log_qp: f64) -> Result<(), SecurityError> {
    match max_log_qp(log_n) {
        None => Err(SecurityError::NoBound { log_n }),
        Some(bound) if log_qp > bound => Err(SecurityError::ModulusTooLarge { log_n, log_qp, bound }),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_grow_with_the_ring() {
        for (i, &(log_n, bound)) in MAX_LOG_QP.iter().enumerate() {
            assert_eq!(security_bits(log_n, bound), 128);
            assert_eq!(security_bits(log_n, bound + 0.01), 0);
            assert_eq!(min_log_n(bound), Some(log_n));
            assert!(i == 0 || MAX_LOG_QP[i - 1].1 < bound);
        }
        assert_eq!(security_bits(9, 10.0), 0);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let error = check(15, 1000.0).map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("log2 QP = 1000.00 exceeds 868 bits, the bound for 128-bit security at N = 2^15; use N = 2^16 or a smaller modulus"
                .to_owned())
        );
        assert!(check(9, 10.0).is_err());
        assert!(check(16, 1747.0).is_ok());
    }

    #[test]
    fn sparse_secrets_have_bounds_of_their_own() {
        assert!(check_sparse(15, 32, 67.0).is_ok());
        assert!(check_sparse(16, 64, 121.0).is_ok());
        assert!(check_sparse(15, 32, 111.5).unwrap_err().to_string().contains("exceed 111"));
        for (log_n, weight) in [(15, 31), (14, 32), (17, 32)] {
            assert!(matches!(check_sparse(log_n, weight, 60.0), Err(SecurityError::NoSparseBound { .. })));
        }
    }
}
