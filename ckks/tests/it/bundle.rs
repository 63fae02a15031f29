//! Bundle operations under real keys on small rings: decryptions against clear slots, and equal
//! bits on every instruction set and number of threads.

use chiffre_ckks::Isa;
use chiffre_ckks::bundle::*;
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::ring::{Gadget, Galois, Ring, RnsPoly};
use chiffre_ckks::scale::Scale;
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor};
use chiffre_params::table::{DiagTable, Entry, Masks, Row, TableLiteral, WeightType};
use num_complex::Complex64;
use std::collections::BTreeMap;

/// A ring with keys and ciphertexts.
struct Bench {
    context: Context,
    secret: SecretKey,
    keys: PreparedKeys,
    gadget: Gadget,
    messages: Vec<Vec<Complex64>>,
    inputs: Vec<Ciphertext>,
}

fn rng(seed: u8) -> Csprng {
    Csprng::from_seed([seed; 32])
}

fn number(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

impl Bench {
    /// `limbs` Q primes of 50 bits, keys for rotations by `taps`, conjugation and relinearisation.
    fn new(log_n: u32, limbs: usize, gadget: Gadget, taps: &[isize], inputs: usize, scale: i32) -> Self {
        let literal = CkksParamsLiteral::generate(log_n, &vec![50; limbs], &vec![50; gadget.alpha]).expect("primes");
        let context = Context::new(CkksParams::try_from(literal.insecure()).expect("marked")).expect("context");
        let secret = SecretKey::generate(&context, &mut rng(1));
        let targets: Vec<_> = taps
            .iter()
            .map(|&t| KeyTarget::from(Galois::rotation(t, log_n)))
            .chain([KeyTarget::Relinearization, Galois::conjugation(log_n).into()])
            .map(|g| (g, gadget))
            .collect();
        let keys = KeyGenerator::new(&context, &secret, rng(2)).switching_keys(&targets).expect("keys");
        let keys = keys.iter().map(|k| PreparedKey::new(context.ring(), k.expand(context.ring()))).collect();
        let mut state = 5;
        let mut slot = || Complex64::new(number(&mut state), number(&mut state));
        let messages: Vec<Vec<Complex64>> = (0..inputs).map(|_| (0..context.slots()).map(|_| slot()).collect()).collect();
        let mut encryptor = SecretKeyEncryptor::new(&context, &secret, rng(3));
        let inputs = messages
            .iter()
            .map(|m| encryptor.encrypt(&context.encode(m, &Scale::pow2(scale), limbs).expect("encode")).expand(context.ring(), limbs))
            .collect();
        Self { context, secret, keys, gadget, messages, inputs }
    }

    fn refs(&self) -> Vec<CtRef<'_>> {
        self.inputs.iter().map(|c| CtRef::new(c).expect("two polynomials")).collect()
    }

    fn decrypt(&self, pair: &[RnsPoly; 2], scale: Scale) -> Vec<Complex64> {
        let ct = Ciphertext::new(pair.clone(), scale);
        self.context.decode(&Decryptor::new(&self.context, &self.secret).decrypt(&ct).expect("decrypt"))
    }

    /// As [`Self::table_where`], with all entries.
    fn table(&self, taps: &[isize], outputs: usize, period: usize) -> (EncodedTable, Vec<Vec<Complex64>>) {
        self.table_where(taps, outputs, period, |_, _, _| true)
    }

    /// A table with random weights on `taps`: masks of period `period` (0: scalars) with a few
    /// scalars among them, plus for each output one row that only it uses, as far as (input, tap,
    /// output) are accepted. And the outputs for the messages.
    fn table_where(
        &self,
        taps: &[isize],
        outputs: usize,
        period: usize,
        accept: fn(u32, u32, u32) -> bool,
    ) -> (EncodedTable, Vec<Vec<Complex64>>) {
        let mut state = 77;
        let inputs = self.inputs.len();
        let mut masks = if period == 0 { Masks::default() } else { Masks::new(period).expect("a power of two") };
        for p in 0..if period == 0 { 0 } else { 5 } {
            masks.push((0..period).filter(|j| (j * 7 + p) % 5 < 3));
        }
        let mut table = TableLiteral { taps: taps.iter().map(|&t| t as i64).collect(), outputs, masks, ..TableLiteral::default() };
        table.weights = WeightType::F64;
        for tap in 0..taps.len() {
            for input in 0..inputs {
                table.rows.push(Row { operand: 0, ct: input as u32, tap: tap as u32 });
            }
        }
        let dense = table.rows.len();
        // Operands of one row each, which are the same ciphertexts again.
        for output in 0..outputs {
            table.rows.push(Row { operand: 1 + output as u32, ct: (output % inputs) as u32, tap: (output % taps.len()) as u32 });
        }
        let mut entries = BTreeMap::new();
        for row in 0..table.rows.len() {
            let all = 0..if row < dense { outputs } else { 1 };
            for o in all {
                let output = (if row < dense { o } else { row - dense }) as u32;
                let mask = match (period, (row * 3 + o) % 7) {
                    (0, _) | (_, 0) => None,
                    (_, k) => Some((k % 5) as u32),
                };
                let weight = number(&mut state);
                let Row { ct, tap, .. } = table.rows[row];
                if (row % 5 == 4 && o == 1) || !accept(ct, tap, output) {
                    continue;
                }
                *entries.entry((row as u32, output, mask)).or_insert(0.0) += weight;
                if row % 6 == 1 {
                    *entries.entry((row as u32, output, (period > 0).then_some(1))).or_insert(0.0) += 0.25;
                }
            }
        }
        table.entries = entries.into_iter().map(|((row, output, mask), weight)| Entry { row, output, mask, weight }).collect();
        let slots = self.context.slots();
        let mut want = vec![vec![Complex64::default(); slots]; outputs];
        for e in &table.entries {
            let Row { ct, tap, .. } = table.rows[e.row as usize];
            for (j, w) in want[e.output as usize].iter_mut().enumerate() {
                let mask = e.mask.map_or(1.0, |m| f64::from(u8::from(table.masks.get(m as usize, j))));
                let from = (j as isize + taps[tap as usize]).rem_euclid(slots as isize) as usize;
                *w += mask * e.weight * self.messages[ct as usize][from];
            }
        }
        (self.encoded(table), want)
    }

    /// A table whose operands are all the same list of ciphertexts.
    fn encoded(&self, table: TableLiteral) -> EncodedTable {
        let table = DiagTable::new(table).expect("a table");
        let first = vec![0; table.reads().len()];
        EncodedTable::new(self.context.encoder(), table.into(), first).expect("encoded")
    }
}

