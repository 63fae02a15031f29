//! Unit times: what one counted operation takes on a machine.

use super::Counts;

/// Unit times of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostModel {
    /// One transform at N = 2^16, seconds; other sizes scale with N log N.
    pub ntt_2_16: f64,
    /// One multiply-accumulate with a weight, seconds.
    pub mac: f64,
    /// One multiply-accumulate of a base conversion, seconds.
    pub convert: f64,
    /// One word of an inner product, seconds.
    pub word: f64,
    /// One word of an element-wise pass, seconds.
    pub pass: f64,
    /// One word of expanded weights, seconds.
    pub expand: f64,
    /// Threads, and how well they share the work.
    pub threads: f64,
}

impl Default for CostModel {
    /// Two Zen 4 cores with AVX-512 IFMA, as `measure-machine` found them, median of runs; but
    /// `expand` is set by hand to what a run of one image takes, since calibrations of it scatter
    /// by a factor of four.
    fn default() -> Self {
        CostModel { ntt_2_16: 170e-6, mac: 0.07e-9, convert: 0.09e-9, word: 0.52e-9, pass: 0.8e-9, expand: 4.0e-9, threads: 1.9 }
    }
}

impl CostModel {
    /// The same machine with so many threads in use, each beyond the first worth nine tenths.
    pub fn on_threads(&self, threads: usize) -> CostModel {
        CostModel { threads: 1.0 + 0.9 * threads.saturating_sub(1) as f64, ..*self }
    }
    /// Wall time of counted work, seconds.
    pub fn time(&self, c: Counts, log_n: u32) -> f64 {
        self.parts(c, log_n).iter().sum()
    }
    /// Wall time of each kind of counted work, seconds: transforms, weights, conversions, inner
    /// products, passes, expansion.
    pub fn parts(&self, c: Counts, log_n: u32) -> [f64; 6] {
        let n = (1u64 << log_n) as f64;
        let ntt = self.ntt_2_16 * n * log_n as f64 / (65536.0 * 16.0);
        let words = [c.mac * self.mac, c.convert * self.convert, c.keys * self.word, c.passes * self.pass].map(|limbs| limbs * n);
        let [mac, convert, word, pass] = words;
        [c.ntt * ntt, mac, convert, word, pass, c.expand * self.expand].map(|t| t / self.threads)
    }
}
