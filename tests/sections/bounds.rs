//! Interval bounds beside the values of many images, and verdicts beside what is known of them.

use super::common::{Rng, residual_net, with_series};
use chiffre::pipeline::{Request, compile_graph};
use chiffre_ir::program::{Program, ProgramOp, Sections, bounds, visit};
use chiffre_ir::tensor::TensorGraph;
use chiffre_passes::options::{CompileOptions, PackingWish};

fn program(g: &TensorGraph, batch: usize, packing: PackingWish, input_range: Option<[f64; 2]>) -> Program {
    let options = CompileOptions { batch, log_n: Some(11), packing, allow_insecure: true, ..CompileOptions::default() };
    compile_graph(g, "test", &Request { options, input_range, ..Request::default() }).unwrap().program
}

#[test]
fn no_value_exceeds_its_bound() {
    let phases = PackingWish { phases: Some([1, 1]), ..PackingWish::default() };
    let tiled = PackingWish { phases: Some([0, 0]), fill: Some(0), tile: Some(1), ..PackingWish::default() };
    for (seed, batch, packing) in [(1, 40, PackingWish::default()), (2, 8, phases), (3, 70, tiled), (4, 1, PackingWish::default())] {
        // Squares, series behind bootstraps, and series without.
        for kind in 0..3 {
            let g = residual_net(seed);
            let g = if kind == 0 { g } else { with_series(g, seed, 7, |_| kind == 1) };
            let p = program(&g, batch, packing, None);
            let all = bounds(&p, &[[-0.3, 1.0]]).unwrap();
            let mut rng = Rng(seed);
            // Images of noise, and of the ends of the range.
            let value = |i: usize, x: f32| {
                if (i / 128).is_multiple_of(2) {
                    0.35 + 0.65 * x
                } else if x < 0.0 {
                    -0.3
                } else {
                    1.0
                }
            };
            let images: Vec<f32> = (0..batch * 128).map(|i| value(i, rng.next())).collect();
            let mut largest = vec![0.0f64; p.nodes.len()];
            visit(&p, &images, batch, |v, x| largest[v.index()] = x.iter().fold(0.0, |m: f64, x| m.max(f64::from(x.abs())))).unwrap();
            for (v, (bound, largest)) in all.iter().zip(&largest).enumerate() {
                let n = &p.nodes[v];
                // Bounds end at 10^60.
                assert!(largest.min(1e60) <= bound * (1.0 + 1e-5), "seed {seed}, kind {kind}, {} \"{}\": {largest} {bound}", v, n.source);
                // Of the input, and what refreshes read from it, little more than is there.
                if matches!(n.op, ProgramOp::Input {}) {
                    assert!(*bound <= 1.0 + 1e-6 && *largest >= 0.9 * bound, "{bound} {largest}");
                }
            }
        }
    }
}

#[test]
fn sections_behind_bootstraps_are_proven_whatever_the_input() {
    let g = with_series(residual_net(7), 7, 7, |_| true);
    let of = |range: Option<[f64; 2]>| {
        let p = program(&g, 40, PackingWish::default(), range);
        let s = Sections::of(&p, 1024.0).unwrap();
        s.list().iter().for_each(|s| println!("{range:?}: {s:?}"));
        (s.list().iter().filter(|s| !s.proven).map(|s| s.node.clone()).collect::<Vec<_>>(), s.wanted().iter().filter(|w| **w).count())
    };
    // Of any input the first bootstrap is open, and nothing else: the input and one linear map.
    assert_eq!(of(None), (vec!["act0".to_string()], 2));
    assert_eq!(of(Some([-3.0, 3.0])), (vec![], 0));
    // Without bootstraps nothing is.
    let p = program(&residual_net(7), 40, PackingWish::default(), Some([-1.0, 1.0]));
    let s = Sections::of(&p, 1024.0).unwrap();
    assert!(s.list().len() == 1 && !s.are_proven() && s.wanted().iter().all(|w| *w), "{:?}", s.list());
}

/// Figures of a header that contradict each other, or the input.
#[test]
fn ranges_that_make_no_sense_are_refused() {
    let p = program(&residual_net(7), 8, PackingWish::default(), Some([-1.0, 1.0]));
    let with = |range: Vec<[f64; 2]>| {
        let mut p = p.clone();
        p.header.input_range = Some(range);
        chiffre_ir::program::verify(p).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(with(vec![[-1.0, 1.0], [0.0, 5.0]]), Ok(()));
    for bad in [vec![], vec![[1.0, -1.0]], vec![[0.0, 1e7]], vec![[f64::NAN, 1.0]], vec![[0.0, 1.0]; 3]] {
        assert!(with(bad.clone()).unwrap_err().contains("a range of inputs"), "{bad:?}");
    }
    let mut p = p.clone();
    p.header.calibrated = Some(vec![Default::default()]);
    assert!(chiffre_ir::program::verify(p).unwrap_err().to_string().contains("figures of calibration images"));
}
