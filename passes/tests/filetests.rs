//! File tests: `filetests/<pass>/<case>.{tir,pir,hir}` → `<case>.snap` beside it.
//!
//! The first line of a case is `# run: <pipeline> [; option=value …]`. The result is the text of the latest level, with the values of small
//! constants, or the error. `INSTA_UPDATE=always cargo test -p chiffre-passes --test filetests` writes the results; review them.

mod common;

use chiffre_ir::graph::{Dialect, Graph};
use chiffre_ir::text::{parse, print};
use chiffre_passes::cost::CostModel;
use chiffre_passes::options::{AccuracyTarget, ActivationPlan, CalibrationSet, CompileOptions};
use chiffre_passes::pipeline::{Context, Pipeline, State};
use chiffre_passes::registry::PASSES;
use common::{Facts, Rng};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let mut v: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    v.sort();
    v
}

fn read<D: Dialect>(path: &Path, text: &str) -> Graph<D> {
    parse(text).unwrap_or_else(|e| panic!("{}: {}", path.display(), e.with_caret(text)))
}

/// The text of a graph with the values of small constants, so that it can be read and parsed again.
fn show<D: Dialect>(g: &Graph<D>) -> String {
    let mut s = print(g);
    for (_, c) in g.consts.iter() {
        if let Some(a) = c.data.as_ref().filter(|a| a.data.len() <= 64) {
            let values: Vec<String> = a.data.iter().map(f32::to_string).collect();
            s = s.replacen(&format!("blake3:{}", c.hash), &format!("= [{}]", values.join(", ")), 1);
        }
    }
    s
}

fn run(path: &Path, text: &str) -> String {
    let first = text.lines().next().and_then(|l| l.strip_prefix("# run: "));
    let first = first.unwrap_or_else(|| panic!("{}: the first line must be `# run: <pipeline>`", path.display()));
    let mut words = first.split(';').map(str::trim);
    let spec = words.next().unwrap_or_default();
    let mut options = CompileOptions { batch: 2, ..CompileOptions::default() };
    let mut images = 0;
    for w in words {
        match w.split_once('=') {
            Some(("batch", n)) => options.batch = n.parse().unwrap(),
            Some(("log-n", n)) => options.log_n = Some(n.parse().unwrap()),
            // That many images of numbers in [-1, 1).
            Some(("calibrate", n)) => images = n.parse().unwrap(),
            Some(("agreement", x)) => options.activations.target = AccuracyTarget::Agreement(x.parse().unwrap()),
            // node:degree
            Some(("refresh", plan)) => {
                let (node, degree) = plan.split_once(':').unwrap();
                options.activations.plans.insert(node.into(), ActivationPlan { refresh: true, degree: degree.parse().unwrap() });
            }
            None if w == "allow-insecure" => options.allow_insecure = true,
            _ => panic!("{}: unknown option `{w}`", path.display()),
        }
    }
    let mut state = State::default();
    match path.extension().and_then(|e| e.to_str()) {
        Some("tir") => {
            let g = read(path, text);
            state.tensor = Some(chiffre_ir::tensor::verify(g).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_inner());
        }
        Some("pir") => {
            let g = read(path, text);
            state.packed = Some(chiffre_ir::packed::verify(g).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_inner());
        }
        // HE IR may lack its relinearisations here.
        Some("hir") => state.he = Some(read(path, text)),
        _ => panic!("{}: unknown kind of file", path.display()),
    }
    if let Some(g) = state.tensor.as_ref().filter(|_| images > 0) {
        let images = Rng(1).array(&[images, g.nodes[0].ty.len()], 1.0);
        options.activations.calibration = Some(Arc::new(CalibrationSet { n: images.shape[0], images: images.data, labels: None }));
    }
    let cx = Context { options: &options, facts: &Facts, cost: &CostModel::default() };
    match Pipeline::parse(spec).and_then(|p| p.run(state, &cx, |_, _, _| {})) {
        Err(e) => format!("error: {e}\n"),
        Ok(s) => match (&s.params, &s.he, &s.packed, &s.tensor) {
            (Some(p), ..) => {
                format!(
                    "log_n {}, insecure {}\nq {:?}\np {:?}\ngadgets {:?}\nlog2 QP {:.1}\n",
                    p.log_n,
                    p.insecure,
                    p.q,
                    p.p,
                    p.gadgets,
                    p.log_qp()
                )
            }
            (_, Some(g), ..) => show(g),
            (_, _, Some(g), _) => show(g),
            (.., Some(g)) => show(g),
            _ => String::new(),
        },
    }
}

fn folder(name: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests").join(name);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&dir);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let cases: Vec<PathBuf> = sorted(&dir).into_iter().filter(|p| p.extension().is_some_and(|e| e != "snap" && e != "new")).collect();
    assert!(cases.len() >= 2, "{name} has {} cases", cases.len());
    settings.bind(|| {
        for path in cases {
            let text = std::fs::read_to_string(&path).unwrap();
            insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), run(&path, &text));
        }
    });
}

macro_rules! folders {
    ($($test:ident = $name:literal),* $(,)?) => { $( #[test] fn $test() { folder($name); } )* const FOLDERS: &[&str] = &[$($name),*]; };
}
folders! {
    recognise_activation = "recognise-activation",
    fold_affine = "fold-affine",
    compose_linear = "compose-linear",
    remove_dead_channels = "remove-dead-channels",
    calibrate_activations = "calibrate-activations",
    approximate_activations = "approximate-activations",
    fold_scales = "fold-scales",
    lower_linear = "lower-linear",
    assign_levels = "assign-levels",
    place_relin = "place-relin",
    select_params = "select-params",
    pipelines = "pipeline",
}

/// `choose-layout` shows in the types that `lower-linear` prints; `schedule` is tested with the backend.
#[test]
fn every_pass_has_a_folder() {
    for p in PASSES {
        assert!(FOLDERS.contains(&p.name) || ["choose-layout", "schedule"].contains(&p.name), "{} has no file tests", p.name);
    }
}

#[test]
fn specs_are_refused_with_a_reason() {
    let cases = [
        ("fold-afine", "unknown pass `fold-afine`; did you mean `fold-affine`? (`chiffre passes` lists them) [pass pipeline]"),
        ("tensor(place-relin)", "`place-relin` is a pass on he IR, not in the group tensor(…) [pass pipeline]"),
        ("choose-layout{degree=3}", "pass `choose-layout` has no option `degree` [pass pipeline]"),
        ("choose-layout{log-n}", "option `log-n` of `choose-layout`: expected key=value [pass pipeline]"),
        ("choose-layout{log-n=10", "the options of `choose-layout` are not closed [pass pipeline]"),
        ("tensor(fold-affine", "a group is not closed [pass pipeline]"),
        ("fold-affine)", "`)` without `(` [pass pipeline]"),
        ("tensor(he(place-relin))", "`he(`: groups are tensor(…), packed(…) and he(…), not nested [pass pipeline]"),
        ("ring(fold-affine)", "`ring(`: groups are tensor(…), packed(…) and he(…), not nested [pass pipeline]"),
    ];
    for (spec, message) in cases {
        assert_eq!(Pipeline::parse(spec).unwrap_err().to_string(), message);
    }
    let steps = Pipeline::parse(chiffre_passes::pipeline::DEFAULT).unwrap().steps;
    assert_eq!(steps.iter().map(|s| s.pass.name).collect::<Vec<_>>(), PASSES.iter().map(|p| p.name).collect::<Vec<_>>());
}
