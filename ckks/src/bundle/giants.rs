//! Giant steps of a linear map: its outputs are partial sums, which are rotated and added.
//!
//! The double-hoisted algorithm of Bossuat, Mouchet, Troncoso-Pastoriza and Hubaux, "Efficient
//! Bootstrapping for Approximate Homomorphic Encryption with Non-Sparse Keys" (EUROCRYPT 2021,
//! section 4), with the rescale inside: of a partial sum in the extended basis, the component at s
//! is divided by the special modulus and the dropped primes, decomposed and switched; the constant
//! component is only permuted and added, limb by limb as it is computed, and divided once for all
//! steps.

use super::digits::Decomposition;
use super::span::span_of;
use super::switch::check_gadget;
use super::{BundleError, KeyProvider, PreparedKey};
use crate::ring::{Carried, Gadget, Galois, ModDown, Ring, RnsPoly};
use crate::simd::{Isa, RotatedProduct, RotatedRow, rotated_product_sum, rotated_row_sum};
use chiffre_params::work::MAX_DIGITS;
use rayon::prelude::*;

/// What happens to the outputs of a map that are partial sums:
/// `out_o = sum_k rot_k(partial_(k stride + o))`, where the stride is the next power of two of the
/// number of outputs.
#[derive(Clone, Copy, Debug)]
pub struct GiantSteps<'a> {
    /// Rotation offset of each step; all are different, 0 is the identity and needs no key.
    pub steps: &'a [isize],
    /// Number of sums.
    pub outputs: usize,
    /// Shape of their rotation keys, which serve the limbs that the rescale leaves.
    pub gadget: Gadget,
}

/// Giant steps with their keys.
pub(super) struct Giants<'a> {
    ring: &'a Ring,
    isa: Isa,
    outputs: usize,
    /// Outputs of the table.
    partials: usize,
    gadget: Gadget,
    /// Q limbs of partial sums and of the result.
    limbs: [usize; 2],
    /// By step; `None` is the identity.
    keys: Vec<Option<&'a PreparedKey>>,
}

impl<'a> Giants<'a> {
    /// For a table with `partials` outputs at `limbs[0]` limbs, of which the rescale leaves
    /// `limbs[1]`.
    pub fn new(
        ring: &'a Ring,
        isa: Isa,
        of: &GiantSteps<'_>,
        partials: usize,
        limbs: [usize; 2],
        keys: &'a dyn KeyProvider,
    ) -> Result<Self, BundleError> {
        let GiantSteps { steps, outputs, gadget } = *of;
        let galois: Vec<Galois> = steps.iter().map(|&s| Galois::rotation(s, ring.log_n)).collect();
        let distinct = (1..galois.len()).all(|i| !galois[..i].contains(&galois[i]));
        let stride = outputs.checked_next_power_of_two().unwrap_or(0);
        if outputs == 0
            || !distinct
            || (steps.len().checked_sub(1)).and_then(|k| k.checked_mul(stride)?.checked_add(outputs)) != Some(partials)
        {
            return Err(BundleError::Table(format!("{partials} partial sums for {outputs} outputs and giant steps {steps:?}")));
        }
        let find = |g: &Galois| if *g == Galois::IDENTITY { Ok(None) } else { keys.require((*g).into(), gadget).map(Some) };
        let keys: Vec<Option<&PreparedKey>> = galois.iter().map(find).collect::<Result<_, _>>()?;
        if keys.iter().any(Option::is_some) {
            check_gadget(ring, gadget, limbs[1])?;
        }
        Ok(Self { ring, isa, outputs, partials, gadget, limbs, keys })
    }

    /// The partial sum of a step.
    fn partial(&self, step: usize, output: usize) -> usize {
        step * self.outputs.next_power_of_two() + output
    }

    /// Polynomials without rows for the constant components of the sums of some bundles.
    pub fn totals(&self, bundles: usize) -> Vec<RnsPoly> {
        (0..bundles * self.outputs).map(|_| RnsPoly::new_zero(self.ring.n, 0)).collect()
    }

