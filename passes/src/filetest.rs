//! Cases of passes as text files, for the tests of this crate and of crates with passes of their
//! own.
//!
//! A case is IR of any level whose first line is `# run: <pipeline> [; option]…`. Its result is the
//! text of what the pipeline leaves, with the values of small constants, or the error. Options:
//! `batch=N` (2 if not given), `log-n=N`, `allow-insecure`, `calibrate=N` (on N images of noise),
//! `logit-error=SHARE` (the most that the degree may leave), `refresh=NODE:DEGREE`.
//!
//! [`file_tests!`](crate::file_tests) tests a folder of cases, also with passes of your own:
//! `passes/tests/own_pass.rs` and `docs/write-a-pass.md`. [`Runner`] runs one:
//!
//! ```
//! use chiffre_passes::filetest::{NoFacts, Runner};
//! let text = "# run: fold-affine\ntensor @t {\n  %0 = input : f32[2]\n  return %0\n}";
//! let result = Runner { own: &[], facts: &NoFacts }.run(text).unwrap();
//! assert_eq!(result, "tensor @t {\n  %0 = input : f32[2]\n  return %0\n}\n");
//! ```

use crate::options::{AccuracyTarget, ActivationPlan, CalibrationSet, CompileOptions};
use crate::pass::{Context, PassInfo};
use crate::pipeline::Pipeline;
use crate::state::State;
use chiffre_backend::ckks::Ckks;
use chiffre_backend::cost::CostModel;
pub use chiffre_backend::facts::NoFacts;
use chiffre_backend::facts::ParameterFacts;
use chiffre_backend::target::Params;
use chiffre_ir::level::AnyGraph;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Constants with at most so many values are printed with them.
pub const MOST_VALUES: usize = 64;

/// Tests every case of a folder: its result is the insta snapshot beside it, `<case>.snap`.
///
/// Arguments: the folder, from the manifest of the crate that tests; passes that pipelines may name
/// beside the compiler's; the parameter table ([`NoFacts`](crate::filetest::NoFacts) where no
/// pipeline chooses parameters). The crate needs `insta` as a dependency for development. Fails as
/// [`results`](crate::filetest::results) does, and where a snapshot differs; `INSTA_UPDATE=always`
/// writes snapshots.
///
/// ```no_run
/// #[test]
/// fn cases_of_my_pass() {
///     chiffre_passes::file_tests!("tests/my_pass", &[], &chiffre_passes::filetest::NoFacts);
/// }
/// ```
#[macro_export]
macro_rules! file_tests {
    ($folder:expr, $own:expr, $facts:expr $(,)?) => {{
        let folder = ::std::path::Path::new(::std::env!("CARGO_MANIFEST_DIR")).join($folder);
        let results = $crate::filetest::results(&folder, &$crate::filetest::Runner { own: $own, facts: $facts });
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| {
            for (case, text) in results.unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
                insta::assert_snapshot!(case, text);
            }
        });
    }};
}

/// Name and result of every case of a folder, by name.
///
/// # Errors
/// A folder that cannot be read or has no cases, a case that is wrong ([`Runner::run`]), and a
/// snapshot without a case.
pub fn results(folder: &Path, runner: &Runner) -> Result<Vec<(String, String)>, String> {
    let unreadable = |e: std::io::Error| e.to_string();
    let cases = cases(folder).map_err(unreadable)?;
    if cases.is_empty() {
        return Err("no cases".into());
    }
    if let Some(snapshot) = unreferenced(folder).map_err(unreadable)?.first() {
        return Err(format!("{} belongs to no case", snapshot.display()));
    }
    let one = |path: PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        let result = runner.run(&text).map_err(|e| format!("{name}: {e}"))?;
        Ok((name, result))
    };
    cases.into_iter().map(one).collect()
}

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
    /// A case without a `# run:` line, with an unknown option, or with IR that does not parse or
    /// verify: the case is wrong, not the pass.
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
                Some(("log-n", n)) => options.log_n = Some(n.parse().map_err(|_| format!("option `{w}` needs a number"))?),
                Some(("calibrate", n)) => {
                    let n = number(n)?;
                    let shape = state.latest().and_then(|g| g.input_shape()).unwrap_or_default();
                    let set = CalibrationSet { images: noise(n * shape.iter().product::<usize>()), n, labels: None };
                    options.activations.calibration = Some(Arc::new(set));
                }
                Some(("logit-error", x)) => {
                    options.activations.target = AccuracyTarget::LogitError(x.parse().map_err(|_| format!("option `{w}` needs a number"))?);
                }
                Some(("refresh", plan)) => {
                    let (node, degree) = plan.split_once(':').ok_or_else(|| format!("option `{w}` needs NODE:DEGREE"))?;
                    options.activations.plans.insert(node.into(), ActivationPlan { refresh: true, degree: number(degree)? });
                }
                None if w == "allow-insecure" => options.allow_insecure = true,
                _ => return Err(format!("unknown option `{w}`")),
            }
        }
        let cx = Context { options: &options, target: &Ckks::new(self.facts), machine: &CostModel::default() };
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

/// Parameters if nothing was made of them yet, else the latest graph.
fn show(s: &State) -> String {
    match (s.params(), s.latest()) {
        (Some(p), _) if s.program().is_none() => parameters(p),
        (_, g) => g.map(|g| g.print(MOST_VALUES)).unwrap_or_default(),
    }
}

fn parameters(p: &Params) -> String {
    let Params { log_n, insecure, q, p: special, gadgets, .. } = p;
    let gadgets: Vec<String> = gadgets.iter().map(|(limbs, g)| format!("{limbs}: {g}")).collect();
    format!("log_n {log_n}, insecure {insecure}\nq {q:?}\np {special:?}\ngadgets {{{}}}\nlog2 QP {:.1}\n", gadgets.join(", "), p.log_qp())
}

/// The cases of a folder, by name: everything but snapshots and hidden files.
///
/// # Errors
/// A folder that cannot be read.
pub fn cases(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    all.retain(|p| p.extension().is_some_and(|e| ["tir", "qir", "pir", "hir"].iter().any(|x| e == *x)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_test_nothing_are_refused() {
        let folder = std::env::temp_dir().join(format!("chiffre-filetest-{}", std::process::id()));
        let runner = Runner { own: &[], facts: &NoFacts };
        let case = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        assert!(results(&folder, &runner).is_err(), "not there");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(results(&folder, &runner).unwrap_err(), "no cases");
        let text = "tensor @t {\n  %0 = input : f32[2]\n  return %0\n}\n";
        case("a.tir", &format!("# run: fold-affine\n{text}"));
        assert_eq!(results(&folder, &runner), Ok(vec![("a".into(), text.into())]));
        case("b.snap", "");
        assert!(results(&folder, &runner).unwrap_err().ends_with("b.snap belongs to no case"));
        case("b.tir", text);
        assert_eq!(results(&folder, &runner).unwrap_err(), "b: the first line must be `# run: <pipeline>`");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
