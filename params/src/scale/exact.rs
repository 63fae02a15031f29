//! Exact comparison of a factored rational with one, for ratios that logarithms in double precision
//! cannot order.

use std::cmp::Ordering;

/// Compares `2^pow2 · Π p^k` with 1.
pub(super) fn compare_to_one(pow2: i32, factors: impl Iterator<Item = (u64, i32)>) -> Ordering {
    let mut numerator = vec![1u64];
    let mut denominator = vec![1u64];
    for (p, k) in factors {
        let side = if k > 0 { &mut numerator } else { &mut denominator };
        for _ in 0..k.unsigned_abs() {
            multiply(side, p);
        }
    }
    let side = if pow2 > 0 { &mut numerator } else { &mut denominator };
    let bits = pow2.unsigned_abs() as usize;
    multiply(side, 1 << (bits % 64));
    side.splice(0..0, std::iter::repeat_n(0, bits / 64));
    numerator.len().cmp(&denominator.len()).then_with(|| numerator.iter().rev().cmp(denominator.iter().rev()))
}

/// `number · factor`, little-endian words without leading zero words.
fn multiply(number: &mut Vec<u64>, factor: u64) {
    let mut carry = 0u128;
    for word in number.iter_mut() {
        let t = u128::from(*word) * u128::from(factor) + carry;
        *word = t as u64;
        carry = t >> 64;
    }
    if carry != 0 {
        number.push(carry as u64);
    }
}
