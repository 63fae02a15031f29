//! Every kernel on every instruction set of the machine, bit by bit against slow 128-bit
//! arithmetic.

use super::hoist::HOIST_WINDOW;
use super::*;
use crate::arithmetic::{Galois, GaloisTable, Modulus, primes::ntt_primes_below};

const LOG_N: u32 = 8;
const N: usize = 1 << LOG_N;

struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Residues with the extremes among them.
    fn limb(&mut self, q: u64, n: usize) -> Vec<u64> {
        (0..n)
            .map(|_| match self.word() % 8 {
                0 => q - 1,
                1 => 0,
                _ => self.word() % q,
            })
            .collect()
    }
}

fn moduli() -> Vec<Modulus> {
    [50, 45, 30].iter().map(|&bits| Modulus::new(ntt_primes_below(bits, 6, 1, &[]).expect("prime")[0])).collect()
}

fn mul(a: u64, b: u64, q: u64) -> u64 {
    (a as u128 * b as u128 % q as u128) as u64
}

/// Runs a check for every instruction set and modulus with fresh random numbers.
fn each(check: impl Fn(Isa, &Modulus, &mut Random)) {
    for isa in Isa::available() {
        for m in moduli() {
            check(isa, &m, &mut Random(m.q));
        }
    }
}

#[test]
fn the_reference_is_always_there_and_detection_finds_an_available_set() {
    let all = Isa::available();
    assert_eq!(all[0], Isa::Scalar);
    assert!(all.contains(&Isa::detect()));
}

#[test]
fn elementwise() {
    each(|isa, m, r| {
        let q = m.q;
        let (a, b, c) = (r.limb(q, N), r.limb(q, N), r.limb(q, N));
        let w = r.word() % q;
        let is = |got: &[u64], want: &dyn Fn(usize) -> u128| {
            assert!((0..N).all(|i| got[i] as u128 == want(i) % q as u128), "{isa:?} {q}");
        };
        let (wa, wb, wc, wq) = (|i: usize| a[i] as u128, |i: usize| b[i] as u128, |i: usize| c[i] as u128, q as u128);
        let mut x = a.clone();
        add_assign(isa, m, &mut x, &b);
        is(&x, &|i| wa(i) + wb(i));
        let mut x = a.clone();
        sub_assign(isa, m, &mut x, &b);
        is(&x, &|i| wa(i) + wq - wb(i));
        let mut x = a.clone();
        neg_assign(isa, m, &mut x);
        is(&x, &|i| wq - wa(i));
        let mut x = a.clone();
        mul_assign(isa, m, &mut x, &b);
        is(&x, &|i| wa(i) * wb(i));
        mul_into(isa, m, &mut x, &b, &c);
        is(&x, &|i| wb(i) * wc(i));
        let mut x = a.clone();
        mul_add_assign(isa, m, &mut x, &b, &c);
        is(&x, &|i| wa(i) + wb(i) * wc(i));
        let mut x = a.clone();
        mul_constant_assign(isa, m, &mut x, w);
        is(&x, &|i| wa(i) * w as u128);
        let mut x = a.clone();
        mul_constant_add_assign(isa, m, &mut x, &b, w);
        is(&x, &|i| wa(i) + wb(i) * w as u128);
        let g = Galois::rotation(3, LOG_N);
        automorphism_into(isa, &GaloisTable::new(g, LOG_N), &a, &mut x);
        is(&x, &|i| wa(g.source_index(i, LOG_N)));
    });
}

#[test]
fn base_conversion_of_any_number_of_targets() {
    for isa in Isa::available() {
        let primes = ntt_primes_below(50, 6, 12, &[]).expect("primes");
        let mut r = Random(3);
        let sources: Vec<Vec<u64>> = primes[..4].iter().map(|&q| r.limb(q, N)).collect();
        let sources: Vec<&[u64]> = sources.iter().map(|s| &s[..]).collect();
        for targets in 1..=TargetGroup::MAX {
            let moduli: Vec<Modulus> = primes[4..4 + targets].iter().map(|&q| Modulus::new(q)).collect();
            let constant = |s: usize, t: usize| moduli[t].pow(3 + s as u64, 17 + t as u64);
            let group = TargetGroup::new(&moduli, sources.len(), constant);
            let mut out = vec![vec![0; N]; targets];
            let mut rows: Vec<&mut [u64]> = out.iter_mut().map(|o| &mut o[..]).collect();
            convert_group(isa, &group, &sources, &mut rows);
            for (t, out) in out.iter().enumerate() {
                let q = moduli[t].q;
                for (i, &got) in out.iter().enumerate() {
                    let want = (0..sources.len()).fold(0, |w, s| (w + mul(sources[s][i], constant(s, t), q)) % q);
                    assert_eq!(got, want, "{isa:?} target {t} of {targets}");
                }
            }
        }
        let inverse: Vec<f64> = primes[..4].iter().map(|&q| 1.0 / q as f64).collect();
        let mut out = vec![0; N];
        overflow(isa, &sources, &inverse, &mut out);
        for (i, &got) in out.iter().enumerate() {
            let sum = sources.iter().zip(&inverse).fold(0.0, |s, (x, c)| s + x[i] as f64 * c);
            assert_eq!(got, sum.round_ties_even() as u64);
        }
    }
}

