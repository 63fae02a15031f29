//! Switching keys in the form that the kernels read.

use super::BundleError;
use crate::ciphertext::{ShapeError, check_poly};
use crate::keys::{KeyTarget, SeededSwitchingKey, SwitchingKey};
use crate::ring::{Gadget, GaloisTable, Ring, RnsPoly};
use crate::simd::{Isa, automorphism_into, mul_constant_assign};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// A switching key whose rows are multiplied by `R^3` and permuted by the inverse automorphism, so
/// that inner products run on unpermuted digits and only their results are permuted.
#[derive(Debug)]
pub struct PreparedKey {
    gadget: Gadget,
    target: KeyTarget,
    table: Option<GaloisTable>,
    digits: Vec<[RnsPoly; 2]>,
}

impl PreparedKey {
    /// Prepares a full key in place.
    ///
    /// # Panics
    /// If the key's polynomials do not have the shape that its gadget says.
    pub fn new(ring: &Ring, key: SwitchingKey) -> Self {
        let SwitchingKey { gadget, target, mut digits } = key;
        assert_eq!(digits.len(), target.digits(gadget));
        let isa = Isa::current();
        let inverse = target.galois().map(|g| GaloisTable::new(g.inverse(ring.log_n), ring.log_n));
        for poly in digits.iter_mut().flatten() {
            assert!(poly.n() == ring.n && poly.rows() == gadget.rows());
            poly.par_iter_mut().enumerate().for_each_init(
                || vec![0; ring.n],
                |scratch, (row, limb)| {
                    let m = &ring.moduli[ring.modulus_index(row, gadget.limbs)];
                    mul_constant_assign(isa, m, limb, m.r3);
                    if let Some(inverse) = &inverse {
                        scratch.copy_from_slice(limb);
                        automorphism_into(isa, inverse, scratch, limb);
                    }
                },
            );
        }
        Self { gadget, target, table: target.galois().map(|g| GaloisTable::new(g, ring.log_n)), digits }
    }

    /// A key that was prepared before: `digits` are those of [`Self::digits`].
    ///
    /// # Errors
    /// The first [`ShapeError`] found: another number of digits or of rows, residues that are not
    /// below their modulus.
    pub fn from_digits(ring: &Ring, gadget: Gadget, target: KeyTarget, digits: Vec<[RnsPoly; 2]>) -> Result<Self, ShapeError> {
        if digits.len() != target.digits(gadget) {
            return Err(ShapeError::Polynomials { found: digits.len(), expected: "one pair for each digit" });
        }
        digits.par_iter().flatten().try_for_each(|p| check_poly(ring, p, gadget.limbs, gadget.alpha))?;
        Ok(Self { gadget, target, table: target.galois().map(|g| GaloisTable::new(g, ring.log_n)), digits })
    }

    /// The prepared polynomials of each digit, in the extended basis of the shape: `limbs` Q rows,
    /// then `alpha` P rows.
    pub fn digits(&self) -> &[[RnsPoly; 2]] {
        &self.digits
    }

    /// The shape.
    pub fn gadget(&self) -> Gadget {
        self.gadget
    }

    /// What it is for.
    pub fn target(&self) -> KeyTarget {
        self.target
    }

    /// The automorphism's permutation.
    pub fn table(&self) -> Option<&GaloisTable> {
        self.table.as_ref()
    }

    /// Bytes of its residues.
    pub fn bytes(&self) -> usize {
        self.digits.iter().flatten().map(|p| p.rows() * p.n() * 8).sum()
    }

    /// The limbs of the first `digits` digits for row `row` of an extended polynomial with `limbs`
    /// Q limbs.
    pub(crate) fn rows(&self, digits: usize, row: usize, limbs: usize) -> Vec<[&[u64]; 2]> {
        let row = if row < limbs { row } else { row - limbs + self.gadget.limbs };
        self.digits[..digits].iter().map(|[b, a]| [b.row(row), a.row(row)]).collect()
    }
}

/// Where operations find their keys.
pub trait KeyProvider: Sync {
    /// The key of exactly this target and shape.
    fn key(&self, target: KeyTarget, gadget: Gadget) -> Option<&PreparedKey>;

    /// The smallest key of the target that serves polynomials of `limbs` limbs.
    fn find(&self, target: KeyTarget, limbs: usize) -> Option<&PreparedKey>;

    /// As [`Self::key`], with an error that names what is missing.
    ///
    /// # Errors
    /// [`BundleError::MissingKey`].
    fn require(&self, target: KeyTarget, gadget: Gadget) -> Result<&PreparedKey, BundleError> {
        let right = |key: &&PreparedKey| key.target == target && key.gadget == gadget;
        self.key(target, gadget).filter(right).ok_or(BundleError::MissingKey { target, gadget })
    }
}

/// A set of prepared keys in memory.
#[derive(Debug, Default)]
pub struct PreparedKeys {
    keys: BTreeMap<(KeyTarget, Gadget), PreparedKey>,
}

impl PreparedKeys {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keys as they are sent, expanded and prepared one by one.
    pub fn expand<'k>(ring: &Ring, keys: impl IntoIterator<Item = &'k SeededSwitchingKey>) -> Self {
        keys.into_iter().map(|key| PreparedKey::new(ring, key.expand(ring))).collect()
    }

    /// Adds a key, replacing one of the same target and shape.
    pub fn insert(&mut self, key: PreparedKey) {
        self.keys.insert((key.target, key.gadget), key);
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = &PreparedKey> {
        self.keys.values()
    }

    /// Bytes of all residues.
    pub fn bytes(&self) -> usize {
        self.keys.values().map(PreparedKey::bytes).sum()
    }
}

impl KeyProvider for PreparedKeys {
    fn key(&self, target: KeyTarget, gadget: Gadget) -> Option<&PreparedKey> {
        self.keys.get(&(target, gadget))
    }

    fn find(&self, target: KeyTarget, limbs: usize) -> Option<&PreparedKey> {
        let from = Gadget { limbs, alpha: 0 };
        self.keys.range((target, from)..).next().filter(|((t, _), _)| *t == target).map(|(_, key)| key)
    }
}

impl FromIterator<PreparedKey> for PreparedKeys {
    fn from_iter<I: IntoIterator<Item = PreparedKey>>(keys: I) -> Self {
        let mut set = Self::new();
        keys.into_iter().for_each(|k| set.insert(k));
        set
    }
}
