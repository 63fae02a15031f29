//! Rotations and conjugation.

use super::keyswitch::{decompose, inner_product, mod_down};
use super::{EvalError, Reference, need_degree};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::ring::{Galois, GaloisTable, RnsPoly, limb};

impl Reference<'_> {
    /// Rotates the slots: `out[j] = in[j + offset]`, indices modulo `N/2`.
    ///
    /// # Errors
    /// The operand is not of degree 1, or there is no key for the rotation at its limbs.
    pub fn rotate(&self, a: &Ciphertext, offset: isize) -> Result<Ciphertext, EvalError> {
        self.apply_galois(a, Galois::rotation(offset, self.ring().log_n()))
    }

    /// Conjugates every slot.
    ///
    /// # Errors
    /// The operand is not of degree 1, or there is no key for conjugation at its limbs.
    pub fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.apply_galois(a, Galois::conjugation(self.ring().log_n()))
    }

    /// The automorphism `X → X^g`, and the switch back to the key s.
    ///
    /// # Errors
    /// The operand is not of degree 1, or there is no key for g at its limbs.
    pub fn apply_galois(&self, a: &Ciphertext, galois: Galois) -> Result<Ciphertext, EvalError> {
        let mut out = self.apply_galois_hoisted(a, &[galois])?;
        Ok(out.swap_remove(0))
    }

    /// Several rotations of one ciphertext with a single decomposition (hoisting, Halevi and Shoup,
    /// CRYPTO 2018, §3).
    ///
    /// # Errors
    /// As [`rotate`](Self::rotate); and all keys must have the same shape.
    pub fn rotate_hoisted(&self, a: &Ciphertext, offsets: &[isize]) -> Result<Vec<Ciphertext>, EvalError> {
        let log_n = self.ring().log_n();
        let elements: Vec<Galois> = offsets.iter().map(|&o| Galois::rotation(o, log_n)).collect();
        self.apply_galois_hoisted(a, &elements)
    }

    /// Several automorphisms of one ciphertext with a single decomposition. The identity needs no
    /// key.
    ///
    /// # Errors
    /// As [`rotate_hoisted`](Self::rotate_hoisted).
    pub fn apply_galois_hoisted(&self, a: &Ciphertext, elements: &[Galois]) -> Result<Vec<Ciphertext>, EvalError> {
        need_degree(a, 1)?;
        let ring = self.ring();
        let mut decomposition = None;
        elements
            .iter()
            .map(|&galois| {
                if galois == Galois::IDENTITY {
                    return Ok(a.clone());
                }
                let key = self.key(galois.into(), a.limbs)?;
                let (gadget, digits) = decomposition.get_or_insert_with(|| (key.gadget, decompose(ring, &a.polys[1], key.gadget)));
                if gadget.alpha != key.gadget.alpha {
                    return Err(EvalError::MixedGadgets);
                }
                let table = GaloisTable::new(galois, ring.log_n());
                let [mut c0, c1] = inner_product(ring, digits, key, Some(&table)).map(|poly| mod_down(ring, &poly, a.limbs, a.limbs));
                let rotated = self.permute(&a.polys[0], &table);
                self.each_poly_row(&mut c0, |m, i, row| limb::add_assign(m, row, rotated.row(i)));
                Ok(Ciphertext::new([c0, c1], a.scale.clone()))
            })
            .collect()
    }

    pub(super) fn permute(&self, poly: &RnsPoly, table: &GaloisTable) -> RnsPoly {
        let mut out = RnsPoly::new_zero(poly.n(), poly.rows());
        self.each_poly_row(&mut out, |_, i, row| limb::automorphism_into(table, poly.row(i), row));
        out
    }
}
