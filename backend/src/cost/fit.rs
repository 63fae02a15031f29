//! Unit times from measured work: the cost model's figures that explain measured times best.

use super::{CostModel, Counts};

/// Counted work and the wall time it took on all threads, seconds.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What was done.
    pub counts: Counts,
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// Weight of staying with the prior, relative to one sample's relative error of 1.
const PRIOR: f64 = 0.02;
/// No unit time falls below this part of the prior's.
const LEAST: f64 = 0.1;

/// Fits unit times to samples: least squares of relative errors with a small pull towards `prior`,
/// whose threads are kept. Few samples leave what they do not tell as it was.
pub fn fit(samples: &[Sample], prior: &CostModel) -> CostModel {
    // Parts of the predicted time of each sample, relative to the measured one; factors are sought
    // that make their sum 1.
    let parts: Vec<[f64; 6]> =
        samples.iter().filter(|s| s.seconds > 0.0).map(|s| prior.parts(s.counts, s.log_n).map(|t| t / s.seconds)).collect();
    let mut v = [1.0f64; 6];
    for _ in 0..1000 {
        for k in 0..6 {
            let (mut top, mut bottom) = (PRIOR, PRIOR);
            for p in &parts {
                let others: f64 = (0..6).filter(|&j| j != k).map(|j| p[j] * v[j]).sum();
                top += p[k] * (1.0 - others);
                bottom += p[k] * p[k];
            }
            v[k] = (top / bottom).max(LEAST);
        }
    }
    CostModel {
        ntt_2_16: prior.ntt_2_16 * v[0],
        mac: prior.mac * v[1],
        convert: prior.convert * v[2],
        word: prior.word * v[3],
        pass: prior.pass * v[4],
        expand: prior.expand * v[5],
        threads: prior.threads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_unit_times_are_found_again() {
        let prior = CostModel::default();
        let real = CostModel { ntt_2_16: 2.0 * prior.ntt_2_16, mac: 0.5 * prior.mac, expand: 3.0 * prior.expand, ..prior };
        let counts = |i: u32| {
            let x = |k: u32| 1e3 * (((i * 7 + k * 13) % 11) as f64 + 0.5);
            Counts { ntt: x(0), mac: 20.0 * x(1), convert: 10.0 * x(2), keys: 2.0 * x(3), passes: x(4), expand: 1e4 * x(5) }
        };
        let samples: Vec<Sample> =
            (0..3000).map(|i| Sample { counts: counts(i), log_n: 15 + i % 2, seconds: real.time(counts(i), 15 + i % 2) }).collect();
        let got = fit(&samples, &prior);
        for (a, b) in [(got.ntt_2_16, real.ntt_2_16), (got.mac, real.mac), (got.expand, real.expand), (got.word, real.word)] {
            assert!((a / b - 1.0).abs() < 0.05, "{got:?}");
        }
        assert_eq!(fit(&[], &prior), prior);
    }
}
