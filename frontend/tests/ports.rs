//! Several inputs in one frame, several outputs in one row.

mod common;

use chiffre_frontend::{ImportOptions, Model, Reference, load, load_with};
use chiffre_ir::tensor::{interp, verify};
use common::{Message, Onnx, int, ints, noise};

fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("m.onnx");
    std::fs::write(&path, bytes).unwrap();
    (tmp, path)
}

/// The joined graph, and the reference on the same frame, which holds something everywhere, as it
/// never does.
fn check(bytes: &[u8]) -> Model {
    let (_tmp, path) = written(bytes);
    let model = load(&path).unwrap_or_else(|e| panic!("{e}"));
    let n = 3;
    let x = noise(n * model.input_shape.iter().product::<usize>(), 5);
    let joined = verify(model.joined()).unwrap_or_else(|e| panic!("{e}"));
    let ours = interp(&joined, &x, n).unwrap();
    assert_eq!(ours.len(), 1);
    let theirs = Reference::load(&path).and_then(|r| r.run(&x, n)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(ours[0].len(), theirs.len());
    assert!(ours[0].iter().zip(&theirs).all(|(a, b)| (a - b).abs() <= 2e-5 * b.abs().max(1.0)), "{ours:?} {theirs:?}");
    let values = theirs.len() / n;
    let chw = joined.nodes[0].ty.chw();
    assert_eq!(model.interface().check(chw, values), Ok(()));
    model
}

fn conv(onnx: Onnx, x: &str, w: &str, y: &str) -> Onnx {
    onnx.node("Conv", &format!("{x} {w}"), y, &[ints("pads", &[1, 1, 1, 1])])
}

#[test]
fn inputs_of_all_shapes_share_a_frame() {
    // Two pictures of the same size.
    let pair = Onnx::new(17, &[0, 2, 6, 5]).input("other", 1, &[0, 1, 6, 5]).weights("w", &[3, 3, 3, 3]);
    let m = check(&conv(pair.node("Concat", "x other", "c", &[int("axis", 1)]), "c", "w", "y").bytes());
    assert_eq!((m.input_shape.clone(), m.inputs[1].channel), (vec![3, 6, 5], 2));
    // A small one, and a table.
    let mixed = Onnx::new(17, &[0, 1, 4, 4])
        .input("small", 1, &[0, 1, 2, 4])
        .input("row", 1, &[0, 20])
        .weights("w", &[3, 1, 3, 3])
        .weights("v", &[20, 16])
        .int64("shape", &[0, 1, 4, 4]);
    let mixed = conv(mixed, "x", "w", "a").node("MatMul", "row v", "r", &[]).node("Reshape", "r shape", "p", &[]);
    let mixed = mixed.node("Mul", "a p", "q", &[]).node("GlobalAveragePool", "small", "s", &[]).node("Add", "q s", "y", &[]);
    let m = check(&mixed.bytes());
    assert_eq!((m.input_shape.clone(), m.inputs.iter().map(|p| p.channel).collect::<Vec<_>>()), (vec![1 + 1 + 2, 4, 4], vec![0, 1, 2]));
    // Vectors, a fixed batch, and channels last.
    let m = check(&Onnx::new(17, &[2, 3]).input("b", 1, &[2, 3]).node("Mul", "x b", "y", &[]).bytes());
    assert_eq!(m.input_shape, [6]);
    let last = Onnx::new(17, &[0, 4, 5, 2]).input("b", 1, &[0, 4, 5, 2]);
    let turn = |o: Onnx, x: &str, y: &str| o.node("Transpose", x, y, &[ints("perm", &[0, 3, 1, 2])]);
    check(&turn(turn(last, "x", "p"), "b", "q").node("Mul", "p q", "y", &[]).bytes());
}

#[test]
fn outputs_lie_one_behind_the_other() {
    let onnx = Onnx::new(17, &[0, 2, 4, 4]).weights("w", &[3, 2, 3, 3]).weights("v", &[2, 2, 3, 3]);
    let onnx = conv(conv(onnx, "x", "w", "a"), "x", "v", "b");
    // Pictures of one size stay pictures; a vector makes a row of all.
    let m = check(&onnx.outputs("a b"));
    assert_eq!(m.joined().ty(m.joined().outputs[0]).chw(), [5, 4, 4]);
    let onnx = onnx.node("GlobalAveragePool", "b", "g", &[]).node("Flatten", "g", "f", &[]).node("Softmax", "f", "p", &[]);
    let m = check(&onnx.outputs("a p f"));
    let spans: Vec<_> = m.interface().outputs.iter().map(|o| (o.name.clone(), o.span(), o.shape.clone())).collect();
    // The softmax and what it is of are made of the same values.
    assert_eq!(spans, [("a".into(), 0..48, vec![3, 4, 4]), ("p".into(), 48..50, vec![2]), ("f".into(), 48..50, vec![2])]);

    let (_tmp, path) = written(&onnx.outputs("a p f"));
    let options = ImportOptions { outputs: vec!["f".into()], ..ImportOptions::default() };
    let less = load_with(&path, &options).unwrap();
    assert!(less.graph.nodes.len() < m.graph.nodes.len() && less.outputs.len() == 1);
    let x = noise(32, 1);
    assert_eq!(
        Reference::load_with(&path, &options).unwrap().run(&x, 1).unwrap(),
        Reference::load(&path).unwrap().run(&x, 1).unwrap()[48..]
    );
    let unknown = ImportOptions { outputs: vec!["q".into()], ..ImportOptions::default() };
    assert!(load_with(&path, &unknown).unwrap_err().to_string().contains("no output \"q\"; its outputs are a, p, f"));
}

#[test]
fn inputs_that_do_not_go_together_are_refused() {
    let error = |o: Onnx, options: &ImportOptions| {
        let (_tmp, path) = written(&o.node("Add", "x b", "y", &[]).bytes());
        load_with(&path, options).unwrap_err().to_string()
    };
    let plain = ImportOptions::default();
    let pair = |a: &[i64], b: &[i64]| Onnx::new(17, a).input("b", 1, b);
    assert!(error(pair(&[2, 3], &[4, 3]), &plain).contains("fix different batches"));
    assert!(error(pair(&[0, 3], &[0, 0]), &plain).contains("input \"b\" must have fixed extents"));
    let given = ImportOptions { input_shape: Some(vec![3]), ..plain };
    assert!(error(pair(&[0, 3], &[0, 3]), &given).contains("the model has several inputs"));
    let none = Onnx { opset: 17, graph: Message::default().str(2, "g"), model: Message::default() };
    let (_tmp, path) = written(&none.floats("w", &[1, 2], &[1.0, 2.0]).node("Relu", "w", "y", &[]).bytes());
    assert!(load(&path).unwrap_err().to_string().contains("the model has no input"));
}
