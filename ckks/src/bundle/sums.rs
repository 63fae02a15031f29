//! Sums of products and of integer multiples of ciphertexts, each with one relinearisation and one rescale.
//!
//! The division by the special modulus and the rescale are one rounding: with `d` the tensor of a sum and `k` the
//! switched `d_2` in the extended basis, the result is `round((P (d_0, d_1) + k) / (P q))` for the topmost prime `q`.
//! `P (d_0, d_1)` is added while the digits are multiplied by the key, so that `d_0` and `d_1` are never stored.

use super::switch::mod_up_all;
use super::{BundleError, CtRef, KeyProvider, PreparedKey, check_inputs};
use crate::ring::{Carried, Gadget, Galois, ModDown, ModUp, Modulus, Ring, RnsPoly};
use crate::simd::{self, Isa, LimbMultiple, LimbProduct, LimbSum, key_sum, product_sum};
use rayon::prelude::*;

/// Most words of a limb for which one task takes the inner products of all ciphertexts.
const SPAN: usize = 2048;

/// `factor · i^imaginary · left · right`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a> {
    pub left: CtRef<'a>,
    pub right: CtRef<'a>,
    /// An integer below 2^53 in magnitude.
    pub factor: f64,
    pub imaginary: bool,
}

/// `factor · i^imaginary · ct`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Multiple<'a> {
    pub ct: CtRef<'a>,
    /// An integer below 2^100 in magnitude.
    pub factor: f64,
    pub imaginary: bool,
}

/// A sum of products and multiples, plus a constant for all slots (real and imaginary part, integers below 2^100).
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum<'a> {
    pub products: Vec<Product<'a>>,
    pub multiples: Vec<Multiple<'a>>,
    pub constant: [f64; 2],
}

/// The numbers of a sum at one limb: for the first and for the second half of the NTT order, where `i = X^(N/2)` is a
/// constant and its negative.
struct Factors {
    products: Vec<[u64; 2]>,
    multiples: Vec<[u64; 2]>,
    constant: [u64; 2],
}

impl Factors {
    /// Products times `unit R`, all others times `unit`.
    fn new(m: &Modulus, imaginary: u64, unit: u64, sum: &Sum<'_>) -> Self {
        let halves = |value: f64, is_imaginary: bool, unit: u64| {
            let value = m.mul(m.from_f64(value), unit);
            if is_imaginary {
                let value = m.mul(value, imaginary);
                [value, m.neg(value)]
            } else {
                [value; 2]
            }
        };
        let unit_r = m.mul(unit, m.r);
        let [re, im] = [halves(sum.constant[0], false, unit), halves(sum.constant[1], true, unit)];
        Self {
            products: sum.products.iter().map(|p| halves(p.factor, p.imaginary, unit_r)).collect(),
            multiples: sum.multiples.iter().map(|t| halves(t.factor, t.imaginary, unit)).collect(),
            constant: [m.add(re[0], im[0]), m.add(re[1], im[1])],
        }
    }

    fn products<'a>(&self, sum: &Sum<'a>, row: usize, half: usize, words: std::ops::Range<usize>) -> Vec<LimbProduct<'a>> {
        let part = |ct: CtRef<'a>| [&ct.c0.row(row)[words.clone()], &ct.c1.row(row)[words.clone()]];
        let limb = |(p, f): (&Product<'a>, &[u64; 2])| LimbProduct { left: part(p.left), right: part(p.right), factor: f[half] };
        sum.products.iter().zip(&self.products).map(limb).collect()
    }

    fn multiples<'a>(&self, sum: &Sum<'a>, row: usize, half: usize, words: std::ops::Range<usize>) -> Vec<LimbMultiple<'a>> {
        let part = |ct: CtRef<'a>| [&ct.c0.row(row)[words.clone()], &ct.c1.row(row)[words.clone()]];
        let limb = |(t, f): (&Multiple<'a>, &[u64; 2])| LimbMultiple { rows: part(t.ct), factor: f[half] };
        sum.multiples.iter().zip(&self.multiples).map(limb).collect()
    }
}

