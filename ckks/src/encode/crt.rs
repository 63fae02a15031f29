//! Exact centred lift of residues to doubles.

use rayon::prelude::*;

use crate::ring::{Ring, RnsPoly};

/// The coefficients of `poly` (NTT order, Q limbs), centred modulo the product of its first three
/// limbs and rounded to doubles.
///
/// Mixed radix with balanced digits: x = v0 + q0 (v1 + q1 v2), |v_i| < q_i / 2. The digits are
/// exact, the two low ones combine exactly in 128 bits, and `|v0 + q0 v1| < q0 q1 / 2` rules out
/// cancellation against the third.
pub(super) fn centred_coefficients(ring: &Ring, poly: &RnsPoly) -> Vec<f64> {
    let limbs = poly.rows().min(3);
    let mut rows = poly.truncated(limbs);
    ring.inverse(&mut rows, limbs);
    let m = &ring.moduli[..limbs];
    let inverse: Vec<u64> = (0..limbs)
        .map(|i| {
            let product = m[..i].iter().fold(1, |p, below| m[i].mul(p, m[i].reduce(below.q)));
            m[i].inv(product)
        })
        .collect();
    (0..ring.n)
        .into_par_iter()
        .with_min_len(1 << 12)
        .map(|k| {
            let v0 = m[0].centre(rows.row(0)[k]);
            if limbs == 1 {
                return v0 as f64;
            }
            let rest = m[1].sub(rows.row(1)[k], m[1].reduce_i64(v0));
            let v1 = m[1].centre(m[1].mul(rest, inverse[1]));
            let low = i128::from(v0) + i128::from(m[0].q) * i128::from(v1);
            if limbs == 2 {
                return low as f64;
            }
            let rest = m[2].sub(rows.row(2)[k], m[2].reduce_i128(low));
            let v2 = m[2].centre(m[2].mul(rest, inverse[2]));
            let radix = u128::from(m[0].q) * u128::from(m[1].q);
            low as f64 + v2 as f64 * radix as f64
        })
        .collect()
}
