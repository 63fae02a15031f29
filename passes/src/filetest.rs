//! Cases of passes as text files, for the tests of this crate and of crates with passes of their own.
//!
//! A case is IR of any level whose first line is `# run: <pipeline> [; option]…`. Its result is the text of what the pipeline leaves, with the
//! values of small constants, or the error. Options: `batch=N` (2 if not given), `log-n=N`, `allow-insecure`, `calibrate=N` (on N images
//! of noise), `agreement=POINTS`, `refresh=NODE:DEGREE`.
//!
//! A test of a pass of your own is a folder of cases and a loop over it:
//!
//! ```
//! use chiffre_passes::filetest::{Runner, cases};
//! # use chiffre_passes::registry::PASSES;
//! # use chiffre_passes::options::ParameterFacts;
//! # struct NoFacts;
//! # impl ParameterFacts for NoFacts {
//! #     fn max_log_qp(&self, _: usize) -> Option<f64> { None }
//! #     fn primes(&self, _: u32, _: usize, _: usize, _: &[u64]) -> Option<Vec<u64>> { None }
//! # }
//! let runner = Runner { own: &[], facts: &NoFacts };
//! # assert!(cases(std::path::Path::new("no/such/folder")).is_err());
//! let text = "# run: fold-affine\ntensor @t {\n  %0 = input : f32[2]\n  return %0\n}";
//! assert_eq!(runner.run(text).unwrap(), "tensor @t {\n  %0 = input : f32[2]\n  return %0\n}\n");
//! ```

use crate::cost::CostModel;
use crate::he::select_params::Params;
use crate::options::{AccuracyTarget, ActivationPlan, CalibrationSet, CompileOptions, ParameterFacts};
use crate::pipeline::{Context, Pipeline, State};
use crate::registry::PassInfo;
use chiffre_ir::level::AnyGraph;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Constants with at most so many values are printed with them.
pub const MOST_VALUES: usize = 64;

/// Runs cases.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// Passes that pipelines may name beside the compiler's.
    pub own: &'a [&'static PassInfo],
    /// Parameter table and primes.
    pub facts: &'a dyn ParameterFacts,
}

impl Runner<'_> {
    /// The result of a case: the text of what its pipeline leaves, or `error: …`.
    ///
    /// # Errors
    /// A case without a `# run:` line, with an unknown option, or with IR that does not parse or verify: the case is wrong, not the pass.
    pub fn run(&self, text: &str) -> Result<String, String> {
        let first = text.lines().next().and_then(|l| l.strip_prefix("# run: "));
        let mut words = first.ok_or("the first line must be `# run: <pipeline>`")?.split(';').map(str::trim);
        let spec = words.next().unwrap_or_default();
        let mut options = CompileOptions { batch: 2, ..CompileOptions::default() };
        let state = start(text)?;
        for w in words {
            let number = |n: &str| n.parse().map_err(|_| format!("option `{w}` needs a number"));
            match w.split_once('=') {
                Some(("batch", n)) => options.batch = number(n)?,
                Some(("log-n", n)) => options.log_n = Some(number(n)?),
                Some(("calibrate", n)) => {
                    let n = number(n)?;
                    let shape = state.latest().and_then(|g| g.input_shape()).unwrap_or_default();
                    let set = CalibrationSet { images: noise(n * shape.iter().product::<usize>()), n, labels: None };
                    options.activations.calibration = Some(Arc::new(set));
                }
                Some(("agreement", x)) => {
                    options.activations.target = AccuracyTarget::Agreement(x.parse().map_err(|_| format!("option `{w}` needs a number"))?);
                }
                Some(("refresh", plan)) => {
                    let (node, degree) = plan.split_once(':').ok_or_else(|| format!("option `{w}` needs NODE:DEGREE"))?;
                    options.activations.plans.insert(node.into(), ActivationPlan { refresh: true, degree: number(degree)? });
                }
                None if w == "allow-insecure" => options.allow_insecure = true,
                _ => return Err(format!("unknown option `{w}`")),
            }
        }
        let cx = Context { options: &options, facts: self.facts, cost: &CostModel::default() };
        Ok(match Pipeline::parse_with(spec, self.own).and_then(|p| p.run(state, &cx, |_, _, _| {})) {
            Err(e) => format!("error: {e}\n"),
            Ok(s) => show(&s),
        })
    }
}

/// Numbers in [-1, 1), the same every time.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as f64 / f64::from(1u32 << 30) - 1.0) as f32
    };
    (0..count).map(|_| next()).collect()
}

/// The graph of a case. HE IR may lack its relinearisations.
fn start(text: &str) -> Result<State, String> {
    let (g, map) = AnyGraph::parse(text).map_err(|e| e.with_caret(text))?;
    let g = match g {
        AnyGraph::He(_) => g,
        g => g.verify().map_err(|e| map.locate(&e).iter().map(|e| e.with_caret(text)).collect::<Vec<_>>().join("\n"))?,
    };
    State::from_graph(g).map_err(|e| e.to_string())
}

/// Parameters if there are any, else the latest graph.
fn show(s: &State) -> String {
    match (&s.params, s.latest()) {
        (Some(p), _) => parameters(p),
        (None, g) => g.map(|g| g.print(MOST_VALUES)).unwrap_or_default(),
    }
}

fn parameters(p: &Params) -> String {
    let Params { log_n, insecure, q, p: special, gadgets, .. } = p;
    format!("log_n {log_n}, insecure {insecure}\nq {q:?}\np {special:?}\ngadgets {gadgets:?}\nlog2 QP {:.1}\n", p.log_qp())
}

/// The cases of a folder, by name: everything but snapshots and hidden files.
///
/// # Errors
/// A folder that cannot be read.
pub fn cases(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    all.retain(|p| p.extension().is_some_and(|e| ["tir", "pir", "hir"].iter().any(|x| e == *x)));
    all.sort();
    Ok(all)
}

/// Snapshots of a folder that belong to no case.
///
/// # Errors
/// A folder that cannot be read.
pub fn unreferenced(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let names: Vec<_> = cases(folder)?.iter().filter_map(|p| Some(p.file_stem()?.to_owned())).collect();
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    all.retain(|p| p.extension().is_some_and(|e| e == "snap") && !p.file_stem().is_some_and(|s| names.iter().any(|n| n == s)));
    all.sort();
    Ok(all)
}