#[test]
fn tail_of_mod_down() {
    each(|isa, m, r| {
        let (d, a, e) = (r.limb(m.q, N), r.limb(m.q, N), r.limb(m.q, N));
        let w = r.word() % m.q;
        for addend in [None, Some(&e[..])] {
            let mut got = d.clone();
            mod_down_tail(isa, m, &mut got, &a, w, addend);
            for i in 0..N {
                let want = (mul(a[i] + m.q - d[i], w, m.q) + addend.map_or(0, |e| e[i])) % m.q;
                assert_eq!(got[i], want);
            }
        }
    });
}

#[test]
fn inner_products_of_any_number_of_digits() {
    each(|isa, m, r| {
        let rinv = m.inv(m.r);
        for digits in [1, 2, 3, 4, 5, 6, 7, 8, 15] {
            let rows: Vec<Vec<u64>> = (0..3 * digits).map(|_| r.limb(m.q, N)).collect();
            let x: Vec<&[u64]> = rows[..digits].iter().map(|v| &v[..]).collect();
            let keys: Vec<[&[u64]; 2]> = (0..digits).map(|d| [&rows[digits + 2 * d][..], &rows[digits + 2 * d + 1][..]]).collect();
            let mut out = [vec![0; N], vec![0; N]];
            let [o0, o1] = &mut out;
            key_inner_product(isa, m, &x, &keys, [o0, o1]);
            for c in 0..2 {
                for i in 0..N {
                    let sum = (0..digits).fold(0, |s, d| (s + mul(x[d][i], keys[d][c][i], m.q)) % m.q);
                    assert_eq!(out[c][i], mul(sum, rinv, m.q), "{isa:?} {digits} digits");
                }
            }
        }
    });
}

#[test]
fn tensors() {
    let conjugation = GaloisTable::new(Galois::conjugation(LOG_N), LOG_N);
    each(|isa, m, r| {
        let q = m.q;
        let x: Vec<Vec<u64>> = (0..8).map(|_| r.limb(q, N)).collect();
        let mut out = [vec![0; N], vec![0; N], vec![0; N]];
        let [d0, d1, d2] = &mut out;
        product_tensor(isa, m, [&x[0], &x[1]], [&x[2], &x[3]], [d0, d1, d2]);
        for i in 0..N {
            assert_eq!(out[0][i], mul(x[0][i], x[2][i], q));
            assert_eq!(out[1][i], (mul(x[0][i], x[3][i], q) + mul(x[1][i], x[2][i], q)) % q);
            assert_eq!(out[2][i], mul(x[1][i], x[3][i], q));
        }
        let imaginary = r.word() % q;
        // factor f has rows z = x[4 f], x[4 f + 1] and conjugates x[4 f + 2], x[4 f + 3]
        for factors in [[0, 0], [0, 4]] {
            let z = factors.map(|f| [&x[f][..], &x[f + 1][..]]);
            let zbar = factors.map(|f| [&x[f + 2][..], &x[f + 3][..]]);
            let [d0, d1, d2] = &mut out;
            pair_product_tensor(isa, m, imaginary, &conjugation, z, zbar, [d0, d1, d2]);
            for i in 0..N {
                let from = Galois::conjugation(LOG_N).source_index(i, LOG_N);
                let sign = if i < N / 2 { q - imaginary } else { imaginary };
                let sum = |f: usize, c: usize| (z[f][c][i] + zbar[f][c][from]) % q;
                let difference = |f: usize, c: usize| (z[f][c][i] + q - zbar[f][c][from]) % q;
                let product =
                    |c: usize, d: usize| (mul(sum(0, c), sum(1, d), q) + mul(sign, mul(difference(0, c), difference(1, d), q), q)) % q;
                assert_eq!(out[0][i], product(0, 0), "{isa:?}");
                assert_eq!(out[1][i], (product(0, 1) + product(1, 0)) % q, "{isa:?}");
                assert_eq!(out[2][i], product(1, 1), "{isa:?}");
            }
        }
    });
}