    /// Adds the constant components of all bundles at one row, which `sums` loses:
    /// `sums[2 partial + component]`, bundle by bundle.
    pub fn gather(&self, row: usize, sums: &mut [RnsPoly], totals: &mut [RnsPoly]) {
        let (ring, span) = (self.ring, span_of(self.ring.n));
        let m = &ring.moduli[ring.modulus_index(row, self.limbs[0])];
        let of_sum = |i: usize| -> Vec<RotatedRow<'_>> {
            let of = &sums[i / self.outputs * 2 * self.partials..];
            let term = |(step, key): (usize, &Option<&'a PreparedKey>)| RotatedRow {
                table: key.and_then(PreparedKey::table),
                row: of[2 * self.partial(step, i % self.outputs)].row(row),
            };
            self.keys.iter().enumerate().map(term).collect()
        };
        let terms: Vec<Vec<RotatedRow<'_>>> = (0..totals.len()).map(of_sum).collect();
        let mut tasks = vec![];
        for (terms, total) in terms.iter().zip(totals) {
            total.push_unspecified();
            tasks.extend(total.row_mut(row).chunks_exact_mut(span).enumerate().map(|(s, out)| (terms, s * span, out)));
        }
        tasks.into_par_iter().for_each(|(terms, start, out)| rotated_row_sum(self.isa, m, terms, start, out));
        drop(terms);
        sums.iter_mut().step_by(2).for_each(|c0| c0.free_row(row));
    }

    /// Both components of all sums, `[2 output + component]`, bundle by bundle: from the partial
    /// sums, whose constant components have been gathered in `totals`, with `alpha` special primes.
    pub fn finish(&self, sums: Vec<RnsPoly>, totals: Vec<RnsPoly>, alpha: usize) -> Vec<RnsPoly> {
        let [limbs, keep] = self.limbs;
        let divide = |polys: Vec<RnsPoly>| -> Vec<RnsPoly> {
            if alpha == 0 && keep == limbs {
                return polys;
            }
            let down = ModDown::new(self.ring, limbs, alpha, keep, Carried::Nothing);
            let inner = polys.len() < 2 * rayon::current_num_threads();
            polys.into_par_iter().with_max_len(1).map(|p| down.run(self.ring, self.isa, p, None, inner)).collect()
        };
        // [step][bundle and output]
        let mut slopes: Vec<Option<RnsPoly>> = sums.into_iter().skip(1).step_by(2).map(Some).collect();
        let mut by_step = Vec::with_capacity(self.keys.len() * totals.len());
        for step in 0..self.keys.len() {
            by_step.extend(
                (0..totals.len()).filter_map(|i| slopes[i / self.outputs * self.partials + self.partial(step, i % self.outputs)].take()),
            );
        }
        drop(slopes);
        let mut slopes = divide(by_step);
        let constants = divide(totals);
        let identity = self.keys.iter().position(Option::is_none);
        let unturned: Option<Vec<RnsPoly>> = identity.map(|step| {
            let rest = slopes.split_off((step + 1) * constants.len());
            let own = slopes.split_off(step * constants.len());
            slopes.extend(rest);
            own
        });
        let keys: Vec<&'a PreparedKey> = self.keys.iter().copied().flatten().collect();
        if keys.is_empty() {
            return constants.into_iter().zip(unturned.into_iter().flatten()).flat_map(|(c0, c1)| [c0, c1]).collect();
        }
        let switched = self.switch(slopes, constants.len(), &keys);
        let down = ModDown::new(self.ring, keep, self.gadget.alpha, keep, Carried::MontgomerySquare);
        let addends = constants.iter().enumerate().flat_map(|(i, c0)| [Some(c0), unturned.as_ref().map(|u| &u[i])]);
        let inner = switched.len() < 2 * rayon::current_num_threads();
        let tasks: Vec<(RnsPoly, Option<&RnsPoly>)> = switched.into_iter().zip(addends).collect();
        tasks.into_par_iter().with_max_len(1).map(|(p, addend)| down.run(self.ring, self.isa, p, addend, inner)).collect()
    }

    /// Sums over the steps of switched components at s, `slopes[step][sum]`, in the extended basis
    /// and times `R^2`: `[2 sum + component]`.
    fn switch(&self, mut slopes: Vec<RnsPoly>, count: usize, keys: &[&'a PreparedKey]) -> Vec<RnsPoly> {
        let (ring, limbs, span) = (self.ring, self.limbs[1], span_of(self.ring.n));
        let up = Decomposition::new(ring, self.isa, self.gadget, limbs);
        let digits = up.digits(&slopes.iter().collect::<Vec<_>>());
        let mut out: Vec<RnsPoly> = (0..2 * count).map(|_| RnsPoly::new_zero(ring.n, 0)).collect();
        up.for_each(&digits, |rows, extended| {
            for row in rows {
                let m = &ring.moduli[ring.modulus_index(row, limbs)];
                let of_sum = |i: usize| -> Vec<RotatedProduct<'_>> {
                    let mut terms = vec![];
                    for (step, key) in keys.iter().enumerate() {
                        let Some(table) = key.table() else { continue };
                        let at = step * count + i;
                        let (digits, keys) = (extended.row(at, &slopes[at], row), key.rows(up.count(), row, limbs));
                        let parts = digits.chunks(MAX_DIGITS).zip(keys.chunks(MAX_DIGITS));
                        terms.extend(parts.map(|(digits, keys)| RotatedProduct { table, digits: digits.to_vec(), keys: keys.to_vec() }));
                    }
                    terms
                };
                let terms: Vec<Vec<RotatedProduct<'_>>> = (0..count).map(of_sum).collect();
                let mut tasks = vec![];
                for (terms, pair) in terms.iter().zip(out.chunks_exact_mut(2)) {
                    pair.iter_mut().for_each(RnsPoly::push_unspecified);
                    let [b, a] = pair else { continue };
                    let spans = b.row_mut(row).chunks_exact_mut(span).zip(a.row_mut(row).chunks_exact_mut(span));
                    tasks.extend(spans.enumerate().map(|(s, (b, a))| (terms, s * span, [b, a])));
                }
                tasks.into_par_iter().for_each(|(terms, start, out)| rotated_product_sum(self.isa, m, terms, start, out));
                drop(terms);
                slopes.iter_mut().for_each(|s| s.free_row(row));
            }
        });
        out
    }
}