/// [`apply_linear`] of one bundle that is not given away.
fn linear(ring: &Ring, isa: Isa, inputs: &[CtRef<'_>], op: &LinearOp<'_>, keys: &PreparedKeys) -> Result<Vec<[RnsPoly; 2]>, BundleError> {
    Ok(apply_linear(ring, isa, vec![Input::borrowed(inputs)], op, keys)?.swap_remove(0))
}

fn worst(a: &[Complex64], b: &[Complex64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
}

/// One linear map: right in the clear, and bit-equal for all instruction sets and for one thread.
fn linear_case(log_n: u32, limbs: usize, gadget: Gadget, taps: &[isize], shape: (usize, usize), period: usize, drop: usize) {
    let bench = Bench::new(log_n, limbs + 1, gadget, taps, shape.0, 40);
    let table = bench.table(taps, shape.1, period);
    table_case(&bench, limbs, table, drop);
}

/// As [`linear_case`], for any table and its outputs.
fn table_case(bench: &Bench, limbs: usize, (table, mut want): (EncodedTable, Vec<Vec<Complex64>>), drop: usize) {
    let ring = bench.context.ring();
    let (inputs, outputs, gadget) = (bench.inputs.len(), table.table().outputs, bench.gadget);
    let weight_bits = if drop > 0 { 45 * drop as i32 } else { 4 };
    let scales = vec![2f64.powi(weight_bits); inputs];
    let mut scale = Scale::pow2(40).mul(&Scale::pow2(weight_bits));
    for m in &ring.moduli()[limbs - drop..limbs] {
        scale = scale.div_prime(m.q());
    }
    let bias: Vec<BiasPoly> = (0..outputs)
        .map(|o| match o % 3 {
            0 => BiasPoly::default(),
            1 => BiasPoly(vec![(o as f64 * scale.to_f64()).round() as i64]),
            _ => {
                let values: Vec<Complex64> = (0..4).map(|j| Complex64::new(j as f64, o as f64)).collect();
                BiasPoly(
                    bench
                        .context
                        .encoder()
                        .encode_periodic(&values)
                        .expect("encode")
                        .iter()
                        .map(|c| (c * scale.to_f64()).round() as i64)
                        .collect(),
                )
            }
        })
        .collect();
    for (o, want) in want.iter_mut().enumerate() {
        for (j, w) in want.iter_mut().enumerate() {
            *w += match o % 3 {
                0 => Complex64::default(),
                1 => Complex64::from(o as f64),
                _ => Complex64::new((j % 4) as f64, o as f64),
            };
        }
    }
    let op = LinearOp {
        table: table.table(),
        first: table.first(),
        patterns: table.patterns(),
        plan: None,
        input_scales: &scales,
        limbs_in: limbs,
        bias: Some(&bias),
        gadget,
        drop_limbs: drop,
        giants: None,
    };
    let mut first: Option<Vec<[RnsPoly; 2]>> = None;
    for isa in Isa::available() {
        let got = linear(ring, isa, &bench.refs(), &op, &bench.keys).expect("linear");
        if let Some(first) = &first {
            assert!(*first == got, "{isa:?} differs from scalar");
            continue;
        }
        for (o, (got, want)) in got.iter().zip(&want).enumerate() {
            assert_eq!(got[0].rows(), limbs - drop);
            let error = worst(&bench.decrypt(got, scale.clone()), want);
            let bound = if drop > 0 { 2f64.powi(-17) } else { 0.6 };
            assert!(error < bound, "output {o}: error 2^{:.1}", error.log2());
        }
        first = Some(got);
    }
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("pool");
    let again = one.install(|| linear(ring, crate::isa(), &bench.refs(), &op, &bench.keys).expect("linear"));
    assert!(first.as_ref() == Some(&again), "one thread differs");
    // The sum of each cell as one pattern.
    let (cells, single) = (masked_cells(table.table()), table.patterns());
    let Patterns::Masks(single) = single else { panic!("one for each mask") };
    let sum = |cell: &std::ops::Range<usize>| -> Vec<f64> {
        let terms = table.table().entries[cell.clone()].iter().map(|e| (e.weight, &single[e.mask.expect("masked") as usize]));
        terms.fold(vec![0.0; table.table().period()], |sum, (w, p)| sum.iter().zip(p).map(|(s, c)| s + w * c).collect())
    };
    let sums: Vec<Vec<f64>> = cells.iter().map(sum).collect();
    let op_of_cells = LinearOp { patterns: Patterns::Cells { patterns: &sums, entries: &cells }, ..op };
    let got = linear(ring, crate::isa(), &bench.refs(), &op_of_cells, &bench.keys).expect("linear");
    for (o, (got, want)) in got.iter().zip(&want).enumerate() {
        let error = worst(&bench.decrypt(got, scale.clone()), want);
        assert!(error < if drop > 0 { 2f64.powi(-17) } else { 0.6 }, "output {o} from cells: error 2^{:.1}", error.log2());
    }
    let plan = LinearPlan::new(table.table(), table.first(), ring.log_n(), scales.len()).expect("planned");
    let planned = LinearOp { plan: Some(&plan), ..op_of_cells };
    let again = linear(ring, crate::isa(), &bench.refs(), &planned, &bench.keys).expect("linear");
    assert!(again == got, "one plan serves both kinds of patterns");
    // A plan made before, and one for another ring, which is not used.
    for degree in [ring.log_n(), ring.log_n() + 1] {
        let plan = LinearPlan::new(table.table(), table.first(), degree, scales.len()).expect("planned");
        let op = LinearOp { plan: Some(&plan), ..op };
        let got = linear(ring, crate::isa(), &bench.refs(), &op, &bench.keys).expect("linear");
        assert!(first.as_ref() == Some(&got), "planned for degree 2^{degree}: differs");
    }
}

/// A map whose outputs are partial sums of giant steps: right in the clear, and bit-equal for all
/// instruction sets and for one thread.
fn giant_case(steps: &[isize], outputs: usize, taps: &[isize], alpha: [usize; 2], drop: usize) {
    deep_giant_case(4, steps, outputs, taps, alpha, drop);
}

/// As [`giant_case`], with operands of so many limbs.
fn deep_giant_case(limbs: usize, steps: &[isize], outputs: usize, taps: &[isize], alpha: [usize; 2], drop: usize) {
    let all = taps.iter().chain(steps).copied().collect::<Vec<_>>();
    let babies = Gadget { limbs: limbs + 1, alpha: alpha[0] };
    let giants = Gadget { limbs, alpha: alpha[1] };
    let mut bench = Bench::new(8, limbs + 1, Gadget { limbs: limbs + 1, alpha: alpha[0].max(alpha[1]) }, &all, 2, 40);
    let ring = bench.context.ring();
    let targets = all.iter().flat_map(|&t| [babies, giants].map(|g| (Galois::rotation(t, 8).into(), g))).collect::<Vec<_>>();
    let keys = KeyGenerator::new(&bench.context, &bench.secret, rng(2)).switching_keys(&targets).expect("keys");
    let keys = keys.iter().map(|k| PreparedKey::new(ring, k.expand(ring))).collect();
    bench.keys = keys;
    let stride = outputs.next_power_of_two();
    let (table, partials) = bench.table(taps, stride * (steps.len() - 1) + outputs, 4);
    let slots = bench.context.slots() as isize;
    let turned = |o: usize, j: isize| -> Complex64 {
        steps.iter().enumerate().map(|(k, g)| partials[k * stride + o][(j + g).rem_euclid(slots) as usize]).sum()
    };
    let want: Vec<Vec<Complex64>> = (0..outputs).map(|o| (0..slots).map(|j| turned(o, j) + o as f64).collect()).collect();
    let weight_bits = if drop > 0 { 45 } else { 4 };
    let mut scale = Scale::pow2(40).mul(&Scale::pow2(weight_bits));
    for m in &ring.moduli()[limbs - drop..limbs] {
        scale = scale.div_prime(m.q());
    }
    let bias: Vec<BiasPoly> = (0..outputs).map(|o| BiasPoly(vec![(o as f64 * scale.to_f64()).round() as i64])).collect();
    let op = LinearOp {
        table: table.table(),
        first: table.first(),
        patterns: table.patterns(),
        plan: None,
        input_scales: &[2f64.powi(weight_bits); 2],
        limbs_in: limbs,
        bias: Some(&bias),
        gadget: babies,
        drop_limbs: drop,
        giants: Some(GiantSteps { steps, outputs, gadget: giants }),
    };
    let bundles = [&bench.refs()[..], &[bench.refs()[1], bench.refs()[0]]];
    let run = |isa| apply_linear(ring, isa, bundles.iter().map(|b| Input::borrowed(b)).collect(), &op, &bench.keys).expect("linear");
    let mut first: Option<Vec<Vec<[RnsPoly; 2]>>> = None;
    for isa in Isa::available() {
        let got = run(isa);
        if let Some(first) = &first {
            assert!(*first == got, "{isa:?} differs from scalar");
            continue;
        }
        for (o, (got, want)) in got[0].iter().zip(&want).enumerate() {
            assert_eq!(got[0].rows(), limbs - drop);
            let error = worst(&bench.decrypt(got, scale.clone()), want);
            let bound = if drop > 0 { 2f64.powi(-17) } else { 1.0 };
            assert!(error < bound, "output {o}: error 2^{:.1}", error.log2());
        }
        assert!(linear(ring, isa, bundles[1], &op, &bench.keys).expect("linear") == got[1], "the second bundle alone");
        first = Some(got);
    }
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("pool");
    assert!(first == Some(one.install(|| run(crate::isa()))), "one thread differs");
}

#[test]
fn giant_steps_rotate_and_add_partial_sums() {
    giant_case(&[-8, 0, 8, 16], 1, &[0, 1, -1, 2], [2, 2], 1);
    giant_case(&[-8, 0, 8], 3, &[0, 1], [3, 4], 1);
    giant_case(&[8, 24], 2, &[0, 1], [2, 1], 1);
    giant_case(&[0, 5, 10], 1, &[0], [2, 3], 1);
    giant_case(&[0, 5], 1, &[0, 1], [2, 2], 0);
    giant_case(&[0], 2, &[0, 1], [2, 2], 1);
    // More digits than one reduction takes.
    deep_giant_case(9, &[3, 0, 6], 1, &[0, 1], [3, 1], 1);
}

#[test]
fn contradictory_giant_steps_are_refused() {
    let bench = Bench::new(6, 2, Gadget { limbs: 2, alpha: 1 }, &[1, 4], 2, 30);
    let (table, _) = bench.table(&[1, 0], 3, 4);
    let run = |steps: &[isize], outputs: usize, gadget: Gadget| {
        let giants = Some(GiantSteps { steps, outputs, gadget });
        let op = LinearOp {
            table: table.table(),
            first: table.first(),
            patterns: table.patterns(),
            plan: None,
            input_scales: &[1e6; 2],
            limbs_in: 2,
            bias: None,
            gadget: bench.gadget,
            drop_limbs: 1,
            giants,
        };
        linear(bench.context.ring(), Isa::Scalar, &bench.refs(), &op, &bench.keys)
    };
    assert!(run(&[0, 1, 4], 1, bench.gadget).is_ok());
    for (steps, outputs) in [(&[0, 1][..], 1), (&[0, 1, 32], 1), (&[0, 1, 4], 2), (&[0, 1, 4], 0), (&[], 3), (&[0, 1], usize::MAX)] {
        assert!(matches!(run(steps, outputs, bench.gadget), Err(BundleError::Table(_))), "{steps:?} {outputs}");
    }
    assert!(matches!(run(&[0, 1, 8], 1, bench.gadget), Err(BundleError::MissingKey { .. })));
    assert!(matches!(run(&[0, 1, 4], 1, Gadget { limbs: 2, alpha: 2 }), Err(BundleError::MissingKey { .. })));
}

#[test]
fn several_bundles_give_the_results_of_each() {
    let gadget = Gadget { limbs: 3, alpha: 2 };
    let bench = Bench::new(7, 3, gadget, &[1, 0], 6, 40);
    let ring = bench.context.ring();
    let refs = bench.refs();
    let bundles: Vec<&[CtRef<'_>]> = refs.chunks(2).collect();
    let small = Bench::new(7, 3, gadget, &[1, 0], 2, 40);
    let (table, _) = small.table(&[1, 0], 5, 4);
    let bias: Vec<BiasPoly> = (0..5).map(|o| BiasPoly(vec![o; 1 << o])).collect();
    let op = LinearOp {
        table: table.table(),
        first: table.first(),
        patterns: table.patterns(),
        plan: None,
        input_scales: &[1e12; 2],
        limbs_in: 3,
        bias: Some(&bias),
        gadget,
        drop_limbs: 1,
        giants: None,
    };
    let together =
        apply_linear(ring, crate::isa(), bundles.iter().map(|b| Input::borrowed(b)).collect(), &op, &bench.keys).expect("linear");
    for (bundle, got) in bundles.iter().zip(together) {
        assert!(linear(ring, crate::isa(), bundle, &op, &bench.keys).expect("linear") == got);
    }
}

#[test]
fn operands_given_away_change_nothing() {
    let gadget = Gadget { limbs: 4, alpha: 2 };
    let bench = Bench::new(7, 4, gadget, &[1, 0], 5, 40);
    let (ring, isa, keys) = (bench.context.ring(), crate::isa(), &bench.keys);
    let refs = bench.refs();
    let own = |i: usize| Input::Owned([refs[i].c0.clone(), refs[i].c1.clone()]);
    // every second one owned, all longer than what is used
    let mixed = |range: std::ops::Range<usize>| -> Vec<Input<'_>> {
        range.map(|i| if i % 2 == 0 { own(i) } else { Input::Borrowed(refs[i]) }).collect()
    };
    let (table, _) = bench.table(&[1, 0], 3, 4);
    let op = LinearOp {
        table: table.table(),
        first: table.first(),
        patterns: table.patterns(),
        plan: None,
        input_scales: &[1e12; 5],
        limbs_in: 3,
        bias: None,
        gadget,
        drop_limbs: 1,
        giants: None,
    };
    let want = linear(ring, isa, &refs, &op, keys).expect("linear");
    assert!(apply_linear(ring, isa, vec![mixed(0..5)], &op, keys).expect("linear") == [want]);
    let want = pair_square(ring, isa, Input::borrowed(&refs), 3, keys, gadget).expect("square");
    assert!(pair_square(ring, isa, mixed(0..5), 3, keys, gadget).expect("square") == want);
    let want = square_relin(ring, isa, Input::borrowed(&refs), 3, keys, gadget).expect("square");
    assert!(square_relin(ring, isa, mixed(0..5), 3, keys, gadget).expect("square") == want);
    let want = pair_mul(ring, isa, Input::borrowed(&refs[..2]), Input::borrowed(&refs[2..4]), 3, keys, gadget).expect("product");
    assert!(pair_mul(ring, isa, mixed(0..2), mixed(2..4), 3, keys, gadget).expect("product") == want);
    let want = mul_relin(ring, isa, Input::borrowed(&refs[..2]), Input::borrowed(&refs[2..4]), 3, keys, gadget).expect("product");
    assert!(mul_relin(ring, isa, mixed(0..2), mixed(2..4), 3, keys, gadget).expect("product") == want);
}

#[test]
fn masked_convolution_with_dense_and_sparse_rows() {
    linear_case(9, 4, Gadget { limbs: 5, alpha: 2 }, &[0, 1, -1, 8, 9], (3, 11), 16, 1);
}

#[test]
fn convolution_between_phases() {
    // Input and output 4 c + 2 py + px hold every second pixel in each direction, see
    // benches/layer.rs.
    let (taps, gadget) = ([0, 1, -1, 4, -4, 5, -5, 3, -3], Gadget { limbs: 3, alpha: 2 });
    let reads = |input: u32, tap: u32, output: u32| {
        let (dx, dy) = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (-1, 1), (1, -1)][tap as usize];
        // distance in pixels
        let from = |bit: u32, offset: i32| 2 * offset + (input >> bit & 1) as i32 - (output >> bit & 1) as i32;
        from(0, dx).abs() <= 1 && from(1, dy).abs() <= 1
    };
    for (inputs, outputs, period) in [(8, 32, 16), (12, 44, 0)] {
        let bench = Bench::new(8, 4, gadget, &taps, inputs, 40);
        let table = bench.table_where(&taps, outputs, period, reads);
        table_case(&bench, 3, table, 1);
    }
}

#[test]
fn scalars_only() {
    linear_case(9, 3, Gadget { limbs: 3, alpha: 3 }, &[0, 5], (2, 9), 0, 1);
}

#[test]
fn full_period_patterns_have_a_weight_for_each_word() {
    linear_case(7, 3, Gadget { limbs: 4, alpha: 1 }, &[0, 3, -2], (2, 5), 64, 2);
}

#[test]
fn short_runs_and_tiny_periods() {
    linear_case(6, 2, Gadget { limbs: 2, alpha: 2 }, &[1], (1, 2), 8, 1);
    linear_case(6, 3, Gadget { limbs: 3, alpha: 2 }, &[2, 0], (2, 8), 2, 1);
    linear_case(10, 3, Gadget { limbs: 3, alpha: 2 }, &[2, 0], (2, 3), 1, 1);
}

#[test]
fn many_digits_use_the_general_inner_product() {
    linear_case(8, 8, Gadget { limbs: 8, alpha: 1 }, &[1, 0], (2, 3), 4, 1);
}

#[test]
fn identity_taps_need_no_keys() {
    linear_case(9, 2, Gadget { limbs: 2, alpha: 1 }, &[0], (7, 10), 32, 1);
    linear_case(9, 2, Gadget { limbs: 2, alpha: 1 }, &[0], (4, 1), 0, 0);
    let bench = Bench::new(9, 2, Gadget { limbs: 2, alpha: 1 }, &[], 2, 30);
    let (table, _) = bench.table(&[0], 2, 0);
    let op = LinearOp {
        table: table.table(),
        first: table.first(),
        patterns: table.patterns(),
        plan: None,
        input_scales: &[1e6; 2],
        limbs_in: 2,
        bias: None,
        gadget: bench.gadget,
        drop_limbs: 1,
        giants: None,
    };
    assert!(linear(bench.context.ring(), crate::isa(), &bench.refs(), &op, &PreparedKeys::new()).is_ok());
    let (table, _) = bench.table(&[1], 2, 0);
    let op = LinearOp { table: table.table(), first: table.first(), patterns: table.patterns(), ..op };
    let error = linear(bench.context.ring(), crate::isa(), &bench.refs(), &op, &PreparedKeys::new()).expect_err("no key");
    assert!(matches!(error, BundleError::MissingKey { .. }), "{error}");
}

#[test]
fn more_rows_than_a_panel_holds() {
    let taps: Vec<isize> = (0..90).collect();
    linear_case(6, 2, Gadget { limbs: 2, alpha: 2 }, &taps, (9, 2), 4, 1);
}

#[test]
fn pooling_keeps_its_scale() {
    // rotations of single rows with weight 1 at scale 1, no rescale
    let taps = [0, 1, 2, 4];
    let gadget = Gadget { limbs: 2, alpha: 2 };
    let bench = Bench::new(9, 2, gadget, &taps, 10, 40);
    let mut table = TableLiteral { taps: taps.iter().map(|&t| t as i64).collect(), outputs: 10, ..TableLiteral::default() };
    for tap in 0..taps.len() as u32 {
        for ct in 0..10 {
            table.entries.push(Entry { row: table.rows.len() as u32, output: ct, mask: None, weight: 1.0 });
            table.rows.push(Row { operand: 0, ct, tap });
        }
    }
    let table = bench.encoded(table);
    let op = LinearOp {
        table: table.table(),
        first: table.first(),
        patterns: table.patterns(),
        plan: None,
        input_scales: &[1.0; 10],
        limbs_in: 2,
        bias: None,
        gadget,
        drop_limbs: 0,
        giants: None,
    };
    let got = linear(bench.context.ring(), crate::isa(), &bench.refs(), &op, &bench.keys).expect("linear");
    let slots = bench.context.slots();
    for (got, message) in got.iter().zip(&bench.messages) {
        let want: Vec<Complex64> = (0..slots).map(|j| taps.iter().map(|&t| message[(j + t as usize) % slots]).sum()).collect();
        assert!(worst(&bench.decrypt(got, Scale::pow2(40)), &want) < 1e-6);
    }
}

#[test]
fn contradictory_tables_are_refused() {
    let bench = Bench::new(6, 2, Gadget { limbs: 2, alpha: 1 }, &[1], 2, 30);
    let (good, _) = bench.table(&[1, 0], 3, 4);
    let Patterns::Masks(masks) = good.patterns() else { panic!("one for each mask") };
    let run = |table: &DiagTable, first: &[u32], patterns: Patterns<'_>, [limbs_in, drop_limbs]: [usize; 2]| {
        let (gadget, input_scales) = (bench.gadget, &[1e6; 2]);
        let op = LinearOp { table, first, patterns, plan: None, input_scales, limbs_in, bias: None, gadget, drop_limbs, giants: None };
        linear(bench.context.ring(), Isa::Scalar, &bench.refs(), &op, &bench.keys)
    };
    assert!(run(good.table(), good.first(), good.patterns(), [2, 1]).is_ok());
    assert!(matches!(run(good.table(), good.first(), good.patterns(), [2, 2]), Err(BundleError::Limbs { .. })));
    assert!(matches!(run(good.table(), good.first(), good.patterns(), [3, 1]), Err(BundleError::Limbs { .. })));
    let refused = |table: &DiagTable, first: &[u32], patterns: Patterns<'_>| {
        assert!(matches!(run(table, first, patterns, [2, 1]), Err(BundleError::Table(_))), "{first:?} {patterns:?}");
    };
    refused(good.table(), &[1, 0, 0, 0], good.patterns());
    refused(good.table(), &[0, 0, 0], good.patterns());
    refused(good.table(), &[0, 0, 0, u32::MAX], good.patterns());
    refused(good.table(), good.first(), Patterns::Masks(&masks[1..]));
    refused(good.table(), good.first(), Patterns::Cells { patterns: masks, entries: &[0..1, 1..2, 2..3, 3..4, 4..5] });
    for broken in [vec![0.5; 3], vec![f64::NAN; 4]] {
        let mut masks = masks.to_vec();
        masks[0] = broken;
        refused(good.table(), good.first(), Patterns::Masks(&masks));
    }
    let mut long = TableLiteral { outputs: 1, masks: Masks::new(64).expect("a power of two"), ..TableLiteral::default() };
    long.masks.push([5]);
    refused(&DiagTable::new(long).expect("a table"), &[], Patterns::Masks(&[vec![0.5; 64]]));
}

