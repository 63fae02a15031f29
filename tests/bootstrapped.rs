//! Networks whose activations are Chebyshev series, with and without bootstraps, from compilation
//! to decrypted answers (small insecure rings).

#[path = "../passes/tests/common/mod.rs"]
mod common;

use chiffre::pipeline::{Request, bootstraps, compile_graph};
use chiffre_client::{ClientKey, Decrypted};
use chiffre_ir::consts::Array;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::program::{Program, ProgramOp};
use chiffre_ir::tensor::{TensorGraph, TensorOp, interp};
use chiffre_passes::options::{CalibrationSet, CompileOptions, PackingWish};
use chiffre_passes::pipeline::DEFAULT;
use chiffre_runtime::Session;
use chiffre_runtime::server::Server;
use common::{Rng, related_net, residual_net, with_series};
use std::sync::Arc;

/// Answers of an encrypted run on the images, and the session.
fn encrypted(g: &TensorGraph, batch: usize, log_n: u32, images: &[f32], n: usize) -> (Arc<Session>, Decrypted) {
    encrypted_in(g, PackingWish::default(), batch, log_n, images, n)
}

/// The same under a packing.
fn encrypted_in(g: &TensorGraph, packing: PackingWish, batch: usize, log_n: u32, images: &[f32], n: usize) -> (Arc<Session>, Decrypted) {
    let options = CompileOptions { batch, log_n: Some(log_n), packing, allow_insecure: true, ..CompileOptions::default() };
    let program = compile_graph(g, "test", &Request { options, ..Request::default() }).unwrap();
    let session = Arc::new(Session::new(ProgramFile::in_memory(program.program, program.stages).unwrap(), true).unwrap());
    let client = ClientKey::generate(&session).unwrap();
    let keys = client.evaluation_keys(&session).unwrap().prepare(&session);
    let (batch, receipt) = client.encrypt_unscreened(&session, images, n, false).unwrap();
    let result = Server::new(session.clone(), keys, 0).unwrap().run(batch).unwrap();
    let answers = client.decrypt(&session, &result, &receipt).unwrap();
    (session, answers)
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

fn images(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng(seed);
    (0..n * 128).map(|_| rng.next()).collect()
}

#[test]
fn a_network_with_bootstraps_gives_the_answers_of_the_clear_one() {
    // Complex-packed in units that a stride merges, and real.
    let apart = PackingWish { channels: Some(0), fill: Some(0), ..PackingWish::default() };
    for (seed, batch, n, complex) in [(1, 40, 40, true), (2, 8, 5, false)] {
        let g = with_series(residual_net(seed), seed, 7, |_| true);
        let x = images(n, seed);
        let want = interp(&g, &x, n).unwrap().swap_remove(0);
        let (session, got) = encrypted_in(&g, apart, batch, 11, &x, n);
        let p = session.program();
        assert_eq!(p.nodes[0].ty.layout.complex.is_some(), complex);
        assert!(bootstraps(p, batch) >= 5 * 5 && got.report.affected().is_empty(), "{:?}", got.report);
        let error = worst(&want, &got.logits);
        println!("seed {seed}: largest error {error}");
        assert!(error < 0.02, "{error}");
    }
}

/// The same network with weights so small that the operands of its series stay in [-1, 1], as those
/// of a calibrated network do.
fn tamed(mut g: TensorGraph) -> TensorGraph {
    for v in 0..g.nodes.len() {
        if let TensorOp::Conv2d { weight, bias: Some(bias), .. } = g.nodes[v].op {
            let mut smaller = |c| {
                let a = g.consts.array(c).unwrap();
                let a = Array::new(a.shape.clone(), a.data.iter().map(|x| 0.4 * x).collect());
                g.consts.add("tamed", a)
            };
            let (small_weight, small_bias) = (smaller(weight), smaller(bias));
            if let TensorOp::Conv2d { weight, bias, .. } = &mut g.nodes[v].op {
                (*weight, *bias) = (small_weight, Some(small_bias));
            }
        }
    }
    g
}

/// Series of which several channels share a ciphertext, and how many of these read what giant steps
/// have summed.
fn slotwise(p: &Program) -> [usize; 2] {
    let series = p.nodes.iter().filter_map(|n| match &n.op {
        ProgramOp::Refresh { coeffs } | ProgramOp::Chebyshev { coeffs, .. } => Some((n, p.consts.get(*coeffs).shape()[0])),
        _ => None,
    });
    let shared: Vec<_> = series.filter(|(n, rows)| n.ty.layout.has_slotwise(*rows)).collect();
    let summed = shared.iter().filter(|(n, _)| matches!(p.node(n.args[0]).op, ProgramOp::Linear { giants: Some(_), .. }));
    [shared.len(), summed.count()]
}

/// Single images, two in the parts of complex slots, odd batches, units that are merged; channels
/// above the images with copies, in gaps, and in both. What is encrypted answers as in the clear.
#[test]
fn channels_that_share_slots_have_their_own_series() {
    let wish = |channels: usize, fill: usize| PackingWish { phases: Some([0, 0]), channels: Some(channels), fill: Some(fill), tile: None };
    for (seed, batch, n, packing) in [
        (1, 1, 1, PackingWish::default()),
        (2, 1, 1, wish(3, 1)),
        (3, 2, 2, wish(3, 0)),
        (4, 3, 3, wish(2, 1)),
        (5, 7, 5, wish(1, 2)),
        (6, 40, 33, wish(0, 2)),
    ] {
        let g = with_series(residual_net(seed), seed, 7, |_| true);
        let x = images(n, seed);
        let want = interp(&g, &x, n).unwrap().swap_remove(0);
        let (session, got) = encrypted_in(&g, packing, batch, 11, &x, n);
        let p = session.program();
        let [shared, summed] = slotwise(p);
        // Without channels above the images they share ciphertexts behind the stride alone.
        let single = packing.channels != Some(0);
        assert!(shared == if single { 5 } else { 2 }, "seed {seed}: {shared} series");
        assert!(summed > 0 || !single, "seed {seed}: no map before a bootstrap is cut");
        assert!(got.report.affected().is_empty(), "{:?}", got.report);
        let simulated = chiffre_ir::program::interp(p, &x, n).unwrap().swap_remove(0);
        let (error, clear) = (worst(&want, &got.logits), worst(&want, &simulated));
        println!(
            "seed {seed}, batch {batch}: {shared} shared, {summed} summed, largest error {error}, of the program in the clear {clear}"
        );
        assert!(error < 0.02 && clear < 1e-3, "seed {seed}: {error}, {clear}");
    }
}

#[test]
fn levelled_series_and_bootstraps_mix() {
    let x = images(6, 9);
    for (refreshed, batch, n) in [(false, 40, 6), (true, 40, 6), (false, 3, 3), (true, 1, 1)] {
        let g = with_series(tamed(residual_net(5)), 5, 3, |s| refreshed && s != "act0");
        let x = &x[..n * 128];
        let want = interp(&g, x, n).unwrap().swap_remove(0);
        let packing = PackingWish { channels: (batch < 40).then_some(2), ..PackingWish::default() };
        let (session, got) = encrypted_in(&g, packing, batch, 11, x, n);
        let count = |f: fn(&ProgramOp) -> bool| session.program().nodes.iter().filter(|n| f(&n.op)).count();
        let series = count(|o| matches!(o, ProgramOp::Chebyshev { .. }));
        assert_eq!(series, if refreshed { 1 } else { 5 });
        let error = worst(&want, &got.logits);
        let clear = chiffre_ir::program::interp(session.program(), x, n).unwrap().swap_remove(0);
        assert!(batch == 40 || slotwise(session.program())[0] == 5);
        println!("bootstraps {refreshed}, batch {batch}: largest error {error}, of the program in the clear {}", worst(&want, &clear));
        assert!(error < 2e-3, "{error}");
    }
}

#[test]
fn maps_by_index_relations_are_computed_encrypted() {
    // A gate that broadcasts, a transposed convolution, rows turned round, and values of twice the
    // input's rows and columns.
    let (n, g) = (3, related_net(3, 2));
    let x = images(n, 3);
    let want = interp(&g, &x, n).unwrap().swap_remove(0);
    let (session, got) = encrypted(&g, n, 11, &x, n);
    assert_eq!(bootstraps(session.program(), n), 0);
    let (error, size) = (worst(&want, &got.logits), want.iter().fold(0f32, |m, v| m.max(v.abs())));
    println!("largest error {error} of {size}");
    assert!(error < 1e-2 * size, "{error} of {size}");
}

#[test]
fn products_stand_beside_bootstraps() {
    // A gate and a square among refreshed activations, with real and with complex-packed slots.
    for (batch, n) in [(3, 3), (40, 5)] {
        let g = with_series(related_net(5, 1), 5, 7, |_| true);
        let x = images(n, 5);
        let want = interp(&g, &x, n).unwrap().swap_remove(0);
        let (session, got) = encrypted(&g, batch, 11, &x, n);
        assert!(bootstraps(session.program(), batch) > 0);
        let products = |o: &ProgramOp| matches!(o, ProgramOp::Mul { .. } | ProgramOp::Square { .. });
        assert_eq!(session.program().nodes.iter().filter(|n| products(&n.op)).count(), 2);
        let (error, size) = (worst(&want, &got.logits), want.iter().fold(0f32, |m, v| m.max(v.abs())));
        println!("batch {batch}: largest error {error} of {size}");
        assert!(error < 0.03 * size, "{error} of {size}");
    }
}

/// A convolution, a ReLU, a pooling of overlapping windows and a fully connected layer.
const POOLED: &str = "tensor @t {
    const @w : f32[3x2x3x3] = [1,-2,0,3,1,0,-1,2,1, 0,1,2,-1,1,0,2,0,1, 1,1,-1,0,2,1,-2,0,1, 3,0,1,1,-1,2,0,1,1, -1,0,1,2,-2,0,1,1,0, 0,2,1,-1,0,1,1,-1,2]
    const @b : f32[3] = [0.5, -1, 0]
    const @fc : f32[2x48] = [1,0,2,-1,1,3,0,1,-2,1,0,1,2,1,-1,0,1,1,0,2,1,-1,0,1,1,2,0,1,-1,0,1,1,2,0,1,0,1,1,-1,2,0,1,1,0,-2,1,0,1, 0,1,-1,2,0,1,1,1,0,-1,2,0,1,1,0,2,-1,1,0,1,1,0,2,1,-2,0,1,1,0,1,2,0,-1,1,1,0,1,2,0,-1,1,0,1,1,0,2,1,1]
    %0 = input : f32[2x8x8] ; \"x\"
    %1 = conv2d %0 {weight=@w, bias=@b, stride=[1, 1], pad=[1, 1, 1, 1], dilation=[1, 1]} : f32[3x8x8] ; \"conv\"
    %2 = activation %1 {kind=relu} : f32[3x8x8] ; \"relu\"
    %3 = max_pool %2 {kernel=[3, 3], stride=[2, 2], pad=[1, 1, 0, 0]} : f32[3x4x4] ; \"pool\"
    %4 = flatten %3 : f32[48] ; \"flat\"
    %5 = linear %4 {weight=@fc} : f32[2] ; \"fc\"
    return %5
    }";

