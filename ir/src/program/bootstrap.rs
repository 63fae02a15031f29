//! What a program says of its bootstraps.

use super::KeyUse;
use crate::ops::{Attr, AttrValue};

/// Bootstrapping of a program, the same for all its `refresh` instructions: SlotsToCoeffs, raise under a sparse ephemeral secret, CoeffsToSlots,
/// cosine by a Chebyshev series and doublings, then the instruction's own series.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Bootstrap {
    /// Limbs of operands: the bottom prime, and those that SlotsToCoeffs drops.
    pub base: usize,
    /// Limbs between the raised modulus and the sine's: CoeffsToSlots, cosine, doublings.
    pub levels: usize,
    /// Largest multiple of the bottom prime that the series covers.
    pub bound: usize,
    /// Degree of the cosine's series.
    pub degree: usize,
    /// Doublings of the angle.
    pub doublings: usize,
    /// Weight of the ephemeral secret.
    pub weight: usize,
    /// log2 of the radices of SlotsToCoeffs, in order of execution.
    pub s2c: Vec<usize>,
    /// log2 of the radices of CoeffsToSlots, in order of execution.
    pub c2s: Vec<usize>,
    /// Key shape of SlotsToCoeffs.
    pub low_gadget: [usize; 2],
    /// Key shape of everything behind the raise.
    pub gadget: [usize; 2],
    /// Rotations of SlotsToCoeffs.
    pub s2c_rotations: Vec<usize>,
    /// Rotations of CoeffsToSlots.
    pub c2s_rotations: Vec<usize>,
    /// log2 of the probability that one bootstrap of a ciphertext leaves its bound in some slot.
    pub log2_failure: f64,
    /// Standard deviation of the error of the sine's argument, radians, as the noise model predicts.
    pub noise: f64,
}

impl Bootstrap {
    /// The keys of a bootstrap.
    pub fn keys(&self) -> Vec<(KeyUse, [usize; 2])> {
        let rotate = |list: &[usize], g| list.iter().map(|&r| (KeyUse::Rotate(r), g)).collect::<Vec<_>>();
        let mut out = vec![
            (KeyUse::Relin, self.gadget),
            (KeyUse::Conjugate, self.gadget),
            (KeyUse::ToSparse, [1, 1]),
            (KeyUse::FromSparse, self.gadget),
        ];
        out.extend(rotate(&self.s2c_rotations, self.low_gadget));
        out.extend(rotate(&self.c2s_rotations, self.gadget));
        out
    }
    /// Limbs of the raised modulus of a bootstrap whose series is `depth` deep and leaves `limbs` limbs.
    pub fn raised(&self, limbs: usize, depth: usize) -> usize {
        limbs + depth + self.levels
    }
}

fn list(v: &[usize]) -> Attr {
    Attr::List(v.iter().map(|&x| Attr::Int(x as i64)).collect())
}

impl AttrValue for Bootstrap {
    fn to_attr(&self) -> Option<Attr> {
        let numbers = [self.base, self.levels, self.bound, self.degree, self.doublings, self.weight];
        Some(Attr::List(vec![
            list(&numbers),
            list(&self.s2c),
            list(&self.c2s),
            list(&self.low_gadget),
            list(&self.gadget),
            list(&self.s2c_rotations),
            list(&self.c2s_rotations),
            Attr::Float(self.log2_failure),
            Attr::Float(self.noise),
        ]))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        let Some(Attr::List(l)) = a else { return Err("must be a list".into()) };
        let Ok::<[Attr; 9], _>([numbers, s2c, c2s, low, gadget, rs, rc, failure, noise]) = l.try_into() else {
            return Err("must have 9 entries".into());
        };
        let [base, levels, bound, degree, doublings, weight] = <[usize; 6]>::from_attr(Some(numbers))?;
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
            s2c_rotations: AttrValue::from_attr(Some(rs))?,
            c2s_rotations: AttrValue::from_attr(Some(rc))?,
            log2_failure: AttrValue::from_attr(Some(failure))?,
            noise: AttrValue::from_attr(Some(noise))?,
        })
    }
}
