//! Networks whose activations are Chebyshev series, with and without bootstraps, from compilation to decrypted answers (small insecure rings).

#[path = "../passes/tests/common/mod.rs"]
#[allow(dead_code, unused_imports)]
mod common;

use chiffre::pipeline::{Request, bootstraps, compile_graph};
use chiffre_ir::program::ProgramOp;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::{TensorGraph, interp};
use chiffre_passes::options::CompileOptions;
use chiffre_runtime::client::{ClientKey, Decrypted};
use chiffre_runtime::{Session, server};
use common::{Rng, residual_net, with_series};

/// Answers of an encrypted run on the images, and the session.
fn encrypted(g: &TensorGraph, batch: usize, log_n: usize, images: &[f32], n: usize) -> (Session, Decrypted) {
    let options = CompileOptions { batch, log_n: Some(log_n), allow_insecure: true, ..CompileOptions::default() };
    let program = compile_graph(g, "test", &Request { options, ..Request::default() }).unwrap();
    let session = Session::new(ProgramFile::in_memory(program.program, program.stages).unwrap(), true).unwrap();
    let client = ClientKey::generate(&session).unwrap();
    let keys = client.evaluation_keys(&session).unwrap().prepare(&session);
    let batch = client.encrypt(&session, images, n).unwrap();
    let result = server::run(&session, client.id(), &keys, &batch, None, |_| {}).unwrap();
    let answers = client.decrypt(&session, &result).unwrap();
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

#[test]
fn levelled_series_and_bootstraps_mix() {
    let x: Vec<f32> = images(6, 9).into_iter().map(|v| 0.3 * v).collect();
    for refreshed in [false, true] {
        let g = with_series(residual_net(5), 5, 3, |s| refreshed && s != "act0");
        let want = interp(&g, &x, 6).unwrap().swap_remove(0);
        let (session, got) = encrypted(&g, 40, 11, &x, 6);
        let count = |f: fn(&ProgramOp) -> bool| session.program().nodes.iter().filter(|n| f(&n.op)).count();
        let series = count(|o| matches!(o, ProgramOp::Chebyshev { .. }));
        assert_eq!(series, if refreshed { 1 } else { 5 });
        let error = worst(&want, &got.logits);
        println!("bootstraps {refreshed}: largest error {error}");
        assert!(error < 0.02, "{error}");
    }
}
