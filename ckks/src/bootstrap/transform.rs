//! One factor of a slot transform on a group of ciphertexts.
//!
//! The linear transform is the double-hoisted baby-step giant-step algorithm of Bossuat, Mouchet,
//! Troncoso-Pastoriza and Hubaux, "Efficient Bootstrapping for Approximate Homomorphic Encryption
//! with Non-Sparse Keys" (EUROCRYPT 2021, section 4): the baby rotations of a ciphertext share one
//! decomposition and stay in the extended basis; for every giant step the component at s alone is
//! divided by the special modulus and decomposed again; the sum is divided once, together with the
//! rescale. Work goes limb by limb, a group of ciphertexts at a time: key and diagonal words are
//! read once for the group.

use super::factor::{DiagonalMatrix, matrix};
use crate::bundle::{BundleError, CtRef, Decomposition, Input, KeyProvider, PreparedKey, check_gadget, check_inputs, span_of, span_order};
use crate::encode::Encoder;
use crate::ring::{Carried, Galois, ModDown, Ring, RnsPoly};
use crate::simd::{
    Buffer, HoistedLimb, HoistedLimbs, HoistedTap, Isa, Weights, expand_pattern, hoisted_windows, largest, mul_constant_assign,
    rotated_product_add,
};
use chiffre_params::bootstrap::FactorPlan;
use chiffre_params::work::MAX_DIGITS;
use rayon::prelude::*;
use std::sync::OnceLock;

/// Where diagonals come from that were prepared before.
pub trait StoredDiagonals {
    /// Fills rows with what is stored under a name, and says if there is something of this shape.
    fn fill(&mut self, name: &str, rows: &mut [&mut [u64]]) -> bool;
}

/// A factor with its diagonals as coefficients, to be made residues at any scale.
#[derive(Debug)]
pub struct EncodedFactor {
    plan: FactorPlan,
    /// `[giant][baby]`, empty for a zero diagonal; encoded when first needed.
    coefficients: OnceLock<Vec<Vec<f64>>>,
}

impl EncodedFactor {
    /// Encodes the diagonals of a plan.
    pub fn new(encoder: &Encoder, plan: FactorPlan) -> Self {
        let coefficients = encode(&plan, encoder).into();
        Self { plan, coefficients }
    }

    /// As [`Self::new`], but diagonals are encoded only if residues are asked for.
    pub(super) fn later(plan: FactorPlan) -> Self {
        Self { plan, coefficients: OnceLock::new() }
    }

    /// Words of the diagonals at one modulus of a ring of degree `n`.
    fn words(&self, n: usize) -> usize {
        let plan = &self.plan;
        plan.babies.len() * plan.giants.len() * if plan.run() == 1 { n } else { plan.blocks() }
    }

    /// The diagonals that `stored` has under a name, at the moduli of some rows of an extended
    /// polynomial. `None` if there are none of this shape, or if they are not residues.
    pub(super) fn stored(&self, ring: &Ring, rows: usize, name: &str, stored: &mut dyn StoredDiagonals) -> Option<Diagonals> {
        let mut words: Vec<Buffer> = (0..rows).map(|_| Buffer::unspecified(self.words(ring.n))).collect();
        if !stored.fill(name, &mut words.iter_mut().map(|w| &mut w[..]).collect::<Vec<_>>()) {
            return None;
        }
        let below = |(row, words): (usize, &Buffer)| {
            let q = ring.moduli[ring.modulus_index(row, self.plan.limbs)].q;
            words.iter().all(|w| *w < q)
        };
        words.par_iter().enumerate().all(below).then(|| Diagonals { run: self.plan.run(), words })
    }

