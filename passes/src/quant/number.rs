//! Integers for numbers: scales with the least squared error.

/// Shares of the whole range that are tried: the rest saturates.
const SHARES: [f64; 14] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35];

/// What a multiple may be off, as a share: weights come in single precision.
const NEAR: f64 = 1e-5;

/// A scale with the integers that are used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// What 1 stands for.
    pub scale: f64,
    /// The smallest and the largest integer.
    pub range: [i64; 2],
}

impl Grid {
    /// The number that stands for x.
    fn nearest(&self, x: f64) -> f64 {
        let [lo, hi] = self.range.map(|b| b as f64);
        (x / self.scale).round().clamp(lo, hi) * self.scale
    }
}

fn best(candidates: impl Iterator<Item = Grid>, samples: &[f64]) -> Option<Grid> {
    let error = |g: &Grid| samples.iter().map(|x| (g.nearest(*x) - x).powi(2)).sum::<f64>();
    candidates.map(|g| (error(&g), g)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, g)| g)
}

/// `2^bits` integers for numbers of a range, zero among them; `samples` say how often each occurs.
pub(super) fn values(range: [f64; 2], bits: u32, samples: &[f64]) -> Grid {
    let steps = ((1u64 << bits) - 1) as f64;
    let [lo, hi] = [range[0].min(0.0), range[1].max(0.0)];
    let width = if hi > lo { hi - lo } else { 1.0 };
    let of = |share: f64| {
        let scale = share * width / steps;
        let lowest = (share * lo / scale).round();
        Grid { scale, range: [lowest as i64, (lowest + steps) as i64] }
    };
    best(SHARES.into_iter().map(of), samples).unwrap_or_else(|| of(1.0))
}

/// The scale under which weights are the smallest integers that they are multiples of, if these are
/// integers of `bits` bits.
pub(super) fn exact(all: &[f64], bits: u32) -> Option<Grid> {
    let most = (1i64 << (bits - 1)) - 1;
    let least = all.iter().map(|w| w.abs()).filter(|w| *w > 0.0).fold(f64::INFINITY, f64::min);
    let near = |w: &f64| (w / least - (w / least).round()).abs() < NEAR && (w / least).abs() < most as f64 + 0.5;
    (least.is_finite() && all.iter().all(near)).then_some(Grid { scale: least, range: [-most, most] })
}

/// The scale of symmetric integers of `bits` bits for weights: an exact one where there is one.
pub(super) fn weights(all: &[f64], bits: u32) -> Grid {
    if let Some(grid) = exact(all, bits) {
        return grid;
    }
    let most = (1i64 << (bits - 1)) - 1;
    let largest = all.iter().fold(0.0f64, |m, w| m.max(w.abs()));
    let largest = if largest > 0.0 { largest } else { 1.0 };
    let of = |share: f64| Grid { scale: share * largest / most as f64, range: [-most, most] };
    best(SHARES.into_iter().map(of), all).unwrap_or_else(|| of(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_hold_zero_and_cut_what_is_rare() {
        let g = values([0.0, 3.0], 2, &[0.0, 1.0, 2.0, 3.0]);
        assert_eq!((g.range, g.scale), ([0, 3], 1.0));
        let g = values([-1.0, 2.0], 2, &[-1.0, 2.0]);
        assert_eq!((g.range, g.scale), ([-1, 2], 1.0));
        let rare: Vec<f64> = (0..1000).map(|i| if i == 0 { 10.0 } else { f64::from(i % 50) / 10.0 }).collect();
        assert!(values([0.0, 10.0], 3, &rare).scale < 10.0 / 7.0);
        assert_eq!(weights(&[-3.0, 1.0], 3), Grid { scale: 1.0, range: [-3, 3] });
        assert_eq!(weights(&[0.0], 3).range, [-3, 3]);
        // Sums and differences need no more than their signs.
        assert_eq!(weights(&[0.25, -0.25, 0.0], 3).scale, 0.25);
        assert_eq!(exact(&[0.25, -0.5], 2), None, "two is no integer of two bits");
        assert_eq!(exact(&[0.25, 0.3], 8), None);
    }
}
