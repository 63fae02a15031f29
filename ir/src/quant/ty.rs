//! Type of an integer value.

use crate::graph::Type;
use crate::tensor::TensorType;
use std::fmt;

/// Most bits of a value.
pub const MAX_BITS: u32 = 16;

/// A tensor of integers modulo `2^(bits+1)`, printed as
/// `int<bits=9 range=-120..300 scale=0.0123> 16x32x32`.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantType {
    /// Integers are modulo `2^(bits+1)`.
    pub bits: u32,
    /// The smallest and the largest integer that is expected: of linear maps, as measured on
    /// calibration images, with a margin.
    pub range: [i64; 2],
    /// What 1 stands for, one number for all channels or one for each; positive.
    pub scale: Vec<f64>,
    /// Extents for one image: `[C, H, W]` or `[C]`.
    pub shape: TensorType,
}

impl QuantType {
    /// Extents as `[C, H, W]`, with 1 for missing dimensions.
    pub fn chw(&self) -> [usize; 3] {
        self.shape.chw()
    }
    /// What 1 stands for in channel c.
    pub fn scale_of(&self, c: usize) -> f64 {
        self.scale[c % self.scale.len()]
    }
    /// The integer, modulo `2^(bits+1)`, that is nearest to the middle of the range.
    pub fn wrap(&self, x: i64) -> i64 {
        let [lo, hi] = self.range;
        let lowest = (lo + hi + 1).div_euclid(2) - (1 << self.bits);
        lowest + (x.wrapping_sub(lowest)).rem_euclid(2 << self.bits)
    }
    /// The integer of the range that a real number of channel c becomes.
    pub fn quantise(&self, x: f64, c: usize) -> i64 {
        let [lo, hi] = self.range.map(|b| b as f64);
        (x / self.scale_of(c)).round().clamp(lo, hi) as i64
    }
}

impl fmt::Display for QuantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale: Vec<String> = self.scale.iter().map(|s| format!("{s:?}")).collect();
        let shape: Vec<String> = self.shape.shape.iter().map(usize::to_string).collect();
        let [lo, hi] = self.range;
        write!(f, "int<bits={} range={lo}..{hi} scale={}> {}", self.bits, scale.join(","), shape.join("x"))
    }
}

impl Type for QuantType {
    fn parse(s: &str) -> Result<Self, String> {
        let bad = || format!("bad type `{s}`: expected e.g. int<bits=9 range=-120..300 scale=0.0123> 16x32x32");
        let (head, shape) = s.strip_prefix("int<").and_then(|s| s.split_once('>')).ok_or_else(bad)?;
        let (mut bits, mut range, mut scale) = (None, None, None);
        for w in head.split_whitespace() {
            match w.split_once('=').ok_or_else(bad)? {
                ("bits", v) => bits = v.parse().ok().filter(|b| (1..=MAX_BITS).contains(b)),
                ("range", v) => {
                    let parsed = v.split_once("..").and_then(|(lo, hi)| Some([lo.parse().ok()?, hi.parse().ok()?]));
                    range = parsed.filter(|r: &[i64; 2]| r.iter().all(|x| x.unsigned_abs() < 1 << 40));
                }
                ("scale", v) => scale = v.split(',').map(|x| x.parse::<f64>().ok()).collect::<Option<Vec<f64>>>(),
                _ => return Err(bad()),
            }
        }
        let (Some(bits), Some(range), Some(scale)) = (bits, range, scale) else { return Err(bad()) };
        let shape = TensorType::parse(&format!("f32[{}]", shape.trim())).map_err(|_| bad())?;
        Ok(QuantType { bits, range, scale, shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_wrap_about_the_middle_of_the_range() {
        let ty = |lo, hi| QuantType { bits: 3, range: [lo, hi], scale: vec![0.5], shape: TensorType::new([1]) };
        assert_eq!([-9, -8, 0, 7, 8].map(|x| ty(-3, 3).wrap(x)), [7, -8, 0, 7, -8]);
        assert_eq!([-1, 0, 15, 16, 31].map(|x| ty(0, 15).wrap(x)), [15, 0, 15, 0, 15]);
        assert_eq!([0.3, -9.0, 1.74, 9.0].map(|x| ty(-3, 3).quantise(x, 0)), [1, -3, 3, 3]);
        assert_eq!(ty(-3, 3).quantise(f64::NAN, 0), 0, "no number is none");
    }

    #[test]
    fn text_reads_back() {
        let text = "int<bits=9 range=-120..300 scale=0.0123,1e-7> 16x32x32";
        assert_eq!(QuantType::parse(text).unwrap().to_string(), text);
        for bad in ["int<bits=0 range=0..1 scale=1> 3", "int<bits=3 range=0 scale=1> 3", "int<bits=3 range=0..1> 3", "f32[3]"] {
            assert!(QuantType::parse(bad).is_err(), "{bad}");
        }
    }
}