    /// The diagonals times `scale`, rounded, at the moduli of some rows of an extended polynomial.
    pub fn residues(&self, ring: &Ring, isa: Isa, scale: f64, rows: usize) -> Diagonals {
        let plan = &self.plan;
        let (blocks, run) = (plan.blocks(), plan.run());
        let (taps, outputs) = (plan.babies.len(), plan.giants.len());
        let coefficients = self.coefficients.get_or_init(|| encode(plan, &Encoder::new(plan.log_slots + 1)));
        let words = (0..rows)
            .into_par_iter()
            .map(|row| {
                let index = ring.modulus_index(row, plan.limbs);
                let (m, ntt) = (&ring.moduli[index], ring.subring_ntt(index, blocks));
                let width = if run == 1 { 8 } else { 1 };
                let mut out = Buffer::unspecified(self.words(ring.n));
                let mut values = vec![0; blocks];
                for (cell, coefficients) in coefficients.iter().enumerate() {
                    let (output, tap) = (cell / taps, cell % taps);
                    values.fill(0);
                    if !coefficients.is_empty() {
                        let small = &mut values[..coefficients.len()];
                        expand_pattern(isa, m, &[(scale, coefficients, largest(coefficients))], small);
                        spread(&mut values, coefficients.len());
                        ntt.forward(&mut values);
                        mul_constant_assign(isa, m, &mut values, m.r2);
                    }
                    let at = tap * outputs + output;
                    if run == 1 {
                        for (stripe, words) in out.chunks_exact_mut(8 * taps * outputs).enumerate() {
                            for (i, word) in words[8 * at..8 * at + width].iter_mut().enumerate() {
                                *word = values[(8 * stripe + i) * blocks / ring.n];
                            }
                        }
                    } else {
                        out.iter_mut().skip(at).step_by(taps * outputs).zip(&values).for_each(|(word, &v)| *word = v);
                    }
                }
                out
            })
            .collect();
        Diagonals { run, words }
    }

    /// The plan.
    pub fn plan(&self) -> &FactorPlan {
        &self.plan
    }
}

/// The matrix, and for each giant and baby the coefficients (at scale 1) of the polynomial that
/// encodes its diagonal.
fn encode(plan: &FactorPlan, encoder: &Encoder) -> Vec<Vec<f64>> {
    let DiagonalMatrix { diagonals } = matrix(plan.direction, plan.stages.clone(), plan.log_slots);
    let whole = plan.stages.end == plan.log_slots;
    let period = plan.period() as isize;
    let cells: Vec<(isize, isize)> = plan.giants.iter().flat_map(|&g| plan.babies.iter().map(move |&b| (g, b))).collect();
    cells
        .par_iter()
        .map(|&(giant, baby)| {
            let offset = if whole { (giant + baby).rem_euclid(period) } else { giant + baby };
            let Some(diagonal) = diagonals.get(&offset) else { return Vec::new() };
            let rotated: Vec<_> = (0..period).map(|j| diagonal[(j - giant).rem_euclid(period) as usize]).collect();
            encoder.encode_periodic(&rotated).expect("a power of two of finite values")
        })
        .collect()
}

/// Moves the first `count` coefficients apart: a polynomial in a smaller power of X.
fn spread(values: &mut [u64], count: usize) {
    let step = values.len() / count;
    if step > 1 {
        for j in (1..count).rev() {
            values[j * step] = std::mem::take(&mut values[j]);
        }
    }
}

/// Residues of a factor's diagonals, times `R^2`: sums of them carry `Carried::MontgomerySquare`.
pub struct Diagonals {
    run: usize,
    /// By row.
    words: Vec<Buffer>,
}

impl std::fmt::Debug for Diagonals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Diagonals").field("rows", &self.words.len()).field("bytes", &self.bytes()).finish()
    }
}

impl Diagonals {
    /// All words, by row.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.words.iter().map(|w| &w[..])
    }

    /// Their memory.
    pub fn bytes(&self) -> usize {
        self.words.iter().map(|w| w.len() * 8).sum()
    }

    /// The weights at one row.
    pub(super) fn at(&self, row: usize) -> Weights<'_> {
        Weights { run: self.run, words: &self.words[row] }
    }
}