fn span(n: usize) -> usize {
    SPAN.min(n / 2)
}

/// Relinearised and rescaled sums: operands have at least `limbs` limbs, results `limbs - 1`. The key is a
/// relinearisation key that serves `limbs` limbs; there are at least two.
pub(crate) fn relinearised_sums(ring: &Ring, isa: Isa, sums: &[Sum<'_>], limbs: usize, key: &PreparedKey) -> Vec<[RnsPoly; 2]> {
    let gadget = key.gadget();
    let up = ModUp::new(ring, gadget, limbs);
    let mut squares: Vec<RnsPoly> = sums.iter().map(|sum| last_component(ring, isa, sum, limbs)).collect();
    let mut digits = mod_up_all(ring, isa, &up, &squares.iter().collect::<Vec<_>>());

    let specials = &ring.moduli[ring.q_count..][..gadget.alpha];
    let span = span(ring.n);
    let mut out: Vec<[RnsPoly; 2]> = sums.iter().map(|_| [(); 2].map(|()| RnsPoly::new_zero(ring.n, 0))).collect();
    for row in 0..limbs + gadget.alpha {
        let m = &ring.moduli[ring.modulus_index(row, limbs)];
        let factors: Vec<Factors> = if row < limbs {
            let unit = specials.iter().fold(m.r3, |p, s| m.mul(p, m.reduce(s.q)));
            sums.iter().map(|sum| Factors::new(m, ring.imaginary[row], unit, sum)).collect()
        } else {
            Vec::new()
        };
        let keys = key.rows(up.digits(), row, limbs);
        by_span(&mut out, span).into_par_iter().enumerate().for_each(|(task, outs)| {
            let words = task * span..(task + 1) * span;
            let half = usize::from(words.start >= ring.n / 2);
            let keys: Vec<[&[u64]; 2]> = keys.iter().map(|[b, a]| [&b[words.clone()], &a[words.clone()]]).collect();
            for (i, out) in outs.into_iter().enumerate() {
                let (sum, square) = (&sums[i], &squares[i]);
                let digits: Vec<&[u64]> = digits[i].iter().enumerate().map(|(d, e)| &up.row(square, e, d, row)[words.clone()]).collect();
                let Some(factors) = factors.get(i) else {
                    key_sum(isa, m, &digits, &keys, LimbSum::default(), out);
                    continue;
                };
                let products = factors.products(sum, row, half, words.clone());
                let multiples = factors.multiples(sum, row, half, words.clone());
                let constant = factors.constant[half];
                key_sum(isa, m, &digits, &keys, LimbSum { products: &products, multiples: &multiples, constant }, out);
            }
        });
        for (square, digits) in squares.iter_mut().zip(&mut digits) {
            digits.iter_mut().enumerate().for_each(|(d, e)| up.free_row(e, d, row));
            square.free_row(row);
        }
    }
    divide(ring, isa, out, &ModDown::new(ring, limbs, gadget.alpha, limbs - 1, Carried::MontgomerySquare))
}

/// Rescaled sums without products: operands have at least `limbs` limbs, results `limbs - 1`.
pub(crate) fn rescaled_sums(ring: &Ring, isa: Isa, sums: &[Sum<'_>], limbs: usize) -> Vec<[RnsPoly; 2]> {
    let out = linear_sums(ring, isa, sums, limbs);
    divide(ring, isa, out, &ModDown::new(ring, limbs, 0, limbs - 1, Carried::Nothing))
}

/// Sums without products, as they are.
fn linear_sums(ring: &Ring, isa: Isa, sums: &[Sum<'_>], limbs: usize) -> Vec<[RnsPoly; 2]> {
    debug_assert!(sums.iter().all(|s| s.products.is_empty()));
    let mut out: Vec<[RnsPoly; 2]> = sums.iter().map(|_| [(); 2].map(|()| RnsPoly::new_unspecified(ring.n, limbs))).collect();
    let half = ring.n / 2;
    let rows = out.iter_mut().zip(sums).flat_map(|([c0, c1], sum)| c0.iter_mut().zip(c1.iter_mut()).enumerate().map(move |r| (sum, r)));
    rows.collect::<Vec<_>>().into_par_iter().for_each(|(sum, (row, (c0, c1)))| {
        let m = &ring.moduli[row];
        let factors = Factors::new(m, ring.imaginary[row], m.r, sum);
        for (h, (c0, c1)) in c0.chunks_exact_mut(half).zip(c1.chunks_exact_mut(half)).enumerate() {
            let multiples = factors.multiples(sum, row, h, h * half..(h + 1) * half);
            key_sum(isa, m, &[], &[], LimbSum { products: &[], multiples: &multiples, constant: factors.constant[h] }, [c0, c1]);
        }
    });
    out
}

/// The component at `s^2` of a sum.
fn last_component(ring: &Ring, isa: Isa, sum: &Sum<'_>, limbs: usize) -> RnsPoly {
    let mut out = RnsPoly::new_unspecified(ring.n, limbs);
    let half = ring.n / 2;
    out.par_iter_mut().enumerate().for_each(|(row, out)| {
        let m = &ring.moduli[row];
        let factors = Factors::new(m, ring.imaginary[row], m.r, sum);
        for (h, out) in out.chunks_exact_mut(half).enumerate() {
            product_sum(isa, m, &factors.products(sum, row, h, h * half..(h + 1) * half), out);
        }
    });
    out
}

/// Appends a row to every polynomial and cuts it: the words of each span for all ciphertexts.
fn by_span(out: &mut [[RnsPoly; 2]], span: usize) -> Vec<Vec<[&mut [u64]; 2]>> {
    let count = out.len();
    let mut tasks: Vec<Vec<[&mut [u64]; 2]>> = Vec::new();
    for [b, a] in out {
        let row = b.rows();
        b.push_unspecified();
        a.push_unspecified();
        tasks.resize_with(b.n() / span, || Vec::with_capacity(count));
        let pairs = b.row_mut(row).chunks_exact_mut(span).zip(a.row_mut(row).chunks_exact_mut(span));
        tasks.iter_mut().zip(pairs).for_each(|(task, pair)| task.push(pair.into()));
    }
    tasks
}

fn divide(ring: &Ring, isa: Isa, pairs: Vec<[RnsPoly; 2]>, down: &ModDown) -> Vec<[RnsPoly; 2]> {
    let inner = 2 * pairs.len() < 2 * rayon::current_num_threads();
    pairs
        .into_par_iter()
        .with_max_len(1)
        .map(|[b, a]| {
            let (b, a) = rayon::join(|| down.run(ring, isa, b, None, inner), || down.run(ring, isa, a, None, inner));
            [b, a]
        })
        .collect()
}

/// Real and imaginary parts of complex-packed ciphertexts of which the first `limbs` limbs are used: for slots `a + ib`
/// the slots `2 a` and `2 b`, that is `a` and `b` at twice the scale. One conjugation each; no rescale.
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

/// `re + i im` of ciphertexts with real slots, limb by limb: the opposite of [`split_halves`] up to its factor 2.
pub(crate) fn combine_halves(ring: &Ring, isa: Isa, halves: &[[CtRef<'_>; 2]], limbs: usize) -> Vec<[RnsPoly; 2]> {
    let sums: Vec<Sum<'_>> = halves
        .iter()
        .map(|[re, im]| Sum {
            multiples: vec![Multiple { ct: *re, factor: 1.0, imaginary: false }, Multiple { ct: *im, factor: 1.0, imaginary: true }],
            ..Sum::default()
        })
        .collect();
    linear_sums(ring, isa, &sums, limbs)
}
