//! `schedule`: file tests (`filetests/<case>.hir` → `<case>.snap`), and programs that compute what
//! their HE graph does.

#[path = "../../passes/tests/common/mod.rs"]
mod common;

use chiffre_backend::ckks::Ckks;
use chiffre_backend::ckks::schedule;
use chiffre_backend::cost::CostModel;
use chiffre_ir::he::HeGraph;
use chiffre_ir::program::{Program, ProgramHeader, ProgramOp, VerifiedProgram, interp, verify};
use chiffre_ir::text::{parse, print};
use chiffre_ir::{he, tensor};
use chiffre_passes::he::select_params::{Params, select_params};
use chiffre_passes::options::{CompileOptions, PackingWish};
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::{DEFAULT, Pipeline};
use chiffre_passes::state::State;
use common::{Facts, Rng, chain, options, residual_net, with_series};
use std::path::Path;

fn header(p: &Params, batch: usize) -> ProgramHeader {
    ProgramHeader {
        log_n: p.log_n,
        q: p.q.clone(),
        p: p.p.clone(),
        insecure: p.insecure,
        batch,
        tile: batch,
        bootstrap: p.bootstrap.clone(),
        ..ProgramHeader::default()
    }
}

/// The HE graph and the verified program of a network, or the error of a pass.
fn compile(g: tensor::TensorGraph, options: &CompileOptions) -> Result<(HeGraph, Program), String> {
    let cx = Context { options, target: &Ckks::new(&Facts), machine: &CostModel::default() };
    let end = Pipeline::parse(DEFAULT).unwrap().run(State::from(g), &cx, |_, _, _| {}).map_err(|e| e.to_string())?;
    let p = end.program().unwrap().downcast::<VerifiedProgram>().unwrap();
    Ok((end.he().unwrap().clone(), (**p).clone()))
}

/// Program and HE graph compute the same numbers.
fn agree(h: &HeGraph, p: &Program, images: &[f32], n: usize) {
    assert_eq!(interp(p, images, n).unwrap(), he::interp(h, images, n, None).unwrap());
}

#[test]
fn networks_with_bootstraps_agree_on_all_levels() {
    // A ciphertext for every channel, and as the search has it.
    let apart = PackingWish { channels: Some(0), fill: Some(0), ..PackingWish::default() };
    for (seed, batch, packing, complex) in [
        (1, 100, apart, Some(true)),
        (2, 10, apart, Some(false)),
        (3, 4, PackingWish::default(), None),
        (4, 33, PackingWish::default(), None),
    ] {
        let g = with_series(residual_net(seed), seed, 7, |_| true);
        let mut rng = Rng(seed);
        let n = batch.min(40);
        let images: Vec<f32> = (0..n * 128).map(|_| rng.next()).collect();
        let want = tensor::interp(&g, &images, n).unwrap().swap_remove(0);
        let (h, p) = compile(g, &CompileOptions { packing, ..options(batch, 11) }).unwrap();
        let got = he::interp(&h, &images, n, None).unwrap().swap_remove(0);
        assert!(want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 2e-3 * a.abs().max(1.0)), "{seed}: {want:?} {got:?}");
        agree(&h, &p, &images, n);
        assert!(complex.is_none_or(|c| c == p.nodes[0].ty.layout.complex.is_some()), "{seed}");
        let limbs = |f: fn(&ProgramOp) -> bool| p.nodes.iter().filter(|n| f(&n.op)).map(|n| n.ty.limbs).collect::<Vec<_>>();
        assert_eq!(limbs(|o| matches!(o, ProgramOp::Refresh { .. })), [3; 5]);
        // Base, three levels of the series, eleven of the bootstrap.
        assert_eq!((p.header.q.len(), p.header.bootstrap.as_ref().map(|b| (b.limbs, b.alpha))), (17, Some((17, 7))));
        let text = print(&p);
        assert_eq!(print(&parse::<chiffre_ir::program::Prog>(&text).unwrap()), text);
    }
}

#[test]
fn levelled_series_take_levels_and_mix_with_bootstraps() {
    let g = || with_series(residual_net(5), 5, 3, |_| false);
    let mut rng = Rng(9);
    let images: Vec<f32> = (0..4 * 128).map(|_| 0.3 * rng.next()).collect();
    for (g, primes) in [(g(), 6 + 5 * 2 + 1), (with_series(residual_net(5), 5, 3, |s| s != "act0"), 16)] {
        let want = tensor::interp(&g, &images, 4).unwrap().swap_remove(0);
        let (h, p) = compile(g, &options(4, 11)).unwrap();
        let got = he::interp(&h, &images, 4, None).unwrap().swap_remove(0);
        assert!(want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 2e-3 * a.abs().max(1.0)), "{want:?} {got:?}");
        agree(&h, &p, &images, 4);
        assert_eq!(p.header.q.len(), primes);
    }
}

#[test]
fn files() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&dir);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut paths: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "hir"));
    paths.sort();
    assert!(paths.len() >= 2);
    settings.bind(|| {
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap();
            let g: HeGraph = parse(&text).unwrap_or_else(|e| panic!("{}: {}", path.display(), e.with_caret(&text)));
            let opts = CompileOptions { batch: 2, allow_insecure: true, ..CompileOptions::default() };
            let mut params = select_params(&g, &opts, &Facts, None).unwrap();
            if text.starts_with("# no key shapes") {
                params.gadgets.clear();
            }
            let shown = match schedule(&g, header(&params, 2), &params.gadgets) {
                Err(e) => format!("error: {e} [pass schedule]\n"),
                Ok(p) => {
                    let g = he::verify(g).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_inner();
                    let p = verify(p).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_inner();
                    let per = g.nodes[0].ty.layout.shape.iter().product::<usize>();
                    agree(&g, &p, &(0..3 * per).map(|i| i as f32 / 8.0 - 0.5).collect::<Vec<_>>(), 3);
                    print(&p)
                }
            };
            insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), shown);
        }
    });
}

#[test]
fn programs_compute_what_their_he_graph_does() {
    let mut programs = 0;
    for seed in 0..200 {
        let (g, opts) = if seed < 4 { (residual_net(seed), options(20, 10)) } else { (chain(seed), options(3, 6)) };
        let per = g.nodes[0].ty.len();
        let mut rng = Rng(seed ^ 99);
        let n = opts.batch;
        let images: Vec<f32> = (0..n * per).map(|_| rng.next()).collect();
        let want = tensor::interp(&g, &images, n).unwrap();
        match compile(g, &opts) {
            Ok((h, p)) => {
                programs += 1;
                agree(&h, &p, &images, n);
                let got = interp(&p, &images, n).unwrap();
                let size = want[0].iter().fold(1.0f32, |m, v| m.max(v.abs()));
                let worst = want[0].iter().zip(&got[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(want[0].len() == got[0].len() && worst <= 5e-3 * size, "seed {seed}: {worst} of {size}");
            }
            Err(e) => assert!(e.contains("needs the range of its operand") || e.contains("no ring degree fits"), "seed {seed}: {e}"),
        }
    }
    assert!(programs >= 100, "{programs} of 200 compile");
}

#[test]
fn compiling_twice_gives_the_same_program() {
    for seed in 0..2 {
        let once = || compile(residual_net(seed), &options(16, 10)).unwrap().1;
        assert_eq!(print(&once()), print(&once()));
    }
}
