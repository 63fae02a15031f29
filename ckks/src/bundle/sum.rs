//! Sums of products and of multiples of ciphertexts, and their numbers at one limb.

use super::CtRef;
use crate::ring::{Modulus, RnsPoly};
use crate::simd::{LimbMultiple, LimbProduct, LimbProducts, LimbTerm, LimbTerms, LimbVector, MAX_TERMS};
use std::ops::Range;

/// `factor · i^imaginary · left · right`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a> {
    pub left: CtRef<'a>,
    pub right: CtRef<'a>,
    /// An integer below 2^53 in magnitude.
    pub factor: f64,
    pub imaginary: bool,
}

/// What a multiple is a multiple by, or what is added: for all slots alike, or slot by slot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Factor<'a> {
    /// An integer below 2^100 in magnitude.
    Number(f64),
    /// A plaintext with at least the limbs that are kept.
    Vector(&'a RnsPoly),
}

impl Default for Factor<'_> {
    fn default() -> Self {
        Factor::Number(0.0)
    }
}

/// `factor · i^imaginary · ct`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Multiple<'a> {
    pub ct: CtRef<'a>,
    pub factor: Factor<'a>,
    pub imaginary: bool,
}

/// A sum of products and multiples, plus constants (real and imaginary part).
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum<'a> {
    pub products: Vec<Product<'a>>,
    pub multiples: Vec<Multiple<'a>>,
    pub constant: [Factor<'a>; 2],
}

/// The numbers of a sum at one limb: for the first and for the second half of the NTT order, where
/// `i = X^(N/2)` is a constant and its negative.
pub(super) struct Factors {
    products: Vec<[(u64, u64); 2]>,
    /// Of multiples by numbers.
    multiples: Vec<[u64; 2]>,
    /// Of real and of imaginary multiples by vectors.
    terms: [[u64; 2]; 2],
    /// The sum of constant numbers.
    constant: [u64; 2],
    /// Of real and of imaginary constant vectors.
    vectors: [[u64; 2]; 2],
}

impl Factors {
    /// Products and vectors in multiples times `common R` (and, for the last components of
    /// products, `R^2`), all others times `common`.
    pub fn new(m: &Modulus, imaginary: u64, common: u64, sum: &Sum<'_>) -> Self {
        let halves = |value: f64, is_imaginary: bool, common: u64| {
            let value = m.mul(m.from_f64(value), common);
            if is_imaginary {
                let value = m.mul(value, imaginary);
                [value, m.neg(value)]
            } else {
                [value; 2]
            }
        };
        let product = |p: &Product<'_>| {
            let [first, last] = [m.mul(common, m.r), m.r2].map(|common| halves(p.factor, p.imaginary, common));
            [(first[0], last[0]), (first[1], last[1])]
        };
        let number = |f: Factor<'_>| if let Factor::Number(value) = f { Some(value) } else { None };
        let multiple = |t: &Multiple<'_>| Some(halves(number(t.factor)?, t.imaginary, common));
        let constant = |part: usize| halves(number(sum.constant[part]).unwrap_or(0.0), part == 1, common);
        let [re, im] = [constant(0), constant(1)];
        Self {
            products: sum.products.iter().map(product).collect(),
            multiples: sum.multiples.iter().filter_map(multiple).collect(),
            terms: [false, true].map(|imaginary| halves(1.0, imaginary, m.mul(common, m.r))),
            constant: [m.add(re[0], im[0]), m.add(re[1], im[1])],
            vectors: [false, true].map(|imaginary| halves(1.0, imaginary, common)),
        }
    }

    /// What is added at a half of the NTT order, for all slots alike.
    pub fn constant(&self, half: usize) -> u64 {
        self.constant[half]
    }

    pub fn products<'a>(&self, sum: &Sum<'a>, row: usize, words: Range<usize>) -> Vec<LimbProduct<'a>> {
        sum.products.iter().map(|p| LimbProduct { left: limb(p.left, row, &words), right: limb(p.right, row, &words) }).collect()
    }

    /// Neighbouring products of equal factors together.
    pub fn runs<'a>(&self, products: &'a [LimbProduct<'a>], half: usize) -> Vec<LimbProducts<'a>> {
        let factors = |i: &usize| self.products[*i][half];
        let starts: Vec<usize> = (0..products.len()).filter(|i| *i == 0 || factors(i) != factors(&(i - 1))).collect();
        let ends = starts.iter().skip(1).copied().chain([products.len()]);
        let run = |(&start, end): (&usize, usize)| {
            let (factor, last_factor) = factors(&start);
            LimbProducts { products: &products[start..end], factor, last_factor }
        };
        starts.iter().zip(ends).map(run).collect()
    }

    /// Multiples by numbers.
    pub fn multiples<'a>(&self, sum: &Sum<'a>, row: usize, half: usize, words: Range<usize>) -> Vec<LimbMultiple<'a>> {
        let numbers = sum.multiples.iter().filter(|t| matches!(t.factor, Factor::Number(_)));
        let multiple = |(t, f): (&Multiple<'a>, &[u64; 2])| LimbMultiple { rows: limb(t.ct, row, &words), factor: f[half] };
        numbers.zip(&self.multiples).map(multiple).collect()
    }

    /// Real and imaginary multiples by vectors.
    pub fn terms<'a>(&self, sum: &Sum<'a>, row: usize, words: Range<usize>) -> [Vec<LimbTerm<'a>>; 2] {
        [false, true].map(|imaginary| {
            let term = |t: &Multiple<'a>| match t.factor {
                Factor::Vector(v) => Some(LimbTerm { vector: &v.row(row)[words.clone()], rows: limb(t.ct, row, &words) }),
                Factor::Number(_) => None,
            };
            sum.multiples.iter().filter(|t| t.imaginary == imaginary).filter_map(term).collect()
        })
    }

    /// As many of [`terms`](Self::terms) together as a kernel takes.
    pub fn groups<'a>(&self, terms: &'a [Vec<LimbTerm<'a>>; 2], half: usize) -> Vec<LimbTerms<'a>> {
        let parts = terms.iter().zip(&self.terms);
        parts.flat_map(|(terms, f)| terms.chunks(MAX_TERMS).map(|terms| LimbTerms { terms, factor: f[half] })).collect()
    }

    /// Constant vectors.
    pub fn vectors<'a>(&self, sum: &Sum<'a>, row: usize, half: usize, words: Range<usize>) -> Vec<LimbVector<'a>> {
        let vector = |(constant, f): (&Factor<'a>, &[u64; 2])| match constant {
            Factor::Vector(v) => Some(LimbVector { vector: &v.row(row)[words.clone()], factor: f[half] }),
            Factor::Number(_) => None,
        };
        sum.constant.iter().zip(&self.vectors).filter_map(vector).collect()
    }
}

/// Words of a row of both components.
fn limb<'a>(ct: CtRef<'a>, row: usize, words: &Range<usize>) -> [&'a [u64]; 2] {
    [&ct.c0.row(row)[words.clone()], &ct.c1.row(row)[words.clone()]]
}
