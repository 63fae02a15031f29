//! The cosine as a composition, on ciphertexts: see [`CompositeIntegers`].

use crate::bundle::{self, CtRef, Factor, Input, Multiple, PreparedKey, Product, Sum};
use crate::ring::{Ring, RnsPoly};
use crate::simd::Isa;
use chiffre_params::polynomial::CompositeIntegers;

/// A cosine at a level.
pub(super) struct Composite<'a> {
    pub ring: &'a Ring,
    pub isa: Isa,
    pub limbs: usize,
    pub key: &'a PreparedKey,
    pub integers: CompositeIntegers,
}

impl Composite<'_> {
    /// `z` of an input.
    fn first<'c>(&self, t: &'c Input<'_>) -> Sum<'c> {
        let [constant, factor] = self.integers.first;
        let multiples = if factor == 0.0 { Vec::new() } else { vec![multiple(t.view(), factor)] };
        Sum { products: vec![product(t.view(), t.view(), 2.0)], multiples, constant: [Factor::Number(constant), Factor::default()] }
    }

    /// The cosines of a group.
    pub fn run(&self, mut group: Vec<Input<'_>>) -> Vec<[RnsPoly; 2]> {
        let (ring, isa, key, limbs) = (self.ring, self.isa, self.key, self.limbs);
        group.iter_mut().for_each(|t| t.truncate(limbs));
        let z = bundle::relinearised_sums(ring, isa, &group.iter().map(|t| self.first(t)).collect::<Vec<_>>(), limbs, key);
        drop(group);
        let square = |i: usize| Sum { products: vec![product((&z[i]).into(), (&z[i]).into(), 1.0)], ..Sum::default() };
        let z2 = bundle::relinearised_sums(ring, isa, &(0..z.len()).map(square).collect::<Vec<_>>(), limbs - 1, key);
        let quadratic = |i: usize, [constant, first, second]: [f64; 3]| {
            let multiples = vec![multiple((&z[i]).into(), first), multiple((&z2[i]).into(), second)];
            Sum { products: Vec::new(), multiples, constant: [Factor::Number(constant), Factor::default()] }
        };
        let left = |i: usize| Sum { products: vec![product((&z2[i]).into(), (&z2[i]).into(), 1.0)], ..quadratic(i, self.integers.left) };
        let a = bundle::relinearised_sums(ring, isa, &(0..z.len()).map(left).collect::<Vec<_>>(), limbs - 2, key);
        let difference: Vec<Sum<'_>> = (0..z.len()).map(|i| quadratic(i, self.integers.difference)).collect();
        let c = bundle::rescaled_sums(ring, isa, &difference, limbs - 2);
        let [constant, first, second, middle] = self.integers.rest;
        let last = |i: usize| {
            let (a, c) = ((&a[i]).into(), (&c[i]).into());
            let mut sum = quadratic(i, [constant, first, second]);
            sum.products = vec![product(a, a, 1.0), product(a, c, 1.0)];
            sum.multiples.push(multiple(a, middle));
            sum
        };
        bundle::relinearised_sums(ring, isa, &(0..z.len()).map(last).collect::<Vec<_>>(), limbs - 3, key)
    }
}

fn product<'a>(left: CtRef<'a>, right: CtRef<'a>, factor: f64) -> Product<'a> {
    Product { left, right, factor, imaginary: false }
}

fn multiple(ct: CtRef<'_>, factor: f64) -> Multiple<'_> {
    Multiple { ct, factor: Factor::Number(factor), imaginary: false }
}
