//! Sums of products and of integer multiples of ciphertexts, each with one relinearisation and one
//! rescale.
//!
//! The division by the special modulus and the rescale are one rounding: with `d` the tensor of a
//! sum and `k` the switched `d_2` in the extended basis, the result is
//! `round((P (d_0, d_1) + k) / (P q))` for the topmost prime `q`. `P (d_0, d_1)` is added while the
//! digits are multiplied by the key.
//!
//! Most of the time would go into moving limbs between memory and caches, so that a few ciphertexts
//! at a time go through all stages, a few rows at a time: digits in the extended basis, tensors and
//! undivided sums exist for those rows only. First come the rows that the division removes, then
//! the others, which are divided at once.

use super::part::Part;
use super::sum::{Factor, Factors, Multiple, Sum};
use super::{BundleError, CtRef, KeyProvider, PreparedKey, check_inputs};
use crate::ring::{BaseConversion, Carried, Gadget, Galois, ModDown, Ring, RnsPoly};
use crate::simd::{self, Isa, LimbSum, LimbWords, key_sum, product_sum};
use rayon::prelude::*;
use std::ops::Range;

/// Most words of a limb for which one task takes the inner products of all ciphertexts.
const SPAN: usize = 2048;
/// Most rows that are in work at a time; at most eight, the targets of one conversion.
const REMOVED_ROWS: usize = 8;
const KEPT_ROWS: usize = 5;

/// Ciphertexts that are in work at a time: they share key rows, and their digits should stay in a
/// cache.
fn batch() -> usize {
    rayon::current_num_threads().clamp(4, 8)
}

/// `rows` in equal parts of at most `most`.
fn parts(rows: Range<usize>, most: usize) -> Vec<Range<usize>> {
    let size = rows.len().div_ceil(rows.len().div_ceil(most).max(1)).max(1);
    rows.clone().step_by(size).map(|start| start..(start + size).min(rows.end)).collect()
}

