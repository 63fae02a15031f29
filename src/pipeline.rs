//! The compiler as one call: model → passes → program.

use crate::Error;
use chiffre_backend::ckks::{Ckks, outline};
pub use chiffre_backend::ckks::{bootstraps, memory as memory_plan, seconds as predicted_seconds};
use chiffre_backend::cost::{CostModel, Counts};
use chiffre_backend::facts::{BootstrapWish, ParameterFacts};
use chiffre_backend::target::Origin;
use chiffre_ckks::bootstrap::BootstrapSpec;
use chiffre_frontend::Model;
use chiffre_ir::he::{HeGraph, HeOp, Noise};
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::{Bootstrap, KeyUse, Program, ProgramHeader, VerifiedProgram};
use chiffre_ir::tensor::{CertifiedNode, TensorGraph, certified};
use chiffre_ir::text;
use chiffre_params::Chain;
use chiffre_passes::observe::{Dump, Recorder};
use chiffre_passes::options::CompileOptions;
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::{DEFAULT, Pipeline};
use chiffre_passes::state::State;
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
    fn bootstrap_noise(&self, b: &Bootstrap, log_n: usize, q: &[u64], p: &[u64], radians: f64) -> Result<f64, String> {
        let chain = Chain { log_n: log_n as u32, q: q.to_vec(), p: p.to_vec() };
        spec_of(b, log_n).predicted_noise(&chain, radians).map_err(|e| e.to_string())
    }
    fn bootstrap_keys(&self, b: &Bootstrap) -> Vec<(KeyUse, [usize; 2])> {
        let slots: usize = b.s2c.iter().map(|[k, _]| k).sum();
        keys_of(b, slots + 1)
    }
}

/// The target of encrypted programs.
pub static CKKS: Ckks = Ckks::new(&CkksFacts);

/// Hamming weight of the ephemeral secrets of bootstraps.
const EPHEMERAL_WEIGHT: usize = 32;
/// Bits of the sine that the cosine's series must have: fewer than the noise at primes of 36 bits leaves.
const SINE_BITS: f64 = 12.0;

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
    let cx = Context { options: &request.options, target: &CKKS, machine: &cost };
    let origin = Origin { model: digest.to_string(), normalisation: request.normalisation.clone() };
    let state = State::from(graph.clone()).with_origin(origin);
    let mut recorder = Recorder { wanted: request.dumps.clone(), ..Recorder::default() };
    let state = pipeline.observe(state, &cx, &mut recorder)?;
    let (dumps, times) = (recorder.dumps, recorder.times);
    let program = state.program().and_then(|p| p.downcast::<VerifiedProgram>());
    let program = (**program.ok_or_else(|| Error::bug("the pipeline left no program of this target"))?).clone();
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
    stages.extend(state.he().map(|g| ("he".to_string(), text::print(g))));
    stages.extend(state.tensor().map(|g| ("tensor".to_string(), text::print(g))));
    stages.extend(state.packed().map(|g| ("packed".to_string(), text::print(g))));
    let mut certified = state.tensor().map(certified).unwrap_or_default();
    if let Some(he) = state.he() {
        predict_noise(&mut certified, he, &program.header)?;
    }
    if !certified.is_empty() {
        stages.insert("certificate".into(), serde_json::to_string(&certified).map_err(Error::failed)?);
    }
    Ok(Compiled { program, stages, tensor: state.tensor().cloned(), dumps, explained: state.explained, times })
}

/// Predicted errors of the operands of approximated activations.
fn predict_noise(nodes: &mut [CertifiedNode], he: &HeGraph, h: &ProgramHeader) -> Result<(), Error> {
    if nodes.is_empty() {
        return Ok(());
    }
    let model = Noise::of(h, 0);
    let operand = |node: &str| he.nodes.iter().find(|n| n.source == node && matches!(n.op, HeOp::Chebyshev { .. })).map(|n| n.args[0]);
    for n in nodes {
        n.noise = match (&h.bootstrap, operand(&n.node)) {
            (_, Some(x)) => model.rescale_std(&he.ty(x).scale),
            (Some(b), None) => CkksFacts.bootstrap_noise(b, h.log_n, &h.q, &h.p, n.certificate.limit).map_err(Error::failed)?,
            (None, None) => 0.0,
        } / n.certificate.limit;
    }
    Ok(())
}

/// Counted work of each instruction for a run on `images` images.
pub fn counts(p: &Program, images: usize) -> Vec<Counts> {
    outline(p, images).counts()
}
