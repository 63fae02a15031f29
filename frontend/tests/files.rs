//! What files may look like as a whole: weights beside the model, functions, other floating-point
//! types, quantised weights, inputs without a batch or with open extents, ends of networks.

mod common;

use chiffre_frontend::{Fate, FrontendError, ImportOptions, Model, Reference, load, load_bytes, load_with, survey};
use chiffre_ir::tail::TailKind;
use chiffre_ir::tensor::interp;
use common::*;
use std::path::Path;

const IMAGE: [i64; 4] = [0, 3, 6, 6];

/// A tensor whose data lie in a file.
fn external(name: &str, shape: &[i64], entries: &[(&str, &str)]) -> Message {
    let m = shape.iter().fold(Message::default(), |m, &d| m.int(1, d)).int(2, 1).str(8, name).int(14, 1);
    entries.iter().fold(m, |m, (k, v)| m.message(13, &Message::default().str(1, k).str(2, v)))
}

fn write(folder: &Path, onnx: &Onnx) -> std::path::PathBuf {
    let path = folder.join("model.onnx");
    std::fs::write(&path, onnx.bytes()).unwrap();
    path
}

fn raw(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn weights_beside_the_model_are_read() {
    let tmp = tempfile::tempdir().unwrap();
    let w = noise(18, 5);
    let with = |t: Message| Onnx::new(17, &IMAGE).init(t).node("Conv", "x w", "y", &[]);
    let inside = with(tensor("w", &[2, 3, 3, 1], &w));
    std::fs::create_dir(tmp.path().join("data")).unwrap();
    std::fs::write(tmp.path().join("data/w.bin"), [&[7u8; 12][..], &raw(&w)].concat()).unwrap();
    let path = write(tmp.path(), &with(external("w", &[2, 3, 3, 1], &[("location", "data/w.bin"), ("offset", "12"), ("length", "72")])));
    let model = load(&path).unwrap();
    let x = noise(108, 1);
    assert_eq!(interp(&model.graph, &x, 1).unwrap(), interp(&load_bytes("inside", &inside.bytes()).unwrap().graph, &x, 1).unwrap());
    assert_eq!(Reference::load(&path).unwrap().run(&x, 1).unwrap().len(), 48);
    // The weights belong to the digest.
    std::fs::write(tmp.path().join("data/w.bin"), [&[7u8; 12][..], &raw(&noise(18, 6))].concat()).unwrap();
    assert_ne!(load(&path).unwrap().digest, model.digest);
}

#[test]
fn weights_beside_the_model_are_checked() {
    let tmp = tempfile::tempdir().unwrap();
    let folder = tmp.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(tmp.path().join("outside.bin"), [0; 72]).unwrap();
    std::fs::write(folder.join("short.bin"), [0; 71]).unwrap();
    let fails = |entries: &[(&str, &str)]| {
        let t = external("w", &[2, 3, 3, 1], entries);
        load(&write(&folder, &Onnx::new(17, &IMAGE).init(t).node("Conv", "x w", "y", &[]))).unwrap_err().to_string()
    };
    let absolute = tmp.path().join("outside.bin").display().to_string();
    for location in ["../outside.bin", "a/../../outside.bin", &absolute] {
        assert!(fails(&[("location", location)]).contains("outside of the model's folder"), "{location}");
    }
    assert!(fails(&[("location", "none.bin")]).contains("none.bin, which holds weights of the model, is missing"));
    assert!(fails(&[("location", "short.bin")]).contains("short.bin is too short: it has 71 bytes"));
    // A small file may name a large one many times.
    std::fs::write(folder.join("shared.bin"), raw(&noise(18, 1))).unwrap();
    let shared = |count: usize| {
        let tensors = (0..count).map(|i| external(&format!("w{i}"), &[2, 3, 3, 1], &[("location", "shared.bin")]));
        let model = tensors.fold(Onnx::new(17, &IMAGE), Onnx::init);
        load(&write(&folder, &model.node("Conv", "x w0", "y", &[]))).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(shared(4), Ok(()));
    assert!(shared(5).unwrap_err().contains("shared.bin more than 4 times"));
    assert!(fails(&[("location", "short.bin"), ("offset", "18446744073709551615")]).contains("too short"));
    assert!(fails(&[("location", "short.bin"), ("length", "71")]).contains("71 bytes of short.bin are named, its shape takes 72"));
    assert!(fails(&[("location", "short.bin"), ("offset", "-1")]).contains("is no number of bytes"));
    assert!(fails(&[("location", ".")]).contains("is no file"));
    assert!(fails(&[]).contains("its file is not named"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(tmp.path().join("outside.bin"), folder.join("link.bin")).unwrap();
        assert!(fails(&[("location", "link.bin")]).contains("outside of the model's folder"));
    }
}

/// `name(a, b) = Relu(a·s + b)`, with `s` the attribute `alpha` of a LeakyRelu in between.
fn function(name: &str, body: &[Message]) -> Message {
    let m = ["a", "b"].iter().fold(Message::default().str(1, name), |m, i| m.str(4, i)).str(5, "out").str(10, "own");
    let m = body.iter().fold(m.str(6, "slope"), |m, n| m.message(7, n));
    m.message(9, &Message::default().str(1, "").int(2, 17))
}

fn body_node(op: &str, domain: &str, inputs: &[&str], output: &str, attrs: &[Message]) -> Message {
    let m = inputs.iter().fold(Message::default(), |m, i| m.str(1, i)).str(2, output).str(4, op).str(7, domain);
    attrs.iter().fold(m, |m, a| m.message(5, a))
}

#[test]
fn functions_are_inlined() {
    // The attribute of the body refers to the call's.
    let alpha = Message::default().str(1, "alpha").str(21, "slope").int(20, 1);
    let inner = function("inner", &[body_node("LeakyRelu", "", &["a"], "t", &[alpha]), body_node("Add", "", &["t", "b"], "out", &[])]);
    let pass = Message::default().str(1, "slope").str(21, "slope").int(20, 1);
    let outer = function("outer", &[body_node("inner", "own", &["a", "b"], "t", &[pass]), body_node("Neg", "", &["t"], "out", &[])]);
    let base = || {
        let o = Onnx::new(17, &IMAGE).floats("one", &[], &[1.0]).floats("two", &[], &[2.0]).floats("t", &[], &[9.0]);
        let o = o.named("first", "outer", "own", "x one", "m", &[float("slope", 0.25)]);
        o.named("second", "inner", "own", "m two", "y", &[float("slope", 0.5)])
    };
    let with = |functions: &[&Message]| {
        let mut o = base();
        o.model = functions.iter().fold(o.model, |m, f| m.message(25, f));
        o
    };
    let model = check(&with(&[&inner, &outer]));
    // All of it is one function of x, named after the last node.
    assert_eq!((ops(&model).as_str(), model.graph.nodes[1].source.as_str()), ("function", "second/out"));
    let x = [-4.0f32; 108];
    // −(−4·0.25 + 1) = 0, and 0 + 2.
    assert_eq!(interp(&model.graph, &x, 1).unwrap()[0][0], 2.0);
    assert!(error(&with(&[&inner]).bytes()).contains("node \"first\" (own.outer): this operator is not supported"));
    let endless = function("inner", &[body_node("inner", "own", &["a", "b"], "out", &[])]);
    assert!(error(&with(&[&endless, &outer]).bytes()).contains("calls itself"));
    let twice = |name: &str, of: &str| {
        function(name, &[body_node(of, "own", &["a", "b"], "t", &[]), body_node(of, "own", &["t", "b"], "out", &[])])
    };
    let mut o = Onnx::new(17, &IMAGE).floats("one", &[], &[1.0]).named("many", "f30", "own", "x one", "y", &[]);
    o.model = (1..=30).fold(o.model, |m, k| m.message(25, &twice(&format!("f{k}"), &format!("f{}", k - 1))));
    assert!(error(&o.bytes()).contains("make more than"));
}

/// A tensor of another floating-point type from the bytes of its elements.
fn of_type(name: &str, ty: i64, shape: &[i64], bytes: &[u8]) -> Message {
    shape.iter().fold(Message::default(), |m, &d| m.int(1, d)).int(2, ty).str(8, name).bytes(9, bytes)
}

#[test]
fn floating_point_of_all_widths_becomes_single() {
    let (half, double) = ([0x00, 0x3e, 0x00, 0xc0], [1.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat());
    let bfloat = [0xc0, 0x3f, 0x00, 0xc0];
    for (ty, bytes) in [(10, &half[..]), (11, &double), (16, &bfloat)] {
        let o = Onnx { opset: 17, graph: Message::default(), model: Message::default() }.input("x", ty, &[0, 2]);
        let o = o.init(of_type("w", ty, &[2, 1], bytes)).node("MatMul", "x w", "m", &[]).node("Cast", "m", "y", &[int("to", ty)]);
        let model = check(&o);
        assert_eq!(interp(&model.graph, &[2.0, 1.0], 1).unwrap()[0], [1.0], "type {ty}");
    }
    let short = of_type("w", 10, &[2, 1], &[0, 0, 0]);
    let o = Onnx::new(17, &[0, 2]).init(short).node("MatMul", "x w", "y", &[]);
    assert!(error(&o.bytes()).contains("it has 3 bytes of data for shape [2, 1]"));
}

#[test]
fn quantised_weights_are_folded_and_quantised_values_left_out() {
    let q = Message::default().int(1, 2).int(1, 3).int(2, 3).str(8, "q").bytes(9, &[1, 2, 3, 0, 255, 254]);
    let base =
        Onnx::new(17, &[0, 2]).init(q).floats("s", &[2], &[0.5, 2.0]).floats("step", &[], &[0.1]).init(int_tensor("zero", &[], &[0]));
    let o = base.clone().node("DequantizeLinear", "q s", "w", &[int("axis", 0)]).node("MatMul", "x w", "y", &[]);
    let model = load_bytes("weights", &o.bytes()).unwrap();
    assert_eq!(interp(&model.graph, &[1.0, 1.0], 1).unwrap()[0], [0.5, -1.0, -2.5]);
    assert!(model.warnings.is_empty());
    let around = base.clone().node("QuantizeLinear", "x step zero", "a", &[]).node("DequantizeLinear", "a step zero", "b", &[]);
    let model = load_bytes("qdq", &around.node("Relu", "b", "y", &[]).bytes()).unwrap();
    assert_eq!(ops(&model), "activation");
    assert!(model.warnings[0].contains("1 quantisations of values are left out"), "{:?}", model.warnings);
    let open = base.node("QuantizeLinear", "x step", "a", &[]).node("Relu", "a", "y", &[]);
    assert!(error(&open.bytes()).contains("only DequantizeLinear takes"));
}

#[test]
fn inputs_without_a_batch() {
    let o = Onnx::new(13, &[3, 6, 6]).int64("zero", &[0]).weights("w", &[2, 3, 3, 3]);
    let o = o.node("Unsqueeze", "x zero", "b", &[]).node("Conv", "b w", "y", &[]);
    assert_eq!(check(&o).input_shape, [3, 6, 6]);
    let o = Onnx::new(11, &[3, 6, 6]).weights("w", &[2, 3, 3, 3]);
    let o = o.node("Unsqueeze", "x", "b", &[ints("axes", &[0])]).node("Conv", "b w", "y", &[]);
    assert_eq!(check(&o).input_shape, [3, 6, 6]);
}

#[test]
fn open_extents_are_given() {
    let tmp = tempfile::tempdir().unwrap();
    let o = Onnx::new(13, &[0, 3, 0, 0]).weights("w", &[2, 3, 3, 3]).node("Conv", "x w", "c", &[]);
    let path = write(tmp.path(), &o.node("GlobalAveragePool", "c", "y", &[]));
    let with = |shape: &[usize]| load_with(&path, &ImportOptions { input_shape: Some(shape.to_vec()), ..ImportOptions::default() });
    assert_eq!(with(&[3, 5, 7]).unwrap().input_shape, [3, 5, 7]);
    let options = ImportOptions { input_shape: Some(vec![3, 5, 7]), ..ImportOptions::default() };
    assert_eq!(Reference::load_with(&path, &options).unwrap().run(&noise(105, 2), 1).unwrap().len(), 2);
    for shape in [&[4, 5, 7][..], &[3, 5], &[3, 5, 7, 1]] {
        assert!(with(shape).unwrap_err().to_string().contains("takes images of shape 3×?×?"), "{shape:?}");
    }
    let Err(FrontendError::Obstacles { obstacles, .. }) = load(&path) else { panic!("open extents") };
    assert!(obstacles[0].open_extents);
}

/// The outputs of a model on one image, behind their tails.
fn outputs(model: &Model, x: &[f32]) -> Vec<Vec<f32>> {
    let values = interp(&model.graph, x, 1).unwrap();
    model.outputs.iter().zip(values).map(|(o, v)| o.tail.iter().fold(v, |v, op| op.apply(&v))).collect()
}

#[test]
fn what_ends_a_network_is_left_to_its_owner() {
    let base = || Onnx::new(17, &[0, 3]).int64("two", &[2]).node("Neg", "x", "n", &[]);
    let o = base().node("Softmax", "n", "p", &[]).node("ArgMax", "p", "i", &[int("axis", 1), int("keepdims", 0)]);
    let o = o.node("TopK", "p two", "v k", &[]).node("Cast", "i", "c", &[int("to", 6)]);
    let model = load_bytes("end", &o.outputs("p c v k n")).unwrap();
    assert_eq!(ops(&model), "affine");
    let y = outputs(&model, &[1.0, -2.0, 0.0]);
    assert!((y[0].iter().sum::<f32>() - 1.0).abs() < 1e-6 && (y[0][1] - 0.843_795).abs() < 1e-5, "{y:?}");
    assert_eq!((&y[1][..], &y[2][..], &y[3][..], &y[4][..]), (&[1.0][..], &y[0][1..], &[1.0, 2.0][..], &[-1.0, 2.0, 0.0][..]));
    assert_eq!(model.outputs[1].tail.iter().map(|t| t.source.as_str()).collect::<Vec<_>>(), ["/net/Softmax_p", "/net/ArgMax_i"]);
    // Before opset 13, softmax runs over all axes from the second on.
    let old = Onnx::new(11, &[0, 2, 2, 1]).node("Neg", "x", "n", &[]).node("Softmax", "n", "y", &[]);
    let model = check(&old);
    assert_eq!((model.outputs[0].tail[0].kind, model.outputs[0].tail[0].extents), (TailKind::Softmax, [1, 4, 1]));
    // A sigmoid that is read on is an activation.
    let o = base().node("Sigmoid", "n", "s", &[]).node("Neg", "s", "y", &[]);
    assert_eq!(ops(&check(&o)), "affine activation affine");
    assert!(
        error(&base().node("ArgMax", "n", "a", &[int("axis", 1)]).node("Neg", "a", "y", &[]).bytes()).contains("compares encrypted values")
    );
    assert!(error(&base().node("Softmax", "n", "y", &[int("axis", 0)]).bytes()).contains("it runs over the batch"));
}

#[test]
fn a_survey_says_what_becomes_of_every_operator() {
    let tmp = tempfile::tempdir().unwrap();
    let o = Onnx::new(17, &IMAGE).weights("w", &[2, 3, 3, 3]).node("Conv", "x w", "c", &[]).node("Tanh", "c", "t", &[]);
    let o = o.node("Flatten", "t", "f", &[]).node("Softmax", "f", "y", &[]);
    let found = survey(&write(tmp.path(), &o), &ImportOptions::default()).unwrap();
    let fates: Vec<_> = found.operators.keys().map(|(fate, op)| (*fate, op.as_str())).collect();
    assert_eq!(fates, [(Fate::Free, "Flatten"), (Fate::Exact, "Conv"), (Fate::Approximated, "Tanh"), (Fate::Tail, "Softmax")]);
    assert!(found.model.is_some() && found.obstacles.is_empty());
}
