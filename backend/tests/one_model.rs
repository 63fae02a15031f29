//! One cost model and one memory model: what the search for a plan priced is what the program
//! predicts, to the bit.

#[path = "../../passes/tests/common/mod.rs"]
mod common;

use chiffre_backend::ckks::{Ckks, memory, outline, seconds};
use chiffre_backend::cost::CostModel;
use chiffre_backend::memory::MemoryPlan;
use chiffre_ir::program::{Program, ProgramOp, VerifiedProgram};
use chiffre_ir::tensor::TensorGraph;
use chiffre_passes::options::{CompileOptions, PackingWish};
use chiffre_passes::pack::layouts::Layouts;
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::{DEFAULT, Pipeline};
use chiffre_passes::state::State;
use common::{Facts, gate_net, options, residual_net, with_series};

fn compile(g: TensorGraph, options: &CompileOptions, machine: &CostModel) -> (Layouts, Program) {
    let cx = Context { options, target: &Ckks::new(&Facts), machine };
    let end = Pipeline::parse(DEFAULT).unwrap().run(State::from(g), &cx, |_, _, _| {}).unwrap();
    let p = end.program().unwrap().downcast::<VerifiedProgram>().unwrap();
    (end.layouts().unwrap().clone(), (**p).clone())
}

/// The plan's figures are the program's; its constants are estimated, since masks are counted when
/// tables are built.
fn same(what: &str, plan: &Layouts, p: &Program, machine: &CostModel) {
    assert_eq!(plan.seconds, seconds(p, machine, p.header.batch), "{what}: seconds");
    let got = memory(p, p.header.batch);
    assert_eq!(MemoryPlan { constants: 0, ..plan.memory }, MemoryPlan { constants: 0, ..got }, "{what}: bytes");
    assert!(got.constants <= 2 * plan.memory.constants, "{what}: {} bytes of constants, about {}", got.constants, plan.memory.constants);
    assert_eq!((p.header.predicted_bytes, p.header.predicted_us), (got.peak(), (plan.seconds * 1e6) as usize), "{what}: header");
}

#[test]
fn what_the_search_priced_is_what_the_program_predicts() {
    let machine = CostModel { expand: 7e-9, threads: 1.3, ..CostModel::default() };
    let (mut cut, mut pooled, mut merged) = (0, 0, 0);
    for (seed, batch, log_n) in [(0, 1, 12), (1, 3, 12), (2, 20, 10), (3, 100, 9), (4, 200, 8), (5, 1, 13)] {
        for phases in [None, Some([0, 0]), Some([0, 1])] {
            let packing = PackingWish { phases, ..PackingWish::default() };
            let (plan, p) = compile(residual_net(seed), &CompileOptions { packing, ..options(batch, log_n) }, &machine);
            same(&format!("residual_net({seed}), batch {batch}, phases {phases:?}"), &plan, &p, &machine);
            cut += p.nodes.iter().filter(|n| matches!(&n.op, ProgramOp::Linear { giants: Some(_), .. })).count();
            pooled += p.nodes.windows(2).filter(|w| w[0].source == w[1].source).count();
            merged += outline(&p, batch).flow.windows(2).filter(|f| f[0].unit_bits > f[1].unit_bits).count();
        }
    }
    assert!(cut > 0 && pooled > 0 && merged > 0, "{cut} maps with giant steps, {pooled} poolings, {merged} merges are too few");
}

#[test]
fn plans_with_series_and_bootstraps_are_priced_as_they_run() {
    let machine = CostModel::default();
    for (what, refreshed, degree) in [("all refreshed", "act", 7), ("none refreshed", "none", 3), ("one refreshed", "act0", 3)] {
        for batch in [4, 100] {
            let g = with_series(residual_net(5), 5, degree, |source| source.starts_with(refreshed));
            let (plan, p) = compile(g, &options(batch, 11), &machine);
            same(&format!("{what}, batch {batch}"), &plan, &p, &machine);
        }
    }
    // Positions are added in front of a map.
    for (batch, phases) in [(1, [0, 0]), (3, [0, 1]), (100, [1, 1])] {
        let packing = PackingWish { phases: Some(phases), ..PackingWish::default() };
        let gate = with_series(gate_net(16, 16), 4, 3, |_| false);
        let (plan, p) = compile(gate, &CompileOptions { packing, ..options(batch, 12) }, &machine);
        same(&format!("gate, batch {batch}"), &plan, &p, &machine);
        assert!(plan.ways.iter().any(|w| w.summed), "gate, batch {batch}");
    }
}