/// Relinearised and rescaled sums: operands have at least `limbs` limbs, results `limbs - 1`. The
/// key is a relinearisation key that serves `limbs` limbs; there are at least two.
pub(crate) fn relinearised_sums(ring: &Ring, isa: Isa, sums: &[Sum<'_>], limbs: usize, key: &PreparedKey) -> Vec<[RnsPoly; 2]> {
    #[cfg(test)]
    RELINEARISED.with(|count| count.set(count.get() + sums.len()));
    let relinearisation = Relinearisation::new(ring, isa, limbs, key);
    sums.chunks(batch()).flat_map(|sums| relinearisation.run(sums)).collect()
}

#[cfg(test)]
thread_local! {
    /// Sums that this thread has had relinearised.
    pub(crate) static RELINEARISED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The tables of [`relinearised_sums`].
struct Relinearisation<'a> {
    ring: &'a Ring,
    isa: Isa,
    limbs: usize,
    key: &'a PreparedKey,
    removed: Vec<Part>,
    kept: Vec<Part>,
    /// For each kept part.
    down: Vec<BaseConversion>,
    inverse: Vec<u64>,
}

impl<'a> Relinearisation<'a> {
    fn new(ring: &'a Ring, isa: Isa, limbs: usize, key: &'a PreparedKey) -> Self {
        let gadget = key.gadget();
        let index = |row: usize| ring.modulus_index(row, limbs);
        let part = |rows: Range<usize>| Part::new(ring, gadget, limbs, rows);
        let kept: Vec<Part> = parts(0..limbs - 1, KEPT_ROWS).into_iter().map(part).collect();
        let removed: Vec<Part> = parts(limbs - 1..limbs + gadget.alpha, REMOVED_ROWS).into_iter().map(part).collect();
        let source: Vec<usize> = (limbs - 1..limbs + gadget.alpha).map(index).collect();
        let carried = Carried::MontgomerySquare;
        let down = |part: &Part| BaseConversion::new(ring, &source, &part.rows.clone().collect::<Vec<_>>(), carried);
        let inverse = ring.moduli[..limbs - 1].iter().map(|m| ModDown::inverse(ring, &source, m, carried)).collect();
        Self { ring, isa, limbs, key, down: kept.iter().map(down).collect(), removed, kept, inverse }
    }

    fn run(&self, sums: &[Sum<'_>]) -> Vec<[RnsPoly; 2]> {
        let digits = self.digits(sums);
        let mut removed: Vec<[Vec<LimbWords>; 2]> = sums.iter().map(|_| Default::default()).collect();
        for part in &self.removed {
            for (all, new) in removed.iter_mut().zip(self.undivided(sums, &digits, part)) {
                all.iter_mut().zip(new).for_each(|(all, new)| all.extend(new));
            }
        }
        let prepare = |rows: Vec<LimbWords>| {
            let rows: Vec<&[u64]> = rows.iter().map(|r| &**r).collect();
            self.down[0].prepare(self.ring, self.isa, &rows, self.is_narrow(sums))
        };
        let quotients: Vec<Vec<LimbWords>> =
            removed.into_iter().flatten().collect::<Vec<_>>().into_par_iter().with_max_len(1).map(prepare).collect();
        let mut out: Vec<Vec<LimbWords>> = quotients.iter().map(|_| Vec::with_capacity(self.limbs - 1)).collect();
        for (part, down) in self.kept.iter().zip(&self.down) {
            let undivided: Vec<Vec<LimbWords>> = self.undivided(sums, &digits, part).into_iter().flatten().collect();
            let tasks = out.par_iter_mut().zip(&quotients).zip(undivided).with_max_len(1);
            tasks.for_each(|((out, quotient), undivided)| self.divide(part, down, quotient, undivided, out));
        }
        let mut polys = out.into_iter().map(|rows| RnsPoly::from_rows(self.ring.n, rows));
        sums.iter().map(|_| [(); 2].map(|()| polys.next().expect("two polynomials for each sum"))).collect()
    }

    /// Whether there are fewer polynomials than threads, so that work on one of them has to be
    /// split.
    fn is_narrow(&self, sums: &[Sum<'_>]) -> bool {
        sums.len() < rayon::current_num_threads()
    }

    /// The digits of the last components, ready for conversion: `[sum][digit]`.
    fn digits(&self, sums: &[Sum<'_>]) -> Vec<Vec<Vec<LimbWords>>> {
        let gadget = self.key.gadget();
        let half = self.ring.n / 2;
        let row = |sum: &Sum<'_>, row: usize| {
            let m = &self.ring.moduli[row];
            let factors = Factors::new(m, self.ring.imaginary[row], m.r, sum);
            let mut out = LimbWords::unspecified(self.ring.n);
            for (h, out) in out.chunks_exact_mut(half).enumerate() {
                let products = factors.products(sum, row, h * half..(h + 1) * half);
                product_sum(self.isa, m, &factors.runs(&products, h), out);
            }
            out
        };
        let digit = |(sum, d): (&Sum<'_>, usize)| {
            let rows: Vec<LimbWords> = gadget.digit(d, self.limbs).map(|r| row(sum, r)).collect();
            let rows: Vec<&[u64]> = rows.iter().map(|r| &**r).collect();
            self.kept[0].up[d].prepare(self.ring, self.isa, &rows, self.is_narrow(sums))
        };
        let count = gadget.digits_at(self.limbs);
        let all: Vec<(&Sum<'_>, usize)> = sums.iter().flat_map(|sum| (0..count).map(move |d| (sum, d))).collect();
        let mut flat = all.into_par_iter().with_max_len(1).map(digit).collect::<Vec<_>>().into_iter();
        sums.iter().map(|_| flat.by_ref().take(count).collect()).collect()
    }

    /// The rows of a part before the division: `[sum][component][row]`.
    fn undivided(&self, sums: &[Sum<'_>], digits: &[Vec<Vec<LimbWords>>], part: &Part) -> Vec<[Vec<LimbWords>; 2]> {
        let (ring, limbs, gadget) = (self.ring, self.limbs, self.key.gadget());
        let flat: Vec<(usize, &Vec<LimbWords>)> = digits.iter().flat_map(|d| d.iter().enumerate()).collect();
        let mut extended: Vec<Vec<LimbWords>> =
            flat.into_par_iter().with_max_len(1).map(|(d, y)| part.extend(ring, self.isa, d, y)).collect();
        let count = gadget.digits_at(limbs);
        let mut out: Vec<[Vec<LimbWords>; 2]> = sums.iter().map(|_| Default::default()).collect();
        let span = SPAN.min(ring.n / 2);
        for row in part.rows.clone() {
            let m = &ring.moduli[ring.modulus_index(row, limbs)];
            let own = (0..count).find(|&d| gadget.digit(d, limbs).contains(&row));
            let specials = &ring.moduli[ring.q_count..][..gadget.alpha];
            let common = specials.iter().fold(m.r3, |p, s| m.mul(p, m.reduce(s.q)));
            let factors: Vec<Factors> = match own {
                Some(_) => sums.iter().map(|sum| Factors::new(m, ring.imaginary[row], common, sum)).collect(),
                None => Vec::new(),
            };
            let keys = self.key.rows(count, row, limbs);
            let place: Vec<Option<usize>> = part.targets.iter().map(|t| t.iter().position(|&r| r == row)).collect();
            let mut rows: Vec<[LimbWords; 2]> = sums.iter().map(|_| [(); 2].map(|()| LimbWords::unspecified(ring.n))).collect();
            by_span(&mut rows, span).into_par_iter().enumerate().for_each(|(task, outs)| {
                let words = task * span..(task + 1) * span;
                let half = usize::from(words.start >= ring.n / 2);
                let key = |d: usize| [&keys[d][0][words.clone()], &keys[d][1][words.clone()]];
                let others: Vec<[&[u64]; 2]> = (0..count).filter(|&d| Some(d) != own).map(key).collect();
                for (i, out) in outs.into_iter().enumerate() {
                    let digits: Vec<&[u64]> = (extended[i * count..][..count].iter().zip(&place))
                        .filter_map(|(rows, place)| place.map(|p| &rows[p][words.clone()]))
                        .collect();
                    let Some(factors) = factors.get(i) else {
                        key_sum(self.isa, m, &digits, &others, LimbSum::default(), out);
                        continue;
                    };
                    let products = factors.products(&sums[i], row, words.clone());
                    let products = factors.runs(&products, half);
                    let multiples = factors.multiples(&sums[i], row, half, words.clone());
                    let terms = factors.terms(&sums[i], row, words.clone());
                    let sum = LimbSum {
                        products: &products,
                        multiples: &multiples,
                        terms: &factors.groups(&terms, half),
                        constant: factors.constant(half),
                        vectors: &factors.vectors(&sums[i], row, half, words.clone()),
                        last_key: own.map(key),
                    };
                    key_sum(self.isa, m, &digits, &others, sum, out);
                }
            });
            for extended in extended.chunks_mut(count) {
                for (rows, place) in extended.iter_mut().zip(&place) {
                    if let Some(place) = *place {
                        rows[place] = LimbWords::EMPTY;
                    }
                }
            }
            for (out, [b, a]) in out.iter_mut().zip(rows) {
                out[0].push(b);
                out[1].push(a);
            }
        }
        out
    }

    /// Divides the rows of a kept part and appends them to the result.
    fn divide(&self, part: &Part, down: &BaseConversion, quotient: &[LimbWords], undivided: Vec<LimbWords>, out: &mut Vec<LimbWords>) {
        let y: Vec<&[u64]> = quotient.iter().map(|r| &**r).collect();
        let mut rows: Vec<LimbWords> = undivided.iter().map(|_| LimbWords::unspecified(self.ring.n)).collect();
        down.group(self.isa, 0, &y, &mut rows.iter_mut().map(|r| &mut **r).collect::<Vec<_>>());
        let tasks = rows.par_iter_mut().zip(undivided).zip(part.rows.clone()).with_max_len(1);
        tasks.for_each(|((d, a), row)| self.ring.ntt[row].forward_mod_down(d, &a, self.inverse[row], None));
        out.extend(rows);
    }
}

/// The words of each span for all ciphertexts.
fn by_span(rows: &mut [[LimbWords; 2]], span: usize) -> Vec<Vec<[&mut [u64]; 2]>> {
    let count = rows.len();
    let mut tasks: Vec<Vec<[&mut [u64]; 2]>> = Vec::new();
    for [b, a] in rows {
        tasks.resize_with(b.len() / span, || Vec::with_capacity(count));
        let pairs = b.chunks_exact_mut(span).zip(a.chunks_exact_mut(span));
        tasks.iter_mut().zip(pairs).for_each(|(task, pair)| task.push(pair.into()));
    }
    tasks
}

/// Rescaled sums without products: operands have at least `limbs` limbs, results `limbs - 1`.
pub(crate) fn rescaled_sums(ring: &Ring, isa: Isa, sums: &[Sum<'_>], limbs: usize) -> Vec<[RnsPoly; 2]> {
    let top = limbs - 1;
    let downs: Vec<BaseConversion> = (0..top).map(|row| BaseConversion::new(ring, &[top], &[row], Carried::Nothing)).collect();
    let tops: Vec<[Vec<LimbWords>; 2]> = sums
        .par_iter()
        .with_max_len(1)
        .map(|sum| linear_row(ring, isa, sum, top).map(|row| downs[0].prepare(ring, isa, &[&row], false)))
        .collect();
    let divided = |i: usize, row: usize| {
        let [b, a] = linear_row(ring, isa, &sums[i], row);
        let m = &ring.moduli[row];
        let inverse = ModDown::inverse(ring, &[top], m, Carried::Nothing);
        let divide = |a: LimbWords, y: &[LimbWords]| {
            let mut d = LimbWords::unspecified(ring.n);
            downs[row].group(isa, 0, &y.iter().map(|r| &**r).collect::<Vec<_>>(), &mut [&mut d]);
            ring.ntt[row].forward_mod_down(&mut d, &a, inverse, None);
            d
        };
        [divide(b, &tops[i][0]), divide(a, &tops[i][1])]
    };
    assemble(ring, sums.len(), top, divided)
}

/// Sums without products, as they are.
fn linear_sums(ring: &Ring, isa: Isa, sums: &[Sum<'_>], limbs: usize) -> Vec<[RnsPoly; 2]> {
    assemble(ring, sums.len(), limbs, |i, row| linear_row(ring, isa, &sums[i], row))
}

/// Row `row` of a sum without products.
fn linear_row(ring: &Ring, isa: Isa, sum: &Sum<'_>, row: usize) -> [LimbWords; 2] {
    debug_assert!(sum.products.is_empty());
    let m = &ring.moduli[row];
    let factors = Factors::new(m, ring.imaginary[row], m.r, sum);
    let mut out = [(); 2].map(|()| LimbWords::unspecified(ring.n));
    let half = ring.n / 2;
    let [c0, c1] = &mut out;
    for (h, (c0, c1)) in c0.chunks_exact_mut(half).zip(c1.chunks_exact_mut(half)).enumerate() {
        let words = h * half..(h + 1) * half;
        let multiples = factors.multiples(sum, row, h, words.clone());
        let terms = factors.terms(sum, row, words.clone());
        let limb = LimbSum {
            multiples: &multiples,
            terms: &factors.groups(&terms, h),
            constant: factors.constant(h),
            vectors: &factors.vectors(sum, row, h, words),
            ..LimbSum::default()
        };
        key_sum(isa, m, &[], &[], limb, [c0, c1]);
    }
    out
}

/// `count` ciphertexts from their rows, in parallel.
fn assemble(ring: &Ring, count: usize, rows: usize, row: impl Fn(usize, usize) -> [LimbWords; 2] + Sync) -> Vec<[RnsPoly; 2]> {
    let one = |i: usize| {
        let (b, a) = (0..rows).into_par_iter().with_max_len(1).map(|r| row(i, r).into()).unzip();
        [RnsPoly::from_rows(ring.n, b), RnsPoly::from_rows(ring.n, a)]
    };
    (0..count).map(one).collect()
}

/// Real and imaginary parts of complex-packed ciphertexts of which the first `limbs` limbs are
/// used: for slots `a + ib` the slots `2 a` and `2 b`, that is `a` and `b` at twice the scale. One
/// conjugation each; no rescale.
///
/// # Errors
/// A missing conjugation key, a gadget that does not fit, or an input that is too short.
pub(crate) fn split_halves(
    ring: &Ring,
    isa: Isa,
    inputs: &[CtRef<'_>],
    limbs: usize,
    keys: &dyn KeyProvider,
    gadget: Gadget,
) -> Result<[Vec<[RnsPoly; 2]>; 2], BundleError> {
    super::switch::check_gadget(ring, gadget, limbs)?;
    check_inputs(ring.n, &super::Input::borrowed(inputs), limbs)?;
    let key = keys.require(Galois::conjugation(ring.log_n).into(), gadget)?;
    let table = key.table().ok_or(BundleError::MissingKey { target: key.target(), gadget })?;
    let c1 = inputs.iter().map(|z| std::borrow::Cow::Borrowed(z.c1)).collect();
    let c0 = inputs.iter().map(|z| [Some(std::borrow::Cow::Borrowed(z.c0)), None]).collect();
    let conjugates = super::switch::switch_bundle(ring, isa, c1, limbs, key, c0);
    let split = |z: &RnsPoly, zbar: &RnsPoly| {
        let mut out = [(); 2].map(|()| RnsPoly::new_unspecified(ring.n, limbs));
        let [re, im] = &mut out;
        re.par_iter_mut().zip(im.par_iter_mut()).enumerate().for_each(|(row, (re, im))| {
            simd::split_halves(isa, &ring.moduli[row], ring.imaginary[row], table, z.row(row), zbar.row(row), [re, im]);
        });
        out
    };
    let pairs = inputs.iter().zip(conjugates).map(|(z, [zbar0, zbar1])| {
        let [re0, im0] = split(z.c0, &zbar0);
        let [re1, im1] = split(z.c1, &zbar1);
        ([re0, re1], [im0, im1])
    });
    let (re, im) = pairs.unzip();
    Ok([re, im])
}

/// `re + i im` of ciphertexts with real slots, limb by limb: the opposite of [`split_halves`] up to
/// its factor 2.
pub(crate) fn combine_halves(ring: &Ring, isa: Isa, halves: &[[CtRef<'_>; 2]], limbs: usize) -> Vec<[RnsPoly; 2]> {
    let sums: Vec<Sum<'_>> = halves
        .iter()
        .map(|[re, im]| Sum {
            multiples: [(*re, false), (*im, true)].map(|(ct, imaginary)| Multiple { ct, factor: Factor::Number(1.0), imaginary }).to_vec(),
            ..Sum::default()
        })
        .collect();
    linear_sums(ring, isa, &sums, limbs)
}
