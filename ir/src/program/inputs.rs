//! What a program says of its inputs: figures over all calibration images, channel by channel.

use crate::ops::{Attr, AttrValue, take_attr};
use serde::{Deserialize, Serialize};

/// Largest magnitude of an input that any program takes.
pub const LARGEST_INPUT: f64 = 1e6;

/// Figures of one channel over all pixels of some images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatistics {
    /// Smallest value.
    pub lowest: f64,
    /// Largest value.
    pub highest: f64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
}

impl ChannelStatistics {
    /// Of images `[n, channels, …]`, for each channel; of none, zeros.
    pub fn of(images: &[f32], n: usize, channels: usize) -> Vec<ChannelStatistics> {
        let plane = images.len() / (n * channels).max(1);
        let values = |channel: usize| {
            let planes = images.chunks_exact(plane.max(1)).skip(channel).step_by(channels.max(1));
            planes.flatten().map(|&x| f64::from(x))
        };
        let one = |channel: usize| {
            let count = (n * plane).max(1) as f64;
            let mean = values(channel).sum::<f64>() / count;
            let variance = values(channel).map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
            let [lowest, highest] = values(channel).fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], x| [a.min(x), b.max(x)]);
            ChannelStatistics { lowest, highest, mean, deviation: variance.sqrt() }
        };
        (0..channels).map(|c| if n * plane == 0 { ChannelStatistics::default() } else { one(c) }).collect()
    }

    /// True if the figures can be those of images.
    pub(super) fn is_plausible(&self) -> bool {
        let ChannelStatistics { lowest, highest, mean, deviation } = *self;
        let slack = 1e-6 * (1.0 + lowest.abs() + highest.abs());
        deviation >= 0.0 && deviation.is_finite() && lowest - slack <= mean && mean <= highest + slack
    }
}

impl AttrValue for ChannelStatistics {
    fn to_attr(&self) -> Option<Attr> {
        let entries = [("lowest", self.lowest), ("highest", self.highest), ("mean", self.mean), ("deviation", self.deviation)];
        Some(Attr::Record(entries.into_iter().map(|(name, x)| (name.to_string(), Attr::Float(x))).collect()))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        let Some(Attr::Record(mut e)) = a else { return Err("must be a record such as {lowest=-1.0, highest=1.0, …}".into()) };
        let mut take = |name: &str| take_attr(&mut e, name);
        let (lowest, highest) = (take("lowest")?, take("highest")?);
        let (mean, deviation) = (take("mean")?, take("deviation")?);
        match e.first() {
            None => Ok(ChannelStatistics { lowest, highest, mean, deviation }),
            Some((name, _)) => Err(format!("has an unknown entry `{name}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_each_channel() {
        // Two images of two channels of two pixels.
        let images = [1.0, 3.0, 10.0, 10.0, 5.0, 7.0, 10.0, 30.0];
        let [a, b] = ChannelStatistics::of(&images, 2, 2).try_into().unwrap();
        assert_eq!(a, ChannelStatistics { lowest: 1.0, highest: 7.0, mean: 4.0, deviation: 5f64.sqrt() });
        assert_eq!((b.lowest, b.highest, b.mean, b.deviation), (10.0, 30.0, 15.0, 75f64.sqrt()));
        assert!(a.is_plausible() && !ChannelStatistics { mean: 9.0, ..a }.is_plausible());
        assert_eq!(ChannelStatistics::of(&[], 0, 3), [ChannelStatistics::default(); 3]);
        assert_eq!(ChannelStatistics::from_attr(a.to_attr()), Ok(a));
    }
}