/// Applies a factor to a group: rotations by keys of the plan's shape, and a rescale by the topmost
/// prime in use.
///
/// Temporaries: the digits of the inputs and a few extended rows of them, and two extended
/// polynomials for each giant step and input.
///
/// # Errors
/// A missing key, a gadget that does not fit, inputs that are too short; owned inputs are lost
/// then.
pub fn apply(
    ring: &Ring,
    isa: Isa,
    inputs: Vec<Input<'_>>,
    plan: &FactorPlan,
    diagonals: &Diagonals,
    keys: &dyn KeyProvider,
) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    let (limbs, gadget) = (plan.limbs, plan.gadget);
    check_gadget(ring, gadget, limbs)?;
    check_inputs(ring.n, &inputs, limbs)?;
    if limbs < 2 || gadget.digits_at(limbs) > MAX_DIGITS || ring.n < 64 {
        return Err(BundleError::Gadget { gadget, limbs, specials: ring.p_count() });
    }
    let find = |offset: isize| match offset {
        0 => Ok(None),
        _ => keys.require(Galois::rotation(offset, ring.log_n).into(), gadget).map(Some),
    };
    let babies: Vec<Option<&PreparedKey>> = plan.babies.iter().map(|&b| find(b)).collect::<Result<_, _>>()?;
    let giants: Vec<Option<&PreparedKey>> = plan.giants.iter().map(|&g| find(g)).collect::<Result<_, _>>()?;

    let up = Decomposition::new(ring, isa, gadget, limbs);
    let mut sums = baby_steps(ring, isa, inputs, plan, diagonals, &up, &babies);
    let mut total = sums.remove(0);
    let down = ModDown::new(ring, limbs, gadget.alpha, limbs, Carried::MontgomerySquare);
    for (sum, key) in sums.into_iter().zip(giants.into_iter().skip(1).flatten()) {
        giant_step(ring, isa, sum, &mut total, &up, &down, key);
    }
    let down = ModDown::new(ring, limbs, gadget.alpha, limbs - 1, Carried::MontgomerySquare);
    Ok(divide_pairs(ring, isa, total, &down))
}

/// `ModDown` of both polynomials of some ciphertexts.
pub(super) fn divide_pairs(ring: &Ring, isa: Isa, pairs: Vec<[RnsPoly; 2]>, down: &ModDown) -> Vec<[RnsPoly; 2]> {
    let inner = pairs.len() < rayon::current_num_threads();
    let divide = |poly| down.run(ring, isa, poly, None, inner);
    pairs.into_par_iter().with_max_len(1).map(|[b, a]| rayon::join(|| divide(b), || divide(a)).into()).collect()
}

/// `count` lists of pairs of polynomials without rows.
pub(super) fn empty_pairs(ring: &Ring, count: usize) -> Vec<[RnsPoly; 2]> {
    (0..count).map(|_| [RnsPoly::new_zero(ring.n, 0), RnsPoly::new_zero(ring.n, 0)]).collect()
}

/// Adds a row to each polynomial and cuts these rows into tasks of one span each.
pub(super) fn row_tasks<'a>(ring: &Ring, row: usize, pairs: impl Iterator<Item = &'a mut [RnsPoly; 2]>) -> Vec<Vec<&'a mut [u64]>> {
    let span = span_of(ring.n);
    let mut tasks: Vec<Vec<&mut [u64]>> = (0..ring.n / span).map(|_| Vec::new()).collect();
    for poly in pairs.flatten() {
        if poly.rows() == row {
            poly.push_unspecified();
        }
        tasks.iter_mut().zip(poly.row_mut(row).chunks_exact_mut(span)).for_each(|(task, words)| task.push(words));
    }
    tasks
}

/// Runs one limb of hoisted rotations in parallel over spans, in this order.
pub(super) fn run_limb(isa: Isa, limb: &HoistedLimb<'_>, mut tasks: Vec<Vec<&mut [u64]>>, order: &[usize]) {
    let words = HoistedLimb::scratch_words(limb.inputs.len(), limb.taps.len());
    let tasks: Vec<(usize, Vec<&mut [u64]>)> = order.iter().map(|&s| (s, std::mem::take(&mut tasks[s]))).collect();
    tasks.into_par_iter().for_each_init(
        || Buffer::unspecified(words),
        |scratch, (task, mut out)| {
            let start = task * out.first().map_or(0, |o| o.len());
            hoisted_windows(isa, limb, start, &mut out, scratch);
        },
    );
}

