//! Key switching of one polynomial or of a bundle, and rotations of single ciphertexts.

use super::{BundleError, CtRef, KeyProvider, PreparedKey, check_inputs};
use crate::ring::{Carried, Gadget, Galois, ModDown, ModUp, Ring, RnsPoly};
use crate::simd::{Isa, automorphism_into, key_inner_product};
use rayon::prelude::*;
use std::borrow::Cow;

/// Words of a limb for which one task takes the inner products of all polynomials.
const SPAN: usize = 1024;

/// Checks that keys of shape `gadget` switch polynomials with `limbs` Q limbs.
pub(crate) fn check_gadget(ring: &Ring, gadget: Gadget, limbs: usize) -> Result<(), BundleError> {
    let specials = ring.p_count();
    if (1..=gadget.limbs).contains(&limbs) && gadget.limbs <= ring.q_count && (1..=specials).contains(&gadget.alpha) {
        Ok(())
    } else {
        Err(BundleError::Gadget { gadget, limbs, specials })
    }
}

/// All digits of several polynomials, extended: `[poly][digit]`.
pub(super) fn mod_up_all(ring: &Ring, isa: Isa, up: &ModUp, polys: &[&RnsPoly]) -> Vec<Vec<RnsPoly>> {
    let digits = up.digits();
    let inner = polys.len() * digits < 2 * rayon::current_num_threads();
    let mut flat: Vec<RnsPoly> = (0..polys.len() * digits)
        .into_par_iter()
        .with_max_len(1)
        .map(|i| up.digit(ring, isa, polys[i / digits], i % digits, inner))
        .collect();
    let mut out = Vec::with_capacity(polys.len());
    while !flat.is_empty() {
        let rest = flat.split_off(digits);
        out.push(std::mem::replace(&mut flat, rest));
    }
    out
}

/// Inner products of the digits of several polynomials with one key, in the extended basis, times
/// `R^2` and before the key's automorphism. The key is read once for the whole bundle; rows of
/// digits and of owned polynomials are freed when the products have been taken.
fn inner_products(
    ring: &Ring,
    isa: Isa,
    up: &ModUp,
    mut polys: Vec<Cow<'_, RnsPoly>>,
    mut digits: Vec<Vec<RnsPoly>>,
    limbs: usize,
    key: &PreparedKey,
) -> Vec<[RnsPoly; 2]> {
    let empty = || RnsPoly::new_zero(ring.n, 0);
    let mut out: Vec<[RnsPoly; 2]> = polys.iter().map(|_| [empty(), empty()]).collect();
    let span = SPAN.min(ring.n);
    for row in 0..limbs + key.gadget().alpha {
        // tasks[s]: the words of one span for all polynomials
        let mut tasks: Vec<Vec<[&mut [u64]; 2]>> = (0..ring.n / span).map(|_| Vec::with_capacity(polys.len())).collect();
        for [b, a] in &mut out {
            b.push_unspecified();
            a.push_unspecified();
            let pairs = b.row_mut(row).chunks_exact_mut(span).zip(a.row_mut(row).chunks_exact_mut(span));
            tasks.iter_mut().zip(pairs).for_each(|(task, pair)| task.push(pair.into()));
        }
        let m = &ring.moduli[ring.modulus_index(row, limbs)];
        let keys = key.rows(up.digits(), row, limbs);
        tasks.into_par_iter().enumerate().for_each(|(task, outs)| {
            let words = task * span..(task + 1) * span;
            let keys: Vec<[&[u64]; 2]> = keys.iter().map(|[b, a]| [&b[words.clone()], &a[words.clone()]]).collect();
            for ((poly, extended), out) in polys.iter().zip(&digits).zip(outs) {
                let digits: Vec<&[u64]> = extended.iter().enumerate().map(|(d, e)| &up.row(poly, e, d, row)[words.clone()]).collect();
                key_inner_product(isa, m, &digits, &keys, out);
            }
        });
        for (poly, digits) in polys.iter_mut().zip(&mut digits) {
            digits.iter_mut().enumerate().for_each(|(d, e)| up.free_row(e, d, row));
            if let Cow::Owned(poly) = poly {
                poly.free_row(row);
            }
        }
    }
    out
}

