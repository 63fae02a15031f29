//! Networks whose activations are Chebyshev series, with and without bootstraps, from compilation
//! to decrypted answers (small insecure rings).

#[path = "../passes/tests/common/mod.rs"]
mod common;

use chiffre::pipeline::{Request, bootstraps, compile_graph};
use chiffre_client::{ClientKey, Decrypted};
use chiffre_ir::consts::Array;
use chiffre_ir::program::ProgramOp;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::{TensorGraph, TensorOp, interp};
use chiffre_passes::options::CompileOptions;
use chiffre_runtime::Session;
use chiffre_runtime::server::Server;
use common::{Rng, residual_net, with_series};
use std::sync::Arc;

/// Answers of an encrypted run on the images, and the session.
fn encrypted(g: &TensorGraph, batch: usize, log_n: u32, images: &[f32], n: usize) -> (Arc<Session>, Decrypted) {
    let options = CompileOptions { batch, log_n: Some(log_n), allow_insecure: true, ..CompileOptions::default() };
    let program = compile_graph(g, "test", &Request { options, ..Request::default() }).unwrap();
    let session = Arc::new(Session::new(ProgramFile::in_memory(program.program, program.stages).unwrap(), true).unwrap());
    let client = ClientKey::generate(&session).unwrap();
    let keys = client.evaluation_keys(&session).unwrap().prepare(&session);
    let (batch, receipt) = client.encrypt(&session, images, n).unwrap();
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
    for (seed, batch, n, complex) in [(1, 40, 40, true), (2, 8, 5, false)] {
        let g = with_series(residual_net(seed), seed, 7, |_| true);
        let x = images(n, seed);
        let want = interp(&g, &x, n).unwrap().swap_remove(0);
        let (session, got) = encrypted(&g, batch, 11, &x, n);
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

#[test]
fn levelled_series_and_bootstraps_mix() {
    let x = images(6, 9);
    for refreshed in [false, true] {
        let g = with_series(tamed(residual_net(5)), 5, 3, |s| refreshed && s != "act0");
        let want = interp(&g, &x, 6).unwrap().swap_remove(0);
        let (session, got) = encrypted(&g, 40, 11, &x, 6);
        let count = |f: fn(&ProgramOp) -> bool| session.program().nodes.iter().filter(|n| f(&n.op)).count();
        let series = count(|o| matches!(o, ProgramOp::Chebyshev { .. }));
        assert_eq!(series, if refreshed { 1 } else { 5 });
        let error = worst(&want, &got.logits);
        let clear = chiffre_ir::program::interp(session.program(), &x, 6).unwrap().swap_remove(0);
        println!("bootstraps {refreshed}: largest error {error}, of the program in the clear {}", worst(&want, &clear));
        assert!(error < 2e-3, "{error}");
    }
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
