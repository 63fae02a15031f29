//! The compiler as one call: model → passes → program.

use crate::Error;
use chiffre_backend::memory::MemoryPlan;
use chiffre_backend::predict::{Work, work_of};
use chiffre_backend::{memory, schedule};
use chiffre_ckks::bootstrap::BootstrapSpec;
use chiffre_frontend::Model;
use chiffre_ir::he::{HeGraph, HeOp, Noise};
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::{Bootstrap, KeyUse, Program, ProgramHeader, ProgramOp, VerifiedProgram};
use chiffre_ir::tensor::{CertifiedNode, TensorGraph, certified};
use chiffre_ir::text;
use chiffre_params::Chain;
use chiffre_passes::cost::{CostModel, Counts, GiantShape, LinearShape, ProductShape, SeriesShape};
use chiffre_passes::observe::{Dump, Recorder};
use chiffre_passes::options::{BootstrapWish, CompileOptions, ParameterFacts};
use chiffre_passes::pack::price::table_shape;
use chiffre_passes::pipeline::{Context, DEFAULT, Pipeline, State};
use chiffre_passes::tensor::minimise_products::Explained;
use chiffre_runtime::bootstrap::{keys_of, spec_of};
use std::collections::BTreeMap;
use std::time::Duration;

/// Parameter facts from the CKKS library.
#[derive(Clone, Copy, Debug, Default)]
pub struct CkksFacts;

impl ParameterFacts for CkksFacts {
    fn max_log_qp(&self, log_n: usize) -> Option<f64> {
        chiffre_ckks::security::max_log_qp(log_n as u32)
    }
    fn primes(&self, bits: u32, log_n: usize, count: usize, skip: &[u64]) -> Option<Vec<u64>> {
        chiffre_ckks::ring::primes::ntt_primes_below(bits, log_n as u32, count, skip)
    }
    fn bootstrap(&self, wish: &BootstrapWish) -> Option<Bootstrap> {
        find_bootstrap(wish)
    }
    fn bootstrap_keys(&self, b: &Bootstrap) -> Vec<(KeyUse, [usize; 2])> {
        let slots: usize = b.s2c.iter().map(|[k, _]| k).sum();
        keys_of(b, slots + 1)
    }
}

/// Hamming weight of the ephemeral secrets of bootstraps.
const EPHEMERAL_WEIGHT: usize = 32;
/// Bits of the sine that the cosine's series must have: fewer than the noise at primes of 36 bits leaves.
const SINE_BITS: f64 = 12.0;

/// Angles for which the noise of a program's bootstraps is predicted: those of a calibrated range with its margin of 1.2.
const SIMULATED_RADIANS: f64 = 1.06;

/// A bootstrap for a wish: the smallest range for its failure probability, and the reduction that goes with it.
fn find_bootstrap(w: &BootstrapWish) -> Option<Bootstrap> {
    let slots = w.log_n.checked_sub(1).filter(|s| (8..=16).contains(s))?;
    // Radices: SlotsToCoeffs in as many factors as the base has primes to drop, CoeffsToSlots in four, the first of which costs no level.
    let split = |bits: usize, parts: usize| (0..parts).map(move |i| bits / parts + usize::from(i < bits % parts));
    let first = 5.min(slots - 3);
    let s2c = split(slots, w.base - 1).map(|k| [k, 32.min(2 << k)]).collect();
    let c2s = std::iter::once([first, 1 << first]).chain(split(slots - first, 3).map(|k| [k, 8.min(2 << k)])).collect();
    // Key shapes are chosen later; these only have to be large enough.
    let open =
        Bootstrap { base: w.base, weight: EPHEMERAL_WEIGHT, s2c, c2s, low_gadget: [w.base, 1], gadget: [64, 2], ..Bootstrap::default() };
    let spec = BootstrapSpec { range: 1, degree: 14, ..spec_of(&open, w.log_n) };
    let spec = spec.with_failure_bound(w.ciphertexts as f64, w.log2_failure, SINE_BITS).ok()?;
    Some(Bootstrap {
        levels: spec.coeffs_to_slots.len() - 1 + spec.reduction_depth(),
        bound: spec.range,
        degree: spec.degree,
        doublings: spec.doublings,
        log2_failure: spec.log2_failure_of_run(1.0),
        noise: 0.0,
        low_gadget: [0; 2],
        gadget: [0; 2],
        ..open
    })
}

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
    let mut header = ProgramHeader {
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
    if let Some(b) = &header.bootstrap {
        let noise = spec_of(b, header.log_n).predicted_noise(&chain(&header), SIMULATED_RADIANS).map_err(Error::failed)?;
        header.bootstrap.iter_mut().for_each(|b| b.noise = noise);
    }
    let mut program = schedule::schedule(he, header, &params.gadgets)?;
    program.header.predicted_bytes = memory_plan(&program, program.header.batch).peak();
    program.header.predicted_us = (predicted_seconds(&program, cost, program.header.batch) * 1e6) as usize;
    chiffre_ir::program::verify(program).map_err(|e| Error::bug(format!("schedule broke the program: {e}")))
}

/// Degree and primes of a program.
fn chain(h: &ProgramHeader) -> Chain {
    Chain { log_n: h.log_n as u32, q: h.q.clone(), p: h.p.clone() }
}

/// Predicted errors of the operands of approximated activations.
fn predict_noise(nodes: &mut [CertifiedNode], he: &HeGraph, h: &ProgramHeader) -> Result<(), Error> {
    if nodes.is_empty() {
        return Ok(());
    }
    let model = Noise::of(h, 0);
    let bootstrap = h.bootstrap.as_ref().map(|b| (chain(h), spec_of(b, h.log_n)));
    let operand = |node: &str| he.nodes.iter().find(|n| n.source == node && matches!(n.op, HeOp::Chebyshev { .. })).map(|n| n.args[0]);
    for n in nodes {
        n.noise = match (&bootstrap, operand(&n.node)) {
            (_, Some(x)) => model.rescale_std(&he.ty(x).scale),
            (Some((chain, spec)), None) => spec.predicted_noise(chain, n.certificate.limit).map_err(Error::failed)?,
            (None, None) => 0.0,
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
            let result = limbs - chiffre_ir::he::series_depth(coefficients);
            SeriesShape { cts, limbs, coefficients, alpha, complex, bootstrap: bootstrap.clone() }.extra(n, units, freed, result)
        }
    })
}

/// Predicted time of a run on `images` images.
pub fn predicted_seconds(p: &Program, cost: &CostModel, images: usize) -> f64 {
    cost.time(counts(p, images).into_iter().sum(), p.header.log_n)
}
