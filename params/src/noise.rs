//! Noise estimates: predicted precision, in bits, of what a computation decrypts to.
//!
//! Errors are measured in the canonical embedding, as the root mean square over slots of the
//! complex error. A polynomial with independent coefficients of variance V has slots of mean square
//! N·V. Independent errors add in the mean square; slot products multiply exactly. Under uniform
//! ternary secrets, s has slots of mean square h = 2N/3.
//!
//! Sources: Costache, Curtis, Hales, Murphy, Ogilvie and Player, "On the Precision Loss in
//! Approximate Homomorphic Encryption" (SAC 2023) for the canonical-embedding heuristics; the
//! key-switch term follows the `ModUp` of the library that runs programs.

use crate::chain::Chain;
use crate::gadget::Gadget;

/// Standard deviation of the discrete Gaussian errors of encryptions and keys.
pub const SIGMA: f64 = 3.2;

/// Message and error of a value, in slot units (already divided by the scale): root mean squares
/// over slots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Root mean square of the message.
    pub message: f64,
    /// Root mean square of the error.
    pub error: f64,
}

impl Estimate {
    /// Bits of absolute precision: `-log2(error)`.
    pub fn bits(&self) -> f64 {
        -self.error.log2()
    }

    /// The sum of two independent values.
    #[must_use]
    pub fn sum(self, other: Self) -> Self {
        Self { message: self.message.hypot(other.message), error: self.error.hypot(other.error) }
    }

    /// The slot product of two independent values.
    #[must_use]
    pub fn product(self, other: Self) -> Self {
        Self {
            message: self.message * other.message,
            error: (self.message * other.error).hypot(other.message * self.error).hypot(self.error * other.error),
        }
    }

    /// The slot square; `fourth` is the root mean square of the squared message (at least
    /// `message²`).
    #[must_use]
    pub fn square(self, fourth: f64) -> Self {
        Self { message: fourth, error: (2.0 * self.message * self.error).hypot(self.error * self.error * 2f64.sqrt()) }
    }

    /// The product with an exactly known number.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self { message: self.message * factor.abs(), error: self.error * factor.abs() }
    }

    /// With one more independent error.
    #[must_use]
    pub fn with_error(self, error: f64) -> Self {
        Self { error: self.error.hypot(error), ..self }
    }
}

/// The noise of single operations in one ring. All results are root mean squares over slots of the
/// error of the *integer* polynomial; divide by the scale for slot units.
#[derive(Debug, Clone)]
pub struct NoiseModel {
    n: f64,
    /// log2 of the Q primes and of the P primes.
    q_bits: Vec<f64>,
    p_bits: Vec<f64>,
}

impl NoiseModel {
    /// The model of a ring with uniform ternary secrets.
    pub fn new(chain: &Chain) -> Self {
        let bits = |primes: &[u64]| primes.iter().map(|&q| (q as f64).log2()).collect();
        Self { n: (1u64 << chain.log_n) as f64, q_bits: bits(&chain.q), p_bits: bits(&chain.p) }
    }

    /// Expected mean square of the secret's slots, 2N/3.
    fn secret(&self) -> f64 {
        2.0 * self.n / 3.0
    }

    /// Fresh encryption under the secret key.
    pub fn fresh_secret_key(&self) -> f64 {
        self.n.sqrt() * SIGMA
    }

    /// Fresh encryption under the public key: e·v + e0 + e1·s with ternary v.
    pub fn fresh_public_key(&self) -> f64 {
        (self.n * (2.0 * self.secret() + 1.0)).sqrt() * SIGMA
    }

    /// Rounding the 2g coefficients of an encoded vector of period g.
    pub fn encoding(&self, period: usize) -> f64 {
        (2.0 * period as f64 / 12.0).sqrt()
    }

    /// Rounding both polynomials in a division (rescale or `ModDown`): `sqrt(N/12·(1 + 2N/3))`.
    pub fn rounding(&self) -> f64 {
        (self.n / 12.0 * (1.0 + self.secret())).sqrt()
    }

    /// Rounding three polynomials (rescale before relinearisation): the slots of s² have mean
    /// square 2·(2N/3)².
    pub fn rounding_degree_2(&self) -> f64 {
        let h = self.secret();
        (self.n / 12.0 * (1.0 + h + 2.0 * h * h)).sqrt()
    }

    /// The keys' noise in a key switch at `limbs` limbs, after division by P and without the
    /// rounding of that division.
    ///
    /// A digit with product D has coefficients of variance D²/12, each multiplied by a noise
    /// polynomial of the key.
    pub fn key_switch(&self, gadget: Gadget, limbs: usize) -> f64 {
        let p: f64 = self.p_bits[..gadget.alpha].iter().sum();
        let variance: f64 = (0..gadget.digits_at(limbs))
            .map(|d| self.q_bits[gadget.digit(d, limbs)].iter().sum::<f64>())
            .map(|d| (2.0 * (d - p)).exp2() / 12.0)
            .sum();
        self.n * variance.sqrt() * SIGMA
    }

    /// A whole rotation, conjugation or relinearisation: [`key_switch`](Self::key_switch) and
    /// [`rounding`](Self::rounding).
    pub fn switch_and_round(&self, gadget: Gadget, limbs: usize) -> f64 {
        self.key_switch(gadget, limbs).hypot(self.rounding())
    }
}
