//! What passes may know of parameters.

use chiffre_params::bootstrap::{BootstrapSpec, BootstrapWish};
use chiffre_params::primes::ntt_primes_below;
use chiffre_params::security;
use chiffre_params::tfhe::{Demand, Found, Unreachable};

/// Limbs at which a bootstrap starts: the bottom prime and one prime for each factor of
/// SlotsToCoeffs.
pub const REFRESH_BASE: usize = 3;

/// Facts about the parameters of a target's scheme. Those of CKKS are [`CkksFacts`]; tests may have
/// other tables.
pub trait ParameterFacts: Sync {
    /// Largest log2 QP at 128-bit security for a ring of degree 2^log_n; `None` if the table has no
    /// such ring.
    fn max_log_qp(&self, log_n: u32) -> Option<f64>;
    /// `count` primes ≡ 1 mod 2N below 2^bits, largest first, none of them in `skip`.
    fn primes(&self, bits: u32, log_n: u32, count: usize, skip: &[u64]) -> Option<Vec<u64>>;
    /// The plan of a refresh for a run that refreshes so many ciphertexts, with the fewest limbs
    /// and special primes; `None` if there is none for this ring.
    fn bootstrap(&self, log_n: u32, ciphertexts: usize, wish: &BootstrapWish) -> Option<BootstrapSpec> {
        let _ = (log_n, ciphertexts, wish);
        None
    }
    /// The cheapest TFHE parameters that keep to a demand; `None` if there are none of that scheme.
    fn tfhe(&self, demand: &Demand) -> Option<Result<Found, Unreachable>> {
        let _ = demand;
        None
    }
}

/// The facts of RNS-CKKS.
#[derive(Clone, Copy, Debug, Default)]
pub struct CkksFacts;

impl ParameterFacts for CkksFacts {
    fn max_log_qp(&self, log_n: u32) -> Option<f64> {
        security::max_log_qp(log_n)
    }
    fn primes(&self, bits: u32, log_n: u32, count: usize, skip: &[u64]) -> Option<Vec<u64>> {
        ntt_primes_below(bits, log_n, count, skip)
    }
    fn bootstrap(&self, log_n: u32, ciphertexts: usize, wish: &BootstrapWish) -> Option<BootstrapSpec> {
        BootstrapSpec::for_wish(log_n, REFRESH_BASE, ciphertexts as f64, wish).ok()
    }
}

/// No parameters: for targets that have none, and for pipelines that choose none.
#[derive(Clone, Copy, Debug)]
pub struct NoFacts;

impl ParameterFacts for NoFacts {
    fn max_log_qp(&self, _: u32) -> Option<f64> {
        None
    }
    fn primes(&self, _: u32, _: u32, _: usize, _: &[u64]) -> Option<Vec<u64>> {
        None
    }
}
