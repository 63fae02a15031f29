//! Constants of the algebra: one number per channel, or one for all channels.

/// Numbers per channel, or a single one for all channels. Compared bit by bit, so that equal ones
/// are one; `−0` is kept as `0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerChannel(Vec<u64>);

impl PerChannel {
    /// The same number in all channels.
    pub fn one(x: f64) -> PerChannel {
        PerChannel::new(&[x])
    }
    /// A number per channel (at least one); a single number is kept if all are the same.
    pub fn new(values: &[f64]) -> PerChannel {
        let bits = |x: &f64| if *x == 0.0 { 0 } else { x.to_bits() };
        let same = values.iter().all(|x| bits(x) == bits(&values[0]));
        PerChannel(values[..if same { 1 } else { values.len() }].iter().map(bits).collect())
    }
    /// The number of channel `c`.
    pub fn at(&self, c: usize) -> f64 {
        f64::from_bits(self.0[c % self.0.len()])
    }
    /// Numbers that are kept: 1, or one per channel.
    pub fn values(&self) -> Vec<f64> {
        self.0.iter().map(|b| f64::from_bits(*b)).collect()
    }
    /// Channel by channel.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> PerChannel {
        PerChannel::new(&self.0.iter().map(|b| f(f64::from_bits(*b))).collect::<Vec<_>>())
    }
    /// Channel by channel with other numbers.
    pub fn zip(&self, o: &PerChannel, f: impl Fn(f64, f64) -> f64) -> PerChannel {
        PerChannel::new(&(0..self.0.len().max(o.0.len())).map(|c| f(self.at(c), o.at(c))).collect::<Vec<_>>())
    }
    /// The sum.
    pub fn plus(&self, o: &PerChannel) -> PerChannel {
        self.zip(o, |x, y| x + y)
    }
    /// The product.
    pub fn times(&self, o: &PerChannel) -> PerChannel {
        self.zip(o, |x, y| x * y)
    }
    /// True if every channel passes.
    pub fn all(&self, f: impl Fn(f64) -> bool) -> bool {
        self.0.iter().all(|b| f(f64::from_bits(*b)))
    }
    /// True if every channel is exactly `x`.
    pub fn is(&self, x: f64) -> bool {
        self.all(|y| y == x)
    }
}

/// The number, or `[first, …]`.
impl std::fmt::Display for PerChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |x: f64| format!("{}", (x * 1e4).round() / 1e4);
        if self.0.len() == 1 { f.write_str(&short(self.at(0))) } else { write!(f, "[{}, …]", short(self.at(0))) }
    }
}
impl std::fmt::Debug for PerChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Channels of several coeffs at once.
pub fn channels<'a>(coeffs: impl Iterator<Item = &'a PerChannel>) -> usize {
    coeffs.map(|r| r.0.len()).max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_broadcast_and_collapse() {
        let (a, b) = (PerChannel::new(&[1.0, 2.0]), PerChannel::one(3.0));
        assert_eq!(a.times(&b), PerChannel::new(&[3.0, 6.0]));
        assert_eq!(a.zip(&a, |x, y| x - y), PerChannel::one(-0.0));
        assert_eq!((a.at(3), b.at(3), channels([&a, &b].into_iter())), (2.0, 3.0, 2));
        assert_eq!(format!("{a} {b}"), "[1, …] 3");
    }
}
