//! The compiler as one call: model → passes → program.

use crate::Error;
use chiffre_backend::ckks::{Ckks, outline};
pub use chiffre_backend::ckks::{bootstraps, memory as memory_plan, seconds as predicted_seconds};
use chiffre_backend::clear::Clear;
use chiffre_backend::cost::{CostModel, Counts};
pub use chiffre_backend::facts::CkksFacts;
use chiffre_backend::property::Property;
use chiffre_backend::target::{Executable, Origin, Target};
use chiffre_backend::tfhe::Tfhe;
use chiffre_frontend::{Model, Normalisation};
use chiffre_ir::he::{HeGraph, HeOp, Noise};
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::file::INTERFACE;
use chiffre_ir::program::{ChannelStatistics, Program, Step, VerifiedProgram};
use chiffre_ir::tensor::{CertifiedNode, TensorGraph, TensorOp, certified};
use chiffre_ir::text;
use chiffre_passes::observe::{Dump, Recorder};
use chiffre_passes::options::{CalibrationSet, CompileOptions};
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::state::State;
use chiffre_passes::tensor::minimise_products::Explained;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The target of encrypted programs.
pub static CKKS: Ckks = Ckks::new(&CkksFacts);

/// The targets that the compiler ships with, the default one first.
pub fn targets() -> [&'static dyn Target; 3] {
    [&CKKS, &Tfhe, &Clear]
}

/// The shipped target of a name.
///
/// # Errors
/// There is none; the error lists those that there are.
pub fn target(name: &str) -> Result<&'static dyn Target, Error> {
    let names: Vec<&str> = targets().iter().map(|t| t.name()).collect();
    let none = || Error::input(format!("there is no target `{name}`; there are {}", names.join(", ")));
    targets().into_iter().find(|t| t.name() == name).ok_or_else(none)
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
    /// The lowest and the highest input that the program is for; without it, those that 8-bit
    /// pixels can become, if there is a normalisation.
    pub input_range: Option<[f64; 2]>,
}

/// A compiled program and the texts of the levels it came from.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The program.
    pub program: Program,
    /// Texts of `tensor`, `packed` and `he`, and as JSON the `certificate` of approximated
    /// activations and the `interface`: inputs and outputs of the model.
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

