//! Pipelines: text specs of passes, the pass table, and their execution with a verifier after every pass.

use crate::activation::statistics::Statistics;
use crate::cost::CostModel;
use crate::error::PassError;
use crate::he::select_params::Params;
use crate::observe::Observer;
use crate::options::{CompileOptions, FitMethod, ParameterFacts};
use crate::pack::choose_layout::Layouts;
use crate::registry::{PASSES, PassInfo};
use crate::tensor::approximate_activations::Plans;
use crate::tensor::minimise_products::Explained;
use chiffre_ir::he::HeGraph;
use chiffre_ir::level::AnyGraph;
use chiffre_ir::packed::PackedGraph;
use chiffre_ir::tensor::TensorGraph;
use chiffre_ir::{he, packed, tensor, text};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The default pipeline. Why here:
/// * `recognise-activation` first: it needs the chains as the exporter wrote them, before affine maps move;
/// * `minimise-products` where polynomials have one normal form, and sums are still ops of their own: `compose-linear` hides them in kernels;
/// * `fold-affine` gives convolutions their batch norm, so that dumps read like the trained network;
/// * `compose-linear` before `fold-scales`: completing the square needs one linear map before and behind each activation;
/// * `remove-dead-channels` where every residual sum is one linear map, and before anything is measured or fitted for dead channels;
/// * `place-bootstraps` on the composed graph, where every linear map is one op: its plans name nodes;
/// * `calibrate-activations` right before `approximate-activations`: its figures belong to that very graph;
/// * `choose-layout` needs the final shape of the linear maps, `lower-linear` needs layouts;
/// * `assign-levels` before `place-relin`: limbs tell what a key switch costs;
/// * `select-params` last: it needs every key's limbs; `schedule` belongs to the backend and ends every pipeline.
pub const DEFAULT: &str = "tensor(recognise-activation,minimise-products,fold-affine,compose-linear,remove-dead-channels,place-bootstraps,calibrate-activations,approximate-activations,fold-scales),choose-layout,lower-linear,he(assign-levels,place-relin,select-params),schedule";

/// A network on its way through the pipeline.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Tensor IR, until the end (for dumps and the layouts' values).
    pub tensor: Option<TensorGraph>,
    /// Regions that `minimise-products` has rewritten, with the rules.
    pub explained: Vec<Explained>,
    /// What the activations of `tensor` read on the calibration images, once measured.
    pub statistics: Option<Arc<Statistics>>,
    /// Plans of single activations, by ONNX node, for each degree that `approximate-activations` may choose.
    pub plans: BTreeMap<usize, Plans>,
    /// Ring and layouts, once chosen.
    pub layouts: Option<Layouts>,
    /// Packed IR, once lowered.
    pub packed: Option<PackedGraph>,
    /// HE IR, once levels are assigned.
    pub he: Option<HeGraph>,
    /// Parameters, once selected.
    pub params: Option<Params>,
}

impl State {
    /// A state that starts from a graph of any level below the program.
    ///
    /// # Errors
    /// A program: nothing is left to do.
    pub fn from_graph(g: AnyGraph) -> Result<State, PassError> {
        match g {
            AnyGraph::Tensor(g) => Ok(State { tensor: Some(g), ..State::default() }),
            AnyGraph::Packed(g) => Ok(State { packed: Some(g), ..State::default() }),
            AnyGraph::He(g) => Ok(State { he: Some(g), ..State::default() }),
            AnyGraph::Program(_) => Err(PassError::at("pipeline", "", "there are no passes on programs".into())),
        }
    }
    /// The graph of the latest level.
    pub fn latest(&self) -> Option<AnyGraph> {
        let he = self.he.clone().map(AnyGraph::He);
        let packed = || self.packed.clone().map(AnyGraph::Packed);
        he.or_else(packed).or_else(|| self.tensor.clone().map(AnyGraph::Tensor))
    }
    /// Text of the latest level.
    pub fn dump(&self) -> String {
        if let Some(g) = &self.he {
            text::print(g)
        } else if let Some(g) = &self.packed {
            text::print(g)
        } else {
            self.tensor.as_ref().map(text::print).unwrap_or_default()
        }
    }
    pub(crate) fn tensor(&self, pass: &str) -> Result<&TensorGraph, PassError> {
        self.tensor.as_ref().ok_or_else(|| PassError::at(pass, "", "needs tensor IR".into()))
    }
    pub(crate) fn he(&self, pass: &str) -> Result<&HeGraph, PassError> {
        self.he.as_ref().ok_or_else(|| PassError::at(pass, "", "needs HE IR: run assign-levels first".into()))
    }
}

