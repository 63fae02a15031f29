//! The number-theoretic transform: our kernels where they are fast, `tfhe-ntt` elsewhere. This file
//! is the only one that names `tfhe_ntt`.

use super::Modulus;
use crate::simd::ntt::{self, real};
use crate::simd::{Isa, NttPlan, RealPlan, mod_down_tail, mul_constant_assign};
use tfhe_ntt::prime64::Plan;

/// Negacyclic transform tables of one prime and one degree.
///
/// Forward output `i` is the evaluation at `psi^(2 bitrev(i) + 1)`, where `psi` is the table's
/// primitive `2n`-th root. Tables of different degrees for one prime have matching roots:
/// `psi_n = psi_N^(N/n)`. All instruction sets give equal bits.
#[derive(Debug)]
pub struct NttTable {
    engine: Engine,
    isa: Isa,
    modulus: Modulus,
    n_inverse: u64,
}

#[derive(Debug)]
enum Engine {
    Kernel(NttPlan),
    Real(RealPlan),
    Library(Plan),
}

impl Engine {
    /// Our kernel, if there is one that is fast.
    fn ours(n: usize, modulus: &Modulus, isa: Isa, psi: impl FnOnce() -> u64) -> Option<Self> {
        if NttPlan::suits(isa, n) {
            Some(Self::Kernel(NttPlan::new(n, modulus, psi())))
        } else if RealPlan::suits(isa, n) {
            Some(Self::Real(RealPlan::new(n, modulus, psi())))
        } else {
            None
        }
    }
}

impl NttTable {
    /// Smallest supported degree.
    pub const MIN_N: usize = chiffre_params::chain::MIN_TRANSFORM;

    /// Tables for degree `n`, a power of two of at least [`Self::MIN_N`], and a prime that is 1
    /// modulo `2n`. `None` when there are no such tables.
    pub fn new(n: usize, modulus: Modulus) -> Option<Self> {
        Self::with_isa(n, modulus, Isa::current())
    }

    /// As [`Self::new`] for an instruction set other than the detected one.
    pub fn with_isa(n: usize, modulus: Modulus, isa: Isa) -> Option<Self> {
        let library = Plan::try_new(n, modulus.q)?;
        let n_inverse = modulus.inv(modulus.reduce(n as u64));
        let table = Self { engine: Engine::Library(library), isa, modulus, n_inverse };
        match Engine::ours(n, &modulus, isa, || table.root()) {
            Some(engine) => Some(Self { engine, ..table }),
            None => Some(table),
        }
    }

    /// Tables whose output 0 is the evaluation at `psi`, a primitive `2n`-th root of unity that the
    /// table of a multiple of the degree has in this place.
    pub(super) fn with_root(n: usize, modulus: Modulus, psi: u64) -> Option<Self> {
        let isa = Isa::current();
        let Some(engine) = Engine::ours(n, &modulus, isa, || psi) else {
            return Self::with_isa(n, modulus, isa);
        };
        let n_inverse = modulus.inv(modulus.reduce(n as u64));
        Some(Self { engine, isa, modulus, n_inverse })
    }

    /// The degree.
    pub fn n(&self) -> usize {
        match &self.engine {
            Engine::Kernel(plan) => plan.n(),
            Engine::Real(plan) => plan.n(),
            Engine::Library(plan) => plan.ntt_size(),
        }
    }

    /// Coefficients to evaluations, in place; residues in `[0, q)` on both sides.
    pub fn forward(&self, limb: &mut [u64]) {
        match &self.engine {
            Engine::Kernel(plan) => ntt::forward(self.isa, plan, limb),
            Engine::Real(plan) => real::forward(self.isa, plan, limb),
            Engine::Library(plan) => plan.fwd(limb),
        }
    }

    /// `limb = (a - forward(limb)) w (+ addend)` in NTT order, for `w` in `[0, q)`: the end of
    /// ModDown for one limb.
    pub fn forward_mod_down(&self, limb: &mut [u64], a: &[u64], w: u64, addend: Option<&[u64]>) {
        match &self.engine {
            Engine::Kernel(plan) => ntt::forward_mod_down(self.isa, plan, limb, a, w, addend),
            Engine::Real(plan) => real::forward_mod_down(self.isa, plan, limb, a, w, addend),
            Engine::Library(plan) => {
                plan.fwd(limb);
                mod_down_tail(self.isa, &self.modulus, limb, a, w, addend);
            }
        }
    }

