//! Every supported operator against the clear reference, in the forms that exporters write.

mod common;

use common::*;

const IMAGE: [i64; 4] = [0, 3, 6, 6];

/// A model of one node `op x, … -> y`.
fn single(opset: i64, op: &str, attrs: &[Message]) -> Onnx {
    Onnx::new(opset, &IMAGE).node(op, "x", "y", attrs)
}

#[test]
fn convolutions() {
    let conv = |attrs: &[Message]| {
        let o = Onnx::new(17, &IMAGE).weights("w", &[4, 3, 3, 3]).weights("bias", &[4]).node("Conv", "x w bias", "y", attrs);
        ops(&check(&o))
    };
    assert_eq!(conv(&[]), "conv2d");
    conv(&[ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2]), ints("kernel_shape", &[3, 3]), int("group", 1)]);
    conv(&[ints("pads", &[2, 0, 1, 3]), ints("dilations", &[2, 1])]);
    conv(&[string("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])]);
    conv(&[string("auto_pad", "SAME_LOWER"), ints("strides", &[2, 3])]);
    conv(&[string("auto_pad", "VALID")]);
    let o = Onnx::new(9, &IMAGE).weights("w", &[2, 3, 1, 1]).node("Conv", "x w", "y", &[ints("strides", &[2, 2])]);
    check(&o);
}

#[test]
fn convolutions_in_groups() {
    let conv = |shape: &[i64], attrs: &[Message]| {
        let o = Onnx::new(17, &[0, 4, 6, 7]).weights("w", shape).weights("bias", &shape[..1]).node("Conv", "x w bias", "y", attrs);
        assert_eq!(ops(&check(&o)), "conv2d");
    };
    conv(&[4, 1, 3, 3], &[int("group", 4), ints("pads", &[1, 1, 1, 1])]);
    conv(&[8, 1, 3, 2], &[int("group", 4), ints("strides", &[2, 1])]);
    conv(&[6, 2, 3, 3], &[int("group", 2), ints("pads", &[0, 1, 2, 1]), ints("dilations", &[2, 1])]);
}

#[test]
fn windows_along_one_axis() {
    let base = || Onnx::new(17, &[0, 4, 20]).weights("w", &[6, 2, 3]).weights("g", &[6]).floats("v", &[6], &[0.5; 6]);
    let conv = base().node("Conv", "x w g", "c", &[int("group", 2), ints("pads", &[2, 0]), ints("strides", &[2]), ints("dilations", &[2])]);
    let o = conv.clone().node("BatchNormalization", "c g g g v", "b", &[]).node("Relu", "b", "r", &[]);
    let o = o.node("AveragePool", "r", "y", &[ints("kernel_shape", &[2]), ints("strides", &[2])]);
    let model = check(&o);
    assert_eq!(ops(&model), "conv2d affine activation avg_pool");
    assert_eq!(model.graph.ty(model.graph.outputs[0]).shape, [6, 4, 1]);
    check(&conv.node("GlobalAveragePool", "c", "p", &[]).node("Flatten", "p", "y", &[]));
}

#[test]
fn batch_normalisation() {
    let o = Onnx::new(15, &IMAGE).weights("gamma", &[3]).weights("beta", &[3]).weights("running", &[3]);
    let o = o.floats("var", &[3], &[0.5, 1.0, 2.0]).node("BatchNormalization", "x gamma beta running var", "y", &[float("epsilon", 1e-3)]);
    assert_eq!(ops(&check(&o)), "affine");
}

#[test]
fn fully_connected() {
    let base = || Onnx::new(13, &[0, 5]).weights("w", &[4, 5]).weights("wt", &[5, 4]).weights("c", &[4]).floats("c1", &[1, 1], &[0.5]);
    assert_eq!(ops(&check(&base().node("Gemm", "x w c", "y", &[int("transB", 1)]))), "linear");
    check(&base().node("Gemm", "x wt c1", "y", &[float("alpha", 0.5), float("beta", -2.0)]));
    check(&base().node("Gemm", "x wt", "y", &[]));
    assert_eq!(ops(&check(&base().node("MatMul", "x wt", "m", &[]).node("Add", "m c", "y", &[]))), "linear affine");
}

#[test]
fn constants_broadcast_elementwise() {
    let base = || {
        let o = Onnx::new(14, &IMAGE).floats("s", &[], &[0.75]).weights("c3", &[3, 1, 1]).weights("c4", &[1, 3, 1, 1]);
        o.weights("full", &[3, 6, 6]).weights("row", &[6]).floats("flat", &[1, 3, 2, 1], &[1.; 6])
    };
    for op in ["Add", "Sub", "Mul", "Div"] {
        for c in ["s", "c3", "c4"] {
            assert_eq!(ops(&check(&base().node(op, &format!("x {c}"), "y", &[]))), "affine", "{op} {c}");
        }
    }
    for op in ["Add", "Sub"] {
        assert_eq!(ops(&check(&base().node(op, "x full", "y", &[]))), "add_const");
        check(&base().node(op, "x row", "y", &[]));
        check(&base().node(op, "full x", "y", &[]));
    }
    assert_eq!(ops(&check(&base().node("Sub", "c4 x", "y", &[]))), "affine affine");
    assert_eq!(ops(&check(&base().node("Mul", "c3 x", "y", &[]))), "affine");
    assert_eq!(ops(&check(&base().node("Neg", "x", "y", &[]))), "affine");
}

#[test]
fn values_elementwise() {
    let two = |op: &str| {
        let o = Onnx::new(14, &IMAGE).node("Relu", "x", "a", &[]).node("Sigmoid", "x", "b", &[]);
        ops(&check(&o.node(op, "a b", "y", &[])))
    };
    // Two functions of one value are one.
    for op in ["Add", "Sub", "Mul", "Div"] {
        assert_eq!(two(op), "function");
    }
    // Of two values, they are not.
    let o = Onnx::new(14, &IMAGE).weights("w", &[3, 3, 1, 1]).node("Conv", "x w", "c", &[]).node("Relu", "x", "a", &[]);
    for (op, want) in [("Add", "add"), ("Sub", "sub"), ("Mul", "mul")] {
        assert_eq!(
            ops(&check(&o.clone().node("Tanh", "c", "b", &[]).node(op, "a b", "y", &[]))),
            format!("conv2d activation activation {want}")
        );
    }
    let o = Onnx::new(14, &IMAGE).floats("s", &[1], &[2.0]).node("Sum", "x s x", "y", &[]);
    assert_eq!(ops(&check(&o)), "affine add");
    assert_eq!(ops(&check(&Onnx::new(14, &IMAGE).node("Mul", "x x", "y", &[]))), "square");
    for (e, want) in [(1.0, ""), (2.0, "square"), (3.0, "poly"), (5.0, "poly")] {
        let o = Onnx::new(14, &IMAGE).floats("e", &[], &[e]).node("Identity", "x", "i", &[]).node("Pow", "i e", "y", &[]);
        assert_eq!(ops(&check(&o)), want);
    }
}

#[test]
fn activations() {
    for (op, attrs) in
        [("Relu", vec![]), ("Sigmoid", vec![]), ("Tanh", vec![]), ("HardSwish", vec![]), ("LeakyRelu", vec![float("alpha", 0.2)])]
    {
        let o = Onnx::new(17, &IMAGE).node(op, "x", "a", &attrs).node("Neg", "a", "y", &[]);
        assert_eq!(ops(&check(&o)), "activation affine");
    }
    assert_eq!(ops(&check(&single(17, "HardSigmoid", &[float("alpha", 0.3)]))), "affine activation");
    let slopes = Onnx::new(17, &IMAGE).floats("slope", &[3, 1, 1], &[0.25; 3]).node("PRelu", "x slope", "y", &[]);
    assert_eq!(ops(&check(&slopes)), "activation");
}

#[test]
fn activations_spelled_out() {
    let silu = Onnx::new(17, &IMAGE).node("Sigmoid", "x", "s", &[]).node("Mul", "s x", "y", &[]);
    assert_eq!(ops(&check(&silu)), "activation");
    let hard = Onnx::new(14, &IMAGE).node("HardSigmoid", "x", "s", &[float("alpha", 1.0 / 6.0)]).node("Mul", "x s", "y", &[]);
    assert_eq!(ops(&check(&hard)), "activation");
    let c = Onnx::new(14, &IMAGE).floats("three", &[], &[3.]).floats("six", &[], &[6.]).floats("zero", &[], &[0.]);
    let hard = c.node("Add", "x three", "a", &[]).node("Clip", "a zero six", "b", &[]).node("Mul", "x b", "m", &[]);
    assert_eq!(ops(&check(&hard.node("Div", "m six", "y", &[]))), "activation affine affine");
    let c = Onnx::new(14, &IMAGE).floats("r2", &[], &[2f32.sqrt()]).floats("one", &[], &[1.]).floats("half", &[], &[0.5]);
    let erf = c.node("Div", "x r2", "d", &[]).node("Erf", "d", "e", &[]).node("Add", "e one", "p", &[]);
    let gelu = erf.clone().node("Mul", "x p", "m", &[]).node("Mul", "m half", "y", &[]);
    assert_eq!(ops(&check(&gelu)), "activation");
    let gelu = erf.node("Mul", "x half", "h", &[]).node("Mul", "h p", "y", &[]);
    assert_eq!(ops(&check(&gelu)), "activation");
}

#[test]
fn clips() {
    assert_eq!(ops(&check(&single(9, "Clip", &[float("min", 0.0), float("max", 6.0)]))), "activation");
    assert_eq!(ops(&check(&single(9, "Clip", &[float("min", 0.0)]))), "activation");
    let c = |op: &str, inputs: &str| {
        let o = Onnx::new(13, &IMAGE).floats("lo", &[], &[-1.0]).floats("hi", &[], &[1.5]);
        ops(&check(&o.node(op, inputs, "y", &[])))
    };
    assert_eq!(c("Clip", "x lo hi"), "affine activation affine");
    assert_eq!(c("Clip", "x - hi"), "affine activation affine");
    assert_eq!(c("Max", "x lo"), "affine activation affine");
    assert_eq!(c("Min", "hi x"), "affine activation affine");
    assert_eq!(c("Max", "x"), "");
    // Limits of channels, and values among each other.
    let o = Onnx::new(13, &IMAGE).weights("l", &[3, 1, 1]).weights("w", &[3, 3, 1, 1]).node("Conv", "x w", "c", &[]);
    assert_eq!(ops(&check(&o.clone().node("Max", "x l", "y", &[]))), "function");
    for op in ["Max", "Min"] {
        assert!(ops(&check(&o.clone().node(op, "x c", "y", &[]))).contains("sub function add"), "{op}");
    }
}

#[test]
fn pooling() {
    let k = |n: i64| ints("kernel_shape", &[n, n]);
    for op in ["AveragePool", "MaxPool"] {
        check(&single(11, op, &[k(2), ints("strides", &[2, 2])]));
        check(&single(11, op, &[k(3), ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1])]));
        check(&single(11, op, &[k(3), string("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])]));
        check(&single(11, op, &[k(4), ints("strides", &[4, 4]), int("ceil_mode", 1)]));
        check(&single(11, op, &[k(2), ints("strides", &[2, 2]), int("ceil_mode", 1)]));
    }
    check(&single(11, "AveragePool", &[k(3), ints("pads", &[1, 1, 1, 1]), int("count_include_pad", 1)]));
    check(&single(11, "GlobalAveragePool", &[]));
    check(&single(11, "GlobalMaxPool", &[]));
    // Padding counts, what the partial last window reads behind it does not.
    let partial = [k(3), ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1]), int("ceil_mode", 1), int("count_include_pad", 1)];
    let o = Onnx::new(11, &[0, 3, 6, 5]).node("AveragePool", "x", "y", &partial);
    let model = chiffre_frontend::load_bytes("partial", &o.bytes()).unwrap();
    assert_eq!(ops(&model), "pad avg_pool");
    let y = chiffre_ir::tensor::interp(&model.graph, &[1.0; 90], 1).unwrap().remove(0);
    assert_eq!(y[..12], [4.0 / 9.0, 6.0 / 9.0, 4.0 / 9.0, 6.0 / 9.0, 1.0, 6.0 / 9.0, 6.0 / 9.0, 1.0, 6.0 / 9.0, 1.0 / 3.0, 0.5, 1.0 / 3.0]);
    let dilated = single(19, "AveragePool", &[k(2), ints("dilations", &[2, 3])]);
    let model = chiffre_frontend::load_bytes("dilated", &dilated.bytes()).unwrap();
    assert_eq!(ops(&model), "conv2d");
    let x = noise(108, 3);
    let y = chiffre_ir::tensor::interp(&model.graph, &x, 1).unwrap().remove(0);
    assert!((y[0] - (x[0] + x[3] + x[12] + x[15]) / 4.0).abs() < 1e-6);
}

#[test]
fn reductions() {
    for op in ["ReduceMean", "ReduceSum"] {
        check(&single(11, op, &[ints("axes", &[2, 3])]));
        check(&single(11, op, &[ints("axes", &[-1, -2]), int("keepdims", 0)]));
        check(&single(11, op, &[ints("axes", &[3]), int("keepdims", 0)]));
        let o = Onnx::new(18, &IMAGE).int64("axes", &[2, 3]).node(op, "x axes", "y", &[int("keepdims", 0)]);
        check(&o);
    }
    for axes in [&[1][..], &[1, 2], &[1, 2, 3], &[-3, -1]] {
        check(&single(11, "ReduceMean", &[ints("axes", axes)]));
        check(&single(11, "ReduceSum", &[ints("axes", axes), int("keepdims", 0)]));
    }
    let o = Onnx::new(13, &[0, 5]).int64("axes", &[1]).node("ReduceSum", "x axes", "y", &[]);
    assert_eq!(ops(&check(&o)), "linear");
    // Mean over H·W of a value seen as N×C×(H·W).
    let o = Onnx::new(11, &IMAGE).int64("s", &[0, 3, -1]).node("Reshape", "x s", "r", &[]);
    assert_eq!(ops(&check(&o.node("ReduceMean", "r", "y", &[ints("axes", &[2]), int("keepdims", 0)]))), "avg_pool flatten");
}

#[test]
fn ways_to_flatten() {
    let tail = |o: Onnx| check(&o.weights("w", &[108, 2]).node("MatMul", "f w", "y", &[]));
    assert_eq!(ops(&tail(single(13, "Flatten", &[]).node("Flatten", "x", "f", &[int("axis", 1)]))), "flatten linear");
    for shape in [[-1, 108], [0, -1], [0, 108]] {
        tail(Onnx::new(13, &IMAGE).int64("s", &shape).node("Reshape", "x s", "f", &[]));
    }
    // x.view(x.size(0), -1)
    let o = Onnx::new(13, &IMAGE).init(int_tensor("zero", &[], &[0])).int64("minus", &[-1]).int64("ax", &[0]);
    let o = o.node("Shape", "x", "shape", &[]).node("Gather", "shape zero", "n", &[int("axis", 0)]);
    let o = o.node("Unsqueeze", "n ax", "n1", &[]).node("Concat", "n1 minus", "target", &[int("axis", 0)]);
    tail(o.node("Reshape", "x target", "f", &[]));
    // Pool, squeeze, unsqueeze, identity transposes.
    let o = single(13, "GlobalAveragePool", &[]).int64("ax", &[2, 3]).weights("w", &[3, 2]);
    let o = o.node("GlobalAveragePool", "x", "p", &[]).node("Squeeze", "p ax", "q", &[]).node("Unsqueeze", "q ax", "r", &[]);
    let o = o.node("Transpose", "r", "t", &[ints("perm", &[0, 2, 3, 1])]).node("Squeeze", "t", "u", &[]);
    assert_eq!(ops(&check_bytes(&o.node("MatMul", "u w", "z", &[]).outputs("z"))), "avg_pool flatten linear");
}

#[test]
fn shortcuts_by_slice_and_pad() {
    let o = Onnx::new(13, &IMAGE).int64("st", &[0, 0]).int64("en", &[i64::MAX, i64::MAX]).int64("ax", &[2, 3]).int64("step", &[2, 2]);
    let o = o.node("Slice", "x st en ax step", "s", &[]).int64("pads", &[0, 2, 0, 0, 0, 1, 0, 0]);
    assert_eq!(ops(&check(&o.node("Pad", "s pads", "y", &[string("mode", "constant")]))), "slice pad");
    let o = Onnx::new(9, &IMAGE).node("Slice", "x", "s", &[ints("starts", &[1, -4]), ints("ends", &[3, -1]), ints("axes", &[1, 3])]);
    assert_eq!(ops(&check(&o.node("Pad", "s", "y", &[ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])]))), "slice pad");
}

