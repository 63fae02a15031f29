//! Hybrid key switching, written for reading.
//!
//! Han and Ki, "Better Bootstrapping for Approximate Homomorphic Encryption" (CT-RSA 2020), §3;
//! fast base conversion as in Halevi, Polyakov and Shoup, "An Improved RNS Variant of the BFV
//! Homomorphic Encryption Scheme" (CT-RSA 2019).

use rayon::prelude::*;

use chiffre_ckks::keys::SwitchingKey;
use chiffre_ckks::ring::{Gadget, GaloisTable, Ring, RnsPoly, limb};

/// A polynomial cut into digits, each lifted to the extended basis: what hoisting shares between
/// rotations.
pub struct Decomposition {
    limbs: usize,
    gadget: Gadget,
    /// One polynomial per digit: `limbs` Q rows, then `gadget.alpha` P rows, NTT order.
    digits: Vec<RnsPoly>,
}

/// `ModUp`: digit d of `c` is the residue of `c` modulo `D_d`, the product of its primes, of least
/// magnitude, in all rows of the extended basis.
pub fn decompose(ring: &Ring, c: &RnsPoly, gadget: Gadget) -> Decomposition {
    let limbs = c.rows();
    let digits = (0..gadget.digits_at(limbs))
        .map(|d| {
            let sources: Vec<usize> = gadget.digit(d, limbs).collect();
            let conversion = Conversion::new(ring, &sources);
            let y = conversion.coefficients(ring, |i| c.row(i));
            let overflow = conversion.overflow(ring, &y);
            let mut digit = RnsPoly::new_zero(ring.n(), limbs + gadget.alpha);
            digit.par_iter_mut().enumerate().for_each(|(row, out)| {
                if sources.contains(&row) {
                    out.copy_from_slice(c.row(row));
                    return;
                }
                let target = ring.modulus_index(row, limbs);
                conversion.convert(ring, &y, &overflow, target, out);
                ring.ntt()[target].forward(out);
            });
            digit
        })
        .collect();
    Decomposition { limbs, gadget, digits }
}

/// `Σ_d digit_d·(b_d, a_d)` in the extended basis: P times the switched polynomial, before
/// `ModDown`.
///
/// With a `table`, the digits go through its automorphism first.
pub fn inner_product(ring: &Ring, decomposition: &Decomposition, key: &SwitchingKey, table: Option<&GaloisTable>) -> [RnsPoly; 2] {
    let limbs = decomposition.limbs;
    debug_assert!(decomposition.gadget.alpha == key.gadget.alpha && limbs <= key.gadget.limbs);
    let rows = limbs + key.gadget.alpha;
    let mut out = [RnsPoly::new_zero(ring.n(), rows), RnsPoly::new_zero(ring.n(), rows)];
    let [b, a] = &mut out;
    b.par_iter_mut().zip(a.par_iter_mut()).enumerate().for_each(|(row, (b, a))| {
        let m = &ring.moduli()[ring.modulus_index(row, limbs)];
        let key_row = if row < limbs { row } else { key.gadget.limbs + row - limbs };
        let mut permuted = vec![0; if table.is_some() { ring.n() } else { 0 }];
        for (digit, [key_b, key_a]) in decomposition.digits.iter().zip(&key.digits) {
            let digit = match table {
                Some(table) => {
                    limb::automorphism_into(table, digit.row(row), &mut permuted);
                    &permuted[..]
                }
                None => digit.row(row),
            };
            limb::mul_add_assign(m, b, digit, key_b.row(key_row));
            limb::mul_add_assign(m, a, digit, key_a.row(key_row));
        }
    });
    out
}