#[test]
fn sums_of_products_and_multiples() {
    each(|isa, m, r| {
        let q = m.q;
        let rinv = m.inv(m.r);
        let rinv2 = mul(rinv, rinv, q);
        let x: Vec<Vec<u64>> = (0..24).map(|_| r.limb(q, N)).collect();
        let pair = |i: usize| [&x[i][..], &x[i + 1][..]];
        let products: Vec<LimbProduct<'_>> = (0..9).map(|i| LimbProduct { left: pair(i), right: pair(2 * i) }).collect();
        let multiples: Vec<LimbMultiple<'_>> = (0..5).map(|i| LimbMultiple { rows: pair(3 * i), factor: r.limb(q, 1)[0] }).collect();
        let digits: Vec<&[u64]> = x[..4].iter().map(|v| &v[..]).collect();
        let keys: Vec<[&[u64]; 2]> = (8..12).map(|d| pair(2 * d - 4)).collect();
        let plain: Vec<LimbTerm<'_>> = (0..11).map(|i| LimbTerm { vector: &x[23 - i], rows: pair(2 * i) }).collect();
        for (lengths, terms, slotwise, count, own) in [
            (&[1][..], 0, &[][..], 1, false),
            (&[8, 1], 5, &[8, 3], 4, true),
            (&[1, 1, 2, 1], 1, &[1], 2, true),
            (&[], 2, &[], 0, false),
            (&[], 0, &[2, 0, 1], 0, false),
            (&[2], 0, &[], 0, true),
        ] {
            let mut at = 0;
            let sums: Vec<LimbProducts<'_>> = lengths
                .iter()
                .map(|&len| {
                    at += len;
                    LimbProducts { products: &products[at - len..at], factor: r.limb(q, 1)[0], last_factor: r.limb(q, 1)[0] }
                })
                .collect();
            // Component `c` of all sums at word `i`, each times its factor.
            let sum = |c: usize, i: usize| {
                sums.iter().fold(0, |all, s| {
                    let one = s.products.iter().fold(0, |all, p| {
                        let term = |a: usize, b: usize| mul(p.left[a][i], p.right[b][i], q);
                        (all + [term(0, 0), (term(0, 1) + term(1, 0)) % q, term(1, 1)][c]) % q
                    });
                    (all + mul(one, if c == 2 { s.last_factor } else { s.factor }, q)) % q
                })
            };
            let mut last = vec![1; N];
            product_sum(isa, m, &sums, &mut last);
            assert!((0..N).all(|i| last[i] == mul(sum(2, i), rinv2, q)), "{isa:?} {q}");
            let constant = r.word() % q;
            let last_key = own.then(|| pair(21));
            let mut at = 0;
            let groups: Vec<LimbTerms<'_>> = slotwise
                .iter()
                .map(|&len| {
                    at += len;
                    LimbTerms { terms: &plain[at - len..at], factor: r.limb(q, 1)[0] }
                })
                .collect();
            let vectors: Vec<LimbVector<'_>> = (0..slotwise.len()).map(|i| LimbVector { vector: &x[i], factor: r.limb(q, 1)[0] }).collect();
            let limb = LimbSum { products: &sums, multiples: &multiples[..terms], terms: &groups, constant, vectors: &vectors, last_key };
            let mut out = [vec![1; N], vec![1; N]];
            let [o0, o1] = &mut out;
            key_sum(isa, m, &digits[..count], &keys[..count], limb, [o0, o1]);
            for c in 0..2 {
                for i in 0..N {
                    let inner = (0..count).fold(0, |s, d| (s + mul(digits[d][i], keys[d][c][i], q)) % q);
                    let linear = multiples[..terms].iter().fold(0, |s, t| (s + mul(t.rows[c][i], t.factor, q)) % q);
                    let own = last_key.map_or(0, |key| mul(last[i], key[c][i], q));
                    let by_slot = groups.iter().fold(0, |all, g| {
                        let one = g.terms.iter().fold(0, |s, t| (s + mul(t.vector[i], t.rows[c][i], q)) % q);
                        (all + mul(mul(one, g.factor, q), rinv, q)) % q
                    });
                    let constants = vectors.iter().fold(constant, |s, v| (s + mul(v.vector[i], v.factor, q)) % q);
                    let all = inner + linear + by_slot + own + mul(sum(c, i), rinv, q) + if c == 0 { constants } else { 0 };
                    assert_eq!(out[c][i], mul(all % q, rinv, q), "{isa:?} {q} component {c}");
                }
            }
        }
    });
}

