//! Ways to compute a linear map, and the keys that maps share.

use super::layouts::Way;
use chiffre_backend::cost::{GiantShape, LinearShape};
use chiffre_params::bootstrap::BootstrapSpec;
use chiffre_params::{Gadget, KeyTarget};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A linear op, and its rotations at the limbs at which it switches keys.
#[derive(Clone)]
pub(super) struct Link {
    /// The operand of the chain that it reads; else it reads what the links before it made.
    pub operand: Option<usize>,
    pub shape: LinearShape,
    pub turns: Vec<(usize, Vec<i64>)>,
}

/// The ops that compute a linear map, one behind the other.
pub(super) struct Chain {
    pub links: Vec<Link>,
    /// What they make of the map.
    pub way: Way,
    /// Seconds of a run on one unit.
    pub seconds: f64,
}

impl Link {
    /// The same op where keys have other shapes.
    pub fn with_keys(&self, keys: &Keys) -> Link {
        Link { shape: keys.shape(self.shape), turns: self.turns.clone(), ..*self }
    }
}

impl Chain {
    /// The same ops where keys have other shapes.
    pub fn with_keys(&self, keys: &Keys) -> Chain {
        Chain { links: self.links.iter().map(|l| l.with_keys(keys)).collect(), ..*self }
    }
}

/// A key: what for, and its shape.
type Key = (KeyTarget, Gadget);

/// How many ops use each key.
pub(super) struct Keys {
    pub log_n: u32,
    /// Key shape by limbs.
    pub gadgets: BTreeMap<usize, Gadget>,
    uses: HashMap<Key, usize>,
}

impl Keys {
    /// No key yet.
    pub fn new(log_n: u32, gadgets: BTreeMap<usize, Gadget>) -> Keys {
        Keys { log_n, gadgets, uses: HashMap::new() }
    }
    pub fn gadget(&self, limbs: usize) -> Gadget {
        self.gadgets.get(&limbs).copied().unwrap_or(Gadget { limbs, alpha: limbs })
    }
    /// A linear op with the special primes of its keys.
    pub fn shape(&self, s: LinearShape) -> LinearShape {
        let alpha = |rotated: usize, limbs: usize| if rotated > 0 { self.gadget(limbs).alpha } else { 0 };
        let giants = s.giants.map(|g| GiantShape { alpha: alpha(g.rotated(), s.limbs - s.drop), ..g });
        LinearShape { alpha: alpha(s.rotated, s.limbs), giants, ..s }
    }
    /// A key for ops at so many limbs.
    pub fn add(&mut self, limbs: usize, of: KeyTarget) {
        *self.uses.entry((of, self.gadget(limbs))).or_default() += 1;
    }
    /// All keys of a bootstrap.
    pub fn add_bootstrap(&mut self, b: &BootstrapSpec) {
        b.keys().into_iter().for_each(|key| *self.uses.entry(key).or_default() += 1);
    }
    fn of<'c>(&'c self, chain: &'c Chain) -> impl Iterator<Item = Key> + 'c {
        let slots = 1i64 << (self.log_n - 1);
        let turns = chain.links.iter().flat_map(|l| &l.turns);
        let rotation = move |t: &i64| t.rem_euclid(slots) as usize;
        turns.flat_map(move |(limbs, taps)| {
            let rotations = taps.iter().map(rotation).filter(|t| *t != 0);
            rotations.map(|t| (KeyTarget::rotation(t as isize, self.log_n), self.gadget(*limbs)))
        })
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
        new.iter().map(|(of, gadget)| of.key_bytes(*gadget, 1 << self.log_n)).sum()
    }
    pub fn bytes(&self) -> usize {
        self.uses.keys().map(|(of, gadget)| of.key_bytes(*gadget, 1 << self.log_n)).sum()
    }
}

/// The way with the least time, where keys that no other op uses count as time.
pub(super) fn cheapest(ways: &[Chain], keys: &Keys) -> usize {
    let price = |c: &Chain| c.seconds + KEY_SECONDS * keys.more(c) as f64;
    (0..ways.len()).min_by(|a, b| price(&ways[*a]).total_cmp(&price(&ways[*b]))).unwrap_or(0)
}

/// Seconds that a byte of keys may save: keys beyond are not worth their memory. 1 GiB for a second
/// of a run.
const KEY_SECONDS: f64 = 1.0 / (1u64 << 30) as f64;
