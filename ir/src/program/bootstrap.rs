//! What a program says of its bootstraps.

use super::KeyUse;
use crate::he::series_depth;
use crate::ops::{Attr, AttrValue};

/// Bootstrapping of a program, the same for all its `refresh` instructions: SlotsToCoeffs, raise under a sparse ephemeral secret, CoeffsToSlots,
/// cosine by a Chebyshev series and doublings, then the instruction's own series.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Bootstrap {
    /// Limbs of operands: the bottom prime, and one for each factor of SlotsToCoeffs.
    pub base: usize,
    /// Limbs between the raised modulus and the sine's: CoeffsToSlots, cosine, doublings.
    pub levels: usize,
    /// Largest multiple of the bottom prime that the cosine's series covers.
    pub bound: usize,
    /// Degree of the cosine's series.
    pub degree: usize,
    /// Doublings of the angle.
    pub doublings: usize,
    /// Weight of the ephemeral secret.
    pub weight: usize,
    /// `[log2 of the radix, hoisted rotations]` of the factors of SlotsToCoeffs, in order of execution.
    pub s2c: Vec<[usize; 2]>,
    /// `[log2 of the radix, hoisted rotations]` of the factors of CoeffsToSlots, in order of execution.
    pub c2s: Vec<[usize; 2]>,
    /// Key shape of SlotsToCoeffs.
    pub low_gadget: [usize; 2],
    /// Limbs of the raised modulus, and special primes of the keys behind it.
    pub gadget: [usize; 2],
    /// All keys of a bootstrap.
    pub keys: Vec<(KeyUse, [usize; 2])>,
    /// log2 of the probability that a bootstrap of a ciphertext leaves its bound in some slot.
    pub log2_failure: f64,
    /// Predicted standard deviation of the error of the sine's argument, radians.
    pub noise: f64,
}

impl Bootstrap {
    /// Limbs of the raised modulus of a bootstrap whose series is `depth` deep and leaves `limbs` limbs.
    pub fn raised(&self, limbs: usize, depth: usize) -> usize {
        limbs + depth + self.levels
    }
    /// Levels of the cosine and its doublings.
    pub fn reduction_depth(&self) -> usize {
        series_depth(self.degree + 1) + self.doublings
    }
}

impl KeyUse {
    /// The use as two numbers, for text.
    fn numbers(self) -> [usize; 2] {
        match self {
            KeyUse::Relin => [0, 0],
            KeyUse::Conjugate => [1, 0],
            KeyUse::Rotate(r) => [2, r],
            KeyUse::ToSparse => [3, 0],
            KeyUse::FromSparse(r) => [4, r],
        }
    }
    fn from_numbers(n: [usize; 2]) -> Result<Self, String> {
        Ok(match n {
            [0, 0] => KeyUse::Relin,
            [1, 0] => KeyUse::Conjugate,
            [2, r] => KeyUse::Rotate(r),
            [3, 0] => KeyUse::ToSparse,
            [4, r] => KeyUse::FromSparse(r),
            _ => return Err(format!("names no use of a key: {n:?}")),
        })
    }
}

impl AttrValue for Bootstrap {
    fn to_attr(&self) -> Option<Attr> {
        let numbers = [self.base, self.levels, self.bound, self.degree, self.doublings, self.weight];
        let keys: Vec<[usize; 4]> = self.keys.iter().map(|(u, [l, a])| [u.numbers()[0], u.numbers()[1], *l, *a]).collect();
        let parts =
            [numbers.to_attr(), self.s2c.to_attr(), self.c2s.to_attr(), self.low_gadget.to_attr(), self.gadget.to_attr(), keys.to_attr()];
        let reals = [Attr::Float(self.log2_failure), Attr::Float(self.noise)];
        Some(Attr::List(parts.into_iter().flatten().chain(reals).collect()))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        let Some(Attr::List(l)) = a else { return Err("must be a list".into()) };
        let Ok::<[Attr; 8], _>([numbers, s2c, c2s, low, gadget, keys, failure, noise]) = l.try_into() else {
            return Err("must have 8 entries".into());
        };
        let [base, levels, bound, degree, doublings, weight] = <[usize; 6]>::from_attr(Some(numbers))?;
        let keys = Vec::<[usize; 4]>::from_attr(Some(keys))?;
        Ok(Bootstrap {
            base,
            levels,
            bound,
            degree,
            doublings,
            weight,
            s2c: AttrValue::from_attr(Some(s2c))?,
            c2s: AttrValue::from_attr(Some(c2s))?,
            low_gadget: AttrValue::from_attr(Some(low))?,
            gadget: AttrValue::from_attr(Some(gadget))?,
            keys: keys.into_iter().map(|[u, r, l, a]| Ok((KeyUse::from_numbers([u, r])?, [l, a]))).collect::<Result<_, String>>()?,
            log2_failure: AttrValue::from_attr(Some(failure))?,
            noise: AttrValue::from_attr(Some(noise))?,
        })
    }
}
