//! What passes may know of parameters.

use chiffre_ir::program::{Bootstrap, KeyUse};

/// Facts about CKKS parameters, so that passes need no cryptography.
pub trait ParameterFacts: Sync {
    /// Largest log2 QP at 128-bit security for a ring of degree 2^log_n; `None` if the table has no such ring.
    fn max_log_qp(&self, log_n: usize) -> Option<f64>;
    /// `count` primes ≡ 1 mod 2N below 2^bits, largest first, none of them in `skip`.
    fn primes(&self, bits: u32, log_n: usize, count: usize, skip: &[u64]) -> Option<Vec<u64>>;
    /// A bootstrap that fulfils a wish, with key shapes (`[0, 0]`) and keys still open; `None` if there is none for this ring.
    fn bootstrap(&self, wish: &BootstrapWish) -> Option<Bootstrap> {
        let _ = wish;
        None
    }
    /// Predicted standard deviation of the error of the sine's argument, radians, for arguments up to `radians`, of a bootstrap on a chain `q` with
    /// special primes `p`.
    ///
    /// # Errors
    /// A bootstrap that contradicts itself or does not fit the chain.
    fn bootstrap_noise(&self, b: &Bootstrap, log_n: usize, q: &[u64], p: &[u64], radians: f64) -> Result<f64, String> {
        let _ = (log_n, q, p, radians);
        Ok(b.noise)
    }
    /// The keys of a bootstrap whose key shapes are chosen.
    fn bootstrap_keys(&self, b: &Bootstrap) -> Vec<(KeyUse, [usize; 2])> {
        let _ = b;
        vec![]
    }
}

/// No parameters: for targets that have none, and for pipelines that choose none.
#[derive(Clone, Copy, Debug)]
pub struct NoFacts;

impl ParameterFacts for NoFacts {
    fn max_log_qp(&self, _: usize) -> Option<f64> {
        None
    }
    fn primes(&self, _: u32, _: usize, _: usize, _: &[u64]) -> Option<Vec<u64>> {
        None
    }
}

/// What a program asks of its bootstraps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BootstrapWish {
    /// log2 of the ring degree.
    pub log_n: usize,
    /// Ciphertexts that are refreshed in a run.
    pub ciphertexts: usize,
    /// log2 of the largest probability that any of them fails.
    pub log2_failure: f64,
    /// Limbs of operands.
    pub base: usize,
}