/// A network that was compiled for any target.
#[derive(Debug)]
pub struct Lowered {
    /// The program in the form of its target.
    pub program: Arc<dyn Executable>,
    /// The network on all levels that the pipeline reached.
    pub state: State,
    /// IR where it was asked for, by title (`after fold-affine`).
    pub dumps: Vec<(String, AnyGraph)>,
    /// Time of each pass.
    pub times: Vec<(&'static str, Duration)>,
}

/// Compiles a verified tensor graph for a target, by its own pipeline unless the request names
/// another; `digest` names where the graph comes from.
///
/// # Errors
/// Unsupported networks, specs and parameters as input errors that name node and pass.
pub fn compile_for(target: &dyn Target, graph: &TensorGraph, digest: &str, request: &Request) -> Result<Lowered, Error> {
    let pipeline = Pipeline::parse(request.passes.as_deref().unwrap_or(target.lower()))?;
    if let Some(unknown) = request.dumps.iter().filter_map(Dump::pass).find(|p| !pipeline.entries.iter().any(|s| s.pass.name == *p)) {
        return Err(Error::input(format!("no pass `{unknown}`, whose IR is asked for, in the pipeline")));
    }
    if !pipeline.entries.last().is_some_and(|s| s.pass.establishes.contains(&Property::Program)) {
        return Err(Error::input("a pipeline for `compile` must end with `schedule`"));
    }
    let cx = Context { options: &request.options, target, machine: &request.cost };
    let channels = graph.nodes.iter().find(|n| matches!(n.op, TensorOp::Input {})).map_or(1, |n| n.ty.chw()[0]);
    let statistics = |set: &Arc<CalibrationSet>| ChannelStatistics::of(&set.images, set.n, channels);
    let origin = Origin {
        model: digest.to_string(),
        normalisation: request.normalisation.clone(),
        input_range: input_range(request, channels),
        calibrated: request.options.activations.calibration.as_ref().map(statistics),
    };
    let state = State::from(graph.clone()).with_origin(origin);
    let mut recorder = Recorder { wanted: request.dumps.clone(), ..Recorder::default() };
    let state = pipeline.observe(state, &cx, &mut recorder)?;
    let program = state.program().ok_or_else(|| Error::bug("the pipeline left no program"))?.clone();
    Ok(Lowered { program, state, dumps: recorder.dumps, times: recorder.times })
}

/// Compiles an imported model.
///
/// # Errors
/// Unsupported networks, specs and parameters as input errors that name node and pass; a program
/// over the memory budget.
pub fn compile(model: &Model, request: &Request) -> Result<Compiled, Error> {
    let mut compiled = compile_graph(&model.joined(), &model.digest.to_string(), request)?;
    compiled.stages.insert(INTERFACE.into(), serde_json::to_string(&model.interface()).map_err(Error::failed)?);
    Ok(compiled)
}

/// Compiles a verified tensor graph; `digest` names where it comes from.
///
/// # Errors
/// As [`compile`].
pub fn compile_graph(graph: &TensorGraph, digest: &str, request: &Request) -> Result<Compiled, Error> {
    let Lowered { program, state, dumps, times } = compile_for(&CKKS, graph, digest, request)?;
    let program = (**program.downcast::<VerifiedProgram>().ok_or_else(|| Error::bug("not a program of this target"))?).clone();
    if let Some(budget) = request.options.memory
        && program.header.predicted_bytes > budget
    {
        let need = crate::memory::human_bytes(program.header.predicted_bytes as u64);
        return Err(Error::budget(
            format!("the leanest plan found needs {need}, the budget is {}", crate::memory::human_bytes(budget as u64)),
            format!("give {need} or more, or a smaller batch"),
        ));
    }
    let mut stages = BTreeMap::new();
    stages.extend(state.he().map(|g| ("he".to_string(), text::print(g))));
    stages.extend(state.tensor().map(|g| ("tensor".to_string(), text::print(g))));
    stages.extend(state.packed().map(|g| ("packed".to_string(), text::print(g))));
    let mut certified = state.tensor().map(certified).transpose().map_err(Error::failed)?.unwrap_or_default();
    if let Some(he) = state.he() {
        predict_noise(&mut certified, he, &program)?;
    }
    if !certified.is_empty() {
        stages.insert("certificate".into(), serde_json::to_string(&certified).map_err(Error::failed)?);
    }
    if let Some(accuracy) = &state.accuracy {
        stages.insert("accuracy".into(), serde_json::to_string(accuracy).map_err(Error::failed)?);
    }
    Ok(Compiled { program, stages, tensor: state.tensor().cloned(), dumps, explained: state.explained, times })
}

/// The range of inputs: the one asked for, or that of 8-bit pixels through the normalisation, with
/// a step of a pixel on either side for pixels that were scaled in floating point.
fn input_range(request: &Request, channels: usize) -> Option<Vec<[f64; 2]>> {
    if let Some(range) = request.input_range {
        return Some(vec![range]);
    }
    let n: Normalisation = request.normalisation.as_deref()?.parse().ok()?;
    n.check(channels).ok()?;
    let of_channel = |c: usize| {
        let [lowest, highest] = [0, u8::MAX].map(|px| f64::from(n.apply(px, c)));
        let step = (highest - lowest) / f64::from(u8::MAX);
        [lowest - step, highest + step]
    };
    Some((0..channels).map(of_channel).collect())
}

/// Predicted errors of the operands of approximated activations: of a bootstrap for the widest
/// angles, in radians.
fn predict_noise(nodes: &mut [CertifiedNode], he: &HeGraph, p: &Program) -> Result<(), Error> {
    if nodes.is_empty() {
        return Ok(());
    }
    let model = Noise::of(p, 0);
    let operand = |node: &str| he.nodes.iter().find(|n| n.source == node && matches!(n.op, HeOp::Chebyshev { .. })).map(|n| n.args[0]);
    for n in nodes {
        n.noise = match operand(&n.node) {
            Some(x) => model.rescale_std(&he.ty(x).scale),
            None => p.header.refresh_noise(n.certificate.limit).map_err(Error::failed)?,
        };
    }
    Ok(())
}

/// Counted work of each instruction for a run on `images` images.
pub fn counts(p: &Program, images: usize) -> Vec<Counts> {
    outline(p, images).counts()
}

/// How much of one or several runs is done, in predicted time, so that an estimate of what is left
/// holds.
#[derive(Clone, Debug)]
pub struct Work {
    /// Predicted microseconds of one unit of each instruction.
    unit_us: Vec<f64>,
    total_us: f64,
    done_us: f64,
}

impl Work {
    /// Of runs on so many images each.
    pub fn new(p: &Program, images: &[usize]) -> Work {
        let cost = CostModel::default();
        let us = |c: &Counts| cost.time(*c, p.header.log_n) * 1e6;
        let total_us: f64 = images.iter().flat_map(|&n| counts(p, n)).map(|c| us(&c)).sum();
        let most = images.iter().copied().max().unwrap_or(1);
        let unit_us = counts(p, most).iter().zip(p.flow(most)).map(|(c, f)| us(c) / f.units.max(1) as f64).collect();
        Work { unit_us, total_us, done_us: 0.0 }
    }

    /// An instruction is done on so many units.
    pub fn step(&mut self, instruction: usize, units: usize) {
        self.done_us += self.unit_us[instruction] * units as f64;
    }

    /// Steps that an interrupted run has done.
    pub fn skip(&mut self, steps: &[Step]) {
        steps.iter().for_each(|s| self.step(s.node, s.units.len()));
    }

    /// Predicted microseconds of all work, and of what is done.
    pub fn us(&self) -> [f64; 2] {
        [self.total_us, self.done_us]
    }

    /// The share that is done, from 0 to 1.
    pub fn fraction(&self) -> f64 {
        (self.done_us / self.total_us.max(1e-9)).min(1.0)
    }
}