    /// Evaluations to coefficients, in place; residues in `[0, q)` on both sides.
    pub fn inverse(&self, limb: &mut [u64]) {
        match &self.engine {
            Engine::Kernel(plan) => ntt::inverse(self.isa, plan, limb, self.n_inverse),
            Engine::Real(plan) => real::inverse(self.isa, plan, limb, self.n_inverse),
            Engine::Library(plan) => {
                plan.inv(limb);
                plan.normalize(limb);
            }
        }
    }

    /// As [`Self::inverse`] but the coefficients come multiplied by `n`.
    pub fn inverse_lazy(&self, limb: &mut [u64]) {
        match &self.engine {
            Engine::Kernel(plan) => ntt::inverse(self.isa, plan, limb, 1),
            Engine::Real(plan) => real::inverse(self.isa, plan, limb, 1),
            Engine::Library(plan) => plan.inv(limb),
        }
    }

    /// `to = n c` times the coefficients of `from`, for `c` in `[0, q)`.
    pub fn inverse_lazy_scaled_into(&self, from: &[u64], to: &mut [u64], c: u64) {
        match &self.engine {
            Engine::Kernel(plan) => ntt::inverse_into(self.isa, plan, from, to, c),
            Engine::Real(plan) => real::inverse_into(self.isa, plan, from, to, c),
            Engine::Library(plan) => {
                to.copy_from_slice(from);
                plan.inv(to);
                mul_constant_assign(self.isa, &self.modulus, to, c);
            }
        }
    }

    /// The primitive `2n`-th root of unity at output 0.
    pub fn root(&self) -> u64 {
        let mut x = vec![0; self.n()];
        x[1] = 1;
        self.forward(&mut x);
        x[0]
    }

    /// The prime.
    pub fn modulus(&self) -> &Modulus {
        &self.modulus
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_params::galois::bit_reverse;
    use chiffre_params::primes::ntt_primes_below;
    use proptest::prelude::*;

    #[test]
    fn order_is_pinned() {
        [7, 9].into_iter().for_each(order_is_pinned_at);
    }

    fn order_is_pinned_at(log_n: u32) {
        let n = 1 << log_n;
        let m = Modulus::new(ntt_primes_below(50, log_n, 1, &[]).unwrap()[0]);
        let table = NttTable::new(n, m).unwrap();
        let psi = table.root();
        let mut x = vec![0; n];
        x[1] = 1;
        table.forward(&mut x);
        for (i, &v) in x.iter().enumerate() {
            assert_eq!(v, m.pow(psi, 2 * bit_reverse(i, log_n) as u64 + 1), "output {i}");
        }
        let coefficients: Vec<u64> = (0..n as u64).map(|i| m.pow(7, i)).collect();
        let mut y = coefficients.clone();
        table.forward(&mut y);
        let horner = |at: u64| coefficients.iter().rev().fold(0, |s, &c| m.add(m.mul(s, at), c));
        assert_eq!(y[5], horner(x[5]));
        table.inverse(&mut y);
        assert_eq!(y, coefficients);
    }

    #[test]
    fn periodic_polynomials_transform_blockwise() {
        let (log_n, log_small) = (11, 6);
        let (n, small) = (1usize << log_n, 1usize << log_small);
        let m = Modulus::new(ntt_primes_below(50, log_n, 1, &[]).unwrap()[0]);
        let (big, little) = (NttTable::new(n, m).unwrap(), NttTable::new(small, m).unwrap());
        let mut short: Vec<u64> = (0..small as u64).map(|i| m.pow(3, 5 * i + 1)).collect();
        let mut long = vec![0; n];
        for (i, &c) in short.iter().enumerate() {
            long[i * (n / small)] = c;
        }
        big.forward(&mut long);
        little.forward(&mut short);
        for (i, &v) in long.iter().enumerate() {
            assert_eq!(v, short[i / (n / small)], "output {i}");
        }
    }

    /// Primes of both regimes of the kernel, and small ones.
    fn primes(log_n: u32) -> Vec<u64> {
        [50, 49, 48, 40, 31, 24].into_iter().flat_map(|bits| ntt_primes_below(bits, log_n, 1, &[])).flatten().collect()
    }

    /// Residues with the extremes among them.
    fn limb(n: usize, q: u64, seed: u64) -> Vec<u64> {
        let mut state = seed;
        let mut word = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 8
        };
        (0..n)
            .map(|_| match word() % 8 {
                0 => 0,
                1 => q - 1,
                _ => word() % q,
            })
            .collect()
    }

