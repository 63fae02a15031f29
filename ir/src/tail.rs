//! The end of a network that needs no encryption: what its owner does with decrypted values to have
//! the outputs of the model file.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// What a tail op computes along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum TailKind {
    /// e^x over the sum of e^x.
    Softmax,
    /// The logarithm of the softmax.
    LogSoftmax,
    /// 1/(1 + e^−x) of every value.
    Sigmoid,
    /// The index of the largest value (with `min` of the smallest), of equal ones the first or the
    /// last.
    ArgMax {
        /// The smallest instead.
        min: bool,
        /// The last of equal ones.
        last: bool,
    },
    /// The `k` largest values (or smallest) in order, or their indices; of equal ones the first
    /// come first.
    TopK {
        /// How many.
        k: usize,
        /// The largest ones.
        largest: bool,
        /// Their indices instead of them.
        indices: bool,
    },
}

/// An op of the tail on the values of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailOp {
    /// What it computes.
    pub kind: TailKind,
    /// Number of values before the axis, along it, and behind it; values are row-major.
    pub extents: [usize; 3],
    /// Name of the ONNX node.
    pub source: String,
}

impl TailOp {
    /// Number of values of a result.
    pub fn result_len(&self) -> usize {
        let [outer, n, inner] = self.extents;
        outer
            * inner
            * match self.kind {
                TailKind::Softmax | TailKind::LogSoftmax | TailKind::Sigmoid => n,
                TailKind::ArgMax { .. } => 1,
                TailKind::TopK { k, .. } => k,
            }
    }

    /// True if the result at a place is not made of the value there.
    pub fn reorders(&self) -> bool {
        matches!(self.kind, TailKind::ArgMax { .. } | TailKind::TopK { .. })
    }

    /// The result on the values of one image; `x` has as many as `extents` say. Values that are no
    /// numbers yield such.
    pub fn apply(&self, x: &[f32]) -> Vec<f32> {
        let [outer, n, inner] = self.extents;
        let per = self.result_len() / (outer * inner).max(1);
        let mut out = vec![0.0; self.result_len()];
        for o in 0..outer {
            for i in 0..inner {
                let line: Vec<f32> = (0..n).map(|k| x[(o * n + k) * inner + i]).collect();
                for (k, y) in self.line(&line).into_iter().enumerate() {
                    out[(o * per + k) * inner + i] = y;
                }
            }
        }
        out
    }

    fn line(&self, x: &[f32]) -> Vec<f32> {
        if x.iter().any(|x| x.is_nan()) {
            return vec![f32::NAN; self.result_len() / (self.extents[0] * self.extents[2]).max(1)];
        }
        let wide = || x.iter().map(|&x| f64::from(x));
        let most = wide().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = wide().map(|x| (x - most).exp()).sum();
        match self.kind {
            TailKind::Softmax => wide().map(|x| ((x - most).exp() / sum) as f32).collect(),
            TailKind::LogSoftmax => wide().map(|x| (x - most - sum.ln()) as f32).collect(),
            TailKind::Sigmoid => wide().map(|x| (1.0 / (1.0 + (-x).exp())) as f32).collect(),
            TailKind::ArgMax { min, last } => {
                let order = sorted(x, !min);
                let best = order.first().map(|&b| if last { x.iter().rposition(|y| *y == x[b]).unwrap_or(b) } else { b });
                best.into_iter().map(|b| b as f32).collect()
            }
            TailKind::TopK { k, largest, indices } => {
                sorted(x, largest).into_iter().take(k).map(|i| if indices { i as f32 } else { x[i] }).collect()
            }
        }
    }
}

/// Number of values that a tail makes of `len` values.
///
/// # Errors
/// An op that does not fit what it reads, in words.
pub fn check(ops: &[TailOp], len: usize) -> Result<usize, String> {
    ops.iter().try_fold(len, |len, op| {
        let reads = op.extents.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let fits = match op.kind {
            TailKind::TopK { k, .. } => (1..=op.extents[1]).contains(&k),
            _ => true,
        };
        if reads != Some(len) || len == 0 || !fits {
            return Err(format!("{op} of {:?} values, of {len}", op.extents));
        }
        Ok(op.result_len())
    })
}

