//! Sums, products, rotations, rescaling.

use rayon::prelude::*;

use super::{EvalError, Evaluator, need_equal_limbs, need_equal_scales};
use crate::bundle::{Input, Product, Sum, check_gadget, mul_relin, relinearised_sums, rotate};
use crate::ciphertext::Ciphertext;
use crate::encode::MAX_COEFFICIENT;
use crate::keys::KeyTarget;
use crate::plaintext::Plaintext;
use crate::ring::{Carried, Galois, ModDown, Modulus, RnsPoly};
use crate::scale::Scale;
use crate::simd;

impl Evaluator<'_> {
    /// `a + b`, slot by slot.
    ///
    /// # Errors
    /// Scales or limbs differ.
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.combine(a, b, |m, x, y| simd::add_assign(self.isa, m, x, y))
    }

    /// `a − b`, slot by slot.
    ///
    /// # Errors
    /// Scales or limbs differ.
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.combine(a, b, |m, x, y| simd::sub_assign(self.isa, m, x, y))
    }

    /// `−a`.
    ///
    /// # Errors
    /// The operand does not belong to the ring.
    pub fn neg(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.each_row(a, a.scale.clone(), |m, _, row| simd::neg_assign(self.isa, m, row))
    }

    /// `a + p`; the plaintext may have more limbs.
    ///
    /// # Errors
    /// Scales differ, or the plaintext has fewer limbs.
    pub fn add_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext, EvalError> {
        need_equal_scales(&a.scale, &p.scale)?;
        let plain = self.plain_rows(a, p)?;
        self.view(a)?;
        let mut out = a.clone();
        let ring = self.ring();
        out.polys[0].par_iter_mut().enumerate().for_each(|(i, row)| simd::add_assign(self.isa, &ring.moduli[i], row, plain.row(i)));
        Ok(out)
    }

    /// `a·p`, slot by slot, at the product of the scales; the plaintext may have more limbs.
    ///
    /// # Errors
    /// The plaintext has fewer limbs.
    pub fn mul_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext, EvalError> {
        let plain = self.plain_rows(a, p)?;
        self.each_row(a, a.scale.mul(&p.scale), |m, i, row| simd::mul_assign(self.isa, m, row, plain.row(i)))
    }

    /// `a·weight` with the weight as the integer `round(weight·scale)`, at the product of the
    /// scales. Exact but for that rounding, and adds no noise.
    ///
    /// # Errors
    /// [`EvalError::Weight`] if the integer is not below `2^100`.
    pub fn mul_scalar(&self, a: &Ciphertext, weight: f64, scale: &Scale) -> Result<Ciphertext, EvalError> {
        let integer = (weight * scale.to_f64()).round_ties_even();
        if integer.is_nan() || integer.abs() >= MAX_COEFFICIENT {
            return Err(EvalError::Weight { value: weight, scale: scale.clone() });
        }
        self.each_row(a, a.scale.mul(scale), |m, _, row| simd::mul_constant_assign(self.isa, m, row, m.from_f64(integer)))
    }

    /// `i·a`: the product with the monomial X^(N/2). Exact, without noise or scale.
    ///
    /// # Errors
    /// The operand does not belong to the ring.
    pub fn mul_imaginary(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        let ring = self.ring();
        self.each_row(a, a.scale.clone(), |m, index, row| {
            let (low, high) = row.split_at_mut(ring.n / 2);
            simd::mul_constant_assign(self.isa, m, low, ring.imaginary[index]);
            simd::mul_constant_assign(self.isa, m, high, m.neg(ring.imaginary[index]));
        })
    }

    /// `a·b`, slot by slot, relinearised and rescaled by the top prime with one rounding: one limb
    /// less, at the product of the scales over that prime. Needs the relinearisation key.
    ///
    /// # Errors
    /// Limbs differ, there is only one, or no key serves them.
    pub fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        need_equal_limbs(a.limbs, b.limbs)?;
        let (ring, limbs) = (self.ring(), a.limbs);
        let (left, right) = (self.view(a)?, self.view(b)?);
        if limbs < 2 {
            return Err(EvalError::NoLimbsLeft { have: limbs, want: 0 });
        }
        let key = self.key(KeyTarget::Relinearization, limbs)?;
        check_gadget(ring, key.gadget(), limbs)?;
        let product = Product { left, right, factor: 1.0, imaginary: false };
        let sum = Sum { products: vec![product], ..Sum::default() };
        let scale = a.scale.mul(&b.scale).div_prime(ring.moduli[limbs - 1].q);
        Ok(single(relinearised_sums(ring, self.isa, &[sum], limbs, key), scale))
    }

    /// `a²`: as [`mul`](Self::mul).
    ///
    /// # Errors
    /// As [`mul`](Self::mul).
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.mul(a, a)
    }

    /// `a·b`, slot by slot, relinearised, at the product of the scales: without the rescale of
    /// [`mul`](Self::mul).
    ///
    /// # Errors
    /// Limbs differ, or no key serves them.
    pub fn mul_relin(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        need_equal_limbs(a.limbs, b.limbs)?;
        let (left, right) = (self.view(a)?, self.view(b)?);
        let gadget = self.key(KeyTarget::Relinearization, a.limbs)?.gadget();
        let [left, right] = [left, right].map(|ct| vec![Input::Borrowed(ct)]);
        let out = mul_relin(self.ring(), self.isa, left, right, a.limbs, self.keys, gadget)?;
        Ok(single(out, a.scale.mul(&b.scale)))
    }

    /// Divides by the top prime, with rounding, and drops it; the scale is divided by it too.
    ///
    /// # Errors
    /// Only one limb is left.
    pub fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.rescale_many(a, 1)
    }

    /// Divides by the top `count` primes at once, with one rounding.
    ///
    /// # Errors
    /// Fewer than `count + 1` limbs.
    pub fn rescale_many(&self, a: &Ciphertext, count: usize) -> Result<Ciphertext, EvalError> {
        let (ring, view) = (self.ring(), self.view(a)?);
        let Some(keep) = a.limbs.checked_sub(count).filter(|keep| *keep > 0) else {
            return Err(EvalError::NoLimbsLeft { have: a.limbs, want: a.limbs.saturating_sub(count) });
        };
        if count == 0 {
            return Ok(a.clone());
        }
        let down = ModDown::new(ring, a.limbs, 0, keep, Carried::Nothing);
        let scale = ring.moduli[keep..a.limbs].iter().fold(a.scale.clone(), |s, m| s.div_prime(m.q));
        Ok(Ciphertext::new([view.c0, view.c1].map(|p| down.run(ring, self.isa, p.clone(), None, true)), scale))
    }

    /// Keeps the first `limbs` limbs; the message and the scale stay.
    ///
    /// # Errors
    /// The ciphertext has fewer limbs, or `limbs` is 0.
    pub fn mod_drop(&self, a: &Ciphertext, limbs: usize) -> Result<Ciphertext, EvalError> {
        let view = self.view(a)?;
        if limbs == 0 || limbs > a.limbs {
            return Err(EvalError::NoLimbsLeft { have: a.limbs, want: limbs });
        }
        Ok(Ciphertext::new([view.c0, view.c1].map(|p| p.truncated(limbs)), a.scale.clone()))
    }

    /// Rotates the slots: `out[j] = in[j + offset]`, indices modulo `N/2`.
    ///
    /// # Errors
    /// No key for the rotation serves the operand's limbs.
    pub fn rotate(&self, a: &Ciphertext, offset: isize) -> Result<Ciphertext, EvalError> {
        self.apply_galois(a, Galois::rotation(offset, self.ring().log_n))
    }

    /// Conjugates every slot.
    ///
    /// # Errors
    /// No key for the conjugation serves the operand's limbs.
    pub fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.apply_galois(a, Galois::conjugation(self.ring().log_n))
    }

    /// The automorphism `X → X^g`, and the switch back to the key s. The identity needs no key.
    ///
    /// # Errors
    /// No key for g serves the operand's limbs.
    pub fn apply_galois(&self, a: &Ciphertext, galois: Galois) -> Result<Ciphertext, EvalError> {
        let view = self.view(a)?;
        if galois == Galois::IDENTITY {
            return Ok(a.clone());
        }
        let gadget = self.key(galois.into(), a.limbs)?.gadget();
        let out = rotate(self.ring(), self.isa, view, a.limbs, galois, self.keys, gadget)?;
        Ok(Ciphertext::new(out, a.scale.clone()))
    }

    fn combine(&self, a: &Ciphertext, b: &Ciphertext, op: impl Fn(&Modulus, &mut [u64], &[u64]) + Sync) -> Result<Ciphertext, EvalError> {
        need_equal_limbs(a.limbs, b.limbs)?;
        need_equal_scales(&a.scale, &b.scale)?;
        self.view(a)?;
        let (ring, b) = (self.ring(), self.view(b)?);
        let mut out = a.clone();
        for (poly, other) in out.polys.iter_mut().zip([b.c0, b.c1]) {
            poly.par_iter_mut().enumerate().for_each(|(i, row)| op(&ring.moduli[i], row, other.row(i)));
        }
        Ok(out)
    }

    fn plain_rows<'p>(&self, a: &Ciphertext, p: &'p Plaintext) -> Result<&'p RnsPoly, EvalError> {
        if p.limbs() < a.limbs {
            return Err(EvalError::Limbs { left: a.limbs, right: p.limbs() });
        }
        Ok(&p.poly)
    }

    /// A copy at another scale, with `op` applied to all rows.
    fn each_row(&self, a: &Ciphertext, scale: Scale, op: impl Fn(&Modulus, usize, &mut [u64]) + Sync) -> Result<Ciphertext, EvalError> {
        let (ring, view) = (self.ring(), self.view(a)?);
        let polys = [view.c0, view.c1].map(|poly| {
            let mut out = poly.clone();
            out.par_iter_mut().enumerate().for_each(|(i, row)| op(&ring.moduli[i], i, row));
            out
        });
        Ok(Ciphertext::new(polys, scale))
    }
}

/// The only ciphertext of a bundle of one.
fn single(bundle: Vec<[RnsPoly; 2]>, scale: Scale) -> Ciphertext {
    let [polys] = <[_; 1]>::try_from(bundle).expect("one result for one operand");
    Ciphertext::new(polys, scale)
}