#[test]
fn products_multiply_slots() {
    for (limbs, gadget) in [(4, Gadget { limbs: 5, alpha: 2 }), (5, Gadget { limbs: 5, alpha: 5 }), (3, Gadget { limbs: 5, alpha: 1 })] {
        let bench = Bench::new(9, 5, gadget, &[3], 6, 40);
        let ring = bench.context.ring();
        let refs = bench.refs();
        let (left, right) = refs.split_at(3);
        let parts = |x: &[Complex64], y: &[Complex64], f: fn(Complex64, Complex64) -> Complex64| -> Vec<Complex64> {
            x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect()
        };
        let pair = |x: Complex64, y: Complex64| Complex64::new(x.re * y.re, x.im * y.im);
        let plain = Scale::pow2(80);
        let packed = Scale::pow2(82);
        let mut first: Option<Vec<Vec<[RnsPoly; 2]>>> = None;
        for isa in Isa::available() {
            let got = vec![
                pair_square(ring, isa, Input::borrowed(&refs), limbs, &bench.keys, gadget).expect("square"),
                pair_mul(ring, isa, Input::borrowed(left), Input::borrowed(right), limbs, &bench.keys, gadget).expect("product"),
                mul_relin(ring, isa, Input::borrowed(left), Input::borrowed(right), limbs, &bench.keys, gadget).expect("product"),
                square_relin(ring, isa, Input::borrowed(left), limbs, &bench.keys, gadget).expect("square"),
                vec![rotate(ring, isa, refs[0], limbs, Galois::rotation(3, ring.log_n()), &bench.keys, gadget).expect("rotation")],
                vec![conjugate(ring, isa, refs[0], limbs, &bench.keys, gadget).expect("conjugation")],
            ];
            if let Some(first) = &first {
                assert!(*first == got, "{isa:?} differs");
                continue;
            }
            let m = &bench.messages;
            for (i, z) in m.iter().enumerate() {
                assert!(worst(&bench.decrypt(&got[0][i], packed.clone()), &parts(z, z, pair)) < 1e-6, "square {i}");
            }
            for i in 0..3 {
                assert!(worst(&bench.decrypt(&got[1][i], packed.clone()), &parts(&m[i], &m[i + 3], pair)) < 1e-6);
                assert!(worst(&bench.decrypt(&got[2][i], plain.clone()), &parts(&m[i], &m[i + 3], |x, y| x * y)) < 1e-6);
                assert!(worst(&bench.decrypt(&got[3][i], plain.clone()), &parts(&m[i], &m[i], |x, y| x * y)) < 1e-6);
            }
            let rotated: Vec<Complex64> = (0..m[0].len()).map(|j| m[0][(j + 3) % m[0].len()]).collect();
            assert!(worst(&bench.decrypt(&got[4][0], Scale::pow2(40)), &rotated) < 1e-7);
            let conjugated: Vec<Complex64> = m[0].iter().map(|z| z.conj()).collect();
            assert!(worst(&bench.decrypt(&got[5][0], Scale::pow2(40)), &conjugated) < 1e-7);
            first = Some(got);
        }
    }
}
