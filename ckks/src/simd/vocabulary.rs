//! Every word of the vocabulary of lanes, on every implementation that runs here, against the
//! portable one.

use super::Isa;
use super::doubles::Doubles;
use super::lanes::{Kernel, Lanes, ModulusLanes, Portable};
use super::quad::PortableQuad;
use crate::arithmetic::{Modulus, primes::ntt_primes_below};
use proptest::prelude::*;

type Words = [u64; 8];

/// Operands below 2^52 and residues, and a number of summands.
#[derive(Clone, Copy, Debug)]
struct Case {
    m: Modulus,
    wide: [Words; 2],
    residues: [Words; 2],
    pattern: Words,
    summands: usize,
}

impl Kernel for Case {
    type Output = Vec<Words>;
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Vec<Words> {
        let m = ModulusLanes::new(l, &self.m);
        // SAFETY: arrays of eight words.
        let (x, y) = unsafe { (l.load(self.wide[0].as_ptr()), l.load(self.wide[1].as_ptr())) };
        // SAFETY: as above.
        let (a, b) = unsafe { (l.load(self.residues[0].as_ptr()), l.load(self.residues[1].as_ptr())) };
        let w = self.residues[1][0];
        let mut many = l.acc();
        for _ in 0..self.summands {
            many = l.mac(l.mac(many, l.add(a, b), b), a, l.add(b, m.q));
        }
        let large = l.mac(l.acc(), x, l.reduce_once(b, m.q));
        let two = l.mac(l.mac(l.acc(), a, b), b, b);
        let mut few = l.mac_few(l.few(), a, b);
        let one = few;
        for _ in 0..3 {
            few = l.mac_few(few, b, b);
        }
        let loose = l.redc1_few_loose(few, m.q, m.qinv); // below 4 q
        let loose = l.reduce_once(l.reduce_once(l.reduce_once(loose, m.q), m.q), m.q);
        let rows = l.transpose([x, y, a, b, x, a, y, b]);
        // SAFETY: no more than eight words are read.
        let (two_words, four_words) = unsafe { (l.cycle::<2>(self.wide[0].as_ptr()), l.cycle::<4>(self.wide[0].as_ptr())) };
        let results = [
            l.add(x, y),
            l.sub(x, y),
            l.min(x, l.sub(y, x)),
            l.permute(&self.pattern, x),
            l.mul_lo(x, l.sub(y, x), y),
            l.mul_hi(y, x, l.sub(x, y)),
            l.reduce_once(l.redc1(large, m.q, m.qinv), m.q),
            l.redc1(two, m.q, m.qinv),
            l.redc2(many, m.q, m.qinv),
            l.redc2(l.acc(), m.q, m.qinv),
            l.redc1_few(one, m.q, m.qinv),
            l.redc1_few(few, m.q, m.qinv),
            loose,
            l.mul_mod(a, b, m, l.splat(self.m.r2)),
            l.shoup(x, l.splat(w), l.splat(self.m.shoup(w)), m.q),
            l.add_mod(a, b, m.q),
            l.sub_mod(a, b, m.q),
            rows[0],
            rows[3],
            rows[4],
            rows[7],
            two_words,
            four_words,
        ];
        let mut out = vec![[0; 8]; results.len()];
        for (to, v) in out.iter_mut().zip(results) {
            // SAFETY: an array of eight words.
            unsafe { l.store(to.as_mut_ptr(), v) };
        }
        out
    }
}

/// Any words of so many, with the extremes among them.
fn words(below: u64) -> impl Strategy<Value = Words> {
    prop::array::uniform8(prop_oneof![4 => 0..below, 1 => Just(0), 1 => Just(1), 2 => Just(below - 1), 1 => Just(below / 2)])
}

fn case() -> impl Strategy<Value = Case> {
    (0usize..6, words(1 << 52), words(1 << 52), words(8), 1usize..=512).prop_flat_map(|(prime, x, y, pattern, summands)| {
        let q = ntt_primes_below([50, 49, 48, 40, 31, 20][prime], 8, 1, &[]).expect("a prime")[0];
        let m = Modulus::new(q);
        [words(q), words(q)].prop_map(move |residues| Case { m, wide: [x, y], residues, pattern, summands })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn every_implementation_gives_the_same_words(case in case()) {
        let want = case.run(Portable);
        for (i, (want, got)) in want.iter().zip(case.run(Doubles(PortableQuad))).enumerate() {
            prop_assert_eq!(want, &got, "portable doubles, result {}", i);
        }
        for isa in Isa::available() {
            for (i, (want, got)) in want.iter().zip(isa.run(case)).enumerate() {
                prop_assert_eq!(want, &got, "{:?}, result {}", isa, i);
            }
        }
    }
}
