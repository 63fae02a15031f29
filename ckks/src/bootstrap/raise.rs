//! Raising the modulus under an ephemeral sparse secret, with the first factor of the slot
//! transform.
//!
//! A ciphertext of one limb is switched to a secret of small Hamming weight (sparse-secret
//! encapsulation, Bossuat, Troncoso-Pastoriza and Hubaux 2022): its phase `c0 + c1 s'` over the
//! integers is then `q0 u` with `|u|` bounded by a small number. The same polynomials modulo all
//! primes encrypt that integer.
//!
//! They are smaller than one prime, so that switching them back takes one digit and no
//! decomposition, for a rotated ciphertext as well: the rotations of the first factor of
//! CoeffsToSlots, which has a key from `s'(X^g)` to `s` for each of its diagonals, are the way
//! back. Its rescale is by a special prime, which nothing else uses at this point: the factor costs
//! no level. (Applying the first factor on the raise: as in poulpy-ckks, there without the last
//! step.)

use super::transform::{Diagonals, divide_pairs, empty_pairs, row_tasks, run_limb};
use crate::bundle::{BundleError, Input, KeyProvider, PreparedKey, check_inputs, span_order, switch_bundle};
use crate::keys::KeyTarget;
use crate::ring::{BaseConversion, Carried, Gadget, Galois, ModDown, Ring, RnsPoly};
use crate::simd::{HoistedLimb, HoistedLimbs, HoistedTap, Isa};
use chiffre_params::bootstrap::{DENSE_TO_SPARSE, FactorPlan, RAISE_SPECIALS};
use rayon::prelude::*;
use std::borrow::Cow;

/// Raises ciphertexts of one limb to `plan.limbs` limbs and applies the plan's factor, whose scale
/// is divided by the second special prime.
///
/// Temporaries: for each input two polynomials with all limbs and two special primes, before and
/// after.
///
/// # Errors
/// A missing key, a ring with fewer than two special primes, inputs of another degree.
pub fn raise(
    ring: &Ring,
    isa: Isa,
    inputs: Vec<[RnsPoly; 2]>,
    plan: &FactorPlan,
    diagonals: &Diagonals,
    keys: &dyn KeyProvider,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    let (limbs, gadget) = (plan.limbs, plan.gadget);
    if gadget != (Gadget { limbs, alpha: RAISE_SPECIALS }) || limbs > ring.q_count || ring.p_count() < gadget.alpha {
        return Err(BundleError::Gadget { gadget, limbs, specials: ring.p_count() });
    }
    check_inputs(ring.n, &inputs.iter().map(|i| Input::Borrowed(i.into())).collect::<Vec<_>>(), 1)?;
    let to_sparse = keys.require(KeyTarget::DenseToSparse, DENSE_TO_SPARSE)?;
    let back = |&r: &isize| keys.require(KeyTarget::SparseToDense(Galois::rotation(r, ring.log_n)), gadget);
    let back: Vec<&PreparedKey> = plan.babies.iter().map(back).collect::<Result<_, _>>()?;

    let (c0, c1): (Vec<_>, Vec<_>) = inputs.into_iter().map(|[c0, c1]| ([Some(Cow::Owned(c0)), None], Cow::Owned(c1))).unzip();
    let sparse = switch_bundle(ring, isa, c1, 1, to_sparse, c0);
    let mut raised = lift(ring, isa, sparse, limbs, gadget.alpha);

    let order = span_order(ring.n, back.get(1).and_then(|key| key.table()));
    let mut sums = empty_pairs(ring, raised.len());
    for row in 0..limbs + gadget.alpha {
        let m = &ring.moduli[ring.modulus_index(row, limbs)];
        let limb = HoistedLimb {
            modulus: m,
            n: ring.n,
            own_factor: m.mul(m.r3, m.reduce(ring.moduli[ring.q_count].q)),
            inputs: raised
                .iter()
                .map(|[c0, c1]| HoistedLimbs { digits: vec![c1.row(row)], own: Some([c0.row(row), c1.row(row)]) })
                .collect(),
            taps: back.iter().map(|key| HoistedTap { table: key.table(), keys: key.rows(1, row, limbs) }).collect(),
            outputs: 1,
            weights: diagonals.at(row),
        };
        run_limb(isa, &limb, row_tasks(ring, row, sums.iter_mut()), &order);
        drop(limb);
        raised.iter_mut().flatten().for_each(|poly| poly.free_row(row));
    }
    drop(raised);
    let down = ModDown::new(ring, limbs, gadget.alpha, limbs, Carried::MontgomerySquare);
    Ok(divide_pairs(ring, isa, sums, &down))
}

/// The representatives of least magnitude modulo the first prime, at `limbs` Q rows and `specials`
/// P rows.
fn lift(ring: &Ring, isa: Isa, inputs: Vec<[RnsPoly; 2]>, limbs: usize, specials: usize) -> Vec<[RnsPoly; 2]> {
    let targets: Vec<usize> = (1..limbs + specials).map(|row| ring.modulus_index(row, limbs)).collect();
    let conversion = BaseConversion::new(ring, &[0], &targets, Carried::Nothing);
    let inner = inputs.len() < rayon::current_num_threads();
    let lift = |mut poly: RnsPoly| {
        poly.truncate(1);
        (0..targets.len()).for_each(|_| poly.push_unspecified());
        let mut rows: Vec<&mut [u64]> = poly.iter_mut().collect();
        let (bottom, others) = rows.split_at_mut(1);
        conversion.run(ring, isa, &[&*bottom[0]], others, inner);
        drop(rows);
        poly
    };
    inputs.into_par_iter().with_max_len(1).map(|[c0, c1]| rayon::join(|| lift(c0), || lift(c1)).into()).collect()
}
