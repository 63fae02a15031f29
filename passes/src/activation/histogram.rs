//! Weighted histograms of values whose range is not known in advance.

/// Bins on each side of zero.
const HALF: i64 = 1024;
/// Width of the bins of an empty histogram, log2.
const NARROW: i32 = -1000;
/// Unit of weights, log2: sums of integers do not depend on their order.
const UNIT: i32 = -60;

/// A weight in units of 2^-60, to the nearest; what is no number weighs nothing.
pub fn weight(w: f64) -> u128 {
    (w * 2f64.powi(-UNIT)).round() as u128
}

/// Counts and weights of values in bins `[k·w, (k+1)·w)`, w = 2^exponent: the least power of two
/// with which all values fit. The same values in any order, or merged from any parts, give the same
/// histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    exponent: i32,
    /// Counts, bin −HALF first; empty until there is a value.
    counts: Vec<u64>,
    /// Sums of weights, as [`weight`] gives them, for as many bins.
    weights: Vec<u128>,
    /// Smallest and largest value; `[∞, −∞]` without values.
    range: [f64; 2],
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { exponent: NARROW, counts: vec![], weights: vec![], range: [f64::INFINITY, f64::NEG_INFINITY] }
    }
}

impl Histogram {
    /// Counts one finite value, with a weight of [`weight`].
    pub fn add(&mut self, x: f64, weight: u128) {
        if self.counts.is_empty() {
            self.counts = vec![0; 2 * HALF as usize];
            self.weights = vec![0; 2 * HALF as usize];
        }
        self.range = [self.range[0].min(x), self.range[1].max(x)];
        if x.abs() >= HALF as f64 * 2f64.powi(self.exponent) {
            // 2^(e−1)·HALF ≤ |x| < 2^e·HALF, from the exponent of the number itself.
            let e = (x.abs().to_bits() >> 52) as i32 - 1023 - HALF.ilog2() as i32 + 1;
            self.widen(e);
        }
        let k = (x / 2f64.powi(self.exponent)).floor() as i64 + HALF;
        if let (Some(n), Some(w)) = (self.counts.get_mut(k as usize), self.weights.get_mut(k as usize)) {
            *n += 1;
            *w = w.saturating_add(weight);
        }
    }

    /// Merges bins into wider ones.
    fn widen(&mut self, exponent: i32) {
        let shift = (exponent - self.exponent).clamp(0, 62);
        if shift > 0 {
            let counts = std::mem::replace(&mut self.counts, vec![0; 2 * HALF as usize]);
            let weights = std::mem::replace(&mut self.weights, vec![0; 2 * HALF as usize]);
            for (k, (n, w)) in counts.into_iter().zip(weights).enumerate() {
                let to = (((k as i64 - HALF) >> shift) + HALF) as usize;
                self.counts[to] += n;
                self.weights[to] = self.weights[to].saturating_add(w);
            }
            self.exponent = exponent;
        }
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        if other.counts.is_empty() {
            return;
        }
        if self.counts.is_empty() {
            *self = other.clone();
            return;
        }
        let mut other = other.clone();
        let exponent = self.exponent.max(other.exponent);
        self.widen(exponent);
        other.widen(exponent);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.weights.iter_mut().zip(&other.weights).for_each(|(a, b)| *a = a.saturating_add(*b));
        self.range = [self.range[0].min(other.range[0]), self.range[1].max(other.range[1])];
    }

    /// Smallest and largest value; `[0, 0]` without values.
    pub fn range(&self) -> [f64; 2] {
        if self.counts.is_empty() { [0.0; 2] } else { self.range }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all weights.
    pub fn total(&self) -> f64 {
        self.weights.iter().fold(0u128, |a, w| a.saturating_add(*w)) as f64 * 2f64.powi(UNIT)
    }

    /// Middle of each bin that holds values (no further out than the extreme values), and the
    /// number of values.
    pub fn bins(&self) -> impl Iterator<Item = (f64, u64)> {
        let w = 2f64.powi(self.exponent);
        let [lo, hi] = self.range;
        let middle = move |k: usize| ((k as i64 - HALF) as f64 * w + 0.5 * w).clamp(lo, hi);
        self.counts.iter().enumerate().filter(|(_, n)| **n > 0).map(move |(k, n)| (middle(k), *n))
    }

    /// Middle of each bin that holds values, and its share of all weights; of all values if nothing
    /// weighs anything.
    pub fn density(&self) -> Vec<(f64, f64)> {
        let total = self.weights.iter().fold(0u128, |a, w| a.saturating_add(*w));
        let share = |n: u64, w: u128| if total > 0 { w as f64 / total as f64 } else { n as f64 / self.count() as f64 };
        let held = self.counts.iter().zip(&self.weights).filter(|(n, _)| **n > 0);
        self.bins().zip(held).map(|((x, n), (_, w))| (x, share(n, *w))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Histogram {
        let mut h = Histogram::default();
        values.iter().for_each(|x| h.add(*x, weight(x * x)));
        h
    }

    #[test]
    fn bins_hold_their_values() {
        let h = of(&[0.0, -0.0, 1.0, -1.0, 1e-9]);
        assert_eq!((h.count(), h.range()), (5, [-1.0, 1.0]));
        assert!(of(&[]).bins().next().is_none());
        assert_eq!(of(&[0.0, 0.0]).bins().collect::<Vec<_>>(), [(0.0, 2)]);
        assert_eq!(of(&[3.0]).bins().collect::<Vec<_>>(), [(3.0, 1)]);
    }

    #[test]
    fn densities_follow_the_weights() {
        let h = of(&[1.0, 1.0, -1.0, 0.0]);
        assert_eq!(h.density().iter().map(|d| d.1).collect::<Vec<_>>(), [1.0 / 3.0, 0.0, 2.0 / 3.0]);
        let mut even = Histogram::default();
        [1.0, 1.0, -1.0, 0.0].into_iter().for_each(|x| even.add(x, 0));
        assert_eq!(even.density().iter().map(|d| d.1).collect::<Vec<_>>(), [0.25, 0.25, 0.5]);
        assert_eq!([1.0, f64::NAN, 1e-30, f64::INFINITY].map(weight), [1 << 60, 0, 0, u128::MAX]);
    }

    proptest! {
        #[test]
        fn order_and_parts_do_not_matter(values in proptest::collection::vec(-1e3f64..1e3, 1..60), small in 0usize..60, cut in 0usize..60) {
            let mut values = values;
            values.iter_mut().take(small).for_each(|x| *x *= 1e-6);
            let whole = of(&values);
            let (a, b) = values.split_at(cut.min(values.len()));
            let mut merged = of(a);
            merged.merge(&of(b));
            prop_assert_eq!(&merged, &whole);
            values.reverse();
            prop_assert_eq!(&of(&values), &whole);
            let most = values.iter().fold(0f64, |m, x| m.max(x.abs()));
            let w = most / 512.0;
            let sum: f64 = values.iter().sum();
            prop_assert!((whole.bins().map(|(x, n)| x * n as f64).sum::<f64>() - sum).abs() <= w * values.len() as f64);
        }
    }
}
