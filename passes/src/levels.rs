//! Limbs of every value of a network, counted from its outputs and its bootstraps.
//!
//! A value has as many limbs as its most demanding reader needs; a bootstrap asks for its base,
//! whatever comes behind it, and its result has what its own readers need.

/// What an op does to the number of limbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimbEffect {
    /// An input: as many limbs as are needed.
    Input,
    /// A linear map that ends with a rescale.
    Linear,
    /// A linear map without a rescale: small integer weights, or its reader is a bootstrap that
    /// rescales.
    Unscaled,
    /// A product; the next linear map rescales.
    Product,
    /// A Chebyshev series of so many levels.
    Series(usize),
    /// A bootstrap with a series of so many levels behind the sine.
    Refresh(usize),
}

impl LimbEffect {
    /// Limbs that the op takes from its operands.
    pub fn takes(self) -> usize {
        match self {
            LimbEffect::Linear => 1,
            LimbEffect::Series(d) => d,
            _ => 0,
        }
    }
}

/// Limbs that each value must have: at least 1, an output at least `output`, a bootstrap's operand
/// at least `base`. `effects[v]` reads `args[v]`, all defined before.
pub fn needed(effects: &[LimbEffect], args: &[Vec<usize>], outputs: &[usize], output: usize, base: usize) -> Vec<usize> {
    let mut need = vec![1usize; effects.len()];
    for &o in outputs {
        need[o] = need[o].max(if effects[o] == LimbEffect::Product { output.max(2) } else { output });
    }
    for v in (0..effects.len()).rev() {
        let wants = match effects[v] {
            LimbEffect::Refresh(_) => base,
            step => need[v] + step.takes(),
        };
        for &a in &args[v] {
            need[a] = need[a].max(wants);
        }
    }
    need
}

/// Limbs that each value has: an op keeps all limbs of its poorest operand that it does not take.
pub fn limbs(effects: &[LimbEffect], args: &[Vec<usize>], need: &[usize]) -> Vec<usize> {
    let mut out: Vec<usize> = vec![];
    for (v, step) in effects.iter().enumerate() {
        let least = args[v].iter().map(|&a| out[a]).min();
        out.push(match (step, least) {
            (LimbEffect::Input | LimbEffect::Refresh(_), _) | (_, None) => need[v],
            (step, Some(l)) => l.saturating_sub(step.takes()).max(1),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstraps_cut_the_count() {
        // input → linear → series → linear → refresh (also read by the last linear) → linear →
        // output
        let effects = [
            LimbEffect::Input,
            LimbEffect::Linear,
            LimbEffect::Series(3),
            LimbEffect::Unscaled,
            LimbEffect::Refresh(3),
            LimbEffect::Linear,
            LimbEffect::Linear,
        ];
        let args = [vec![], vec![0], vec![1], vec![2], vec![3], vec![4], vec![5, 4]].to_vec();
        let need = needed(&effects, &args, &[6], 2, 3);
        assert_eq!(need, [7, 6, 3, 3, 4, 3, 2]);
        assert_eq!(limbs(&effects, &args, &need), need);
        // A product at the output keeps a limb for its scale.
        let effects = [LimbEffect::Input, LimbEffect::Linear, LimbEffect::Product];
        let args = [vec![], vec![0], vec![1, 1]].to_vec();
        assert_eq!(needed(&effects, &args, &[2], 1, 3), [3, 2, 2]);
    }

    #[test]
    fn what_is_not_needed_stays() {
        // A short branch beside a long one keeps the limbs that it has: nothing is dropped that no
        // op drops.
        let effects = [LimbEffect::Input, LimbEffect::Linear, LimbEffect::Linear, LimbEffect::Linear];
        let args = [vec![], vec![0], vec![1], vec![2, 0]].to_vec();
        let need = needed(&effects, &args, &[3], 1, 1);
        assert_eq!(need, [4, 3, 2, 1]);
        let args = [vec![], vec![0], vec![0], vec![2, 1]].to_vec();
        let need = needed(&effects, &args, &[3], 1, 1);
        assert_eq!((need.clone(), limbs(&effects, &args, &need)), (vec![3, 2, 2, 1], vec![3, 2, 2, 1]));
    }
}