#[test]
fn negative_pads_crop() {
    let o = Onnx::new(13, &IMAGE).int64("pads", &[0, 0, -1, 2, 0, 0, -2, 0]).node("Pad", "x pads", "y", &[]);
    let model = chiffre_frontend::load_bytes("crop", &o.bytes()).unwrap();
    assert_eq!(ops(&model), "slice pad");
    let x = noise(108, 1);
    let y = chiffre_ir::tensor::interp(&model.graph, &x, 1).unwrap().remove(0);
    assert_eq!(y.len(), 3 * 3 * 8);
    assert_eq!((y[1], y[2], y[8 + 7]), (0.0, x[6], x[12 + 5]));
    // The reference runtime asserts on them; that arrives as an error.
    let run = chiffre_frontend::Reference::load_bytes("crop", &o.bytes()).and_then(|r| r.run(&x, 1));
    assert!(run.unwrap_err().to_string().contains("the clear reference cannot run"));
}

#[test]
fn shortcuts_by_concatenation() {
    // torch.cat((zeros, x, zeros), 1) with zeros built from the shape of x.
    let o = Onnx::new(13, &IMAGE).int64("two", &[2]).int64("hw", &[6, 6]).int64("zero", &[0]).int64("one", &[1]);
    let o = o.node("Shape", "x", "s", &[]).node("Slice", "s zero one", "n", &[]);
    let o = o.node("Concat", "n two hw", "zs", &[int("axis", 0)]).node(
        "ConstantOfShape",
        "zs",
        "z",
        &[tensor_attr("value", &tensor("v", &[1], &[0.0]))],
    );
    assert_eq!(ops(&check(&o.node("Concat", "z x z", "y", &[int("axis", 1)]))), "pad");
    let o = Onnx::new(13, &IMAGE).node("Relu", "x", "a", &[]).node("Concat", "x a", "y", &[int("axis", -3)]);
    assert_eq!(ops(&check(&o)), "activation concat");
    let o = Onnx::new(13, &IMAGE).int64("parts", &[1, 2]).node("Split", "x parts", "a b", &[int("axis", 1)]);
    assert_eq!(ops(&check(&o.node("Concat", "b a", "y", &[int("axis", 1)]))), "slice slice concat");
}

