//! The search for the cheapest parameter set under which a program's look-ups are right.

use super::{Decomposition, Noise, TfheParams};

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
    /// log2 of the entries of the table.
    pub bits: u32,
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
    /// log2 of the probability that a run on one image is wrong, at most: the sum over its
    /// look-ups and outputs.
    pub fn log2_failure(&self, p: &TfheParams) -> f64 {
        let noise = Noise::of(p);
        let of = |s: &Site, added: f64| {
            let variance = s.of_lookups * noise.lookup + s.of_fresh * noise.fresh + added;
            (s.lookups as f64).log2() + Noise::log2_failure(variance, s.margin)
        };
        let looked_up = self.sites.iter().map(|s| of(s, noise.keyswitch + noise.modulus_switch));
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
#[error("no secure parameter set computes {lookups} look-ups with an error of at most 2^-{bits}: the best one found has 2^{best:.1}")]
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

/// Decompositions with the fewest levels first; of `levels` digits the base is the largest.
fn decompositions(most_bits: u32, levels: std::ops::RangeInclusive<u32>, bases: std::ops::RangeInclusive<u32>) -> Vec<Decomposition> {
    let of = |levels: u32| bases.clone().filter(move |b| b * levels <= most_bits).map(move |base_log| Decomposition { base_log, levels });
    levels.flat_map(of).collect()
}

/// The set with the least predicted time per look-up that keeps to the demand; a set without
/// look-ups to do is the cheapest that decrypts.
///
/// # Errors
/// No set does.
pub fn find(demand: &Demand) -> Result<Found, Unreachable> {
    let rotations = decompositions(ROTATION_BITS, 1..=4, 8..=25);
    let keyswitches = decompositions(KEYSWITCH_BITS, 1..=12, 1..=10);
    let bits = demand.sites.iter().map(|s| s.bits).max().unwrap_or(0);
    let mut shapes: Vec<TfheParams> = SHAPES
        .iter()
        .filter(|(_, log_n)| bits < *log_n)
        .flat_map(|&(k, log_n)| rotations.iter().map(move |&r| TfheParams::secure(DIMENSIONS.0, k, log_n, r, r)))
        .collect();
    shapes.sort_by(|a, b| a.rotation_seconds().total_cmp(&b.rotation_seconds()));
    let mut best: Option<(f64, Found)> = None;
    let mut closest = 0.0f64;
    for shape in shapes {
        // Rotations cost more with every one of their bits: the cheapest of all is at the first n.
        if best.as_ref().is_some_and(|(seconds, _)| shape.rotation_seconds() >= *seconds) {
            break;
        }
        if !hopeful(demand, &shape) {
            continue;
        }
        for n in (DIMENSIONS.0..=DIMENSIONS.1).step_by(DIMENSIONS.2) {
            for &keyswitch in &keyswitches {
                let params = TfheParams::secure(n, shape.k, shape.log_n, shape.rotation, keyswitch);
                let seconds = params.bootstrap_seconds();
                if best.as_ref().is_some_and(|(least, _)| seconds >= *least) {
                    continue;
                }
                let log2_failure = demand.log2_failure(&params);
                closest = closest.min(log2_failure);
                if log2_failure <= -demand.failure_bits {
                    best = Some((seconds, Found { params, log2_failure }));
                }
            }
        }
    }
    best.map(|(_, found)| found).ok_or(Unreachable { lookups: demand.lookups(), bits: demand.failure_bits, best: closest })
}

/// False if no keyswitch makes a rotation good enough: with a keyswitch that adds nothing it is
/// not.
fn hopeful(demand: &Demand, shape: &TfheParams) -> bool {
    let fine = Decomposition { base_log: 1, levels: 40 };
    let free = TfheParams { keyswitch: fine, lwe_bound: 0, ..*shape };
    demand.log2_failure(&free) <= -demand.failure_bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tfhe::{MARGIN_OF_SIGN, lookup_margin};

    fn site(lookups: usize, bits: u32, norm: f64) -> Site {
        Site { lookups, margin: lookup_margin(bits), of_lookups: norm * norm, of_fresh: 0.0, bits }
    }

    #[test]
    fn sets_found_are_secure_good_enough_and_no_dearer_than_published_ones() {
        let d = |base_log, levels| Decomposition { base_log, levels };
        let demand = Demand { sites: vec![site(1, 4, 5.0)], outputs: vec![], failure_bits: 129.58 };
        let found = find(&demand).unwrap();
        let published = TfheParams::secure(918, 1, 11, d(23, 1), d(4, 4));
        assert!(found.params.is_secure() && found.log2_failure <= -129.58, "{found:?}");
        assert!(found.params.bootstrap_seconds() <= published.bootstrap_seconds(), "{found:?}");
        let weaker = find(&Demand { failure_bits: 40.0, ..demand }).unwrap();
        assert!(weaker.params.bootstrap_seconds() < found.params.bootstrap_seconds(), "{weaker:?}");
    }

    #[test]
    fn bits_that_are_removed_need_precise_results() {
        // Eleven bits, of which seven are removed: the lowest is shifted up before the keyswitch.
        let shifted = 49.0 * 49.0 * 2f64.powi(2 * 11);
        let lowest = Site { lookups: 7, margin: MARGIN_OF_SIGN, of_lookups: shifted, of_fresh: 0.0, bits: 1 };
        let demand = Demand { sites: vec![lowest, site(1, 4, 49.0)], outputs: vec![], failure_bits: 50.0 };
        let found = find(&demand).unwrap();
        assert!(found.params.rotation.levels > 1, "{found:?}");
        assert!(found.log2_failure <= -50.0);
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
