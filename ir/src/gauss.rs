//! Standard normal numbers and signs that a seed repeats, for noise models and probes. Not for
//! secrets.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014) and the
/// Box-Muller transform.
#[derive(Clone, Copy, Debug)]
pub struct Gauss(u64);

impl Gauss {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Gauss {
        Gauss(seed)
    }
    /// A generator for a part of what this one's seed is for: one for each `index`.
    pub fn part(mut self, index: u64) -> Gauss {
        Gauss(self.bits() ^ index)
    }
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// −1 or 1, each with probability 1/2.
    pub fn sign(&mut self) -> f64 {
        if self.bits() >> 63 == 0 { 1.0 } else { -1.0 }
    }
    /// The next number.
    pub fn number(&mut self) -> f64 {
        let mut uniform = || (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
        let (a, b) = (uniform().max(1e-300), uniform());
        (-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_standard_normal_and_parts_differ() {
        let mut g = Gauss::new(7);
        let all: Vec<f64> = (0..100_000).map(|_| g.number()).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance = all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        let signs: f64 = (0..100_000).map(|_| g.sign()).sum();
        assert!(signs.abs() < 2000.0 && signs % 2.0 == 0.0, "{signs}");
        let first = |k: u64| Gauss::new(7).part(k).number();
        assert!(first(0) != first(1) && first(1) == first(1));
    }
}
