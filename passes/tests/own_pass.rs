//! A pass of one's own with file tests, as `docs/write-a-pass.md` shows it (the page is compared with this file).

mod common;

use chiffre_ir::consts::Array;
use chiffre_ir::patch::{Patch, rewrite};
use chiffre_ir::tensor::{TensorGraph, TensorOp};
use chiffre_passes::filetest::{Runner, cases};
use chiffre_passes::registry::PassInfo;
use std::path::Path;

/// `x + x` becomes `2·x`.
fn double(g: &mut TensorGraph) {
    rewrite(g, |g, v| {
        let n = g.node(v);
        let [TensorOp::Add {}] = [&n.op] else { return None };
        (n.args[0] == n.args[1]).then(|| {
            let mut p = Patch::new(g);
            let scale = p.constant("two", Array::new(vec![1], vec![2.0]));
            let shift = p.constant("zero", Array::new(vec![1], vec![0.0]));
            p.push(TensorOp::Affine { scale, shift }, vec![n.args[0]], n.ty.clone(), &n.source);
            p
        })
    });
}

static DOUBLE: PassInfo = PassInfo {
    name: "double",
    level: "tensor",
    summary: "x + x becomes 2·x",
    requires: "any tensor IR",
    establishes: "no sum of a value with itself",
    options: &[],
    run: |mut state, _| {
        state.tensor.iter_mut().for_each(double);
        Ok(state)
    },
};

#[test]
fn cases_of_my_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/own_pass");
    let runner = Runner { own: &[&DOUBLE], facts: &common::Facts };
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for case in cases(&folder).unwrap() {
            let text = std::fs::read_to_string(&case).unwrap();
            insta::assert_snapshot!(case.file_stem().unwrap().to_str().unwrap(), runner.run(&text).unwrap());
        }
    });
    assert!(chiffre_passes::filetest::unreferenced(&folder).unwrap().is_empty());
}
