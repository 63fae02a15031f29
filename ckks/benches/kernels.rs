//! Kernels against the transform: `cargo bench -p chiffre-ckks --bench kernels`. Items per second
//! are limbs for transforms and multiply-accumulates for linear maps, so that ratios to the
//! transform floor can be read off.

mod common;

use chiffre_ckks::Isa;
use chiffre_ckks::bundle::{CtRef, EncodedTable, Input, LinearOp, PreparedKeys, apply_linear, mul_relin, pair_square, rotate};
use chiffre_ckks::ring::limb::mul_into;
use chiffre_ckks::ring::{Gadget, Galois, Ring, RnsPoly};
use chiffre_params::table::TableLiteral;
use divan::{Bencher, counter::ItemsCount};
use std::sync::LazyLock;

const LIMBS: usize = 6;
const GADGET: Gadget = Gadget { limbs: LIMBS, alpha: 3 };
const CHANNELS: usize = 8;

struct Setup {
    ring: Ring,
    keys: PreparedKeys,
    inputs: Vec<[RnsPoly; 2]>,
}

static SETUP: LazyLock<Setup> = LazyLock::new(|| {
    let ring = common::ring(15, LIMBS, GADGET.alpha);
    let keys = common::keys(&ring, GADGET, &common::conv_taps(32)[1..]);
    let inputs = common::ciphertexts(&ring, LIMBS, CHANNELS);
    Setup { ring, keys, inputs }
});

impl Setup {
    fn refs(&self) -> Vec<CtRef<'_>> {
        self.inputs.iter().map(CtRef::from).collect()
    }
}

/// Transforms in one key switch at `l` limbs: inverse and forward of ModUp, then of ModDown for two
/// polynomials.
fn switch_transforms(l: usize) -> usize {
    let digits = GADGET.digits_at(l);
    l + digits * (l + GADGET.alpha) - l + 2 * (GADGET.alpha + l)
}

#[divan::bench]
fn ntt_forward(bencher: Bencher<'_, '_>) {
    let s = &*SETUP;
    let mut limb = s.inputs[0][0].row(0).to_vec();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| s.ring.ntt()[0].forward(&mut limb));
}

#[divan::bench]
fn ntt_inverse_lazy(bencher: Bencher<'_, '_>) {
    let s = &*SETUP;
    let mut limb = s.inputs[0][0].row(0).to_vec();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| s.ring.ntt()[0].inverse_lazy(&mut limb));
}

/// On the best instruction set of the machine.
#[divan::bench]
fn limb_product(bencher: Bencher<'_, '_>) {
    let s = &*SETUP;
    let mut out = vec![0; s.ring.n()];
    let (a, b) = (s.inputs[0][0].row(0), s.inputs[0][1].row(0));
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| mul_into(&s.ring.moduli()[0], a, b, &mut out));
}

/// One rotation by itself; the items are its transforms.
#[divan::bench]
fn rotation(bencher: Bencher<'_, '_>) {
    let s = &*SETUP;
    let g = Galois::rotation(1, s.ring.log_n());
    let ct = s.refs()[0];
    bencher
        .counter(ItemsCount::new(switch_transforms(LIMBS)))
        .bench_local(|| rotate(&s.ring, Isa::detect(), ct, LIMBS, g, &s.keys, GADGET));
}

/// Eight rotations of each input, summed, by one hoisted linear map; the items are rotations.
#[divan::bench]
fn hoisted_rotations(bencher: Bencher<'_, '_>) {
    let s = &*SETUP;
    let taps = common::conv_taps(32);
    let dense = common::conv_table(&s.ring, &taps[1..], CHANNELS, CHANNELS, 0);
    let mut table = TableLiteral::clone(dense.table());
    table.entries.retain(|e| table.rows[e.row as usize].ct == e.output);
    linear(bencher, s, &common::encoded(&s.ring, table), CHANNELS * 8);
}

/// A dense 3x3 convolution with scalar weights; the items are multiply-accumulates of one residue.
#[divan::bench]
fn convolution_scalar(bencher: Bencher<'_, '_>) {
    convolution(bencher, 0);
}

/// A dense 3x3 convolution with masks of period 1024.
#[divan::bench]
fn convolution_masked(bencher: Bencher<'_, '_>) {
    convolution(bencher, 1024);
}

fn convolution(bencher: Bencher<'_, '_>, period: usize) {
    let s = &*SETUP;
    let table = common::conv_table(&s.ring, &common::conv_taps(32), CHANNELS, CHANNELS, period);
    let macs = s.ring.n() * 2 * CHANNELS * CHANNELS * (9 * LIMBS + 8 * GADGET.alpha);
    linear(bencher, s, &table, macs);
}

fn linear(bencher: Bencher<'_, '_>, s: &Setup, table: &EncodedTable, items: usize) {
    let refs = s.refs();
    let scales = [2f64.powi(20); CHANNELS];
    let op = LinearOp {
        table: table.table(),
        first: table.first(),
        patterns: table.patterns(),
        plan: None,
        input_scales: &scales,
        limbs_in: LIMBS,
        bias: None,
        gadget: GADGET,
        drop_limbs: 1,
        giants: None,
    };
    bencher
        .counter(ItemsCount::new(items))
        .bench_local(|| apply_linear(&s.ring, Isa::detect(), vec![Input::borrowed(&refs)], &op, &s.keys));
}

/// Squares of packed pairs; the items are transforms.
#[divan::bench]
fn pair_squares(bencher: Bencher<'_, '_>) {
    let s = &*SETUP;
    let refs = s.refs();
    bencher
        .counter(ItemsCount::new(2 * CHANNELS * switch_transforms(LIMBS)))
        .bench_local(|| pair_square(&s.ring, Isa::detect(), Input::borrowed(&refs), LIMBS, &s.keys, GADGET));
}

/// Products with relinearisation; the items are transforms.
#[divan::bench]
fn products(bencher: Bencher<'_, '_>) {
    let s = &*SETUP;
    let refs = s.refs();
    bencher
        .counter(ItemsCount::new(CHANNELS * switch_transforms(LIMBS)))
        .bench_local(|| mul_relin(&s.ring, Isa::detect(), Input::borrowed(&refs), Input::borrowed(&refs), LIMBS, &s.keys, GADGET));
}

fn main() {
    divan::main();
}