    /// The library and, on every instruction set, our kernel give equal bits.
    fn check_kernel(n: usize, q: u64, seed: u64) {
        let m = Modulus::new(q);
        let reference = NttTable { engine: Engine::Library(Plan::try_new(n, q).unwrap()), ..NttTable::new(n, m).unwrap() };
        let limbs = [limb(n, q, seed), limb(n, q, seed + 1), limb(n, q, seed + 2), vec![q - 1; n], vec![0; n]];
        let c = seed % q;
        for isa in Isa::available() {
            let kernel = (n >= NttPlan::MIN_N).then(|| Engine::Kernel(NttPlan::new(n, &m, reference.root())));
            for engine in kernel.into_iter().chain([Engine::Real(RealPlan::new(n, &m, reference.root()))]) {
                let table = NttTable { engine, isa, ..NttTable::new(n, m).unwrap() };
                assert_eq!(table.n(), n);
                for (x, name) in limbs.iter().zip(["random", "random", "random", "q - 1", "0"]) {
                    let [want, got] = [&reference, &table].map(|t| {
                        let [mut forward, mut lazy, mut inverse, mut down, mut added] = [(); 5].map(|()| x.clone());
                        let mut scaled = vec![1; n];
                        t.forward(&mut forward);
                        t.inverse_lazy(&mut lazy);
                        t.inverse(&mut inverse);
                        t.inverse_lazy_scaled_into(x, &mut scaled, c);
                        t.forward_mod_down(&mut down, &limbs[1], c, None);
                        t.forward_mod_down(&mut added, &limbs[1], c, Some(&limbs[2]));
                        [forward, lazy, inverse, scaled, down, added]
                    });
                    for (i, (want, got)) in want.iter().zip(&got).enumerate() {
                        assert!(want == got, "{name}: operation {i}, n = {n}, q = {q}, {isa:?}, {:?}", table.engine);
                    }
                }
            }
        }
    }

    #[test]
    fn kernel_agrees_with_the_library() {
        for log_n in 7..=13 {
            primes(log_n).into_iter().for_each(|q| check_kernel(1 << log_n, q, q ^ 7));
        }
        for log_n in 14..=17 {
            primes(log_n)[..2].iter().for_each(|&q| check_kernel(1 << log_n, q, q ^ 7));
        }
        let many = ntt_primes_below(50, 10, 24, &[]).unwrap().into_iter().chain(ntt_primes_below(49, 10, 24, &[]).unwrap());
        many.for_each(|q| check_kernel(1 << 10, q, q));
    }

    #[test]
    fn small_degrees_stay_with_the_library() {
        for isa in Isa::available() {
            let small = NttTable::with_isa(16, Modulus::new(primes(17)[0]), isa).unwrap();
            assert!(matches!(small.engine, Engine::Library(_)));
            let table = NttTable::with_isa(1024, Modulus::new(primes(17)[0]), isa).unwrap();
            assert_eq!(matches!(table.engine, Engine::Kernel(_)), isa == Isa::Avx512Ifma);
            assert_eq!(matches!(table.engine, Engine::Real(_)), matches!(isa, Isa::Avx2 | Isa::Neon));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn kernel_is_linear_and_invertible(log_n in 8u32..=12, prime in 0usize..4, seed: u64, c: u64) {
            let (n, q) = (1 << log_n, primes(log_n)[prime]);
            let m = Modulus::new(q);
            let table = NttTable::new(n, m).unwrap();
            let (x, y, c) = (limb(n, q, seed), limb(n, q, !seed), c % q);
            let combined: Vec<u64> = x.iter().zip(&y).map(|(&x, &y)| m.add(x, m.mul(c, y))).collect();
            let [fx, fy, fc] = [&x, &y, &combined].map(|v| {
                let mut v = v.clone();
                table.forward(&mut v);
                v
            });
            prop_assert!(fx.iter().zip(&fy).zip(&fc).all(|((&x, &y), &s)| m.add(x, m.mul(c, y)) == s));
            let mut back = fx.clone();
            table.inverse(&mut back);
            prop_assert_eq!(&back, &x);
            table.inverse_lazy_scaled_into(&fx, &mut back, c);
            prop_assert!(back.iter().zip(&x).all(|(&b, &x)| b == m.mul(m.mul(c, n as u64), x)));
        }
    }
}
