//! Encoding of slot vectors as ring elements (canonical embedding) and back.
//!
//! Slot j of a polynomial m is m(ζ^(5^j)), ζ = e^(iπ/N). A vector of `N/2` complex numbers
//! determines N real coefficients; a vector of period g = 2^k is a polynomial in X^(N/2g) with 2g
//! coefficients, so every function here accepts any power-of-two length up to `N/2` and means the
//! vector repeated to fill the slots.

mod crt;
mod fft;

use num_complex::Complex64;

use crate::plaintext::Plaintext;
use crate::ring::Ring;
use crate::scale::Scale;

pub use fft::{SlotTransform, slot_leaves};

/// Coefficients must stay below this in magnitude.
pub const MAX_COEFFICIENT: f64 = (1u128 << 100) as f64;

/// Why a vector cannot be encoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// The length is not a power of two between 1 and the number of slots.
    #[error("a vector of {len} values cannot fill {slots} slots: the length must be a power of two, at most {slots}")]
    Length {
        /// The length.
        len: usize,
        /// The number of slots.
        slots: usize,
    },
    /// A value is infinite or not a number.
    #[error("the vector has a value that is not finite")]
    NotFinite,
    /// A coefficient exceeds what the modulus or the encoder can hold.
    #[error("a coefficient of 2^{bits:.1} exceeds the limit 2^{limit:.1} of {limbs} limbs; lower the scale or the values")]
    TooLarge {
        /// log2 of the largest coefficient.
        bits: f64,
        /// log2 of the limit.
        limit: f64,
        /// The number of limbs.
        limbs: usize,
    },
    /// The number of limbs is not in the chain.
    #[error("{limbs} limbs are outside 1..={max}")]
    Limbs {
        /// The number asked for.
        limbs: usize,
        /// The length of the chain.
        max: usize,
    },
}

/// Encoder and decoder of one ring degree.
#[derive(Debug, Clone)]
pub struct Encoder {
    transform: SlotTransform,
}

impl Encoder {
    /// Tables for degree `2^log_n`.
    pub fn new(log_n: u32) -> Self {
        Self { transform: SlotTransform::new(1 << (log_n - 1)) }
    }

    /// Number of slots, `N/2`.
    pub fn slots(&self) -> usize {
        self.transform.max_slots()
    }

    /// The 2g real coefficients, at scale 1 and unrounded, of the polynomial in X^(N/2g) whose
    /// slots repeat `values`.
    ///
    /// g = `values.len()` is a power of two, at most `N/2`. Coefficient k belongs to X^(k·N/2g).
    ///
    /// # Errors
    /// [`EncodeError::Length`], [`EncodeError::NotFinite`].
    pub fn encode_periodic(&self, values: &[Complex64]) -> Result<Vec<f64>, EncodeError> {
        let g = values.len();
        if !g.is_power_of_two() || g > self.slots() {
            return Err(EncodeError::Length { len: g, slots: self.slots() });
        }
        if values.iter().any(|z| !z.is_finite()) {
            return Err(EncodeError::NotFinite);
        }
        let mut work = values.to_vec();
        self.transform.to_coefficients(&mut work);
        Ok(work.iter().map(|c| c.re).chain(work.iter().map(|c| c.im)).collect())
    }

    /// The first g of the coefficients that [`encode_periodic`](Self::encode_periodic) gives for
    /// real values. The polynomial is symmetric, and they are all of it: coefficient g is 0, and
    /// coefficient 2g - k is minus coefficient k.
    ///
    /// # Errors
    /// [`EncodeError::Length`], [`EncodeError::NotFinite`].
    pub fn encode_symmetric(&self, values: &[f64]) -> Result<Vec<f64>, EncodeError> {
        let values: Vec<Complex64> = values.iter().map(|&v| Complex64::new(v, 0.0)).collect();
        let mut out = self.encode_periodic(&values)?;
        out.truncate(values.len());
        Ok(out)
    }

    /// As [`encode_symmetric`](Self::encode_symmetric) for a vector that is filled in the order of
    /// [`slot_leaves`], without allocation: the g coefficients replace the contents of `out`, and
    /// `leaves`, which must be real, is used up.
    ///
    /// # Errors
    /// [`EncodeError::Length`], [`EncodeError::NotFinite`].
    pub fn encode_leaves(&self, leaves: &mut [Complex64], out: &mut Vec<f64>) -> Result<(), EncodeError> {
        let g = leaves.len();
        if !g.is_power_of_two() || g > self.slots() {
            return Err(EncodeError::Length { len: g, slots: self.slots() });
        }
        if leaves.iter().any(|z| !z.is_finite()) {
            return Err(EncodeError::NotFinite);
        }
        self.transform.leaves_to_coefficients(leaves);
        out.clear();
        out.extend(leaves.iter().map(|c| c.re));
        Ok(())
    }