/// The way that PyTorch traces `F.pad` when it does not fold constants.
#[test]
fn pads_computed_by_a_constant_subgraph() {
    let o = Onnx::new(11, &IMAGE).int64("given", &[0, 0, 0, 0, 2, 1]).int64("two", &[2]).int64("none", &[0]).int64("pairs", &[-1, 2]);
    let o = o.node("ConstantOfShape", "two", "tail", &[tensor_attr("value", &int_tensor("v", &[1], &[0]))]);
    let o = o.node("Concat", "given tail", "all", &[int("axis", 0)]).node("Reshape", "all pairs", "m", &[]);
    let o = o.int64("last", &[-1]).int64("first", &[i64::MIN + 1]).int64("minus", &[-1]);
    let o = o.node("Slice", "m last first none minus", "r", &[]).node("Transpose", "r", "t", &[ints("perm", &[1, 0])]);
    let o = o.node("Reshape", "t minus", "flat", &[]).node("Cast", "flat", "pads", &[int("to", 7)]);
    let model = check(&o.node("Pad", "x pads", "y", &[]));
    assert_eq!(ops(&model), "pad");
    assert_eq!(model.graph.ty(model.graph.outputs[0]).shape, [6, 6, 6]);
}

#[test]
fn no_ops_vanish_and_constants_fold() {
    let o = Onnx::new(13, &IMAGE).node("Cast", "x", "a", &[int("to", 1)]).node("Dropout", "a", "b", &[]).node("Identity", "b", "c", &[]);
    let o = o.node("Constant", "-", "k", &[float("value_float", 3.0)]).node(
        "Constant",
        "-",
        "l",
        &[tensor_attr("value", &tensor("t", &[3, 1, 1], &[1., 2., 3.]))],
    );
    let o = o.node("Mul", "k l", "kl", &[]).node("Sqrt", "kl", "q", &[]).node("Mul", "c q", "y", &[]);
    let model = check(&o);
    assert_eq!(ops(&model), "affine");
    assert_eq!(model.graph.nodes[1].source, "/net/Mul_y");
}

