//! Ways to compute a linear map, and the keys that maps share.

use chiffre_backend::cost::LinearShape;
use chiffre_params::{Gadget, KeyTarget};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A linear op, and its rotations at the limbs at which it switches keys.
#[derive(Clone)]
pub(super) struct Link {
    pub shape: LinearShape,
    pub turns: Vec<(usize, Vec<i64>)>,
}

/// The ops that compute a linear map, one behind the other.
pub(super) struct Chain {
    pub links: Vec<Link>,
    /// Where their rotations are cut, if they are.
    pub modulus: Option<i64>,
    /// Seconds of a run on one unit.
    pub seconds: f64,
}

/// How many ops use each key, by key shape and automorphism (`None`: relinearisation, `Some(0)`: conjugation).
pub(super) struct Keys {
    pub log_n: usize,
    /// Key shape by limbs.
    pub gadgets: BTreeMap<usize, Gadget>,
    pub uses: HashMap<(Gadget, Option<i64>), usize>,
}

impl Keys {
    pub fn gadget(&self, limbs: usize) -> Gadget {
        self.gadgets.get(&limbs).copied().unwrap_or(Gadget { limbs, alpha: limbs })
    }
    pub fn add(&mut self, limbs: usize, of: Option<i64>) {
        *self.uses.entry((self.gadget(limbs), of)).or_default() += 1;
    }
    fn of<'c>(&'c self, chain: &'c Chain) -> impl Iterator<Item = (Gadget, Option<i64>)> + 'c {
        let turns = chain.links.iter().flat_map(|l| &l.turns);
        turns.flat_map(|(limbs, taps)| taps.iter().filter(|t| **t != 0).map(|t| (self.gadget(*limbs), Some(*t))))
    }
    pub fn add_chain(&mut self, chain: &Chain) {
        for key in self.of(chain).collect::<Vec<_>>() {
            *self.uses.entry(key).or_default() += 1;
        }
    }
    pub fn remove_chain(&mut self, chain: &Chain) {
        for key in self.of(chain).collect::<Vec<_>>() {
            self.uses.entry(key).and_modify(|n| *n -= 1);
        }
        self.uses.retain(|_, n| *n > 0);
    }
    /// Bytes of the keys that a chain needs and nobody else does.
    fn more(&self, chain: &Chain) -> usize {
        let new: BTreeSet<_> = self.of(chain).filter(|key| !self.uses.contains_key(key)).collect();
        new.iter().map(|(gadget, _)| KeyTarget::Relinearization.key_bytes(*gadget, 1 << self.log_n)).sum()
    }
    pub fn bytes(&self) -> usize {
        self.uses.keys().map(|(gadget, _)| KeyTarget::Relinearization.key_bytes(*gadget, 1 << self.log_n)).sum()
    }
}

/// The way with the least time, where keys that no other op uses count as time.
pub(super) fn cheapest(ways: &[Chain], keys: &Keys) -> usize {
    let price = |c: &Chain| c.seconds + KEY_SECONDS * keys.more(c) as f64;
    (0..ways.len()).min_by(|a, b| price(&ways[*a]).total_cmp(&price(&ways[*b]))).unwrap_or(0)
}

/// Seconds that a byte of keys may save: keys beyond are not worth their memory. 1 GiB for a second of a run.
const KEY_SECONDS: f64 = 1.0 / (1u64 << 30) as f64;
