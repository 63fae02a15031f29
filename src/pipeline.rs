//! The compiler as one call: model → passes → program.

use crate::Error;
use chiffre_backend::memory::MemoryPlan;
use chiffre_backend::predict::{Work, work_of};
use chiffre_backend::{memory, schedule};
use chiffre_frontend::Model;
use chiffre_ir::he::{HeGraph, HeOp, Noise};
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::{Program, ProgramHeader, ProgramOp, VerifiedProgram};
use chiffre_ir::tensor::{CertifiedNode, TensorGraph, certified};
use chiffre_ir::text;
use chiffre_params::polynomial::coefficients_depth;
use chiffre_passes::cost::{CostModel, Counts, GiantShape, LinearShape, ProductShape, SeriesShape};
use chiffre_passes::observe::{Dump, Recorder};
pub use chiffre_passes::options::CkksFacts;
use chiffre_passes::options::CompileOptions;
use chiffre_passes::pack::price::table_shape;
use chiffre_passes::pipeline::{Context, DEFAULT, Pipeline, State};
use chiffre_passes::tensor::minimise_products::Explained;
use std::collections::BTreeMap;
use std::time::Duration;

/// What to compile and what to show on the way.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Options of the passes.
    pub options: CompileOptions,
    /// Unit times of the machine that will run the program.
    pub cost: CostModel,
    /// Pipeline spec; the default if absent.
    pub passes: Option<String>,
    /// Dumps that are wanted.
    pub dumps: Vec<Dump>,
    /// Normalisation of pixel data, in the text form of the model's metadata.
    pub normalisation: Option<String>,
}

/// A compiled program and the texts of the levels it came from.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The program.
    pub program: Program,
    /// Texts of `tensor`, `packed` and `he`, and the `certificate` of approximated activations as JSON.
    pub stages: BTreeMap<String, String>,
    /// The network as the last pass on tensor IR left it.
    pub tensor: Option<TensorGraph>,
    /// IR where it was asked for, by title (`after fold-affine`).
    pub dumps: Vec<(String, AnyGraph)>,
    /// Regions that `minimise-products` has rewritten, with the rules.
    pub explained: Vec<Explained>,
    /// Time of each pass.
    pub times: Vec<(&'static str, Duration)>,
}

/// Compiles an imported model.
///
/// # Errors
/// Unsupported networks, specs and parameters as input errors that name node and pass; a program over the memory budget.
pub fn compile(model: &Model, request: &Request) -> Result<Compiled, Error> {
    compile_graph(&model.graph, &model.digest.to_string(), request)
}

/// Compiles a verified tensor graph; `digest` names where it comes from.
///
/// # Errors
/// As [`compile`].
pub fn compile_graph(graph: &TensorGraph, digest: &str, request: &Request) -> Result<Compiled, Error> {
    let pipeline = Pipeline::parse(request.passes.as_deref().unwrap_or(DEFAULT))?;
    if let Some(unknown) = request.dumps.iter().filter_map(Dump::pass).find(|p| !pipeline.steps.iter().any(|s| s.pass.name == *p)) {
        return Err(Error::input(format!("--dump-ir: no pass `{unknown}` in the pipeline")));
    }
    if pipeline.steps.last().map(|s| s.pass.name) != Some("schedule") {
        return Err(Error::input("a pipeline for `compile` must end with `schedule`"));
    }
    let cost = request.cost;
    let cx = Context { options: &request.options, facts: &CkksFacts, cost: &cost };
    let state = State { tensor: Some(graph.clone()), ..State::default() };
    let mut recorder = Recorder { wanted: request.dumps.clone(), ..Recorder::default() };
    let state = pipeline.observe(state, &cx, &mut recorder)?;
    let (dumps, mut times) = (recorder.dumps, recorder.times);
    let start = std::time::Instant::now();
    let program = program(&state, &request.options, &cost, request.normalisation.clone(), digest)?.into_inner();
    if let Some((_, t)) = times.last_mut() {
        *t += start.elapsed();
    }
    if let Some(budget) = request.options.memory
        && program.header.predicted_bytes > budget
    {
        let need = crate::memory::human_bytes(program.header.predicted_bytes as u64);
        return Err(Error::budget(
            format!("the leanest plan found needs {need}, the budget is {}", crate::memory::human_bytes(budget as u64)),
            format!("give --memory {need} or more, or a smaller --batch"),
        ));
    }
    let mut stages = BTreeMap::new();
    stages.extend(state.he.as_ref().map(|g| ("he".to_string(), text::print(g))));
    stages.extend(state.tensor.as_ref().map(|g| ("tensor".to_string(), text::print(g))));
    stages.extend(state.packed.as_ref().map(|g| ("packed".to_string(), text::print(g))));
    let mut certified = state.tensor.as_ref().map(certified).unwrap_or_default();
    if let Some(he) = &state.he {
        predict_noise(&mut certified, he, &program.header)?;
    }
    if !certified.is_empty() {
        stages.insert("certificate".into(), serde_json::to_string(&certified).map_err(Error::failed)?);
    }
    Ok(Compiled { program, stages, tensor: state.tensor, dumps, explained: state.explained, times })
}