/// What a tail makes of the values of one image; [`check`] has accepted their number.
pub fn apply(ops: &[TailOp], values: &[f32]) -> Vec<f32> {
    ops.iter().fold(values.to_vec(), |v, op| op.apply(&v))
}

/// Indices in order of their values; equal ones stay in order.
fn sorted(x: &[f32], largest: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    let compare = |a: usize, b: usize| x[a].partial_cmp(&x[b]).unwrap_or(Ordering::Equal);
    order.sort_by(|&a, &b| if largest { compare(b, a) } else { compare(a, b) });
    order
}

impl fmt::Display for TailOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TailKind::Softmax => f.write_str("softmax"),
            TailKind::LogSoftmax => f.write_str("log-softmax"),
            TailKind::Sigmoid => f.write_str("sigmoid"),
            TailKind::ArgMax { min, .. } => f.write_str(if min { "index of the smallest" } else { "index of the largest" }),
            TailKind::TopK { k, largest, indices } => {
                let which = if largest { "largest" } else { "smallest" };
                write!(f, "{}the {k} {which}", if indices { "indices of " } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(kind: TailKind, extents: [usize; 3]) -> TailOp {
        TailOp { kind, extents, source: String::new() }
    }

    #[test]
    fn results_follow_the_axis() {
        let x = [1.0, 4.0, 3.0, 2.0, 3.0, 0.0];
        assert_eq!(op(TailKind::ArgMax { min: false, last: false }, [2, 3, 1]).apply(&x), [1.0, 1.0]);
        assert_eq!(op(TailKind::ArgMax { min: true, last: false }, [1, 3, 2]).apply(&x), [0.0, 2.0]);
        let ties = op(TailKind::ArgMax { min: false, last: true }, [1, 6, 1]);
        assert_eq!(ties.apply(&[1.0, 5.0, 5.0, 0.0, 5.0, 1.0]), [4.0]);
        let top = |indices| op(TailKind::TopK { k: 2, largest: true, indices }, [2, 3, 1]).apply(&x);
        assert_eq!((top(false), top(true)), (vec![4.0, 3.0, 3.0, 2.0], vec![1.0, 2.0, 1.0, 0.0]));
    }

    #[test]
    fn tails_fit_what_they_read() {
        let tail = [op(TailKind::Softmax, [1, 4, 1]), op(TailKind::TopK { k: 3, largest: true, indices: false }, [1, 4, 1])];
        assert_eq!(check(&tail, 4), Ok(3));
        assert_eq!(apply(&tail, &[0.0; 4]).len(), 3);
        assert!(check(&tail, 5).is_err());
        assert!(check(&[op(TailKind::Sigmoid, [usize::MAX, 4, 1])], 4).is_err());
        assert!(check(&[op(TailKind::TopK { k: 5, largest: true, indices: false }, [1, 4, 1])], 4).is_err());
    }

    #[test]
    fn softmax_survives_large_values() {
        let y = op(TailKind::Softmax, [1, 2, 1]).apply(&[1000.0, 999.0]);
        assert!((y[0] - 0.731_058_6).abs() < 1e-6 && (y[0] + y[1] - 1.0).abs() < 1e-6);
        let y = op(TailKind::LogSoftmax, [1, 2, 1]).apply(&[1000.0, 0.0]);
        assert_eq!(y, [0.0, -1000.0]);
        assert!(op(TailKind::Softmax, [1, 2, 1]).apply(&[f32::NAN, 0.0]).iter().all(|y| y.is_nan()));
        assert_eq!(op(TailKind::Sigmoid, [1, 1, 2]).apply(&[0.0, 100.0]), [0.5, 1.0]);
    }
}
