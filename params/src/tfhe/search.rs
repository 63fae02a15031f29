//! The search for the cheapest parameter set under which a program's look-ups are right.

use super::{Decomposition, Noise, TfheParams};
use std::collections::HashMap;

/// Look-ups of one kind: so many of them, on operands with so much noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// How many of them a run on one image makes.
    pub lookups: usize,
    /// How far the operand may be off, as a share of the torus.
    pub margin: f64,
    /// Squared norm of the operand as a sum of results of look-ups.
    pub of_lookups: f64,
    /// Squared norm of the operand as a sum of fresh ciphertexts.
    pub of_fresh: f64,
    /// Squared norm of the operand as a sum of results of look-ups that remove bits.
    pub of_removals: f64,
    /// log2 of the entries of the table.
    pub bits: u32,
    /// True if they remove a bit.
    pub removes: bool,
}

/// What a program asks of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Its look-ups.
    pub sites: Vec<Site>,
    /// Squared norms and margins of the outputs, which are decrypted and not looked up.
    pub outputs: Vec<Site>,
    /// A run on one image may be wrong with probability 2^-`failure_bits`.
    pub failure_bits: f64,
}

impl Demand {
    /// Programmable bootstraps of a run on one image.
    pub fn lookups(&self) -> usize {
        self.sites.iter().map(|s| s.lookups).sum()
    }
    /// Those that remove a bit.
    pub fn removals(&self) -> usize {
        self.sites.iter().filter(|s| s.removes).map(|s| s.lookups).sum()
    }
    /// Predicted time of all look-ups of a run on one image, on one thread, seconds.
    pub fn seconds(&self, p: &TfheParams) -> f64 {
        let removals = self.removals();
        (self.lookups() - removals) as f64 * p.lookup_seconds() + removals as f64 * p.removal_seconds()
    }
    /// log2 of the probability that a run on one image is wrong, at most: the sum over its
    /// look-ups and outputs.
    pub fn log2_failure(&self, p: &TfheParams) -> f64 {
        let (noise, removal) = (Noise::of(p), Noise::of_removal(p));
        let of = |s: &Site, added: f64| {
            let variance = s.of_lookups * noise.lookup + s.of_removals * removal.lookup + s.of_fresh * noise.fresh + added;
            (s.lookups as f64).log2() + Noise::log2_failure(variance, s.margin)
        };
        let added = |s: &Site| {
            let noise = if s.removes { &removal } else { &noise };
            noise.keyswitch + noise.modulus_switch
        };
        let looked_up = self.sites.iter().map(|s| of(s, added(s)));
        let logs: Vec<f64> = looked_up.chain(self.outputs.iter().map(|s| of(s, 0.0))).collect();
        log2_sum(&logs)
    }
}

/// log2 of a sum of powers of two; −∞ of none.
fn log2_sum(logs: &[f64]) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY { largest } else { largest + logs.iter().map(|l| (l - largest).exp2()).sum::<f64>().log2() }
}

/// A set, and how it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The set.
    pub params: TfheParams,
    /// log2 of the probability that a run on one image is wrong, at most.
    pub log2_failure: f64,
}

/// No set of the search space is good enough.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("no secure parameter set computes {lookups} look-ups with an error of at most 2^-{bits}: the best one found has 2^-{:.1}", -best.min(-0.0))]
pub struct Unreachable {
    /// Look-ups of a run.
    pub lookups: usize,
    /// Bits that were asked for.
    pub bits: f64,
    /// log2 of the least probability of failure that was found.
    pub best: f64,
}

/// Polynomials and degree of the rotation's result that are tried: `(k, log2 N)` with k·N of at
/// least 1536, below which noise for security leaves no room.
const SHAPES: [(usize, u32); 15] =
    [(6, 8), (7, 8), (8, 8), (3, 9), (4, 9), (5, 9), (2, 10), (3, 10), (4, 10), (1, 11), (2, 11), (1, 12), (1, 13), (1, 14), (1, 15)];
/// Most bits of all digits of the blind rotation, and of a keyswitch.
const ROTATION_BITS: u32 = 45;
const KEYSWITCH_BITS: u32 = 28;
/// Dimensions n that are tried, and in which steps.
const DIMENSIONS: (usize, usize, usize) = (640, 1280, 2);
/// Those of keys that remove bits, of which nothing has to be read but the sign.
const REMOVAL_DIMENSIONS: (usize, usize, usize) = (500, 1280, 4);

/// Decompositions with the fewest levels first; of `levels` digits the base is the largest.
fn decompositions(most_bits: u32, levels: std::ops::RangeInclusive<u32>, bases: std::ops::RangeInclusive<u32>) -> Vec<Decomposition> {
    let of = |levels: u32| bases.clone().filter(move |b| b * levels <= most_bits).map(move |base_log| Decomposition { base_log, levels });
    levels.flat_map(of).collect()
}