#[test]
fn fixed_batches_and_all_opsets() {
    let base = |opset: i64, n: i64| {
        Onnx::new(opset, &[n, 3, 6, 6]).weights("w", &[2, 3, 3, 3]).node("Conv", "x w", "c", &[]).node("Relu", "c", "y", &[])
    };
    for opset in 6..=*chiffre_frontend::OPSETS.end() {
        check(&base(opset, 0));
    }
    check(&base(17, 1));
    check(&base(17, 4));
    let o = base(17, 1).int64("s", &[1, 32]).node("Reshape", "y s", "z", &[]);
    check_bytes(&o.outputs("z"));
}

#[test]
fn metadata_and_names_survive() {
    let o = single(17, "Relu", &[]).metadata("author", "x").metadata("normalisation", "(px/255-mean)/std mean=0.5,0.5,0.5 std=0.2,0.2,0.2");
    let model = check(&o);
    assert_eq!(model.normalisation.unwrap().std(), [0.2; 3]);
    assert_eq!((model.inputs[0].name.as_str(), model.outputs[0].name.as_str(), model.input_shape), ("x", "y", vec![3, 6, 6]));
    assert_eq!(model.graph.name, "test");
    assert_eq!(model.graph.nodes[1].source, "/net/Relu_y");
    // A node without a name is known by its output.
    let o = Onnx::new(17, &IMAGE).named("", "Relu", "ai.onnx", "x", "y", &[]);
    assert_eq!(check(&o).graph.nodes[1].source, "y");
}

