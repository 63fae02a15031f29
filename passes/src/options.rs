//! What the caller asks of a compilation, and what this crate must be told about parameters.

/// Facts about CKKS parameters, given by the crate that owns them, so that passes need no cryptography.
pub trait ParameterFacts: Sync {
    /// Largest log2 QP at 128-bit security for a ring of degree 2^log_n; `None` if the table has no such ring.
    fn max_log_qp(&self, log_n: usize) -> Option<f64>;
    /// `count` primes ≡ 1 mod 2N below 2^bits, largest first, none of them in `skip`.
    fn primes(&self, bits: u32, log_n: usize, count: usize, skip: &[u64]) -> Option<Vec<u64>>;
}

/// Parts of a packing that the caller fixes instead of leaving them to the search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackingWish {
    /// Low bits of rows and columns that select the ciphertext.
    pub phases: Option<[usize; 2]>,
    /// Channel bits in the slots.
    pub channels: Option<usize>,
    /// Channel bits in gaps.
    pub fill: Option<usize>,
    /// Images that pass an instruction together.
    pub tile: Option<usize>,
}

/// Options of a compilation.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Images per run of the program.
    pub batch: usize,
    /// log2 of the ring degree; chosen if absent.
    pub log_n: Option<usize>,
    /// Parts of the packing that are not left to the search.
    pub packing: PackingWish,
    /// Memory that `run` may use, bytes.
    pub memory: Option<usize>,
    /// Allow rings outside the security table (tests only); such programs are marked.
    pub allow_insecure: bool,
    /// log2 of the scale of a value after rescaling.
    pub log_scale: i32,
    /// Size of the chain's primes, bits.
    pub prime_bits: u32,
    /// Size of the special primes, bits. A bit more than the chain's keeps the noise of key switching below that of rescaling.
    pub special_bits: u32,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions {
            batch: 64,
            log_n: None,
            packing: PackingWish::default(),
            memory: None,
            allow_insecure: false,
            log_scale: 27,
            prime_bits: 49,
            special_bits: 50,
        }
    }
}