/// What a site leaves for the noise of keyswitches and modulus switches.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// The largest variance with which the site keeps to its share of the failures.
    variance: f64,
    site: Site,
}

impl Limit {
    fn room(&self, lookup: f64, removal: f64, fresh: f64) -> f64 {
        self.variance - self.site.of_lookups * lookup - self.site.of_removals * removal - self.site.of_fresh * fresh
    }
}

/// The least of what sites leave.
fn room(limits: &[Limit], lookup: f64, removal: f64, fresh: f64) -> f64 {
    limits.iter().map(|l| l.room(lookup, removal, fresh)).fold(f64::INFINITY, f64::min)
}

/// Every site's share of the failures that a run may have is the same.
struct Limits {
    tables: Vec<Limit>,
    removals: Vec<Limit>,
    outputs: Vec<Limit>,
}

impl Limits {
    fn of(demand: &Demand) -> Limits {
        let sites = (demand.sites.len() + demand.outputs.len()).max(1) as f64;
        let limit = |s: &Site| {
            let share = -demand.failure_bits - sites.log2() - (s.lookups.max(1) as f64).log2();
            // By bisection of the logarithm: failures grow with the variance.
            let (mut lo, mut hi) = (-140.0f64, 0.0f64);
            for _ in 0..60 {
                let middle = (lo + hi) / 2.0;
                if Noise::log2_failure(middle.exp2(), s.margin) <= share { lo = middle } else { hi = middle }
            }
            Limit { variance: lo.exp2(), site: *s }
        };
        let of = |removes: bool| demand.sites.iter().filter(|s| s.removes == removes).map(limit).collect();
        Limits { tables: of(false), removals: of(true), outputs: demand.outputs.iter().map(limit).collect() }
    }
}

/// Sets of all shapes and rotations, those with the cheapest rotation first, at dimension n.
fn rotations(shapes: impl Iterator<Item = (usize, u32)>, n: usize) -> Vec<TfheParams> {
    let rotations = decompositions(ROTATION_BITS, 1..=4, 8..=25);
    let each = |(k, log_n)| rotations.iter().map(move |&r| TfheParams::secure(n, k, log_n, r, r));
    let mut all: Vec<TfheParams> = shapes.flat_map(each).collect();
    all.sort_by(|a, b| a.rotation_seconds().total_cmp(&b.rotation_seconds()));
    all
}

/// The cheapest keyswitch from dimension `from` to that of `p` whose noise, with the modulus
/// switch's, is at most `room`, with its time.
fn keyswitch(p: &TfheParams, from: usize, room: f64, all: &[Decomposition], limit: f64) -> Option<(f64, Decomposition)> {
    let room = room - Noise::modulus_switch(p);
    if room <= 0.0 {
        return None;
    }
    let mut best: Option<(f64, Decomposition)> = None;
    for &keyswitch in all {
        let p = TfheParams { keyswitch, ..*p };
        let seconds = p.keyswitch_seconds(from);
        if seconds < best.map_or(limit, |(s, _)| s) && Noise::keyswitch(&p, from) <= room {
            best = Some((seconds, keyswitch));
        }
    }
    best
}

/// The search for keys that remove bits of ciphertexts of one dimension.
struct RemovalSearch<'a> {
    limits: &'a Limits,
    keyswitches: &'a [Decomposition],
    /// By dimension and half the logarithm of the variance of look-ups in tables.
    found: HashMap<(usize, i32), Option<(f64, TfheParams)>>,
}

impl RemovalSearch<'_> {
    /// The cheapest keys, with the time of a look-up, if results of look-ups in tables of a set of
    /// dimension `from` have variance `lookup` at most.
    fn find(&mut self, from: &TfheParams, lookup: f64) -> Option<(f64, TfheParams)> {
        let step = (lookup.log2() * 2.0).ceil() as i32;
        let (limits, keyswitches) = (self.limits, self.keyswitches);
        *self.found.entry((from.big(), step)).or_insert_with(|| {
            let (lookup, fresh) = ((f64::from(step) / 2.0).exp2(), Noise::of(from).fresh);
            let shapes = SHAPES.into_iter().filter(|(k, log_n)| k << log_n <= from.big());
            let mut best: Option<(f64, TfheParams)> = None;
            for shape in rotations(shapes, REMOVAL_DIMENSIONS.0) {
                let limit = |best: &Option<(f64, TfheParams)>| best.map_or(f64::INFINITY, |(s, _)| s);
                if shape.rotation_seconds() >= limit(&best) {
                    break;
                }
                for n in (REMOVAL_DIMENSIONS.0..=REMOVAL_DIMENSIONS.1).step_by(REMOVAL_DIMENSIONS.2) {
                    let p = TfheParams::secure(n, shape.k, shape.log_n, shape.rotation, shape.rotation);
                    let (removal, seconds) = (Noise::rotation(&p), p.rotation_seconds());
                    // What they add to the operands of tables may be half of what these allow.
                    if seconds >= limit(&best) || limits.tables.iter().any(|l| l.room(lookup, removal, fresh) < l.variance / 2.0) {
                        break;
                    }
                    let room = room(&limits.removals, lookup, removal, fresh);
                    if let Some((more, keyswitch)) = keyswitch(&p, from.big(), room, keyswitches, limit(&best) - seconds) {
                        best = Some((seconds + more, TfheParams { keyswitch, ..p }));
                    }
                }
            }
            best
        })
    }
}