#[test]
fn functions_of_one_value() {
    let of = |op: &str, attrs: &[Message]| {
        let model = chiffre_frontend::load_bytes("f", &single(18, op, attrs).bytes()).unwrap();
        assert_eq!(ops(&model), "function", "{op}");
        let mut x = noise(108, 9);
        x[0] = 0.5;
        chiffre_ir::tensor::interp(&model.graph, &x, 1).unwrap().remove(0)[0]
    };
    let near = |y: f32, want: f32| assert!((y - want).abs() < 1e-6, "{y} {want}");
    near(of("Sqrt", &[]), 0.5f32.sqrt());
    near(of("Reciprocal", &[]), 2.0);
    near(of("Erf", &[]), 0.520_499_9);
    near(of("Softplus", &[]), (1.0 + 0.5f32.exp()).ln());
    for op in ["Elu", "Selu", "Celu", "Softplus", "Softsign", "Abs", "Exp", "Sin", "Cos", "Atan", "Erf"] {
        check(&Onnx::new(17, &IMAGE).node(op, "x", "a", &[]).node("Neg", "a", "y", &[]));
    }
    check(&single(17, "Elu", &[float("alpha", 0.3)]));
    let gelu = single(20, "Gelu", &[string("approximate", "tanh")]);
    assert_eq!(ops(&chiffre_frontend::load_bytes("f", &gelu.bytes()).unwrap()), "function");
    // Slopes of channels.
    let o = Onnx::new(17, &IMAGE).floats("slope", &[3, 1, 1], &[0.25, -0.5, 2.0]).node("PRelu", "x slope", "y", &[]);
    assert_eq!(ops(&check(&o)), "function");
    for e in [0.5, -1.0, 2.5] {
        let o = Onnx::new(14, &IMAGE).floats("e", &[], &[e]).node("Exp", "x", "p", &[]).node("Pow", "p e", "y", &[]);
        assert_eq!(ops(&check(&o)), "function");
    }
}