    /// The first g slots of the polynomial with the given 2g coefficients in X^(N/2g); the inverse
    /// of [`encode_periodic`](Self::encode_periodic).
    ///
    /// # Errors
    /// [`EncodeError::Length`] if the number of coefficients is not a power of two from 2 to N.
    pub fn decode_periodic(&self, coefficients: &[f64]) -> Result<Vec<Complex64>, EncodeError> {
        let g = coefficients.len() / 2;
        if !coefficients.len().is_power_of_two() || g == 0 || g > self.slots() {
            return Err(EncodeError::Length { len: g, slots: self.slots() });
        }
        let (re, im) = coefficients.split_at(g);
        let mut work: Vec<Complex64> = re.iter().zip(im).map(|(&re, &im)| Complex64::new(re, im)).collect();
        self.transform.to_slots(&mut work);
        Ok(work)
    }

    /// Encodes `values`, repeated to fill the slots, at `scale` and with the first `limbs` Q limbs.
    ///
    /// The rounding of coefficients adds an error of standard deviation `sqrt(len/6)/scale` to
    /// every slot.
    ///
    /// # Errors
    /// Any [`EncodeError`].
    pub fn encode(&self, ring: &Ring, values: &[Complex64], scale: &Scale, limbs: usize) -> Result<Plaintext, EncodeError> {
        let mut coefficients = self.encode_periodic(values)?;
        let factor = scale.to_f64();
        for c in &mut coefficients {
            *c = (*c * factor).round_ties_even();
        }
        check_size(ring, &coefficients, limbs)?;
        Ok(Plaintext::from_integers(ring, &coefficients, scale.clone(), limbs))
    }

    /// [`encode`](Self::encode) of real values.
    ///
    /// # Errors
    /// Any [`EncodeError`].
    pub fn encode_real(&self, ring: &Ring, values: &[f64], scale: &Scale, limbs: usize) -> Result<Plaintext, EncodeError> {
        let values: Vec<Complex64> = values.iter().map(|&v| Complex64::new(v, 0.0)).collect();
        self.encode(ring, &values, scale, limbs)
    }

    /// The constant vector `value`: the integer `round(value · scale)`.
    ///
    /// # Errors
    /// Any [`EncodeError`].
    pub fn encode_scalar(&self, ring: &Ring, value: f64, scale: &Scale, limbs: usize) -> Result<Plaintext, EncodeError> {
        let integer = [(value * scale.to_f64()).round_ties_even()];
        check_size(ring, &integer, limbs)?;
        Ok(Plaintext::from_integers(ring, &integer, scale.clone(), limbs))
    }

    /// The integer coefficients of a plaintext, centred modulo the product of its first three limbs
    /// and rounded to doubles.
    pub fn coefficients(&self, ring: &Ring, plaintext: &Plaintext) -> Vec<f64> {
        crt::centred_coefficients(ring, &plaintext.poly)
    }

    /// The slots of a plaintext whose coefficients are below half the product of its first three
    /// limbs.
    ///
    /// Coefficients are lifted exactly; the relative precision is that of the transform, about
    /// `2^-49` of the largest slot.
    pub fn decode(&self, ring: &Ring, plaintext: &Plaintext) -> Vec<Complex64> {
        self.slots_of(&self.coefficients(ring, plaintext), &plaintext.scale)
    }

    /// The slots of the polynomial with these N coefficients at `scale`: what
    /// [`decode`](Self::decode) does with [`coefficients`](Self::coefficients).
    ///
    /// # Panics
    /// If there are not N coefficients.
    pub fn slots_of(&self, coefficients: &[f64], scale: &Scale) -> Vec<Complex64> {
        let half = self.slots();
        assert_eq!(coefficients.len(), 2 * half, "one coefficient for each power of X");
        let factor = scale.to_f64();
        let (re, im) = coefficients.split_at(half);
        let mut work: Vec<Complex64> = re.iter().zip(im).map(|(&re, &im)| Complex64::new(re / factor, im / factor)).collect();
        self.transform.to_slots(&mut work);
        work
    }
}

/// Rounds `coefficients · factor` to integers, for weights that are kept as short integer vectors.
///
/// # Errors
/// [`EncodeError::NotFinite`]; [`EncodeError::TooLarge`] if a result leaves the range of i64.
pub fn round_coefficients(coefficients: &[f64], factor: f64) -> Result<Vec<i64>, EncodeError> {
    coefficients
        .iter()
        .map(|c| {
            let x = (c * factor).round_ties_even();
            if !x.is_finite() {
                Err(EncodeError::NotFinite)
            } else if x.abs() >= 2f64.powi(63) {
                Err(EncodeError::TooLarge { bits: x.abs().log2(), limit: 63.0, limbs: 1 })
            } else {
                Ok(x as i64)
            }
        })
        .collect()
}

fn check_size(ring: &Ring, coefficients: &[f64], limbs: usize) -> Result<(), EncodeError> {
    if !(1..=ring.q_count).contains(&limbs) {
        return Err(EncodeError::Limbs { limbs, max: ring.q_count });
    }
    if coefficients.iter().any(|c| !c.is_finite()) {
        return Err(EncodeError::NotFinite);
    }
    let largest = coefficients.iter().fold(0f64, |m, c| m.max(c.abs()));
    let modulus: f64 = ring.moduli[..limbs].iter().map(|m| (m.q as f64).log2()).sum();
    let limit = (modulus - 1.0).min(100.0);
    if largest > 0.0 && largest.log2() >= limit {
        return Err(EncodeError::TooLarge { bits: largest.log2(), limit, limbs });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
