//! A pass of one's own with file tests, as `docs/write-a-pass.md` shows it (the page is compared
//! with this file).

use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::patch::{Patch, rewrite};
use chiffre_ir::tensor::{Tensor, TensorGraph, TensorOp};
use chiffre_passes::filetest::NoFacts;
use chiffre_passes::pass::PassInfo;

/// `x + x` becomes `2·x`.
fn double(g: &TensorGraph, v: ValueId) -> Option<Patch<Tensor>> {
    let n = g.node(v);
    let same = matches!(n.op, TensorOp::Add {}) && n.args[0] == n.args[1];
    same.then(|| {
        let mut p = Patch::new(g);
        let scale = p.constant("two", Array::new(vec![1], vec![2.0]));
        let shift = p.constant("zero", Array::new(vec![1], vec![0.0]));
        p.push(TensorOp::Affine { scale, shift }, vec![n.args[0]], n.ty.clone(), &n.source);
        p
    })
}

static DOUBLE: PassInfo = PassInfo::tensor("double", "x + x becomes 2·x", |g, _| {
    let mut g = g.clone();
    rewrite(&mut g, double);
    Ok(g)
});

#[test]
fn cases_of_my_pass() {
    chiffre_passes::file_tests!("tests/own_pass", &[&DOUBLE], &NoFacts);
}