#[test]
fn halves_of_packed_limbs() {
    let conjugation = GaloisTable::new(Galois::conjugation(LOG_N), LOG_N);
    each(|isa, m, r| {
        let (q, imaginary) = (m.q, r.word() % m.q);
        let (z, zbar) = (r.limb(q, N), r.limb(q, N));
        let mut out = [vec![0; N], vec![0; N]];
        let [re, im] = &mut out;
        split_halves(isa, m, imaginary, &conjugation, &z, &zbar, [re, im]);
        for i in 0..N {
            let w = zbar[Galois::conjugation(LOG_N).source_index(i, LOG_N)];
            let minus_i = if i < N / 2 { (q - imaginary) % q } else { imaginary };
            assert_eq!(out[0][i], (z[i] + w) % q);
            assert_eq!(out[1][i], mul((z[i] + q - w) % q, minus_i, q), "{isa:?}");
        }
    });
}

#[test]
fn patterns_round_alike() {
    each(|isa, m, r| {
        let pattern: Vec<f64> = (0..N).map(|_| (r.word() >> 11) as f64 / (1u64 << 53) as f64 - 0.5).collect();
        let top = largest(&pattern);
        for terms in
            [vec![(1e5, &pattern[..], top)], vec![(1e20, &pattern[..], top)], vec![(3.0, &pattern[..], top), (-1e4, &pattern[..], top)]]
        {
            let mut got = vec![0; N];
            expand_pattern(isa, m, &terms, &mut got);
            for (j, &got) in got.iter().enumerate() {
                let value = terms.iter().fold(0.0, |s, (w, p, _)| s + w * p[j]).round_ties_even();
                assert_eq!(got, (value as i128).rem_euclid(m.q as i128) as u64);
            }
        }
    });
}

/// A panel with dense and sparse rows, rotated and not, against the sum it stands for.
#[test]
fn linear_windows_of_any_shape() {
    for (outputs, run, digits) in
        [(1, 8, 1), (3, N, 2), (8, 16, 3), (11, 4, 6), (10, 32, 2), (13, 1, 7), (17, 8, 9), (9, 2, 2), (12, 4, 1), (3, 4, 2), (1, 2, 3)]
    {
        each(|isa, m, r| linear_case(isa, m, r, outputs, run, digits));
    }
}

/// Slots 0..3 (padded to 4): tap 0 of inputs 0 and 1, tap 1 of input 2; all outputs use them. Slots
/// 4, 5, which some use: tap 1 of input 0, identity of 1.
fn linear_case(isa: Isa, m: &Modulus, r: &mut Random, outputs: usize, run: usize, digits: usize) {
    let sparse = |o: usize| [&[][..], &[4, 5], &[5], &[]][o % 4];
    let uses: Vec<Vec<u32>> = (0..outputs).map(|o| [0, 1, 2].iter().chain(sparse(o)).copied().collect()).collect();
    let list =
        |outputs: &[usize], pairs: &[u32]| OutputClass { outputs: outputs.iter().map(|&o| o as u32).collect(), pairs: pairs.to_vec() };
    let all: Vec<usize> = (0..outputs).collect();
    let (even, odd): (Vec<usize>, Vec<usize>) = (0..outputs).partition(|o| o % 2 == 0);
    for classes in [
        vec![list(&all, &[0, 1])],
        vec![list(&odd, &[0, 2]), list(&even, &[1])],
        vec![list(&all[outputs / 3..], &[]), list(&all[..outputs / 3], &[0, 1, 2])],
    ] {
        let shape = PanelShape::new(6, &classes, &uses, run);
        linear_class_case(isa, m, r, &shape, &uses, digits);
    }
}

