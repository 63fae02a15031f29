//! NTT-friendly primes.

use super::Modulus;

/// Whether `n < 2^50` is prime (deterministic Miller–Rabin: the first twelve primes suffice below 3.3e24).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 || n >> Modulus::MAX_BITS != 0 {
        return false;
    }
    if let Some(p) = BASES.iter().find(|&&p| n.is_multiple_of(p)) {
        return n == *p;
    }
    let m = Modulus::new(n);
    let s = (n - 1).trailing_zeros();
    let d = (n - 1) >> s;
    BASES.iter().all(|&a| {
        let mut x = m.pow(a, d);
        if x == 1 || x == n - 1 {
            return true;
        }
        (1..s).any(|_| {
            x = m.mul(x, x);
            x == n - 1
        })
    })
}

/// The `count` largest primes below `2^bits` that are 1 modulo `2^(log_n + 1)` and not in `skip`, in descending order.
///
/// `None` when `bits` is above 50 or there are not that many with exactly `bits` bits.
pub fn ntt_primes_below(bits: u32, log_n: u32, count: usize, skip: &[u64]) -> Option<Vec<u64>> {
    if bits > Modulus::MAX_BITS || bits < log_n + 2 {
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
