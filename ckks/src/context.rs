//! Everything that depends on the parameters alone: the ring with its tables, and the encoder.

use num_complex::Complex64;

use crate::encode::{EncodeError, Encoder};
use crate::params::{CkksParams, ParamsError};
use crate::plaintext::Plaintext;
use crate::ring::Ring;
use crate::scale::Scale;

/// Parameters with their tables. Built once and shared by reference.
#[derive(Debug)]
pub struct Context {
    params: CkksParams,
    ring: Ring,
    encoder: Encoder,
}

impl Context {
    /// The tables of `params`.
    ///
    /// # Errors
    /// None for parameters that passed their checks, except where the transform library refuses a
    /// prime.
    pub fn new(params: CkksParams) -> Result<Self, ParamsError> {
        let ring = Ring::new(params.log_n(), params.q(), params.p())?;
        let encoder = Encoder::new(params.log_n());
        Ok(Self { params, ring, encoder })
    }

    /// The parameters.
    pub fn params(&self) -> &CkksParams {
        &self.params
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Number of slots, `N/2`.
    pub fn slots(&self) -> usize {
        self.params.slots()
    }

    /// Length of the modulus chain without special primes.
    pub fn max_limbs(&self) -> usize {
        self.params.q().len()
    }

    /// [`Encoder::encode`] in this context's ring.
    ///
    /// # Errors
    /// Any [`EncodeError`].
    pub fn encode(&self, values: &[Complex64], scale: &Scale, limbs: usize) -> Result<Plaintext, EncodeError> {
        self.encoder.encode(&self.ring, values, scale, limbs)
    }

    /// [`Encoder::encode_real`] in this context's ring.
    ///
    /// # Errors
    /// Any [`EncodeError`].
    pub fn encode_real(&self, values: &[f64], scale: &Scale, limbs: usize) -> Result<Plaintext, EncodeError> {
        self.encoder.encode_real(&self.ring, values, scale, limbs)
    }

    /// [`Encoder::decode`] in this context's ring.
    pub fn decode(&self, plaintext: &Plaintext) -> Vec<Complex64> {
        self.encoder.decode(&self.ring, plaintext)
    }
}
