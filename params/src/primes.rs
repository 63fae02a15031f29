//! NTT-friendly primes.

/// Largest supported number of bits of a prime.
pub const MAX_PRIME_BITS: u32 = 50;

/// Whether `n < 2^50` is prime (deterministic Miller–Rabin: the first twelve primes suffice below
/// 3.3e24).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 || n >> MAX_PRIME_BITS != 0 {
        return false;
    }
    if let Some(p) = BASES.iter().find(|&&p| n.is_multiple_of(p)) {
        return n == *p;
    }
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let s = (n - 1).trailing_zeros();
    let d = (n - 1) >> s;
    BASES.iter().all(|&a| {
        let mut x = power(a, d, mul);
        if x == 1 || x == n - 1 {
            return true;
        }
        (1..s).any(|_| {
            x = mul(x, x);
            x == n - 1
        })
    })
}

/// `base^exponent` under a multiplication.
fn power(mut base: u64, mut exponent: u64, mul: impl Fn(u64, u64) -> u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = mul(result, base);
        }
        base = mul(base, base);
        exponent >>= 1;
    }
    result
}

/// The `count` largest primes below `2^bits` that are 1 modulo `2^(log_n + 1)` and not in `skip`,
/// in descending order.
///
/// `None` when `bits` is above 50 or there are not that many with exactly `bits` bits.
pub fn ntt_primes_below(bits: u32, log_n: u32, count: usize, skip: &[u64]) -> Option<Vec<u64>> {
    if bits > MAX_PRIME_BITS || bits < log_n + 2 {
        return None;
    }
    let step = 2u64 << log_n;
    let mut candidate = (1u64 << bits) + 1;
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        candidate -= step;
        if candidate < 1 << (bits - 1) {
            return None;
        }
        if is_prime(candidate) && !skip.contains(&candidate) {
            found.push(candidate);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_trial_division() {
        for n in 0..2000u64 {
            let slow = n >= 2 && (2..n).take_while(|d| d * d <= n).all(|d| n % d != 0);
            assert_eq!(is_prime(n), slow, "{n}");
        }
        assert!(is_prime((1 << 50) - 27));
        assert!(!is_prime(1125899904679939 - 2 + 4));
    }

    #[test]
    fn primes_are_friendly_distinct_and_below_the_bound() {
        let first = ntt_primes_below(50, 16, 3, &[]).unwrap();
        let next = ntt_primes_below(50, 16, 3, &first[..2]).unwrap();
        assert_eq!(first[2], next[0]);
        for &p in first.iter().chain(&next) {
            assert!(p < 1 << 50 && p % (1 << 17) == 1 && is_prime(p));
        }
        assert_eq!(ntt_primes_below(18, 16, 5, &[]), None);
        assert_eq!(ntt_primes_below(51, 10, 1, &[]), None);
    }
}