fn linear_class_case(isa: Isa, m: &Modulus, r: &mut Random, shape: &PanelShape, uses: &[Vec<u32>], digits: usize) {
    let outputs = uses.len();
    let q = m.q;
    let inputs = 3;
    let limbs: Vec<Vec<u64>> = (0..inputs * (digits + 2)).map(|_| r.limb(q, N)).collect();
    let digit = |i: usize, d: usize| &limbs[i * (digits + 2) + d][..];
    let own = |i: usize, c: usize| digit(i, digits + c);
    let key_rows: Vec<Vec<u64>> = (0..4 * digits).map(|_| r.limb(q, N)).collect();
    let key = |t: usize, d: usize, c: usize| &key_rows[(t * digits + d) * 2 + c][..];
    let tables = [Galois::rotation(1, LOG_N), Galois::rotation(-5, LOG_N)].map(|g| GaloisTable::new(g, LOG_N));
    let span = shape.stripe_span();
    let mut weights = vec![0; shape.stripes(N) * shape.stripe_stride()];
    let mut weight = vec![vec![[0u64; 6]; outputs]; N]; // by word, output, slot
    for (stripe, words) in weights.chunks_exact_mut(shape.stripe_stride()).enumerate() {
        for lane in 0..shape.lanes() {
            for o in 0..outputs {
                for &slot in &uses[o] {
                    let (w, slot) = (r.limb(q, 1)[0], slot as usize);
                    words[shape.cell(o, slot as u32) * shape.lanes() + lane] = w;
                    let per = span / shape.lanes();
                    let covered = stripe * span + lane * per..stripe * span + (lane + 1) * per;
                    covered.for_each(|i| {
                        weight[i][o][slot] = w;
                        weight[N - 1 - i][o][slot] = w;
                    });
                }
            }
        }
    }
    let own_factor = r.word() % q;
    let row = |slot, input| PanelRow { slot, input };
    let keys = |t: usize| (0..digits).map(|d| [key(t, d, 0), key(t, d, 1)]).collect();
    for at_special in [false, true] {
        let panel = LimbPanel {
            modulus: m,
            n: N,
            shape,
            own_factor,
            inputs: (0..inputs)
                .map(|i| InputLimbs {
                    digits: (0..digits).map(|d| digit(i, d)).collect(),
                    own: (!at_special).then(|| [own(i, 0), own(i, 1)]),
                })
                .collect(),
            taps: vec![
                TapRows::new(shape, &tables[0], keys(0), vec![row(0, 0), row(1, 1)]),
                TapRows::new(shape, &tables[1], keys(1), vec![row(2, 2), row(4, 0)]),
            ],
            identity: if at_special { vec![] } else { vec![row(5, 1)] },
            padding: if at_special { vec![3, 5] } else { vec![3] },
            weights: &weights,
        };
        let mut scratch = vec![u64::MAX; shape.scratch_words()];
        let mut out = vec![vec![1; N]; 2 * outputs];
        for accumulate in [false, true] {
            for start in (0..N / 2).step_by(N / 4) {
                let (mut rows, mut mirrored) = (vec![], vec![]);
                for words in &mut out {
                    let (first, second) = words.split_at_mut(N / 2);
                    rows.push(&mut first[start..start + N / 4]);
                    mirrored.push(&mut second[N / 4 - start..N / 2 - start]);
                }
                linear_windows(isa, &panel, start, [&mut rows, &mut mirrored], accumulate, &mut scratch);
            }
        }
        let rinv = m.inv(m.r);
        let value = |slot: usize, c: usize, i: usize| -> u64 {
            let (t, input) = [(0, 0), (0, 1), (1, 2), (9, 9), (1, 0), (2, 1)][slot];
            match t {
                9 => 0,
                2 if at_special => 0,
                2 => mul(own(input, c)[i], mul(own_factor, rinv, q), q),
                _ => {
                    let i = tables[t].galois().source_index(i, LOG_N);
                    let mut sum = (0..digits).fold(0, |s, d| (s + mul(digit(input, d)[i], key(t, d, c)[i], q)) % q);
                    if c == 0 && !at_special {
                        sum = (sum + mul(own(input, 0)[i], own_factor, q)) % q;
                    }
                    mul(sum, rinv, q)
                }
            }
        };
        let rinv2 = mul(rinv, rinv, q);
        for i in 0..N {
            for o in 0..outputs {
                for c in 0..2 {
                    let sum = (0..6).fold(0, |s, slot| (s + mul(value(slot, c, i), weight[i][o][slot], q)) % q);
                    let want = 2 * mul(sum, rinv2, q) % q;
                    assert_eq!(out[2 * o + c][i], want, "{isa:?} {outputs} outputs, run {span}, word {i}, output {o}");
                }
            }
        }
    }
}

