//! One operation after the other, with values that wrap.

use crate::{check, network, of_graph, removing, session};
use chiffre_params::tfhe::TfheParams;

/// All integers that `bits` bits hold, as images of one element.
fn all(bits: u32) -> Vec<f32> {
    (-(1i64 << bits)..1 << bits).map(|x| x as f32).collect()
}

/// Encryption and decryption alone.
#[test]
fn an_input_comes_back() {
    for bits in [1, 4, 7] {
        let (lo, hi) = (-(1i64 << bits), (1i64 << bits) - 1);
        let s = session(&format!("%0 = input : int<bits={bits} range={lo}..{hi} scale=1.0> 1\nreturn %0"));
        let images = all(bits);
        let found = check(&s, &images, images.len());
        assert_eq!(found, [images.iter().map(|&x| x as i64).collect::<Vec<_>>()]);
    }
}

/// A table of its own for each channel, with the flip at the ends, over all of the torus.
#[test]
fn look_ups_read_every_entry_and_its_flip() {
    let s = session(
        "const @t : i64[2x8] = [0, 1, 2, 3, 4, 5, 6, 7, 9, -3, 4, 4, 0, 12, -7, 1]
        %0 = input : int<bits=3 range=-8..7 scale=1.0> 2
        %1 = lookup %0 {table=@t, flip=5} : int<bits=5 range=-20..20 scale=1.0> 2
        return %1",
    );
    let images: Vec<f32> = all(3).iter().flat_map(|&x| [x, -1.0 - x]).collect();
    let found = check(&s, &images, 16);
    assert_eq!((found[0][2 * 8], found[0][0]), (0, 5), "entry 0, and half a turn further");
}

/// Halves go upwards, and what is beyond the end wraps.
#[test]
fn bits_are_removed_exactly() {
    for (bits, kept) in [(6, 5), (6, 2), (8, 3)] {
        let (lo, hi) = (-(1i64 << bits), (1i64 << bits) - 1);
        let text = format!(
            "%0 = input : int<bits={bits} range={lo}..{hi} scale=1.0> 1
            %1 = round %0 : int<bits={kept} range={}..{} scale={:?}> 1
            return %1",
            lo >> (bits - kept),
            hi >> (bits - kept),
            f64::from(1 << (bits - kept))
        );
        let images = all(bits);
        check(&session(&text), &images, images.len());
        check(&removing(&text), &images, images.len());
    }
}

/// Without removing bits, a look-up reads the right entry or a neighbour; the right one, where the
/// low bits are in the middle.
#[test]
fn approximate_roundings_are_off_by_one_at_most() {
    let s = session(
        "const @t : i64[1x16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
        %0 = input : int<bits=8 range=0..511 scale=1.0> 1
        %1 = round %0 {slack=1} : int<bits=4 range=0..31 scale=16.0> 1
        %2 = lookup %1 {table=@t, flip=15} : int<bits=5 range=0..15 scale=16.0> 1
        return %2",
    );
    let images: Vec<f32> = (8..232).map(|x| x as f32).collect();
    let clear = chiffre_ir::quant::run_integers(s.program(), &images, images.len()).unwrap();
    let found = crate::encrypted(&s, &images, images.len());
    for (x, (found, clear)) in images.iter().zip(found[0].iter().zip(&clear[0])) {
        let middle = (*x as i64 + 8) % 16;
        assert!((found - clear).abs() <= i64::from(!(4..=12).contains(&middle)), "{x}: {found}, not {clear}");
    }
}

/// Strides, padding, groups, lists, two operands, a bias for each position, and results of fewer
/// bits than the operands have.
#[test]
fn linear_maps() {
    let s = session(
        "const @k : i64[4x1x2x2] = [1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, 0, 1, 0, -1]
        const @m : i64[4x2x1x2] = [1, 0, -1, 2, 3, 1, 1, 1, 0, 0, 2, -2, 1, 5, 1, -3]
        const @b : i64[4x2x2] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, -16]
        %0 = input : int<bits=6 range=-7..8 scale=1.0> 2x3x3
        %1 = linear_map %0, %0 {kernels=[@k, @m], strides=[[2, 2], [1, 1]], origins=[[-1, -1], [0, 0]], bias=@b, reads=[[[], []], [[[0, 2]], [[0, -1], [2, 1]]]], groups=[2, 1]} : int<bits=3 range=-8..7 scale=1.0> 4x2x2
        %2 = linear_map %0, %0 {kernels=[@k, @m], strides=[[2, 2], [1, 1]], origins=[[-1, -1], [0, 0]], bias=@b, reads=[[[], []], [[[0, 2]], [[0, -1], [2, 1]]]], groups=[2, 1]} : int<bits=6 range=-60..60 scale=1.0> 4x2x2
        return %1, %2",
    );
    let images: Vec<f32> = (0..36).map(|i| (i * 5 % 16) as f32 - 7.0).collect();
    check(&s, &images, 2);
}

