//! Variances of the noise of operations, as shares of the torus squared, and probabilities of wrong
//! look-ups.
//!
//! The formulas are those of Bergerat et al., "Parameter Optimization & Larger Precision for
//! (T)FHE" (IACR ePrint 2022/704), for binary secrets; the loss of precision by floating-point
//! transforms and the gain by a centred modulus switch are the fits that tfhe-rs publishes
//! (`noise_formulas`). They hold for keys with the noise of
//! [`TfheParams::secure`](super::TfheParams::secure).

use super::{Decomposition, TfheParams};

/// A word as a share of the torus, squared.
const WORD: f64 = 1.0 / (18_446_744_073_709_551_616.0 * 18_446_744_073_709_551_616.0);

/// Distance from the middle of a half of the torus, where a sign is, to its ends.
pub const MARGIN_OF_SIGN: f64 = 0.25;

/// Distance from an entry of a table of `2^bits` entries to the ends of its interval.
pub fn lookup_margin(bits: u32) -> f64 {
    0.25 * 0.5f64.powi(bits as i32)
}

/// Variances of a parameter set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Of a fresh encryption of dimension k·N.
    pub fresh: f64,
    /// Of the result of a look-up, whatever the operand's.
    pub lookup: f64,
    /// What a keyswitch adds.
    pub keyswitch: f64,
    /// What the modulus switch adds.
    pub modulus_switch: f64,
}

/// Variance of TUniform noise of bound `b`.
fn tuniform(b: u32) -> f64 {
    WORD * (2f64.powi(2 * b as i32) + 0.5) / 3.0
}

/// Variance of a digit, squared sum over the rounding of uniform digits included.
fn digit(base: f64) -> f64 {
    base * base / 12.0 + 1.0 / 6.0
}

/// Variance of what a decomposition leaves of a word.
fn remainder(d: Decomposition) -> f64 {
    2f64.powi(-2 * (d.base_log * d.levels) as i32) / 24.0
}

impl Noise {
    /// Of a parameter set.
    pub fn of(p: &TfheParams) -> Noise {
        Noise {
            fresh: tuniform(p.glwe_bound),
            lookup: Self::rotation(p),
            keyswitch: Self::keyswitch(p, p.big()),
            modulus_switch: Self::modulus_switch(p),
        }
    }
    /// Of the look-ups of a parameter set that remove bits.
    pub fn of_removal(p: &TfheParams) -> Noise {
        p.removing().map_or(Noise::of(p), |r| Noise { keyswitch: Self::keyswitch(&r, p.big()), ..Noise::of(&r) })
    }
    /// A keyswitch from dimension `from`: products of digits with the key's noise, and the
    /// rounding, which half of the secret's bits feel.
    pub(super) fn keyswitch(p: &TfheParams, from: usize) -> f64 {
        let (dimension, levels) = (from as f64, f64::from(p.keyswitch.levels));
        let base = 2f64.powi(p.keyswitch.base_log as i32);
        dimension * levels * tuniform(p.lwe_bound) * digit(base) + dimension * (remainder(p.keyswitch) + WORD / 48.0)
    }
    /// A modulus switch to 2N whose rounding errors are centred: half of what it would be.
    pub(super) fn modulus_switch(p: &TfheParams) -> f64 {
        p.n as f64 * (2f64.powi(-2 * (p.log_n as i32 + 1)) / 48.0 + WORD / 24.0)
    }
    /// A blind rotation: for each of n bits an external product with noisy key, rounding of the
    /// operand's digits, and of the transforms.
    pub(super) fn rotation(p: &TfheParams) -> f64 {
        let (k, degree, levels) = (p.k as f64, p.degree() as f64, f64::from(p.rotation.levels));
        let base = 2f64.powi(p.rotation.base_log as i32);
        let key = levels * degree * (k + 1.0) * tuniform(p.glwe_bound) * digit(base);
        let rounding = (1.0 + 0.5 * k * degree) * remainder(p.rotation) + 0.5 * k * degree * WORD / 48.0;
        // 64-bit words in mantissas of 53 bits.
        let transforms = 0.00705
            * 2f64.powi(2 * 11)
            * WORD
            * base
            * base
            * levels.powf(1.01827)
            * k.powf(1.22003)
            * degree.powf(2.22003)
            * (k + 1.0).powf(1.01827);
        p.n as f64 * (key + rounding + transforms)
    }
    /// log2 of the probability that a Gaussian error of variance `variance` is beyond `margin` on
    /// either side.
    pub fn log2_failure(variance: f64, margin: f64) -> f64 {
        log2_erfc(margin / (2.0 * variance).sqrt())
    }
}

/// log2 of the complementary error function, for x ≥ 0; the relative error of erfc is below 1e-6.
fn log2_erfc(x: f64) -> f64 {
    if x < 2.5 {
        // erfc = 1 − erf, by the Maclaurin series.
        let (mut term, mut sum) = (x, x);
        for k in 1..80 {
            term *= -x * x / f64::from(k);
            sum += term / f64::from(2 * k + 1);
        }
        return (1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI).max(f64::MIN_POSITIVE).log2();
    }
    // Laplace's continued fraction.
    let tail = (1..=60).rev().fold(x, |t, k| x + f64::from(k) / 2.0 / t);
    -x * x * std::f64::consts::LOG2_E - (tail * std::f64::consts::PI.sqrt()).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erfc_at_known_values() {
        for (x, erfc) in [(0.0, 1.0), (0.5, 0.479_500_122_2), (2.0, 0.004_677_734_98), (3.0, 2.209_049_7e-5), (6.0, 2.151_973_67e-17)] {
            let off = log2_erfc(x) - f64::log2(erfc);
            assert!(off.abs() < 1e-6, "erfc({x}) is off by 2^{off}");
        }
        assert!((log2_erfc(2.5 - 1e-9) - log2_erfc(2.5)).abs() < 1e-6, "the two forms meet");
    }

    /// Sets V1_8_PARAM_MESSAGE_m_CARRY_m_KS_PBS_TUNIFORM_2M128 of tfhe-rs: a sum of squared norm
    /// `norm²` of look-ups is looked up again, with the probability of failure that they state.
    #[test]
    fn published_failures_are_reproduced() {
        let d = |base_log, levels| Decomposition { base_log, levels };
        let sets = [
            (TfheParams::secure(879, 4, 9, d(23, 1), d(5, 3)), 2, 3.0, -144.322),
            (TfheParams::secure(918, 1, 11, d(23, 1), d(4, 4)), 4, 5.0, -129.581),
            (TfheParams::secure(1077, 1, 13, d(15, 2), d(4, 5)), 6, 9.0, -128.992),
            (TfheParams::secure(1117, 1, 16, d(11, 3), d(3, 7)), 8, 17.0, -141.559),
        ];
        for (set, bits, norm, published) in sets {
            let noise = Noise::of(&set);
            let variance: f64 = norm * norm * noise.lookup + noise.keyswitch + noise.modulus_switch;
            let found = Noise::log2_failure(variance, lookup_margin(bits));
            assert!((found - published).abs() < 0.05, "{set:?}: 2^{found:.3}, published 2^{published}");
        }
    }
}