/// What passes can look at.
pub struct Context<'a> {
    /// The caller's options.
    pub options: &'a CompileOptions,
    /// Parameter table and primes.
    pub facts: &'a dyn ParameterFacts,
    /// Unit times of the target machine.
    pub cost: &'a CostModel,
}

/// One pass of a pipeline with its options.
#[derive(Clone, Debug)]
pub struct Step {
    /// The pass.
    pub pass: &'static PassInfo,
    /// Options as given, `key=value`.
    pub options: Vec<(String, String)>,
}

/// A parsed pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Passes in order.
    pub steps: Vec<Step>,
}

impl Pipeline {
    /// Reads a spec such as [`DEFAULT`]: passes separated by commas, `level(…)` groups, options in braces.
    pub fn parse(spec: &str) -> Result<Pipeline, PassError> {
        Pipeline::parse_with(spec, &[])
    }

    /// As [`Pipeline::parse`], where passes of the caller's own may be named too.
    ///
    /// # Errors
    /// A spec that is malformed or names an unknown pass or option.
    pub fn parse_with(spec: &str, own: &[&'static PassInfo]) -> Result<Pipeline, PassError> {
        let bad = |m: String| PassError::at("pipeline", "", m);
        let mut steps = vec![];
        let mut group: Option<String> = None;
        let mut rest = spec.trim();
        while !rest.is_empty() {
            let n = rest.find(['(', ')', ',', '{']).unwrap_or(rest.len());
            let name = rest[..n].trim();
            rest = &rest[n..];
            if rest.starts_with('(') {
                if group.is_some() || !["tensor", "packed", "he"].contains(&name) {
                    return Err(bad(format!("`{name}(`: groups are tensor(…), packed(…) and he(…), not nested")));
                }
                group = Some(name.into());
                rest = &rest[1..];
                continue;
            }
            let mut options = vec![];
            if rest.starts_with('{') {
                let end = rest.find('}').ok_or_else(|| bad(format!("the options of `{name}` are not closed")))?;
                for item in rest[1..end].split(',').map(str::trim).filter(|s| !s.is_empty()) {
                    let (k, v) = item.split_once('=').ok_or_else(|| bad(format!("option `{item}` of `{name}`: expected key=value")))?;
                    options.push((k.trim().to_string(), v.trim().to_string()));
                }
                rest = &rest[end + 1..];
            }
            if !name.is_empty() {
                let known = own.iter().copied().chain(PASSES).find(|p| p.name == name);
                let pass = known.ok_or_else(|| bad(unknown_pass(name)))?;
                if let Some(g) = &group
                    && pass.level != g
                {
                    return Err(bad(format!("`{name}` is a pass on {} IR, not in the group {g}(…)", pass.level)));
                }
                if let Some((k, _)) = options.iter().find(|(k, _)| !pass.options.iter().any(|o| o.0 == k)) {
                    return Err(bad(format!("pass `{name}` has no option `{k}`")));
                }
                steps.push(Step { pass, options });
            }
            if rest.starts_with(')') && group.take().is_none() {
                return Err(bad("`)` without `(`".into()));
            }
            rest = rest.strip_prefix([')', ',']).unwrap_or(rest).trim_start();
        }
        if group.is_some() {
            return Err(bad("a group is not closed".into()));
        }
        Ok(Pipeline { steps })
    }

    /// Runs the passes on `state`; `after` sees the state and the time taken after each pass.
    pub fn run(&self, state: State, cx: &Context, after: impl FnMut(&Step, &State, Duration)) -> Result<State, PassError> {
        struct After<F>(F);
        impl<F: FnMut(&Step, &State, Duration)> Observer for After<F> {
            fn after(&mut self, step: &Step, state: &State, time: Duration) -> Result<(), PassError> {
                (self.0)(step, state, time);
                Ok(())
            }
        }
        self.observe(state, cx, &mut After(after))
    }

    /// Runs the passes on `state`, watched by an observer.
    ///
    /// # Errors
    /// What a pass refuses, what a verifier finds after it, what the observer objects to.
    pub fn observe(&self, mut state: State, cx: &Context, observer: &mut dyn Observer) -> Result<State, PassError> {
        for step in &self.steps {
            observer.before(step, &state);
            let start = Instant::now();
            let mut options = cx.options.clone();
            for (k, v) in &step.options {
                apply_option(&mut options, k, v).map_err(|m| PassError::at(step.pass.name, "", m))?;
            }
            let cx = Context { options: &options, ..*cx };
            state = (step.pass.run)(state, &cx)?;
            state = check(state, step.pass.name)?;
            tracing::debug!(pass = step.pass.name, micros = start.elapsed().as_micros() as u64, "pass");
            observer.after(step, &state, start.elapsed())?;
        }
        Ok(state)
    }
}

fn unknown_pass(name: &str) -> String {
    let near = PASSES.iter().min_by_key(|p| strsim::levenshtein(p.name, name)).map_or("", |p| p.name);
    format!("unknown pass `{name}`; did you mean `{near}`? (`chiffre passes` lists them)")
}

fn apply_option(o: &mut CompileOptions, key: &str, value: &str) -> Result<(), String> {
    let number = || value.parse::<usize>().map_err(|_| format!("option {key}={value}: expected a number"));
    let positive = || {
        value
            .parse::<f64>()
            .ok()
            .filter(|x| x.is_finite() && *x > 0.0)
            .ok_or_else(|| format!("option {key}={value}: expected a positive number"))
    };
    let word = |words: [&str; 2]| match value {
        v if v == words[0] => Ok(true),
        v if v == words[1] => Ok(false),
        _ => Err(format!("option {key}={value}: expected {} or {}", words[0], words[1])),
    };
    let a = &mut o.activations;
    match key {
        "degree" => {
            a.degree = Some(number()?)
                .filter(|d| (1..=1024).contains(d))
                .map(Some)
                .ok_or_else(|| format!("option {key}={value}: must lie in 1..=1024"))?
        }
        "refresh" => a.refresh = word(["yes", "no"])?,
        "fit" => a.fit.method = if word(["lsq", "minimax"])? { FitMethod::LeastSquares } else { FitMethod::Minimax },
        "per" => a.fit.per_channel = word(["channel", "layer"])?,
        "margin" => a.fit.margin = positive()?,
        "angle" => {
            let below = positive()?;
            a.fit.angle = Some(below)
                .filter(|x| *x < std::f64::consts::FRAC_PI_2)
                .ok_or_else(|| format!("option {key}={value}: must lie below π/2"))?;
        }
        "extension" => a.fit.extension = positive()?,
        "reach" => a.fit.reach = positive()?,
        "uniform" => a.fit.uniform = positive()?,
        "centred" => a.fit.centred = word(["yes", "no"])?,
        "log-n" => o.log_n = Some(number()?),
        "channels" => o.packing.channels = Some(number()?),
        "tile" => o.packing.tile = Some(number()?),
        "fill" => o.packing.fill = Some(number()?),
        "phases" => {
            let bits = value.split_once('x').and_then(|(y, x)| Some([y.parse().ok()?, x.parse().ok()?]));
            o.packing.phases = Some(bits.ok_or_else(|| format!("option {key}={value}: expected bits of rows and columns, as in 1x1"))?);
        }
        "log-scale" => {
            let bits = number()?;
            let fits = i32::try_from(bits).ok().filter(|b| (1..=60).contains(b));
            o.log_scale = fits.ok_or_else(|| format!("option {key}={value}: must lie in 1..=60"))?;
        }
        _ => return Err(format!("unknown option {key}")),
    }
    Ok(())
}

/// Runs the verifiers; a finding is a bug of the pass and names it.
fn check(mut s: State, pass: &str) -> Result<State, PassError> {
    let bug = |e: chiffre_ir::error::VerifyError| PassError::bug(pass, "", format!("the pass broke the graph: {e}"));
    if let Some(g) = s.tensor.take() {
        s.tensor = Some(tensor::verify(g).map_err(bug)?.into_inner());
    }
    if let Some(g) = s.packed.take() {
        s.packed = Some(packed::verify(g).map_err(bug)?.into_inner());
    }
    if let Some(g) = s.he.take() {
        // Before place-relin, products are read with three polynomials; the verifier's rule holds from then on.
        s.he = Some(if pass == "assign-levels" { g } else { he::verify(g).map_err(bug)?.into_inner() });
    }
    Ok(s)
}