/// The first of the largest of three values, and the largest, by signs of differences and by
/// rectifiers, on values of which many are equal and on the ends of the range.
#[test]
fn the_largest_value_and_its_index() {
    let s = removing(
        "const @d : i64[3x3x1x1] = [1, -1, 0, 1, 0, -1, 0, 1, -1]
        const @down : i64[3] = [-2, -2, -2]
        const @sign : i64[1x4] = [0, 0, 0, 0]
        const @won : i64[3x3x1x1] = [-1, -1, 0, 1, 0, -1, 0, 1, 1]
        const @all : i64[3] = [2, 1, 0]
        const @first : i64[1x4] = [0, 0, 1, 0]
        const @index : i64[1x3x1x1] = [0, 1, 2]
        const @ab : i64[1x3x1x1] = [1, -1, 0]
        const @relu : i64[1x16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
        const @middle : i64[1] = [8]
        const @second : i64[1x3x1x1] = [0, 1, 0]
        const @one : i64[1x1x1x1] = [1]
        %0 = input : int<bits=4 range=0..7 scale=1.0> 3
        %1 = linear_map %0 {kernels=[@d], strides=[[1, 1]], origins=[[0, 0]], bias=@down} : int<bits=4 range=-9..5 scale=1.0> 3
        %2 = round %1 : int<bits=2 range=-2..1 scale=4.0> 3
        %3 = lookup %2 {table=@sign, flip=1} : int<bits=2 range=0..1 scale=1.0> 3
        %4 = linear_map %3 {kernels=[@won], strides=[[1, 1]], origins=[[0, 0]], bias=@all} : int<bits=2 range=0..2 scale=1.0> 3
        %5 = lookup %4 {table=@first, flip=1} : int<bits=2 range=0..1 scale=1.0> 3
        %6 = linear_map %5 {kernels=[@index], strides=[[1, 1]], origins=[[0, 0]]} : int<bits=2 range=0..2 scale=1.0> 1
        %7 = linear_map %0 {kernels=[@ab], strides=[[1, 1]], origins=[[0, 0]], bias=@middle} : int<bits=4 range=1..15 scale=1.0> 1
        %8 = lookup %7 {table=@relu, flip=7} : int<bits=4 range=0..7 scale=1.0> 1
        %9 = linear_map %0, %8 {kernels=[@second, @one], strides=[[1, 1], [1, 1]], origins=[[0, 0], [0, 0]]} : int<bits=4 range=0..14 scale=1.0> 1
        return %6, %9",
    );
    let cases: Vec<[i64; 3]> =
        (0..512).step_by(5).map(|i| [i / 64, i / 8 % 8, i % 8]).chain([[7, 7, 7], [0, 7, 7], [0, 0, 0], [7, 0, 7]]).collect();
    let images: Vec<f32> = cases.iter().flatten().map(|&x| x as f32).collect();
    let found = check(&s, &images, cases.len());
    for (i, case) in cases.iter().enumerate() {
        let most = case.iter().max().and_then(|most| case.iter().position(|x| x == most)).unwrap();
        assert_eq!((found[0][i], found[1][i]), (most as i64, case[0].max(case[1])), "{case:?}");
    }
}

/// A small network: a sum of nine bits is rounded to four and saturates; its results are summed.
#[test]
fn a_network() {
    let images: Vec<f32> = (0..4 * 12).map(|i| (i * 7 % 16) as f32).collect();
    for params in [TfheParams::toy(), TfheParams::toy_with_removal()] {
        check(&of_graph(params, network()), &images, 12);
    }
}

/// Runs do not depend on the number of threads, nor does the order of images matter.
#[test]
fn threads_do_not_change_ciphertexts() {
    use chiffre_tfhe::Server;
    use chiffre_tfhe_client::ClientKey;
    use std::ops::ControlFlow;
    let s = session(
        "const @t : i64[1x4] = [0, 1, 2, 3]
        %0 = input : int<bits=4 range=-16..15 scale=1.0> 7
        %1 = round %0 : int<bits=2 range=-4..3 scale=4.0> 7
        %2 = lookup %1 {table=@t, flip=3} : int<bits=3 range=0..3 scale=4.0> 7
        return %2",
    );
    let key = ClientKey::generate(&s).unwrap();
    let keys = key.evaluation_keys(&s).unwrap();
    let images: Vec<f32> = (0..21).map(|i| (i - 9) as f32).collect();
    let batch = key.encrypt(&s, &images, 3).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Server::new(s.clone(), keys.clone()).unwrap().run(&batch, None, |_| ControlFlow::Continue(())).unwrap())
    };
    assert_eq!(on(1), on(3));
}