/// Bytes that the evaluation keys of a set should have at most, as files: a client sends them.
/// With tables of more than 32 entries polynomials are so large that no set is small.
fn small_keys(bits: u32) -> usize {
    match bits {
        0..=4 => 60 << 20,
        5 => 200 << 20,
        _ => usize::MAX,
    }
}

/// What smaller keys may cost: the predicted time of a run over that with keys of any size.
const SLOWER: f64 = 1.5;

/// The set with the least predicted time of a run that keeps to the demand, with keys of their own
/// for removing bits where these pay; a set without look-ups to do is the cheapest that decrypts.
/// Keys are 60 MiB at most for tables of up to 16 entries and 200 MiB for 32, if a run then takes
/// no more than half as long again.
///
/// # Errors
/// No set does.
pub fn find(demand: &Demand) -> Result<Found, Unreachable> {
    let fastest = search(demand, usize::MAX)?;
    let small = small_keys(demand.sites.iter().map(|s| s.bits).max().unwrap_or(0));
    if fastest.params.seeded_key_bytes() <= small {
        return Ok(fastest);
    }
    let limit = SLOWER * demand.seconds(&fastest.params);
    Ok(search(demand, small).ok().filter(|found| demand.seconds(&found.params) <= limit).unwrap_or(fastest))
}

/// The fastest set whose keys have so many bytes at most.
fn search(demand: &Demand, most_bytes: usize) -> Result<Found, Unreachable> {
    let (limits, keyswitches) = (Limits::of(demand), decompositions(KEYSWITCH_BITS, 1..=12, 1..=10));
    let bits = demand.sites.iter().map(|s| s.bits).max().unwrap_or(0);
    let removals = demand.removals() as f64;
    let tables = ((demand.lookups() - demand.removals()) as f64).max(1.0);
    let mut keys = RemovalSearch { limits: &limits, keyswitches: &keyswitches, found: HashMap::new() };
    let (mut best, mut closest) = ((f64::INFINITY, None), 0.0f64);
    for shape in rotations(SHAPES.into_iter().filter(|(_, log_n)| bits < *log_n), DIMENSIONS.0) {
        // Rotations cost more with every one of their bits: the cheapest of all is at the first n.
        if tables * shape.rotation_seconds() >= best.0 {
            break;
        }
        if best.1.is_none() {
            closest = closest.min(demand.log2_failure(&free(&shape)));
        }
        for n in (DIMENSIONS.0..=DIMENSIONS.1).step_by(DIMENSIONS.2) {
            let p = TfheParams::secure(n, shape.k, shape.log_n, shape.rotation, shape.rotation);
            let (noise, seconds) = (Noise::of(&p), p.rotation_seconds());
            if tables * seconds >= best.0 {
                break;
            }
            let left = |limits: &[Limit], removal: f64| room(limits, noise.lookup, removal, noise.fresh);
            if left(&limits.outputs, noise.lookup) >= 0.0 {
                let room = left(&limits.tables, noise.lookup).min(left(&limits.removals, noise.lookup));
                if let Some((more, keyswitch)) = keyswitch(&p, p.big(), room, &keyswitches, best.0 / (tables + removals) - seconds) {
                    let set = TfheParams { keyswitch, ..p };
                    if set.seeded_key_bytes() <= most_bytes {
                        best = ((tables + removals) * (seconds + more), Some(set));
                    }
                }
            }
            if removals == 0.0 || left(&limits.tables, 0.0) <= 0.0 || left(&limits.removals, 0.0) <= 0.0 {
                continue;
            }
            let Some((each, removing)) = keys.find(&p, noise.lookup) else { continue };
            let removal = Noise::rotation(&removing);
            if left(&limits.outputs, removal) >= 0.0 {
                let limit = (best.0 - removals * each) / tables - seconds;
                if let Some((more, keyswitch)) = keyswitch(&p, p.big(), left(&limits.tables, removal), &keyswitches, limit) {
                    let set = TfheParams { keyswitch, ..p }.with_removal(removing);
                    if set.seeded_key_bytes() <= most_bytes {
                        best = (tables * (seconds + more) + removals * each, Some(set));
                    }
                }
            }
        }
    }
    let unreachable = Unreachable { lookups: demand.lookups(), bits: demand.failure_bits, best: closest };
    best.1.map(|params| Found { params, log2_failure: demand.log2_failure(&params) }).ok_or(unreachable)
}

