//! Products of ciphertexts, with one relinearisation for each; no rescale.

use super::switch::{check_gadget, switch_bundle};
use super::{BundleError, CtRef, Input, KeyProvider, check_inputs};
use crate::keys::KeyTarget;
use crate::ring::{Gadget, Galois, Ring, RnsPoly};
use crate::simd::{Isa, pair_product_tensor, product_tensor};
use rayon::prelude::*;
use std::borrow::Cow;

/// Complex-packed products come multiplied by this: the scale of the result is this times the
/// product of the scales.
pub const PAIR_FACTOR: f64 = 4.0;

/// Ciphertexts that are in work at a time: key limbs are shared by so many, temporaries exist for
/// so many.
fn batch() -> usize {
    chiffre_params::work::product_group(rayon::current_num_threads())
}

/// Squares of the real and of the imaginary part: for slots `a + ib` the slots `4 (a^2 + i b^2)`,
/// see [`PAIR_FACTOR`]. Needs the conjugation key and the relinearisation key of shape `gadget`.
///
/// With `w = conj(z)`: `(z + w)^2 - i (z - w)^2 = 4 a^2 + 4 i b^2`. The two tensors are added
/// before the only relinearisation; the factor `i = X^(N/2)` is a sign by halves of the NTT order.
///
/// # Errors
/// A missing key, a gadget that does not fit, or an input with fewer than `limbs` limbs; owned
/// operands are lost then.
pub fn pair_square(
    ring: &Ring,
    isa: Isa,
    inputs: Vec<Input<'_>>,
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    pair_products(ring, isa, inputs, None, limbs, keys, gadget)
}

/// Products of the real and of the imaginary parts: `4 (a a' + i b b')` for slots `a + ib` and
/// `a' + ib'`; see [`pair_square`].
///
/// # Errors
/// As [`pair_square`], and when the lists differ in length.
pub fn pair_mul(
    ring: &Ring,
    isa: Isa,
    left: Vec<Input<'_>>,
    right: Vec<Input<'_>>,
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
    left: Vec<Input<'_>>,
    right: Vec<Input<'_>>,
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    products(ring, isa, left, Some(right), limbs, keys, gadget)
}

/// Slot-wise squares.
///
/// # Errors
/// As [`pair_square`].
pub fn square_relin(
    ring: &Ring,
    isa: Isa,
    inputs: Vec<Input<'_>>,
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    products(ring, isa, inputs, None, limbs, keys, gadget)
}

/// Checks the operands and pairs each left one with its right one (`None`: with itself).
fn operands<'a>(
    ring: &Ring,
    left: Vec<Input<'a>>,
    right: Option<Vec<Input<'a>>>,
    limbs: usize,
    gadget: Gadget,
) -> Result<impl Iterator<Item = (Input<'a>, Option<Input<'a>>)>, BundleError> {
    if let Some(right) = &right
        && left.len() != right.len()
    {
        return Err(BundleError::Operands(left.len(), right.len()));
    }
    check_gadget(ring, gadget, limbs)?;
    check_inputs(ring.n, &left, limbs)?;
    check_inputs(ring.n, right.as_deref().unwrap_or_default(), limbs)?;
    let mut right = right.map(Vec::into_iter);
    Ok(left.into_iter().map(move |z| (z, right.as_mut().and_then(Iterator::next))))
}

fn products(
    ring: &Ring,
    isa: Isa,
    left: Vec<Input<'_>>,
    right: Option<Vec<Input<'_>>>,
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    let mut out = Vec::with_capacity(left.len());
    let mut operands = operands(ring, left, right, limbs, gadget)?;
    let relin = keys.require(KeyTarget::Relinearization, gadget)?;
    loop {
        let tensors: Vec<[RnsPoly; 3]> = operands
            .by_ref()
            .take(batch())
            .map(|(z, y)| {
                let (a, b) = (z.view(), y.as_ref().map_or(z.view(), Input::view));
                tensor(ring, limbs, |row, out| {
                    let (a, b) = ([a.c0.row(row), a.c1.row(row)], [b.c0.row(row), b.c1.row(row)]);
                    product_tensor(isa, &ring.moduli[row], a, b, out);
                })
            })
            .collect();
        if tensors.is_empty() {
            return Ok(out);
        }
        out.extend(relinearise(ring, isa, tensors, limbs, relin));
    }
}