#[test]
fn max_pooling_behind_bootstraps_gives_the_maxima() {
    let g = chiffre_ir::tensor::verify(chiffre_ir::text::parse(POOLED).unwrap()).unwrap_or_else(|e| panic!("{e}"));
    let (x, n) = (images(64, 3), 16);
    let mut options = CompileOptions { batch: n, log_n: Some(11), allow_insecure: true, ..CompileOptions::default() };
    options.activations.calibration = Some(Arc::new(CalibrationSet { images: x.clone(), n: 64, labels: None }));
    options.activations.degree = Some(15);
    let refreshed = DEFAULT.replace("place-bootstraps,", "").replace("approximate-activations", "approximate-activations{refresh=yes}");
    let compiled = compile_graph(&g, "test", &Request { options, passes: Some(refreshed), ..Request::default() }).unwrap();
    // Two absolute values for each axis, and the ReLU behind the pooling.
    let bootstrapped: Vec<&str> =
        compiled.program.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Refresh { .. })).map(|n| n.source.as_str()).collect();
    assert_eq!(bootstrapped, ["pool.1", "pool.2", "pool.3", "pool.4", "relu"]);
    let [exact, approximated] = [&*g, compiled.tensor.as_ref().unwrap()].map(|g| interp(g, &x[..n * 128], n).unwrap().swap_remove(0));
    let session = Arc::new(Session::new(ProgramFile::in_memory(compiled.program, compiled.stages).unwrap(), true).unwrap());
    let client = ClientKey::generate(&session).unwrap();
    let keys = client.evaluation_keys(&session).unwrap().prepare(&session);
    let (batch, receipt) = client.encrypt(&session, &x[..n * 128], n).unwrap();
    let result = Server::new(session.clone(), keys, 0).unwrap().run(batch).unwrap();
    let answers = client.decrypt(&session, &result, &receipt).unwrap();
    let size = exact.iter().fold(0f32, |m, v| m.max(v.abs()));
    let (by_noise, by_fit) = (worst(&approximated, &answers.logits) / size, worst(&exact, &answers.logits) / size);
    println!("largest error beside the approximated network {by_noise}, beside the exact one {by_fit}");
    assert!(by_noise < 0.01 && by_fit < 0.1, "{by_noise} {by_fit}");
}

#[test]
fn an_absurd_image_behind_a_bootstrap_stays_its_own_problem() {
    let (n, absurd) = (40, 3);
    let g = with_series(residual_net(7), 7, 7, |_| true);
    let mut x = images(n, 7);
    let plain = interp(&g, &x, n).unwrap().swap_remove(0);
    x[absurd * 128..(absurd + 1) * 128].iter_mut().for_each(|v| *v *= 1000.0);
    let (_, got) = encrypted(&g, n, 11, &x, n);
    assert!(got.report.affected().is_empty(), "{:?}", got.report);
    let classes = plain.len() / n;
    let best = |l: &[f32]| l.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i);
    for i in (0..n).filter(|i| *i != absurd) {
        let (want, got) = (&plain[i * classes..(i + 1) * classes], &got.logits[i * classes..(i + 1) * classes]);
        // Matrices are rounded, and a thousandfold value leaves a thousandfold rounding error with
        // its neighbours.
        let error = worst(want, got);
        assert!(error < 0.05 && best(want) == best(got), "image {i}: {error}");
    }
    assert!(got.logits[absurd * classes..(absurd + 1) * classes].iter().all(|v| v.is_finite()));
}
