//! Products of ciphertexts, with one relinearisation for each; no rescale.

use super::switch::{check_gadget, switch_bundle};
use super::{BundleError, CtRef, KeyProvider, check_inputs};
use crate::ring::{Gadget, Galois, Ring, RnsPoly};
use crate::simd::{Isa, pair_product_tensor, product_tensor};
use rayon::prelude::*;

/// Complex-packed products come multiplied by this: the scale of the result is this times the product of the scales.
pub const PAIR_FACTOR: f64 = 4.0;

/// Ciphertexts that are in work at a time: key limbs are shared by so many, temporaries exist for so many.
fn batch() -> usize {
    rayon::current_num_threads().clamp(4, 16)
}

/// Squares of the real and of the imaginary part: for slots `a + ib` the slots `4 (a^2 + i b^2)`, see [`PAIR_FACTOR`].
/// Needs the conjugation key and the relinearisation key of shape `gadget`.
///
/// With `w = conj(z)`: `(z + w)^2 - i (z - w)^2 = 4 a^2 + 4 i b^2`. The two tensors are added before the only
/// relinearisation; the factor `i = X^(N/2)` is a sign by halves of the NTT order.
///
/// # Errors
/// A missing key, a gadget that does not fit, or an input with fewer than `limbs` limbs.
pub fn pair_square(
    ring: &Ring,
    isa: Isa,
    inputs: &[CtRef<'_>],
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    pair_products(ring, isa, inputs, None, limbs, keys, gadget)
}

/// Products of the real and of the imaginary parts: `4 (a a' + i b b')` for slots `a + ib` and `a' + ib'`; see
/// [`pair_square`].
///
/// # Errors
/// As [`pair_square`], and when the lists differ in length.
pub fn pair_mul(
    ring: &Ring,
    isa: Isa,
    left: &[CtRef<'_>],
    right: &[CtRef<'_>],
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    pair_products(ring, isa, left, Some(right), limbs, keys, gadget)
}

/// Slot-wise products.
///
/// # Errors
/// As [`pair_mul`].
pub fn mul_relin(
    ring: &Ring,
    isa: Isa,
    left: &[CtRef<'_>],
    right: &[CtRef<'_>],
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    check(ring, left, right, limbs, gadget)?;
    let relin = keys.require(None, gadget)?;
    let mut out = Vec::with_capacity(left.len());
    for (left, right) in left.chunks(batch()).zip(right.chunks(batch())) {
        let tensors: Vec<[RnsPoly; 3]> = left
            .iter()
            .zip(right)
            .map(|(a, b)| {
                tensor(ring, limbs, |row, out| {
                    let (a, b) = ([a.c0.row(row), a.c1.row(row)], [b.c0.row(row), b.c1.row(row)]);
                    product_tensor(isa, &ring.moduli[row], a, b, out);
                })
            })
            .collect();
        out.extend(relinearise(ring, isa, &tensors, limbs, relin));
    }
    Ok(out)
}

/// Slot-wise squares.
///
/// # Errors
/// As [`pair_square`].
pub fn square_relin(
    ring: &Ring,
    isa: Isa,
    inputs: &[CtRef<'_>],
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    mul_relin(ring, isa, inputs, inputs, limbs, keys, gadget)
}

fn check(ring: &Ring, left: &[CtRef<'_>], right: &[CtRef<'_>], limbs: usize, gadget: Gadget) -> Result<(), BundleError> {
    if left.len() != right.len() {
        return Err(BundleError::Operands(left.len(), right.len()));
    }
    check_gadget(ring, gadget, limbs)?;
    check_inputs(ring.n, left, limbs)?;
    check_inputs(ring.n, right, limbs)
}

fn pair_products(
    ring: &Ring,
    isa: Isa,
    left: &[CtRef<'_>],
    right: Option<&[CtRef<'_>]>,
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    check(ring, left, right.unwrap_or(left), limbs, gadget)?;
    let conjugation = keys.require(Some(Galois::conjugation(ring.log_n)), gadget)?;
    let relin = keys.require(None, gadget)?;
    let table = conjugation.table().ok_or(BundleError::MissingKey { galois: conjugation.galois(), gadget })?;
    // Conjugates before their automorphism, which the tensor kernel applies as it reads.
    let conjugates = |z: &[CtRef<'_>]| {
        let c1: Vec<&RnsPoly> = z.iter().map(|z| z.c1).collect();
        let c0: Vec<[Option<&RnsPoly>; 2]> = z.iter().map(|z| [Some(z.c0), None]).collect();
        switch_bundle(ring, isa, &c1, limbs, conjugation, &c0)
    };
    let mut out = Vec::with_capacity(left.len());
    for (first, z) in left.chunks(batch()).enumerate().map(|(i, z)| (i * batch(), z)) {
        let y = right.map(|right| &right[first..first + z.len()]);
        let zbar = conjugates(z);
        let ybar = y.map(conjugates);
        let tensors: Vec<[RnsPoly; 3]> = (0..z.len())
            .map(|i| {
                let (y, ybar) = (y.map_or(z[i], |y| y[i]), ybar.as_ref().map_or(&zbar[i], |ybar| &ybar[i]));
                tensor(ring, limbs, |row, out| {
                    let z = [[z[i].c0.row(row), z[i].c1.row(row)], [y.c0.row(row), y.c1.row(row)]];
                    let zbar = [[zbar[i][0].row(row), zbar[i][1].row(row)], [ybar[0].row(row), ybar[1].row(row)]];
                    let m = &ring.moduli[row];
                    pair_product_tensor(isa, m, ring.imaginary[row], table, z, zbar, out);
                })
            })
            .collect();
        drop((zbar, ybar));
        out.extend(relinearise(ring, isa, &tensors, limbs, relin));
    }
    Ok(out)
}

/// Three polynomials whose limbs `row` fills, in parallel over limbs.
fn tensor(ring: &Ring, limbs: usize, row: impl Fn(usize, [&mut [u64]; 3]) + Sync) -> [RnsPoly; 3] {
    let mut out = [(); 3].map(|()| RnsPoly::new_unspecified(ring.n, limbs));
    let [d0, d1, d2] = &mut out;
    d0.par_iter_mut().zip(d1.par_iter_mut()).zip(d2.par_iter_mut()).enumerate().for_each(|(i, ((d0, d1), d2))| row(i, [d0, d1, d2]));
    out
}

fn relinearise(ring: &Ring, isa: Isa, tensors: &[[RnsPoly; 3]], limbs: usize, relin: &super::PreparedKey) -> Vec<[RnsPoly; 2]> {
    let d2: Vec<&RnsPoly> = tensors.iter().map(|[_, _, d2]| d2).collect();
    let addends: Vec<[Option<&RnsPoly>; 2]> = tensors.iter().map(|[d0, d1, _]| [Some(d0), Some(d1)]).collect();
    switch_bundle(ring, isa, &d2, limbs, relin, &addends)
}