/// The sums of each giant step, `[giant][input]`, in the extended basis, before its rotation.
fn baby_steps(
    ring: &Ring,
    isa: Isa,
    mut inputs: Vec<Input<'_>>,
    plan: &FactorPlan,
    diagonals: &Diagonals,
    up: &Decomposition<'_>,
    keys: &[Option<&PreparedKey>],
) -> Vec<Vec<[RnsPoly; 2]>> {
    let (limbs, gadget) = (plan.limbs, plan.gadget);
    let digits = up.digits(&inputs.iter().map(|i| i.view().c1).collect::<Vec<_>>());
    let order = span_order(ring.n, keys.iter().flatten().next().and_then(|key| key.table()));
    let specials = &ring.moduli[ring.q_count..][..gadget.alpha];
    let mut sums: Vec<Vec<[RnsPoly; 2]>> = plan.giants.iter().map(|_| empty_pairs(ring, inputs.len())).collect();
    up.for_each(&digits, |rows, extended| {
        for row in rows {
            let m = &ring.moduli[ring.modulus_index(row, limbs)];
            let group = inputs.iter().enumerate().map(|(i, input)| {
                let CtRef { c0, c1 } = input.view();
                HoistedLimbs { digits: extended.row(i, c1, row), own: (row < limbs).then(|| [c0.row(row), c1.row(row)]) }
            });
            let taps = keys.iter().map(|key| HoistedTap {
                table: key.and_then(PreparedKey::table),
                keys: key.map_or(Vec::new(), |key| key.rows(up.count(), row, limbs)),
            });
            let limb = HoistedLimb {
                modulus: m,
                n: ring.n,
                own_factor: specials.iter().fold(m.r3, |p, s| m.mul(p, m.reduce(s.q))),
                inputs: group.collect(),
                taps: taps.collect(),
                outputs: plan.giants.len(),
                weights: diagonals.at(row),
            };
            run_limb(isa, &limb, row_tasks(ring, row, sums.iter_mut().flatten()), &order);
            drop(limb);
            inputs.iter_mut().for_each(|input| input.free_row(row));
        }
    });
    sums
}

/// Rotates sums in the extended basis and adds them to others; everything carries `R^2`.
fn giant_step(
    ring: &Ring,
    isa: Isa,
    sums: Vec<[RnsPoly; 2]>,
    total: &mut [[RnsPoly; 2]],
    up: &Decomposition<'_>,
    down: &ModDown,
    key: &PreparedKey,
) {
    let (mut c0, c1): (Vec<RnsPoly>, Vec<RnsPoly>) = sums.into_iter().map(|[c0, c1]| (c0, c1)).unzip();
    let inner = c1.len() < rayon::current_num_threads();
    let c1: Vec<RnsPoly> = c1.into_par_iter().with_max_len(1).map(|c1| down.run(ring, isa, c1, None, inner)).collect();
    let limbs = c1.first().map_or(0, RnsPoly::rows);
    let digits = up.digits(&c1.iter().collect::<Vec<_>>());
    up.for_each(&digits, |rows, extended| {
        for row in rows {
            let m = &ring.moduli[ring.modulus_index(row, limbs)];
            let tap = HoistedTap { table: key.table(), keys: key.rows(up.count(), row, limbs) };
            let inputs: Vec<HoistedLimbs<'_>> = (0..c0.len())
                .map(|i| HoistedLimbs { digits: extended.row(i, &c1[i], row), own: Some([c0[i].row(row), c0[i].row(row)]) })
                .collect();
            row_tasks(ring, row, total.iter_mut()).into_par_iter().enumerate().for_each(|(task, mut out)| {
                let start = task * out.first().map_or(0, |o| o.len());
                rotated_product_add(isa, m, &tap, &inputs, m.r, start, &mut out);
            });
            drop(inputs);
            c0.iter_mut().for_each(|c0| c0.free_row(row));
        }
    });
}
