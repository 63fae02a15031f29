//! Evaluation keys: what the server gets. Nothing in this module can name a secret key.
//!
//! A switching key of shape [`Gadget`] holds, for digit d, an encryption `(b_d, a_d)` under s of
//! `P·g_d·s'`, where g_d is 1 modulo the primes of digit d and 0 modulo the other Q primes, and s'
//! is `s(X^g)` for the automorphism g or `s²` for relinearisation (Han and Ki, "Better
//! Bootstrapping for Approximate Homomorphic Encryption", CT-RSA 2020, §3). The two keys of the
//! sparse-secret encapsulation are [`KeyTarget::DenseToSparse`] and [`KeyTarget::SparseToDense`].

use std::collections::BTreeMap;

use crate::ciphertext::{ShapeError, check_poly};
use crate::ring::{Gadget, Ring, RnsPoly};
use crate::seed::{Seed, uniform_poly};

pub use chiffre_params::KeyTarget;

/// A key-switching key, in full.
#[derive(Clone, Debug)]
pub struct SwitchingKey {
    /// The shape.
    pub gadget: Gadget,
    /// What it is for.
    pub target: KeyTarget,
    /// `(b, a)` of each digit: `gadget.rows()` rows, NTT order, plain residues.
    pub digits: Vec<[RnsPoly; 2]>,
}

/// A key-switching key whose uniform half is the expansion of a public seed: half the size.
#[derive(Clone, Debug)]
pub struct SeededSwitchingKey {
    gadget: Gadget,
    target: KeyTarget,
    seed: Seed,
    b: Vec<RnsPoly>,
}

impl SeededSwitchingKey {
    /// Puts a key together from outside parts: one polynomial `b` per digit.
    ///
    /// # Errors
    /// A [`ShapeError`] if the gadget does not fit the ring or a polynomial does not fit the
    /// gadget.
    pub fn from_parts(ring: &Ring, gadget: Gadget, target: KeyTarget, seed: Seed, b: Vec<RnsPoly>) -> Result<Self, ShapeError> {
        if !(1..=ring.q_count).contains(&gadget.limbs) || !(1..=ring.p_count()).contains(&gadget.alpha) {
            return Err(ShapeError::Limbs { limbs: gadget.limbs, max: ring.q_count });
        }
        if let Some(galois) = target.galois()
            && (galois.0 % 2 == 0 || galois.0 as usize >= 2 * ring.n)
        {
            return Err(ShapeError::Galois(galois.0));
        }
        if b.len() != target.digits(gadget) {
            return Err(ShapeError::Polynomials { found: b.len(), expected: "as many as the gadget has digits" });
        }
        for poly in &b {
            check_poly(ring, poly, gadget.limbs, gadget.alpha)?;
        }
        Ok(Self { gadget, target, seed, b })
    }

    /// The shape.
    pub fn gadget(&self) -> Gadget {
        self.gadget
    }

    /// What it is for.
    pub fn target(&self) -> KeyTarget {
        self.target
    }

    /// The public seed of the uniform halves.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The `b` polynomial of each digit: `gadget.rows()` rows, NTT order.
    pub fn b(&self) -> &[RnsPoly] {
        &self.b
    }

    /// Bytes of the full key.
    pub fn expanded_bytes(&self, ring: &Ring) -> usize {
        self.target.key_bytes(self.gadget, ring.n)
    }

    /// The full key.
    pub fn expand(&self, ring: &Ring) -> SwitchingKey {
        let digits = (0u32..)
            .zip(&self.b)
            .map(|(digit, b)| {
                let a = uniform_poly(ring, &self.seed, digit, self.gadget.limbs, self.gadget.alpha);
                [b.clone(), a]
            })
            .collect();
        SwitchingKey { gadget: self.gadget, target: self.target, digits }
    }
}

/// A public encryption key: an encryption `(b, a)` of zero over all Q limbs, with the uniform half
/// as a seed.
#[derive(Clone, Debug)]
pub struct PublicKey {
    seed: Seed,
    b: RnsPoly,
}

impl PublicKey {
    /// Puts a key together from outside parts.
    ///
    /// # Errors
    /// A [`ShapeError`] if `b` does not have all Q limbs of the ring.
    pub fn from_parts(ring: &Ring, seed: Seed, b: RnsPoly) -> Result<Self, ShapeError> {
        check_poly(ring, &b, ring.q_count, 0)?;
        Ok(Self { seed, b })
    }

    /// The public seed of the uniform half.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The other half: one row per Q limb, NTT order.
    pub fn b(&self) -> &RnsPoly {
        &self.b
    }
}

/// A set of full evaluation keys by target and shape.
#[derive(Debug, Default)]
pub struct EvaluationKeys {
    keys: BTreeMap<(KeyTarget, Gadget), SwitchingKey>,
}

impl EvaluationKeys {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key, replacing one of the same target and shape.
    pub fn insert(&mut self, key: SwitchingKey) {
        self.keys.insert((key.target, key.gadget), key);
    }

    /// The key of exactly this target and shape.
    pub fn get(&self, target: KeyTarget, gadget: Gadget) -> Option<&SwitchingKey> {
        self.keys.get(&(target, gadget))
    }

    /// The smallest key of the target that serves ciphertexts of `limbs` limbs.
    pub fn find(&self, target: KeyTarget, limbs: usize) -> Option<&SwitchingKey> {
        let from = Gadget { limbs, alpha: 0 };
        self.keys.range((target, from)..).next().filter(|((t, _), _)| *t == target).map(|(_, key)| key)
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = &SwitchingKey> {
        self.keys.values()
    }
}

impl FromIterator<SwitchingKey> for EvaluationKeys {
    fn from_iter<T: IntoIterator<Item = SwitchingKey>>(iter: T) -> Self {
        let mut out = Self::new();
        iter.into_iter().for_each(|key| out.insert(key));
        out
    }
}