fn pair_products(
    ring: &Ring,
    isa: Isa,
    left: Vec<Input<'_>>,
    right: Option<Vec<Input<'_>>>,
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    let mut out = Vec::with_capacity(left.len());
    let mut operands = operands(ring, left, right, limbs, gadget)?;
    let conjugation = keys.require(Galois::conjugation(ring.log_n).into(), gadget)?;
    let relin = keys.require(KeyTarget::Relinearization, gadget)?;
    let table = conjugation.table().ok_or(BundleError::MissingKey { target: conjugation.target(), gadget })?;
    // Conjugates before their automorphism, which the tensor kernel applies as it reads.
    let conjugates = |z: Vec<CtRef<'_>>| {
        let c1 = z.iter().map(|z| Cow::Borrowed(z.c1)).collect();
        let c0 = z.iter().map(|z| [Some(Cow::Borrowed(z.c0)), None]).collect();
        switch_bundle(ring, isa, c1, limbs, conjugation, c0)
    };
    loop {
        let chunk: Vec<(Input<'_>, Option<Input<'_>>)> = operands.by_ref().take(batch()).collect();
        if chunk.is_empty() {
            return Ok(out);
        }
        let zbar = conjugates(chunk.iter().map(|(z, _)| z.view()).collect());
        let mut ybar = conjugates(chunk.iter().filter_map(|(_, y)| y.as_ref().map(Input::view)).collect()).into_iter();
        // Operands and conjugates are freed one by one as their tensors are done.
        let tensors: Vec<[RnsPoly; 3]> = chunk
            .into_iter()
            .zip(zbar)
            .map(|((z, y), zbar)| {
                let ybar = ybar.next();
                let (y, ybar) = (y.as_ref().map_or(z.view(), Input::view), ybar.as_ref().unwrap_or(&zbar));
                let z = z.view();
                tensor(ring, limbs, |row, out| {
                    let z = [[z.c0.row(row), z.c1.row(row)], [y.c0.row(row), y.c1.row(row)]];
                    let zbar = [[zbar[0].row(row), zbar[1].row(row)], [ybar[0].row(row), ybar[1].row(row)]];
                    let m = &ring.moduli[row];
                    pair_product_tensor(isa, m, ring.imaginary[row], table, z, zbar, out);
                })
            })
            .collect();
        out.extend(relinearise(ring, isa, tensors, limbs, relin));
    }
}

/// Three polynomials whose limbs `row` fills, in parallel over limbs.
fn tensor(ring: &Ring, limbs: usize, row: impl Fn(usize, [&mut [u64]; 3]) + Sync) -> [RnsPoly; 3] {
    let mut out = [(); 3].map(|()| RnsPoly::new_unspecified(ring.n, limbs));
    let [d0, d1, d2] = &mut out;
    d0.par_iter_mut().zip(d1.par_iter_mut()).zip(d2.par_iter_mut()).enumerate().for_each(|(i, ((d0, d1), d2))| row(i, [d0, d1, d2]));
    out
}

fn relinearise(ring: &Ring, isa: Isa, tensors: Vec<[RnsPoly; 3]>, limbs: usize, relin: &super::PreparedKey) -> Vec<[RnsPoly; 2]> {
    let mut d2 = Vec::with_capacity(tensors.len());
    let mut addends = Vec::with_capacity(tensors.len());
    for [a, b, c] in tensors {
        d2.push(Cow::Owned(c));
        addends.push([a, b].map(|p| Some(Cow::Owned(p))));
    }
    switch_bundle(ring, isa, d2, limbs, relin, addends)
}
