//! Sums, products, rescaling.

use rayon::prelude::*;

use super::keyswitch::{key_switch, mod_down};
use super::{EvalError, Reference, need_degree, need_equal_limbs, need_equal_scales};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::plaintext::Plaintext;
use chiffre_ckks::ring::{Modulus, RnsPoly, limb};
use chiffre_ckks::scale::Scale;

impl Reference<'_> {
    /// `a + b`, slot by slot; degrees may differ.
    ///
    /// # Errors
    /// Scales or limbs differ.
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.combine(a, b, limb::add_assign, |_, _| ())
    }

    /// `a − b`, slot by slot; degrees may differ.
    ///
    /// # Errors
    /// Scales or limbs differ.
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.combine(a, b, limb::sub_assign, limb::neg_assign)
    }

    /// `−a`.
    pub fn neg(&self, a: &Ciphertext) -> Ciphertext {
        let mut out = a.clone();
        self.each_row(&mut out, |m, _, row| limb::neg_assign(m, row));
        out
    }

    /// `a + p`; the plaintext may have more limbs.
    ///
    /// # Errors
    /// Scales differ, or the plaintext has fewer limbs.
    pub fn add_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext, EvalError> {
        need_equal_scales(&a.scale, &p.scale)?;
        let mut out = a.clone();
        let plain = self.plain_rows(a, p)?;
        self.each_poly_row(&mut out.polys[0], |m, i, row| limb::add_assign(m, row, plain.row(i)));
        Ok(out)
    }

    /// `a·p`, slot by slot, at the product of the scales; the plaintext may have more limbs.
    /// Periodic plaintexts are plaintexts like others here.
    ///
    /// # Errors
    /// The plaintext has fewer limbs.
    pub fn mul_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext, EvalError> {
        let mut out = a.clone();
        let plain = self.plain_rows(a, p)?;
        self.each_row(&mut out, |m, i, row| limb::mul_assign(m, row, plain.row(i)));
        out.scale = a.scale.mul(&p.scale);
        Ok(out)
    }

    /// `a·weight` with the weight as the integer `round(weight·scale)`, at the product of the
    /// scales. Exact but for that rounding, and adds no noise.
    ///
    /// # Errors
    /// [`EvalError::Weight`] if the integer is not below `2^100`.
    pub fn mul_scalar(&self, a: &Ciphertext, weight: f64, scale: &Scale) -> Result<Ciphertext, EvalError> {
        let integer = (weight * scale.to_f64()).round_ties_even();
        if integer.is_nan() || integer.abs() >= chiffre_ckks::encode::MAX_COEFFICIENT {
            return Err(EvalError::Weight { value: weight, scale: scale.clone() });
        }
        let mut out = a.clone();
        self.each_row(&mut out, |m, _, row| {
            limb::mul_scalar_assign(m, row, m.from_f64(integer));
        });
        out.scale = a.scale.mul(scale);
        Ok(out)
    }

    /// `i·a`: the product with the monomial X^(N/2). Exact, without noise or scale.
    pub fn mul_imaginary(&self, a: &Ciphertext) -> Ciphertext {
        let ring = self.ring();
        let mut out = a.clone();
        self.each_row(&mut out, |m, index, row| {
            let (low, high) = row.split_at_mut(ring.n() / 2);
            limb::mul_scalar_assign(m, low, ring.imaginary()[index]);
            limb::mul_scalar_assign(m, high, m.neg(ring.imaginary()[index]));
        });
        out
    }

    /// `a·b`, slot by slot, of degree 2 and at the product of the scales.
    ///
    /// # Errors
    /// Limbs differ, or an operand is not of degree 1.
    pub fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        need_equal_limbs(a.limbs, b.limbs)?;
        need_degree(a, 1)?;
        need_degree(b, 1)?;
        let ring = self.ring();
        let mut polys = vec![RnsPoly::new_zero(ring.n(), a.limbs); 3];
        if let [c0, c1, c2] = &mut polys[..] {
            c0.par_iter_mut().zip(c1.par_iter_mut()).zip(c2.par_iter_mut()).enumerate().for_each(|(i, ((c0, c1), c2))| {
                let m = &ring.moduli()[i];
                let (a0, a1) = (a.polys[0].row(i), a.polys[1].row(i));
                let (b0, b1) = (b.polys[0].row(i), b.polys[1].row(i));
                limb::mul_into(m, a0, b0, c0);
                limb::mul_into(m, a0, b1, c1);
                limb::mul_add_assign(m, c1, a1, b0);
                limb::mul_into(m, a1, b1, c2);
            });
        }
        Ok(Ciphertext { polys, limbs: a.limbs, scale: a.scale.mul(&b.scale) })
    }

    /// `a²`, of degree 2 and at the square of the scale.
    ///
    /// # Errors
    /// The operand is not of degree 1.
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.mul(a, a)
    }

    /// Back from degree 2 to degree 1, with the relinearisation key.
    ///
    /// # Errors
    /// The operand is not of degree 2, or there is no key for its limbs.
    pub fn relinearize(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        need_degree(a, 2)?;
        let key = self.key(KeyTarget::Relinearization, a.limbs)?;
        let mut switched = key_switch(self.ring(), &a.polys[2], key);
        for (sum, poly) in switched.iter_mut().zip(&a.polys) {
            self.each_poly_row(sum, |m, i, row| limb::add_assign(m, row, poly.row(i)));
        }
        Ok(Ciphertext::new(switched, a.scale.clone()))
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
        let ring = self.ring();
        let keep = a.limbs.checked_sub(count).filter(|keep| *keep > 0);
        let Some(keep) = keep else {
            return Err(EvalError::NoLimbsLeft { have: a.limbs, want: a.limbs.saturating_sub(count) });
        };
        let scale = ring.moduli()[keep..a.limbs].iter().fold(a.scale.clone(), |s, m| s.div_prime(m.q()));
        Ok(Ciphertext { polys: a.polys.iter().map(|p| mod_down(ring, p, a.limbs, keep)).collect(), limbs: keep, scale })
    }

    /// Keeps the first `limbs` limbs; the message and the scale stay.
    ///
    /// # Errors
    /// The ciphertext has fewer limbs, or `limbs` is 0.
    pub fn mod_drop(&self, a: &Ciphertext, limbs: usize) -> Result<Ciphertext, EvalError> {
        if limbs == 0 || limbs > a.limbs {
            return Err(EvalError::NoLimbsLeft { have: a.limbs, want: limbs });
        }
        Ok(Ciphertext { polys: a.polys.iter().map(|p| p.truncated(limbs)).collect(), limbs, scale: a.scale.clone() })
    }

    fn combine(
        &self,
        a: &Ciphertext,
        b: &Ciphertext,
        op: impl Fn(&Modulus, &mut [u64], &[u64]) + Sync,
        lone: impl Fn(&Modulus, &mut [u64]) + Sync,
    ) -> Result<Ciphertext, EvalError> {
        need_equal_limbs(a.limbs, b.limbs)?;
        need_equal_scales(&a.scale, &b.scale)?;
        let mut out = a.clone();
        for (k, poly) in b.polys.iter().enumerate() {
            match out.polys.get_mut(k) {
                Some(sum) => self.each_poly_row(sum, |m, i, row| op(m, row, poly.row(i))),
                None => {
                    let mut poly = poly.clone();
                    self.each_poly_row(&mut poly, |m, _, row| lone(m, row));
                    out.polys.push(poly);
                }
            }
        }
        Ok(out)
    }

    fn plain_rows<'p>(&self, a: &Ciphertext, p: &'p Plaintext) -> Result<&'p RnsPoly, EvalError> {
        if p.limbs() < a.limbs {
            return Err(EvalError::Limbs { left: a.limbs, right: p.limbs() });
        }
        Ok(&p.poly)
    }

    fn each_row(&self, a: &mut Ciphertext, op: impl Fn(&Modulus, usize, &mut [u64]) + Sync) {
        for poly in &mut a.polys {
            self.each_poly_row(poly, &op);
        }
    }

    pub(super) fn each_poly_row(&self, poly: &mut RnsPoly, op: impl Fn(&Modulus, usize, &mut [u64]) + Sync) {
        poly.par_iter_mut().enumerate().for_each(|(i, row)| op(&self.ring().moduli()[i], i, row));
    }
}