/// The scheduled program of a state that has passed `select-params`; `digest` names where the network comes from.
///
/// # Errors
/// A state without HE IR or parameters, or HE IR that cannot be scheduled.
pub fn program(
    state: &State,
    options: &CompileOptions,
    cost: &CostModel,
    normalisation: Option<String>,
    digest: &str,
) -> Result<VerifiedProgram, Error> {
    let (Some(he), Some(params)) = (&state.he, &state.params) else {
        return Err(Error::input("the pipeline has no assign-levels and select-params"));
    };
    let header = ProgramHeader {
        log_n: params.log_n,
        q: params.q.clone(),
        p: params.p.clone(),
        insecure: params.insecure,
        batch: options.batch,
        tile: state.layouts.as_ref().map_or(options.batch, |l| l.tile),
        normalisation,
        model: digest.to_string(),
        bootstrap: params.bootstrap.clone(),
        predicted_bytes: 0,
        predicted_us: 0,
    };
    let mut program = schedule::schedule(he, header, &params.gadgets)?;
    program.header.predicted_bytes = memory_plan(&program, program.header.batch).peak();
    program.header.predicted_us = (predicted_seconds(&program, cost, program.header.batch) * 1e6) as usize;
    chiffre_ir::program::verify(program).map_err(|e| Error::bug(format!("schedule broke the program: {e}")))
}

/// Predicted errors of the operands of approximated activations.
fn predict_noise(nodes: &mut [CertifiedNode], he: &HeGraph, h: &ProgramHeader) -> Result<(), Error> {
    if nodes.is_empty() {
        return Ok(());
    }
    let model = Noise::of(h, 0);
    let operand = |node: &str| he.nodes.iter().find(|n| n.source == node && matches!(n.op, HeOp::Chebyshev { .. })).map(|n| n.args[0]);
    for n in nodes {
        n.noise = match operand(&n.node) {
            Some(x) => model.rescale_std(&he.ty(x).scale),
            None => h.refresh_noise(n.certificate.limit).map_err(Error::failed)?,
        } / n.certificate.limit;
    }
    Ok(())
}

/// Counted work of each instruction for a run on `images` images.
pub fn counts(p: &Program, images: usize) -> Vec<Counts> {
    let n = (1u64 << p.header.log_n) as f64;
    let flow = p.flow(images);
    let one = |(node, f): (_, &chiffre_ir::program::Flow)| match work_of(p, node) {
        None => Counts::default(),
        Some(w @ Work::Linear { .. }) => linear_shape(&w).map_or(Counts::default(), |s| s.counts(n, f.units, f.together)),
        Some(Work::Series { cts, limbs, coefficients, alpha, complex, bootstrap }) => {
            SeriesShape { cts, limbs, coefficients, alpha, complex, bootstrap }.counts(n) * f.units as f64
        }
        Some(Work::Product { cts, limbs, alpha, complex }) => ProductShape { cts, limbs, alpha, complex }.counts(n) * f.units as f64,
    };
    p.nodes.iter().zip(&flow).map(one).collect()
}

/// Shape of a linear map; none of other work.
pub fn linear_shape(w: &Work) -> Option<LinearShape> {
    let Work::Linear { table, limbs, drop, alpha, giants } = w else { return None };
    let giants =
        giants.as_ref().map(|g| GiantShape { taps: g.steps.iter().filter(|s| **s != 0).count(), outputs: g.outputs, alpha: g.alpha });
    Some(LinearShape { limbs: *limbs, drop: *drop, alpha: *alpha, giants, ..table_shape(table) })
}

/// Ciphertexts that are bootstrapped in a run on `images` images.
pub fn bootstraps(p: &Program, images: usize) -> usize {
    let refreshed = p.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Refresh { .. }));
    refreshed.map(|n| n.ty.layout.unit_cts() * n.ty.layout.units_for(images)).sum()
}

/// Predicted memory of a run on `images` images.
pub fn memory_plan(p: &Program, images: usize) -> MemoryPlan {
    let n = 1usize << p.header.log_n;
    memory::plan(p, images, |w, units, freed| match w {
        Work::Linear { .. } => linear_shape(w).map_or(0, |s| s.extra(n, units, freed)),
        &Work::Product { cts, limbs, alpha, complex } => ProductShape { cts, limbs, alpha, complex }.extra(n, units, freed),
        &Work::Series { cts, limbs, coefficients, alpha, complex, ref bootstrap } => {
            let result = limbs - coefficients_depth(coefficients);
            SeriesShape { cts, limbs, coefficients, alpha, complex, bootstrap: bootstrap.clone() }.extra(n, units, freed, result)
        }
    })
}

/// Predicted time of a run on `images` images.
pub fn predicted_seconds(p: &Program, cost: &CostModel, images: usize) -> f64 {
    cost.time(counts(p, images).into_iter().sum(), p.header.log_n)
}