/// Taps 0 and 2 are rotations, tap 1 is the identity without a key.
#[test]
fn hoisted_rotations_of_groups() {
    let tables = [GaloisTable::new(Galois::rotation(3, LOG_N), LOG_N), GaloisTable::new(Galois::conjugation(LOG_N), LOG_N)];
    each(|isa, m, r| {
        let q = m.q;
        let rinv = m.inv(m.r);
        for (inputs, outputs, digits, run) in [(1, 1, 1, N), (2, 3, 2, 16), (5, 2, 6, 8), (4, 9, 3, 32), (3, 4, 2, 1), (6, 1, 1, 1)] {
            let rows: Vec<Vec<Vec<u64>>> = (0..inputs).map(|_| (0..digits + 2).map(|_| r.limb(q, N)).collect()).collect();
            let keys: Vec<Vec<[Vec<u64>; 2]>> = (0..2).map(|_| (0..digits).map(|_| [r.limb(q, N), r.limb(q, N)]).collect()).collect();
            let (stripes, lanes) = if run == 1 { (N / 8, 8) } else { (N / run, 1) };
            let words = r.limb(q, stripes * 3 * outputs * lanes);
            let own_factor = r.word() % q;
            let tap = |t: usize| match t {
                1 => HoistedTap { table: None, keys: vec![] },
                _ => HoistedTap { table: Some(&tables[t / 2]), keys: keys[t / 2].iter().map(|[b, a]| [&b[..], &a[..]]).collect() },
            };
            for special in [false, true] {
                let limbs = |i: usize| HoistedLimbs {
                    digits: rows[i][..digits].iter().map(|d| &d[..]).collect(),
                    own: (!special).then(|| [&rows[i][digits][..], &rows[i][digits + 1][..]]),
                };
                let limb = HoistedLimb {
                    modulus: m,
                    n: N,
                    own_factor,
                    inputs: (0..inputs).map(limbs).collect(),
                    taps: (0..3).map(tap).collect(),
                    outputs,
                    weights: Weights { run, words: &words },
                };
                let value = |t: usize, input: usize, c: usize, i: usize| -> u64 {
                    let i = if t == 1 { i } else { tables[t / 2].galois().source_index(i, LOG_N) };
                    let mut sum = 0;
                    if t != 1 {
                        sum = (0..digits).fold(0, |s, d| (s + mul(rows[input][d][i], keys[t / 2][d][c][i], q)) % q);
                    }
                    if !special && (c == 0 || t == 1) {
                        sum = (sum + mul(rows[input][digits + c][i], own_factor, q)) % q;
                    }
                    mul(sum, rinv, q)
                };
                let mut scratch = vec![u64::MAX; HoistedLimb::scratch_words(inputs, 3)];
                let mut out = vec![vec![7; N]; 2 * inputs * outputs];
                for start in (0..N).step_by(HOIST_WINDOW) {
                    let mut out: Vec<&mut [u64]> = out.iter_mut().map(|o| &mut o[start..start + HOIST_WINDOW]).collect();
                    hoisted_windows(isa, &limb, start, &mut out, &mut scratch);
                }
                for (at, row) in out.iter().enumerate() {
                    let (output, input, c) = (at / 2 / inputs, at / 2 % inputs, at % 2);
                    for (i, &got) in row.iter().enumerate() {
                        let weight = |t: usize| match run {
                            1 => words[((i / 8 * 3 + t) * outputs + output) * 8 + i % 8],
                            _ => words[(i / run * 3 + t) * outputs + output],
                        };
                        let sum = (0..3).fold(0, |s, t| (s + mul(value(t, input, c, i), weight(t), q)) % q);
                        assert_eq!(got, mul(sum, mul(rinv, rinv, q), q), "{isa:?} {inputs} inputs, {outputs} outputs, run {run}, word {i}");
                    }
                }
                let mut sums = vec![vec![q - 1; N]; 2 * inputs];
                for start in (0..N).step_by(16) {
                    let mut out: Vec<&mut [u64]> = sums.iter_mut().map(|o| &mut o[start..start + 16]).collect();
                    rotated_product_add(isa, m, &tap(2), &limb.inputs, own_factor, start, &mut out);
                }
                for (at, row) in sums.iter().enumerate() {
                    assert!((0..N).all(|i| row[i] == (value(2, at / 2, at % 2, i) + q - 1) % q));
                }
            }
        }
    });
}