/// Switches several polynomials with `limbs` Q limbs and adds `addends[i]` (two optional
/// polynomials) to the results. The key's automorphism is not applied to the results.
pub(crate) fn switch_bundle(
    ring: &Ring,
    isa: Isa,
    polys: Vec<Cow<'_, RnsPoly>>,
    limbs: usize,
    key: &PreparedKey,
    addends: Vec<[Option<Cow<'_, RnsPoly>>; 2]>,
) -> Vec<[RnsPoly; 2]> {
    let gadget = key.gadget();
    let up = ModUp::new(ring, gadget, limbs);
    let digits = mod_up_all(ring, isa, &up, &polys.iter().map(|p| &**p).collect::<Vec<_>>());
    let inner = 2 * polys.len() < 2 * rayon::current_num_threads();
    let extended = inner_products(ring, isa, &up, polys, digits, limbs, key);
    let down = &ModDown::new(ring, limbs, gadget.alpha, limbs, Carried::MontgomerySquare);
    extended
        .into_par_iter()
        .zip(addends)
        .with_max_len(1)
        .map(|([b, a], [e0, e1])| {
            let (b, a) =
                rayon::join(move || down.run(ring, isa, b, e0.as_deref(), inner), move || down.run(ring, isa, a, e1.as_deref(), inner));
            [b, a]
        })
        .collect()
}

/// Applies the key's automorphism to both polynomials.
fn permute_pair(isa: Isa, key: &PreparedKey, pair: [RnsPoly; 2]) -> [RnsPoly; 2] {
    let Some(table) = key.table() else { return pair };
    pair.map(|poly| {
        let mut out = RnsPoly::new_unspecified(poly.n(), poly.rows());
        out.par_iter_mut().zip(poly.par_iter()).for_each(|(o, p)| automorphism_into(isa, table, p, o));
        out
    })
}

/// Switches the first `limbs` rows of `poly`: for a relinearisation key the result `(b, a)`
/// satisfies `b + a s = poly s^2` up to noise; for a rotation key by `g`,
/// `b + a s = poly(X^g) s(X^g)`.
///
/// # Errors
/// [`BundleError::Gadget`] or [`BundleError::InputShape`].
pub fn key_switch(ring: &Ring, isa: Isa, poly: &RnsPoly, limbs: usize, key: &PreparedKey) -> Result<[RnsPoly; 2], BundleError> {
    check_gadget(ring, key.gadget(), limbs)?;
    check_inputs(ring.n, &[CtRef { c0: poly, c1: poly }.into()], limbs)?;
    let result = switch_bundle(ring, isa, vec![Cow::Borrowed(poly)], limbs, key, vec![[None, None]]).pop();
    Ok(permute_pair(isa, key, result.expect("one result for one polynomial")))
}

/// The automorphism `galois` of a ciphertext of which the first `limbs` limbs are used.
///
/// # Errors
/// A missing key, a gadget that does not fit, or an input that is too short.
pub fn rotate(
    ring: &Ring,
    isa: Isa,
    input: CtRef<'_>,
    limbs: usize,
    galois: Galois,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<[RnsPoly; 2], BundleError> {
    check_gadget(ring, gadget, limbs)?;
    check_inputs(ring.n, &[input.into()], limbs)?;
    if galois == Galois::IDENTITY {
        return Ok([input.c0.truncated(limbs), input.c1.truncated(limbs)]);
    }
    let key = keys.require(galois.into(), gadget)?;
    let result = switch_bundle(ring, isa, vec![Cow::Borrowed(input.c1)], limbs, key, vec![[Some(Cow::Borrowed(input.c0)), None]]).pop();
    Ok(permute_pair(isa, key, result.expect("one result for one polynomial")))
}

/// Complex conjugation of all slots; see [`rotate`].
///
/// # Errors
/// As [`rotate`].
pub fn conjugate(
    ring: &Ring,
    isa: Isa,
    input: CtRef<'_>,
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<[RnsPoly; 2], BundleError> {
    rotate(ring, isa, input, limbs, Galois::conjugation(ring.log_n), keys, gadget)
}