#[test]
fn elementwise_subgraphs_become_one_function() {
    let c = || Onnx::new(17, &IMAGE).floats("one", &[], &[1.0]).weights("w", &[2, 3, 1, 1]).weights("each", &[3, 1, 1]);
    let mish = c().node("Softplus", "x", "s", &[]).node("Tanh", "s", "t", &[]).node("Mul", "x t", "y", &[]);
    assert_eq!(ops(&check(&mish)), "function");
    let root = c().node("Mul", "x x", "q", &[]).node("Add", "q one", "p", &[]).node("Sqrt", "p", "y", &[]);
    assert_eq!(ops(&check(&root)), "function");
    let sign = c().node("Abs", "x", "a", &[]).node("Add", "a one", "b", &[]).node("Div", "x b", "y", &[]);
    assert_eq!(ops(&check(&sign)), "function");
    // Affine maps of channels stay for the layers around, and so does a polynomial.
    let o = c().node("Mul", "x each", "m", &[]).node("Sigmoid", "m", "s", &[]).node("Mul", "s m", "p", &[]).node("Mul", "p each", "y", &[]);
    assert_eq!(ops(&check(&o)), "affine activation affine");
    let o = c().node("Mul", "x x", "q", &[]).node("Add", "q x", "y", &[]);
    assert_eq!(ops(&check(&o)), "square add");
    // A function that a layer reads as well has its series anyway.
    let o = c().node("Tanh", "x", "t", &[]).node("Add", "x t", "a", &[]).node("Conv", "t w", "u", &[]).node("Conv", "a w", "v", &[]);
    assert_eq!(ops(&check(&o.node("Add", "u v", "y", &[]))), "activation add conv2d conv2d add");
}

