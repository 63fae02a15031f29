//! Linear transforms of one ciphertext by diagonals.

use num_complex::Complex64;
use rayon::prelude::*;

use super::keyswitch::{decompose, inner_product, mod_down};
use super::{EvalError, Reference, need_degree};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::encode::EncodeError;
use chiffre_ckks::ring::{Galois, GaloisTable, RnsPoly, limb};
use chiffre_ckks::scale::Scale;

/// `out = Σ_r diag_r ⊙ rot_r(in)`: diagonals encoded in the extended basis.
#[derive(Debug)]
pub struct LinearTransform {
    limbs: usize,
    alpha: usize,
    scale: Scale,
    /// Rotation offset and diagonal: `limbs` Q rows, then `alpha` P rows, NTT order.
    diagonals: Vec<(isize, RnsPoly)>,
}

impl LinearTransform {
    /// Encodes diagonals (of any power-of-two period) for ciphertexts of `limbs` limbs and keys
    /// with `alpha` special primes.
    ///
    /// # Errors
    /// Any [`EncodeError`]; in particular if `alpha` exceeds the number of special primes.
    pub fn encode(
        context: &Context,
        diagonals: &[(isize, Vec<Complex64>)],
        scale: &Scale,
        limbs: usize,
        alpha: usize,
    ) -> Result<Self, EncodeError> {
        let ring = context.ring();
        let max = ring.q_count();
        if !(1..=max).contains(&limbs) || alpha > ring.p_count() {
            return Err(EncodeError::Limbs { limbs, max });
        }
        let factor = scale.to_f64();
        let diagonals = diagonals
            .iter()
            .map(|(offset, values)| {
                let coefficients = context.encoder().encode_periodic(values)?;
                let gap = ring.n() / coefficients.len();
                let mut poly = RnsPoly::new_zero(ring.n(), limbs + alpha);
                poly.par_iter_mut().enumerate().for_each(|(row, out)| {
                    let index = ring.modulus_index(row, limbs);
                    for (d, c) in out.iter_mut().step_by(gap).zip(&coefficients) {
                        *d = ring.moduli()[index].from_f64(c * factor);
                    }
                    ring.ntt()[index].forward(out);
                });
                Ok((*offset, poly))
            })
            .collect::<Result<_, EncodeError>>()?;
        Ok(Self { limbs, alpha, scale: scale.clone(), diagonals })
    }
}

impl Reference<'_> {
    /// Applies a linear transform and rescales by the top `drop` primes.
    ///
    /// Double hoisting (Bossuat et al., "Efficient Bootstrapping for Approximate Homomorphic
    /// Encryption with Non-Sparse Keys", EUROCRYPT 2021, §5): one decomposition of the input,
    /// products and sums in the extended basis, and one `ModDown`, merged with the rescale, for
    /// each polynomial of the result.
    ///
    /// # Errors
    /// The operand is not of degree 1 or has other limbs than the transform; a key is missing or
    /// has another number of special primes; fewer than `drop + 1` limbs.
    pub fn linear_transform(&self, a: &Ciphertext, transform: &LinearTransform, drop: usize) -> Result<Ciphertext, EvalError> {
        need_degree(a, 1)?;
        super::need_equal_limbs(a.limbs, transform.limbs)?;
        let ring = self.ring();
        let keep = a.limbs.saturating_sub(drop);
        if keep == 0 {
            return Err(EvalError::NoLimbsLeft { have: a.limbs, want: 0 });
        }
        let rows = a.limbs + transform.alpha;
        let mut sum = [RnsPoly::new_zero(ring.n(), rows), RnsPoly::new_zero(ring.n(), rows)];
        let special = &ring.moduli()[ring.q_count()..][..transform.alpha];
        let mut decomposition = None;
        for (offset, diagonal) in &transform.diagonals {
            let galois = Galois::rotation(*offset, ring.log_n());
            let (mut rotated, in_q) = if galois == Galois::IDENTITY {
                let zero = || RnsPoly::new_zero(ring.n(), rows);
                ([zero(), zero()], a.polys.clone())
            } else {
                let key = self.key(galois.into(), a.limbs)?;
                if key.gadget.alpha != transform.alpha {
                    return Err(EvalError::MixedGadgets);
                }
                let digits = decomposition.get_or_insert_with(|| decompose(ring, &a.polys[1], key.gadget));
                let table = GaloisTable::new(galois, ring.log_n());
                let switched = inner_product(ring, digits, key, Some(&table));
                (switched, vec![self.permute(&a.polys[0], &table)])
            };
            // P·φ(c0) joins in the Q rows: it needs no key switch but the same division at the end.
            for (poly, add) in rotated.iter_mut().zip(&in_q) {
                poly.par_iter_mut().zip(add.par_iter()).enumerate().for_each(|(i, (row, add))| {
                    let m = &ring.moduli()[i];
                    let p = special.iter().fold(1, |p, s| m.mul(p, m.reduce(s.q())));
                    limb::mul_scalar_add_assign(m, row, add, p);
                });
            }
            for (sum, poly) in sum.iter_mut().zip(&rotated) {
                sum.par_iter_mut().enumerate().for_each(|(row, sum)| {
                    let m = &ring.moduli()[ring.modulus_index(row, a.limbs)];
                    limb::mul_add_assign(m, sum, poly.row(row), diagonal.row(row));
                });
            }
        }
        let scale = ring.moduli()[keep..a.limbs].iter().fold(a.scale.mul(&transform.scale), |s, m| s.div_prime(m.q()));
        Ok(Ciphertext::new(sum.map(|poly| mod_down(ring, &poly, a.limbs, keep)), scale))
    }
}