/// A shape with a keyswitch that adds nothing: no keyswitch does better.
fn free(shape: &TfheParams) -> TfheParams {
    TfheParams { keyswitch: Decomposition { base_log: 1, levels: 40 }, lwe_bound: 0, ..*shape }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tfhe::{MARGIN_OF_SIGN, lookup_margin};

    fn site(lookups: usize, bits: u32, norm: f64) -> Site {
        Site { lookups, margin: lookup_margin(bits), of_lookups: norm * norm, of_fresh: 0.0, of_removals: 0.0, bits, removes: false }
    }

    #[test]
    fn sets_found_are_secure_good_enough_and_no_dearer_than_published_ones() {
        let d = |base_log, levels| Decomposition { base_log, levels };
        let demand = Demand { sites: vec![site(1, 4, 5.0)], outputs: vec![], failure_bits: 129.58 };
        let found = find(&demand).unwrap();
        let published = TfheParams::secure(918, 1, 11, d(23, 1), d(4, 4));
        assert!(found.params.is_secure() && found.log2_failure <= -129.58, "{found:?}");
        assert!(found.params.lookup_seconds() <= published.lookup_seconds(), "{found:?}");
        let weaker = find(&Demand { failure_bits: 40.0, ..demand }).unwrap();
        assert!(weaker.params.lookup_seconds() < found.params.lookup_seconds(), "{weaker:?}");
    }

    #[test]
    fn bits_that_are_removed_need_precise_results() {
        // Eleven bits, of which seven are removed: the lowest is shifted up before the keyswitch.
        let shifted = 49.0 * 49.0 * 2f64.powi(2 * 11);
        let lowest = Site {
            lookups: 7,
            margin: MARGIN_OF_SIGN,
            of_lookups: shifted,
            of_fresh: 0.0,
            of_removals: 3.0 * 2f64.powi(2 * 8),
            bits: 1,
            removes: true,
        };
        let demand = Demand { sites: vec![lowest, site(1, 4, 49.0)], outputs: vec![], failure_bits: 50.0 };
        let found = find(&demand).unwrap();
        assert!(found.params.rotation.levels > 1, "{found:?}");
        assert!(found.log2_failure <= -50.0);
        // Keys of their own make the seven of eight look-ups cheaper.
        let removal = found.params.removing().expect("keys for removing bits");
        assert!(removal.is_secure() && removal.big() <= found.params.big());
        assert!(found.params.removal_seconds() < 0.6 * found.params.lookup_seconds(), "{found:?}");
    }

    /// Precise results of tables of sixteen entries: the fastest set has three digits.
    #[test]
    fn keys_are_small_where_that_costs_little() {
        let removes = |bits: u32| Site {
            lookups: 384,
            margin: MARGIN_OF_SIGN,
            of_lookups: 60.0 * 60.0 * 4f64.powi(bits as i32),
            of_fresh: 0.0,
            of_removals: 7.0 * 4f64.powi(bits as i32),
            bits: 1,
            removes: true,
        };
        let demand = Demand { sites: vec![removes(11), removes(8), site(384, 4, 60.0)], outputs: vec![], failure_bits: 40.0 };
        let (fastest, found) = (search(&demand, usize::MAX).unwrap(), find(&demand).unwrap());
        let of = |f: &Found| (f.params.seeded_key_bytes() >> 20, demand.seconds(&f.params));
        assert!(of(&found).0 <= 60 && of(&found).1 <= 1.5 * of(&fastest).1, "{:?} {:?}", of(&found), of(&fastest));
        assert!(of(&fastest).0 > 60 && found.log2_failure <= -40.0, "a demand that needs a choice: {fastest:?}");
    }

    #[test]
    fn what_no_set_does_is_refused_with_the_nearest() {
        let demand = Demand { sites: vec![site(10, 4, 1e9)], outputs: vec![], failure_bits: 40.0 };
        let refused = find(&demand).unwrap_err();
        assert!(refused.best > -40.0 && refused.lookups == 10, "{refused}");
    }

    #[test]
    fn failures_add_up() {
        let one = Demand { sites: vec![site(1, 4, 5.0)], outputs: vec![], failure_bits: 40.0 };
        let many = Demand { sites: vec![site(1024, 4, 5.0)], ..one.clone() };
        let p = find(&one).unwrap().params;
        assert!((many.log2_failure(&p) - one.log2_failure(&p) - 10.0).abs() < 1e-9);
    }
}