/// `ModDown`, merged with rescaling: divides by the product S of all rows from `keep` on and rounds
/// to nearest.
///
/// `poly` has `limbs` Q rows, then P rows; `keep <= limbs`. With no P rows this is a rescale by the
/// top `limbs - keep` primes; with `keep = limbs` it is the division by P that ends a key switch.
pub fn mod_down(ring: &Ring, poly: &RnsPoly, limbs: usize, keep: usize) -> RnsPoly {
    debug_assert!((1..=limbs).contains(&keep) && limbs <= poly.rows());
    let sources: Vec<usize> = (keep..poly.rows()).map(|row| ring.modulus_index(row, limbs)).collect();
    if sources.is_empty() {
        return poly.clone();
    }
    let conversion = Conversion::new(ring, &sources);
    let y = conversion.coefficients(ring, |i| poly.row(if i < ring.q_count() { i } else { limbs + i - ring.q_count() }));
    let overflow = conversion.overflow(ring, &y);
    let mut out = RnsPoly::new_zero(ring.n(), keep);
    out.par_iter_mut().enumerate().for_each(|(t, out)| {
        conversion.convert(ring, &y, &overflow, t, out);
        ring.ntt()[t].forward(out);
        let m = &ring.moduli()[t];
        let inverse = m.inv(conversion.product(ring, None, t));
        for (d, &x) in out.iter_mut().zip(poly.row(t)) {
            *d = m.mul(m.sub(x, *d), inverse);
        }
    });
    out
}

/// Switches `c`: returns `(d0, d1)` with `d0 + d1·s ≈ c·s'`, s' the key's other secret.
pub fn key_switch(ring: &Ring, c: &RnsPoly, key: &SwitchingKey) -> [RnsPoly; 2] {
    let limbs = c.rows();
    let decomposition = decompose(ring, c, key.gadget);
    inner_product(ring, &decomposition, key, None).map(|poly| mod_down(ring, &poly, limbs, limbs))
}

/// Conversion from the basis of the moduli with indices `sources` to any other modulus.
struct Conversion<'a> {
    sources: &'a [usize],
    /// `(S/m_j)^-1 mod m_j`.
    inverse: Vec<u64>,
}

impl<'a> Conversion<'a> {
    fn new(ring: &Ring, sources: &'a [usize]) -> Self {
        let mut out = Self { sources, inverse: Vec::new() };
        out.inverse = (0..sources.len()).map(|k| ring.moduli()[sources[k]].inv(out.product(ring, Some(k), sources[k]))).collect();
        out
    }

    /// The product of all source moduli, but for the one at position `skip`, modulo the modulus of
    /// index `target`.
    fn product(&self, ring: &Ring, skip: Option<usize>, target: usize) -> u64 {
        let m = &ring.moduli()[target];
        (0..self.sources.len()).filter(|&k| Some(k) != skip).fold(1, |p, k| m.mul(p, m.reduce(ring.moduli()[self.sources[k]].q())))
    }

    /// The centred `y_j = x·(S/m_j)^-1 mod m_j` of every coefficient, from rows in NTT order by
    /// modulus index.
    fn coefficients<'r>(&self, ring: &Ring, row: impl Fn(usize) -> &'r [u64] + Sync) -> Vec<Vec<i64>> {
        self.sources
            .par_iter()
            .zip(&self.inverse)
            .map(|(&j, &inverse)| {
                let mut x = row(j).to_vec();
                ring.ntt()[j].inverse(&mut x);
                let m = &ring.moduli()[j];
                x.iter().map(|&x| m.centre(m.mul(x, inverse))).collect()
            })
            .collect()
    }

    /// `v = round(Σ_j y_j/m_j)`: Σ_j y_j·S/m_j − v·S is the residue modulo S of least magnitude.
    fn overflow(&self, ring: &Ring, y: &[Vec<i64>]) -> Vec<i64> {
        (0..ring.n())
            .map(|k| {
                let terms = y.iter().zip(self.sources);
                let sum: f64 = terms.map(|(y, &j)| y[k] as f64 / ring.moduli()[j].q() as f64).sum();
                sum.round_ties_even() as i64
            })
            .collect()
    }

    /// `Σ_j y_j·S/m_j − v·S` modulo the modulus of index `target`.
    fn convert(&self, ring: &Ring, y: &[Vec<i64>], overflow: &[i64], target: usize, out: &mut [u64]) {
        let m = &ring.moduli()[target];
        out.fill(0);
        for (k, y) in y.iter().enumerate() {
            let factor = self.product(ring, Some(k), target);
            for (d, &y) in out.iter_mut().zip(y) {
                *d = m.add(*d, m.mul(m.reduce_i64(y), factor));
            }
        }
        let whole = self.product(ring, None, target);
        for (d, &v) in out.iter_mut().zip(overflow) {
            *d = m.sub(*d, m.mul(m.reduce_i64(v), whole));
        }
    }
}
