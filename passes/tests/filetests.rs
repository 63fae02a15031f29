//! File tests: `filetests/<pass>/<case>.{tir,qir,pir,hir}` → `<case>.snap` beside it;
//! `chiffre_passes::filetest` says how cases are written.
//!
//! `INSTA_UPDATE=always cargo test -p chiffre-passes --test filetests` writes the results; review
//! them.

mod common;

use chiffre_passes::filetest::{Runner, cases, unreferenced};
use chiffre_passes::pass::Level;
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::registry::PASSES;
use common::Facts;
use std::path::{Path, PathBuf};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests").join(name)
}

fn folder(name: &str) {
    let count = cases(&directory(name)).unwrap().len();
    assert!(count >= 2, "{name} has {count} cases");
    chiffre_passes::file_tests!(directory(name), &[], &Facts);
}

macro_rules! folders {
    ($($test:ident = $name:literal),* $(,)?) => { $( #[test] fn $test() { folder($name); } )* const FOLDERS: &[&str] = &[$($name),*]; };
}
folders! {
    recognise_activation = "recognise-activation",
    lower_max_pool = "lower-max-pool",
    minimise_products = "minimise-products",
    fold_affine = "fold-affine",
    compose_linear = "compose-linear",
    remove_dead_channels = "remove-dead-channels",
    calibrate_activations = "calibrate-activations",
    approximate_activations = "approximate-activations",
    fold_scales = "fold-scales",
    quantise = "quantise",
    fit_accumulators = "fit-accumulators",
    argmax = "argmax",
    select_tfhe_params = "select-tfhe-params",
    lower_linear = "lower-linear",
    assign_levels = "assign-levels",
    place_relin = "place-relin",
    select_params = "select-params",
    pipelines = "pipeline",
}

/// IR that is wrong, and what is said about it.
#[test]
fn diagnostics() {
    let dir = directory("diagnostics");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&dir);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let runner = Runner { own: &[], facts: &Facts };
    settings.bind(|| {
        for path in cases(&dir).unwrap() {
            let result = runner.run(&std::fs::read_to_string(&path).unwrap());
            insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), result.unwrap_or_else(|e| e));
        }
    });
}

/// Passes whose result is no graph: `choose-layout` shows in the types that `lower-linear` prints,
/// `calibrate-activations` in what `approximate-activations` fits, `place-bootstraps` is tested in
/// `place.rs`, `schedule` with the backend.
#[test]
fn every_pass_has_a_folder() {
    for p in PASSES {
        assert!(
            FOLDERS.contains(&p.name) || ["choose-layout", "calibrate-activations", "place-bootstraps", "schedule"].contains(&p.name),
            "{} has no file tests",
            p.name
        );
    }
}

/// Every folder is run by a test, and every snapshot belongs to a case.
#[test]
fn no_snapshot_is_left_over() {
    for entry in std::fs::read_dir(directory("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(FOLDERS.contains(&name) || name == "diagnostics", "no test runs the cases of {name}");
        assert_eq!(unreferenced(&path).unwrap(), Vec::<PathBuf>::new(), "snapshots without a case");
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
        ("tensor(he(place-relin))", "`he(`: groups are tensor(…), quant(…), packed(…) and he(…), not nested [pass pipeline]"),
        ("ring(fold-affine)", "`ring(`: groups are tensor(…), quant(…), packed(…) and he(…), not nested [pass pipeline]"),
    ];
    for (spec, message) in cases {
        assert_eq!(Pipeline::parse(spec).unwrap_err().to_string(), message);
    }
    // The table has the passes of the default pipeline in its order, and between them those on
    // integers, in the order of theirs. `argmax` is there for those who want nothing else.
    let names = |quant: bool| PASSES.iter().filter(|p| (p.level == Level::Quant) == quant).map(|p| p.name).collect::<Vec<_>>();
    let steps = |spec: &str| Pipeline::parse(spec).unwrap().entries.iter().map(|s| s.pass).collect::<Vec<_>>();
    assert_eq!(steps(chiffre_passes::pipeline::DEFAULT).iter().map(|p| p.name).collect::<Vec<_>>(), names(false));
    let on_integers = steps(chiffre_backend::tfhe::PIPELINE).into_iter().filter(|p| p.level == Level::Quant);
    let always = names(true).into_iter().filter(|name| *name != "argmax").collect::<Vec<_>>();
    assert_eq!(on_integers.map(|p| p.name).collect::<Vec<_>>(), always);
}