#[test]
fn transposes_are_undone_moved_into_matrices_or_between_channels() {
    // N×H×W×C as TensorFlow's converter writes it.
    let o = Onnx::new(13, &[0, 5, 6, 3]).weights("w", &[4, 3, 3, 3]).weights("m", &[48, 2]).int64("s", &[-1, 48]).weights("last", &[4]);
    let o = o.node("Transpose", "x", "t", &[ints("perm", &[0, 3, 1, 2])]).node("Conv", "t w", "c", &[]);
    let o = o.node("Transpose", "c", "u", &[ints("perm", &[0, 2, 3, 1])]).node("Add", "u last", "v", &[]).node("Relu", "v", "r", &[]);
    let model = check(&o.node("Reshape", "r s", "f", &[]).node("MatMul", "f m", "y", &[]));
    assert_eq!(ops(&model), "conv2d affine activation flatten linear");
    assert_eq!(model.input_shape, [3, 5, 6]);
    // A matrix for the channels of every position.
    let o = Onnx::new(13, &IMAGE).weights("m", &[3, 4]).weights("b", &[4]).node("Transpose", "x", "t", &[ints("perm", &[0, 2, 3, 1])]);
    let o = o.node("MatMul", "t m", "p", &[]).node("Add", "p b", "q", &[]).node("Transpose", "q", "y", &[ints("perm", &[0, 3, 1, 2])]);
    assert_eq!(ops(&check(&o)), "conv2d affine");
    // Channels change places, as between grouped convolutions.
    let o = Onnx::new(13, &[0, 6, 2, 2]).int64("s", &[0, 2, 3, 2, 2]).int64("back", &[0, 6, 2, 2]).node("Reshape", "x s", "r", &[]);
    let o = o.node("Transpose", "r", "t", &[ints("perm", &[0, 2, 1, 3, 4])]).node("Reshape", "t back", "b", &[]);
    assert_eq!(ops(&check(&o.node("GlobalAveragePool", "b", "p", &[]).node("Flatten", "p", "y", &[]))), "conv2d avg_pool flatten");
}
